//! The number of partitions: stored by the first start, fixed while sales exist.

use super::error::PgError;
use super::locks::AdvisoryLock;
use super::pool::PgPool;

/// The number of partitions does not stand.
#[derive(Debug, thiserror::Error)]
pub enum PartitionsError {
    /// The way to Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// Buyers are placed by the number of partitions: another number would look for their orders elsewhere.
    #[error(
        "the database has {stored} partitions and sales that depend on them, this node is configured for \
         {configured}: set partitions = {stored}"
    )]
    Mismatch {
        /// The number in the database.
        stored: i64,
        /// The number this node was given.
        configured: u8,
    },
}

/// Makes the rows for partitions `0..count` on the first start, and checks them on every other. While
/// there is no sale, another number replaces the stored one.
///
/// # Errors
/// [`PartitionsError::Mismatch`] where sales exist and the number is another.
pub async fn ensure_partitions(pool: &PgPool, count: u8) -> Result<(), PartitionsError> {
    let mut client = pool.get().await.map_err(PgError::from)?;
    let transaction = client.transaction().await.map_err(PgError::from)?;
    // Against another node's first start, and against a sale that is being created.
    let lock = AdvisoryLock::PartitionCount;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1, $2)", &[&AdvisoryLock::CLASS, &lock.key()])
        .await
        .map_err(PgError::from)?;
    let row = transaction
        .query_one("SELECT (SELECT count(*) FROM partitions), EXISTS (SELECT FROM sales)", &[])
        .await
        .map_err(PgError::from)?;
    let (stored, has_sales): (i64, bool) = (row.get(0), row.get(1));
    if stored == i64::from(count) {
        return Ok(());
    }
    if has_sales {
        return Err(PartitionsError::Mismatch { stored, configured: count });
    }
    let count = i16::from(count);
    transaction
        .execute("DELETE FROM partitions WHERE partition >= $1", &[&count])
        .await
        .map_err(PgError::from)?;
    transaction
        .execute(
            "INSERT INTO partitions (partition) SELECT generate_series(0, $1::int2 - 1) ON CONFLICT DO NOTHING",
            &[&count],
        )
        .await
        .map_err(PgError::from)?;
    transaction.commit().await.map_err(PgError::from)?;
    Ok(())
}
