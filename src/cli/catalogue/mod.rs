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

pub use args::{AdjustArgs, ControlArgs, OneSale, Output, PageArgs, ProductCommand, SaleCommand};
pub use error::CatalogueCliError;

use super::CliError;
use super::runtime::block_on;
use crate::admin::PUBLISH_WAIT;
use crate::catalogue::{
    CatalogueStore, ControlAction, ControlChange, Created, NewSale, Publication, SaleId, read_products,
};
use crate::config::Settings;
use crate::gate::Gate;
use crate::partition::Partition;
use crate::postgres::{PgError, connect_pool};
use crate::redis::{Redis, RedisOptions};
use crate::stock::Publisher;
use crate::telemetry;

/// Who is written into the stock's history.
const ACTOR: &str = "cli";
/// Commands that may wait for Redis.
const QUEUE_MAX: usize = 256;

/// How a change of a sale ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Every partition acts on it; or nothing was changed.
    All,
    /// It is stored, and not yet known to be acted on everywhere.
    NotAll,
}

/// Where the catalogue is.
#[derive(Debug, Clone)]
pub struct CatalogueAccess {
    /// With its password.
    pub postgres_url: String,
    /// Which Redis is told of a change at once; without it a keeper tells it at its next turn.
    pub redis: Option<RedisOptions>,
    /// Of each statement.
    pub timeout: Duration,
    /// How long a command waits for its change to reach Redis.
    pub publish_wait: Duration,
}

impl CatalogueAccess {
    fn of(settings: &Settings) -> Self {
        Self {
            postgres_url: settings.postgres_url.expose().to_owned(),
            redis: Some(RedisOptions {
                url: settings.redis_url.expose().to_owned(),
                timeout: settings.redis_timeout_ms.duration(),
                queue_max: QUEUE_MAX,
            }),
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
    match block_on(run_sale(command, &CatalogueAccess::of(settings), &mut io::stdout()))?? {
        Reached::All => Ok(()),
        Reached::NotAll => Err(CliError::Attention),
    }
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
) -> Result<Reached, CatalogueCliError> {
    let store = store(access)?;
    match command {
        SaleCommand::Create { file, output } => {
            let new = NewSale::read(&input::read(&file)?)?;
            let created = store.create_sale(&new, ACTOR).await?;
            let done = match created {
                Created::New(_) => "created",
                Created::Unchanged(_) => "unchanged: it exists with this definition",
            };
            // A sale may well be created before the first worker runs.
            let told = store.wait_sellable(&new.id, created.version(), access.publish_wait).await;
            changed(&store, &new.id, told, done, output, out).await?;
        }
        SaleCommand::List { page, output } => {
            let page = store.list_sales(page.after.as_ref(), page.limit, true).await?;
            let now = Timestamp::now();
            if output.json {
                let sales: Vec<_> = page.rows.iter().map(|sale| sale.view(now)).collect();
                write_json(out, &json!({ "sales": sales, "next": page.next }))?;
            } else {
                writeln!(out, "{}", tables::sales(&page.rows, now))?;
                write_next(out, page.next.as_ref())?;
            }
        }
        SaleCommand::Show(OneSale { id, output }) => {
            let (sale, now) = (store.get_sale(&id).await?, Timestamp::now());
            let events = store.sale_events(&id).await?;
            if output.json {
                write_json(out, &json!({ "sale": sale.view(now), "events": events }))?;
            } else {
                tables::write_sale(out, &sale, now)?;
                tables::write_events(out, &events)?;
            }
        }
        SaleCommand::Open(args) => return control(&store, access, args, ControlAction::Open, out).await,
        SaleCommand::Pause(args) => return control(&store, access, args, ControlAction::Pause, out).await,
        SaleCommand::Resume(args) => return control(&store, access, args, ControlAction::Resume, out).await,
        SaleCommand::Close(args) => return control(&store, access, args, ControlAction::Close, out).await,
        SaleCommand::Adjust(args) => adjust::run(&store, access, args, out).await?,
    }
    Ok(Reached::All)
}

async fn control(
    store: &CatalogueStore,
    access: &CatalogueAccess,
    ControlArgs { sale: OneSale { id, output }, reason }: ControlArgs,
    action: ControlAction,
    out: &mut (impl Write + Send),
) -> Result<Reached, CatalogueCliError> {
    let publisher = publisher(access).await?;
    let redis_now = match &publisher {
        Some(publisher) => publisher.time().await,
        None => None,
    };
    let change = ControlChange { action, actor: ACTOR, reason: reason.as_deref(), redis_now };
    let sale = store.set_control(&id, change).await?;
    if let Some(publisher) = &publisher {
        publisher.publish().await;
    }
    let done = sale.window.status(redis_now.unwrap_or_else(Timestamp::now)).to_string();
    let told = store.wait_published(&id, sale.version, access.publish_wait).await;
    changed(store, &id, told, &done, output, out).await
}

/// Says what was done, and whether it has reached every partition.
async fn changed(
    store: &CatalogueStore,
    id: &SaleId,
    publication: Publication,
    done: &str,
    output: Output,
    out: &mut (impl Write + Send),
) -> Result<Reached, CatalogueCliError> {
    let reached = if publication.applied { Reached::All } else { Reached::NotAll };
    if output.json {
        let sale = store.get_sale(id).await?;
        let mut answer = json!({ "sale": sale.view(Timestamp::now()), "applied": publication.applied });
        if let Some(reason) = publication.reason {
            answer["reason"] = reason.into();
        }
        write_json(out, &answer)?;
        return Ok(reached);
    }
    writeln!(out, "sale {id}: {done}")?;
    if let Some(reason) = publication.reason {
        writeln!(out, "not applied yet: {reason}")?;
    }
    Ok(reached)
}

/// Who tells Redis; nobody where this command has no way to it.
async fn publisher(access: &CatalogueAccess) -> Result<Option<Publisher>, CatalogueCliError> {
    let Some(redis) = access.redis.as_ref().and_then(|options| Redis::connect(options).ok()) else {
        return Ok(None);
    };
    // A Redis that is away is left to the keeper.
    if redis.wait_ready().await.is_err() {
        return Ok(None);
    }
    let pool = connect_pool(&access.postgres_url, 1, access.timeout)?;
    let db = pool.get().await.map_err(PgError::from)?;
    let rows = db.query("SELECT partition FROM partitions ORDER BY 1", &[]).await.map_err(PgError::from)?;
    drop(db);
    let partitions = rows.iter().filter_map(|row| u8::try_from(row.get::<_, i16>(0)).ok());
    let gates: Vec<Gate> =
        partitions.map(|number| Gate::watch(redis.clone(), Partition::new(number))).collect();
    Ok(Some(Publisher::new(redis, gates, pool)))
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
