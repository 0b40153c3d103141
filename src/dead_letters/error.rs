//! Why a dead letter was not ended.

use crate::log::EntryAddress;
use crate::partition::Partition;
use crate::persist::WriteError;
use crate::postgres::PgError;
use crate::redis::RedisError;

/// A dead letter stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// Nothing is known of it.
    #[error("there is no dead letter {0}: `doorbuster dead list --all` shows those that there are")]
    NotFound(EntryAddress),
    /// A keeper is counting, or must.
    #[error(
        "partition {0} is not open: dead letters are ended while it is, so that no opening counts their units twice. \
         `doorbuster status` tells what it waits for"
    )]
    NotOpen(Partition),
    /// Redis has made the change already.
    #[error(
        "{address} is a change of stock that Redis has made ({cause}), and Postgres waits for it: retry it. \
         Dropped, it would stay open for ever"
    )]
    StockChange {
        /// Which letter.
        address: EntryAddress,
        /// What asked for the change.
        cause: String,
    },
    /// Postgres, or the fence.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Redis, which tells whether the partition is open.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
}

impl From<PgError> for DeadLetterError {
    fn from(error: PgError) -> Self {
        Self::Write(error.into())
    }
}

impl From<tokio_postgres::Error> for DeadLetterError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Write(error.into())
    }
}
