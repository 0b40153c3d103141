//! Whether this node knows its partition to be open, and under which stamp.
//!
//! Nodes and workers do not open anything: they read `{pN}:meta`, use what they find there, and let go of it as soon
//! as a script refuses it. A node of another version than the keeper first loads its own scripts, beside the keeper's
//! marker and nowhere else: without the marker the server is not the one that was opened, whatever `meta` says.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::partition::Partition;
use crate::redis::{Keys, LAYOUT, Redis, RedisError, Script, ScriptTexts, Stamp, StampedScripts};

/// How often an open partition is looked at again.
const OPEN_POLL: Duration = Duration::from_millis(500);
/// How often a closed one is: part of the time to the first order after a fault.
const CLOSED_POLL: Duration = Duration::from_millis(20);
/// How long a stamp that a script refused is not used. A refusal may come from a server that was left behind (a primary
/// of before a failover, on a connection that has not been remade), while `meta` tells of the one that is open.
const REFUSAL: Duration = Duration::from_secs(1);

/// A partition as this process sees it.
#[derive(Clone)]
pub struct Gate {
    partition: Partition,
    seen: watch::Receiver<Option<Arc<StampedScripts>>>,
    doubt: Arc<Doubt>,
}

#[derive(Default)]
struct Doubt {
    refused: std::sync::Mutex<Option<Refusal>>,
    wake: Notify,
}

/// The last word of a script about a stamp.
#[derive(Clone, Copy)]
struct Refusal {
    stamp: Stamp,
    at: Instant,
}

/// What a refusal means for a stamp.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It was not refused.
    Full,
    /// It was, long enough ago to be used again where its lease runs.
    IfLeased,
    /// It was, a moment ago.
    None,
}

impl Doubt {
    fn refused(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trust(&self, stamp: &Stamp) -> Trust {
        match *self.refused() {
            Some(refusal) if refusal.stamp == *stamp && refusal.at.elapsed() < REFUSAL => Trust::None,
            Some(refusal) if refusal.stamp == *stamp => Trust::IfLeased,
            _ => Trust::Full,
        }
    }
}

impl Gate {
    /// Starts to watch. The watch ends when every `Gate` of it is dropped.
    pub fn watch(redis: Redis, partition: Partition) -> Self {
        Self::watch_as(redis, partition, ScriptTexts::default())
    }

    /// As [`Gate::watch`], as a node that has these scripts.
    pub fn watch_as(redis: Redis, partition: Partition, texts: ScriptTexts) -> Self {
        let (sender, seen) = watch::channel(None);
        let doubt = Arc::new(Doubt::default());
        let watcher = Watcher { redis, keys: Keys::new(partition), partition, texts, foreign_layout: None };
        tokio::spawn(watcher.run(sender, doubt.clone()));
        Self { partition, seen, doubt }
    }

    /// Of which partition.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The scripts to use, while the partition is known to be open.
    pub fn open(&self) -> Option<Arc<StampedScripts>> {
        self.seen.borrow().clone()
    }

    /// Waits until the partition is open.
    pub async fn wait_open(&mut self) -> Arc<StampedScripts> {
        self.wait_until(|_| true).await
    }

    /// Waits until the partition is open under another stamp.
    pub async fn wait_other_than(&mut self, stamp: &Stamp) -> Arc<StampedScripts> {
        self.wait_until(|scripts| scripts.stamp != *stamp).await
    }

    async fn wait_until(&mut self, wanted: impl Fn(&StampedScripts) -> bool) -> Arc<StampedScripts> {
        let wanted = |seen: &Option<Arc<StampedScripts>>| seen.as_deref().is_some_and(&wanted);
        loop {
            if let Ok(seen) = self.seen.wait_for(wanted).await
                && let Some(scripts) = seen.clone()
            {
                return scripts;
            }
            // The watcher ended with the runtime; nothing will open any more.
            std::future::pending::<()>().await;
        }
    }

    /// A script refused this stamp: it is not used for a while, and then only where its lease runs.
    pub fn refused(&self, stamp: &Stamp) {
        *self.doubt.refused() = Some(Refusal { stamp: *stamp, at: Instant::now() });
        self.doubt.wake.notify_one();
    }
}

struct Watcher {
    redis: Redis,
    keys: Keys,
    partition: Partition,
    texts: ScriptTexts,
    /// Reported already.
    foreign_layout: Option<String>,
}

/// What `{pN}:meta` says of an open partition.
struct Meta {
    stamp: Stamp,
    layout: String,
    lease_until_ms: u64,
}

impl Watcher {
    async fn run(mut self, sender: watch::Sender<Option<Arc<StampedScripts>>>, doubt: Arc<Doubt>) {
        while !sender.is_closed() {
            let known = sender.borrow().clone();
            let found = self.look(known, &doubt).await.unwrap_or_else(|error| {
                tracing::debug!(partition = %self.partition, %error, "the partition counts as closed");
                None
            });
            // Looked at again: it may have been refused in the meantime.
            let usable = found.filter(|scripts| doubt.trust(&scripts.stamp) != Trust::None);
            let is_open = usable.is_some();
            sender.send_if_modified(|seen| {
                let changed = seen.as_ref().map(|s| s.stamp) != usable.as_ref().map(|s| s.stamp);
                if changed {
                    *seen = usable;
                }
                changed
            });
            let pause = if is_open { OPEN_POLL } else { CLOSED_POLL };
            let _ = tokio::time::timeout(pause, doubt.wake.notified()).await;
        }
    }

    /// The scripts to use, if the partition is open to this version. Those that were `known` already need no second look
    /// at the server: where it has forgotten them it will say so itself.
    async fn look(
        &mut self,
        known: Option<Arc<StampedScripts>>,
        doubt: &Doubt,
    ) -> Result<Option<Arc<StampedScripts>>, RedisError> {
        let Some(meta) = read_meta(&self.redis, &self.keys).await? else { return Ok(None) };
        let trusted = match doubt.trust(&meta.stamp) {
            Trust::Full => true,
            // The time is asked last: the lease may end meanwhile, not begin.
            Trust::IfLeased => self.now_ms().await? < meta.lease_until_ms,
            Trust::None => false,
        };
        if !trusted {
            return Ok(None);
        }
        if meta.layout.parse() != Ok(LAYOUT) {
            self.report_layout(meta.layout);
            return Ok(None);
        }
        if known.as_ref().is_some_and(|known| known.stamp == meta.stamp) {
            return Ok(known);
        }
        let scripts = StampedScripts::of(self.texts.clone(), meta.stamp);
        self.ensure_loaded(&scripts).await?;
        Ok(Some(Arc::new(scripts)))
    }

    /// The server's time, since the Unix epoch.
    async fn now_ms(&self) -> Result<u64, RedisError> {
        let (seconds, micros): (u64, u64) =
            self.redis.command("TIME", &self.keys.meta, Vec::new()).await?.convert()?;
        Ok(seconds * 1000 + micros / 1000)
    }

    /// Sees to it that the server knows all these scripts.
    async fn ensure_loaded(&self, scripts: &StampedScripts) -> Result<(), RedisError> {
        let mut args = vec!["EXISTS".into(), scripts.marker_digest().into()];
        args.extend(Script::ALL.iter().map(|&script| scripts.digest(script).into()));
        let exist: Vec<bool> = self.redis.command("SCRIPT", &self.keys.meta, args).await?.convert()?;
        if exist.first() != Some(&true) {
            return Err(RedisError::Fenced("no marker: not the server that was opened".into()));
        }
        let known = Script::ALL.iter().zip(&exist[1..]);
        let missing: Vec<Script> = known.filter(|(_, exists)| !**exists).map(|(script, _)| *script).collect();
        if missing.is_empty() {
            return Ok(());
        }
        // What the shared connection has said may be of another process than what it would reach now.
        let session = self.redis.session().await?;
        session.load_beside_marker(scripts, &missing, &self.keys.meta).await?;
        tracing::info!(
            partition = %self.partition, epoch = scripts.stamp.epoch, scripts = missing.len(),
            "loaded the scripts of this version beside the keeper's",
        );
        Ok(())
    }

    /// Once: it stays so until an operator acts.
    fn report_layout(&mut self, found: String) {
        if self.foreign_layout.as_ref() != Some(&found) {
            let error = RedisError::Layout(found.clone());
            tracing::error!(partition = %self.partition, %error, "the partition is closed to this version");
            self.foreign_layout = Some(found);
        }
    }
}

async fn read_meta(redis: &Redis, keys: &Keys) -> Result<Option<Meta>, RedisError> {
    type Words = (Option<String>, Option<String>, Option<String>, Option<u64>);
    let args = vec!["state".into(), "stamp".into(), "layout".into(), "lease_until".into()];
    let (state, stamp, layout, lease_until): Words =
        redis.on_key("HMGET", &keys.meta, args).await?.convert()?;
    let stamp = stamp.filter(|_| state.as_deref() == Some("open")).and_then(|stamp| stamp.parse().ok());
    Ok(stamp.map(|stamp| Meta {
        stamp,
        layout: layout.unwrap_or_default(),
        lease_until_ms: lease_until.unwrap_or(0),
    }))
}
