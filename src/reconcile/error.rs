//! Why a reconcile gave no answer. None of these says anything about drift.

use std::time::Duration;

use crate::log::EntryId;
use crate::partition::Partition;
use crate::postgres::PgError;
use crate::redis::RedisError;

/// No answer: neither drift nor its absence is known.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Redis.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error("postgres: {0}")]
    Postgres(#[from] PgError),
    /// The partition was opened anew between the snapshot and the comparison: the snapshot is of another history.
    #[error("partition {0} was opened anew meanwhile: try again")]
    Reopened(Partition),
    /// The partition is not open, so its stock is nobody's promise.
    #[error("partition {0} is not open: start a worker, or see in its log why its keeper does not open it")]
    Closed(Partition),
    /// What the snapshot counts was not persisted in time.
    #[error(
        "partition {partition}: the log is not persisted up to {position} after {waited:?}; {backlog} entries wait, \
         the oldest is {oldest}. Does a worker run, and is postgres well?"
    )]
    NotPersisted {
        /// Whose log.
        partition: Partition,
        /// Up to which entry it had to be.
        position: EntryId,
        /// The first entry that is not.
        oldest: EntryId,
        /// Entries appended and not settled.
        backlog: u64,
        /// For how long this was waited for.
        waited: Duration,
    },
}

impl From<tokio_postgres::Error> for ReconcileError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}
