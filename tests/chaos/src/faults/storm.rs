//! Orders end while everybody buys: given up by buyers and operators, or by their holds. Something else may break meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::cancels_restored::CancelsRestored;
use super::crash_point::{
    CANCEL_AFTER_COMMIT, CANCEL_BEFORE_COMMIT, EXPIRE_AFTER_COMMIT, EXPIRE_BEFORE_COMMIT, Point,
    RETURN_BEFORE_LEDGER,
};
use super::{CrashPoint, NodeFrozen, Server, ServerFault, Treatment, WhichNode};
use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::occasion::Occasion;

/// Orders that have ended before anything else breaks, and how long they are waited for.
const ENDED_MIN: i64 = 10;
const ENDED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A storm, alone or with another fault in it.
pub struct Storm {
    kind: &'static str,
    occasion: Occasion,
    within: Within,
    /// Orders that had ended when it broke.
    ended: i64,
    /// What was to break meanwhile was seen to.
    broke: bool,
}

/// What breaks in a storm.
type Within = Option<Box<dyn Fault>>;

/// All of them.
pub(super) fn storms() -> Vec<Box<dyn Fault>> {
    use Occasion::{CancelStorm as Cancels, ExpiryStorm as Holds};
    let point = |point: Point| -> Within { Some(Box::new(CrashPoint::new(point))) };
    let killed = |server| -> Within { Some(Box::new(ServerFault::new(server, Treatment::Killed))) };
    let frozen = |node| -> Within { Some(Box::new(NodeFrozen::new(node))) };
    let storms: [(&'static str, Occasion, Within); 14] = [
        ("cancel_storm", Cancels, None),
        ("cancel_storm_crash_before_commit", Cancels, point(CANCEL_BEFORE_COMMIT)),
        ("cancel_storm_crash_after_commit", Cancels, point(CANCEL_AFTER_COMMIT)),
        ("cancel_storm_crash_before_ledger", Cancels, point(RETURN_BEFORE_LEDGER)),
        ("cancel_storm_redis_killed", Cancels, killed(Server::Redis)),
        ("cancel_storm_postgres_killed", Cancels, killed(Server::Postgres)),
        ("cancel_storm_keeper_frozen", Cancels, frozen(WhichNode::Keeper)),
        ("cancel_storm_postgres_restored", Cancels, Some(Box::new(CancelsRestored::default()))),
        ("expiry_storm", Holds, None),
        ("expiry_storm_crash_before_commit", Holds, point(EXPIRE_BEFORE_COMMIT)),
        ("expiry_storm_crash_after_commit", Holds, point(EXPIRE_AFTER_COMMIT)),
        ("expiry_storm_redis_killed", Holds, killed(Server::Redis)),
        ("expiry_storm_postgres_killed", Holds, killed(Server::Postgres)),
        ("expiry_storm_worker_frozen", Holds, frozen(WhichNode::Worker)),
    ];
    let storm = |(kind, occasion, within)| Box::new(Storm { kind, occasion, within, ended: 0, broke: false });
    storms.into_iter().map(|one| storm(one) as Box<dyn Fault>).collect()
}

#[async_trait]
impl Fault for Storm {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn occasion(&self) -> Occasion {
        self.occasion
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        self.within.as_ref().map_or(300..=1200, |fault| fault.hold_ms())
    }

    async fn prepare(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<(), ChaosError> {
        match &mut self.within {
            Some(fault) => fault.prepare(deployment, scene).await,
            None => Ok(()),
        }
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        self.ended = wait_ended(self.occasion, deployment, scene, ENDED_MIN).await?;
        let broken = match &mut self.within {
            Some(fault) => fault.inject(deployment, scene).await?,
            None => Evidence::seen(true, "a storm"),
        };
        self.broke = broken.fired;
        Ok(Evidence { fired: false, what: broken.what })
    }

    /// It has fired where enough orders ended before it broke, and more of them behind that.
    async fn heal(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<Evidence, ChaosError> {
        let mut what = String::new();
        if let Some(fault) = &mut self.within {
            let healed = fault.heal(deployment, scene).await?;
            self.broke |= healed.fired;
            what = healed.what + "; ";
        }
        let before = self.ended;
        let ended = wait_ended(self.occasion, deployment, scene, before + 1).await?;
        let is_storm = before >= ENDED_MIN && ended > before;
        Ok(Evidence::seen(
            self.broke && is_storm,
            format!("{what}{ended} orders have ended, {before} before"),
        ))
    }
}

/// Waits until so many orders of the sale have ended as those of this storm do; how many have.
async fn wait_ended(
    occasion: Occasion,
    deployment: &Deployment,
    scene: &Scene,
    wanted: i64,
) -> Result<i64, ChaosError> {
    let reasons = match occasion {
        Occasion::ExpiryStorm => vec!["expired"],
        _ => vec!["buyer", "operator"],
    };
    let query = "SELECT count(*), count(DISTINCT cancel_reason) FROM orders
                 WHERE sale_id = $1 AND cancel_reason = ANY($2)";
    let end = Instant::now() + ENDED_WITHIN;
    let db = deployment.sql().await?;
    loop {
        let row = db.query_one(query, &[&scene.sales[0], &reasons]).await?;
        let (ended, kinds): (i64, i64) = (row.get(0), row.get(1));
        if ended >= wanted && kinds == reasons.len() as i64 || Instant::now() > end {
            return Ok(ended);
        }
        tokio::time::sleep(POLL).await;
    }
}
