//! The lines of the file.

use serde::{Deserialize, Serialize};

use super::{CancelOrder, Lines, Purchase};

/// One line of the file. Times are microseconds since the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// About to be sent.
    Invoke {
        /// Numbers the attempts of a run.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The API node it goes to.
        node: usize,
        /// What for.
        #[serde(flatten)]
        purchase: Purchase,
        /// The units asked for.
        lines: Lines,
    },
    /// An order: 202, or 200 where this key had made it before.
    Ok {
        /// Which attempt.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The order's id.
        order: String,
        /// 202 or 200.
        status: u16,
    },
    /// A cancel, about to be sent.
    Cancel {
        /// Numbers it among the attempts.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The node it goes to.
        node: usize,
        /// What for.
        #[serde(flatten)]
        cancel: CancelOrder,
    },
    /// The order is cancelled.
    Cancelled {
        /// Which attempt.
        attempt: u64,
        /// When.
        at_us: u64,
    },
    /// Refused: no order of this key at that moment; or not cancelled.
    Fail {
        /// Which attempt.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The status.
        status: u16,
        /// The last part of the problem's type.
        problem: String,
    },
    /// No answer, or one that leaves it open.
    Unknown {
        /// Which attempt.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The problem's type, or what became of the connection.
        why: String,
    },
}
