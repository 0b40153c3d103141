//! Sessions that wait for their next use.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::redis::{Redis, RedisError, Session, Stamp};

/// Sessions that are kept for later; more are closed after their use.
const IDLE_MAX: usize = 256;

/// Sessions to the server behind one address. A call that blocks its connection takes one for itself.
///
/// Each belongs to the opening under which it was used: after a failover an older one may still lead to the server that
/// was primary then.
pub struct SessionPool {
    redis: Redis,
    wait_max: Duration,
    idle: Mutex<Vec<(Stamp, Session)>>,
}

impl SessionPool {
    /// Sessions as [`Redis::session_with_waits`] makes them.
    pub fn new(redis: Redis, wait_max: Duration) -> Self {
        Self { redis, wait_max, idle: Mutex::default() }
    }

    /// One that was used under this stamp and is idle, else a new one.
    ///
    /// # Errors
    /// As [`Redis::session`].
    pub async fn take(&self, stamp: &Stamp) -> Result<Session, RedisError> {
        match self.idle_under(stamp) {
            Some(session) => Ok(session),
            None => self.redis.session_with_waits(self.wait_max).await,
        }
    }

    /// Keeps a session on which nothing is in flight and nothing has failed. Drop any other: it may be connected to a
    /// server that sells no more.
    pub fn give_back(&self, stamp: Stamp, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((stamp, session));
        }
    }

    fn idle_under(&self, stamp: &Stamp) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, session)| !session.is_broken() && (of == stamp || of.partition != stamp.partition));
        let index = idle.iter().rposition(|(of, _)| of == stamp)?;
        Some(idle.swap_remove(index).1)
    }
}
