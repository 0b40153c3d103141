//! Reads the logs of several partitions as one, a page at a time.

use std::cmp::Reverse;
use std::collections::VecDeque;

use fred::types::Value;

use crate::log::read::{Page, read_page};
use crate::log::{EntryAddress, EntryId, RawEntry};
use crate::partition::Partition;
use crate::redis::{Keys, Redis, RedisError};

/// Entries of the stream in one page: a bounded reply, also where the log has millions.
const PAGE: usize = 100;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// A walk through a stretch of the logs in the order of their ids. Cancel-safe: an entry is given out or still there.
pub struct LogWalk {
    redis: Redis,
    direction: Direction,
    logs: Vec<OneLog>,
}

struct OneLog {
    partition: Partition,
    /// What is wanted, both ends included.
    range: (EntryId, EntryId),
    /// What is left to read of the stream, both ends included; `None` once everything was read.
    left: Option<(EntryId, EntryId)>,
    /// Of a forward walk: where what is appended later begins.
    then: EntryId,
    page: VecDeque<RawEntry>,
}

impl LogWalk {
    /// Through `range`, both ends included.
    pub fn new(
        redis: Redis,
        partitions: &[Partition],
        range: (EntryId, EntryId),
        direction: Direction,
    ) -> Self {
        // What holds an order stands behind it, in the same millisecond.
        let left = Some((range.0, range.1.last_of_ms()));
        let one = |&partition| OneLog { partition, range, left, then: range.0, page: VecDeque::new() };
        Self { redis, direction, logs: partitions.iter().map(one).collect() }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// Those of any command; the walk may go on afterwards.
    pub async fn next(&mut self) -> Result<Option<(EntryAddress, RawEntry)>, RedisError> {
        for log in &mut self.logs {
            log.fill(&self.redis, self.direction).await?;
        }
        let waiting = self.logs.iter_mut().filter(|log| !log.page.is_empty());
        let place = |log: &&mut OneLog| log.page.front().map(|entry| (entry.id, log.partition));
        let first = match self.direction {
            Direction::Forward => waiting.min_by_key(place),
            Direction::Backward => waiting.max_by_key(place),
        };
        Ok(first.and_then(|log| {
            let entry = log.page.pop_front()?;
            Some((EntryAddress::new(log.partition, entry.id), entry))
        }))
    }

    /// Goes on where a forward walk ended: what was appended meanwhile comes next.
    pub fn go_on(&mut self) {
        for log in &mut self.logs {
            if log.left.is_none() {
                log.range = (log.then, EntryId::MAX);
                log.left = Some(log.range);
            }
        }
    }
}

impl OneLog {
    /// Reads on until there is something, or nothing more.
    async fn fill(&mut self, redis: &Redis, direction: Direction) -> Result<(), RedisError> {
        while self.page.is_empty()
            && let Some((from, to)) = self.left
        {
            match from <= to {
                true => self.read_page(redis, direction, (from, to)).await?,
                false => self.left = None,
            }
        }
        Ok(())
    }

    async fn read_page(
        &mut self,
        redis: &Redis,
        direction: Direction,
        (from, to): (EntryId, EntryId),
    ) -> Result<(), RedisError> {
        let (command, first, second) = match direction {
            Direction::Forward => ("XRANGE", from, to),
            Direction::Backward => ("XREVRANGE", to, from),
        };
        let args: Vec<Value> =
            vec![first.to_string().into(), second.to_string().into(), "COUNT".into(), (PAGE as i64).into()];
        let log = Keys::new(self.partition).log;
        let Page { held_by, entries: mut page } = read_page(redis.on_key(command, &log, args).await?)?;
        if direction == Direction::Backward {
            page.sort_unstable_by_key(|entry| Reverse(entry.id));
        }
        if let Some(last) = page.last() {
            self.then = last.id.min(self.range.1).next();
        }
        self.left = page.last().filter(|_| held_by == PAGE).and_then(|last| match direction {
            Direction::Forward => Some((last.id.next(), to)),
            Direction::Backward => last.id.previous().map(|previous| (from, previous)),
        });
        page.retain(|entry| (self.range.0..=self.range.1).contains(&entry.id));
        self.page = page.into();
        Ok(())
    }
}
