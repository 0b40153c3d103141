//! A bug that shows on one line: the task panics there, and its process goes on.

use std::time::Duration;

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::node_process::{NodeProcess, Role};

/// How long the panics are waited for.
const END_WITHIN: Duration = Duration::from_secs(20);
/// What the supervisor says of one.
const RESTARTED: &str = "panicked; it is started again";

/// Which task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A worker, inside its transaction.
    PersistWorker,
    /// The keeper, in the middle of an opening.
    Keeper,
}

/// One worker process is left, and its tasks panic a few times.
pub struct TaskPanicked {
    task: Task,
    armed: Option<usize>,
    /// Panics that its log told of before.
    before: usize,
}

impl TaskPanicked {
    /// A fault for one event.
    pub fn new(task: Task) -> Self {
        Self { task, armed: None, before: 0 }
    }

    fn point(&self) -> &'static str {
        match self.task {
            Task::PersistWorker => "persist_before_commit",
            Task::Keeper => "opening_after_begin",
        }
    }
}

#[async_trait]
impl Fault for TaskPanicked {
    fn kind(&self) -> &'static str {
        match self.task {
            Task::PersistWorker => "persist_worker_panicked",
            Task::Keeper => "keeper_panicked",
        }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let workers = deployment.of_role(Role::Worker);
        for &worker in &workers {
            deployment.nodes[worker].kill()?;
        }
        let chosen = workers[scene.random.usize(..workers.len())];
        let armed = format!("{}={}*panic", self.point(), scene.random.u32(1..=3));
        let others = deployment.options.failpoints.clone();
        let node = &mut deployment.nodes[chosen];
        self.before = restarts(node);
        node.options.failpoints = if others.is_empty() { armed } else { format!("{others};{armed}") };
        node.start_again()?;
        self.armed = Some(chosen);
        Ok(Evidence::not_yet())
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let Some(armed) = self.armed.take() else { return Ok(Evidence::not_yet()) };
        let node = &mut deployment.nodes[armed];
        let end = tokio::time::Instant::now() + END_WITHIN;
        while restarts(node) == self.before && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let restarts = restarts(node) - self.before;
        let (lives, point) = (node.is_running(), self.point());
        deployment.start_missing().await?;
        Ok(Evidence::seen(restarts > 0 && lives, format!("{restarts} panics at {point}, and it went on")))
    }
}

fn restarts(node: &NodeProcess) -> usize {
    node.log_text().matches(RESTARTED).count()
}
