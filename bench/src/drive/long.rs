//! Many orders, watched from the first to the last.

use std::time::Duration;

use super::measure::{Point, Watch, measure};
use super::steady::{figures, new_shop, plan, storage};
use super::target::Target;
use super::{DriveError, Sample, Timeline, Turn};
use crate::report::spread;
use crate::stage::Engine;

/// Stretches into which the run is cut, at most.
const STRETCHES: u64 = 50;

pub(super) async fn run(turn: &Turn<'_>, engine: &Engine) -> Result<Sample, DriveError> {
    let target = Target::Engine(engine);
    let shop = new_shop(turn);
    target.create_sales(&shop, turn.case.sale.stock).await?;
    let before = target.storage().await?;
    let plan = plan(turn, target, shop.clone(), turn.case.mix);
    let orders = turn.case.load.claims.unwrap_or_default();
    let watch = Watch { every: Duration::from_millis(200), points: true };
    let measured = measure(turn, target, plan, turn.case.sale.stock, watch).await?;
    let mut sample = turn.sample();
    figures(&mut sample, &measured);
    sample.timeline = Timeline::of(&measured.tally, measured.persisted.clone());
    if let (Some(before), Some(after)) = (before, target.storage().await?) {
        storage(&mut sample, &before, &after, measured.tally.accepted.count);
        let stretches = stretches(&measured.points, before.redis_bytes, (orders / STRETCHES).max(1));
        if let Some((first, last)) = first_and_last(&stretches) {
            sample.set("cpu_us_per_order_first", first);
            sample.set("cpu_us_per_order_last", last);
            sample.set("cost_last_to_first", last / first);
        }
        sample.timeline.cost = stretches;
    }
    let mut faults = measured.faults;
    faults.extend(target.check(&shop, &measured.tally).await?);
    Ok(sample.judged(faults))
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

/// What an order costs in the first and in the last tenth, as the median of their stretches: one of them may have met whatever the
/// machine did meanwhile, or a rewrite of Redis's file.
fn first_and_last(stretches: &[(u64, f64, f64)]) -> Option<(f64, f64)> {
    let tenth = stretches.len().div_ceil(10);
    let median = |part: &[(u64, f64, f64)]| spread(part.iter().map(|&(_, us, _)| us)).map(|us| us.median);
    Some((median(&stretches[..tenth])?, median(&stretches[stretches.len() - tenth..])?))
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

    #[test]
    fn the_last_tenth_is_held_against_the_first() {
        let costing = |us: &[f64]| -> Vec<_> { us.iter().map(|&us| (1, us, 0.0)).collect() };
        assert_eq!(first_and_last(&costing(&[4.0, 6.0])), Some((4.0, 6.0)));
        let mut us = [9.0; 30];
        us[..3].copy_from_slice(&[40.0, 1.0, 2.0]);
        us[27..].copy_from_slice(&[3.0, 90.0, 4.0]);
        assert_eq!(first_and_last(&costing(&us)), Some((2.0, 4.0)));
        assert_eq!(first_and_last(&[]), None);
    }
}
