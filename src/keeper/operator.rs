//! Openings that an operator asks for.

use super::lock::KeeperLock;
use super::{Keeper, OpenError};
use crate::postgres::{PartitionLock, PgError};

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Orders that Redis knows again.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// What an opening did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Under which epoch the partition is open.
    pub epoch: i64,
}

impl Keeper {
    /// Opens the partition in place of whoever holds it, and rebuilds Redis where it differs from Postgres.
    ///
    /// # Errors
    /// [`OpenError`]; then the partition stays closed until a keeper opens it.
    pub async fn rebuild_as_operator(
        &self,
        _accept_gap: bool,
        _progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Report, OpenError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks
             WHERE locktype = 'advisory' AND granted AND classid::int = $1 AND objid::int = $2
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            &[&PartitionLock::Keeper.class(), &i32::from(self.partition.to_sql())],
        )
        .await
        .map_err(PgError::from)?;
        let lock = KeeperLock::acquire(&self.pool, self.partition).await?;
        let opened = self.open(&lock).await?;
        Ok(Report { epoch: opened.scripts.stamp.epoch })
    }
}
