//! Picks faults by the seed, runs them one after another, and adds up.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ChaosError;
use crate::deployment::{Deployment, DeploymentOptions};
use crate::event::{self, EventReport};
use crate::faults;
use crate::report::{NotRun, RunReport};
use crate::storage::Layout;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All that is random follows from it, and from the number of lanes.
    pub seed: u64,
    /// For how long events begin; `None`: each kind once.
    pub time: Option<Duration>,
    /// Deployments side by side: most of an event is waiting.
    pub lanes: usize,
    /// The kinds to run.
    pub kinds: Vec<String>,
    /// Of each deployment.
    pub deployment: DeploymentOptions,
}

/// Events on one deployment, before a new one is made: what piles up in it is part of the test, within bounds.
const EVENTS_PER_DEPLOYMENT: usize = 60;
/// Events of one lane that may fail.
const FAILURES_MAX: u32 = 3;
/// For one event: everything in it has bounds of its own, which add up to less.
const EVENT_MAX: Duration = Duration::from_secs(600);

/// An event that is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    round: usize,
    seed: u64,
    kind: String,
}

impl Plan {
    /// The events of one lane: round after round, each round all kinds in an order of its own, by the servers that they
    /// need; the lanes share each round, and take turns in its parts. Depends on the seed and on nothing else.
    fn events_of(&self, lane: usize) -> impl Iterator<Item = Planned> {
        let mut random = Rng::with_seed(self.seed);
        let lanes = self.lanes.max(1);
        let layout = |kind: &String| (kind.clone(), faults::of_kind(kind).map(|fault| fault.layout()));
        let known: Vec<_> = self.kinds.iter().map(layout).collect();
        (0..).flat_map(move |round| {
            let mut kinds = known.clone();
            if self.time.is_some() {
                random.shuffle(&mut kinds);
                // Other servers take seconds to start: those that need the same follow each other.
                kinds.sort_by_key(|(_, layout)| std::cmp::Reverse(*layout));
            }
            let events: Vec<Planned> =
                kinds.into_iter().map(|(kind, _)| Planned { round, seed: random.u64(..), kind }).collect();
            let (part, count) = ((lane + round) % lanes, events.len());
            let (from, to) = (count * part / lanes, count * (part + 1) / lanes);
            events[from..to].to_vec()
        })
    }
}

/// Runs it, and tells of each event as it ends. An event that fails costs its deployment, and the run goes on; one lane may
/// fail so often, and then ends.
pub async fn run(plan: &Plan, mut tell: impl FnMut(&EventReport)) -> RunReport {
    let mut report = RunReport { seed: plan.seed, lanes: plan.lanes.max(1), ..RunReport::default() };
    let (told, mut news) = mpsc::unbounded_channel();
    let mut lanes = JoinSet::new();
    for number in 0..report.lanes {
        lanes.spawn(Lane { plan: plan.clone(), number, told: told.clone(), site: None }.run());
    }
    drop(told);
    while let Some(news) = news.recv().await {
        match news {
            News::Event(event) => {
                tell(&event);
                report.events.push(*event);
            }
            News::NotRun(one) if report.not_run.iter().any(|known| known.kind == one.kind) => {}
            News::NotRun(one) => report.not_run.push(one),
            News::Failed(why) => {
                eprintln!("failed: {why}");
                report.failures.push(why);
            }
        }
    }
    while let Some(ended) = lanes.join_next().await {
        report.failures.extend(ended.err().map(|error| format!("a lane: {error}")));
    }
    report
}

/// What a lane tells.
enum News {
    Event(Box<EventReport>),
    NotRun(NotRun),
    Failed(String),
}

/// One deployment after another, and the events on it.
struct Lane {
    plan: Plan,
    number: usize,
    told: mpsc::UnboundedSender<News>,
    site: Option<Site>,
}

impl Lane {
    async fn run(mut self) {
        let (began, plan) = (Instant::now(), self.plan.clone());
        let (mut not_run, mut failures) = (BTreeSet::new(), 0);
        for (number, planned) in plan.events_of(self.number).enumerate() {
            let is_over = match plan.time {
                Some(time) => began.elapsed() >= time,
                None => planned.round > 0,
            };
            if is_over || not_run.len() == plan.kinds.len() || failures == FAILURES_MAX {
                break;
            }
            if not_run.contains(&planned.kind) {
                continue;
            }
            let news = match self.event(number, &planned).await {
                Ok(event) => News::Event(Box::new(event)),
                Err(error) if error.is_unavailable() => {
                    not_run.insert(planned.kind.clone());
                    News::NotRun(NotRun { kind: planned.kind, reason: error.to_string() })
                }
                Err(error) => {
                    failures += 1;
                    News::Failed(format!("{} (seed {}): {error}", planned.kind, planned.seed))
                }
            };
            // Nobody listens where the run was ended.
            let _ = self.told.send(news);
        }
    }

    async fn event(&mut self, number: usize, planned: &Planned) -> Result<EventReport, ChaosError> {
        let kind = &planned.kind;
        let fault = faults::of_kind(kind).ok_or_else(|| ChaosError::Setup(format!("no fault {kind:?}")))?;
        let layout = fault.layout();
        let mut on = Site::with(self.site.take(), layout, &self.plan).await?;
        let sale = format!("sale-{number}");
        let event = event::run(&mut on.deployment, fault, planned.seed, &sale);
        let event = tokio::time::timeout(EVENT_MAX, event).await;
        let event = event.unwrap_or_else(|_| Err(ChaosError::NotInTime(format!("{kind} ends"))));
        let is_good = event.as_ref().is_ok_and(EventReport::is_good);
        if is_good {
            self.site = Some(on).filter(|_| layout.is_reusable());
        } else if !event.as_ref().is_err_and(ChaosError::is_unavailable) {
            // What is broken must not be laid to the next event's charge.
            eprintln!("kept: {}", on.keep().display());
        }
        event
    }
}

struct Site {
    deployment: Deployment,
    events: usize,
}

impl Site {
    /// The one at hand where it serves, else a new one.
    async fn with(at_hand: Option<Self>, layout: Layout, plan: &Plan) -> Result<Self, ChaosError> {
        let serves =
            |site: &Self| site.events < EVENTS_PER_DEPLOYMENT && site.deployment.options.layout == layout;
        let mut site = match at_hand.filter(serves) {
            Some(site) => site,
            None => {
                let options = DeploymentOptions { layout, ..plan.deployment.clone() };
                Self { deployment: Deployment::start(options).await?, events: 0 }
            }
        };
        site.events += 1;
        Ok(site)
    }

    fn keep(mut self) -> PathBuf {
        self.deployment.keep().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, time: Option<Duration>, lanes: usize) -> Plan {
        let kinds = faults::kinds().into_iter().map(str::to_owned).collect();
        Plan { seed, time, lanes, kinds, deployment: DeploymentOptions::default() }
    }

    const LONG: Option<Duration> = Some(Duration::from_secs(1));

    fn first(plan: &Plan, lane: usize) -> Vec<Planned> {
        plan.events_of(lane).take(200).collect()
    }

    #[test]
    fn the_seed_alone_decides_the_order() {
        assert_eq!(first(&plan(7, LONG, 1), 0), first(&plan(7, LONG, 1), 0));
        assert_ne!(first(&plan(7, LONG, 1), 0), first(&plan(8, LONG, 1), 0));
        let short: Vec<_> = plan(1, None, 1).events_of(0).take(2).map(|event| event.kind).collect();
        assert_eq!(short, faults::kinds()[..2]);
    }

    #[test]
    fn the_lanes_share_each_round() {
        for (time, lanes) in [(LONG, 1), (LONG, 3), (None, 4), (LONG, 200)] {
            let plan = plan(7, time, lanes);
            for round in 0..3 {
                let of_lane = |lane| {
                    let events = plan.events_of(lane).skip_while(move |event| event.round < round);
                    events.take_while(move |event| event.round == round)
                };
                // Few lanes have none of a round where there are more lanes than kinds.
                let mut kinds: Vec<String> = (0..lanes).flat_map(of_lane).map(|event| event.kind).collect();
                kinds.sort_unstable();
                let mut all: Vec<_> = faults::kinds();
                all.sort_unstable();
                assert_eq!(kinds, all, "{lanes} lanes, round {round}");
            }
        }
    }

    #[test]
    fn each_lane_comes_to_every_kind() {
        let plan = plan(7, LONG, 3);
        let kinds: std::collections::BTreeSet<String> =
            plan.events_of(1).take_while(|event| event.round < 3 * 5).map(|event| event.kind).collect();
        assert!(kinds.len() * 10 > faults::kinds().len() * 8, "{} kinds", kinds.len());
    }
}
