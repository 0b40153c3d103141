//! The continuous reconcile: a duty of the keeper, while its partition is open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Balance, ReconcileError, Reconciler, Suspicion};
use crate::incidents;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};
use crate::redis::StampedScripts;

/// Reconciles a partition again and again, and tells of drift.
pub struct DriftWatch {
    /// How. Without a limit to its patience: a backlog is no drift, and its metrics tell of it.
    pub reconciler: Reconciler,
    /// Between two reconciles.
    pub pause: Duration,
    /// Where the drift is exported.
    pub metrics: Arc<Metrics>,
}

impl DriftWatch {
    /// Watches for as long as it is polled.
    pub async fn run(&self, scripts: &StampedScripts) -> Infallible {
        let partition = scripts.stamp.partition;
        let mut exported = self.metrics.stock.export(partition);
        let mut suspicion = Suspicion::default();
        let mut ticks = interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.reconciler.check(scripts, None).await {
                Ok(balances) => {
                    exported.replace(&balances, jiff::Timestamp::now().as_millisecond() as f64 / 1000.0);
                    for balance in suspicion.confirm(&balances) {
                        self.tell(partition, balance).await;
                    }
                }
                Err(error) => {
                    self.metrics.stock.failed(partition);
                    tracing::warn!(%partition, %error, "the stock was not reconciled; it will be tried again");
                }
            }
        }
    }

    async fn tell(&self, partition: Partition, balance: &Balance) {
        let (sale, sku, drift) = (&balance.sale, &balance.sku, balance.drift());
        tracing::error!(
            %partition, %sale, %sku, drift, redis = ?balance.redis, expected = balance.account.expected(),
            position = %balance.position, "stock drift: redis does not hold what postgres computes"
        );
        if let Err(error) = raise(&self.reconciler.pool, partition, balance).await {
            tracing::warn!(%partition, %error, "the incident of a stock drift was not written");
        }
    }
}

async fn raise(pool: &PgPool, partition: Partition, balance: &Balance) -> Result<(), ReconcileError> {
    let db = pool.get().await.map_err(PgError::from)?;
    let subject = format!("{partition} {} {} {}", balance.sale, balance.sku, balance.position);
    let detail = format!(
        "redis holds {}, postgres computes {}",
        balance.redis.map_or_else(|| "no stock".to_owned(), |units| units.to_string()),
        balance.account.expected()
    );
    Ok(incidents::write(&db, "stock_drift", partition, &subject, &detail).await?)
}
