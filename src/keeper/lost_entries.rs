//! Entries that were appended and not settled, and are no longer in the log: an unsafe trim, a deleted stream, a Redis
//! that came back with older data. Orders in them exist nowhere: an operator has to know how many.

use std::collections::HashSet;

use fred::types::Value;

use crate::incidents;
use crate::log::{EntryId, RawEntry, read_range};
use crate::order_id::OrderId;
use crate::postgres::PgError;
use crate::redis::{GROUP, RedisError};

use super::drain;
use super::open_error::OpenError;
use super::opening::Opening;
use super::watermark::Watermark;

const PERSISTED_SINCE: &str = include_str!("../../sql/keeper/persisted_since.sql");

impl Opening<'_> {
    /// How many entries of the backlog the log no longer holds. Looked at before anything replaces the consumer group.
    /// They may be persisted all the same, where a worker died before it settled them.
    pub(super) async fn entries_missing(&self) -> Result<u64, OpenError> {
        let unsettled = self.backlog.appended.saturating_sub(self.backlog.settled);
        if unsettled == 0 {
            return Ok(0);
        }
        let present = match self.last_delivered().await? {
            Some(delivered) => self.entries_after(delivered).await? + self.pending_present(delivered).await?,
            None => 0,
        };
        Ok(unsettled.saturating_sub(present))
    }

    /// Where the consumer group stood when the partition was closed.
    async fn last_delivered(&self) -> Result<Option<EntryId>, OpenError> {
        let args = vec!["GROUPS".into(), self.keys.log.clone().into()];
        let groups = match self.keeper.redis.command("XINFO", &self.keys.log, args).await {
            Err(RedisError::Refused(why)) if why.contains("no such key") => return Ok(None),
            groups => groups?.into_array(),
        };
        for group in groups {
            let mut words = group.into_array().into_iter();
            let (mut name, mut delivered) = (None, EntryId::ZERO);
            while let (Some(field), Some(value)) = (words.next(), words.next()) {
                match field.as_str().as_deref() {
                    Some("name") => name = value.as_string(),
                    Some("last-delivered-id") => {
                        delivered = value.as_str().and_then(|id| id.parse().ok()).unwrap_or(EntryId::ZERO);
                    }
                    _ => {}
                }
            }
            if name.as_deref() == Some(GROUP) {
                return Ok(Some(delivered));
            }
        }
        Ok(None)
    }

    async fn entries_after(&self, delivered: EntryId) -> Result<u64, OpenError> {
        let (mut from, mut entries) = (delivered.next(), 0);
        loop {
            let batch = read_range(&self.keeper.redis, &self.keys, from, drain::STEP).await?;
            let Some(last) = batch.last() else { return Ok(entries) };
            from = last.id.next();
            entries += batch.len() as u64;
        }
    }

    /// Entries that some worker has in hand and that the log still holds. Up to `delivered`: a worker may go on reading.
    async fn pending_present(&self, delivered: EntryId) -> Result<u64, OpenError> {
        let (mut from, mut present) = (EntryId::ZERO, 0);
        loop {
            let pending = self.pending(from, delivered).await?;
            let (Some(first), Some(last)) = (pending.first(), pending.last()) else { return Ok(present) };
            present += self.present(*first, *last, &pending).await?;
            from = last.next();
        }
    }

    async fn pending(&self, from: EntryId, to: EntryId) -> Result<Vec<EntryId>, OpenError> {
        let args: Vec<Value> =
            vec![GROUP.into(), from.to_string().into(), to.to_string().into(), (drain::STEP as i64).into()];
        let rows = self.keeper.redis.on_key("XPENDING", &self.keys.log, args).await?.into_array();
        let id = |row: Value| row.into_array().first().and_then(|id| id.as_str()?.parse().ok());
        Ok(rows.into_iter().filter_map(id).collect())
    }

    async fn present(&self, first: EntryId, last: EntryId, wanted: &[EntryId]) -> Result<u64, OpenError> {
        let wanted: HashSet<EntryId> = wanted.iter().copied().collect();
        // What the first of them holds stands before it, in its millisecond.
        let (mut from, mut present) = (EntryId { seq: 0, ..first }, 0);
        while from <= last {
            let batch: Vec<RawEntry> = read_range(&self.keeper.redis, &self.keys, from, drain::STEP).await?;
            let Some(end) = batch.last() else { break };
            from = end.id.next();
            present += batch.iter().filter(|entry| wanted.contains(&entry.held_by)).count() as u64;
        }
        Ok(present)
    }

    /// How many of the `missing` entries are in Postgres neither. Raises an incident where there are any, once for the
    /// watermark above which they were.
    pub(super) async fn report_lost(&self, watermark: &Watermark, missing: u64) -> Result<u64, OpenError> {
        if missing == 0 {
            return Ok(0);
        }
        let partition = self.keeper.partition;
        let since = self.backlog.since;
        let db = self.keeper.pool.get().await.map_err(PgError::from)?;
        let lowest = OrderId::lowest_at(since.ms).to_uuid();
        let row = db
            .query_one(PERSISTED_SINCE, &[&partition.to_sql(), &since.ms_sql(), &since.seq_sql(), &lowest])
            .await
            .map_err(PgError::from)?;
        let nowhere = self.backlog.appended.saturating_sub(row.get::<_, i64>(0).unsigned_abs());
        let lost = nowhere.min(missing);
        if lost == 0 {
            return Ok(0);
        }
        let subject = format!("{partition} {}", watermark.entry);
        let detail = format!(
            "{lost} log entries above {} were appended and not persisted, and are gone from the log",
            watermark.entry
        );
        incidents::raise(&db, "entries_lost", partition, &subject, &detail).await.map_err(PgError::from)?;
        Ok(lost)
    }
}
