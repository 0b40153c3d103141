//! Where an order stands, as its buyer is told.

use serde::Serialize;

use crate::order::OrderState;

/// A state, and why the order was cancelled where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderStatus {
    /// Where it stands.
    pub state: OrderState,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    /// Whether it was pending once, or is.
    #[serde(skip)]
    pub was_pending: bool,
}

impl OrderStatus {
    /// In the log, and as far as anyone knows not further.
    pub const ACCEPTED: Self = Self { state: OrderState::Accepted, cancel_reason: None, was_pending: false };
}
