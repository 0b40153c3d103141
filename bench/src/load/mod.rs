//! The load generator: one non-blocking loop for each thread, a few microseconds of processor for a request.
//!
//! Every buyer and key is new and numbered, so that what was accepted can be compared with what is stored by a count, a
//! sum and an exclusive or. A claim whose answer leaves it open (5xx, a timeout, a broken connection) is sent again
//! with the same key until something else comes.

mod answer;
mod connection;
mod generator;
mod live;
mod pace;
mod plan;
mod request;
mod tally;
mod watchers;
mod workload;

pub use generator::{LoadError, run};
pub use live::Live;
pub use pace::Pace;
pub use plan::{End, LoadPlan, Mix};
pub use request::{KEY_NUMBER_FROM, Shop, buyer_and_key};
#[cfg(test)]
pub use tally::tally_of;
pub use tally::{Numbers, SLOT, Tally};
pub use watchers::Watchers;
