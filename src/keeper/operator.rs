//! Openings that an operator asks for.

use deadpool_postgres::Object;

use super::Keeper;
use super::lock::KeeperLock;
use super::opening::OpenError;
use crate::postgres::{PartitionLock, PgError};

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Orders that Redis knows again.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// Whom a rebuild tells how far it is.
pub type ProgressSink<'a> = &'a (dyn Fn(Progress) + Sync);

/// What an opening did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The partition is open under it.
    pub epoch: i64,
}

impl Keeper {
    /// Opens the partition: takes the lock from whoever has it, drains the log, rebuilds what Redis does not hold as it
    /// should, and leaves the partition to the next keeper.
    ///
    /// # Errors
    /// [`OpenError`]; then the partition stays closed until a keeper opens it.
    pub async fn rebuild_as_operator(
        &self,
        _accept_gap: bool,
        progress: ProgressSink<'_>,
    ) -> Result<Report, OpenError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        let mut taking = std::pin::pin!(KeeperLock::acquire(&self.pool, self.partition));
        let lock = loop {
            self.end_holder(&db).await?;
            if let Ok(lock) = tokio::time::timeout(std::time::Duration::from_millis(300), &mut taking).await {
                break lock?;
            }
        };
        let opened = self.open(&lock).await?;
        let row = db
            .query_one("SELECT count(*) FROM orders WHERE partition = $1", &[&self.partition.to_sql()])
            .await
            .map_err(PgError::from)?;
        let orders = row.get::<_, i64>(0).unsigned_abs();
        progress(Progress { done: orders, total: orders });
        Ok(Report { epoch: opened.scripts.stamp.epoch })
    }

    async fn end_holder(&self, db: &Object) -> Result<(), PgError> {
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks
             WHERE locktype = 'advisory' AND granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND classid = $1::int::oid AND objid = $2::int::oid",
            &[&PartitionLock::Keeper.class(), &i32::from(self.partition.to_sql())],
        )
        .await?;
        Ok(())
    }
}
