//! What an operator does beside running nodes: looks, retries, drops.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binary;
mod dead;
mod garbage;
mod log;
mod rebuild;
mod status;
#[allow(dead_code)]
#[path = "../engine/support/mod.rs"]
mod support;
