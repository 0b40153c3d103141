//! How orders are paid for.

mod gateway;

pub use gateway::{Charge, ChargeState, Gateway, GatewayError};
