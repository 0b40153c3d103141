//! A stretch of the log, as an operator names it.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use crate::log::EntryId;

/// One end of a stretch of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogBound {
    /// At this very entry.
    Entry(EntryId),
    /// At this time, to the millisecond.
    Time(Timestamp),
    /// So long before now, by the clock of Redis, which is also that of the entries.
    Ago(SignedDuration),
}

/// Not an end of a stretch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no place in the log: give a time such as 2026-11-27T09:00:00Z, a time before now such as -15m or -1d2h, \
     or an entry id such as 1800000000123-0"
)]
pub struct LogBoundError(String);

/// A stretch of the log, both ends included; an end that is not given is the log's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRange {
    /// The first entry, or what lies before it.
    pub from: Option<LogBound>,
    /// The last entry, or what lies after it.
    pub to: Option<LogBound>,
}

impl LogBound {
    /// Milliseconds since the Unix epoch; an entry's are those of its id. What lies before 1970 is 0.
    fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Entry(id) => id.ms,
            Self::Time(time) => u64::try_from(time.as_millisecond()).unwrap_or(0),
            Self::Ago(ago) => now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl LogRange {
    /// The positions it spans, both included. A time stands for its whole millisecond.
    pub fn resolve(&self, now_ms: u64) -> (EntryId, EntryId) {
        let from = match self.from {
            None => EntryId::ZERO,
            Some(LogBound::Entry(id)) => id,
            Some(bound) => EntryId { ms: bound.ms(now_ms), seq: 0 },
        };
        let to = match self.to {
            None => EntryId::MAX,
            Some(LogBound::Entry(id)) => id,
            Some(bound) => EntryId { ms: bound.ms(now_ms), seq: u32::MAX },
        };
        (from.min(EntryId::MAX), to.min(EntryId::MAX))
    }
}

impl FromStr for LogBound {
    type Err = LogBoundError;
    fn from_str(text: &str) -> Result<Self, LogBoundError> {
        let parse = || {
            if let Some(ago) = text.strip_prefix('-') {
                let span: Span = ago.parse().ok()?;
                let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
                return (!ago.is_negative()).then_some(Self::Ago(ago));
            }
            if text == "now" {
                return Some(Self::Ago(SignedDuration::ZERO));
            }
            text.parse().map(Self::Entry).or_else(|_| text.parse().map(Self::Time)).ok()
        };
        parse().ok_or_else(|| LogBoundError(text.chars().take(60).collect()))
    }
}

impl fmt::Display for LogBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(id) => id.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Ago(ago) => write!(f, "-{ago:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn from(text: &str) -> EntryId {
        LogRange { from: Some(text.parse().unwrap()), to: None }.resolve(NOW_MS).0
    }

    fn to(text: &str) -> EntryId {
        LogRange { from: None, to: Some(text.parse().unwrap()) }.resolve(NOW_MS).1
    }

    #[test]
    fn a_place_is_named_in_three_ways() {
        assert_eq!(from("1800-7"), EntryId { ms: 1800, seq: 7 });
        assert_eq!(from("2027-01-15T08:00:00Z"), EntryId { ms: NOW_MS, seq: 0 });
        assert_eq!(from("2027-01-15T09:00:00.5+01:00"), EntryId { ms: NOW_MS + 500, seq: 0 });
        assert_eq!(from("-15m"), EntryId { ms: NOW_MS - 15 * 60_000, seq: 0 });
        assert_eq!(from("-1d2h"), EntryId { ms: NOW_MS - 26 * 3_600_000, seq: 0 });
        assert_eq!(from("now"), EntryId { ms: NOW_MS, seq: 0 });
    }

    #[test]
    fn the_last_millisecond_is_included() {
        assert_eq!(to("2027-01-15T08:00:00Z"), EntryId { ms: NOW_MS, seq: u32::MAX });
        assert_eq!(to("1800-7"), EntryId { ms: 1800, seq: 7 });
        assert_eq!(LogRange::default().resolve(NOW_MS), (EntryId::ZERO, EntryId::MAX));
    }

    #[test]
    fn what_lies_before_time_is_the_beginning() {
        assert_eq!(from("1900-01-01T00:00:00Z"), EntryId::ZERO);
        assert_eq!(from("-100000d"), EntryId::ZERO);
    }

    #[test]
    fn a_place_reads_back() {
        for text in ["1800-7", "2027-01-15T08:00:00Z", "-15m", "-26h"] {
            let bound: LogBound = text.parse().unwrap();
            assert_eq!(bound.to_string().parse(), Ok(bound), "{bound}");
        }
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for bad in
            ["", "-", "yesterday", "2027-01-15", "2027-01-15T08:00:00", "15m", "--15m", "1800", "-1month"]
        {
            assert!(bad.parse::<LogBound>().is_err(), "{bad}");
        }
    }
}
