//! Everything that the log holds and Postgres does not, in log order.

use std::time::Duration;

use crate::log::{EntryId, RawEntry, read_range};
use crate::persist::{Applied, Fence, persist};
use crate::postgres::PgPool;
use crate::redis::{Keys, Redis};

use super::open_error::OpenError;

/// Entries in one step.
pub(super) const STEP: i64 = 1000;

/// Persists the log from `from` to its end. Entries that are known already change nothing.
pub(super) async fn drain(
    redis: &Redis,
    keys: &Keys,
    pool: &PgPool,
    fence: Fence,
    from: EntryId,
    limit: Duration,
) -> Result<Applied, OpenError> {
    let mut total = Applied::default();
    let mut next = from;
    loop {
        let batch: Vec<RawEntry> = read_range(redis, keys, next, STEP).await?;
        let Some(last) = batch.last() else { return Ok(total) };
        next = last.id.next();
        let applied = persist(pool, fence, &batch, limit).await?;
        total.new_orders += applied.new_orders;
        total.over_allotment += applied.over_allotment;
        total.dead_letters += applied.dead_letters;
    }
}
