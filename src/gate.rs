//! Whether this node knows its partition to be open, and under which stamp.
//!
//! Nodes and workers do not open anything: they read `{pN}:meta`, use what they find there, and let go of it as soon
//! as a script refuses it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::partition::Partition;
use crate::redis::{Keys, Redis, RedisError, Stamp, StampedScripts};

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

impl Gate {
    /// Starts to watch. The watch ends when every `Gate` of it is dropped.
    pub fn watch(redis: Redis, partition: Partition) -> Self {
        let (sender, seen) = watch::channel(None);
        let doubt = Arc::new(Doubt::default());
        tokio::spawn(watch_meta(redis, Keys::new(partition), sender, doubt.clone()));
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

async fn watch_meta(
    redis: Redis,
    keys: Keys,
    sender: watch::Sender<Option<Arc<StampedScripts>>>,
    doubt: Arc<Doubt>,
) {
    while !sender.is_closed() {
        let found = read_stamp(&redis, &keys).await.unwrap_or_default();
        let refused = *doubt.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let usable = found.filter(|stamp| Some(*stamp) != refused);
        sender.send_if_modified(|seen| {
            let changed = seen.as_ref().map(|scripts| scripts.stamp) != usable;
            if changed {
                *seen = usable.map(|stamp| Arc::new(StampedScripts::new(stamp)));
            }
            changed
        });
        let pause = if usable.is_some() { OPEN_POLL } else { CLOSED_POLL };
        let _ = tokio::time::timeout(pause, doubt.wake.notified()).await;
    }
}

async fn read_stamp(redis: &Redis, keys: &Keys) -> Result<Option<Stamp>, RedisError> {
    let args = vec!["state".into(), "stamp".into()];
    let reply = redis.on_key("HMGET", &keys.meta, args).await?;
    let (state, stamp): (Option<String>, Option<String>) = reply.convert()?;
    Ok(stamp.filter(|_| state.as_deref() == Some("open")).and_then(|stamp| stamp.parse().ok()))
}
