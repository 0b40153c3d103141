//! A primary is lost, and Sentinels put its replica in its place.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::ChaosError;
use crate::deployment::{Deployment, PATIENCE};
use crate::fault::{Evidence, Fault, Scene};
use crate::instruments::redis_command;
use crate::storage::Layout;

/// How the primary is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// kill -9; it comes back, and takes itself for the primary until it is told.
    Killed,
    /// Its link is cut. It runs on, as a primary of its own.
    CutOff,
}

/// The primary is replaced by its replica, with or without `ack = "replica"`. Without it, what the replica had not
/// received is lost, and counted.
pub struct Failover {
    loss: Loss,
    ack_replica: bool,
    old: Option<SocketAddr>,
}

impl Failover {
    /// A fault for one event.
    pub fn new(loss: Loss, ack_replica: bool) -> Self {
        Self { loss, ack_replica, old: None }
    }
}

#[async_trait]
impl Fault for Failover {
    fn kind(&self) -> &'static str {
        match (self.loss, self.ack_replica) {
            (Loss::Killed, true) => "failover_ack_replica",
            (Loss::Killed, false) => "failover_ack_fsync",
            (Loss::CutOff, true) => "primary_cut_off_ack_replica",
            (Loss::CutOff, false) => "primary_cut_off_ack_fsync",
        }
    }

    fn layout(&self) -> Layout {
        Layout::Replicated { ack_replica: self.ack_replica, island: self.loss == Loss::CutOff }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        scene.injected.loss_is_allowed = !self.ack_replica;
        let old = deployment.redis.primary().await?;
        self.old = Some(old);
        match (self.loss, &deployment.instruments.island) {
            (Loss::Killed, _) => {
                let index = server_at(deployment, old)?;
                deployment.redis.servers[index].kill().await?;
            }
            (Loss::CutOff, Some(island)) => island.cut()?,
            (Loss::CutOff, None) => {
                return Err(ChaosError::Setup("the primary has no network of its own".into()));
            }
        }
        let new = deployment.redis.wait_for_failover(old, PATIENCE).await?;
        Ok(Evidence::seen(true, format!("{new} took the place of {old}")))
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let Some(old) = self.old else { return Ok(Evidence::not_yet()) };
        match (self.loss, &deployment.instruments.island) {
            (Loss::CutOff, Some(island)) => island.heal()?,
            _ => {
                let index = server_at(deployment, old)?;
                deployment.redis.servers[index].restart().await?;
            }
        }
        // Without a second server nothing is acknowledged by replicas.
        wait_until_following(deployment).await?;
        Ok(Evidence { fired: false, what: "the other one follows".into() })
    }
}

fn server_at(deployment: &Deployment, address: SocketAddr) -> Result<usize, ChaosError> {
    let index = deployment.redis.index_of(address);
    index.ok_or_else(|| ChaosError::Setup(format!("{address} is none of our servers")))
}

/// Waits until every server follows the primary, whichever that is: on a busy machine Sentinels may have chosen once more.
async fn wait_until_following(deployment: &Deployment) -> Result<(), ChaosError> {
    let end = Instant::now() + PATIENCE;
    while !all_follow(deployment).await {
        if Instant::now() > end {
            return Err(ChaosError::NotInTime("the other server follows the primary".into()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn all_follow(deployment: &Deployment) -> bool {
    let Ok(primary) = deployment.redis.primary().await else { return false };
    for index in 0..deployment.redis.servers.len() {
        let server = deployment.redis.address(index);
        if server == primary {
            continue;
        }
        let Ok(reply) = redis_command(server, &["INFO", "replication"]).await else { return false };
        let text = reply.as_string().unwrap_or_default();
        if !text.contains("role:slave") || !text.contains("master_link_status:up") {
            return false;
        }
    }
    true
}
