//! Power is lost: what was written and not synced is gone from the disk.

use std::time::Duration;

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::persisting::Block;
use crate::faults::server::Server;
use crate::instruments::Shim;
use crate::storage::Layout;

/// For how long Postgres takes no order before Redis goes (ms): what only the log has is what a loss would show.
const BLOCKED_MS: std::ops::Range<u64> = 200..900;

/// A server loses power.
pub struct PowerLost {
    server: Server,
}

impl PowerLost {
    /// A fault for one event.
    pub fn new(server: Server) -> Self {
        Self { server }
    }
}

/// The shim under a server.
pub(super) fn shim_under(deployment: &Deployment, server: Server) -> Result<&Shim, ChaosError> {
    let shim = match server {
        Server::Redis => deployment.instruments.redis_shim.as_ref(),
        Server::Postgres => deployment.instruments.postgres_shim.as_ref(),
    };
    shim.ok_or_else(|| ChaosError::Setup(format!("{server:?} runs without the shim")))
}

#[async_trait]
impl Fault for PowerLost {
    fn kind(&self) -> &'static str {
        match self.server {
            Server::Redis => "redis_power_lost",
            Server::Postgres => "postgres_power_lost",
        }
    }

    fn layout(&self) -> Layout {
        Layout::Shimmed
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        match self.server {
            Server::Redis => {
                let block = Block::writing(deployment, "orders").await?;
                tokio::time::sleep(Duration::from_millis(scene.random.u64(BLOCKED_MS))).await;
                deployment.redis.servers[0].kill().await?;
                block.release().await?;
            }
            Server::Postgres => deployment.postgres.kill().await?,
        }
        let shim = shim_under(deployment, self.server)?;
        let syncs = shim.counts()?.syncs;
        let bytes = shim.power_loss()?.bytes();
        Ok(Evidence::seen(syncs > 0, format!("{syncs} syncs; {bytes} bytes were not synced and are gone")))
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        50..=1000
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        match self.server {
            Server::Redis => deployment.redis.servers[0].restart().await?,
            Server::Postgres => deployment.postgres.restart().await?,
        }
        Ok(Evidence::not_yet())
    }
}
