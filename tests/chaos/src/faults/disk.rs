//! A disk is full, and has room again.

use std::time::Duration;

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::power::shim_under;
use crate::faults::server::Server;
use crate::storage::Layout;

/// How long a Postgres that ran out of room may take to recover by itself, before an operator starts it again.
const RECOVERS_WITHIN: Duration = Duration::from_secs(3);

/// The disk of a server is full.
pub struct DiskFull {
    server: Server,
    refusals: u64,
}

impl DiskFull {
    /// A fault for one event.
    pub fn new(server: Server) -> Self {
        Self { server, refusals: 0 }
    }
}

#[async_trait]
impl Fault for DiskFull {
    fn kind(&self) -> &'static str {
        match self.server {
            Server::Redis => "redis_disk_full",
            Server::Postgres => "postgres_disk_full",
        }
    }

    fn layout(&self) -> Layout {
        Layout::Shimmed
    }

    async fn inject(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let shim = shim_under(deployment, self.server)?;
        self.refusals = shim.counts()?.refusals;
        shim.set_disk_full(true)?;
        Ok(Evidence::not_yet())
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        // Postgres needs a new block only every now and then.
        1500..=3000
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let shim = shim_under(deployment, self.server)?;
        let refused = shim.counts()?.refusals - self.refusals;
        shim.set_disk_full(false)?;
        match self.server {
            // With appendfsync always it ends at the first write that fails.
            Server::Redis => deployment.redis.servers[0].restart().await?,
            Server::Postgres => {
                let end = tokio::time::Instant::now() + RECOVERS_WITHIN;
                while deployment.sql().await.is_err() {
                    if tokio::time::Instant::now() > end {
                        deployment.postgres.restart().await?;
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        Ok(Evidence::seen(refused > 0, format!("{refused} writes found no room")))
    }
}
