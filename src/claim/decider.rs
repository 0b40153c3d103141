//! Where batches are decided, and what has to hold an order before it is told.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::claim::batch::replicas_hold_all;
use crate::claim::{Batch, Claim, ClaimError, Decision, Decisions};
use crate::log::{EntryId, RawEntry, read_entry};
use crate::redis::{Keys, Redis, RedisError, ReplicaWait, SaleKeys, Session, SessionPool, StampedScripts};

/// Decides batches. Without replicas to wait for, an order is told as soon as Redis has answered: whether that is behind
/// its fsync is up to the server's settings.
#[derive(Clone)]
pub struct Decider {
    redis: Redis,
    replicas: Option<ReplicaAck>,
}

impl From<Redis> for Decider {
    fn from(redis: Redis) -> Self {
        Self { redis, replicas: None }
    }
}

impl Decider {
    /// Tells of an order only once replicas hold it.
    pub fn with_replicas(redis: Redis, wait: ReplicaWait) -> Self {
        let replicas = Some(ReplicaAck::new(redis.clone(), wait));
        Self { redis, replicas }
    }

    /// For what may be told without waiting for replicas.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// What an order has to be held by, where its own server is not enough.
    pub fn replicas(&self) -> Option<&ReplicaAck> {
        self.replicas.as_ref()
    }

    /// Decides one claim by itself, for whoever has no crowd to wait with.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn decide_alone(
        &self,
        scripts: &StampedScripts,
        claim: &Claim,
        backlog_max: u64,
    ) -> Result<Decision, ClaimError> {
        let keys = Keys::new(scripts.stamp.partition);
        let batch = Batch::new(std::iter::once(claim), backlog_max);
        self.decide(batch, scripts, &keys, &keys.sale(claim.sale())).await?.next(claim)
    }

    /// Decides a batch.
    ///
    /// # Errors
    /// As [`Batch::decide`].
    pub(super) async fn decide(
        &self,
        batch: Batch,
        scripts: &StampedScripts,
        keys: &Keys,
        sale: &SaleKeys,
    ) -> Result<Decisions, ClaimError> {
        match &self.replicas {
            None => batch.decide(&self.redis, scripts, keys, sale).await,
            // Boxed: the usual path need not make room for it.
            Some(replicas) => Box::pin(replicas.decide(batch, scripts, keys, sale)).await,
        }
    }
}

/// Entries that are read at once: each costs a write.
const READS_MAX: usize = 8;

/// `ack = "replica"`. Every call has a connection of its own while it waits: a WAIT blocks its connection, and it covers
/// only what was written on that very connection.
#[derive(Clone)]
pub struct ReplicaAck {
    sessions: Arc<SessionPool>,
    reads: Arc<Semaphore>,
    wait: ReplicaWait,
}

impl ReplicaAck {
    fn new(redis: Redis, wait: ReplicaWait) -> Self {
        let sessions = Arc::new(SessionPool::new(redis, wait.limit));
        Self { sessions, reads: Arc::new(Semaphore::new(READS_MAX)), wait }
    }

    async fn decide(
        &self,
        batch: Batch,
        scripts: &StampedScripts,
        keys: &Keys,
        sale: &SaleKeys,
    ) -> Result<Decisions, ClaimError> {
        let session = self.session(scripts).await?;
        let decided = batch.decide_and_wait(&session, scripts, keys, sale, self.wait).await?;
        self.sessions.give_back(scripts.stamp, session);
        Ok(decided)
    }

    /// An entry of the log, if it is the one that is `wanted`, told only if the replicas hold it: read on the same
    /// connection as the WAIT, and under the stamp, so that it is the log of the server that was opened.
    ///
    /// # Errors
    /// [`ClaimError::Unreplicated`] where it is there, but too few hold it.
    pub async fn read_entry(
        &self,
        scripts: &StampedScripts,
        keys: &Keys,
        id: EntryId,
        wanted: impl Fn(&RawEntry) -> bool,
    ) -> Result<Option<RawEntry>, ClaimError> {
        let turn = tokio::time::timeout(self.wait.limit, self.reads.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(ClaimError::Overloaded)?;
        let session = self.session(scripts).await?;
        let entry = read_entry(session.redis(), keys, id).await?.filter(wanted);
        if entry.is_some() && !replicas_hold_all(&session, scripts, keys, self.wait).await? {
            return Err(ClaimError::Unreplicated);
        }
        self.sessions.give_back(scripts.stamp, session);
        Ok(entry)
    }

    async fn session(&self, scripts: &StampedScripts) -> Result<Session, ClaimError> {
        // Nothing was sent yet, so nothing is left open.
        self.sessions
            .take(&scripts.stamp)
            .await
            .map_err(|error: RedisError| ClaimError::Refused(error.to_string()))
    }
}
