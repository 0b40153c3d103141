//! Each instrument does what it says, on real servers: what it breaks is broken, and what it must spare is spared.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod clock;
mod disk;
mod partition;
mod power_loss;
mod proxy;
mod replication;
mod support;
