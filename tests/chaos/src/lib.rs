//! Breaks a whole Doorbuster, real processes and all, and judges from outside whether its promises held.
//!
//! docs/RELIABILITY.md tells how to run it and how to read its table.

pub mod checker;
pub mod client;
pub mod deployment;
mod error;
pub mod event;
pub mod fault;
pub mod faults;
pub mod findings;
pub mod gateway;
pub mod history;
pub mod inspection;
pub mod instruments;
pub mod node_process;
pub mod occasion;
pub mod report;
pub mod runner;
pub mod storage;
pub mod stored;
pub mod traffic;

pub use error::ChaosError;
