//! Where a range of the log begins or ends, as an operator says it.

use std::str::FromStr;

use jiff::Timestamp;

use crate::log::EntryId;

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// This very entry.
    Entry(EntryId),
    /// This moment, in milliseconds since the Unix epoch.
    At(u64),
    /// So many milliseconds before now, by the clock of Redis.
    Ago(u64),
}

/// Not a place in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an entry id (1795000000000-0), a time (2026-11-27T09:00:00Z) or how long ago (-15m; s, m, h or d), \
     not {0:?}"
)]
pub struct BoundError(String);

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let parse = || {
            if let Some(ago) = text.strip_prefix('-') {
                return read_ago(ago).map(Self::Ago);
            }
            if let Ok(entry) = text.parse() {
                return Some(Self::Entry(entry));
            }
            let at: Timestamp = text.parse().ok()?;
            u64::try_from(at.as_millisecond()).ok().map(Self::At)
        };
        parse().ok_or_else(|| BoundError(text.chars().take(60).collect()))
    }
}

/// Milliseconds of `15m`.
fn read_ago(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1000)
}

impl Bound {
    /// The first entry that a range from here can hold.
    pub fn first(self, now_ms: u64) -> EntryId {
        match self {
            Self::Entry(entry) => entry,
            Self::At(ms) => EntryId { ms, seq: 0 },
            Self::Ago(ms) => EntryId { ms: now_ms.saturating_sub(ms), seq: 0 },
        }
    }

    /// The last entry that a range up to here can hold.
    pub fn last(self, now_ms: u64) -> EntryId {
        match self {
            Self::Entry(entry) => entry,
            moment => EntryId { seq: u32::MAX, ..moment.first(now_ms) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_it() {
        let at = |ms, seq| EntryId { ms, seq };
        for (text, first, last) in [
            ("1795000000123-7", at(1_795_000_000_123, 7), at(1_795_000_000_123, 7)),
            ("1970-01-01T00:00:01.5Z", at(1500, 0), at(1500, u32::MAX)),
            ("-15m", at(100_000, 0), at(100_000, u32::MAX)),
            ("-2d", at(0, 0), at(0, u32::MAX)),
        ] {
            let bound: Bound = text.parse().unwrap();
            assert_eq!((bound.first(1_000_000), bound.last(1_000_000)), (first, last), "{text}");
        }
        for bad in ["", "-", "-15", "-m", "-15x", "-é", "yesterday", "2026-11-27", "1795000000000", "15m"] {
            assert!(bad.parse::<Bound>().is_err(), "{bad}");
        }
    }
}
