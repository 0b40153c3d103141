//! Who has changed orders tells those who watch them: by a hint, never by the state itself. Postgres alone knows that, so
//! a hint that is lost, late or doubled does no harm.

use crate::log::EntryId;
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::redis::{Keys, Redis, RedisError};

/// Tells that these orders of one partition have changed, after the change was committed. `settle.lua` does the same for
/// orders that were persisted. Orders of other partitions are left out.
///
/// # Errors
/// Those of any command. Whoever watches looks again by himself, only later.
pub async fn publish_order_changes(
    redis: &Redis,
    partition: Partition,
    orders: &[OrderId],
) -> Result<(), RedisError> {
    let ours = orders.iter().filter(|id| id.partition() == partition);
    let text = ours.map(|id| id.entry().to_string()).collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return Ok(());
    }
    redis.on_key("SPUBLISH", &Keys::new(partition).order_changes, vec![text.into()]).await.map(drop)
}

/// The entries that a message names; what cannot be read is skipped.
pub(super) fn read_entries(text: &str) -> impl Iterator<Item = EntryId> {
    text.split(' ').filter_map(|word| word.parse().ok())
}
