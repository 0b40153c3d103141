//! The arithmetic: what Redis must hold, and by how much it does not.

use serde::Serialize;

use crate::catalogue::{SaleId, Sku};
use crate::log::EntryId;

/// What Postgres knows of an item in a partition, up to a log position. Units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Allotments that are in the log.
    pub allotted: i64,
    /// In active orders that were persisted when the snapshot was taken.
    pub sold: i64,
    /// In active orders that were accepted then, but not known to be persisted.
    pub in_flight: i64,
    /// In cancelled orders, and not yet back in stock.
    pub returning: i64,
    /// In orders that wait among the dead letters.
    pub dead: i64,
}

impl Account {
    /// What Redis must hold.
    pub fn expected(&self) -> i64 {
        self.allotted - self.sold - self.in_flight - self.returning - self.dead
    }
}

/// By how much the aggregates, of which the gate of promise 1 is one, differ from the rows they sum up. Units; 0 is the
/// only good value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Aggregates {
    /// `sale_stock.sold` minus the units of active orders.
    pub sold_drift: i64,
    /// `sale_stock.allotted` minus the allotments of the ledger and those on their way.
    pub allotted_drift: i64,
    /// Open returns minus the units of cancelled orders that did not come back; negative: they never will.
    pub returning_drift: i64,
}

/// One item of one partition, at one position of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// In which sale.
    pub sale: SaleId,
    /// Which item.
    pub sku: Sku,
    /// Where.
    pub position: EntryId,
    /// As Postgres has it.
    pub account: Account,
    /// As Redis has it; `None` where the item has no stock there.
    pub redis: Option<i64>,
    /// Where the rows themselves were summed up.
    pub aggregates: Option<Aggregates>,
}

impl Balance {
    /// Units in Redis that Postgres does not know of; negative: units that nobody can buy.
    pub fn drift(&self) -> i64 {
        self.redis.unwrap_or(0) - self.account.expected()
    }

    /// Whether the item has been allotted units and has no stock in Redis, not even 0: claims of it find it closed.
    pub fn is_missing(&self) -> bool {
        self.redis.is_none() && self.account.allotted > 0
    }

    /// Whether Redis does not hold what Postgres computes.
    pub fn is_off_in_redis(&self) -> bool {
        self.drift() != 0 || self.is_missing()
    }

    /// Whether Redis and Postgres agree, and Postgres with itself as far as that was looked at.
    pub fn is_good(&self) -> bool {
        !self.is_off_in_redis() && self.aggregates.unwrap_or_default() == Aggregates::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(account: Account, redis: Option<i64>) -> Balance {
        Balance {
            sale: "demo".parse().unwrap(),
            sku: "TEE".parse().unwrap(),
            position: EntryId::ZERO,
            account,
            redis,
            aggregates: None,
        }
    }

    #[test]
    fn every_unit_is_somewhere_once() {
        let account = Account { allotted: 100, sold: 50, in_flight: 20, returning: 3, dead: 2 };
        assert_eq!(account.expected(), 25);
        assert_eq!(balance(account, Some(25)).drift(), 0);
        assert_eq!(balance(account, Some(26)).drift(), 1, "a unit too many can be sold");
        assert_eq!(balance(account, Some(20)).drift(), -5, "units that nobody can buy");
    }

    #[test]
    fn stock_that_is_not_there_is_not_zero() {
        let sold_out = Account { allotted: 5, sold: 5, ..Account::default() };
        assert!(balance(sold_out, Some(0)).is_good());
        let missing = balance(sold_out, None);
        assert!(missing.drift() == 0 && missing.is_missing() && !missing.is_good());
        assert!(balance(Account::default(), None).is_good(), "its allotment is still on its way");
        assert!(!balance(Account::default(), Some(1)).is_good());
    }

    #[test]
    fn a_gate_that_counts_wrongly_is_not_good() {
        let mut wrong = balance(Account::default(), Some(0));
        wrong.aggregates = Some(Aggregates::default());
        assert!(wrong.is_good());
        wrong.aggregates = Some(Aggregates { sold_drift: -1, ..Aggregates::default() });
        assert!(!wrong.is_good());
    }
}
