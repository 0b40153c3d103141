//! Whether this node knows its partition to be open, and under which stamp.
//!
//! Nodes and workers do not open anything: they read `{pN}:meta`, use what they find there, and let go of it as soon
//! as a script refuses it. A node of another version than the keeper first loads its own scripts, beside the keeper's
//! marker and nowhere else: without the marker the server is not the one that was opened, whatever `meta` says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::partition::Partition;
use crate::redis::{Keys, LAYOUT, Redis, RedisError, Script, ScriptTexts, Stamp, StampedScripts};

/// How often an open partition is looked at again.
const OPEN_POLL: Duration = Duration::from_millis(500);
/// How often a closed one is: part of the time to the first order after a fault.
const CLOSED_POLL: Duration = Duration::from_millis(20);

/// A partition as this process sees it.
#[derive(Clone)]
pub struct Gate {
    partition: Partition,
    seen: watch::Receiver<Option<Arc<StampedScripts>>>,
    doubt: Arc<Doubt>,
}

#[derive(Default)]
struct Doubt {
    refused: std::sync::Mutex<Option<Stamp>>,
    wake: Notify,
}

impl Doubt {
    fn refused(&self) -> Option<Stamp> {
        *self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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

    /// A script refused this stamp: it is never used again.
    pub fn refused(&self, stamp: &Stamp) {
        let mut refused = self.doubt.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *refused = Some(*stamp);
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
}

impl Watcher {
    async fn run(mut self, sender: watch::Sender<Option<Arc<StampedScripts>>>, doubt: Arc<Doubt>) {
        while !sender.is_closed() {
            let known = sender.borrow().clone();
            let found = self.look(known, doubt.refused()).await.unwrap_or_else(|error| {
                tracing::debug!(partition = %self.partition, %error, "the partition counts as closed");
                None
            });
            // Looked at again: it may have been refused in the meantime.
            let usable = found.filter(|scripts| Some(scripts.stamp) != doubt.refused());
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
        refused: Option<Stamp>,
    ) -> Result<Option<Arc<StampedScripts>>, RedisError> {
        let meta = read_meta(&self.redis, &self.keys).await?.filter(|meta| Some(meta.stamp) != refused);
        let Some(meta) = meta else { return Ok(None) };
        if meta.layout != LAYOUT {
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
    let args = vec!["state".into(), "stamp".into(), "layout".into()];
    let reply = redis.on_key("HMGET", &keys.meta, args).await?;
    let (state, stamp, layout): (Option<String>, Option<String>, Option<String>) = reply.convert()?;
    let stamp = stamp.filter(|_| state.as_deref() == Some("open")).and_then(|stamp| stamp.parse().ok());
    Ok(stamp.map(|stamp| Meta { stamp, layout: layout.unwrap_or_default() }))
}
