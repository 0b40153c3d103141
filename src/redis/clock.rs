//! The time of Redis, by which sales open and close.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fred::types::Key;
use jiff::{SignedDuration, Timestamp};

use crate::redis::{Redis, RedisError};

/// For how long a comparison of the clocks is believed: two clocks part by far less than a millisecond in it, and one
/// that was set is noticed.
const AGE_MAX: Duration = Duration::from_secs(2);

/// Tells the time of the server that holds a key, and asks it now and then.
pub struct RedisClock {
    redis: Redis,
    key: Key,
    compared: Mutex<Compared>,
}

#[derive(Clone, Copy, Default)]
struct Compared {
    at: Option<Instant>,
    /// By how much the server is ahead of this machine.
    ahead: SignedDuration,
}

impl RedisClock {
    /// Of the server that holds `key`.
    pub fn new(redis: Redis, key: Key) -> Self {
        Self { redis, key, compared: Mutex::default() }
    }

    /// The time, as exact as half a round trip. Where the server does not answer, as it was compared last; never
    /// compared: this machine's time.
    pub async fn now(&self) -> Timestamp {
        let known = *self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if known.at.is_some_and(|at| at.elapsed() < AGE_MAX) || !self.redis.is_connected() {
            return known.now();
        }
        match self.compare().await {
            Ok(compared) => compared.now(),
            Err(error) => {
                tracing::debug!(%error, "redis does not tell the time");
                known.now()
            }
        }
    }

    /// Asks the server.
    ///
    /// # Errors
    /// Those of any command.
    async fn compare(&self) -> Result<Compared, RedisError> {
        let (asked, at) = (Timestamp::now(), Instant::now());
        let now = server_time(&self.redis, &self.key).await?;
        let half = SignedDuration::try_from(at.elapsed() / 2).unwrap_or_default();
        let ahead = now.duration_since(asked) - half;
        let compared = Compared { at: Some(at), ahead };
        *self.compared.lock().unwrap_or_else(PoisonError::into_inner) = compared;
        Ok(compared)
    }
}

impl Compared {
    fn now(self) -> Timestamp {
        let here = Timestamp::now();
        here.checked_add(self.ahead).unwrap_or(here)
    }
}

/// TIME of the server that holds `key`.
///
/// # Errors
/// Those of any command.
pub async fn server_time(redis: &Redis, key: &Key) -> Result<Timestamp, RedisError> {
    let (seconds, micros): (i64, i64) = redis.command("TIME", key, Vec::new()).await?.convert()?;
    let unreadable = |_| RedisError::Unexpected("reply to TIME".into());
    Timestamp::from_microsecond(seconds.saturating_mul(1_000_000).saturating_add(micros)).map_err(unreadable)
}
