//! What Doorbuster needs of a payment gateway, and all that it knows of one.

use std::future::Future;

use crate::buyer::BuyerId;
use crate::order_id::OrderId;

/// What is to be taken from a buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The order that it is for; also the gateway's idempotency key: one charge for an order, however often it is asked.
    pub order: OrderId,
    /// Whose order it is.
    pub buyer: BuyerId,
    /// In minor units of the currency; more than 0.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// How a charge stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeState {
    /// The money is taken. Final.
    Paid {
        /// What the gateway took, in minor units.
        amount: i64,
        /// ISO 4217.
        currency: String,
        /// The gateway's own name for it.
        reference: String,
    },
    /// No money is taken, and none will be. Final.
    Declined {
        /// The gateway's word for why.
        reason: String,
    },
    /// The money was taken, and paid back. Final.
    Refunded,
    /// The gateway has it, and has not decided: it is to be looked up later.
    Undecided,
}

/// Why a gateway gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// Nothing was done: the circuit is open, there is no connection, or the gateway would not hear the request (a wrong token,
    /// too many requests).
    #[error("the gateway was not asked: {0}")]
    NotAsked(String),
    /// It may have been carried out: a timeout, a broken connection, 5xx.
    #[error("it is not known what the gateway did: {0}")]
    Unknown(String),
    /// The gateway says that the request itself is wrong (4xx): the same one will never be carried out.
    #[error("the gateway refused the request: {0}")]
    Refused(String),
}

/// A payment gateway. Every operation may be called again for the same order, at any time and by any process, and is
/// carried out once.
pub trait Gateway: Send + Sync + 'static {
    /// Takes the money, or says how it stood when it was asked before.
    ///
    /// # Errors
    /// [`GatewayError`].
    fn charge(&self, charge: &Charge) -> impl Future<Output = Result<ChargeState, GatewayError>> + Send;

    /// How an order's charge stands; `None` where the gateway has never heard of it.
    ///
    /// # Errors
    /// [`GatewayError`].
    fn look_up(
        &self,
        order: OrderId,
    ) -> impl Future<Output = Result<Option<ChargeState>, GatewayError>> + Send;

    /// Pays all of an order's charge back. Done before, it is done.
    ///
    /// # Errors
    /// [`GatewayError`]; [`GatewayError::Refused`] also where nothing was charged.
    fn refund(&self, order: OrderId) -> impl Future<Output = Result<(), GatewayError>> + Send;
}
