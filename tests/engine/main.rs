//! The engine against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod adjusting;
mod cancelling;
mod concurrency;
mod failover;
mod faults;
mod fencing;
mod holds;
mod keepers;
mod life_faults;
mod metrics;
mod older_postgres;
mod opening;
mod outcomes;
mod persisting;
mod reading;
mod rebuilding;
mod reconciling;
mod replaying;
mod replicas;
mod restoring;
mod retention;
mod retries;
mod stock;
mod support;
mod versions;
