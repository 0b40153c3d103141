//! `doorbuster order …`

mod show;

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::confirm::confirm;
use super::json::write_json;
use super::login_name::By;
use super::servers::with_servers;
use crate::config::Settings;
use crate::order_id::OrderId;
use crate::order_life::{Cancellation, LifeError, OrderLife, OrderOf, Outcome, Step, Told};

/// `doorbuster order`
#[derive(Debug, Subcommand)]
pub(super) enum OrderCommand {
    /// Show a stored order: its state, lines, every step since it was stored, and where its units are
    Show(ShowArgs),
    /// Cancel an order, whatever its sale allows its buyer: its units go back on sale, what was paid is marked as due
    Cancel(CancelArgs),
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The order's id
    id: OrderId,
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// The order's id
    id: OrderId,
    /// Why; kept with the order
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    #[command(flatten)]
    by: By,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

impl OrderCommand {
    pub(super) fn run(self, settings: &Settings) -> Result<(), CliError> {
        with_servers(settings, async |servers| {
            let orders = OrderLife::new(servers.pool, settings.postgres_timeout_ms.duration());
            match self {
                Self::Show(args) => run_show(&orders, &args).await,
                Self::Cancel(args) => run_cancel(&orders, &args).await,
            }
        })
    }
}

async fn run_show(orders: &OrderLife, args: &ShowArgs) -> Result<(), CliError> {
    let order = orders.read(args.id).await?;
    let mut out = io::stdout();
    match args.json {
        true => write_json(&mut out, &json!({ "order": order }))?,
        false => show::write(&mut out, &order)?,
    }
    Ok(())
}

async fn run_cancel(orders: &OrderLife, args: &CancelArgs) -> Result<(), CliError> {
    let by = args.by.operator()?;
    let order = orders.read(args.id).await?;
    if order.state != "cancelled" {
        let what = format!(
            "This cancels the order of {} in {} ({}), for good",
            order.buyer, order.sale, order.state
        );
        confirm(&what, args.yes)?;
    }
    let actor = format!("cli: {}", by.as_str());
    let told = Told { actor: &actor, reason: &args.reason };
    let outcome = orders.step(args.id, OrderOf::Anyone, Step::Cancel(Cancellation::Operator), told).await?;
    let order = orders.read(args.id).await?;
    let mut out = io::stdout();
    if args.json {
        return write_json(&mut out, &json!({ "order": order, "changed": outcome != Outcome::Unchanged }));
    }
    match outcome {
        Outcome::Cancelled { refund: true } => {
            writeln!(
                out,
                "order {}: cancelled; its units go back on sale, its money is due to the buyer",
                args.id
            )?;
        }
        Outcome::Unchanged => {
            let reason = order.cancel_reason.as_deref().unwrap_or_default();
            writeln!(out, "order {}: was cancelled before ({reason}), and stays so", args.id)?;
        }
        _ => writeln!(out, "order {}: cancelled; its units go back on sale", args.id)?,
    }
    Ok(())
}

impl From<LifeError> for CliError {
    fn from(error: LifeError) -> Self {
        Self::Order(Box::new(error))
    }
}
