//! Postgres answers, and lets nothing be written.

use std::time::Duration;

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::node_process::Role;

/// A session that holds a table against writers, as a migration or a careless hand does.
pub(super) struct Block {
    db: tokio_postgres::Client,
}

impl Block {
    pub(super) async fn writing(deployment: &Deployment, table: &str) -> Result<Self, ChaosError> {
        let db = deployment.sql().await?;
        db.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN SHARE MODE")).await?;
        Ok(Self { db })
    }

    pub(super) async fn release(self) -> Result<(), ChaosError> {
        Ok(self.db.batch_execute("ROLLBACK").await?)
    }
}

/// Nothing is persisted for so long that the keeper sends what Redis has answered once more: units of a sale that is
/// created meanwhile.
#[derive(Default)]
pub struct PersistingHeldBack {
    block: Option<Block>,
}

#[async_trait]
impl Fault for PersistingHeldBack {
    fn kind(&self) -> &'static str {
        "persisting_held_back"
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        self.block = Some(Block::writing(deployment, "stock_ledger").await?);
        let sale = format!("{}-late", scene.sales[0]);
        deployment.open_sale(&sale, &[("LATE", 100, None)]).await?;
        scene.sales.push(sale);
        Ok(Evidence::not_yet())
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        // A change that Redis has answered is sent again after 10 s.
        10_300..=11_500
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let query = "SELECT count(*) FROM stock_intents WHERE applied_at IS NULL";
        let open: i64 = deployment.sql().await?.query_one(query, &[]).await?.get(0);
        if let Some(block) = self.block.take() {
            block.release().await?;
        }
        Ok(Evidence::seen(open > 0, format!("{open} changes of stock were under way")))
    }
}

/// Every worker dies while the log holds entries that nobody has persisted.
pub struct KilledWithBacklog;

#[async_trait]
impl Fault for KilledWithBacklog {
    fn kind(&self) -> &'static str {
        "workers_killed_with_backlog"
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let block = Block::writing(deployment, "orders").await?;
        tokio::time::sleep(Duration::from_millis(scene.random.u64(700..1200))).await;
        for worker in deployment.of_role(Role::Worker) {
            deployment.nodes[worker].kill()?;
        }
        let meta = deployment.redis_command("HMGET", &["{p0}:meta", "appended", "settled"]).await?;
        let counts: Vec<i64> = meta.into_array().iter().filter_map(|count| count.as_i64()).collect();
        let backlog = counts.first().unwrap_or(&0) - counts.get(1).unwrap_or(&0);
        // What the dead had sent must not be written behind their backs.
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'worker-%'";
        deployment.sql().await?.batch_execute(end).await?;
        block.release().await?;
        Ok(Evidence::seen(backlog > 0, format!("{backlog} entries were not settled")))
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        deployment.start_missing().await?;
        Ok(Evidence::not_yet())
    }
}
