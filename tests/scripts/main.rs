//! Each guarantee that a script states in its header, on a real Redis. What `claim.lua` decides in general is
//! held against a model in `claim_model`; here are the cases that a random sequence would not reach.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bounds;
mod claims;
mod fence;
mod full_memory;
mod keeper;
mod log_care;
#[path = "../support/open_partition.rs"]
mod open_partition;
mod session;
mod shared_entries;
mod shop;
mod snapshot;
mod stock;
