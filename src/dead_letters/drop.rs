//! Gives an entry up that cannot be persisted.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::{Object, Transaction};
use serde_json::Value;

use crate::catalogue::Sku;
use crate::claim::{QUANTITY_MAX, record_head};
use crate::log::{DecidedEntry, EntryAddress, LogEntry, OrderEntry, StockEntry};
use crate::order_id::OrderId;
use crate::persist::{Fence, begin};
use crate::postgres::{PgError, PgPool, within};
use crate::redis::{Keys, Redis, RedisError};

use super::fence::while_open;
use super::letter::{DeadLetter, Ended, Outcome, end, find, lock};
use super::{DeadLetterError, Operator};

const DROPPED_ORDER: &str = include_str!("../../sql/dead_letters/dropped_order.sql");

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its order is stored as cancelled.
    Cancelled {
        /// Which order.
        order: OrderId,
        /// The units that are on their way back, as `{"sku": units}`; `None` where there are none.
        returned: Option<Value>,
    },
    /// Its order was stored before, by a replay for example, and stays as it is: only the letter is over.
    OrderKnown(OrderId),
    /// It held no order: only the letter is over.
    Marked,
    /// Someone has ended it before.
    AlreadyEnded(Ended),
}

/// Ends a letter for good, in one transaction: an order that can be read is stored as cancelled (`operator`), and the
/// units that Redis removed for it are on their way back. `limit` bounds a transaction.
///
/// # Errors
/// [`DeadLetterError`]; where it is about a server, whether the transaction took effect may be unknown: run it again.
pub async fn drop_letter(
    pool: &PgPool,
    redis: &Redis,
    address: EntryAddress,
    by: &Operator,
    reason: &str,
    limit: Duration,
) -> Result<Dropped, DeadLetterError> {
    while_open(redis, address.partition, async |fence| {
        // Under this epoch: where an opening comes in between, both are done again.
        let removed = is_removed(redis, &find(pool, address).await?).await?;
        let mut db = pool.get().await.map_err(PgError::from)?;
        within(limit, attempt(&mut db, fence, address, removed, by, reason)).await
    })
    .await
}

async fn attempt(
    db: &mut Object,
    fence: Fence,
    address: EntryAddress,
    removed: bool,
    by: &Operator,
    reason: &str,
) -> Result<Dropped, DeadLetterError> {
    let tx = begin(db, fence).await?;
    let letter = lock(&tx, address).await?;
    if let Some(ended) = letter.ended {
        return Ok(Dropped::AlreadyEnded(ended));
    }
    let dropped = match letter.raw.decode() {
        Ok(LogEntry::Order(order)) => cancel(&tx, &letter, &order, removed, by).await?,
        Ok(
            LogEntry::Allotment(stock)
            | LogEntry::Adjustment(DecidedEntry { stock, .. })
            | LogEntry::Confirmation { decided: DecidedEntry { stock, .. }, .. }
            | LogEntry::Return { stock, .. },
        ) => {
            refuse_awaited(&tx, address, &stock).await?;
            Dropped::Marked
        }
        _ => Dropped::Marked,
    };
    end(&tx, &letter, Outcome::Dropped, by, Some(reason)).await?;
    tx.commit().await?;
    tracing::info!(letter = %address, by = by.as_str(), reason, ?dropped, "dead letter dropped");
    Ok(dropped)
}

/// Whether Redis has removed units for this letter. A claim removes them and writes its buyer's record in one step, and a
/// rebuild computes the stock without them and writes the record: so the record tells. An entry without one was written
/// by another hand; returning its units would put units on sale that do not exist.
async fn is_removed(redis: &Redis, letter: &DeadLetter) -> Result<bool, DeadLetterError> {
    let Ok(LogEntry::Order(order)) = letter.raw.decode() else { return Ok(false) };
    let buyers = Keys::new(letter.address.partition).sale(&order.sale).buyers;
    let reply = redis.on_key("HGET", &buyers, vec![order.buyer.as_str().into()]).await?;
    let records: Option<String> = reply.convert().map_err(RedisError::from)?;
    let head = record_head(&order.key, order.fingerprint, order.mark);
    let record = format!("{head}{} ", letter.address.entry);
    // A record without units: they went back before.
    let has_units = |found: &str| found.strip_prefix(&record).is_some_and(|units| !units.is_empty());
    Ok(records.is_some_and(|records| records.split(';').any(has_units)))
}

/// Whether the units of an order have come back already, as the ledger tells.
pub(super) async fn came_back(tx: &Transaction<'_>, order: OrderId) -> Result<bool, DeadLetterError> {
    let cause = StockEntry::cause_of_return(order);
    Ok(tx.query_opt("SELECT FROM stock_ledger WHERE cause = $1 LIMIT 1", &[&cause]).await?.is_some())
}

/// Stores the order of a letter as cancelled.
pub(super) async fn cancel(
    tx: &Transaction<'_>,
    letter: &DeadLetter,
    order: &OrderEntry,
    removed: bool,
    by: &Operator,
) -> Result<Dropped, DeadLetterError> {
    let id = OrderId::new(letter.address.entry, letter.address.partition, order.mark);
    let lines = LinesOnce::of(order);
    let row = tx
        .query_one(
            DROPPED_ORDER,
            &[
                &id.to_uuid(),
                &letter.address.partition.to_sql(),
                &order.sale.as_str(),
                &order.buyer.as_str(),
                &order.key.as_str(),
                &order.fingerprint.cast_signed(),
                &lines.skus,
                &lines.quantities,
                &(removed && lines.as_claimed),
                &StockEntry::cause_of_return(id),
                &by.as_str(),
            ],
        )
        .await?;
    match row.get(0) {
        true => Ok(Dropped::Cancelled { order: id, returned: row.get(1) }),
        false => Ok(Dropped::OrderKnown(id)),
    }
}

/// Lines as a table can hold them, whatever the entry says.
struct LinesOnce<'a> {
    skus: Vec<&'a str>,
    quantities: Vec<i32>,
    /// Whether a claim can have had these lines. Otherwise Redis has removed nothing for them.
    as_claimed: bool,
}

impl<'a> LinesOnce<'a> {
    fn of(order: &'a OrderEntry) -> Self {
        let mut once: BTreeMap<&Sku, u32> = BTreeMap::new();
        for (sku, quantity) in &order.lines {
            let sum = once.entry(sku).or_default();
            *sum = sum.saturating_add(*quantity);
        }
        let as_claimed =
            once.len() == order.lines.len() && once.values().all(|quantity| *quantity <= QUANTITY_MAX);
        Self {
            skus: once.keys().map(|sku| sku.as_str()).collect(),
            quantities: once.values().map(|n| i32::try_from(*n).unwrap_or(i32::MAX)).collect(),
            as_claimed,
        }
    }
}

/// A change of stock that Postgres has asked for is sent until its entry is persisted, and Redis writes that once.
async fn refuse_awaited(
    tx: &Transaction<'_>,
    address: EntryAddress,
    stock: &StockEntry,
) -> Result<(), DeadLetterError> {
    let open = tx
        .query_opt("SELECT FROM stock_intents WHERE cause = $1 AND applied_at IS NULL", &[&stock.cause])
        .await?;
    match open {
        Some(_) => Err(DeadLetterError::StockChange { address, cause: stock.cause.clone() }),
        None => Ok(()),
    }
}
