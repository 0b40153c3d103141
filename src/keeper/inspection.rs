//! What a keeper finds when it looks at a partition that it has closed.

use fred::types::Value;

use crate::log::{EntryId, LogEntry, RawEntry, last_generated, read_entry, read_range};
use crate::order_id::OrderId;
use crate::postgres::PgError;
use crate::redis::RedisError;

use super::judge::{FirstEntry, History};
use super::open_error::OpenError;
use super::opening::Opening;
use super::watermark::Watermark;
use super::{Keeper, drain, rebuild};

impl Keeper {
    /// What the judge needs to know.
    pub(super) async fn history(&self, watermark: &Watermark) -> Result<History, OpenError> {
        let (redis, keys) = (&self.redis, self.keys());
        let first = read_range(redis, &keys, EntryId::ZERO, 1).await?.into_iter().next();
        let at_watermark = match watermark.entry {
            EntryId::ZERO => None,
            entry => read_entry(redis, &keys, entry).await?,
        };
        Ok(History {
            watermark: watermark.entry,
            watermark_mark: watermark.mark.clone(),
            highest_known: self.highest_known(watermark.entry).await?,
            first: first.as_ref().map(first_entry),
            last_generated: last_generated(redis, &keys).await?,
            is_used: watermark.entry == EntryId::ZERO && self.is_used().await?,
            mark_in_log: at_watermark.map(|entry| String::from_utf8_lossy(entry.mark()).into_owned()),
        })
    }

    /// Whether the log holds anything but openings.
    async fn is_used(&self) -> Result<bool, OpenError> {
        let (keys, mut from) = (self.keys(), EntryId::ZERO);
        loop {
            let batch = read_range(&self.redis, &keys, from, drain::STEP).await?;
            let Some(last) = batch.last() else { return Ok(false) };
            from = last.id.next();
            if batch.iter().any(|entry| !matches!(entry.decode(), Ok(LogEntry::Opening { .. }))) {
                return Ok(true);
            }
        }
    }

    /// The highest entry above the watermark of which Postgres has an order or a ledger row. Bounded by the
    /// watermark: what lies below it is known to be there.
    async fn highest_known(&self, watermark: EntryId) -> Result<EntryId, OpenError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        let partition = self.partition.to_sql();
        let lowest = OrderId::lowest_at(watermark.ms).to_uuid();
        let order = db
            .query_opt(
                "SELECT id FROM orders WHERE id >= $2 AND partition = $1 ORDER BY id DESC LIMIT 1",
                &[&partition, &lowest],
            )
            .await
            .map_err(PgError::from)?;
        let ledger = db
            .query_opt(
                "SELECT entry_ms, entry_seq FROM stock_ledger WHERE partition = $1
                 ORDER BY entry_ms DESC, entry_seq DESC LIMIT 1",
                &[&partition],
            )
            .await
            .map_err(PgError::from)?;
        let order = order.map(|row| OrderId::from_uuid(row.get(0)).entry());
        let ledger = ledger.and_then(|row| EntryId::from_sql(row.get(0), row.get(1)));
        Ok(order.max(ledger).unwrap_or(EntryId::ZERO).max(watermark))
    }
}

impl Opening<'_> {
    /// Whether Redis holds the stock that Postgres computes, and knows its buyers. Everything in the log must be
    /// persisted.
    pub(super) async fn stock_agrees(&self) -> Result<bool, OpenError> {
        let expected = rebuild::expected_stock(&self.keeper.pool, self.keeper.partition).await?;
        for (sale, items) in expected {
            let sale_keys = self.keys.sale(&sale);
            let fields: Vec<Value> = items.iter().map(|(sku, _)| format!("stock:{sku}").into()).collect();
            let found: Vec<Option<i64>> = self
                .keeper
                .redis
                .on_key("HMGET", &sale_keys.sale, fields)
                .await?
                .convert()
                .map_err(RedisError::from)?;
            let buyers = self.keeper.redis.on_key("HEXISTS", &sale_keys.buyers, vec![" ".into()]).await?;
            if buyers.as_i64() != Some(1) {
                tracing::error!(partition = %self.keeper.partition, %sale, "the buyers of a sale are missing");
                return Ok(false);
            }
            for ((sku, expected), found) in items.iter().zip(found) {
                if found != Some(*expected) {
                    tracing::error!(partition = %self.keeper.partition, %sale, %sku, expected, ?found, "stock differs");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn first_entry(entry: &RawEntry) -> FirstEntry {
    let base = match entry.decode() {
        Ok(LogEntry::Opening { base, .. }) => Some(base),
        _ => None,
    };
    FirstEntry { id: entry.id, base }
}
