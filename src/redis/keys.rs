//! Every Redis key has its home here. All keys of a partition share the hash tag `{pN}`, so that each script
//! touches one slot of a Redis Cluster.

use fred::types::Key;

use crate::catalogue::SaleId;
use crate::partition::Partition;

/// The consumer group of the persist workers.
pub const GROUP: &str = "persist";

/// The consumer group of the payment workers.
pub const PAYMENT_GROUP: &str = "payment";

/// The version of everything below and of what is stored there, the log's entries included: a higher one wherever the
/// version before could not read what is written. Unlike versions do not mix: a keeper opens what an older one has written
/// (its nodes are closed then), and refuses what a newer one has.
///
/// 2: the orders of one call of `claim.lua` stand in one entry of the stream.
pub const LAYOUT: u32 = 2;

/// The keys of one partition.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Hash: `epoch`, `state`, `token`, `stamp`, `lease_until` (ms), `layout`, `opening` (its log entry); `appended`,
    /// `settled` (log entries since); `touched` (see touch.lua).
    pub meta: Key,
    /// Stream: the log.
    pub log: Key,
    /// Shard channel: positions of orders whose state has changed in Postgres, separated by spaces (see
    /// [`crate::live`]).
    pub order_changes: Key,
    /// Stream: orders that were persisted and are to be paid for, until a payment worker has read them. Only a hint.
    pub payments: Key,
    partition: Partition,
}

/// The keys of one sale in one partition.
#[derive(Clone, Debug)]
pub struct SaleKeys {
    /// Hash: `version`, `control`, `opens_at`, `closes_at` (ms), `stock:<sku>`, `limit:<sku>` (units).
    pub sale: Key,
    /// Hash: buyer to his orders in this sale, each `<head><entry id> <SKU>:<units>,...;`.
    pub buyers: Key,
    /// Set: causes of stock changes that were applied.
    pub causes: Key,
}

impl Keys {
    /// Those of `partition`.
    pub fn new(partition: Partition) -> Self {
        let key = |name: &str| Key::from(format!("{{{partition}}}:{name}"));
        Self {
            meta: key("meta"),
            log: key("log"),
            order_changes: key("order-changes"),
            payments: key("payments"),
            partition,
        }
    }

    /// Those of one sale.
    pub fn sale(&self, sale: &SaleId) -> SaleKeys {
        let key = |name: &str| Key::from(format!("{{{}}}:sale:{sale}{name}", self.partition));
        SaleKeys { sale: key(""), buyers: key(":buyers"), causes: key(":causes") }
    }

    /// Matches the keys of every sale.
    pub fn sales_pattern(&self) -> String {
        format!("{{{}}}:sale:*", self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_partition_share_its_hash_tag() {
        let keys = Keys::new(Partition::new(3));
        let sale = keys.sale(&"demo".parse().unwrap());
        for key in [
            &keys.meta,
            &keys.log,
            &keys.order_changes,
            &keys.payments,
            &sale.sale,
            &sale.buyers,
            &sale.causes,
        ] {
            assert!(key.as_str().unwrap().starts_with("{p3}:"), "{key:?}");
        }
        assert_eq!(sale.buyers.as_str(), Some("{p3}:sale:demo:buyers"));
    }
}
