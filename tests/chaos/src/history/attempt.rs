//! One request of a buyer or an operator, and how it ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// SKUs and units.
pub type Lines = BTreeMap<String, u32>;

/// One purchase: all attempts with this key are for one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Purchase {
    /// In which sale.
    pub sale: String,
    /// Who buys.
    pub buyer: String,
    /// The idempotency key.
    pub key: String,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an order.
    Order {
        /// Its id.
        id: String,
        /// `false`: this key had made it before.
        new: bool,
    },
    /// With a refusal.
    Refused {
        /// The status.
        status: u16,
        /// The last part of the problem's type.
        problem: String,
    },
    /// It is not known.
    Unknown {
        /// The problem's type, or what became of the connection.
        why: String,
    },
}

/// One request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it was about to be sent (µs).
    pub from_us: u64,
    /// When its answer was there (µs); `None` where the run ended before.
    pub to_us: Option<u64>,
    /// What for.
    pub purchase: Purchase,
    /// The units asked for.
    pub lines: Lines,
    /// How it ended.
    pub outcome: Outcome,
}

impl Attempt {
    /// The order it was told, if it was.
    pub fn order(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Order { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether what it does may still happen, whatever came back.
    pub fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown { .. })
    }
}

/// Who cancels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledBy {
    /// The buyer of this name, his own order.
    Buyer(String),
    /// An operator.
    Operator,
}

/// An order, and who wants it cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    /// The order's id.
    pub order: String,
    /// Who.
    pub by: CancelledBy,
}

/// How a cancel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// 200: the order is cancelled, by this request or before.
    Done,
    /// It was refused.
    Refused {
        /// The status.
        status: u16,
        /// The last part of the problem's type.
        problem: String,
    },
    /// It is not known.
    Unknown {
        /// The problem's type, or what became of the connection.
        why: String,
    },
}

/// One request to cancel.
#[derive(Clone, Debug)]
pub struct CancelAttempt {
    /// When it was about to be sent (µs).
    pub from_us: u64,
    /// When its answer was there (µs); `None` where the run ended before.
    pub to_us: Option<u64>,
    /// What for.
    pub cancel: CancelOrder,
    /// How it ended.
    pub outcome: CancelOutcome,
}
