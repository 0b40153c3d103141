//! Becoming keeper, also where the one there is stands still: its process is stopped, its connection is not.

use std::time::{Duration, Instant};

use crate::postgres::PgError;
use crate::redis::RedisError;

use super::Keeper;
use super::lock::{Candidate, KeeperLock, POLL};

/// For how long a partition must be without a lease, and its keeper silent, before it is evicted.
const PATIENCE_MIN: Duration = Duration::from_secs(2);

impl Keeper {
    /// Waits for the lock. A holder that has let the lease run out and no longer pings loses it: every step of an
    /// opening is conditional on its token, so one that wakes late harms nothing.
    ///
    /// Without Redis there is nothing to take over; a holder that pings is at work, however long that takes.
    pub(super) async fn wait_for_lock(&self) -> Result<KeeperLock, PgError> {
        let candidate = Candidate::stand(&self.pool, self.partition).await?;
        let patience = PATIENCE_MIN.max(self.options.lease * 2);
        let mut closed_since: Option<Instant> = None;
        loop {
            if let Some(asked) = candidate.try_take().await? {
                return Ok(candidate.elected(asked));
            }
            closed_since = match self.has_lease().await {
                Ok(false) => closed_since.or_else(|| Some(Instant::now())),
                Ok(true) | Err(_) => None,
            };
            if closed_since.is_some_and(|since| since.elapsed() > patience)
                && candidate.end_silent_holder(patience).await?
            {
                tracing::warn!(partition = %self.partition, "evicted a keeper that stands still");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether Redis says of a lease that runs.
    async fn has_lease(&self) -> Result<bool, RedisError> {
        if !self.redis.is_connected() {
            return Err(RedisError::Disconnected("not connected".into()));
        }
        let meta = self.keys().meta;
        let until = self.redis.on_key("HGET", &meta, vec!["lease_until".into()]).await?.as_i64().unwrap_or(0);
        Ok(until >= self.redis_time_ms().await?)
    }

    /// Milliseconds since the Unix epoch, by the clock that decides windows and leases.
    pub(super) async fn redis_time_ms(&self) -> Result<i64, RedisError> {
        let reply = self.redis.command("TIME", &self.keys().meta, Vec::new()).await?;
        let (seconds, micros): (i64, i64) = reply.convert()?;
        Ok(seconds * 1000 + micros / 1000)
    }
}
