//! A Postgres from before the first order, after many were given up: whoever was told so must find it so.

use std::time::Duration;

use async_trait::async_trait;
use doorbuster::catalogue::SaleId;
use doorbuster::partition::Partition;
use doorbuster::redis::{Keys, Redis};
use tokio::time::Instant;

use super::persisting::Block;
use super::restore::{OlderPostgres, stored_orders};
use crate::ChaosError;
use crate::deployment::{Deployment, PATIENCE};
use crate::fault::{Evidence, Fault, Scene};

const POLL: Duration = Duration::from_millis(20);

/// Postgres is restored once the log knows of every cancel that was committed: one that it does not know of is gone with
/// the database, under any engine.
#[derive(Default)]
pub struct CancelsRestored {
    older: OlderPostgres,
}

#[async_trait]
impl Fault for CancelsRestored {
    fn kind(&self) -> &'static str {
        "cancels_restored"
    }

    async fn prepare(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<(), ChaosError> {
        self.older.take(deployment, scene).await
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let sale = &scene.sales[0];
        // No order moves any more.
        let _block = Block::writing(deployment, "orders").await?;
        wait_logged(deployment, sale).await?;
        let query = "SELECT count(*) FROM orders WHERE sale_id = $1 AND state = 'cancelled'";
        let cancelled: i64 = deployment.sql().await?.query_one(query, &[sale]).await?.get(0);
        let before = stored_orders(deployment, sale).await?;
        // Killed: a shutdown would end the session that holds them back first, and let some by that no log knows of.
        deployment.postgres.kill().await?;
        self.older.put_back(deployment).await?;
        Ok(Evidence::seen(
            cancelled > 0,
            format!("{before} orders, {cancelled} cancelled, were gone from Postgres"),
        ))
    }

    async fn heal(&mut self, _: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        Ok(Evidence::not_yet())
    }
}

/// Waits until Redis has acted on every return that Postgres knows of, which it logs in the same step.
async fn wait_logged(deployment: &Deployment, sale: &str) -> Result<(), ChaosError> {
    let query = "SELECT partition, cause FROM stock_intents
                 WHERE sale_id = $1 AND kind = 'return' AND applied_at IS NULL";
    let rows = deployment.sql().await?.query(query, &[&sale]).await?;
    let id: SaleId = sale.parse().map_err(|_| ChaosError::Setup(format!("{sale} is no sale")))?;
    let redis = deployment.connect_redis().await?;
    let end = Instant::now() + PATIENCE;
    for row in rows {
        let partition = Partition::new(u8::try_from(row.get::<_, i16>(0)).unwrap_or_default());
        while !is_applied(&redis, partition, &id, row.get(1)).await? {
            if Instant::now() > end {
                return Err(ChaosError::NotInTime("every cancel is in the log".into()));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    redis.close().await;
    Ok(())
}

async fn is_applied(
    redis: &Redis,
    partition: Partition,
    sale: &SaleId,
    cause: &str,
) -> Result<bool, ChaosError> {
    let key = Keys::new(partition).sale(sale).causes;
    let reply = redis.on_key("SISMEMBER", &key, vec![cause.into()]).await?;
    Ok(reply.as_i64() == Some(1))
}
