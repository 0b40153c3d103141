//! How much of the log a worker reads at once, and how what it has read is divided.

use std::collections::BTreeMap;

use crate::log::{EntryId, RawEntry};

/// Which entries a consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Those that were delivered to it and are not settled.
    Own,
    /// Those that were delivered to nobody.
    New,
}

/// Entries of the stream in the first read, and by how much the next one may ask for more.
const FIRST: usize = 8;
const GROWTH_MAX: usize = 4;

/// A worker's reading. Redis counts entries of the stream, of which each holds one order or hundreds: how many make a batch is
/// learned from what was read last.
#[derive(Debug)]
pub(super) struct Reading {
    /// What is asked for next.
    pub next: Unread,
    count: usize,
    batch_max: usize,
}

impl Reading {
    /// Begins with what was delivered before. `batch_max` is in entries of the log.
    pub fn new(batch_max: usize) -> Self {
        Self { next: Unread::Own, count: FIRST.min(batch_max), batch_max }
    }

    /// Entries of the stream to ask for.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes note of what came, and tells whether there may be more of the same.
    pub fn has_read(&mut self, entries: &[RawEntry]) -> bool {
        if entries.is_empty() {
            self.next = Unread::New;
            return false;
        }
        let held_by = entries.chunk_by(|one, next| one.held_by == next.held_by).count();
        let left_others = held_by >= self.count;
        if left_others || entries.len() > self.batch_max {
            let whole_batch = held_by * self.batch_max / entries.len();
            self.count = whole_batch.clamp(1, (self.count * GROWTH_MAX).min(self.batch_max));
        } else {
            // What was learned from single orders says little of the next rush.
            self.count = self.count.min((2 * held_by).max(FIRST)).min(self.batch_max);
        }
        left_others
    }
}

/// How many of these entries make a batch: those that share an entry of the stream stay together, since they are settled
/// together.
pub(super) fn batch_len(entries: &[RawEntry], batch_max: usize) -> usize {
    match entries.get(batch_max.saturating_sub(1)) {
        Some(last) => {
            batch_max + entries[batch_max..].iter().take_while(|next| next.held_by == last.held_by).count()
        }
        None => entries.len(),
    }
}

/// The entries of the stream that hold these, by how many each holds.
pub(super) fn by_size(entries: &[RawEntry]) -> BTreeMap<usize, Vec<EntryId>> {
    let mut by_size: BTreeMap<usize, Vec<EntryId>> = BTreeMap::new();
    for held in entries.chunk_by(|one, next| one.held_by == next.held_by) {
        by_size.entry(held.len()).or_default().push(held[0].held_by);
    }
    by_size
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of the stream that hold so many orders each.
    fn entries(sizes: &[u32]) -> Vec<RawEntry> {
        let of = |(ms, size): (u64, &u32)| {
            let held_by = EntryId { ms, seq: size - 1 };
            (0..*size).map(move |seq| RawEntry { held_by, ..RawEntry::vanished(EntryId { ms, seq }) })
        };
        (1..).zip(sizes).flat_map(of).collect()
    }

    #[test]
    fn a_read_asks_for_about_a_batch() {
        let mut reading = Reading::new(100);
        assert!(!reading.has_read(&[]));
        assert_eq!((reading.next, reading.count()), (Unread::New, 8));
        assert!(reading.has_read(&entries(&[1; 8])));
        assert_eq!(reading.count(), 32);
        assert!(!reading.has_read(&entries(&[1; 20])), "there was less than asked for");
        assert_eq!(reading.count(), 32);
        assert!(reading.has_read(&entries(&[1; 32])));
        assert_eq!(reading.count(), 100, "never more than a batch of single orders");
        assert!(!reading.has_read(&entries(&[1; 3])));
        assert_eq!(reading.count(), 8, "a trickle says little of the next rush");
        assert!(reading.has_read(&entries(&[1; 8])) && reading.has_read(&entries(&[1; 32])));
        assert!(!reading.has_read(&entries(&[10; 20])), "much, but all there was");
        assert_eq!(reading.count(), 10);
        assert!(reading.has_read(&entries(&[200; 10])));
        assert_eq!(reading.count(), 1);
    }

    #[test]
    fn what_shares_an_entry_stays_together() {
        let read = entries(&[3, 1, 4, 2]);
        assert_eq!(batch_len(&read, 3), 3);
        assert_eq!(batch_len(&read, 2), 3);
        assert_eq!(batch_len(&read, 5), 8);
        assert_eq!(batch_len(&read, 9), 10);
        assert_eq!(batch_len(&read, 10), 10);
        assert_eq!(batch_len(&read, 11), 10);
    }

    #[test]
    fn entries_are_settled_by_how_many_orders_they_hold() {
        let id = |ms, seq| EntryId { ms, seq };
        let by_size = by_size(&entries(&[2, 1, 2]));
        assert_eq!(by_size, BTreeMap::from([(1, vec![id(2, 0)]), (2, vec![id(1, 1), id(3, 1)])]));
    }
}
