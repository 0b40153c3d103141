//! Reads the logs of several partitions as one, a page at a time.

use std::collections::VecDeque;

use fred::types::Value;

use crate::log::{EntryAddress, EntryId, RawEntry, read_entries};
use crate::partition::Partition;
use crate::redis::{Keys, Redis, RedisError};

/// Entries in one page: a bounded reply, also where the log has millions.
const PAGE: i64 = 1000;

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
    /// What is left to read, both ends included; `None` once everything was read.
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
        let one = |&partition| OneLog { partition, left: Some(range), then: range.0, page: VecDeque::new() };
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
            log.left = log.left.or(Some((log.then, EntryId::MAX)));
        }
    }
}

impl OneLog {
    async fn fill(&mut self, redis: &Redis, direction: Direction) -> Result<(), RedisError> {
        let Some((from, to)) = self.left.filter(|_| self.page.is_empty()) else { return Ok(()) };
        if from > to {
            self.left = None;
            return Ok(());
        }
        let (command, first, second) = match direction {
            Direction::Forward => ("XRANGE", from, to),
            Direction::Backward => ("XREVRANGE", to, from),
        };
        let args: Vec<Value> =
            vec![first.to_string().into(), second.to_string().into(), "COUNT".into(), PAGE.into()];
        let log = Keys::new(self.partition).log;
        let page = read_entries(redis.on_key(command, &log, args).await?)?;
        if let Some(last) = page.last() {
            self.then = last.id.next();
        }
        let full = page.len() as i64 == PAGE;
        self.left = page.last().filter(|_| full).and_then(|last| match direction {
            Direction::Forward => Some((last.id.next(), to)),
            Direction::Backward => last.id.previous().map(|previous| (from, previous)),
        });
        self.page = page.into();
        Ok(())
    }
}
