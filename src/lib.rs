//! Doorbuster: a Redis-first flash-sale engine.
//!
//! Where an order goes, module by module, is told in ARCHITECTURE.md.

pub mod admin;
mod already_hashed;
pub mod api;
pub mod buyer;
pub mod catalogue;
pub mod claim;
pub mod cli;
pub mod config;
pub mod dead_letters;
pub mod faults;
pub mod gate;
pub mod http;
pub mod incidents;
pub mod keeper;
pub mod live;
pub mod log;
pub mod metrics;
pub mod node;
pub mod order;
pub mod order_id;
pub mod order_life;
pub mod partition;
pub mod payment;
pub mod persist;
pub mod postgres;
pub mod reconcile;
pub mod redis;
pub mod replay;
pub mod retry;
pub mod servers;
pub mod status;
pub mod stock;
mod supervise;
pub mod telemetry;
pub mod webhooks;
