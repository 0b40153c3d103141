//! From the log into Postgres: at least once delivered, exactly once in effect.

mod anomaly;
mod applied;
mod apply;
mod copy;
mod foreseen;
mod items;
mod ledger;
mod orders;
mod reading;
mod reserve;
mod sale;
mod transaction;
mod units;
mod worker;

pub use applied::Applied;
pub use apply::{persist, persist_again, rehearse};
pub use copy::{COPY_ORDERS, COPY_TYPES};
pub use foreseen::Foreseen;
pub use items::KnownItems;
pub use reserve::Reserve;
pub use transaction::{Entry, Fence, WriteError};
pub(crate) use transaction::{begin, write_in, write_over_allotment_in};
pub use worker::{PersistOptions, PersistWorker, READ_BLOCK};
