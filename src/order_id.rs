//! An order's id is its address in the log.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;
use uuid::Uuid;

use crate::log::EntryId;
use crate::partition::Partition;

/// A ULID (<https://github.com/ulid/spec>) laid out as: 48 bits of the entry's milliseconds, 8 bits of partition,
/// 32 bits of the entry's sequence, 40 random bits drawn by the node that took the claim.
///
/// So replaying an entry gives the same id, and an order can be found in the log before Postgres has it. The random
/// part tells two histories apart that share a position, for example after Redis came back with older data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(u128);

/// The random part of an order's id: 40 bits, 8 characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(u64);

/// Not an order id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order id is a ULID: 26 characters of Crockford's base 32")]
pub struct OrderIdError;

/// Not the random part of an order id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mark is 8 characters of Crockford's base 32")]
pub struct MarkError;

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Mark {
    /// Length of its text, in bytes.
    pub const LENGTH: usize = 8;
    const BITS: u32 = 40;

    /// Draws one.
    pub fn random() -> Self {
        Self(fastrand::u64(..1 << Self::BITS))
    }

    /// Its eight characters.
    pub fn text(self) -> [u8; Self::LENGTH] {
        std::array::from_fn(|i| CROCKFORD[(self.0 >> (35 - 5 * i) & 31) as usize])
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().iter().try_for_each(|&c| fmt::Write::write_char(f, char::from(c)))
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({self})")
    }
}

impl FromStr for Mark {
    type Err = MarkError;
    fn from_str(text: &str) -> Result<Self, MarkError> {
        if text.len() != Self::LENGTH {
            return Err(MarkError);
        }
        let digit = |c: u8| CROCKFORD.iter().position(|&d| d == c).map(|d| d as u64);
        text.bytes().try_fold(0, |bits, c| Some(bits << 5 | digit(c)?)).map(Self).ok_or(MarkError)
    }
}

impl OrderId {
    /// Length of its text, in bytes.
    pub const LENGTH: usize = ulid::ULID_LEN;

    /// Its text, in this place.
    pub fn write_to(self, place: &mut [u8; Self::LENGTH]) -> &str {
        Ulid(self.0).array_to_str(place)
    }

    /// The id of the order that `entry` of `partition` holds.
    pub fn new(entry: EntryId, partition: Partition, mark: Mark) -> Self {
        Self(
            u128::from(entry.ms) << 80
                | u128::from(partition.number()) << 72
                | u128::from(entry.seq) << 40
                | u128::from(mark.0),
        )
    }

    /// The lowest id that an order of this millisecond can have, whatever its partition.
    pub fn lowest_at(ms: u64) -> Self {
        Self(u128::from(ms) << 80)
    }

    /// The lowest id that an order at this position can have, whatever its mark.
    pub fn lowest_of(entry: EntryId, partition: Partition) -> Self {
        Self::new(entry, partition, Mark(0))
    }

    /// The highest id that an order at this position can have, whatever its mark. In one partition every order above it
    /// stands later in the log.
    pub fn highest_of(entry: EntryId, partition: Partition) -> Self {
        Self::new(entry, partition, Mark((1 << Mark::BITS) - 1))
    }

    /// Where the order stands in its partition's log.
    pub fn entry(self) -> EntryId {
        EntryId { ms: (self.0 >> 80) as u64, seq: (self.0 >> 40) as u32 }
    }

    /// Whose log it stands in.
    pub fn partition(self) -> Partition {
        Partition::new((self.0 >> 72) as u8)
    }

    /// Its random part.
    pub fn mark(self) -> Mark {
        Mark(self.0 as u64 & ((1 << Mark::BITS) - 1))
    }

    /// As Postgres stores it.
    pub fn to_uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }

    /// From what Postgres stores.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.as_u128())
    }

    /// When the claim was accepted, by the clock of Redis.
    pub fn accepted_at(self) -> jiff::Timestamp {
        self.entry().time()
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write_to(&mut [0; Self::LENGTH]))
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderId({self})")
    }
}

impl FromStr for OrderId {
    type Err = OrderIdError;
    fn from_str(text: &str) -> Result<Self, OrderIdError> {
        Ulid::from_string(text).map(|ulid| Self(ulid.0)).map_err(|_| OrderIdError)
    }
}

impl serde::Serialize for OrderId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_its_address(ms in 0u64..1 << 48, partition: u8, seq: u32, bits in 0u64..1 << 40) {
            let (entry, mark) = (EntryId { ms, seq }, Mark(bits));
            let id = OrderId::new(entry, Partition::new(partition), mark);
            prop_assert_eq!((id.entry(), id.partition(), id.mark()), (entry, Partition::new(partition), mark));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(OrderId::from_uuid(id.to_uuid()), id);
            prop_assert_eq!(mark.to_string().parse(), Ok(mark));
            // The last 8 characters of the id are the mark: an operator can see it.
            prop_assert!(id.to_string().ends_with(&mark.to_string()));
        }
    }

    #[test]
    fn later_entries_have_higher_ids() {
        let id = |ms, seq| OrderId::new(EntryId { ms, seq }, Partition::new(0), Mark(0));
        assert!(id(1, 9) < id(2, 0) && id(2, 0) < id(2, 1));
        assert!(OrderId::lowest_at(2) <= id(2, 0) && id(1, u32::MAX) < OrderId::lowest_at(2));
        let entry = EntryId { ms: 1, seq: 5 };
        let (lowest, highest) =
            (OrderId::lowest_of(entry, Partition::new(0)), OrderId::highest_of(entry, Partition::new(0)));
        assert!(id(1, 4) < lowest && lowest <= id(1, 5) && id(1, 5) <= highest && highest < id(1, 6));
    }
}
