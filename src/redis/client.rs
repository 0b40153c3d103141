//! A connection to Redis, with the settings that the proof of the promises leans on.

use std::sync::Arc;
use std::time::Duration;

use fred::prelude::*;
use fred::types::config::UnresponsiveConfig;
use fred::types::{ClusterHash, CustomCommand, Key};

use crate::redis::{KeeperScript, RedisError, Script, Session, StampedScripts};

/// A reply, as the client decodes it.
pub type Reply = Value;

/// How to connect.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://`, `rediss://`, `redis-cluster://` or `redis-sentinel://`.
    pub url: String,
    /// For one command, and for making a connection.
    pub timeout: Duration,
    /// Commands that may wait for the connection; more are refused at once.
    pub queue_max: usize,
}

/// A client: one connection to each server, remade when it breaks.
#[derive(Clone)]
pub struct Redis {
    pub(super) client: Client,
    options: Arc<RedisOptions>,
    timeout: Duration,
}

/// Between attempts to connect: short, since an opening waits for it.
const RECONNECT_DELAY_MS: u32 = 50;

impl Redis {
    /// Makes the client and begins to connect; a server that is away is tried until it is there.
    ///
    /// # Errors
    /// [`RedisError::Config`] where the URL cannot be used.
    pub fn connect(options: &RedisOptions) -> Result<Self, RedisError> {
        Self::build(options, options.timeout)
    }

    /// A client of its own for commands that block: while one waits, others would wait behind it.
    ///
    /// # Errors
    /// As [`Redis::connect`].
    pub fn connect_blocking(options: &RedisOptions, block_max: Duration) -> Result<Self, RedisError> {
        Self::build(options, options.timeout + block_max)
    }

    fn build(options: &RedisOptions, timeout: Duration) -> Result<Self, RedisError> {
        let policy = Some(Self::reconnect_policy());
        let redis = Self::unconnected(Arc::new(options.clone()), timeout, policy)?;
        redis.client.connect();
        Ok(redis)
    }

    pub(super) fn reconnect_policy() -> ReconnectPolicy {
        ReconnectPolicy::new_constant(0, RECONNECT_DELAY_MS)
    }

    /// A client that nobody has told to connect. Without a policy it connects once: what breaks stays broken.
    pub(super) fn unconnected(
        options: Arc<RedisOptions>,
        timeout: Duration,
        reconnect: Option<ReconnectPolicy>,
    ) -> Result<Self, RedisError> {
        let builder = Self::builder(&options, timeout, reconnect)?;
        let client = builder.build().map_err(|e| RedisError::Config(e.details().to_owned()))?;
        Ok(Self { client, options, timeout })
    }

    /// The settings that every client shares.
    pub(super) fn builder(
        options: &RedisOptions,
        timeout: Duration,
        reconnect: Option<ReconnectPolicy>,
    ) -> Result<Builder, RedisError> {
        let mut config =
            Config::from_url(&options.url).map_err(|e| RedisError::Config(e.details().to_owned()))?;
        config.fail_fast = reconnect.is_none();
        let mut builder = Builder::from_config(config);
        if let Some(policy) = reconnect {
            builder.set_policy(policy);
        }
        builder
            .with_connection_config(|connection| {
                connection.connection_timeout = options.timeout;
                connection.internal_command_timeout = options.timeout;
                // The default of 3 would run a script again when only its reply was lost.
                connection.max_command_attempts = 1;
                connection.max_command_buffer_len = options.queue_max;
                connection.unresponsive = UnresponsiveConfig {
                    max_timeout: Some(timeout * 2),
                    interval: Duration::from_millis(200),
                };
                connection.auto_client_setname = false;
                connection.tcp.nodelay = Some(true);
            })
            .with_performance_config(|performance| performance.default_command_timeout = timeout);
        Ok(builder)
    }

    /// One connection of its own to the server behind the same address.
    ///
    /// # Errors
    /// [`RedisError::Disconnected`] or [`RedisError::Timeout`] where it cannot be reached now.
    pub async fn session(&self) -> Result<Session, RedisError> {
        self.session_with_waits(Duration::ZERO).await
    }

    /// As [`Redis::session`], for commands that wait at most `wait_max` longer than others take.
    ///
    /// # Errors
    /// As [`Redis::session`].
    pub async fn session_with_waits(&self, wait_max: Duration) -> Result<Session, RedisError> {
        Session::connect(self.options.clone(), wait_max).await
    }

    /// Waits until the first connection stands.
    ///
    /// # Errors
    /// [`RedisError::Timeout`] after the command timeout.
    pub async fn wait_ready(&self) -> Result<(), RedisError> {
        tokio::time::timeout(self.timeout, self.client.wait_for_connect())
            .await
            .map_err(|_| RedisError::Timeout)??;
        Ok(())
    }

    /// Whether a connection stands. Without one a command would wait until its timeout, and then leave open whether it
    /// took effect.
    pub fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Runs a script of an open partition.
    ///
    /// # Errors
    /// [`RedisError::Fenced`] where the opening is over; never loads the script, since only the keeper may.
    pub async fn run(
        &self,
        scripts: &StampedScripts,
        script: Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        #[cfg(feature = "faults")]
        if crate::faults::weakened!("load_on_noscript") {
            return self.run_or_load(scripts, script, keys, args).await;
        }
        Ok(self.client.evalsha(scripts.digest(script), keys, args).await?)
    }

    /// What many clients do, and the fence forbids.
    #[cfg(feature = "faults")]
    async fn run_or_load(
        &self,
        scripts: &StampedScripts,
        script: Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        match self.client.evalsha(scripts.digest(script), keys.clone(), args.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                Ok(self.client.eval(scripts.text(script), keys, args).await?)
            }
            reply => Ok(reply?),
        }
    }

    /// Runs a script of the keeper.
    ///
    /// # Errors
    /// [`RedisError::Superseded`] where another keeper has gone further.
    pub async fn run_keeper(
        &self,
        script: KeeperScript,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        Ok(self.client.eval(script.text(), keys, args).await?)
    }

    /// Runs a plain command whose first argument is a key.
    ///
    /// # Errors
    /// Those of any command.
    pub async fn on_key(
        &self,
        name: &'static str,
        key: &Key,
        mut args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        args.insert(0, Value::Bytes(key.as_bytes().to_vec().into()));
        self.command(name, key, args).await
    }

    /// Runs a plain command; in a cluster, on the server that holds `key` (which is not passed by itself).
    ///
    /// # Errors
    /// Those of any command.
    pub async fn command(
        &self,
        name: &'static str,
        key: &Key,
        args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        let command = CustomCommand::new_static(name, ClusterHash::Custom(key.cluster_hash()), false);
        Ok(self.client.custom(command, args).await?)
    }

    /// As [`Redis::command`], for one that waits for data. Use a client from [`Redis::connect_blocking`].
    ///
    /// # Errors
    /// Those of any command.
    pub async fn blocking_command(
        &self,
        name: &'static str,
        key: &Key,
        args: Vec<Value>,
    ) -> Result<Reply, RedisError> {
        let command = CustomCommand::new_static(name, ClusterHash::Custom(key.cluster_hash()), true);
        Ok(self.client.custom(command, args).await?)
    }

    /// Closes the connection. Bounded: the client's own farewell can hang on a dead server.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(500), self.client.quit()).await;
    }
}
