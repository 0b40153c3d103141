//! Processes that die on a named line of the engine.

use std::time::Duration;

use async_trait::async_trait;
use doorbuster::partition::Partition;

use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::faults::redis_data::{epoch, read_then_destroy};
use crate::node_process::{Role, crash_line};

/// What brings a process to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Claims: an API node is armed.
    Claims,
    /// Entries: a worker is armed.
    Entries,
    /// A new sale: every worker is armed, since only the keeper comes there.
    NewSale,
    /// An opening: the only worker that is left is armed.
    Opening,
    /// An opening that must rebuild Redis.
    Rebuild,
    /// Cancels: an API node is armed.
    Cancels,
    /// Holds that end: a worker is armed, and sweeps.
    Holds,
    /// Payments: a node that asks the gateway is armed.
    Payments,
    /// Money that comes too late: the same, but few come there.
    LateMoney,
    /// Units that come back: every worker is armed, since only the keeper comes there.
    Returns,
}

/// A named line.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    name: &'static str,
    kind: &'static str,
    by: By,
}

const fn point(name: &'static str, kind: &'static str, by: By) -> Point {
    Point { name, kind, by }
}

/// All of them, each the first argument of a `crash_point!` in the engine.
pub const POINTS: [Point; 18] = [
    point("claim_before_call", "crash_claim_before_call", By::Claims),
    point("claim_before_reply", "crash_claim_before_reply", By::Claims),
    point("persist_before_commit", "crash_persist_before_commit", By::Entries),
    point("persist_before_settle", "crash_persist_before_settle", By::Entries),
    point("persist_after_settle", "crash_persist_after_settle", By::Entries),
    point("publish_before_said", "crash_publish_before_said", By::NewSale),
    point("stock_before_ledger", "crash_stock_before_ledger", By::NewSale),
    point("opening_after_epoch", "crash_opening_after_epoch", By::Opening),
    point("opening_after_begin", "crash_opening_after_begin", By::Opening),
    point("opening_after_drain", "crash_opening_after_drain", By::Opening),
    point("opening_after_entry", "crash_opening_after_entry", By::Opening),
    point("opening_after_watermark", "crash_opening_after_watermark", By::Opening),
    point("opening_without_group", "crash_opening_without_group", By::Opening),
    point("opening_after_load", "crash_opening_after_load", By::Opening),
    point("opening_after_open", "crash_opening_after_open", By::Opening),
    point("rebuild_before_orders", "crash_rebuild_before_orders", By::Rebuild),
    point("opening_after_rebuild", "crash_opening_after_rebuild", By::Rebuild),
    point("opening_after_base", "crash_opening_after_base", By::Rebuild),
];

/// Those to which only orders come that are given up, or whose hold is over.
pub(super) const CANCEL_BEFORE_COMMIT: Point =
    point("step_before_commit", "cancel_storm_crash_before_commit", By::Cancels);
pub(super) const CANCEL_AFTER_COMMIT: Point =
    point("step_after_commit", "cancel_storm_crash_after_commit", By::Cancels);
pub(super) const RETURN_BEFORE_LEDGER: Point =
    point("stock_before_ledger", "cancel_storm_crash_before_ledger", By::Returns);
pub(super) const EXPIRE_BEFORE_COMMIT: Point =
    point("expire_before_commit", "expiry_storm_crash_before_commit", By::Holds);
pub(super) const EXPIRE_AFTER_COMMIT: Point =
    point("step_after_commit", "expiry_storm_crash_after_commit", By::Holds);

/// Those that stand in the way of a payment; then those to which only money comes that is late.
pub(super) const PAYMENT_POINTS: [Point; 4] = [
    point("payment_before_ask", "crash_payment_before_ask", By::Payments),
    point("payment_before_conclude", "crash_payment_before_conclude", By::Payments),
    point("payment_before_commit", "crash_payment_before_commit", By::Payments),
    point("payment_after_conclude", "crash_payment_after_conclude", By::Payments),
];
pub(super) const AFTER_RECLAIM: Point =
    point("payment_after_reclaim", "crash_payment_after_reclaim", By::LateMoney);
pub(super) const BEFORE_BROUGHT: Point =
    point("payment_before_brought", "crash_payment_before_brought", By::LateMoney);

/// How often the line is passed before it ends the process.
const PASSES_MAX: u32 = 20;
/// The same where passes are rare, such as one for a whole batch of orders.
const RARE_PASSES_MAX: u32 = 4;
/// How long the armed process may live.
const END_WITHIN: Duration = Duration::from_secs(20);

/// A process dies at a point.
pub struct CrashPoint {
    point: Point,
    armed: Vec<usize>,
}

impl CrashPoint {
    /// A fault for one event.
    pub fn new(point: Point) -> Self {
        Self { point, armed: Vec::new() }
    }

    /// Starts a node anew, armed.
    fn arm(&mut self, deployment: &mut Deployment, node: usize, passes: u32) -> Result<(), ChaosError> {
        let name = self.point.name;
        let armed = format!("{name}={passes}*off->return");
        let process = &mut deployment.nodes[node];
        process.kill()?;
        let others = &deployment.options.failpoints;
        process.options.failpoints = if others.is_empty() { armed } else { format!("{others};{armed}") };
        process.start_again()?;
        self.armed.push(node);
        Ok(())
    }

    fn arm_workers(&mut self, deployment: &mut Deployment, passes: u32) -> Result<(), ChaosError> {
        for worker in deployment.of_role(Role::Worker) {
            self.arm(deployment, worker, passes)?;
        }
        Ok(())
    }

    /// Leaves one worker, armed, to open the partition.
    async fn arm_an_opening(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<(), ChaosError> {
        let workers = deployment.of_role(Role::Worker);
        for &worker in &workers {
            deployment.nodes[worker].kill()?;
        }
        if self.point.by == By::Rebuild {
            let lost = match self.point.name {
                // Said only where the history is another.
                "opening_after_base" => "{p0}:log".to_owned(),
                _ => format!("{{p0}}:sale:{}", scene.sales[0]),
            };
            self.forget(deployment, scene, &lost).await?;
        }
        let chosen = workers[scene.random.usize(..workers.len())];
        self.arm(deployment, chosen, 0)
    }

    /// Deletes a key, and keeps account of the orders that go with a log.
    async fn forget(&self, deployment: &Deployment, scene: &mut Scene, key: &str) -> Result<(), ChaosError> {
        let command = ["DEL".to_owned(), key.to_owned()];
        let first = [Partition::new(0)];
        let taken = read_then_destroy(deployment, &first, &command).await?;
        if key.ends_with(":log") {
            scene.injected.destroyed.extend(taken);
        }
        Ok(())
    }
}

#[async_trait]
impl Fault for CrashPoint {
    fn kind(&self) -> &'static str {
        self.point.kind
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let passes = match self.point.by {
            By::Claims | By::Entries | By::Cancels | By::Returns | By::Payments => {
                scene.random.u32(..PASSES_MAX)
            }
            By::Holds | By::LateMoney => scene.random.u32(..RARE_PASSES_MAX),
            By::NewSale | By::Opening | By::Rebuild => 0,
        };
        match self.point.by {
            By::Claims | By::Cancels => {
                let apis = deployment.of_role(Role::Api);
                self.arm(deployment, apis[scene.random.usize(..apis.len())], passes)?;
            }
            By::Entries | By::Holds => {
                let workers = deployment.of_role(Role::Worker);
                self.arm(deployment, workers[scene.random.usize(..workers.len())], passes)?;
            }
            By::Payments | By::LateMoney => {
                let nodes = deployment.of_role(Role::Payment);
                self.arm(deployment, nodes[scene.random.usize(..nodes.len())], passes)?;
            }
            By::Returns => self.arm_workers(deployment, passes)?,
            By::NewSale => {
                self.arm_workers(deployment, passes)?;
                let sale = format!("{}-late", scene.sales[0]);
                deployment.create_sale(&sale, &[("LATE", 100, None)]).await?;
                scene.sales.push(sale);
            }
            By::Opening | By::Rebuild => self.arm_an_opening(deployment, scene).await?,
        }
        let before = epoch(deployment).await?;
        Ok(Evidence { fired: false, what: format!("armed after {passes} passes, epoch {before}") })
    }

    async fn heal(&mut self, deployment: &mut Deployment, _: &mut Scene) -> Result<Evidence, ChaosError> {
        let line = crash_line(self.point.name);
        let end = tokio::time::Instant::now() + END_WITHIN;
        let mut ended = None;
        while ended.is_none() && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ended = self.armed.iter().copied().find(|&node| !deployment.nodes[node].is_running());
        }
        let logged = ended.is_some_and(|node| deployment.nodes[node].log_text().contains(&line));
        for node in self.armed.drain(..) {
            deployment.nodes[node].kill()?;
        }
        deployment.start_missing().await?;
        Ok(Evidence::seen(logged, format!("a process ended at {}", self.point.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_stands_in_the_engine_once() {
        let engine = [
            include_str!("../../../../src/claim/intake.rs"),
            include_str!("../../../../src/persist/transaction.rs"),
            include_str!("../../../../src/persist/worker.rs"),
            include_str!("../../../../src/stock/intents.rs"),
            include_str!("../../../../src/stock/publications.rs"),
            include_str!("../../../../src/keeper/closing.rs"),
            include_str!("../../../../src/keeper/opening.rs"),
            include_str!("../../../../src/keeper/rebuild.rs"),
        ];
        for point in POINTS {
            let text = format!("crash_point!(\"{}\")", point.name);
            let found: usize = engine.iter().map(|source| source.matches(&text).count()).sum();
            assert_eq!(found, 1, "{text}");
            assert_eq!(point.kind, format!("crash_{}", point.name));
        }
    }

    #[test]
    fn every_point_of_a_payment_stands_in_the_engine_once() {
        let engine = [
            include_str!("../../../../src/payment/worker.rs"),
            include_str!("../../../../src/payment/desk.rs"),
        ];
        for point in PAYMENT_POINTS.into_iter().chain([AFTER_RECLAIM, BEFORE_BROUGHT]) {
            let text = format!("crash_point!(\"{}\")", point.name);
            let found: usize = engine.iter().map(|source| source.matches(&text).count()).sum();
            assert_eq!(found, 1, "{text}");
        }
    }

    #[test]
    fn every_point_of_an_order_that_ends_stands_in_the_engine() {
        let steps = include_str!("../../../../src/order_life/steps.rs");
        for point in [CANCEL_BEFORE_COMMIT, CANCEL_AFTER_COMMIT, EXPIRE_BEFORE_COMMIT, EXPIRE_AFTER_COMMIT] {
            assert!(steps.contains(&format!("crash_point!(\"{}\")", point.name)), "{}", point.name);
        }
    }
}
