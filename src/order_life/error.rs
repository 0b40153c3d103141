//! Why an order did not take a step.

use super::Refusal;
use crate::order_id::OrderId;
use crate::partition::Partition;
use crate::postgres::PgError;

/// An order stays as it is; except where Postgres did not answer, and it is not known: every step may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// Postgres has no such order, or not of this buyer. It may be in the log.
    #[error(
        "postgres has no order {0}: `doorbuster log {0}` tells whether the log has it, and it is to come"
    )]
    NotStored(OrderId),
    /// The rules.
    #[error("order {0}: {1}")]
    Refused(OrderId, Refusal),
    /// No opening has drained the log into this Postgres since it was started or restored.
    #[error(
        "postgres was restarted, and partition {0} was not opened since: what this order has been through may not be \
         there yet. `doorbuster status` tells what the opening waits for"
    )]
    NotDrained(Partition),
    /// The row cannot be read by this version.
    #[error("order {0} cannot be read ({1}): written by a newer version?")]
    Unreadable(OrderId, String),
    /// The way to Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

impl From<tokio_postgres::Error> for LifeError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}
