//! How orders are paid for.

mod gateway;
mod http_gateway;
mod protocol;
mod sandbox;

pub use gateway::{Charge, ChargeState, Gateway, GatewayError};
pub use http_gateway::{GatewaySetupError, HttpGateway, HttpGatewayOptions};
pub use protocol::ChargeStatus;
pub use sandbox::{Rates, RatesError, Sandbox, SandboxCharge, SandboxError, SandboxOptions, SandboxWebhook};
