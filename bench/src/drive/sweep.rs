//! A closed loop to find the most; then arrivals at shares of it, on their own time.

use std::time::Duration;

use super::measure::{Watch, measure};
use super::sample::rate;
use super::steady::{figures, new_shop, plan};
use super::target::Target;
use super::{DriveError, Sample, Timeline, Turn};
use crate::load::Pace;
use crate::stage::Engine;

const WATCH: Watch = Watch { every: Duration::from_millis(500), points: false };

pub(super) async fn run(turn: &Turn<'_>, engine: &Engine) -> Result<Vec<Sample>, DriveError> {
    let target = Target::Engine(engine);
    let stock = turn.case.sale.stock;
    let shop = new_shop(turn);
    target.create_sales(&shop, stock).await?;
    let closed = measure(turn, target, plan(turn, target, shop, turn.case.mix), stock, WATCH).await?;
    let most = rate(closed.tally.accepted.count, closed.tally.last_accepted);
    let mut samples = Vec::new();
    for share in &turn.case.load.shares {
        let shop = new_shop(turn);
        target.create_sales(&shop, stock).await?;
        let mut plan = plan(turn, target, shop.clone(), turn.case.mix);
        plan.pace = Pace::Open { per_second: most * share };
        let measured = measure(turn, target, plan, stock, WATCH).await?;
        let mut sample = Sample::new(turn.name, format!("engine at {:.0} %", share * 100.0), turn.round);
        figures(&mut sample, &measured);
        sample.set("offered_per_s", most * share);
        sample.timeline = Timeline::of(&measured.tally, measured.persisted);
        let mut faults = measured.faults;
        faults.extend(target.check(&shop, &measured.tally).await?);
        samples.push(sample.judged(faults));
    }
    Ok(samples)
}
