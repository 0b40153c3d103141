//! Keeps a partition open, while the server is the one that was opened.
//!
//! Renewal does not need Postgres, so intake survives its absence. But who has lost the lock may be cut off from it
//! together with an old primary, while another keeper opens a promoted replica. So without the lock a lease is renewed
//! only while the primary has as many healthy replicas as it ever had since its opening: none may have been promoted.

use std::time::{Duration, Instant};

use fred::types::Value;
use tokio::time::{Interval, timeout};

use super::lock::KeeperLock;
use super::memory::Memory;
use super::opening::Opened;
use super::server_clock::{Lateness, ServerClock};
use super::{Held, Keeper};
use crate::redis::{RedisError, Script};

/// Renews one opening's lease.
pub(super) struct Renewals<'a> {
    keeper: &'a Keeper,
    opened: &'a Opened,
    memory: &'a Memory,
    clock: ServerClock,
    late: Lateness,
    /// The most that were healthy at once.
    replicas: i64,
    refused: bool,
}

/// What became of one renewal.
#[derive(Debug, PartialEq, Eq)]
enum Renewed {
    /// For a whole lease.
    Yes,
    /// It took so long that it was not heeded; the server's time is known anew.
    Late,
    /// Not without the lock: a replica is missing.
    ReplicaMissing,
}

impl<'a> Renewals<'a> {
    pub fn new(keeper: &'a Keeper, opened: &'a Opened, memory: &'a Memory) -> Self {
        Self {
            keeper,
            opened,
            memory,
            clock: opened.clock,
            late: Lateness::of(keeper.options.lease),
            replicas: opened.replicas,
            refused: false,
        }
    }

    /// Renews until the partition is no longer ours to renew. `is_proven` tells whether the lock was ours at a time.
    pub async fn run(mut self, is_proven: impl Fn(Instant) -> bool) -> RedisError {
        let mut ticks: Interval = super::duties::every(self.keeper.options.lease_renew);
        loop {
            ticks.tick().await;
            // Without a connection a renewal would wait for one, and meet whichever server comes next.
            if self.keeper.redis.is_connected()
                && let Err(error) = self.renew(&is_proven).await
            {
                self.keeper.metrics.keeper.renewal_failed(self.keeper.partition);
                match error {
                    // Slow, or away: the lease itself decides how long that may last.
                    RedisError::Timeout | RedisError::Disconnected(_) | RedisError::Refused(_) => {}
                    error => return error,
                }
            }
            if self.memory.given().is_none_or(|lease| lease.ends < Instant::now()) {
                return RedisError::Timeout;
            }
        }
    }

    async fn renew(&mut self, is_proven: &impl Fn(Instant) -> bool) -> Result<(), RedisError> {
        // What is late tells the time, so that the next one is not.
        for _ in 0..2 {
            match self.try_renew(is_proven).await? {
                Renewed::Late => {
                    self.late.was_late();
                    tracing::debug!(partition = %self.keeper.partition, next = ?self.late, "a renewal came late");
                }
                Renewed::Yes => {
                    self.late.was_in_time();
                    self.refused = false;
                    return Ok(());
                }
                Renewed::ReplicaMissing => {
                    if !std::mem::replace(&mut self.refused, true) {
                        tracing::warn!(
                            partition = %self.keeper.partition, replicas = self.replicas,
                            "the lock is in doubt and a replica is missing: the lease is not renewed"
                        );
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn try_renew(&mut self, is_proven: &impl Fn(Instant) -> bool) -> Result<Renewed, RedisError> {
        let Keeper { redis, options, .. } = self.keeper;
        let Opened { scripts, server, .. } = self.opened;
        // The time first, the lock then: a process that stands still in between sends what nobody heeds.
        let sent = Instant::now();
        let proven = is_proven(sent);
        let before = self.memory.given();
        self.memory.gives(&server.run_id, scripts.stamp.epoch, sent, self.late, options.lease);
        let args: Vec<Value> = vec![
            (options.lease.as_millis() as i64).into(),
            server.run_id.as_str().into(),
            server.master_replid.as_str().into(),
            self.clock.not_after(sent, self.late).into(),
            if proven { 0 } else { self.replicas }.into(),
        ];
        let keys = self.keeper.keys();
        let call = redis.run(scripts, Script::Renew, vec![keys.meta, keys.log], args);
        let reply = timeout(patience(options.lease), call).await.map_err(|_| RedisError::Timeout)??;
        let (said, now_ms, healthy): (String, i64, i64) = reply.convert()?;
        self.clock = ServerClock::new(now_ms, Instant::now());
        self.replicas = self.replicas.max(healthy);
        let renewed = match said.as_str() {
            "renewed" => Renewed::Yes,
            "late" => Renewed::Late,
            _ => Renewed::ReplicaMissing,
        };
        if renewed != Renewed::Yes
            && let Some(before) = before
        {
            self.memory.keeps(before);
        }
        Ok(renewed)
    }
}

/// For one renewal: time for another one is left.
fn patience(lease: Duration) -> Duration {
    lease / 2
}

/// What follows from a lease that could not be renewed.
pub(super) fn lost(keeper: &Keeper, opened: &Opened, lock: &KeeperLock, error: &RedisError) -> Held {
    keeper.gate.refused(&opened.scripts.stamp);
    // With the lock nobody else can have opened it: Redis itself has changed.
    let held = if lock.is_held() { Held::Reopen } else { Held::StepDown };
    tracing::warn!(partition = %keeper.partition, %error, next = ?held, "the partition is closed");
    held
}
