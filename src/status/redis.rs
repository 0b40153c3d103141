//! What Redis says of a partition.

use std::collections::HashMap;

use fred::types::{Key, Value};
use serde::Serialize;

use crate::catalogue::SaleId;
use crate::log::{EntryId, mean_held};
use crate::partition::Partition;
use crate::redis::{GROUP, Keys, Redis, RedisError, Reply};

/// One partition in Redis.
#[derive(Clone, Debug, Serialize)]
pub struct InRedis {
    /// How it stands.
    pub state: State,
    /// Its `meta`.
    #[serde(flatten)]
    pub meta: Meta,
    /// Entries that are not settled.
    pub backlog: i64,
    /// The oldest entry that is not settled: delivered and pending, or not delivered.
    pub oldest_unsettled: Option<EntryId>,
    /// Its age.
    pub lag_ms: u64,
    /// Entries of the stream that were delivered and not settled.
    pub pending: i64,
    /// Who reads the log.
    pub consumers: Vec<Consumer>,
    /// How much there is.
    pub log: LogSize,
    /// Bytes that an order takes: its log entry, and its buyer's record. An estimate of Redis, from samples.
    pub bytes_per_order: Option<u64>,
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It sells.
    Open,
    /// A keeper is at work.
    Opening,
    /// It was open, but nobody has renewed its lease.
    LeaseOver,
    /// Redis knows nothing of it.
    Unknown,
}

/// The hash `{pN}:meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Meta {
    /// Under which it was last opened, or is being opened.
    pub epoch: Option<i64>,
    /// The opening.
    pub stamp: Option<String>,
    /// How long it stays open without being renewed; below zero once it is over.
    pub lease_left_ms: Option<i64>,
    #[serde(skip)]
    pub(super) word: String,
    #[serde(skip)]
    pub(super) backlog: i64,
}

/// A consumer of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consumer {
    /// Its name: a node and the number of its worker.
    pub name: String,
    /// Entries of the stream that it has and has not settled.
    pub pending: i64,
    /// How long it has been silent.
    pub idle_ms: i64,
}

/// How much a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogSize {
    /// Entries of the stream: the orders of one call of `claim.lua` share one.
    pub entries: i64,
    /// Bytes of memory, estimated by Redis.
    pub bytes: u64,
    /// The oldest entry that is kept.
    pub first: Option<EntryId>,
    /// The last entry.
    pub last: Option<EntryId>,
}

/// Sales whose records are sampled for the memory of an order.
const SAMPLED_SALES_MAX: usize = 20;

/// Asks. Of `sales` the records are sampled.
pub(super) async fn ask(
    redis: &Redis,
    partition: Partition,
    sales: &[SaleId],
) -> Result<InRedis, RedisError> {
    let keys = Keys::new(partition);
    let now_ms = now_ms(redis, &keys.meta).await?;
    let meta = read_meta(redis, &keys.meta, now_ms).await?;
    let log = log_size(redis, &keys.log).await?;
    let group = read_group(redis, &keys.log).await?;
    let buyers = bytes_per_buyer(redis, &keys, sales).await?;
    let oldest_unsettled = group.oldest_pending.into_iter().chain(group.oldest_undelivered).min();
    let log_entries = log.entries as f64 * mean_held(redis, &keys).await?;
    let per_entry = (log.entries > 0).then(|| (log.bytes as f64 / log_entries) as u64);
    Ok(InRedis {
        state: meta.state(),
        backlog: meta.backlog,
        lag_ms: oldest_unsettled.map_or(0, |entry| now_ms.saturating_sub(entry.ms)),
        oldest_unsettled,
        pending: group.pending,
        consumers: group.consumers,
        bytes_per_order: per_entry.zip(buyers).map(|(entry, record)| entry + record),
        log,
        meta,
    })
}

impl Meta {
    fn state(&self) -> State {
        match (self.word.as_str(), self.lease_left_ms) {
            ("open", Some(left)) if left > 0 => State::Open,
            ("open", _) => State::LeaseOver,
            ("opening", _) => State::Opening,
            _ => State::Unknown,
        }
    }
}

async fn now_ms(redis: &Redis, key: &Key) -> Result<u64, RedisError> {
    let (seconds, micros): (u64, u64) = redis.command("TIME", key, Vec::new()).await?.convert()?;
    Ok(seconds * 1000 + micros / 1000)
}

async fn read_meta(redis: &Redis, key: &Key, now_ms: u64) -> Result<Meta, RedisError> {
    let fields = ["epoch", "state", "stamp", "lease_until", "appended", "settled"];
    let reply = redis.on_key("HMGET", key, fields.map(Value::from).to_vec()).await?;
    let [epoch, state, stamp, lease_until, appended, settled]: [Option<String>; 6] = reply
        .convert::<Vec<Option<String>>>()?
        .try_into()
        .map_err(|_| RedisError::Unexpected("reply to HMGET".into()))?;
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok());
    let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    Ok(Meta {
        epoch: number(epoch),
        stamp,
        lease_left_ms: number(lease_until).map(|until| until.saturating_sub(now_ms)),
        word: state.unwrap_or_default(),
        // Between an entry of another hand and its settling (settle.lua).
        backlog: (number(appended).unwrap_or(0) - number(settled).unwrap_or(0)).max(0),
    })
}

async fn log_size(redis: &Redis, log: &Key) -> Result<LogSize, RedisError> {
    let info = match redis.command("XINFO", log, vec!["STREAM".into(), log.clone().into()]).await {
        Err(RedisError::Refused(why)) if why.contains("no such key") => return Ok(LogSize::default()),
        info => fields_of(info?),
    };
    let entry = |name: &str| match info.get(name) {
        Some(Value::Array(entry)) => entry.first().and_then(|id| id.as_str()?.parse().ok()),
        _ => None,
    };
    Ok(LogSize {
        entries: number(&info, "length"),
        bytes: memory(redis, log).await?,
        first: entry("first-entry"),
        last: entry("last-entry"),
    })
}

struct Group {
    pending: i64,
    oldest_pending: Option<EntryId>,
    oldest_undelivered: Option<EntryId>,
    consumers: Vec<Consumer>,
}

async fn read_group(redis: &Redis, log: &Key) -> Result<Group, RedisError> {
    let none = Group { pending: 0, oldest_pending: None, oldest_undelivered: None, consumers: Vec::new() };
    let groups = match redis.command("XINFO", log, vec!["GROUPS".into(), log.clone().into()]).await {
        Err(RedisError::Refused(why)) if why.contains("no such key") => return Ok(none),
        groups => groups?.into_array(),
    };
    let ours = groups
        .into_iter()
        .map(fields_of)
        .find(|group| group.get("name").and_then(Value::as_str).is_some_and(|name| *name == *GROUP));
    let Some(ours) = ours else { return Ok(none) };
    let delivered: Option<EntryId> = ours.get("last-delivered-id").and_then(|id| id.as_str()?.parse().ok());
    let after = format!("({}", delivered.unwrap_or(EntryId::ZERO));
    let args = vec![after.into(), "+".into(), "COUNT".into(), 1.into()];
    let undelivered = crate::log::read_entries(redis.on_key("XRANGE", log, args).await?)?;
    let pending = redis.on_key("XPENDING", log, vec![GROUP.into()]).await?.into_array();
    let consumers = redis
        .command("XINFO", log, vec!["CONSUMERS".into(), log.clone().into(), GROUP.into()])
        .await?
        .into_array();
    Ok(Group {
        pending: pending.first().and_then(Value::as_i64).unwrap_or(0),
        oldest_pending: pending.get(1).and_then(|id| id.as_str()?.parse().ok()),
        oldest_undelivered: undelivered.first().map(|entry| entry.id),
        consumers: consumers.into_iter().map(fields_of).map(|info| consumer(&info)).collect(),
    })
}

fn consumer(info: &HashMap<String, Value>) -> Consumer {
    let name = info.get("name").and_then(Value::as_str).map(|name| name.to_string()).unwrap_or_default();
    Consumer { name, pending: number(info, "pending"), idle_ms: number(info, "idle") }
}

/// Of the buyers' records of these sales; `None` where there are none.
async fn bytes_per_buyer(redis: &Redis, keys: &Keys, sales: &[SaleId]) -> Result<Option<u64>, RedisError> {
    let (mut bytes, mut buyers) = (0, 0);
    for sale in sales.iter().take(SAMPLED_SALES_MAX) {
        let key = keys.sale(sale).buyers;
        // One field is no buyer's, see publish_sale.lua.
        let count = redis.on_key("HLEN", &key, Vec::new()).await?.as_u64().unwrap_or(0).saturating_sub(1);
        if count > 0 {
            bytes += memory(redis, &key).await?;
            buyers += count;
        }
    }
    Ok((buyers > 0).then(|| bytes / buyers))
}

/// <https://redis.io/docs/latest/commands/memory-usage/>; from samples, so quick also for a large key.
async fn memory(redis: &Redis, key: &Key) -> Result<u64, RedisError> {
    let reply = redis.command("MEMORY", key, vec!["USAGE".into(), key.clone().into()]).await?;
    Ok(reply.as_u64().unwrap_or(0))
}

/// A reply of names and values, in turn or as a map.
fn fields_of(reply: Reply) -> HashMap<String, Value> {
    let mut fields = HashMap::new();
    let mut words = match reply {
        Value::Map(map) => {
            let pairs = map.inner().into_iter();
            return pairs.filter_map(|(name, value)| Some((name.into_string()?, value))).collect();
        }
        reply => reply.into_array().into_iter(),
    };
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if let Some(name) = name.into_string() {
            fields.insert(name, value);
        }
    }
    fields
}

fn number(fields: &HashMap<String, Value>, name: &str) -> i64 {
    fields.get(name).and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_sells_only_under_a_lease_that_runs() {
        let meta = |word: &str, left| Meta { word: word.into(), lease_left_ms: left, ..Meta::default() };
        assert_eq!(meta("open", Some(1)).state(), State::Open);
        assert_eq!(meta("open", Some(0)).state(), State::LeaseOver);
        assert_eq!(meta("open", None).state(), State::LeaseOver);
        assert_eq!(meta("opening", Some(9)).state(), State::Opening);
        assert_eq!(meta("", None).state(), State::Unknown);
    }
}
