//! One connection to one server process, and never another.
//!
//! A [`Redis`] connects again where its connection breaks, maybe to another process behind the same address. What has to
//! reach the process that an earlier command reached needs a [`Session`]: it does so, or fails.

use std::sync::Arc;
use std::time::Duration;

use fred::error::Error as FredError;
use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand, Key};
use tokio_util::task::AbortOnDropHandle;

use crate::redis::{KeeperScript, Redis, RedisError, RedisOptions, Reply, Script, StampedScripts};

/// A connection that is never remade: once it breaks, every command on it fails. Dropping it closes it.
pub struct Session {
    redis: Redis,
    router: AbortOnDropHandle<Result<(), FredError>>,
}

/// How many replicas must hold what was written, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaWait {
    /// At least this many.
    pub replicas: u32,
    /// Afterwards the answer is "too few".
    pub limit: Duration,
}

/// What a script answered, and who holds what it wrote.
#[derive(Debug)]
pub struct Held {
    /// Of the script.
    pub reply: Reply,
    /// Replicas that hold everything that this connection has written.
    pub replicas: Result<u32, RedisError>,
}

impl Held {
    /// Whether the replicas are as many as were asked for.
    pub fn by(&self, wait: ReplicaWait) -> bool {
        self.replicas.as_ref().is_ok_and(|&replicas| replicas >= wait.replicas)
    }
}

impl Session {
    pub(super) async fn connect(options: Arc<RedisOptions>, wait_max: Duration) -> Result<Self, RedisError> {
        let (patience, timeout) = (options.timeout, options.timeout + wait_max);
        let redis = Redis::unconnected(options, timeout, None)?;
        let client = redis.client.clone();
        let ready = client.wait_for_connect();
        tokio::pin!(ready);
        // Listens before there is anything to hear: on a near host the connection stands, or is refused, at once.
        let _ = futures_util::poll!(ready.as_mut());
        let router = AbortOnDropHandle::new(client.connect());
        tokio::time::timeout(patience, ready).await.map_err(|_| RedisError::Timeout)??;
        Ok(Self { redis, router })
    }

    /// For calls that take a [`Redis`]: this connection.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Whether it is known to be broken.
    pub fn is_broken(&self) -> bool {
        self.router.is_finished() || !self.redis.is_connected()
    }

    /// Loads all scripts and the marker. For the keeper alone, and only while the partition is closed: whoever sees the
    /// marker trusts the process that holds it.
    ///
    /// # Errors
    /// Those of any command.
    pub async fn load_scripts(&self, scripts: &StampedScripts, meta: &Key) -> Result<(), RedisError> {
        for script in Script::ALL {
            self.load_text(scripts.text(script), meta).await?;
        }
        self.load_text(scripts.marker_text(), meta).await
    }

    /// Loads these scripts of a node of another version than the keeper, if this process is the one that was opened under
    /// their stamp.
    ///
    /// # Errors
    /// [`RedisError::Fenced`] where the process does not know the marker.
    pub async fn load_beside_marker(
        &self,
        scripts: &StampedScripts,
        missing: &[Script],
        meta: &Key,
    ) -> Result<(), RedisError> {
        let stamp: Option<String> = self
            .redis
            .client
            .evalsha(scripts.marker_digest(), vec![meta.clone()], Vec::<Value>::new())
            .await?;
        if stamp.as_deref() != Some(&scripts.stamp.to_string()) {
            return Err(RedisError::Fenced("the marker names another stamp".into()));
        }
        for &script in missing {
            self.load_text(scripts.text(script), meta).await?;
        }
        Ok(())
    }

    async fn load_text(&self, text: String, meta: &Key) -> Result<(), RedisError> {
        self.redis.command("SCRIPT", meta, vec!["LOAD".into(), text.into()]).await.map(drop)
    }

    /// Runs a script of the keeper.
    ///
    /// # Errors
    /// As [`Redis::run_keeper`].
    pub async fn run_keeper(
        &self,
        script: KeeperScript,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        self.redis.run_keeper(script, keys, args).await
    }

    /// Runs a script of an open partition and, sent with it and behind it, WAIT
    /// (<https://redis.io/docs/latest/commands/wait/>). WAIT covers what this connection has *written*: behind a script
    /// that wrote nothing it says nothing. A server that is demoted in between answers WAIT with an error.
    ///
    /// # Errors
    /// Those of the script. A WAIT that failed is told in [`Held`].
    pub async fn run_and_wait(
        &self,
        scripts: &StampedScripts,
        script: Script,
        keys: Vec<Key>,
        args: Vec<Value>,
        wait: ReplicaWait,
    ) -> Result<Held, RedisError> {
        let slot =
            || keys.first().map_or(ClusterHash::FirstKey, |key| ClusterHash::Custom(key.cluster_hash()));
        let evalsha = CustomCommand::new_static("EVALSHA", slot(), false);
        let wait_for = CustomCommand::new_static("WAIT", slot(), false);
        let mut words: Vec<Value> = Vec::with_capacity(2 + keys.len() + args.len());
        words.extend([scripts.digest(script).into(), (keys.len() as i64).into()]);
        words.extend(keys.into_iter().map(Value::from));
        words.extend(args);
        let limit_ms = i64::try_from(wait.limit.as_millis()).unwrap_or(i64::MAX);
        let both = self.redis.client.pipeline();
        let _: () = both.custom(evalsha, words).await?;
        let _: () = both.custom(wait_for, vec![i64::from(wait.replicas), limit_ms]).await?;
        let mut results = both.try_all::<Value>().await.into_iter();
        let no_answer = || Err(RedisError::Unexpected("no answer to a pipeline".into()));
        let reply = results.next().map_or_else(no_answer, |reply| Ok(reply?))?;
        let replicas = results.next().map_or_else(no_answer, |replicas| Ok(replicas?));
        let replicas = replicas.and_then(|replicas| Ok(replicas.convert::<u32>()?));
        Ok(Held { reply, replicas })
    }
}
