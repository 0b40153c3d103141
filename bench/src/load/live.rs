//! What a run has done so far, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that all threads of a run share. Added to once for each turn of a loop, so that they cost nothing.
#[derive(Debug, Default)]
pub struct Live {
    answers: AtomicU64,
    accepted: AtomicU64,
    claims_sent: AtomicU64,
}

impl Live {
    /// Answers received.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Orders accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, answers: u64, accepted: u64) {
        self.answers.fetch_add(answers, Ordering::Relaxed);
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
    }

    /// Takes one of `limit` claims; `false` where all are taken.
    pub(super) fn take_claim(&self, limit: u64) -> bool {
        self.claims_sent.fetch_add(1, Ordering::Relaxed) < limit
    }
}
