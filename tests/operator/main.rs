//! What an operator does beside running nodes: looks, retries, drops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binary;
mod dead;
mod garbage;
mod log;
mod payment;
mod rebuild;
mod status;
// Of what the engine's tests use, these need a part.
#[allow(dead_code, unused_imports)]
#[path = "../engine/support/mod.rs"]
mod support;
