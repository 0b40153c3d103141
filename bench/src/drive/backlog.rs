//! The worker stands still while claims go on; then it drains.

use std::time::{Duration, Instant};

use super::measure::{Measured, Watch, measure};
use super::sample::rate;
use super::steady::{new_shop, plan, storage};
use super::target::Target;
use super::{DriveError, Sample, Timeline, Turn};
use crate::cost::spent;
use crate::stage::Engine;

pub(super) async fn run(turn: &Turn<'_>, engine: &Engine) -> Result<Sample, DriveError> {
    let target = Target::Engine(engine);
    let shop = new_shop(turn);
    target.create_sales(&shop, turn.case.sale.stock).await?;
    let before = target.storage().await?;
    let plan = plan(turn, target, shop.clone(), turn.case.mix);
    engine.worker.freeze();
    // The worker is awake again, and drains, from the moment on when nothing is sent any more: `measure` waits for that.
    let seconds = turn.case.load.seconds;
    let thaw = async {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let processor = target.processor();
        let reading = (Instant::now(), processor.usage());
        engine.worker.thaw();
        reading
    };
    let watch = Watch { every: Duration::from_millis(50), points: false };
    let (measured, (thawed_at, usage_then)) =
        tokio::join!(measure(turn, target, plan, turn.case.sale.stock, watch), thaw);
    let measured = measured?;
    let drain_usage = spent(&usage_then, &target.processor().usage());
    let mut sample = turn.sample();
    let accepted = measured.tally.accepted.count;
    let (backlog, time) = drained(&measured, thawed_at - measured.began);
    sample.set("accepted_per_s", rate(accepted, measured.tally.last_accepted));
    sample.set("backlog_orders", backlog as f64);
    sample.set("drain_per_s", rate(backlog, time));
    sample.set("drain_s", time.as_secs_f64());
    sample.processor(&drain_usage, "order", backlog);
    if let (Some(before), Some(after)) = (before, target.storage().await?) {
        storage(&mut sample, &before, &after, accepted);
    }
    sample.timeline = Timeline::of(&measured.tally, measured.persisted.clone());
    let mut faults = measured.faults;
    if backlog == 0 {
        faults.push("the worker was frozen, and yet nothing gathered".to_owned());
    }
    faults.extend(target.check(&shop, &measured.tally).await?);
    Ok(sample.judged(faults))
}

/// Orders that were not persisted when the worker went on, and how long it took.
fn drained(measured: &Measured, thawed: Duration) -> (u64, Duration) {
    let thawed_ms = thawed.as_millis() as u64;
    let then = measured.persisted.iter().rfind(|(ms, _)| *ms <= thawed_ms).map_or(0, |(_, orders)| *orders);
    (
        measured.tally.accepted.count - then.min(measured.tally.accepted.count),
        measured.drained.saturating_sub(thawed),
    )
}
