//! Under what a partition is open.

use std::fmt;
use std::str::FromStr;

use crate::partition::Partition;

/// Names one opening of one partition. Compiled into every script that changes anything, and compared by it
/// with `{pN}:meta`: a bare epoch would let another partition's scripts, or a rewound Redis, match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Of what.
    pub partition: Partition,
    /// Rises with every opening; Postgres knows the newest.
    pub epoch: i64,
    /// Drawn anew by every opening.
    pub nonce: u64,
}

/// Not a stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a stamp: {0:?}")]
pub struct StampError(String);

impl Stamp {
    /// A new stamp for an opening.
    pub fn new(partition: Partition, epoch: i64) -> Self {
        Self { partition, epoch, nonce: fastrand::u64(..) }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{:016x}", self.partition.number(), self.epoch, self.nonce)
    }
}

impl FromStr for Stamp {
    type Err = StampError;
    fn from_str(text: &str) -> Result<Self, StampError> {
        let parse = || {
            let mut parts = text.split(':');
            let stamp = Self {
                partition: Partition::new(parts.next()?.parse().ok()?),
                epoch: parts.next()?.parse().ok()?,
                nonce: u64::from_str_radix(parts.next()?, 16).ok()?,
            };
            parts.next().is_none().then_some(stamp)
        };
        parse().ok_or_else(|| StampError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let stamp = Stamp::new(Partition::new(7), 12);
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        for bad in ["", "1", "1:2", "1:2:x", "1:2:3:4", "256:1:0"] {
            assert!(bad.parse::<Stamp>().is_err(), "{bad}");
        }
    }
}
