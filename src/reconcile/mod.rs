//! Holds Redis against Postgres, exactly, while orders flow:
//!
//! > Redis stock of an item at log position L = sum of ledger deltas up to L - units of orders up to L
//!
//! One script takes the stock and L at the same moment ([`Snapshot`]); once everything up to L is persisted, one statement
//! tells what Postgres knows up to L ([`Account`]). Whatever is left is drift, and 0 is its only good value.

mod accounts;
mod balance;
mod check;
mod error;
mod snapshot;
mod suspicion;
mod watch;

pub use balance::{Account, Aggregates, Balance};
pub use check::{Depth, Reconciler, SALES_MAX};
pub use error::ReconcileError;
pub use snapshot::{LogSample, Snapshot};
pub use suspicion::Suspicion;
pub use watch::DriftWatch;
