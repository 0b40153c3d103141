//! The engine against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod concurrency;
mod faults;
mod fencing;
mod metrics;
mod opening;
mod outcomes;
mod persisting;
mod reading;
mod rebuilding;
mod reconciling;
mod retention;
mod retries;
mod stock;
mod support;
