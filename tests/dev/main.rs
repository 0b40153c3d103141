//! The real binary, as a newcomer and an operator use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catalogue;
mod external;
mod newcomer;
mod process;
mod settings;
