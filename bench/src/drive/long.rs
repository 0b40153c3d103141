//! Many orders, watched from the first to the last; then what some more cost, beside those of a new engine.

use std::time::Duration;

use super::measure::{Measured, Point, Watch, measure};
use super::steady::{figures, new_shop, plan, storage};
use super::target::Target;
use super::{DriveError, Sample, Timeline, Turn, there_and_back};
use crate::cases::Afterwards;
use crate::load::{End, Shop};
use crate::stage::Engine;

/// Stretches into which the run is cut, at most.
const STRETCHES: u64 = 50;
/// How closely what comes afterwards is watched.
const WATCH: Watch = Watch { every: Duration::from_millis(200), points: false };
/// The engine that has the orders of the run.
pub const GROWN: &str = "engine, grown";
/// One that has none.
pub const NEW: &str = "engine, new";

pub(super) async fn run(turn: &Turn<'_>, engine: &Engine) -> Result<Vec<Sample>, DriveError> {
    let target = Target::Engine(engine);
    let shop = new_shop(turn);
    target.create_sales(&shop, turn.case.sale.stock).await?;
    let before = target.storage().await?;
    let orders = turn.case.load.claims.unwrap_or_default();
    let measured = load(turn, engine, shop.clone(), orders, Watch { points: true, ..WATCH }).await?;
    let mut sample = sample_of(turn, turn.subject.name(), turn.round, &measured);
    sample.timeline = Timeline::of(&measured.tally, measured.persisted);
    if let (Some(before), Some(after)) = (before, target.storage().await?) {
        storage(&mut sample, &before, &after, measured.tally.accepted.count);
        sample.timeline.cost = stretches(&measured.points, before.redis_bytes, (orders / STRETCHES).max(1));
    }
    let (mut faults, mut seen) = (measured.faults, measured.tally);
    let (mut samples, mut of_new_ones) = (vec![sample], Vec::new());
    if let Some(Afterwards { rounds, claims }) = turn.case.load.afterwards {
        for round in 1..=rounds {
            for subject in there_and_back(round, &[GROWN, NEW]) {
                if subject == NEW {
                    of_new_ones.push(on_a_new_engine(turn, round, claims).await?);
                    continue;
                }
                // Other buyers, of the same sale.
                let shop = Shop { run: fastrand::u32(..), ..shop.clone() };
                let more = load(turn, engine, shop, claims, WATCH).await?;
                samples.push(sample_of(turn, GROWN, round, &more));
                faults.extend(more.faults);
                seen.merge(more.tally);
            }
        }
    }
    // Once, at the end: to read all orders is a load of its own.
    faults.extend(target.check(&shop, &seen).await?);
    let samples = samples.into_iter().map(|sample| sample.judged(faults.clone()));
    Ok(samples.chain(of_new_ones).collect())
}

async fn on_a_new_engine(turn: &Turn<'_>, round: u32, claims: u64) -> Result<Sample, DriveError> {
    let engine = Engine::start(&turn.driver.base, &turn.case.engine.settings()).await?;
    let target = Target::Engine(&engine);
    let shop = new_shop(turn);
    target.create_sales(&shop, turn.case.sale.stock).await?;
    // The first ones find no plan, no page and no connection ready: those are not what a sale costs.
    let first = load(turn, &engine, shop.clone(), claims / 20, WATCH).await?;
    let others = Shop { run: !shop.run, ..shop.clone() };
    let measured = load(turn, &engine, others, claims, WATCH).await?;
    let sample = sample_of(turn, NEW, round, &measured);
    let (mut faults, mut seen) = (measured.faults, measured.tally);
    faults.extend(first.faults);
    seen.merge(first.tally);
    faults.extend(target.check(&shop, &seen).await?);
    engine.stop().await;
    Ok(sample.judged(faults))
}

/// Sends so many claims, each of which is to be accepted.
async fn load(
    turn: &Turn<'_>,
    engine: &Engine,
    shop: Shop,
    claims: u64,
    watch: Watch,
) -> Result<Measured, DriveError> {
    let target = Target::Engine(engine);
    let mut plan = plan(turn, target, shop, turn.case.mix);
    plan.end = End::Claims { claims, within: Duration::from_secs_f64(turn.case.load.seconds) };
    let mut measured = measure(turn, target, plan, turn.case.sale.stock, watch).await?;
    let accepted = measured.tally.accepted.count;
    if accepted < claims {
        measured.faults.push(format!("{accepted} of {claims} claims were accepted in time"));
    }
    Ok(measured)
}

fn sample_of(turn: &Turn<'_>, subject: &str, round: u32, measured: &Measured) -> Sample {
    let mut sample = Sample::new(turn.name, subject, round);
    figures(&mut sample, measured);
    sample
}

/// (orders, processor microseconds of an order since the last, Redis bytes of an order), at least `length` orders apart.
fn stretches(points: &[Point], redis_bytes_before: u64, length: u64) -> Vec<(u64, f64, f64)> {
    let own = |point: &Point| -> u64 {
        point.usage.iter().filter(|(name, _)| **name != "load").map(|(_, us)| us).sum()
    };
    let Some(mut last) = points.first() else { return Vec::new() };
    let mut stretches = Vec::new();
    for point in points {
        let orders = point.orders - last.orders.min(point.orders);
        if orders >= length {
            let us = (own(point) - own(last).min(own(point))) as f64 / orders as f64;
            let bytes = (point.redis_bytes as f64 - redis_bytes_before as f64) / point.orders as f64;
            stretches.push((point.orders, us, bytes));
            last = point;
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Usage;

    #[test]
    fn a_stretch_counts_its_own_cost_alone() {
        let point = |orders, us, redis_bytes| Point {
            orders,
            usage: Usage::from([("redis", us), ("load", 99)]),
            redis_bytes,
        };
        let points = [point(0, 0, 100), point(5, 40, 600), point(10, 100, 2100), point(20, 400, 4100)];
        assert_eq!(stretches(&points, 100, 10), [(10, 10.0, 200.0), (20, 30.0, 200.0)]);
        assert!(stretches(&[], 0, 1).is_empty());
    }
}
