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

/// How long it takes until the keeper sends a change that Redis has answered once more (ms), and some time to do so.
const SENT_AGAIN_MS: u64 = 10_200;

/// Nothing is persisted for a while.
pub struct PersistingHeldBack {
    kind: &'static str,
    /// Meanwhile a sale is created, whose units are on their way to Redis.
    creates_sale: bool,
    /// Changes of stock that must have been sent more than once.
    sent_again: Option<&'static str>,
    block: Option<Block>,
}

impl PersistingHeldBack {
    /// For a moment.
    pub fn shortly() -> Self {
        Self { kind: "persisting_held_back", creates_sale: true, sent_again: None, block: None }
    }

    /// For so long that units of a new sale are sent again.
    pub fn until_allotments_are_sent_again() -> Self {
        Self { kind: "allotments_sent_again", sent_again: Some("allotment"), ..Self::shortly() }
    }

    /// For so long that units of orders that were given up are sent again.
    pub fn until_returns_are_sent_again() -> Self {
        Self { kind: "returns_sent_again", creates_sale: false, sent_again: Some("return"), block: None }
    }
}

#[async_trait]
impl Fault for PersistingHeldBack {
    fn kind(&self) -> &'static str {
        self.kind
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        self.block = Some(Block::writing(deployment, "stock_ledger").await?);
        if self.creates_sale {
            let sale = format!("{}-late", scene.sales[0]);
            deployment.open_sale(&sale, &[("LATE", 100, None)]).await?;
            scene.sales.push(sale);
        }
        Ok(Evidence::not_yet())
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        match self.sent_again {
            None => 300..=1200,
            Some(_) => SENT_AGAIN_MS + 800..=SENT_AGAIN_MS + 1800,
        }
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let query = "SELECT count(*) FROM stock_intents
                     WHERE applied_at IS NULL AND kind = coalesce($1, kind)
                       AND created_at < clock_timestamp() - make_interval(secs => $2)";
        let age_s = self.sent_again.map_or(0.0, |_| SENT_AGAIN_MS as f64 / 1000.0);
        let row = deployment.sql().await?.query_one(query, &[&self.sent_again, &age_s]).await?;
        let open: i64 = row.get(0);
        if let Some(block) = self.block.take() {
            block.release().await?;
        }
        let times = if self.sent_again.is_some() { " for so long that they were sent again" } else { "" };
        Ok(Evidence::seen(open > 0, format!("{open} changes of stock were under way{times}")))
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
