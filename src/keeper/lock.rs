//! Who is keeper.

use std::time::Duration;

use deadpool_postgres::Object;

use crate::partition::Partition;
use crate::postgres::{PartitionLock, PgError, PgPool};

/// Between tries while another process is keeper.
const POLL: Duration = Duration::from_millis(250);

/// The session-level advisory lock of one partition's keeper, on a connection of its own.
/// <https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS>
pub struct KeeperLock {
    client: deadpool_postgres::ClientWrapper,
    partition: Partition,
}

impl KeeperLock {
    /// Waits for the lock. Postgres gives it up when the connection of its holder ends.
    pub async fn acquire(pool: &PgPool, partition: Partition) -> Result<Self, PgError> {
        // Taken out of the pool: returning the connection would keep the lock.
        let client = Object::take(pool.get().await?);
        let lock = Self { client, partition };
        while !lock.try_take().await? {
            tokio::time::sleep(POLL).await;
        }
        Ok(lock)
    }

    async fn try_take(&self) -> Result<bool, PgError> {
        let partition = i32::from(self.partition.to_sql());
        let class = PartitionLock::Keeper.class();
        let row = self.client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&class, &partition]).await?;
        Ok(row.get(0))
    }

    /// Whether the connection, and so the lock, still stands, as far as this process has noticed.
    pub fn is_held(&self) -> bool {
        !self.client.is_closed()
    }

    /// Takes the lock again after its connection was lost. `false`: another process has it now.
    pub async fn retake(&mut self, pool: &PgPool) -> Result<bool, PgError> {
        let again = Self { client: Object::take(pool.get().await?), partition: self.partition };
        let taken = again.try_take().await?;
        if taken {
            // Only now: a connection without the lock must not be taken for one with it.
            *self = again;
        }
        Ok(taken)
    }
}
