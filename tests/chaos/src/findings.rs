//! The promises, and how often each was seen broken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One kind of broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Acknowledged, and in no terminal state in Postgres (promise 2).
    Lost,
    /// In Postgres, and no buyer asked for it, or not for these units.
    Ghost,
    /// Acknowledged, and then refused by the gate of Postgres: a unit that never existed (promise 1).
    Phantom,
    /// Two active orders of one key, or one key told two ids (promise 3).
    Duplicate,
    /// More active units than the allotment, at rest or seen during the run (promise 1).
    Oversold,
    /// At rest, Redis stock + active units is not the allotment; the units of a cancelled order are not back, or not once
    /// (promise 4).
    Leaked,
    /// Not persisted, not settled or not open within the patience.
    Stuck,
    /// "Sold out" said while units were there that nobody had claimed (promise 5).
    FalselySoldOut,
    /// A definite refusal of a key that had its order (promise 3).
    HiddenOrder,
    /// 422 for a key that only one body ever used; or an order given to another body than its own.
    WrongConflict,
    /// A cancel that was answered as done, of an order that is not cancelled; or one that was refused although the sale
    /// allows it.
    Undone,
    /// Cancelled although nobody asked for it, before its hold was over, or more than once.
    Unasked,
    /// Money was taken, and bought no order that stands, nor went back.
    Kept,
    /// A confirmed order of a paid sale whose money is not there: never taken, paid back, or another sum.
    Unpaid,
    /// Money was taken or paid back twice for one thing.
    PaidTwice,
    /// Postgres had to break a deadlock.
    Deadlock,
}

impl Broken {
    /// All of them, as the columns of the table.
    pub const ALL: [Self; 16] = [
        Self::Lost,
        Self::Ghost,
        Self::Phantom,
        Self::Duplicate,
        Self::Oversold,
        Self::Leaked,
        Self::Stuck,
        Self::FalselySoldOut,
        Self::HiddenOrder,
        Self::WrongConflict,
        Self::Undone,
        Self::Unasked,
        Self::Kept,
        Self::Unpaid,
        Self::PaidTwice,
        Self::Deadlock,
    ];

    /// The heading of its column.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Ghost => "ghost",
            Self::Phantom => "phantom",
            Self::Duplicate => "dupl.",
            Self::Oversold => "oversold",
            Self::Leaked => "leaked",
            Self::Stuck => "stuck",
            Self::FalselySoldOut => "false sold-out",
            Self::HiddenOrder => "hidden",
            Self::WrongConflict => "false 422",
            Self::Undone => "undone",
            Self::Unasked => "unasked",
            Self::Kept => "kept",
            Self::Unpaid => "unpaid",
            Self::PaidTwice => "paid twice",
            Self::Deadlock => "deadlock",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Orders that buyers were told.
    pub acknowledged: u64,
    /// Of these, lost with the storage that the injector destroyed.
    pub destroyed: u64,
    /// Of these, lost in a failover for which nobody promised more.
    pub lost_in_failover: u64,
    /// Each broken promise, with what tells of it.
    pub broken: BTreeMap<Broken, Vec<String>>,
}

impl Findings {
    /// Adds one, with what tells of it.
    pub fn add(&mut self, broken: Broken, detail: impl Into<String>) {
        self.broken.entry(broken).or_default().push(detail.into());
    }

    /// How often a promise was broken.
    pub fn count(&self, broken: Broken) -> u64 {
        self.broken.get(&broken).map_or(0, |details| details.len() as u64)
    }

    /// Whether every promise held.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }
}
