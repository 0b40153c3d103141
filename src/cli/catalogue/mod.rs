//! `doorbuster product …` and `doorbuster sale …`: the catalogue from a terminal, straight in Postgres.

mod adjust;
mod args;
mod error;
mod input;
mod tables;

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

pub use args::{AdjustArgs, OneSale, Output, PageArgs, ProductCommand, SaleCommand};
pub use error::CatalogueCliError;

use super::CliError;
use super::runtime::block_on;
use crate::admin::PUBLISH_WAIT;
use crate::catalogue::{CatalogueStore, ControlAction, Created, NewSale, SaleId, read_products};
use crate::config::Settings;
use crate::postgres::{PgError, connect_pool};
use crate::telemetry;

/// Who is written into the stock's history.
const ACTOR: &str = "cli";

/// Where the catalogue is.
#[derive(Debug, Clone)]
pub struct CatalogueAccess {
    /// With its password.
    pub postgres_url: String,
    /// Of each statement.
    pub timeout: Duration,
    /// How long a command waits for its change to reach Redis.
    pub publish_wait: Duration,
}

impl CatalogueAccess {
    fn of(settings: &Settings) -> Self {
        Self {
            postgres_url: settings.postgres_url.expose().to_owned(),
            timeout: settings.postgres_timeout_ms.duration(),
            publish_wait: PUBLISH_WAIT,
        }
    }
}

/// `doorbuster product …` on the terminal.
pub(super) fn product(command: ProductCommand, settings: &Settings) -> Result<(), CliError> {
    telemetry::init(settings)?;
    block_on(run_product(command, &CatalogueAccess::of(settings), &mut io::stdout()))??;
    Ok(())
}

/// `doorbuster sale …` on the terminal.
pub(super) fn sale(command: SaleCommand, settings: &Settings) -> Result<(), CliError> {
    telemetry::init(settings)?;
    block_on(run_sale(command, &CatalogueAccess::of(settings), &mut io::stdout()))??;
    Ok(())
}

/// Runs `doorbuster product …`, writing the answer to `out`.
///
/// # Errors
/// [`CatalogueCliError`].
pub async fn run_product(
    command: ProductCommand,
    access: &CatalogueAccess,
    out: &mut (impl Write + Send),
) -> Result<(), CatalogueCliError> {
    let store = store(access)?;
    match command {
        ProductCommand::Put { file, output } => {
            let products = read_products(&input::read(&file)?)?;
            store.upsert_products(&products).await?;
            if output.json {
                return write_json(out, &json!({ "products": products }));
            }
            for product in &products {
                writeln!(out, "product {}: {} at {}", product.sku, product.name, product.price)?;
            }
        }
        ProductCommand::List { page, output } => {
            let page = store.list_products(page.after.as_ref(), page.limit).await?;
            if output.json {
                return write_json(out, &json!({ "products": page.rows, "next": page.next }));
            }
            writeln!(out, "{}", tables::products(&page.rows))?;
            write_next(out, page.next.as_ref())?;
        }
    }
    Ok(())
}

/// Runs `doorbuster sale …`, writing the answer to `out`.
///
/// # Errors
/// [`CatalogueCliError`].
pub async fn run_sale(
    command: SaleCommand,
    access: &CatalogueAccess,
    out: &mut (impl Write + Send),
) -> Result<(), CatalogueCliError> {
    let store = store(access)?;
    match command {
        SaleCommand::Create { file, output } => {
            let new = NewSale::read(&input::read(&file)?)?;
            let created = store.create_sale(&new, ACTOR).await?;
            let done = match created {
                Created::New(_) => "created",
                Created::Unchanged(_) => "unchanged: it exists with this definition",
            };
            changed(&store, access, &new.id, created.version(), done, output, out).await
        }
        SaleCommand::List { page, output } => {
            let page = store.list_sales(page.after.as_ref(), page.limit, true).await?;
            let now = Timestamp::now();
            if output.json {
                let sales: Vec<_> = page.rows.iter().map(|sale| sale.view(now)).collect();
                return write_json(out, &json!({ "sales": sales, "next": page.next }));
            }
            writeln!(out, "{}", tables::sales(&page.rows, now))?;
            write_next(out, page.next.as_ref())
        }
        SaleCommand::Show(OneSale { id, output }) => {
            let (sale, now) = (store.get_sale(&id).await?, Timestamp::now());
            if output.json {
                return write_json(out, &json!({ "sale": sale.view(now) }));
            }
            Ok(tables::write_sale(out, &sale, now)?)
        }
        SaleCommand::Open(sale) => control(&store, access, sale, ControlAction::Open, out).await,
        SaleCommand::Pause(sale) => control(&store, access, sale, ControlAction::Pause, out).await,
        SaleCommand::Resume(sale) => control(&store, access, sale, ControlAction::Resume, out).await,
        SaleCommand::Close(sale) => control(&store, access, sale, ControlAction::Close, out).await,
        SaleCommand::Adjust(args) => adjust::run(&store, access, args, out).await,
    }
}

async fn control(
    store: &CatalogueStore,
    access: &CatalogueAccess,
    OneSale { id, output }: OneSale,
    action: ControlAction,
    out: &mut (impl Write + Send),
) -> Result<(), CatalogueCliError> {
    let sale = store.set_control(&id, action).await?;
    let done = sale.window.status(Timestamp::now()).to_string();
    changed(store, access, &id, sale.version, &done, output, out).await
}

/// Says what was done, and whether it has reached every partition.
async fn changed(
    store: &CatalogueStore,
    access: &CatalogueAccess,
    id: &SaleId,
    version: i64,
    done: &str,
    output: Output,
    out: &mut (impl Write + Send),
) -> Result<(), CatalogueCliError> {
    let publication = store.wait_published(id, version, access.publish_wait).await;
    if output.json {
        let sale = store.get_sale(id).await?;
        let mut answer = json!({ "sale": sale.view(Timestamp::now()), "applied": publication.applied });
        if let Some(reason) = publication.reason {
            answer["reason"] = reason.into();
        }
        return write_json(out, &answer);
    }
    writeln!(out, "sale {id}: {done}")?;
    if let Some(reason) = publication.reason {
        writeln!(out, "not applied yet: {reason}")?;
    }
    Ok(())
}

fn store(access: &CatalogueAccess) -> Result<CatalogueStore, PgError> {
    // One command, one connection at a time.
    let pool = connect_pool(&access.postgres_url, 1, access.timeout)?;
    Ok(CatalogueStore::new(pool, access.timeout))
}

fn write_json(out: &mut impl Write, answer: &impl Serialize) -> Result<(), CatalogueCliError> {
    serde_json::to_writer_pretty(&mut *out, answer)?;
    Ok(writeln!(out)?)
}

fn write_next(out: &mut impl Write, next: Option<&impl std::fmt::Display>) -> Result<(), CatalogueCliError> {
    if let Some(next) = next {
        writeln!(out, "There are more: add --after {next}")?;
    }
    Ok(())
}
