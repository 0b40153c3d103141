//! What becomes of an order once it is stored: confirmed, or cancelled with its units back on sale.
//!
//! [`rules`] says what may happen; [`OrderLife`] is the one door through which it does, in one transaction: the state,
//! the units that count as sold, the step in `order_events`, and the intent that brings the units back to Redis.
//!
//! It needs no word of Redis, so that orders end also while their partition is closed: what has to reach Redis waits as
//! an intent. What an opening sums up is the same before a step and after it. Only a Postgres that may have come back
//! with older data has to be brought up to date first: a step there could be one that was taken long ago otherwise.

mod error;
mod record;
mod rules;
mod steps;
mod sweeper;

use std::time::Duration;

pub use error::LifeError;
pub use record::{OrderEvent, OrderPayment, OrderRecord, UnitsBack};
pub use rules::{Cancellation, Facts, Outcome, Refusal, Step, outcome};
pub use steps::step_in;
pub use sweeper::Sweeper;

use crate::buyer::BuyerId;
use crate::postgres::PgPool;

/// The door to orders that are stored. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OrderLife {
    pool: PgPool,
    limit: Duration,
}

impl OrderLife {
    /// Over a pool that was made with `timeout`; each operation, of a few statements, is given twice of it.
    pub fn new(pool: PgPool, timeout: Duration) -> Self {
        Self { pool, limit: timeout * 2 }
    }
}

/// Who takes a step, and why, in words: kept in `order_events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// `buyer`, `sweeper`, `admin-api: ada`; not empty.
    pub actor: &'a str,
    /// Not empty.
    pub reason: &'a str,
}

/// Whose order a step may be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderOf<'a> {
    /// Another buyer's is as if it were not there.
    Buyer(&'a BuyerId),
    /// Anybody's.
    Anyone,
}
