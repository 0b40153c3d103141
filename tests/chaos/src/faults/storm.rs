//! Orders end while everybody buys: given up by buyers and operators, or by their holds. Something else may break meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::cancels_restored::CancelsRestored;
use super::within::Within;
use super::{
    CrashPoint, NetworkFault, NodeFrozen, PersistingHeldBack, Server, ServerFault, Treatment, Trouble,
    WhichNode, crash_point,
};
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
}

/// All of them.
pub(super) fn storms() -> Vec<Box<dyn Fault>> {
    use Occasion::{CancelStorm as Cancels, ExpiryStorm as Holds};
    let point = |point| Within::new(CrashPoint::new(point));
    let killed = |server| Within::new(ServerFault::new(server, Treatment::Killed));
    let frozen = |node| Within::new(NodeFrozen::new(node));
    let unreliable = |server| Within::new(NetworkFault::new(server, Trouble::Unreliable));
    let storms = [
        ("cancel_storm", Cancels, Within::default()),
        ("cancel_storm_crash_before_commit", Cancels, point(crash_point::CANCEL_BEFORE_COMMIT)),
        ("cancel_storm_crash_after_commit", Cancels, point(crash_point::CANCEL_AFTER_COMMIT)),
        ("cancel_storm_crash_before_ledger", Cancels, point(crash_point::RETURN_BEFORE_LEDGER)),
        ("cancel_storm_redis_killed", Cancels, killed(Server::Redis)),
        ("cancel_storm_redis_unreliable", Cancels, unreliable(Server::Redis)),
        ("cancel_storm_postgres_killed", Cancels, killed(Server::Postgres)),
        ("cancel_storm_keeper_frozen", Cancels, frozen(WhichNode::Keeper)),
        ("cancel_storm_sent_again", Cancels, Within::new(PersistingHeldBack::until_returns_are_sent_again())),
        ("cancel_storm_postgres_restored", Cancels, Within::new(CancelsRestored::default())),
        ("expiry_storm", Holds, Within::default()),
        ("expiry_storm_crash_before_commit", Holds, point(crash_point::EXPIRE_BEFORE_COMMIT)),
        ("expiry_storm_crash_after_commit", Holds, point(crash_point::EXPIRE_AFTER_COMMIT)),
        ("expiry_storm_redis_killed", Holds, killed(Server::Redis)),
        ("expiry_storm_redis_unreliable", Holds, unreliable(Server::Redis)),
        ("expiry_storm_postgres_killed", Holds, killed(Server::Postgres)),
        ("expiry_storm_worker_frozen", Holds, frozen(WhichNode::Worker)),
    ];
    let storm = |(kind, occasion, within)| Box::new(Storm { kind, occasion, within, ended: 0 });
    storms.map(|one| storm(one) as Box<dyn Fault>).into()
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
        self.within.hold_ms()
    }

    async fn prepare(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<(), ChaosError> {
        self.within.prepare(deployment, scene).await
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        self.ended = wait_ended(self.occasion, deployment, scene, ENDED_MIN).await?;
        self.within.inject(deployment, scene, "a storm").await
    }

    /// It has fired where enough orders ended before it broke, and more of them behind that.
    async fn heal(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<Evidence, ChaosError> {
        let Evidence { fired: broke, what } = self.within.heal(deployment, scene).await?;
        let before = self.ended;
        let ended = wait_ended(self.occasion, deployment, scene, before + 1).await?;
        let is_storm = before >= ENDED_MIN && ended > before;
        Ok(Evidence::seen(broke && is_storm, format!("{what}{ended} orders have ended, {before} before")))
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
