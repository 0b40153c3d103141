//! Why a payment did not move.

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
