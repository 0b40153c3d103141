//! A replay that dies on a named line, into a Postgres that has come back old, while orders are taken.

use std::time::Duration;

use async_trait::async_trait;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::restore::{OlderPostgres, stored_orders};
use crate::node_process::Role;

/// How long the first orders may take to be in Postgres, from where they are to vanish.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// Between the replay that dies and the next one: buyers go on meanwhile.
const PAUSE: Duration = Duration::from_millis(200);

/// A named line of a replay.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPoint {
    name: &'static str,
    kind: &'static str,
}

const fn point(name: &'static str, kind: &'static str) -> ReplayPoint {
    ReplayPoint { name, kind }
}

/// Before anything is written, inside a transaction, and behind a batch that stays.
pub const REPLAY_POINTS: [ReplayPoint; 3] = [
    point("replay_after_foreseen", "crash_replay_after_foreseen"),
    point("persist_before_commit", "crash_replay_before_commit"),
    point("replay_after_batch", "crash_replay_after_batch"),
];

/// Postgres is restored from before the first order while no worker runs; an operator's replay dies; another one goes to
/// the end, beside workers that start at the same time and drain the same log.
pub struct ReplayCrashed {
    point: ReplayPoint,
    older: OlderPostgres,
}

impl ReplayCrashed {
    /// A fault for one event.
    pub fn new(point: ReplayPoint) -> Self {
        Self { point, older: OlderPostgres::default() }
    }
}

#[async_trait]
impl Fault for ReplayCrashed {
    fn kind(&self) -> &'static str {
        self.point.kind
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
        let end = tokio::time::Instant::now() + FIRST_WITHIN;
        while stored_orders(deployment, sale).await? == 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for worker in deployment.of_role(Role::Worker) {
            deployment.nodes[worker].kill()?;
        }
        let before = self.older.restore(deployment, sale).await?;
        let point = self.point.name;
        let died = deployment.nodes[0].dies_at(point, &["replay"]).await?;
        let after = stored_orders(deployment, sale).await?;
        tokio::time::sleep(PAUSE).await;
        let what =
            format!("{before} orders were gone from Postgres, {after} there when replay died at {point}");
        Ok(Evidence { fired: died && before > 0, what })
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        deployment.start_missing().await?;
        deployment.nodes[0].command_line(&["replay"]).await?;
        Ok(Evidence { fired: false, what: "replayed to the end".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_stands_on_the_way_of_a_replay_once() {
        let engine = [
            include_str!("../../../../src/replay/mod.rs"),
            include_str!("../../../../src/persist/transaction.rs"),
        ];
        for point in REPLAY_POINTS {
            let text = format!("crash_point!(\"{}\")", point.name);
            assert_eq!(engine.iter().map(|source| source.matches(&text).count()).sum::<usize>(), 1, "{text}");
        }
    }
}
