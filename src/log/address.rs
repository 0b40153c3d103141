//! Where an entry stands, across partitions.

use std::fmt;
use std::str::FromStr;

use crate::log::EntryId;
use crate::order_id::{Mark, OrderId};
use crate::partition::Partition;

/// A partition and a position in its log, written `p0:1800000000123-0`. An order's id is read too: it is the address
/// of its entry, and names the very order by its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryAddress {
    /// Whose log.
    pub partition: Partition,
    /// Where in it.
    pub entry: EntryId,
    /// The mark that the entry must have, where the address was given as an order's id.
    pub mark: Option<Mark>,
}

/// Not an address of an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry is named by its order's id, or as p0:1800000000123-0, not {0:?}")]
pub struct EntryAddressError(String);

impl EntryAddress {
    /// That of an entry.
    pub fn new(partition: Partition, entry: EntryId) -> Self {
        Self { partition, entry, mark: None }
    }
}

impl From<OrderId> for EntryAddress {
    fn from(order: OrderId) -> Self {
        Self { partition: order.partition(), entry: order.entry(), mark: Some(order.mark()) }
    }
}

impl fmt::Display for EntryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.entry)
    }
}

impl FromStr for EntryAddress {
    type Err = EntryAddressError;
    fn from_str(text: &str) -> Result<Self, EntryAddressError> {
        if let Ok(order) = text.parse::<OrderId>() {
            return Ok(order.into());
        }
        let parse = || {
            let (partition, entry) = text.strip_prefix('p')?.split_once(':')?;
            Some(Self::new(Partition::new(partition.parse().ok()?), entry.parse().ok()?))
        };
        parse().ok_or_else(|| EntryAddressError(text.chars().take(60).collect()))
    }
}

impl serde::Serialize for EntryAddress {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_the_address_of_its_entry() {
        let (partition, entry) = (Partition::new(3), EntryId { ms: 1_800_000_000_123, seq: 7 });
        let address: EntryAddress = "p3:1800000000123-7".parse().unwrap();
        assert_eq!(address, EntryAddress::new(partition, entry));
        assert_eq!(address.to_string(), "p3:1800000000123-7");
        let order = OrderId::new(entry, partition, Mark::random());
        let by_order: EntryAddress = order.to_string().parse().unwrap();
        assert_eq!((by_order.to_string(), by_order.mark), (address.to_string(), Some(order.mark())));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "p0", "1-0", "p0:1", "p256:1-0", "px:1-0", "p0:1-0:2"] {
            assert!(bad.parse::<EntryAddress>().is_err(), "{bad}");
        }
    }
}
