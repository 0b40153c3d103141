//! What the scripts of a reconcile tell.

use std::collections::BTreeMap;

use crate::catalogue::{SaleId, Sku};
use crate::log::EntryId;
use crate::redis::{GROUP, Keys, Redis, RedisError, Script, StampedScripts};

/// The stock of a sale, and where the log stood at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry: the stock is what the entries up to it made.
    pub position: EntryId,
    /// The first entry that was not settled then, if any.
    pub unsettled: Option<EntryId>,
    /// Whether Redis has the sale.
    pub is_here: bool,
    /// Units of each item that has stock.
    pub stock: BTreeMap<Sku, i64>,
}

impl Snapshot {
    /// Takes one.
    ///
    /// # Errors
    /// [`RedisError::Fenced`] where the opening is over.
    pub async fn take(redis: &Redis, scripts: &StampedScripts, sale: &SaleId) -> Result<Self, RedisError> {
        let keys = Keys::new(scripts.stamp.partition);
        let all = vec![keys.meta.clone(), keys.sale(sale).sale, keys.log];
        let reply = redis.run(scripts, Script::Snapshot, all, vec![GROUP.into()]).await?;
        let mut words = reply.into_array().into_iter();
        let mut word = || words.next().and_then(|word| word.as_string());
        let unexpected = || RedisError::Unexpected("reply of snapshot".into());
        let position = word().and_then(|id| id.parse().ok()).ok_or_else(unexpected)?;
        let unsettled = unsettled(&word().ok_or_else(unexpected)?).ok_or_else(unexpected)?;
        let is_here = word().ok_or_else(unexpected)? == "1";
        let mut stock = BTreeMap::new();
        while let Some(sku) = word() {
            let units = word().and_then(|units| units.parse().ok()).ok_or_else(unexpected)?;
            stock.insert(sku.parse().map_err(|_| unexpected())?, units);
        }
        Ok(Self { position, unsettled, is_here, stock })
    }
}

/// Where a partition's log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSample {
    /// By the clock of Redis, since the Unix epoch.
    pub now_ms: u64,
    /// Entries appended since the opening and not settled.
    pub backlog: u64,
    /// Entries of the stream.
    pub length: u64,
    /// The oldest entry that is kept.
    pub first: EntryId,
    /// The newest one.
    pub last: EntryId,
    /// The oldest one that is not settled, if any.
    pub unsettled: Option<EntryId>,
}

impl LogSample {
    /// Takes one.
    ///
    /// # Errors
    /// [`RedisError::Fenced`] where the opening is over.
    pub async fn take(redis: &Redis, scripts: &StampedScripts) -> Result<Self, RedisError> {
        let keys = Keys::new(scripts.stamp.partition);
        let reply = redis.run(scripts, Script::Sample, vec![keys.meta, keys.log], vec![GROUP.into()]).await?;
        type Words = (u64, u64, u64, u64, String, String, String);
        let (now_ms, appended, settled, length, first, last, oldest): Words = reply.convert()?;
        let id = |text: &str| text.parse().map_err(|_| RedisError::Unexpected("reply of sample".into()));
        Ok(Self {
            now_ms,
            backlog: appended.saturating_sub(settled),
            length,
            first: id(&first)?,
            last: id(&last)?,
            unsettled: if oldest.is_empty() { None } else { Some(id(&oldest)?) },
        })
    }

    /// Whether every entry at or below `position` is in Postgres.
    pub fn is_persisted(&self, position: EntryId) -> bool {
        self.unsettled.is_none_or(|oldest| oldest > position)
    }

    /// How long ago an entry was written, in milliseconds.
    pub fn age_ms(&self, entry: EntryId) -> u64 {
        self.now_ms.saturating_sub(entry.ms)
    }
}

fn unsettled(text: &str) -> Option<Option<EntryId>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persisted_is_what_lies_below_the_oldest_that_is_not_settled() {
        let at = |ms| EntryId { ms, seq: 0 };
        let mut sample =
            LogSample { now_ms: 9, backlog: 1, length: 3, first: at(1), last: at(3), unsettled: Some(at(2)) };
        assert!(sample.is_persisted(at(1)) && !sample.is_persisted(at(2)) && !sample.is_persisted(at(3)));
        sample.unsettled = None;
        assert!(sample.is_persisted(at(3)));
        assert_eq!((sample.age_ms(at(2)), sample.age_ms(at(20))), (7, 0));
    }
}
