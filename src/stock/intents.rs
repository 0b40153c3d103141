//! Changes of stock that Postgres has decided and Redis has not logged yet.

use std::collections::BTreeMap;

use fred::types::Value;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::catalogue::{SaleId, Sku};
use crate::claim::{IdempotencyKey, record_head};
use crate::faults::crash_point;
use crate::log::StockEntry;
use crate::order::CancelReason;
use crate::order_id::{Mark, OrderId};
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};
use crate::redis::{Keys, Redis, Script, StampedScripts};

use super::ApplyError;

const OPEN_INTENTS: &str = include_str!("../../sql/stock/open_intents.sql");
/// Changes in one round.
const ROUND: i64 = 500;
/// Of those, calls in flight: one fsync of Redis then covers many. They are sent in the order of the changes, over one
/// connection.
const AT_ONCE: usize = 64;

/// Sends every open change. Each takes effect once, however often it is sent; it is over when its log entry is
/// persisted, and that alone ends it.
///
/// # Errors
/// [`ApplyError`]; what was sent stays sent.
pub async fn apply_intents(redis: &Redis, scripts: &StampedScripts, pool: &PgPool) -> Result<(), ApplyError> {
    let partition = scripts.stamp.partition;
    let db = pool.get().await.map_err(PgError::from)?;
    let statement = db.prepare_cached(OPEN_INTENTS).await.map_err(PgError::from)?;
    let rows = db.query(&statement, &[&partition.to_sql(), &ROUND]).await.map_err(PgError::from)?;
    let changes: Vec<Change> = rows.iter().filter_map(|row| Change::read(partition, row)).collect();
    let sent = stream::iter(changes).map(|change| send(redis, scripts, change)).buffered(AT_ONCE);
    sent.try_collect().await
}

async fn send(redis: &Redis, scripts: &StampedScripts, change: Change) -> Result<(), ApplyError> {
    let partition = scripts.stamp.partition;
    let keys = Keys::new(partition);
    let sale = keys.sale(&change.stock.sale);
    let all = vec![keys.meta, sale.sale, sale.buyers, sale.causes, keys.log];
    let cause = change.stock.cause.clone();
    let reply = redis.run(scripts, Script::ChangeStock, all, change.args()).await?;
    crash_point!("stock_before_ledger");
    match reply.as_str().as_deref() {
        Some("absent") => {
            tracing::warn!(%partition, cause, "the sale or its stock is not in redis yet, or was lost")
        }
        reply => tracing::debug!(%partition, cause, reply, "stock change sent"),
    }
    Ok(())
}

struct Change {
    stock: StockEntry,
    return_of: Option<ReturnOf>,
}

struct ReturnOf {
    buyer: String,
    /// Head and entry id of the buyer's record.
    record: String,
    reason: CancelReason,
}

impl Change {
    /// `None`, and said, where this version cannot read it: the others are not to wait for it.
    fn read(partition: Partition, row: &Row) -> Option<Self> {
        let change = Self::parse(row);
        if change.is_none() {
            tracing::error!(%partition, cause = row.get::<_, &str>(0), "a stock intent cannot be read");
        }
        change
    }

    fn parse(row: &Row) -> Option<Self> {
        let sale: SaleId = row.get::<_, &str>(2).parse().ok()?;
        let lines: BTreeMap<Sku, i64> = serde_json::from_value(row.get(3)).ok()?;
        let return_of = match row.get::<_, &str>(1) {
            "return" => {
                let id = OrderId::from_uuid(row.get::<_, Option<Uuid>>(5)?);
                let key = IdempotencyKey::from_content(row.get(7)).ok()?;
                let head = record_head(&key, row.get::<_, i64>(8).cast_unsigned(), id.mark());
                Some(ReturnOf {
                    buyer: row.get(6),
                    record: format!("{head}{}", id.entry()),
                    reason: row.get::<_, &str>(4).parse().ok()?,
                })
            }
            _ => None,
        };
        let stock =
            StockEntry { mark: Mark::random(), sale, cause: row.get(0), lines: lines.into_iter().collect() };
        Some(Self { stock, return_of })
    }

    fn args(self) -> Vec<Value> {
        let (field, entry) = match &self.return_of {
            Some(of) => ("return", self.stock.encode_return(of.reason)),
            None => ("allotment", self.stock.encode()),
        };
        let (buyer, record) = self.return_of.map(|of| (of.buyer, of.record)).unwrap_or_default();
        let mut args: Vec<Value> =
            vec![field.into(), entry.into(), self.stock.cause.into(), buyer.into(), record.into()];
        for (sku, units) in self.stock.lines {
            args.extend([sku.as_str().into(), units.into()]);
        }
        args
    }
}
