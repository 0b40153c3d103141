//! A connection that listens.

use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::prelude::*;
use fred::types::{Key, Message};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::task::AbortOnDropHandle;

use crate::redis::{Redis, RedisError, RedisOptions};

/// Messages that may wait to be read; more are lost, which the reader is told.
const BUFFERED_MAX: usize = 1024;

/// Listens to shard channels (<https://redis.io/docs/latest/commands/ssubscribe/>), which a server without a cluster
/// has as well. A connection of its own: one that listens does little else. Made anew, it listens to the same channels.
pub struct Subscriber {
    client: SubscriberClient,
    messages: Receiver<Message>,
    timeout: Duration,
    _subscribes_again: AbortOnDropHandle<()>,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Text on a channel.
    Message {
        /// Which.
        channel: String,
        /// What.
        text: String,
    },
    /// Messages were lost: nobody knows which.
    Lost,
}

impl Subscriber {
    /// Begins to connect; listens to nothing yet.
    ///
    /// # Errors
    /// [`RedisError::Config`] where the URL cannot be used.
    pub fn connect(options: &RedisOptions) -> Result<Self, RedisError> {
        let policy = Some(Redis::reconnect_policy());
        let mut builder = Redis::builder(options, options.timeout, policy)?;
        builder.with_performance_config(|performance| performance.broadcast_channel_capacity = BUFFERED_MAX);
        let client = builder
            .build_subscriber_client()
            .map_err(|error| RedisError::Config(error.details().to_owned()))?;
        let messages = client.message_rx();
        let again = AbortOnDropHandle::new(client.manage_subscriptions());
        client.connect();
        Ok(Self { client, messages, timeout: options.timeout, _subscribes_again: again })
    }

    /// Listens to a channel from when this returns.
    ///
    /// # Errors
    /// Those of any command.
    pub async fn subscribe(&self, channel: &Key) -> Result<(), RedisError> {
        if !self.client.is_connected() {
            return Err(RedisError::Disconnected("not connected yet, or again".into()));
        }
        let subscribed = tokio::time::timeout(self.timeout, self.client.ssubscribe(channel.clone()));
        Ok(subscribed.await.map_err(|_| RedisError::Timeout)??)
    }

    /// Listens to it no longer.
    ///
    /// # Errors
    /// Those of any command.
    pub async fn unsubscribe(&self, channel: &Key) -> Result<(), RedisError> {
        let ended = tokio::time::timeout(self.timeout, self.client.sunsubscribe(channel.clone()));
        Ok(ended.await.map_err(|_| RedisError::Timeout)??)
    }

    /// The next message. Cancel-safe.
    pub async fn hear(&mut self) -> Heard {
        match self.messages.recv().await {
            Ok(message) => Heard::Message {
                channel: message.channel.to_string(),
                text: message.value.into_string().unwrap_or_default(),
            },
            Err(RecvError::Lagged(_)) => Heard::Lost,
            // The client lives as long as this does.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
