//! Opens a partition of a real Redis with the keeper's own scripts, but without a keeper and its Postgres.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::time::Duration;

use doorbuster::catalogue::{SaleId, Sku};
use doorbuster::claim::{
    Batch, BuyersWithOrders, Claim, ClaimError, Decision, Survey, digest_text, fingerprint, key_digest,
};
use doorbuster::log::{
    DecidedEntry, EntryId, LogEntry, OrderEntry, RawEntry, SaleEntry, StockEntry, read_entries, read_range,
};
use doorbuster::order::CancelReason;
use doorbuster::order_id::{Mark, OrderId};
use doorbuster::partition::Partition;
use doorbuster::redis::{
    GROUP, KeeperScript, Keys, LAYOUT, Redis, RedisError, RedisOptions, Reply, Script, Stamp, StampedScripts,
};
use doorbuster::servers::{self, PrivateRedis};
use fred::types::{Key, Value};
use serde_json::json;
use tempfile::TempDir;

/// Longer than any test.
pub const LEASE_MS: i64 = 600_000;
/// A time that does not come.
pub const NEVER_LATE_MS: i64 = 1 << 50;
/// A bound that is out of the way.
pub const NO_BACKLOG: u64 = 1_000_000;

/// A Redis of this test alone.
pub struct TestRedis {
    pub server: PrivateRedis,
    pub redis: Redis,
    _dir: TempDir,
}

impl TestRedis {
    /// Without fsync: it says nothing about the scripts. `settings` are directives of redis.conf.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = [("appendfsync", "no")].iter().chain(settings);
        let server = PrivateRedis::start(servers::RedisOptions {
            data_dir: dir.path().join("redis"),
            extra_args: settings.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..Default::default()
        })
        .await
        .unwrap();
        let timeout = Duration::from_secs(10);
        let redis = Redis::connect(&RedisOptions { url: server.url(), timeout, queue_max: 1000 }).unwrap();
        redis.wait_ready().await.unwrap();
        Self { server, redis, _dir: dir }
    }

    /// An empty server with this partition open on it, under epoch 1.
    pub async fn open(&self, partition: u8) -> OpenPartition {
        let keys = Keys::new(Partition::new(partition));
        self.redis.command("FLUSHALL", &keys.meta, vec![]).await.unwrap();
        OpenPartition::open(&self.redis, keys, partition, 1).await.unwrap()
    }
}

/// What `open.lua` and `renew.lua` compare: run_id and master_replid.
pub async fn server_identity(redis: &Redis, keys: &Keys) -> [String; 2] {
    let [run_id, replid] = [("server", "run_id:"), ("replication", "master_replid:")];
    [info(redis, keys, run_id.0, run_id.1).await, info(redis, keys, replid.0, replid.1).await]
}

/// One field of INFO; `field` ends in its colon.
pub async fn info(redis: &Redis, keys: &Keys, section: &str, field: &str) -> String {
    let text = redis.command("INFO", &keys.meta, vec![section.into()]).await.unwrap().as_string().unwrap();
    text.lines().find_map(|line| line.strip_prefix(field)).unwrap().to_owned()
}

/// An opening under way.
pub struct Opening {
    pub redis: Redis,
    pub keys: Keys,
    pub epoch: i64,
    pub token: String,
}

impl Opening {
    pub async fn begin(redis: &Redis, keys: &Keys, epoch: i64) -> Result<Self, RedisError> {
        let token = format!("token-{epoch}");
        let args = vec![epoch.into(), token.as_str().into(), i64::from(LAYOUT).into()];
        redis.run_keeper(KeeperScript::Begin, vec![keys.meta.clone()], args).await?;
        Ok(Self { redis: redis.clone(), keys: keys.clone(), epoch, token })
    }

    pub async fn step(&self, command: &str, key: &Key, args: Vec<Value>) -> Result<Reply, RedisError> {
        let mut all = vec![self.token.as_str().into(), command.into()];
        all.extend(args);
        self.redis.run_keeper(KeeperScript::Step, vec![self.keys.meta.clone(), key.clone()], all).await
    }

    /// Writes the opening into the log and begins the group there.
    pub async fn begin_log(&self) -> Result<EntryId, RedisError> {
        let value = LogEntry::encode_opening(Mark::random(), self.epoch, EntryId::ZERO);
        let entry = vec!["*".into(), "opening".into(), value.into()];
        let id = self.step("XADD", &self.keys.log, entry).await?.as_string().unwrap();
        let count = vec!["appended".into(), 0.into(), "settled".into(), 0.into()];
        self.step("HSET", &self.keys.meta, count).await?;
        self.step("XGROUP", &self.keys.log, vec!["DESTROY".into(), GROUP.into()]).await?;
        let group = vec!["CREATE".into(), GROUP.into(), id.as_str().into()];
        self.step("XGROUP", &self.keys.log, group).await?;
        Ok(id.parse().unwrap())
    }

    pub async fn finish(&self, stamp: &Stamp, server: &[String; 2]) -> Result<Reply, RedisError> {
        let mut args: Vec<Value> =
            vec![self.token.as_str().into(), stamp.to_string().into(), LEASE_MS.into()];
        args.extend(server.iter().map(|id| Value::from(id.as_str())));
        args.push(NEVER_LATE_MS.into());
        self.redis.run_keeper(KeeperScript::Open, vec![self.keys.meta.clone()], args).await
    }
}

/// A change of stock, as a keeper would send it.
pub struct StockChange<'a> {
    pub stock: &'a StockEntry,
    /// For a return: the order as the log has it, its id, and why it ended.
    pub return_of: Option<(&'a OrderEntry, OrderId, CancelReason)>,
}

/// An open partition.
#[derive(Clone)]
pub struct OpenPartition {
    pub redis: Redis,
    pub keys: Keys,
    pub scripts: StampedScripts,
    pub opening_entry: EntryId,
}

impl OpenPartition {
    pub async fn open(redis: &Redis, keys: Keys, partition: u8, epoch: i64) -> Result<Self, RedisError> {
        let server = server_identity(redis, &keys).await;
        let opening = Opening::begin(redis, &keys, epoch).await?;
        let opening_entry = opening.begin_log().await?;
        let scripts = StampedScripts::new(Stamp::new(Partition::new(partition), epoch));
        redis.session().await?.load_scripts(&scripts, &keys.meta).await?;
        opening.finish(&scripts.stamp, &server).await?;
        Ok(Self { redis: redis.clone(), keys, scripts, opening_entry })
    }

    pub async fn run(&self, script: Script, keys: Vec<Key>, args: Vec<Value>) -> Result<Reply, RedisError> {
        self.redis.run(&self.scripts, script, keys, args).await
    }

    /// A plain command on a key, as someone with `redis-cli` would send it.
    pub async fn raw(&self, name: &'static str, key: &Key, args: &[&str]) -> Reply {
        self.redis.on_key(name, key, args.iter().map(|&arg| arg.into()).collect()).await.unwrap()
    }

    pub async fn publish(&self, sale: &SaleId, definition: &Definition) -> Result<i64, RedisError> {
        self.publish_after(0, sale, definition).await
    }

    /// As [`OpenPartition::publish`], where Postgres knows that this version was told before.
    pub async fn publish_after(
        &self,
        told: i64,
        sale: &SaleId,
        definition: &Definition,
    ) -> Result<i64, RedisError> {
        let Definition { version, control, opens_at_ms, closes_at_ms, limits } = definition;
        let mark = Mark::random();
        let entry = SaleEntry { mark, sale: sale.clone(), version: *version, definition: json!({}) };
        let mut args: Vec<Value> = vec![
            (*version).into(),
            (*control).into(),
            (*opens_at_ms).into(),
            (*closes_at_ms).into(),
            entry.encode().into(),
            told.into(),
        ];
        for (sku, limit) in limits {
            args.extend([sku.as_str().into(), limit.map_or(Value::from(""), Value::from), "".into()]);
        }
        let of_sale = self.keys.sale(sale);
        let keys = vec![self.keys.meta.clone(), of_sale.sale, of_sale.buyers, self.keys.log.clone()];
        Ok(self.run(Script::PublishSale, keys, args).await?.as_i64().unwrap())
    }

    pub async fn change_stock(&self, change: &StockChange<'_>) -> Result<String, RedisError> {
        let StockChange { stock, return_of } = change;
        let mut args: Vec<Value> = match return_of {
            None => vec!["allotment".into(), stock.encode().into(), stock.cause.as_str().into()],
            Some((_, _, reason)) => {
                vec!["return".into(), stock.encode_return(*reason).into(), stock.cause.as_str().into()]
            }
        };
        let (buyer, record) = return_of
            .map(|(order, id, _)| (order.buyer.as_str().to_owned(), record_name(order, id)))
            .unwrap_or_default();
        args.extend([buyer.into(), record.into()]);
        args.extend(stock.lines.iter().flat_map(|(sku, units)| [sku.as_str().into(), (*units).into()]));
        let sale = self.keys.sale(&stock.sale);
        let keys = vec![self.keys.meta.clone(), sale.sale, sale.buyers, sale.causes, self.keys.log.clone()];
        Ok(self.run(Script::ChangeStock, keys, args).await?.as_string().unwrap())
    }

    /// Adds units under a cause.
    pub async fn add_stock(&self, sale: &SaleId, cause: &str, lines: &[(&str, i64)]) -> String {
        let lines = lines.iter().map(|(sku, units)| (sku.parse().unwrap(), *units)).collect();
        let stock = StockEntry { mark: Mark::random(), sale: sale.clone(), cause: cause.into(), lines };
        self.change_stock(&StockChange { stock: &stock, return_of: None }).await.unwrap()
    }

    /// As an operator changes an allotment.
    pub async fn adjust(&self, sale: &SaleId, cause: &str, lines: &[(&str, i64)]) -> String {
        let lines: Vec<(Sku, i64)> =
            lines.iter().map(|(sku, units)| (sku.parse().unwrap(), *units)).collect();
        let stock = StockEntry {
            mark: Mark::random(),
            sale: sale.clone(),
            cause: cause.into(),
            lines: lines.clone(),
        };
        let entry = DecidedEntry { stock, actor: "test".into(), reason: "test".into() };
        let mut args: Vec<Value> =
            vec!["adjustment".into(), entry.encode().into(), cause.into(), "".into(), "".into()];
        for (sku, units) in &lines {
            args.extend([sku.as_str().into(), (*units).into()]);
        }
        let of_sale = self.keys.sale(sale);
        let keys =
            vec![self.keys.meta.clone(), of_sale.sale, of_sale.buyers, of_sale.causes, self.keys.log.clone()];
        self.run(Script::ChangeStock, keys, args).await.unwrap().as_string().unwrap()
    }

    pub async fn decide(
        &self,
        sale: &SaleId,
        claims: &[Claim],
        backlog_max: u64,
    ) -> Result<Vec<Decision>, ClaimError> {
        let batch = Batch::new(claims.iter(), backlog_max);
        let mut decisions =
            batch.decide(&self.redis, &self.scripts, &self.keys, &self.keys.sale(sale)).await?;
        claims.iter().map(|claim| decisions.next(claim)).collect()
    }

    pub async fn survey(&self, sale: &SaleId, claims: &[Claim]) -> Result<Survey, ClaimError> {
        Survey::take(claims.iter(), &self.redis, &self.scripts, &self.keys, &self.keys.sale(sale)).await
    }

    /// Who has orders in the sale now.
    pub async fn buyers(&self, sale: &SaleId) -> Result<BuyersWithOrders, ClaimError> {
        let sale = self.keys.sale(sale);
        let read = BuyersWithOrders::read(&self.redis, &self.scripts, &self.keys.meta, &sale).await?;
        Ok(read.expect("few enough"))
    }

    pub async fn survey_knowing(
        &self,
        sale: &SaleId,
        claims: &[Claim],
        known: &BuyersWithOrders,
    ) -> Result<Option<Survey>, ClaimError> {
        let sale = self.keys.sale(sale);
        Survey::take_knowing(claims.iter(), known, &self.redis, &self.scripts, &self.keys, &sale).await
    }

    /// Reads everything that is new as a worker would, so that it is pending.
    pub async fn deliver(&self) -> Vec<RawEntry> {
        let key = self.keys.log.as_str().unwrap();
        let args = ["GROUP", GROUP, "worker", "COUNT", "100000", "STREAMS", key, ">"];
        let args = args.into_iter().map(Value::from).collect();
        let reply = self.redis.command("XREADGROUP", &self.keys.log, args).await.unwrap();
        let Value::Array(mut streams) = reply else { return Vec::new() };
        let Some(Value::Array(mut stream)) = streams.pop() else { return Vec::new() };
        read_entries(stream.pop().unwrap()).unwrap()
    }

    pub async fn settle(&self, ids: &[EntryId]) -> Result<i64, RedisError> {
        Ok(self.settle_and_count(ids).await?.0)
    }

    /// How many were settled, and how many of those nobody had counted.
    pub async fn settle_and_count(&self, ids: &[EntryId]) -> Result<(i64, i64), RedisError> {
        self.settle_telling(ids, &[]).await
    }

    /// As [`Self::settle_and_count`], and tells the payment workers of some.
    pub async fn settle_telling(&self, ids: &[EntryId], due: &[&str]) -> Result<(i64, i64), RedisError> {
        let mut args: Vec<Value> = vec![GROUP.into(), (due.len() as i64).into()];
        args.extend(due.iter().map(|order| Value::from(*order)));
        let log = self.log().await;
        let of = |id| log.iter().find(|entry| entry.id == id).map_or(id, |entry| entry.held_by);
        let held_by: BTreeSet<EntryId> = ids.iter().map(|id| of(*id)).collect();
        for id in held_by {
            let size = log.iter().filter(|entry| entry.held_by == id).count().max(1);
            args.extend([(size as i64).into(), 1.into(), id.to_string().into()]);
        }
        let keys = &self.keys;
        let keys =
            vec![keys.meta.clone(), keys.log.clone(), keys.order_changes.clone(), keys.payments.clone()];
        Ok(self.run(Script::Settle, keys, args).await?.convert().unwrap())
    }

    pub async fn trim(&self, keep_from: EntryId) -> Result<i64, RedisError> {
        let keys = vec![self.keys.meta.clone(), self.keys.log.clone()];
        let args = vec![GROUP.into(), keep_from.to_string().into()];
        Ok(self.run(Script::Trim, keys, args).await?.as_i64().unwrap())
    }

    /// Every entry of the log.
    pub async fn log(&self) -> Vec<RawEntry> {
        read_range(&self.redis, &self.keys, EntryId::ZERO, 1_000_000).await.unwrap()
    }

    /// Units for sale; `None` where the field is missing.
    pub async fn stock(&self, sale: &SaleId, sku: &Sku) -> Option<i64> {
        self.raw("HGET", &self.keys.sale(sale).sale, &[&format!("stock:{sku}")]).await.as_i64()
    }

    /// Entries that were appended, and of those settled.
    pub async fn backlog(&self) -> [i64; 2] {
        let reply = self.raw("HMGET", &self.keys.meta, &["appended", "settled"]).await;
        reply.convert::<Vec<i64>>().unwrap().try_into().unwrap()
    }

    /// What the server has changed in its data, and bytes of its append-only file: equal means that nothing was
    /// written.
    pub async fn changes(&self) -> [String; 2] {
        let field = async |name| info(&self.redis, &self.keys, "persistence", name).await;
        [field("rdb_changes_since_last_save:").await, field("aof_current_size:").await]
    }
}

/// What `publish_sale.lua` is told.
#[derive(Clone, Debug)]
pub struct Definition {
    pub version: i64,
    pub control: &'static str,
    pub opens_at_ms: i64,
    pub closes_at_ms: i64,
    pub limits: Vec<(Sku, Option<i64>)>,
}

impl Definition {
    /// Open since long and for long.
    pub fn open(version: i64, limits: &[(&str, Option<i64>)]) -> Self {
        let limits = limits.iter().map(|(sku, limit)| (sku.parse().unwrap(), *limit)).collect();
        Self { version, control: "scheduled", opens_at_ms: 0, closes_at_ms: i64::MAX / 1000, limits }
    }
}

/// How the record of an order begins in the buyer's field, see `SaleKeys::buyers`.
pub fn record_name(order: &OrderEntry, id: OrderId) -> String {
    let digests = [digest_text(key_digest(&order.key)), digest_text(fingerprint(&order.lines))];
    let digests: String = digests.iter().flatten().map(|&c| char::from(c)).collect();
    format!("{digests}{}{}", order.mark, id.entry())
}
