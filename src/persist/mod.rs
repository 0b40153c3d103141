//! From the log into Postgres: at least once delivered, exactly once in effect.

mod anomaly;
mod apply;
mod transaction;
mod units;
mod worker;

pub use apply::{Applied, persist};
pub use transaction::{Fence, WriteError};
pub(crate) use transaction::{begin, write_in, write_over_allotment_in};
pub use worker::{PersistOptions, PersistWorker, READ_BLOCK};
