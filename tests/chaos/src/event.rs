//! One event: traffic flows, something breaks, is held, is mended; then all is let come to rest, and judged.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorbuster::log::EntryId;
use fastrand::Rng;
use serde::Serialize;

use crate::ChaosError;
use crate::checker::check;
use crate::client::Client;
use crate::deployment::Deployment;
use crate::fault::{Evidence, Fault, Scene};
use crate::findings::Findings;
use crate::gateway::Gateway;
use crate::history::{History, HistoryFile, Outcome};
use crate::inspection::{OversoldWatch, deadlocks, drained_by, read_at_rest};
use crate::stored::Injected;
use crate::traffic::Traffic;

/// Traffic before the fault (ms), so that it meets a sale at work.
const WARM_UP_MS: std::ops::Range<u64> = 400..900;
/// Traffic after the first order behind the fault (ms).
const COOL_DOWN_MS: std::ops::Range<u64> = 300..600;

/// What came of an event.
#[derive(Clone, Debug, Serialize)]
pub struct EventReport {
    /// The fault's kind.
    pub kind: String,
    /// From which all of it follows.
    pub seed: u64,
    /// The sale.
    pub sale: String,
    /// Whether the fault was seen to have happened.
    pub fired: bool,
    /// What was seen.
    pub evidence: String,
    /// Claims sent.
    pub attempts: u64,
    /// Cancels sent.
    pub cancels: u64,
    /// From the end of the fault to the first new order (ms).
    pub first_order_ms: Option<u64>,
    /// From the first new order to all entries before it persisted (ms).
    pub drained_ms: Option<u64>,
    /// Of the requests that were sent during the fault (ms).
    pub p99_ms: u64,
    /// What the checker found.
    pub findings: Findings,
}

impl EventReport {
    /// Whether the fault fired, and every promise held.
    pub fn is_good(&self) -> bool {
        self.fired && self.findings.is_clean()
    }
}

/// Runs one event on a deployment that is at rest; leaves it at rest.
///
/// # Errors
/// [`ChaosError`] where the run itself fails. Broken promises are in the report.
pub async fn run(
    deployment: &mut Deployment,
    mut fault: Box<dyn Fault>,
    seed: u64,
    sale: &str,
) -> Result<EventReport, ChaosError> {
    let mut random = Rng::with_seed(seed);
    let mut scene =
        Scene { random: random.fork(), sales: vec![sale.to_owned()], injected: Injected::default() };
    let occasion = fault.occasion();
    deployment.open_sale_on(sale, &occasion.items(), occasion.terms(&mut random)).await?;
    fault.prepare(deployment, &mut scene).await?;
    let deadlocks_before = deadlocks(deployment);
    let path = deployment.dir().join(format!("{sale}.history.jsonl"));
    let log_from = now_as_entry();
    let history = HistoryFile::create(&path, Instant::now()).map_err(ChaosError::io("begin the history"))?;
    let history = Arc::new(history);
    let client = Client::new(deployment, history.clone());
    let watch = OversoldWatch::start(deployment.postgres_url(), sale.to_owned());
    let elsewhere = deployment.gateway.as_ref().filter(|_| occasion.has_checkout()).map(Gateway::checkout);
    let traffic = Traffic::start(&client, elsewhere, sale, occasion, &mut random);

    sleep_ms(random.u64(WARM_UP_MS)).await;
    let broken_at = history.now_us();
    let mut evidence = fault.inject(deployment, &mut scene).await?;
    sleep_ms(random.u64(fault.hold_ms())).await;
    evidence = joined(evidence, fault.heal(deployment, &mut scene).await?);
    let healed_at = history.now_us();
    wait_order_after(&path, healed_at).await?;
    let drained = drained_by(deployment).await;
    sleep_ms(random.u64(COOL_DOWN_MS)).await;
    traffic.finish().await.map_err(ChaosError::io("write the history"))?;
    let oversold_polls = watch.stop().await;

    if deployment.gateway.is_some() && random.bool() {
        // An operator who does not wait until what a dead worker had in hand counts as lost.
        deployment.nodes[0].command_line(&["payment", "retry", "--all"]).await?;
    }
    let mut stored = read_at_rest(deployment, &scene.sales, log_from).await?;
    stored.oversold_polls = oversold_polls;
    stored.deadlocks = deadlocks(deployment).saturating_sub(deadlocks_before);
    let history = read_history(&path)?;
    Ok(EventReport {
        kind: fault.kind().to_owned(),
        seed,
        sale: sale.to_owned(),
        fired: evidence.fired,
        evidence: evidence.what,
        attempts: history.attempts.len() as u64,
        cancels: history.cancels.len() as u64,
        first_order_ms: first_order_after(&history, healed_at).map(|at| (at - healed_at) / 1000),
        drained_ms: drained.map(|took| took.as_millis() as u64),
        p99_ms: p99_ms(&history, broken_at, healed_at),
        findings: check(&history, &stored, &scene.injected),
    })
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// The log's position by our own clock, a little early: entries of this event lie above it.
fn now_as_entry() -> EntryId {
    let ms = jiff::Timestamp::now().as_millisecond().max(1000).unsigned_abs() - 1000;
    EntryId { ms, seq: 0 }
}

fn joined(first: Evidence, second: Evidence) -> Evidence {
    let what: Vec<String> = [first.what, second.what].into_iter().filter(|what| !what.is_empty()).collect();
    Evidence { fired: first.fired || second.fired, what: what.join("; ") }
}

/// Waits for an order that was accepted after the fault; not for ever, since its absence is the checker's to tell.
async fn wait_order_after(path: &Path, healed_at: u64) -> Result<(), ChaosError> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let end = Instant::now() + PATIENCE;
    while first_order_after(&read_history(path)?, healed_at).is_none() && Instant::now() < end {
        sleep_ms(50).await;
    }
    Ok(())
}

fn read_history(path: &Path) -> Result<History, ChaosError> {
    History::read(path).map_err(ChaosError::io("read the history"))
}

/// When the first new order after a moment was told (µs).
fn first_order_after(history: &History, after_us: u64) -> Option<u64> {
    let orders =
        history.attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Order { new: true, .. }));
    orders.filter_map(|attempt| attempt.to_us).filter(|at| *at >= after_us).min()
}

fn p99_ms(history: &History, from_us: u64, to_us: u64) -> u64 {
    let within = history.attempts.iter().filter(|attempt| (from_us..to_us).contains(&attempt.from_us));
    let mut took: Vec<u64> =
        within.filter_map(|attempt| Some(attempt.to_us?.saturating_sub(attempt.from_us) / 1000)).collect();
    took.sort_unstable();
    took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1))).copied().unwrap_or(0)
}
