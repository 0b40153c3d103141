//! Numbers of a partition that nobody counts as they change: asked for now and then by its keeper.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Metrics;
use super::keeper::{OfPartition, WithKind};
use crate::catalogue::SaleId;
use crate::log::mean_held;
use crate::postgres::{PgError, PgPool};
use crate::reconcile::{LogSample, ReconcileError, SALES_MAX};
use crate::redis::{Keys, Redis, StampedScripts};

const PAUSE: Duration = Duration::from_secs(2);
/// Memory is estimated from a few nodes of each key, and asked for seldom.
const MEMORY_EVERY: u32 = 5;

/// Samples one partition while this process is its keeper.
pub struct PartitionSampler {
    /// Where the log is.
    pub redis: Redis,
    /// Where dead letters and incidents are.
    pub pool: PgPool,
    /// Where the numbers go.
    pub metrics: Arc<Metrics>,
}

impl PartitionSampler {
    /// Samples for as long as it is polled; what it exported is forgotten when it is dropped.
    pub async fn run(&self, scripts: &StampedScripts) -> std::convert::Infallible {
        let mut exported = Exported { sampler: self, scripts, kinds: Vec::new() };
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = 0_u32;
        loop {
            ticks.tick().await;
            let sampled = async {
                let log = self.log(scripts).await?;
                if turn.is_multiple_of(MEMORY_EVERY) {
                    self.memory(scripts, &log).await?;
                }
                self.on_record(scripts, &mut exported.kinds).await
            };
            if let Err(error) = sampled.await {
                tracing::debug!(partition = %scripts.stamp.partition, %error, "a partition was not sampled");
            }
            turn = turn.wrapping_add(1);
        }
    }

    async fn log(&self, scripts: &StampedScripts) -> Result<LogSample, ReconcileError> {
        let sample = LogSample::take(&self.redis, scripts).await?;
        let (gauges, of) = (&self.metrics.keeper.sampled, OfPartition::from(scripts.stamp.partition));
        let seconds = |ms: u64| ms as f64 / 1000.0;
        gauges.backlog.get_or_create(&of).set(sample.backlog.cast_signed());
        gauges.entries.get_or_create(&of).set(sample.length.cast_signed());
        gauges.lag.get_or_create(&of).set(seconds(sample.unsettled.map_or(0, |entry| sample.age_ms(entry))));
        gauges.oldest_age.get_or_create(&of).set(seconds(sample.age_ms(sample.first)));
        Ok(sample)
    }

    async fn memory(&self, scripts: &StampedScripts, log: &LogSample) -> Result<(), ReconcileError> {
        let partition = scripts.stamp.partition;
        let keys = Keys::new(partition);
        let of_key = async |key: &fred::types::Key| {
            let reply = self.redis.command("MEMORY", key, vec!["USAGE".into(), key.clone().into()]).await?;
            Ok::<i64, ReconcileError>(reply.as_i64().unwrap_or(0))
        };
        let log_bytes = of_key(&keys.log).await?;
        let (mut buyers, mut buyers_bytes) = (0, 0);
        for sale in self.sales(scripts).await? {
            let key = keys.sale(&sale).buyers;
            buyers_bytes += of_key(&key).await?;
            // One field is none of a buyer, see publish_sale.lua.
            buyers += (self.redis.on_key("HLEN", &key, Vec::new()).await?.as_i64().unwrap_or(0) - 1).max(0);
        }
        let (gauges, of) = (&self.metrics.keeper.sampled, OfPartition::from(partition));
        gauges.log_bytes.get_or_create(&of).set(log_bytes);
        gauges.buyers.get_or_create(&of).set(buyers);
        gauges.buyers_bytes.get_or_create(&of).set(buyers_bytes);
        let log_entries = log.length.max(1) as f64 * mean_held(&self.redis, &keys).await?;
        let of_order = (log_bytes as f64 / log_entries) as i64 + buyers_bytes / buyers.max(1);
        gauges.order_bytes.get_or_create(&of).set(of_order);
        Ok(())
    }

    async fn sales(&self, scripts: &StampedScripts) -> Result<Vec<SaleId>, ReconcileError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        let statement = db.prepare_cached(include_str!("../../sql/reconcile/sales.sql")).await?;
        let rows =
            db.query(&statement, &[&scripts.stamp.partition.to_sql(), &None::<&str>, &SALES_MAX]).await?;
        Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect())
    }

    async fn on_record(
        &self,
        scripts: &StampedScripts,
        kinds: &mut Vec<String>,
    ) -> Result<(), ReconcileError> {
        let partition = scripts.stamp.partition;
        let db = self.pool.get().await.map_err(PgError::from)?;
        let dead = db
            .query_one(
                "SELECT count(*) FROM dead_letters WHERE partition = $1 AND ended_at IS NULL",
                &[&partition.to_sql()],
            )
            .await?;
        let incidents = db
            .query(
                "SELECT kind, count(*) FILTER (WHERE acknowledged_at IS NULL) FROM incidents
                 WHERE partition = $1 GROUP BY kind",
                &[&partition.to_sql()],
            )
            .await?;
        let gauges = &self.metrics.keeper.sampled;
        gauges.dead_letters.get_or_create(&partition.into()).set(dead.get(0));
        for row in incidents {
            let kind: String = row.get(0);
            let label = WithKind { partition: partition.number(), kind: kind.clone() };
            gauges.incidents.get_or_create(&label).set(row.get(1));
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Ok(())
    }
}

struct Exported<'a> {
    sampler: &'a PartitionSampler,
    scripts: &'a StampedScripts,
    kinds: Vec<String>,
}

impl Drop for Exported<'_> {
    fn drop(&mut self) {
        self.sampler.metrics.keeper.sampled.remove(self.scripts.stamp.partition, &self.kinds);
    }
}
