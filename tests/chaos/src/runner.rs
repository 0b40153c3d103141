//! Picks faults by the seed, runs them one after another, and adds up.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::ChaosError;
use crate::deployment::{Deployment, DeploymentOptions};
use crate::event::{self, EventReport};
use crate::faults;
use crate::report::{NotRun, RunReport};
use crate::storage::Layout;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All that is random follows from it.
    pub seed: u64,
    /// For how long events begin; `None`: each kind once.
    pub time: Option<Duration>,
    /// The kinds to run.
    pub kinds: Vec<String>,
    /// Of each deployment.
    pub deployment: DeploymentOptions,
}

/// Events on one deployment, before a new one is made: what piles up in it is part of the test, within bounds.
const EVENTS_PER_DEPLOYMENT: usize = 60;

impl Plan {
    /// The kinds in the order of their events: round after round, each round all of them in an order of its own,
    /// by the servers that they need. Depends
    /// on the seed and on nothing else.
    pub fn order(&self) -> impl Iterator<Item = (u64, &str)> {
        let mut random = Rng::with_seed(self.seed);
        let mut round: Vec<&str> = Vec::new();
        std::iter::from_fn(move || {
            if round.is_empty() {
                round = self.kinds.iter().map(String::as_str).collect();
                if self.time.is_some() {
                    random.shuffle(&mut round);
                    // Other servers take seconds to start: those that need the same follow each other.
                    round.sort_by_cached_key(|kind| faults::of_kind(kind).map(|fault| fault.layout()));
                } else {
                    round.reverse();
                }
            }
            let kind = round.pop()?;
            Some((random.u64(..), kind))
        })
    }
}

/// Runs it, and tells of each event as it ends.
///
/// # Errors
/// [`ChaosError`] where the run itself fails; the logs and data of the deployment are kept then.
pub async fn run(plan: &Plan, mut tell: impl FnMut(&EventReport)) -> Result<RunReport, ChaosError> {
    let began = Instant::now();
    let mut report = RunReport { seed: plan.seed, events: Vec::new(), not_run: Vec::new() };
    let mut site: Option<Site> = None;
    for (number, (seed, kind)) in plan.order().enumerate() {
        let is_over = match plan.time {
            Some(time) => began.elapsed() >= time,
            None => number >= plan.kinds.len(),
        };
        if is_over || report.not_run.len() == plan.kinds.len() {
            break;
        }
        if report.not_run.iter().any(|not_run| not_run.kind == kind) {
            continue;
        }
        let fault = faults::of_kind(kind).ok_or_else(|| ChaosError::Setup(format!("no fault {kind:?}")))?;
        let layout = fault.layout();
        let mut on = match Site::with(site.take(), layout, plan).await {
            Ok(site) => site,
            Err(error) if error.is_unavailable() => {
                report.not_run.push(NotRun { kind: kind.to_owned(), reason: error.to_string() });
                continue;
            }
            Err(error) => return Err(error),
        };
        let event = match event::run(&mut on.deployment, fault, seed, &format!("sale-{number}")).await {
            Ok(event) => event,
            Err(error) => {
                let kept = on.keep();
                return Err(ChaosError::Setup(format!(
                    "{kind} (seed {seed}): {error}; see {}",
                    kept.display()
                )));
            }
        };
        tell(&event);
        if event.is_good() {
            site = Some(on).filter(|_| layout.is_reusable());
        } else {
            // What is broken must not be laid to the next event's charge.
            eprintln!("kept: {}", on.keep().display());
        }
        report.events.push(event);
    }
    Ok(report)
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

    fn plan(seed: u64, time: Option<Duration>) -> Plan {
        let kinds = faults::kinds().into_iter().map(str::to_owned).collect();
        Plan { seed, time, kinds, deployment: DeploymentOptions::default() }
    }

    #[test]
    fn the_seed_alone_decides_the_order() {
        let long = |seed| plan(seed, Some(Duration::from_secs(1)));
        let first = |plan: &Plan| {
            plan.order().take(200).map(|(seed, kind)| (seed, kind.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(first(&long(7)), first(&long(7)));
        assert_ne!(first(&long(7)), first(&long(8)));
        let kinds = faults::kinds().len();
        let mut round: Vec<String> = first(&long(7)).into_iter().take(kinds).map(|(_, kind)| kind).collect();
        round.sort_unstable();
        round.dedup();
        assert_eq!(round.len(), kinds, "each kind once in a round");
        let short: Vec<_> = plan(1, None).order().take(2).map(|(_, kind)| kind.to_owned()).collect();
        assert_eq!(short, faults::kinds()[..2]);
    }
}
