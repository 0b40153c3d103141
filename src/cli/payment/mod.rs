//! `doorbuster payment …`

mod refunded;

use std::io::{self, Write};

use clap::{Args, Subcommand};
use comfy_table::Table;
use serde_json::json;

use super::CliError;
use super::json::write_json;
use super::login_name::By;
use super::servers::{Servers, with_servers};
use super::tables::{number, table, text};
use crate::config::Settings;
use crate::order_id::OrderId;
use crate::payment::{ListedPayment, PaymentState, list_payments, retry_payments};

/// `doorbuster payment`
#[derive(Debug, Subcommand)]
pub(super) enum PaymentCommand {
    /// List payments that wait for an answer, those first that have waited longest; or those in one state
    List(ListArgs),
    /// Look at payments again at once, instead of after their pause
    Retry(RetryArgs),
    /// Record that money which is due to a buyer (refund_due) went back by hand: the gateway is not asked for it any more
    #[command(
        after_help = "Exit codes: 0 all went back, now or before; 1 failed, or no money is due for some"
    )]
    Refunded(RefundedArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only these: due, awaited, unknown, paid, declined, late, moved, refund_due, refunded, void
    #[arg(long)]
    state: Option<PaymentState>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Write JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// Whose payments
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ORDER")]
    orders: Vec<OrderId>,
    /// Every one that waits
    #[arg(long)]
    all: bool,
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RefundedArgs {
    /// Whose money went back
    #[arg(required = true, value_name = "ORDER")]
    orders: Vec<OrderId>,
    /// How, and why by hand; kept with the order
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

impl PaymentCommand {
    pub(super) fn run(self, settings: &Settings) -> Result<(), CliError> {
        with_servers(settings, async |servers| match self {
            Self::List(args) => run_list(&servers, &args).await,
            Self::Retry(args) => run_retry(&servers, &args).await,
            Self::Refunded(args) => refunded::run(&servers, settings, &args).await,
        })
    }
}

async fn run_list(servers: &Servers, args: &ListArgs) -> Result<(), CliError> {
    // One more than is shown tells whether there are more.
    let mut found = list_payments(&servers.pool, args.state, args.limit.saturating_add(1)).await?;
    let more = found.len() > args.limit as usize;
    found.truncate(args.limit as usize);
    let mut out = io::stdout();
    if args.json {
        return write_json(&mut out, &json!({ "payments": found, "more": more }));
    }
    if found.is_empty() {
        return Ok(writeln!(out, "none")?);
    }
    writeln!(out, "{}", payment_table(&found))?;
    if more {
        writeln!(out, "and more: raise --limit")?;
    }
    Ok(())
}

async fn run_retry(servers: &Servers, args: &RetryArgs) -> Result<(), CliError> {
    let wanted = (!args.all).then_some(args.orders.as_slice());
    let retried = retry_payments(&servers.pool, wanted).await?;
    let mut out = io::stdout();
    if args.json {
        return write_json(&mut out, &json!({ "retried": retried }));
    }
    for order in &args.orders {
        let what = if retried.contains(order) { "is looked at again" } else { "waits for nothing of ours" };
        writeln!(out, "payment of {order}: {what}")?;
    }
    if args.all {
        writeln!(out, "{} payment(s) are looked at again", retried.len())?;
    }
    Ok(())
}

fn payment_table(payments: &[ListedPayment]) -> Table {
    let mut table = table(&["ORDER", "STATE", "SINCE", "ATTEMPTS", "AGAIN AT", "ERROR"]);
    for payment in payments {
        table.add_row([
            text(payment.order),
            text(&payment.state),
            text(payment.since),
            number(payment.attempts),
            text(payment.next_at.map(|at| at.to_string()).unwrap_or_else(|| "-".into())),
            text(payment.last_error.as_deref().unwrap_or("-")),
        ]);
    }
    table
}
