//! Who has changed orders tells those who watch them: by a hint, never by the state itself. Postgres alone knows that, so
//! a hint that is lost, late or doubled does no harm.

use std::ops::RangeInclusive;

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

/// The positions that a message names, each with those before it that share its entry of the stream: `<position>`, or
/// `<position>:<number of them>`. What cannot be read is skipped.
pub(super) fn read_positions(text: &str) -> impl Iterator<Item = RangeInclusive<EntryId>> {
    text.split(' ').filter_map(|word| {
        let (last, count) = word.split_once(':').unwrap_or((word, "1"));
        let (last, count): (EntryId, u32) = (last.parse().ok()?, count.parse().ok()?);
        Some(EntryId { seq: last.seq.checked_sub(count.checked_sub(1)?)?, ..last }..=last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_positions() {
        let id = |ms, seq| EntryId { ms, seq };
        let named: Vec<_> = read_positions("7-3 8-4:3 x 9-1:3 9-0:0 5-1:1").collect();
        assert_eq!(named, [id(7, 3)..=id(7, 3), id(8, 2)..=id(8, 4), id(5, 1)..=id(5, 1)]);
    }
}
