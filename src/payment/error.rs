//! Why a payment did not move.

use super::rules::PaymentState;
use crate::order_id::OrderId;
use crate::order_life::LifeError;
use crate::postgres::PgError;

/// A payment stays as it is; except where Postgres did not answer, and it is not known: what was heard may be told again.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// The order's step.
    #[error(transparent)]
    Order(#[from] LifeError),
    /// There is no such order here, or its sale asks for no payment.
    #[error("order {0} has no payment here: it is not stored yet, or its sale asks for none")]
    None(OrderId),
    /// Somebody sends a webhook again that was taken.
    #[error("this webhook was taken before: every attempt to deliver it needs a timestamp of its own")]
    Replayed,
    /// No money is due to the buyer.
    #[error("nothing is to go back for order {0}: its payment is {1}. {hint}", hint = hint(*.1))]
    NothingDue(OrderId, PaymentState),
    /// The row cannot be read by this version.
    #[error("the payment of order {0} cannot be read ({1}): written by a newer version?")]
    Unreadable(OrderId, String),
    /// The way to Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

impl From<tokio_postgres::Error> for PaymentError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// What to do where money went back that was not due.
fn hint(state: PaymentState) -> &'static str {
    match state {
        PaymentState::Due | PaymentState::Awaited | PaymentState::Unknown => {
            "Cancel the order (`doorbuster order cancel`); once the gateway says that it was paid, its money is due"
        }
        PaymentState::Paid => "Cancel the order first (`doorbuster order cancel`): then its money is due",
        PaymentState::Late => "Its units are being claimed again for the money: wait for what comes of that",
        PaymentState::Moved => {
            "Its money belongs to another order (`doorbuster order show` names it): cancel that one"
        }
        PaymentState::Declined | PaymentState::Void => "As far as is known no money was taken for it",
        PaymentState::RefundDue | PaymentState::Refunded => "Run it again",
    }
}
