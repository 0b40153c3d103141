//! Processes of the engine that die or stand still.

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::node_process::{NodeProcess, Role};

/// Which process it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichNode {
    /// One that takes claims.
    Api,
    /// The one that takes claims and, of the gateway, webhooks.
    Webhooks,
    /// One that persists and is not keeper.
    Worker,
    /// The one that is keeper (and persists).
    Keeper,
    /// One that asks the payment gateway.
    Payment,
}

impl WhichNode {
    /// Its number.
    async fn pick(self, deployment: &Deployment, scene: &mut Scene) -> Result<usize, ChaosError> {
        let keeper = deployment.keeper().await?;
        let candidates = match self {
            Self::Api => deployment.of_role(Role::Api),
            // Deployment::start has the gateway tell this one.
            Self::Webhooks => deployment.of_role(Role::Api).into_iter().take(1).collect(),
            Self::Worker => {
                deployment.of_role(Role::Worker).into_iter().filter(|node| Some(*node) != keeper).collect()
            }
            Self::Keeper => keeper.into_iter().collect(),
            Self::Payment => deployment.of_role(Role::Payment),
        };
        let count = candidates.len();
        match count {
            0 => Err(ChaosError::Setup(format!("there is no {self:?}"))),
            _ => Ok(candidates[scene.random.usize(..count)]),
        }
    }
}

/// kill -9 of a node; started again after the hold.
pub struct NodeKilled(pub WhichNode);

#[async_trait]
impl Fault for NodeKilled {
    fn kind(&self) -> &'static str {
        match self.0 {
            WhichNode::Api => "api_killed",
            WhichNode::Webhooks => "webhooks_killed",
            WhichNode::Worker => "worker_killed",
            WhichNode::Keeper => "keeper_killed",
            WhichNode::Payment => "payment_worker_killed",
        }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let node = self.0.pick(deployment, scene).await?;
        let node = &mut deployment.nodes[node];
        let pid = node.pid();
        Ok(Evidence::seen(node.kill()?, format!("{} ({pid:?}) is gone", node.options.name)))
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        deployment.start_missing().await?;
        Ok(Evidence::not_yet())
    }
}

/// SIGSTOP of a node, longer than a silent consumer or a lease may be: it wakes into a world that went on.
pub struct NodeFrozen {
    which: WhichNode,
    node: Option<usize>,
}

impl NodeFrozen {
    /// A fault for one event.
    pub fn new(which: WhichNode) -> Self {
        Self { which, node: None }
    }
}

#[async_trait]
impl Fault for NodeFrozen {
    fn kind(&self) -> &'static str {
        match self.which {
            WhichNode::Api => "api_frozen",
            WhichNode::Webhooks => "webhooks_frozen",
            WhichNode::Worker => "worker_frozen",
            WhichNode::Keeper => "keeper_frozen",
            WhichNode::Payment => "payment_worker_frozen",
        }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let node = self.which.pick(deployment, scene).await?;
        self.node = Some(node);
        deployment.nodes[node].freeze()?;
        let node = &deployment.nodes[node];
        Ok(Evidence::seen(wait_stopped(node).await, format!("{} is stopped", node.options.name)))
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        match self.which {
            WhichNode::Api | WhichNode::Webhooks => 300..=1500,
            // persist_idle_ms is 2000 here, and lease_ms 3000.
            WhichNode::Worker | WhichNode::Keeper => 500..=4500,
            // payment_give_up_s is 8.
            WhichNode::Payment => 500..=3500,
        }
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        if let Some(node) = self.node {
            deployment.nodes[node].thaw()?;
        }
        Ok(Evidence::not_yet())
    }
}

/// Whether a process stands still. The kernel needs a moment for every thread, and longer where it is busy.
async fn wait_stopped(node: &NodeProcess) -> bool {
    const LOOKS: u32 = 100;
    for _ in 0..LOOKS {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if node.is_stopped() {
            return true;
        }
    }
    false
}

/// The lights go out: every node and both servers, at once.
pub struct EverythingKilled;

#[async_trait]
impl Fault for EverythingKilled {
    fn kind(&self) -> &'static str {
        "everything_killed"
    }

    async fn inject(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        deployment.redis.servers[0].kill().await?;
        let mut killed = 0;
        for node in &mut deployment.nodes {
            killed += usize::from(node.kill()?);
        }
        deployment.postgres.kill().await?;
        Ok(Evidence::seen(
            killed == deployment.nodes.len(),
            format!("{killed} nodes and both servers are gone"),
        ))
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        50..=300
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        deployment.postgres.restart().await?;
        deployment.redis.servers[0].restart().await?;
        deployment.start_missing().await?;
        Ok(Evidence::not_yet())
    }
}
