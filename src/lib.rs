//! Doorbuster: a Redis-first flash-sale engine.
//!
//! Where an order goes, module by module, is told in ARCHITECTURE.md.
pub mod admin;
pub mod catalogue;
pub mod cli;
pub mod postgres;
