//! The one home of Postgres advisory locks, so that no two uses share a key by accident.

use deadpool_postgres::Transaction;

use crate::partition::Partition;

use super::error::PgError;

const LOCK_GATES: &str =
    "SELECT pg_advisory_xact_lock($1, p) FROM (SELECT DISTINCT unnest($2::integer[]) AS p ORDER BY p) t";

/// What an advisory lock guards. Locks use the two-integer form `(CLASS, key)`; the class keeps
/// them apart from any other program in the same database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvisoryLock {
    /// One node migrates the schema; the others wait and find it done.
    Migrations,
    /// The number of partitions: exclusive to set it, shared to create a sale that is split by it.
    PartitionCount,
}

impl AdvisoryLock {
    /// ASCII `door`: first argument of `pg_advisory_lock(int, int)`.
    pub const CLASS: i32 = 0x646f_6f72;

    /// Second argument of `pg_advisory_lock(int, int)`.
    pub fn key(self) -> i32 {
        match self {
            Self::Migrations => 1,
            Self::PartitionCount => 2,
        }
    }
}

/// What an advisory lock of one partition guards: `(class, partition)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionLock {
    /// Who is keeper; held by a session.
    Keeper,
    /// Shared by persisting transactions, exclusive to a keeper that raises the epoch. A row lock
    /// `FOR SHARE` instead would starve the keeper: new readers pass it while it waits.
    Persist,
    /// Exclusive to a transaction that changes several rows of the partition's stock. The gate changes them in any order, and
    /// would deadlock. And whoever waited for the lock sees them as the one before left them; whoever waits for rows has to
    /// look each of them up again that the other has changed.
    Gate,
}

impl PartitionLock {
    /// ASCII `dooK`, `dooP` and `dooG`: first argument of `pg_advisory_lock(int, int)`; the partition is the second.
    pub fn class(self) -> i32 {
        match self {
            Self::Keeper => 0x646f_6f4b,
            Self::Persist => 0x646f_6f50,
            Self::Gate => 0x646f_6f47,
        }
    }
}

/// Takes a transaction's locks of the gates of these partitions, in one order, in front of the rows that are behind them: whoever
/// locked those first and then waited for a gate could wait for whoever holds it, and he for the rows.
///
/// # Errors
/// The database.
pub async fn lock_gates(
    tx: &Transaction<'_>,
    partitions: impl IntoIterator<Item = Partition>,
) -> Result<(), PgError> {
    let lock = tx.prepare_cached(LOCK_GATES).await?;
    let numbers: Vec<i32> = partitions.into_iter().map(|partition| i32::from(partition.to_sql())).collect();
    tx.execute(&lock, &[&PartitionLock::Gate.class(), &numbers]).await?;
    Ok(())
}
