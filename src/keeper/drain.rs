//! Everything that the log holds and Postgres does not, in log order.

use std::time::Duration;

use crate::log::{EntryId, LogEntry, RawEntry, read_range};
use crate::persist::{Applied, Fence, Foreseen, persist_again};
use crate::postgres::PgPool;
use crate::redis::{Keys, Redis};

use super::open_error::OpenError;

/// Entries in one step.
pub(super) const STEP: usize = 1000;

/// From where a log is drained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// The first entry.
    pub from: EntryId,
    /// Everything at or below it is in Postgres.
    pub watermark: EntryId,
    /// An operator gives up what is missing.
    pub accepts_gap: bool,
}

/// What a drain did.
#[derive(Debug, Default)]
pub(super) struct Drained {
    /// What Postgres did not have.
    pub applied: Applied,
    /// Parts that are missing and were given up: persisted up to the first, the log goes on at the second.
    pub given_up: Vec<(EntryId, EntryId)>,
}

/// Persists the log from `start` to its end. Entries that are known already change nothing.
///
/// # Errors
/// [`OpenError::Gap`] where a part of the log is missing that this database has not, and nobody has given up; what stands before
/// it is persisted.
pub(super) async fn drain(
    redis: &Redis,
    keys: &Keys,
    pool: &PgPool,
    fence: Fence,
    start: Start,
    limit: Duration,
) -> Result<Drained, OpenError> {
    let foreseen = Foreseen::read(redis, keys, start.from).await?;
    let mut total = Drained::default();
    let mut persisted = start.watermark;
    let mut next = start.from;
    loop {
        let batch = read_range(redis, keys, next, STEP).await?;
        let Some(last) = batch.last() else { return Ok(total) };
        next = last.id.next();
        for entry in &batch {
            if is_gap_before(entry, persisted) {
                if !start.accepts_gap {
                    return Err(OpenError::Gap { watermark: persisted, first: entry.id });
                }
                total.given_up.push((persisted, entry.id));
            }
            persisted = persisted.max(entry.id);
        }
        // Nothing is settled here, so those that share an entry need not stay together.
        for batch in batch.chunks(STEP) {
            total.applied += persist_again(pool, fence, batch, &foreseen, limit).await?;
        }
    }
}

/// An opening says what was persisted when it was written. Where that is more than what stands before it in the log,
/// this is not the database it was said of: that one was newer, and the log had been lost behind it.
fn is_gap_before(entry: &RawEntry, persisted: EntryId) -> bool {
    matches!(entry.decode(), Ok(LogEntry::Opening { base, .. }) if base > persisted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_id::Mark;

    fn opening(at: u64, base: u64) -> RawEntry {
        let at_ms = |ms| EntryId { ms, seq: 0 };
        let value = LogEntry::encode_opening(Mark::random(), 2, at_ms(base));
        RawEntry::from_fields(at_ms(at), vec![b"opening".to_vec(), value.into_bytes()])
    }

    #[test]
    fn an_opening_that_knew_more_than_the_log_and_the_database_tells_of_a_gap() {
        let persisted = EntryId { ms: 50, seq: 0 };
        assert!(!is_gap_before(&opening(60, 50), persisted));
        assert!(!is_gap_before(&opening(60, 40), persisted));
        assert!(is_gap_before(&opening(70, 60), persisted));
    }
}
