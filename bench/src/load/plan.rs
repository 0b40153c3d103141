//! What one run of load is told.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Pace, Shop};

/// Shares of what is sent, by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Claims of new buyers.
    pub claim: u32,
    /// The same claim once more, with its key, after it was accepted.
    pub again: u32,
    /// `GET /v1/orders/{id}` of an order that was accepted.
    pub order: u32,
    /// `GET /v1/sales/{sale}`: the page that is refreshed.
    pub sale: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { claim: 1, again: 0, order: 0, sale: 0 }
    }
}

/// When no new request is sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After this time.
    After(Duration),
    /// After this many claims were sent, at the latest after `within`.
    Claims {
        /// New claims, over all threads.
        claims: u64,
        /// Bound.
        within: Duration,
    },
}

/// What one run of load is told.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Whom to call.
    pub target: SocketAddr,
    /// What to buy there.
    pub shop: Shop,
    /// What is sent.
    pub mix: Mix,
    /// When it is sent.
    pub pace: Pace,
    /// Open connections.
    pub connections: usize,
    /// Threads that share them.
    pub threads: usize,
    /// When it ends.
    pub end: End,
}
