//! The claim path: what was decided, how fast, in which batches.

use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::histogram::{AtomicHistogram, Tally};
use super::register::Register;
use crate::claim::{ClaimError, Decision};

/// From half a millisecond to ten seconds.
const CLAIM_MICROS: &[u64] = &[
    500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];
const CALL_MICROS: &[u64] =
    &[250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 250_000, 1_000_000, 5_000_000];
const BATCH_CLAIMS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];

type Label = [(&'static str, &'static str); 1];

macro_rules! outcomes {
    ($($outcome:ident $name:literal,)+) => {
        /// How a claim ended on this node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Outcome { $(#[doc = $name] $outcome,)+ }

        impl Outcome {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$outcome),+];

            /// Its label.
            pub fn name(self) -> &'static str {
                match self { $(Self::$outcome => $name,)+ }
            }
        }
    };
}
outcomes! {
    Accepted "accepted", Duplicate "duplicate", KeyReused "key_reused", OverRate "over_rate",
    NotYetOpen "not_yet_open", Paused "paused", Closed "closed", LimitReached "limit_reached", SoldOut "sold_out",
    Insufficient "insufficient_stock", BacklogFull "backlog_full", Absent "absent", Fenced "fenced",
    Overloaded "overloaded", Refused "refused_by_redis", Indeterminate "indeterminate", Unreplicated "unreplicated", Unexpected "unexpected_reply",
}

impl Outcome {
    fn of(decided: &Result<Decision, ClaimError>) -> Self {
        match decided {
            Ok(Decision::Accepted(_)) => Self::Accepted,
            Ok(Decision::Duplicate(_)) => Self::Duplicate,
            Ok(Decision::KeyReused) => Self::KeyReused,
            Ok(Decision::OverRate) => Self::OverRate,
            Ok(Decision::NotYetOpen { .. }) => Self::NotYetOpen,
            Ok(Decision::Paused) => Self::Paused,
            Ok(Decision::Closed) => Self::Closed,
            Ok(Decision::LimitReached(_)) => Self::LimitReached,
            Ok(Decision::SoldOut(_)) => Self::SoldOut,
            Ok(Decision::Insufficient { .. }) => Self::Insufficient,
            Ok(Decision::BacklogFull) => Self::BacklogFull,
            Ok(Decision::Absent) => Self::Absent,
            Err(ClaimError::Fenced) => Self::Fenced,
            Err(ClaimError::Overloaded) => Self::Overloaded,
            Err(ClaimError::Refused(_)) => Self::Refused,
            Err(ClaimError::Indeterminate) => Self::Indeterminate,
            Err(ClaimError::Unreplicated) => Self::Unreplicated,
            Err(ClaimError::Unexpected(_)) => Self::Unexpected,
        }
    }
}

/// Counts the claim path.
#[derive(Clone, Debug)]
pub struct ClaimMetrics {
    outcomes: [Counter; Outcome::ALL.len()],
    seconds: AtomicHistogram,
    batch: AtomicHistogram,
    claim_call: AtomicHistogram,
    survey_call: AtomicHistogram,
}

impl ClaimMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        let outcomes: Family<Label, Counter> =
            register.add("claims", &["outcome"], "Claims by how this node answered them", Family::default());
        let calls: Family<Label, AtomicHistogram, fn() -> AtomicHistogram> = register.add(
            "claim_call_seconds",
            &["script"],
            "Time of one script call of the claim path, in seconds, fsync included",
            Family::new_with_constructor(|| AtomicHistogram::of_micros(CALL_MICROS)),
        );
        Self {
            // Made now, so that each is exported from the start, and no lock is taken later.
            outcomes: std::array::from_fn(|index| {
                outcomes.get_or_create_owned(&[("outcome", Outcome::ALL[index].name())])
            }),
            seconds: register.add(
                "claim_seconds",
                &[],
                "Time from handing a claim in on this node to its decision, in seconds",
                AtomicHistogram::of_micros(CLAIM_MICROS),
            ),
            batch: register.add(
                "claim_batch_claims",
                &[],
                "Claims in one call of claim.lua",
                AtomicHistogram::of_counts(BATCH_CLAIMS),
            ),
            claim_call: calls.get_or_create_owned(&[("script", "claim")]),
            survey_call: calls.get_or_create_owned(&[("script", "survey")]),
        }
    }

    /// Begins to count a batch whose decisions are there.
    pub fn tally(&self) -> BatchTally<'_> {
        BatchTally {
            metrics: self,
            now: Instant::now(),
            outcomes: [0; Outcome::ALL.len()],
            seconds: self.seconds.tally(),
        }
    }

    /// A call of claim.lua with so many claims.
    pub fn claim_called(&self, claims: usize, took: Duration) {
        self.batch.observe(claims as u64);
        self.claim_call.observe_time(took);
    }

    /// A call of survey.lua.
    pub fn survey_called(&self, took: Duration) {
        self.survey_call.observe_time(took);
    }

    /// How many claims ended so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }
}

/// The decisions of one batch, added when this is dropped.
#[derive(Debug)]
pub struct BatchTally<'a> {
    metrics: &'a ClaimMetrics,
    now: Instant,
    outcomes: [u64; Outcome::ALL.len()],
    seconds: Tally<'a>,
}

impl BatchTally<'_> {
    /// Counts the decision of a claim that was handed in at `since`.
    pub fn decided(&mut self, since: Instant, decision: &Result<Decision, ClaimError>) {
        self.outcomes[Outcome::of(decision) as usize] += 1;
        self.seconds.observe_time(self.now.saturating_duration_since(since));
    }
}

impl Drop for BatchTally<'_> {
    fn drop(&mut self) {
        for (counter, &count) in
            self.metrics.outcomes.iter().zip(&self.outcomes).filter(|(_, count)| **count > 0)
        {
            counter.inc_by(count);
        }
        self.seconds.add();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_batch_is_added_whole() {
        let metrics = Metrics::new();
        let mut tally = metrics.claims.tally();
        let since = Instant::now();
        tally.decided(since, &Ok(Decision::Paused));
        tally.decided(since, &Ok(Decision::Paused));
        tally.decided(since, &Err(ClaimError::Fenced));
        assert_eq!(metrics.claims.count(Outcome::Paused), 0);
        drop(tally);
        assert_eq!(metrics.claims.count(Outcome::Paused), 2);
        let text = metrics.text();
        for line in [
            "doorbuster_claims_total{outcome=\"paused\"} 2",
            "doorbuster_claims_total{outcome=\"fenced\"} 1",
            "doorbuster_claims_total{outcome=\"accepted\"} 0",
            "doorbuster_claim_seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn each_outcome_stands_where_its_number_says() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
