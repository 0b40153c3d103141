//! Orders are paid for while everybody buys, in time or too late, by a gateway that is asked or at its checkout. Something
//! breaks meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::crash_point::{AFTER_RECLAIM, BEFORE_BROUGHT, PAYMENT_POINTS};
use super::gateway::{Ailment, GatewayFault};
use super::within::Within;
use super::{CrashPoint, NodeFrozen, NodeKilled, Server, ServerFault, Treatment, WhichNode};
use crate::ChaosError;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::occasion::Occasion;
use crate::storage::Layout;

/// Orders that were paid for before anything breaks, and how long they are waited for.
const PAID_MIN: i64 = 10;
const PAID_WITHIN: Duration = Duration::from_secs(60);
/// How long late money is waited for that finds no units any more: where the scarce item is paid for in time, none comes.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A sale that is paid for, and what breaks in it.
pub struct Payments {
    kind: &'static str,
    occasion: Occasion,
    within: Within,
    before: Paid,
}

/// What became of payments so far.
#[derive(Clone, Copy, Debug, Default)]
struct Paid {
    /// In time.
    in_time: i64,
    /// Too late, and units were claimed for them again.
    again: i64,
    /// Too late, and no units were left.
    back: i64,
}

impl Paid {
    fn all(self) -> i64 {
        self.in_time + self.again + self.back
    }

    /// Whether money comes as it is meant to in this sale.
    fn has_begun(self, occasion: Occasion) -> bool {
        match occasion {
            Occasion::LatePayments => self.again > 0,
            Occasion::Checkouts => self.again > 0 && self.in_time >= PAID_MIN,
            _ => self.in_time >= PAID_MIN,
        }
    }

    /// Whether, where money comes late, some was of use to nobody any more.
    fn is_whole(self, occasion: Occasion) -> bool {
        let comes_late = matches!(occasion, Occasion::LatePayments | Occasion::Checkouts);
        self.back > 0 || !comes_late
    }
}

/// All of them.
pub(super) fn payments() -> Vec<Box<dyn Fault>> {
    let mut faults: Vec<Box<dyn Fault>> = Vec::new();
    faults.extend(Ailment::ALL.map(|ailment| in_paid_sale(GatewayFault::new(ailment))));
    faults.push(in_paid_sale(NodeKilled(WhichNode::Payment)));
    faults.push(in_paid_sale(NodeFrozen::new(WhichNode::Payment)));
    faults.extend(PAYMENT_POINTS.map(|point| in_paid_sale(CrashPoint::new(point))));
    let killed = |server| Within::new(ServerFault::new(server, Treatment::Killed));
    let late = [
        ("crash_payment_after_reclaim", Within::new(CrashPoint::new(AFTER_RECLAIM))),
        ("crash_payment_before_brought", Within::new(CrashPoint::new(BEFORE_BROUGHT))),
        ("late_payments", Within::default()),
        ("late_payments_redis_killed", killed(Server::Redis)),
        ("late_payments_postgres_killed", killed(Server::Postgres)),
        ("late_payments_worker_killed", Within::new(NodeKilled(WhichNode::Payment))),
    ];
    faults.extend(late.map(|(kind, within)| in_sale(kind, Occasion::LatePayments, within)));
    let checkouts = [
        ("checkouts", Within::default()),
        ("checkouts_gateway_down", Within::new(GatewayFault::new(Ailment::Down))),
        ("checkouts_api_killed", Within::new(NodeKilled(WhichNode::Webhooks))),
        ("checkouts_worker_killed", Within::new(NodeKilled(WhichNode::Payment))),
        ("checkouts_crash_after_reclaim", Within::new(CrashPoint::new(AFTER_RECLAIM))),
        ("checkouts_redis_killed", killed(Server::Redis)),
        ("checkouts_postgres_killed", killed(Server::Postgres)),
    ];
    faults.extend(checkouts.map(|(kind, within)| in_sale(kind, Occasion::Checkouts, within)));
    faults
}

/// Named as what breaks.
fn in_paid_sale(fault: impl Fault + 'static) -> Box<dyn Fault> {
    in_sale(fault.kind(), Occasion::PaidSale, Within::new(fault))
}

fn in_sale(kind: &'static str, occasion: Occasion, within: Within) -> Box<dyn Fault> {
    Box::new(Payments { kind, occasion, within, before: Paid::default() })
}

#[async_trait]
impl Fault for Payments {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn layout(&self) -> Layout {
        Layout::WithGateway
    }

    fn occasion(&self) -> Occasion {
        self.occasion
    }

    fn hold_ms(&self) -> std::ops::RangeInclusive<u64> {
        self.within.hold_ms()
    }

    async fn prepare(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<(), ChaosError> {
        deployment.gateway()?.set(self.occasion.rates()).await?;
        self.within.prepare(deployment, scene).await
    }

    async fn inject(
        &mut self,
        deployment: &mut Deployment,
        scene: &mut Scene,
    ) -> Result<Evidence, ChaosError> {
        let has_begun = |paid: Paid| paid.has_begun(self.occasion);
        self.before = wait_paid(has_begun, PAID_WITHIN, deployment, scene).await?;
        self.within.inject(deployment, scene, "money comes late").await
    }

    /// It has fired where the sale was at work when it broke, and is again.
    async fn heal(&mut self, deployment: &mut Deployment, scene: &mut Scene) -> Result<Evidence, ChaosError> {
        let Evidence { fired: broke, what } = self.within.heal(deployment, scene).await?;
        let before = self.before;
        let is_more = |paid: Paid| paid.has_begun(self.occasion) && paid.all() > before.all();
        wait_paid(is_more, PAID_WITHIN, deployment, scene).await?;
        let is_whole = |paid: Paid| paid.is_whole(self.occasion);
        let now = wait_paid(is_whole, WHOLE_WITHIN, deployment, scene).await?;
        let is_at_work = before.has_begun(self.occasion) && is_more(now);
        let Paid { in_time, again, back } = now;
        let late = format!("of late money {again} bought again, {back} back");
        let what = format!("{what}{in_time} paid, {} before; {late}", before.in_time);
        Ok(Evidence::seen(broke && is_at_work, what))
    }
}

/// Waits for such payments, and tells which there are then.
async fn wait_paid(
    are_there: impl Fn(Paid) -> bool,
    within: Duration,
    deployment: &Deployment,
    scene: &Scene,
) -> Result<Paid, ChaosError> {
    let query = "SELECT count(*) FILTER (WHERE p.state = 'paid' AND p.paid_as IS NULL),
                        count(*) FILTER (WHERE p.state = 'moved'),
                        count(*) FILTER (WHERE p.state = 'refunded' AND o.cancel_reason = 'expired')
                 FROM payments p JOIN orders o ON o.id = p.order_id WHERE o.sale_id = $1";
    let end = Instant::now() + within;
    let db = deployment.sql().await?;
    loop {
        let row = db.query_one(query, &[&scene.sales[0]]).await?;
        let paid = Paid { in_time: row.get(0), again: row.get(1), back: row.get(2) };
        if are_there(paid) || Instant::now() > end {
            return Ok(paid);
        }
        tokio::time::sleep(POLL).await;
    }
}
