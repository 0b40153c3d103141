//! Gathers the claims on one sale in one partition into batches.
//!
//! A batch grows only while a call is in flight: an idle system adds no wait, a busy one shares a script call, a
//! socket write and an fsync among many claims.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use crate::catalogue::SaleId;
use crate::claim::buyers::KnownBuyers;
use crate::claim::queue::{Entrance, Exit, queue};
use crate::claim::{
    BATCH_LINES_MAX, Batch, BuyersWithOrders, Claim, ClaimError, Decider, Decision, Decisions, Survey,
};
use crate::faults::crash_point;
use crate::gate::Gate;
use crate::metrics::ClaimMetrics;
use crate::redis::{Keys, SaleKeys, StampedScripts};

/// How long a batch that met the fence waits for the next opening: about as long as one takes that has to wait out the
/// lease of a Redis that was restarted.
const REOPENING_WAIT: Duration = Duration::from_secs(1);
/// Openings that a batch may meet.
const OPENINGS_MAX: usize = 3;

/// Bounds of an intake.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    /// Claims in one call.
    pub batch_max: usize,
    /// Calls in flight.
    pub calls_max: usize,
    /// Claims that may wait.
    pub queue_max: usize,
    /// How long a claim may wait for its turn.
    pub wait_max: Duration,
    /// Log entries not yet persisted, above which nothing is accepted.
    pub backlog_max: u64,
}

/// Where a node hands in its claims on one sale in one partition.
#[derive(Clone)]
pub struct Intake {
    entrance: Arc<Entrance<Waiting>>,
    metrics: ClaimMetrics,
}

struct Waiting {
    /// Shared with whoever waits for the decision.
    claim: Arc<Claim>,
    since: Instant,
    reply: oneshot::Sender<Result<Decision, ClaimError>>,
}

impl Intake {
    /// Starts the task that makes the calls. It ends, after its last claim, when every `Intake` is dropped.
    pub fn start(
        decider: impl Into<Decider>,
        gate: Gate,
        sale: &SaleId,
        limits: IntakeLimits,
        metrics: ClaimMetrics,
    ) -> Self {
        let decider = decider.into();
        let (entrance, exit) = queue(limits.queue_max);
        let keys = Keys::new(gate.partition());
        let sale = keys.sale(sale);
        tokio::spawn(run(
            exit,
            limits,
            Arc::new(CallTarget {
                closed_since: Mutex::new(None),
                decider,
                gate,
                keys,
                sale,
                backlog_max: limits.backlog_max,
                refusing: AtomicBool::new(false),
                known_buyers: KnownBuyers::default(),
                metrics: metrics.clone(),
            }),
        ));
        Self { entrance: Arc::new(entrance), metrics }
    }

    /// Hands in a claim. It is decided even if the caller goes away after it was sent; one that nobody waits
    /// for any more is dropped before.
    ///
    /// # Errors
    /// [`ClaimError`]: without a decision; `Indeterminate` may have become an order.
    pub async fn decide(&self, claim: impl Into<Arc<Claim>>) -> Result<Decision, ClaimError> {
        let (reply, decision) = oneshot::channel();
        let waiting = Waiting { claim: claim.into(), since: Instant::now(), reply };
        if let Err(waiting) = self.entrance.put(waiting) {
            answer_all(&self.metrics, [waiting], &ClaimError::Overloaded);
            return Err(ClaimError::Overloaded);
        }
        decision.await.unwrap_or(Err(ClaimError::Indeterminate))
    }
}

struct CallTarget {
    /// When claims first found the partition closed since it was last seen open.
    closed_since: Mutex<Option<Instant>>,
    decider: Decider,
    gate: Gate,
    keys: Keys,
    sale: SaleKeys,
    backlog_max: u64,
    /// The last batch was refused whole, as a survey would have: the next one will be, most likely.
    refusing: AtomicBool,
    known_buyers: KnownBuyers,
    metrics: ClaimMetrics,
}

async fn run(queue: Exit<Waiting>, limits: IntakeLimits, target: Arc<CallTarget>) {
    let mut waiting = Vec::with_capacity(limits.batch_max);
    let mut calls = FuturesUnordered::new();
    loop {
        queue.fill(&mut waiting, limits.batch_max);
        // No timer for each claim: a call in flight ends in bounded time, and its end is a wake-up.
        let late = waiting.iter().take_while(|one| one.since.elapsed() > limits.wait_max).count();
        answer_all(&target.metrics, waiting.drain(..late), &ClaimError::Overloaded);
        // A loop, since a batch without a call (nobody waits for it any more) brings no wake-up for the rest.
        while calls.len() < limits.calls_max && waiting.len() >= limits.worth_a_call(calls.len()) {
            send_batch(&mut waiting, &target, &calls);
            queue.fill(&mut waiting, limits.batch_max);
        }
        let wanted = limits.worth_a_call(calls.len()).saturating_sub(waiting.len());
        tokio::select! {
            more = queue.wait_for(wanted), if calls.len() < limits.calls_max => if !more { break },
            Some(()) = calls.next(), if !calls.is_empty() => {}
        }
    }
    loop {
        queue.fill(&mut waiting, limits.batch_max);
        if waiting.is_empty() && calls.is_empty() {
            return;
        }
        if calls.len() < limits.calls_max && !waiting.is_empty() {
            send_batch(&mut waiting, &target, &calls);
        }
        calls.next().await;
    }
}

impl IntakeLimits {
    /// Claims that make one more call worth while beside those in flight.
    fn worth_a_call(&self, in_flight: usize) -> usize {
        if in_flight == 0 { 1 } else { (self.batch_max / 2).max(1) }
    }
}

type Calls = FuturesUnordered<futures_util::future::BoxFuture<'static, ()>>;

fn send_batch(waiting: &mut Vec<Waiting>, target: &Arc<CallTarget>, calls: &Calls) {
    let mut lines = 0;
    let taken = waiting.iter().take_while(|one| {
        lines += one.claim.lines.len();
        lines <= BATCH_LINES_MAX
    });
    let taken = taken.count();
    let mut batch: Vec<Waiting> = waiting.drain(..taken).collect();
    // Undecided, and nobody to tell: not sent.
    batch.retain(|one| !one.reply.is_closed());
    if batch.is_empty() {
        return;
    }
    match target.gate.open().filter(|_| target.decider.redis().is_connected()) {
        Some(scripts) => calls.push(Box::pin(call(target.clone(), scripts, batch))),
        None => match target.may_open_within() {
            Some(wait) => calls.push(Box::pin(call_when_open(target.clone(), wait, batch))),
            None => answer_all(&target.metrics, batch, &ClaimError::Fenced),
        },
    }
}

/// A partition that is being opened anew costs buyers a short wait, not an error.
async fn call_when_open(target: Arc<CallTarget>, wait: Duration, batch: Vec<Waiting>) {
    match tokio::time::timeout(wait, target.gate.clone().wait_open()).await {
        Ok(scripts) => call(target, scripts, batch).await,
        Err(_) => answer_all(&target.metrics, batch, &ClaimError::Fenced),
    }
}

impl CallTarget {
    fn closed_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.closed_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long an opening is worth waiting for; `None` where it is long overdue: then everyone is told at once.
    fn may_open_within(&self) -> Option<Duration> {
        let since = *self.closed_since().get_or_insert_with(Instant::now);
        REOPENING_WAIT.checked_sub(since.elapsed()).filter(|_| self.decider.redis().is_connected())
    }
}

async fn call(target: Arc<CallTarget>, scripts: Arc<StampedScripts>, mut batch: Vec<Waiting>) {
    *target.closed_since() = None;
    if target.refusing.load(Ordering::Relaxed) {
        batch = refuse(&target, &scripts, batch).await;
        if batch.is_empty() {
            return;
        }
    }
    match decide(&target, scripts, &batch).await {
        Ok(mut decisions) => {
            let (mut accepted, mut refusable) = (false, false);
            let mut tally = target.metrics.tally();
            for one in batch {
                let decision = decisions.next(&one.claim);
                tally.decided(one.since, &decision);
                accepted |= matches!(decision, Ok(Decision::Accepted(_)) | Err(ClaimError::Unreplicated));
                refusable |= decision.as_ref().is_ok_and(Survey::could_tell);
                let _ = one.reply.send(decision);
            }
            target.refusing.store(refusable && !accepted, Ordering::Relaxed);
            if accepted {
                target.known_buyers.forget();
            }
        }
        Err(error) => {
            match &error {
                ClaimError::Refused(_) | ClaimError::Unexpected(_) => {
                    tracing::error!(%error, claims = batch.len(), "a batch was not decided");
                }
                _ => tracing::debug!(%error, claims = batch.len(), "a batch was not decided"),
            }
            answer_all(&target.metrics, batch, &error);
        }
    }
}

/// Refuses whom a survey can refuse, and gives back the others.
async fn refuse(
    target: &Arc<CallTarget>,
    scripts: &Arc<StampedScripts>,
    batch: Vec<Waiting>,
) -> Vec<Waiting> {
    let called = Instant::now();
    let survey = survey(target, scripts, &batch).await;
    target.metrics.survey_called(called.elapsed());
    // Without a survey the claims are decided as if there were none: that call meets the same fault, and knows it.
    let Ok(survey) = survey else { return batch };
    let mut others = Vec::new();
    let mut tally = target.metrics.tally();
    for (index, one) in batch.into_iter().enumerate() {
        match survey.refusal(index, &one.claim) {
            Some(refusal) => {
                let refusal = Ok(refusal);
                tally.decided(one.since, &refusal);
                drop(one.reply.send(refusal));
            }
            None => others.push(one),
        }
    }
    others
}

/// Looks at the sale, by the buyers' names or, where this node knows who has orders, without them.
async fn survey(
    target: &Arc<CallTarget>,
    scripts: &Arc<StampedScripts>,
    batch: &[Waiting],
) -> Result<Survey, ClaimError> {
    let claims = batch.iter().map(|one| &*one.claim);
    let (redis, keys, sale) = (target.decider.redis(), &target.keys, &target.sale);
    if let Some(known) = target.known_buyers.list() {
        if let Some(survey) = Survey::take_knowing(claims.clone(), &known, redis, scripts, keys, sale).await?
        {
            return Ok(survey);
        }
        target.known_buyers.forget();
    }
    let survey = Survey::take(claims, redis, scripts, keys, sale).await?;
    if target.known_buyers.is_worth_reading(&scripts.stamp, &survey) {
        tokio::spawn(read_buyers(target.clone(), scripts.clone()));
    }
    Ok(survey)
}

async fn read_buyers(target: Arc<CallTarget>, scripts: Arc<StampedScripts>) {
    let redis = target.decider.redis();
    match BuyersWithOrders::read(redis, &scripts, &target.keys.meta, &target.sale).await {
        Ok(Some(list)) => target.known_buyers.keep(list),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "the buyers of a sale were not read"),
    }
}

/// Calls the script. A refusal by the fence decided nothing, so the batch may be sent again under the stamp of a later
/// opening: a keeper that changes hands costs buyers a short wait, not an error.
async fn decide(
    target: &CallTarget,
    mut scripts: Arc<StampedScripts>,
    batch: &[Waiting],
) -> Result<Decisions, ClaimError> {
    let mut gate = target.gate.clone();
    for _ in 0..OPENINGS_MAX {
        let arguments = Batch::new(batch.iter().map(|one| &*one.claim), target.backlog_max);
        crash_point!("claim_before_call");
        let called = Instant::now();
        let decided = target.decider.decide(arguments, &scripts, &target.keys, &target.sale).await;
        crash_point!("claim_before_reply");
        target.metrics.claim_called(batch.len(), called.elapsed());
        if !matches!(decided, Err(ClaimError::Fenced)) {
            return decided;
        }
        gate.refused(&scripts.stamp);
        match tokio::time::timeout(REOPENING_WAIT, gate.wait_other_than(&scripts.stamp)).await {
            Ok(newer) => scripts = newer,
            Err(_) => break,
        }
    }
    Err(ClaimError::Fenced)
}

fn answer_all(metrics: &ClaimMetrics, batch: impl IntoIterator<Item = Waiting>, error: &ClaimError) {
    let mut tally = None;
    for one in batch {
        let answer = Err(error.clone());
        tally.get_or_insert_with(|| metrics.tally()).decided(one.since, &answer);
        let _ = one.reply.send(answer);
    }
}
