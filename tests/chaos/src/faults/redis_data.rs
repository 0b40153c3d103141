//! Redis answers, and what it held is gone or old.
//!
//! Where storage itself is destroyed, orders that only the log knew go with it, and no engine can bring them back. The
//! injector reads them in the same atomic step: they are `destroyed`, and nothing else may be missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use doorbuster::log::{LogEntry, read_entries};
use doorbuster::order_id::OrderId;
use doorbuster::partition::Partition;
use doorbuster::redis::{GROUP, Keys};
use fred::types::Value;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::persisting::Block;
use crate::history::Lines;
use crate::node_process::Role;

/// How long Postgres takes nothing before a log is trimmed.
const BLOCKED: Duration = Duration::from_millis(600);
/// How long the keeper is waited for.
const NOTICED_WITHIN: Duration = Duration::from_secs(6);

/// Reads what is not settled, then does what it is told, in one step.
/// KEYS: logs.  ARGV: group, command, its arguments.  Reply: the entries of each log.
const READ_THEN_DESTROY: &str = r"
local function unsettled(log)
  local entries = {}
  if redis.call('EXISTS', log) == 0 then return entries end
  local last = '0-0'
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', log)) do
    local info = {}
    for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
    if info['name'] == ARGV[1] then
      last = info['last-delivered-id']
      for _, pending in ipairs(redis.call('XPENDING', log, ARGV[1], '-', '+', 100000)) do
        local entry = redis.call('XRANGE', log, pending[1], pending[1])[1]
        if entry then entries[#entries + 1] = entry end
      end
    end
  end
  for _, entry in ipairs(redis.call('XRANGE', log, '(' .. last, '+')) do entries[#entries + 1] = entry end
  return entries
end
local logs = {}
for i, log in ipairs(KEYS) do logs[i] = unsettled(log) end
if ARGV[2] then redis.call(unpack(ARGV, 2)) end
return logs";

/// How Redis loses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Everything.
    FlushAll,
    /// The scripts.
    ScriptFlush,
    /// The log.
    LogDeleted,
    /// All of the log but its last entry, persisted or not.
    LogTrimmed,
    /// A sale's stock.
    StockDeleted,
    /// A sale's buyers and their keys.
    BuyersDeleted,
    /// The partition's state.
    MetaDeleted,
    /// The workers' place in the log.
    GroupDestroyed,
}

/// Redis loses something while it sells.
pub struct DataLoss {
    loss: Loss,
    epoch: i64,
}

impl DataLoss {
    /// A fault for one event.
    pub fn new(loss: Loss) -> Self {
        Self { loss, epoch: 0 }
    }

    fn command(&self, sale: &str) -> Vec<String> {
        let words: &[&str] = match self.loss {
            Loss::FlushAll => &["FLUSHALL"],
            // Not allowed within a script.
            Loss::ScriptFlush => &[],
            Loss::LogDeleted => &["DEL", "{p0}:log"],
            Loss::LogTrimmed => &["XTRIM", "{p0}:log", "MAXLEN", "=", "1"],
            Loss::StockDeleted => return vec!["DEL".into(), format!("{{p0}}:sale:{sale}")],
            Loss::BuyersDeleted => return vec!["DEL".into(), format!("{{p0}}:sale:{sale}:buyers")],
            Loss::MetaDeleted => &["DEL", "{p0}:meta"],
            Loss::GroupDestroyed => &["XGROUP", "DESTROY", "{p0}:log", GROUP],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Whether entries that nobody has persisted go with it.
    fn takes_entries(&self) -> bool {
        matches!(self.loss, Loss::FlushAll | Loss::LogDeleted | Loss::LogTrimmed)
    }
}

#[async_trait]
impl Fault for DataLoss {
    fn kind(&self) -> &'static str {
        match self.loss {
            Loss::FlushAll => "flushall",
            Loss::ScriptFlush => "script_flush",
            Loss::LogDeleted => "log_deleted",
            Loss::LogTrimmed => "log_trimmed_too_early",
            Loss::StockDeleted => "stock_deleted",
            Loss::BuyersDeleted => "buyers_deleted",
            Loss::MetaDeleted => "meta_deleted",
            Loss::GroupDestroyed => "group_destroyed",
        }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        self.epoch = epoch(deployment).await?;
        // A trim takes nothing from workers that have it in hand: let some pile up behind them.
        let block = match self.loss {
            Loss::LogTrimmed => Some(Block::writing(deployment, "orders").await?),
            _ => None,
        };
        if block.is_some() {
            tokio::time::sleep(BLOCKED).await;
        }
        // All but one of these break the first partition; the others must go on as if nothing were.
        let hit = match self.loss {
            Loss::FlushAll => deployment.partitions(),
            _ => vec![Partition::new(0)],
        };
        let taken = read_then_destroy(deployment, &hit, &self.command(&scene.sales[0])).await?;
        if self.loss == Loss::ScriptFlush {
            deployment.redis_command("SCRIPT", &["FLUSH"]).await?;
        }
        if let Some(block) = block {
            block.release().await?;
        }
        let fired = self.loss != Loss::LogTrimmed || !taken.is_empty();
        let what = format!("{} entries were not settled", taken.len());
        if self.takes_entries() {
            scene.injected.destroyed.extend(taken);
        }
        Ok(Evidence::seen(fired, what))
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        // The keeper notices by itself. What it does not notice the checker will.
        let end = tokio::time::Instant::now() + NOTICED_WITHIN;
        while epoch(deployment).await? <= self.epoch {
            if tokio::time::Instant::now() >= end {
                return Ok(Evidence { fired: false, what: format!("no opening within {NOTICED_WITHIN:?}") });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if self.loss == Loss::LogTrimmed && !opens_by_itself(deployment).await? {
            // Entries are missing from the middle of what the log should hold: that is an operator's to accept.
            let worker = deployment.of_role(Role::Worker)[0];
            deployment.nodes[worker].operate(&["rebuild", "--accept-gap", "--yes"]).await?;
            return Ok(Evidence { fired: false, what: "refused to open; rebuilt by an operator".into() });
        }
        Ok(Evidence { fired: false, what: "opened under a new epoch".into() })
    }
}

/// Whether the partition is open again without an operator.
async fn opens_by_itself(deployment: &Deployment) -> Result<bool, ChaosError> {
    for _ in 0..150 {
        let state = deployment.redis_command("HGET", &["{p0}:meta", "state"]).await?;
        if state.as_str().as_deref() == Some("open") {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(false)
}

/// Redis comes back with the data of some moments ago, as from a backup.
pub struct OlderDump {
    /// Whether the keepers stand still meanwhile: then nothing but the fence itself keeps the partition closed.
    keepers_frozen: bool,
    older: Vec<(PathBuf, Vec<u8>)>,
}

impl OlderDump {
    /// A fault for one event.
    pub fn new(keepers_frozen: bool) -> Self {
        Self { keepers_frozen, older: Vec::new() }
    }
}

#[async_trait]
impl Fault for OlderDump {
    fn kind(&self) -> &'static str {
        if self.keepers_frozen { "older_dump_keepers_frozen" } else { "older_dump" }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let dir = deployment.redis.servers[0].data_dir().join("appendonlydir");
        self.older = read_files(&dir)?;
        tokio::time::sleep(Duration::from_millis(scene.random.u64(200..800))).await;
        // Nothing new is accepted between the look and the kill.
        let apis = deployment.of_role(Role::Api);
        for &api in &apis {
            deployment.nodes[api].freeze()?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let taken = read_then_destroy(deployment, &deployment.partitions(), &[]).await?;
        let orders = taken.len();
        scene.injected.destroyed.extend(taken);
        deployment.redis.servers[0].kill().await?;
        if self.keepers_frozen {
            for worker in deployment.of_role(Role::Worker) {
                deployment.nodes[worker].freeze()?;
            }
        }
        let newer: usize = read_files(&dir)?.iter().map(|(_, content)| content.len()).sum();
        let older: usize = self.older.iter().map(|(_, content)| content.len()).sum();
        for (path, content) in &self.older {
            std::fs::write(path, content).map_err(ChaosError::io("put an older file back"))?;
        }
        for api in apis {
            deployment.nodes[api].thaw()?;
        }
        deployment.redis.servers[0].restart().await?;
        let what =
            format!("{} bytes of the log were gone, with {orders} orders", newer.saturating_sub(older));
        Ok(Evidence::seen(newer > older, what))
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        if self.keepers_frozen {
            for worker in deployment.of_role(Role::Worker) {
                deployment.nodes[worker].thaw()?;
            }
        }
        Ok(Evidence::not_yet())
    }
}

fn read_files(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, ChaosError> {
    let read = || -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
        std::fs::read_dir(dir)?
            .map(|entry| {
                let path = entry?.path();
                let content = std::fs::read(&path)?;
                Ok((path, content))
            })
            .collect()
    };
    read().map_err(ChaosError::io("read the append-only files"))
}

/// The epoch of the first partition.
pub(super) async fn epoch(deployment: &Deployment) -> Result<i64, ChaosError> {
    let query = "SELECT epoch FROM partitions WHERE partition = 0";
    Ok(deployment.sql().await?.query_one(query, &[]).await?.get(0))
}

/// Does what it is told, and gives back the orders of these partitions that were not settled in that moment.
pub(super) async fn read_then_destroy(
    deployment: &Deployment,
    partitions: &[Partition],
    command: &[String],
) -> Result<BTreeMap<String, Lines>, ChaosError> {
    let redis = deployment.connect_redis().await?;
    let logs: Vec<Value> =
        partitions.iter().map(|&partition| Keys::new(partition).log.clone().into()).collect();
    let mut args: Vec<Value> = vec![READ_THEN_DESTROY.into(), (logs.len() as i64).into()];
    args.extend(logs);
    args.push(GROUP.into());
    args.extend(command.iter().map(|word| Value::from(word.as_str())));
    let reply = redis.command("EVAL", &Keys::new(Partition::new(0)).meta, args).await?;
    redis.close().await;
    let mut orders = BTreeMap::new();
    for (&partition, entries) in partitions.iter().zip(reply.into_array()) {
        for entry in read_entries(entries)? {
            if let Ok(LogEntry::Order(order)) = entry.decode() {
                let lines = order.lines.iter().map(|(sku, n)| (sku.as_str().to_owned(), *n)).collect();
                orders.insert(OrderId::new(entry.id, partition, order.mark).to_string(), lines);
            }
        }
    }
    Ok(orders)
}
