//! What the servers hold once a fault is over, as the checker looks at it.

use std::collections::{BTreeMap, BTreeSet};

use doorbuster::payment::SandboxCharge;

use crate::history::{Lines, Purchase};

/// An order in Postgres.
#[derive(Clone, Debug)]
pub struct StoredOrder {
    /// Its id, as buyers are told it.
    pub id: String,
    /// Whose.
    pub purchase: Purchase,
    /// Units asked for.
    pub lines: Lines,
    /// Of these, SKUs whose units the gate has refused.
    pub refused: BTreeSet<String>,
    /// Why it was cancelled; `None` while it is active.
    pub cancelled: Option<String>,
    /// Steps by which it was cancelled, since it was stored.
    pub cancel_steps: u64,
    /// Such a step was taken before its hold was over.
    pub cancelled_before_its_time: bool,
}

impl StoredOrder {
    /// The units that it took: all but those which never existed.
    pub fn units(&self) -> impl Iterator<Item = (&String, u32)> {
        self.lines.iter().filter(|(sku, _)| !self.refused.contains(*sku)).map(|(sku, units)| (sku, *units))
    }
}

/// One item of a sale, all partitions together.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredItem {
    /// Units that there are.
    pub allotted: i64,
    /// Units that Postgres counts as sold.
    pub sold: i64,
    /// Units that Redis would still sell; `None` where a partition does not know.
    pub in_redis: Option<i64>,
    /// What the ledger says was added beside orders: allotments, and returns.
    pub in_ledger: i64,
}

/// An order that was not persisted as it stands.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The id that it would have as an order.
    pub order: String,
    /// Its units, where they can be read.
    pub lines: Lines,
    /// Its sale, where it can be read.
    pub sale: Option<String>,
}

/// The payment of an order, of any sale of the deployment.
#[derive(Clone, Debug)]
pub struct StoredPayment {
    /// The order's id.
    pub order: String,
    /// How the order stands; `None` where Postgres has none.
    pub order_state: Option<String>,
    /// What it costs (minor units).
    pub cost: i64,
    /// The order under which the gateway knows the charge: itself, unless it was claimed for money that had come late.
    pub paid_as: String,
    /// The order for whose late money it was claimed, by its key.
    pub late_for: Option<String>,
}

/// Two accounts of the same money.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Of Postgres.
    pub payments: Vec<StoredPayment>,
    /// Of the gateway.
    pub charges: Vec<SandboxCharge>,
}

/// Everything that is looked at.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// All orders of the sales under test.
    pub orders: Vec<StoredOrder>,
    /// Items by sale and SKU.
    pub items: BTreeMap<(String, String), StoredItem>,
    /// What the ledger says came back, by order.
    pub returned: BTreeMap<String, Lines>,
    /// Over how many partitions their units are spread; 0 is 1.
    pub partitions: u8,
    /// Dead letters that nobody has ended.
    pub dead_letters: Vec<DeadLetter>,
    /// Ids of orders that the log holds.
    pub in_log: BTreeSet<String>,
    /// Entries not settled, changes of stock not come back, when the patience was over.
    pub unsettled: u64,
    /// Orders that wait for a payment although their hold is over.
    pub overdue: u64,
    /// Payments not decided, charges of which nobody was told, when the patience was over.
    pub unpaid: u64,
    /// Who has paid for what; `None` where there is no gateway.
    pub books: Option<Books>,
    /// Items that were seen oversold during the run.
    pub oversold_polls: u64,
    /// Deadlocks that Postgres broke.
    pub deadlocks: u64,
    /// Partitions that were not open when the patience was over.
    pub closed: u64,
}

impl Stored {
    /// Whether nothing is under way any more.
    pub fn is_at_rest(&self) -> bool {
        self.unsettled == 0 && self.overdue == 0 && self.closed == 0 && self.unpaid == 0
    }
}

/// What the injector itself did to orders, so that it is not held against the engine.
#[derive(Clone, Debug, Default)]
pub struct Injected {
    /// Orders that storage itself lost: read, in the same step that destroyed them, from a log not yet persisted.
    pub destroyed: BTreeMap<String, Lines>,
    /// Purchases that the injector wrote into the log with its own hand.
    pub planted: BTreeSet<Purchase>,
    /// The fault is one of which a loss is measured, not forbidden (a failover without `ack = "replica"`).
    pub loss_is_allowed: bool,
}
