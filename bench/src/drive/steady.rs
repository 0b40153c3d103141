//! A closed loop for a time, or a burst of arrivals.

use std::time::Duration;

use super::measure::{Measured, Watch, measure};
use super::sample::rate;
use super::target::Target;
use super::{DriveError, Sample, Timeline, Turn};
use crate::cases::Kind;
use crate::cost::{Storage, Syscalls};
use crate::load::{End, LoadPlan, Mix, Pace, Shop, Watchers};
use crate::stage::{Bare, Engine, Peer, PeerKind};

/// How long a burst may take beyond its arrivals.
const BURST_SLACK: Duration = Duration::from_secs(60);
/// How long system calls are counted in one process.
const SYSCALLS_SECONDS: f64 = 2.0;

/// New sales for a turn, with a run of their own.
pub(super) fn new_shop(turn: &Turn<'_>) -> Shop {
    let shape = &turn.case.sale;
    let run = fastrand::u32(..);
    Shop {
        run,
        sales: (0..shape.sales).map(|n| format!("{}-{run:08x}-{n}", turn.name)).collect(),
        skus: (0..turn.skus()).map(|n| format!("UNIT-{n}")).collect(),
    }
}

/// The plan of a case for a target.
pub(super) fn plan(turn: &Turn<'_>, target: Target<'_>, shop: Shop, mix: Mix) -> LoadPlan {
    let load = &turn.case.load;
    let queue_first = matches!(target, Target::Peer(peer) if peer.kind.answers_before_it_decides());
    let seconds = load.queue_first_seconds.filter(|_| queue_first).unwrap_or(load.seconds);
    let time = Duration::from_secs_f64(seconds);
    let (pace, end) = match (turn.case.kind, load.claims) {
        (Kind::Burst, Some(claims)) => (
            Pace::Open { per_second: claims as f64 / load.seconds },
            End::Claims { claims, within: time + BURST_SLACK },
        ),
        (_, Some(claims)) => (Pace::Closed, End::Claims { claims, within: time }),
        (_, None) => (Pace::Closed, End::After(time)),
    };
    LoadPlan {
        target: target.address(),
        shop,
        mix,
        pace,
        connections: load.connections,
        threads: load.threads,
        end,
    }
}

pub(super) async fn engine(turn: &Turn<'_>, engine: &Engine) -> Result<Sample, DriveError> {
    run(turn, Target::Engine(engine), turn.case.sale.stock).await
}

pub(super) async fn peer(turn: &Turn<'_>, peer: &Peer) -> Result<Sample, DriveError> {
    let most = match peer.kind {
        PeerKind::PostgresSkipLocked => turn.case.load.peer_units_max,
        _ => u64::MAX,
    };
    run(turn, Target::Peer(peer), turn.case.sale.stock.min(most)).await
}

pub(super) async fn bare(turn: &Turn<'_>, bare: &Bare) -> Result<Sample, DriveError> {
    let target = Target::Bare(bare);
    let plan = plan(turn, target, new_shop(turn), Mix::default());
    let measured =
        measure(turn, target, plan, 0, Watch { every: Duration::from_secs(3600), points: false }).await?;
    let mut sample = turn.sample();
    sample.set("answers_per_s", rate(measured.tally.answers(), measured.tally.last_answer));
    sample.latency("", &measured.tally.claim_us);
    sample.processor(&measured.usage, "answer", measured.tally.answers());
    let faults = target.check(&new_shop(turn), &measured.tally).await?;
    Ok(sample.judged(faults))
}

async fn run(turn: &Turn<'_>, target: Target<'_>, stock: u64) -> Result<Sample, DriveError> {
    let shop = new_shop(turn);
    target.create_sales(&shop, stock).await?;
    let mut earlier = None;
    if turn.case.sale.sold_out {
        earlier = Some(sell_all(turn, target, &shop, stock).await?);
    }
    let before = target.storage().await?;
    let mut plan = plan(turn, target, shop.clone(), turn.case.mix);
    if earlier.is_some() {
        // Other buyers than those who bought.
        plan.shop.run ^= 1;
    }
    let every = match (turn.case.kind, target) {
        (Kind::Burst, _) => Duration::from_millis(20),
        (_, Target::Engine(_)) => Duration::from_millis(200),
        // Counting a peer's orders is dearer than reading the engine's counters.
        _ => Duration::from_millis(1000),
    };
    let watchers = match (target, turn.case.load.watchers) {
        (Target::Engine(_), 1..) => {
            Some(Watchers::open(target.address(), &shop.sales[0], turn.case.load.watchers).await?)
        }
        _ => None,
    };
    let measured = measure(turn, target, plan, stock, Watch { every, points: false }).await?;
    let watched = watchers.map(|watchers| watchers.watched());
    let mut sample = turn.sample();
    figures(&mut sample, &measured);
    if let (Some(before), Some(after)) = (before, target.storage().await?) {
        storage(&mut sample, &before, &after, measured.orders);
    }
    let mut faults = measured.faults;
    if let Some(watched) = watched {
        sample.set("events_per_s", watched.events_per_s);
        if watched.unaware > 0 {
            faults.push(format!("{} watchers were told of no change", watched.unaware));
        }
    }
    let mut seen = measured.tally;
    if turn.case.kind == Kind::Burst {
        // Where a 202 is no order yet, the last unit is sold when its order is stored.
        let sold_out =
            if measured.orders < seen.accepted.count { measured.drained } else { seen.last_accepted };
        sample.set("sold_out_after_s", sold_out.as_secs_f64());
        sample.set("persisted_after_s", measured.drained.as_secs_f64());
        if target.expected(&seen, stock) != stock.min(turn.case.load.claims.unwrap_or(u64::MAX)) {
            faults.push(format!("{} orders were accepted of {stock} units", seen.accepted.count));
        }
    }
    sample.timeline = Timeline::of(&seen, measured.persisted);
    if let Some(earlier) = earlier {
        if seen.accepted.count > 0 {
            faults.push("a unit was sold that was gone".to_owned());
        }
        seen.accepted = earlier;
    }
    faults.extend(target.check(&shop, &seen).await?);
    Ok(sample.judged(faults))
}

/// Sells every unit before the measurement begins; who bought.
async fn sell_all(
    turn: &Turn<'_>,
    target: Target<'_>,
    shop: &Shop,
    stock: u64,
) -> Result<crate::load::Numbers, DriveError> {
    let units = stock * shop.skus.len() as u64 * shop.sales.len() as u64;
    let warm_up = LoadPlan {
        pace: Pace::Closed,
        connections: 1,
        threads: 1,
        end: End::Claims { claims: units, within: Duration::from_secs(60) },
        ..plan(turn, target, shop.clone(), Mix::default())
    };
    let watch = Watch { every: Duration::from_millis(200), points: false };
    Ok(measure(turn, target, warm_up, units, watch).await?.tally.accepted)
}

/// What every load gives.
pub(super) fn figures(sample: &mut Sample, measured: &Measured) {
    let tally = &measured.tally;
    let accepted = tally.accepted.count;
    sample.set("answers_per_s", rate(tally.answers(), tally.last_answer));
    sample.latency("", &tally.claim_us);
    sample.latency("read_", &tally.read_us);
    sample.set("retried", tally.retried as f64);
    if accepted > 0 {
        sample.set("accepted", accepted as f64);
        sample.set("accepted_per_s", rate(accepted, tally.last_accepted));
        sample.set("persisted_per_s", rate(measured.orders, measured.drained));
        let after = measured.drained.saturating_sub(tally.last_accepted);
        sample.set("drained_after_s", after.as_secs_f64());
        sample.processor(&measured.usage, "order", measured.orders);
    } else {
        sample.processor(&measured.usage, "answer", tally.answers());
    }
}

pub(super) fn storage(sample: &mut Sample, before: &Storage, after: &Storage, orders: u64) {
    for (name, value) in after.per_order(before, orders) {
        sample.set(name, value);
    }
}

/// System calls of an order, in one run for each process: strace slows it, so nothing else is taken from these.
pub(super) async fn count_syscalls(turn: &Turn<'_>, engine: &Engine) -> Result<Vec<Sample>, DriveError> {
    let target = Target::Engine(engine);
    let mut sample = Sample::new(turn.name, "engine, system calls", 1);
    let processes = [
        ("api", Some(engine.api.pid())),
        ("worker", Some(engine.worker.pid())),
        ("redis", engine.servers.redis.pid()),
    ];
    for (name, pid) in processes {
        let Some(count) = pid.and_then(Syscalls::count) else { continue };
        let shop = new_shop(turn);
        target.create_sales(&shop, turn.case.sale.stock).await?;
        let mut plan = plan(turn, target, shop, Mix::default());
        plan.end = End::After(Duration::from_secs_f64(SYSCALLS_SECONDS));
        let watch = Watch { every: Duration::from_millis(500), points: false };
        let measured = measure(turn, target, plan, turn.case.sale.stock, watch).await?;
        if let Some(calls) = count.finish().await {
            sample.set(
                format!("syscalls_per_order.{name}"),
                calls as f64 / measured.tally.accepted.count.max(1) as f64,
            );
        }
    }
    let counted = !sample.figures.is_empty();
    Ok(counted.then_some(sample).into_iter().collect())
}
