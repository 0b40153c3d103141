//! The engine against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod concurrency;
mod events;
mod failover;
mod faults;
mod fencing;
mod keepers;
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
mod schedule;
mod stock;
mod support;
mod versions;
mod waiting;
mod webhooks;
