//! What became of entries, counted.

use std::ops::AddAssign;

use serde::Serialize;

use crate::order_id::OrderId;

/// What became of a batch, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Orders that are new in the database.
    pub new_orders: u64,
    /// Orders that it had.
    pub known_orders: u64,
    /// Orders cancelled since another one has their key.
    pub duplicates: u64,
    /// Orders cancelled since the gate refused them.
    pub over_allotment: u64,
    /// Orders that were active, and that a return in the log cancelled.
    pub cancelled: u64,
    /// Rows that are new in the ledger.
    pub new_ledger_rows: u64,
    /// Rows that it had.
    pub known_ledger_rows: u64,
    /// Versions of sales that are new in the database.
    pub new_sales: u64,
    /// Versions that it had.
    pub known_sales: u64,
    /// Entries set apart, those included that cannot be read.
    pub dead_letters: u64,
    /// Entries that had been set apart, and were left to whoever ends them.
    pub known_dead_letters: u64,
    /// Entries that cannot be read.
    pub unreadable: u64,
    /// New orders that are to be charged.
    #[serde(skip)]
    pub payments_due: Vec<OrderId>,
}

impl AddAssign for Applied {
    fn add_assign(&mut self, other: Self) {
        self.new_orders += other.new_orders;
        self.known_orders += other.known_orders;
        self.duplicates += other.duplicates;
        self.over_allotment += other.over_allotment;
        self.cancelled += other.cancelled;
        self.new_ledger_rows += other.new_ledger_rows;
        self.known_ledger_rows += other.known_ledger_rows;
        self.new_sales += other.new_sales;
        self.known_sales += other.known_sales;
        self.dead_letters += other.dead_letters;
        self.known_dead_letters += other.known_dead_letters;
        self.unreadable += other.unreadable;
        self.payments_due.extend(other.payments_due);
    }
}
