//! A shop without a gateway: what needs one waits for it.

use super::gateway::{Charge, ChargeState, Gateway, GatewayError};
use crate::order_id::OrderId;

/// Asks nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGateway;

impl NoGateway {
    fn error() -> GatewayError {
        GatewayError::NotAsked("gateway_url is not set".into())
    }
}

impl Gateway for NoGateway {
    async fn charge(&self, _: &Charge) -> Result<ChargeState, GatewayError> {
        Err(Self::error())
    }

    async fn look_up(&self, _: OrderId) -> Result<Option<ChargeState>, GatewayError> {
        Err(Self::error())
    }

    async fn refund(&self, _: OrderId) -> Result<(), GatewayError> {
        Err(Self::error())
    }
}
