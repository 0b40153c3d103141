//! Partitions: fixed slices of buyers, each with its own Redis keys and its own log.

use std::fmt;
use std::num::NonZeroU8;

use xxhash_rust::xxh3::xxh3_64;

use crate::buyer::BuyerId;

/// One slice of buyers, numbered from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// The partition with this number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its number as Postgres stores it.
    pub fn to_sql(self) -> i16 {
        i16::from(self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// How many partitions there are: stored in Postgres, fixed while sales exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions(NonZeroU8);

impl Partitions {
    /// `count` partitions; `None` for 0.
    pub fn new(count: u8) -> Option<Self> {
        NonZeroU8::new(count).map(Self)
    }

    /// Their number.
    pub fn count(self) -> u8 {
        self.0.get()
    }

    /// All of them, in order.
    pub fn all(self) -> impl Iterator<Item = Partition> + Clone {
        (0..self.0.get()).map(Partition)
    }

    /// Where a buyer's claims are decided. XXH3 is fixed for all versions: changing it would move buyers
    /// away from their own idempotency keys.
    pub fn of(self, buyer: &BuyerId) -> Partition {
        let remainder = xxh3_64(buyer.as_str().as_bytes()) % u64::from(self.0.get());
        Partition(u8::try_from(remainder).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buyer_stays_where_it_is_for_ever() {
        let four = Partitions::new(4).unwrap();
        let places: Vec<u8> = ["a", "b", "c", "alice", "bob"]
            .iter()
            .map(|b| four.of(&BuyerId::parse(b.as_bytes()).unwrap()).number())
            .collect();
        assert_eq!(places, [3, 3, 3, 0, 1], "pinned values: a change moves buyers");
    }

    #[test]
    fn buyers_spread_evenly() {
        let four = Partitions::new(4).unwrap();
        let mut counts = [0u32; 4];
        for i in 0..4000 {
            counts
                [usize::from(four.of(&BuyerId::parse(format!("buyer-{i}").as_bytes()).unwrap()).number())] +=
                1;
        }
        assert!(counts.iter().all(|&n| (850..1150).contains(&n)), "{counts:?}");
    }
}
