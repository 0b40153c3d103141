//! One load on one target, watched from before it begins until all it sold is persisted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::target::Target;
use super::{DriveError, Turn};
use crate::cost::{Usage, spent};
use crate::load::{self, Live, LoadPlan, Shop, Tally};

/// How often the progress line moves.
const SHOW: Duration = Duration::from_millis(250);
/// How long the last order may take until it is persisted.
const DRAIN_MAX: Duration = Duration::from_secs(300);

/// What was seen of one load.
pub struct Measured {
    /// When it began.
    pub began: Instant,
    /// By the load generator.
    pub tally: Tally,
    /// Orders that it left: fewer than were accepted where a 202 is no order yet.
    pub orders: u64,
    /// Processor time from the beginning until everything was persisted.
    pub usage: Usage,
    /// From the beginning until everything was persisted.
    pub drained: Duration,
    /// (milliseconds, its orders persisted until then).
    pub persisted: Vec<(u64, u64)>,
    /// Points on the way, where they were asked for.
    pub points: Vec<Point>,
    /// Not everything was persisted in time.
    pub faults: Vec<String>,
}

/// A look at a long run.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its orders persisted until then.
    pub orders: u64,
    /// Processor time until then.
    pub usage: Usage,
    /// Memory of Redis then.
    pub redis_bytes: u64,
}

/// How closely a load is watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Between looks at what is persisted: each costs Postgres a query.
    pub every: Duration,
    /// Whether each look takes processor time and memory too.
    pub points: bool,
}

/// Runs a load and waits until what it sold is persisted.
pub async fn measure(
    turn: &Turn<'_>,
    target: Target<'_>,
    plan: LoadPlan,
    stock: u64,
    watch: Watch,
) -> Result<Measured, DriveError> {
    let processor = target.processor();
    let live = Arc::new(Live::default());
    let shop = plan.shop.clone();
    let earlier = target.persisted(&shop).await?;
    let before = processor.usage();
    let begin = Instant::now();
    let mut running = tokio::task::spawn_blocking({
        let live = live.clone();
        move || load::run(&plan, &live)
    });
    let mut looks = Looks { begin, earlier, persisted: Vec::new(), points: Vec::new() };
    let mut look_at = tokio::time::interval(watch.every);
    let mut show_at = tokio::time::interval(SHOW);
    let mut shown = (begin, 0);
    let tally = loop {
        tokio::select! {
            done = &mut running => break done??,
            _ = look_at.tick() => {
                let orders = looks.look(&target, &shop).await?;
                if watch.points && let Some(storage) = target.storage().await? {
                    let usage = spent(&before, &processor.usage());
                    looks.points.push(Point { orders, usage, redis_bytes: storage.redis_bytes });
                }
            }
            _ = show_at.tick() => shown = show(turn, &live, begin, shown),
        }
    };
    let expected = target.expected(&tally, stock);
    let mut faults = Vec::new();
    let deadline = Instant::now() + DRAIN_MAX;
    while looks.look(&target, &shop).await? < expected {
        if Instant::now() >= deadline {
            faults.push(format!("not all of {expected} orders were persisted in {} s", DRAIN_MAX.as_secs()));
            break;
        }
        turn.driver.say(format!("{}  {}: draining", turn.name, turn.subject.name()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut drained = looks.drained(expected);
    if expected == tally.accepted.count {
        // A look may come a moment before the load generator has read the last answer.
        drained = drained.max(tally.last_accepted);
    }
    let usage = spent(&before, &processor.usage());
    Ok(Measured {
        began: begin,
        tally,
        orders: expected,
        usage,
        drained,
        persisted: looks.persisted,
        points: looks.points,
        faults,
    })
}

struct Looks {
    begin: Instant,
    /// Orders of an earlier load on the same sales.
    earlier: u64,
    persisted: Vec<(u64, u64)>,
    points: Vec<Point>,
}

impl Looks {
    async fn look(&mut self, target: &Target<'_>, shop: &Shop) -> Result<u64, DriveError> {
        let orders = target.persisted(shop).await?.saturating_sub(self.earlier);
        self.persisted.push((self.begin.elapsed().as_millis() as u64, orders));
        Ok(orders)
    }

    /// When the first look saw that many.
    fn drained(&self, expected: u64) -> Duration {
        let first = self.persisted.iter().find(|(_, orders)| *orders >= expected);
        first.map_or_else(|| self.begin.elapsed(), |(ms, _)| Duration::from_millis(*ms))
    }
}

fn show(turn: &Turn<'_>, live: &Live, begin: Instant, last: (Instant, u64)) -> (Instant, u64) {
    let (now, answers) = (Instant::now(), live.answers());
    let seconds = (now - last.0).as_secs_f64().max(0.001);
    turn.driver.say(format!(
        "{}  round {}/{}  {}: {:.0} answers/s, {} orders accepted, {:.1} s",
        turn.name,
        turn.round,
        turn.case.rounds,
        turn.subject.name(),
        (answers - last.1) as f64 / seconds,
        live.accepted(),
        begin.elapsed().as_secs_f64()
    ));
    (now, answers)
}
