//! The payments stream: what was just persisted and is to be charged. Only hints: one that is lost, late or doubled costs a
//! few seconds or a look, since Postgres says what is due.

use std::time::Duration;

use fred::types::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::log::read_entries;
use crate::order_id::OrderId;
use crate::redis::{Keys, PAYMENT_GROUP, Redis, RedisError};

/// How long a read waits for hints. Bounds the time a reader takes to notice that it is to stop.
pub const HINT_BLOCK: Duration = Duration::from_millis(500);
/// Hints of one read.
const READ_MAX: i64 = 100;

/// Reads the hints of one partition.
pub(super) struct HintReader {
    /// For reads that wait.
    pub reader: Redis,
    pub redis: Redis,
    pub keys: Keys,
    /// Its name in the group.
    pub consumer: String,
    pub hints: mpsc::Sender<Vec<Uuid>>,
}

impl HintReader {
    /// Reads until `stop`, and no faster than somebody takes what was read.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Room first: what is read here is gone for all others.
            let room = tokio::select! {
                room = self.hints.reserve() => room,
                () = stop.cancelled() => return,
            };
            let Ok(room) = room else { return };
            match self.read().await {
                Ok(orders) if orders.is_empty() => {}
                Ok(orders) => room.send(orders),
                Err(error) => {
                    tracing::debug!(%error, "no hints of payments; what is due is found without them");
                    tokio::time::sleep(HINT_BLOCK).await;
                }
            }
        }
    }

    async fn read(&self) -> Result<Vec<Uuid>, RedisError> {
        let args: Vec<Value> = vec![
            "GROUP".into(),
            PAYMENT_GROUP.into(),
            self.consumer.as_str().into(),
            "COUNT".into(),
            READ_MAX.into(),
            "BLOCK".into(),
            (HINT_BLOCK.as_millis() as i64).into(),
            "NOACK".into(),
            "STREAMS".into(),
            self.keys.payments.clone().into(),
            ">".into(),
        ];
        let reply = match self.reader.blocking_command("XREADGROUP", &self.keys.payments, args).await {
            Ok(reply) => reply,
            Err(error) => {
                // No stream, no group: the first order that is to be charged makes the stream, whoever comes first the group.
                self.make_group().await?;
                return Err(error);
            }
        };
        let Value::Array(streams) = reply else { return Ok(Vec::new()) };
        let Some(Value::Array(stream)) = streams.into_iter().next() else { return Ok(Vec::new()) };
        let entries = read_entries(stream.into_iter().nth(1).unwrap_or(Value::Null))?;
        let read: Vec<Value> = entries.iter().map(|entry| Value::from(entry.id.to_string())).collect();
        if !read.is_empty() {
            self.redis.on_key("XDEL", &self.keys.payments, read).await?;
        }
        let orders = entries.iter().filter_map(|entry| {
            let (_, order) = entry.fields.first()?;
            str::from_utf8(order).ok()?.parse::<OrderId>().ok()
        });
        Ok(orders.map(OrderId::to_uuid).collect())
    }

    async fn make_group(&self) -> Result<(), RedisError> {
        let key = self.keys.payments.clone();
        let args: Vec<Value> = vec!["CREATE".into(), key.clone().into(), PAYMENT_GROUP.into(), "0".into()];
        self.redis.command("XGROUP", &key, args).await.map(drop)
    }
}
