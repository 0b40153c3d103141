//! Under which epoch an operator may end a letter.

use std::time::{Duration, Instant};

use crate::partition::Partition;
use crate::persist::{Fence, WriteError};
use crate::redis::{Keys, Redis, RedisError, Stamp};

use super::DeadLetterError;

/// How long a partition that is being opened is waited for.
const OPENING_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// The epoch of an *open* partition, as a worker knows it. That of Postgres alone would not do: it is raised when an
/// opening begins, and what is ended between the keeper's look at the orders and its look at the letters would be
/// remembered by neither.
async fn open_fence(redis: &Redis, partition: Partition) -> Result<Option<Fence>, RedisError> {
    let keys = Keys::new(partition);
    let reply = redis.on_key("HMGET", &keys.meta, vec!["state".into(), "stamp".into()]).await?;
    let (state, stamp): (Option<String>, Option<String>) = reply.convert()?;
    let stamp: Option<Stamp> =
        stamp.filter(|_| state.as_deref() == Some("open")).and_then(|stamp| stamp.parse().ok());
    Ok(stamp.map(|stamp| Fence::new(partition, stamp.epoch)))
}

/// Does `work` under the fence of the open partition, again where an opening came in between.
pub(super) async fn while_open<T>(
    redis: &Redis,
    partition: Partition,
    mut work: impl AsyncFnMut(Fence) -> Result<T, DeadLetterError>,
) -> Result<T, DeadLetterError> {
    let end = Instant::now() + OPENING_MAX;
    loop {
        if let Some(fence) = open_fence(redis, partition).await? {
            match work(fence).await {
                Err(DeadLetterError::Write(WriteError::Superseded(_) | WriteError::GateMoved)) => {}
                done => return done,
            }
        }
        if Instant::now() >= end {
            return Err(DeadLetterError::NotOpen(partition));
        }
        tokio::time::sleep(POLL).await;
    }
}
