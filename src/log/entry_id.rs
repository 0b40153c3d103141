//! The position of an entry in a partition's log.

use std::fmt;
use std::str::FromStr;

/// A stream entry id: milliseconds of Redis time, then a sequence within the millisecond.
/// <https://redis.io/docs/latest/develop/data-types/streams/#entry-ids>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch, by the clock of the Redis that wrote it. Fits in 48 bits.
    pub ms: u64,
    /// Sequence within `ms`.
    pub seq: u32,
}

/// Not an entry id that Doorbuster can address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a log entry id is <milliseconds>-<sequence> with at most 48 and 32 bits, not {0:?}")]
pub struct EntryIdError(pub String);

impl EntryId {
    /// Before every entry.
    pub const ZERO: EntryId = EntryId { ms: 0, seq: 0 };
    /// After every entry.
    pub const MAX: EntryId = EntryId { ms: Self::MS_MAX, seq: u32::MAX };
    const MS_MAX: u64 = (1 << 48) - 1;

    /// From the two columns that Postgres holds.
    pub fn from_sql(ms: i64, seq: i64) -> Option<Self> {
        let ms = u64::try_from(ms).ok().filter(|&ms| ms <= Self::MS_MAX)?;
        Some(Self { ms, seq: u32::try_from(seq).ok()? })
    }

    /// Milliseconds as Postgres stores them.
    pub fn ms_sql(self) -> i64 {
        i64::try_from(self.ms).unwrap_or(i64::MAX)
    }

    /// Sequence as Postgres stores it.
    pub fn seq_sql(self) -> i64 {
        i64::from(self.seq)
    }

    /// When the entry was written, by the clock of Redis.
    pub fn time(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.ms_sql()).unwrap_or(jiff::Timestamp::MAX)
    }

    /// The last position of the same millisecond.
    pub fn last_of_ms(self) -> Self {
        Self { seq: u32::MAX, ..self }
    }

    /// The first position after this one.
    pub fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => Self { ms: self.ms + 1, seq: 0 },
        }
    }

    /// The last position before this one; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u32::MAX }),
        }
    }
}

impl serde::Serialize for EntryId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = EntryIdError;
    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        let parse = || {
            let (ms, seq) = text.split_once('-')?;
            let ms = ms.parse().ok().filter(|&ms| ms <= Self::MS_MAX)?;
            Some(Self { ms, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| EntryIdError(text.chars().take(60).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let id = EntryId { ms: 1_800_000_000_123, seq: 7 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(EntryId::from_sql(id.ms_sql(), id.seq_sql()), Some(id));
    }

    #[test]
    fn refuses_what_an_order_id_could_not_hold() {
        for bad in ["", "1", "1-", "-1", "a-1", "281474976710656-0", "1-4294967296"] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn next_is_the_very_next() {
        assert_eq!(EntryId { ms: 5, seq: 1 }.next(), EntryId { ms: 5, seq: 2 });
        assert_eq!(EntryId { ms: 5, seq: u32::MAX }.next(), EntryId { ms: 6, seq: 0 });
        for id in [EntryId { ms: 5, seq: 1 }, EntryId { ms: 5, seq: u32::MAX }] {
            assert_eq!(id.next().previous(), Some(id));
        }
        assert_eq!(EntryId::ZERO.previous(), None);
    }
}
