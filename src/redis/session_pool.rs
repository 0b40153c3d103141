//! Sessions that wait for their next use.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::redis::{Redis, RedisError, Session};

/// Sessions that are kept for later; more are closed after their use.
const IDLE_MAX: usize = 32;

/// Sessions to the server behind one address. A call that blocks its connection takes one for itself.
pub struct SessionPool {
    redis: Redis,
    wait_max: Duration,
    idle: Mutex<Vec<Session>>,
}

impl SessionPool {
    /// Sessions as [`Redis::session_with_waits`] makes them.
    pub fn new(redis: Redis, wait_max: Duration) -> Self {
        Self { redis, wait_max, idle: Mutex::default() }
    }

    /// One that is idle, else a new one.
    ///
    /// # Errors
    /// As [`Redis::session`].
    pub async fn take(&self) -> Result<Session, RedisError> {
        while let Some(session) = self.pop() {
            if !session.is_broken() {
                return Ok(session);
            }
        }
        self.redis.session_with_waits(self.wait_max).await
    }

    /// Keeps a session on which nothing is in flight and nothing has failed. Drop any other: it may be connected to a
    /// server that sells no more.
    pub fn give_back(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(session);
        }
    }

    fn pop(&self) -> Option<Session> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
