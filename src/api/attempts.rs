//! How often a buyer may try. Counted on this node, in memory: a refused attempt must not cost Redis a write.
//!
//! Being over the rate does not end a claim: it may still find the order that it made before, and nothing else.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use xxhash_rust::xxh3::xxh3_64;

use crate::already_hashed::BuildAsItIs;
use crate::buyer::BuyerId;

/// The rate of one buyer at one node.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimits {
    /// Attempts a second, in the long run; `None`: no limit.
    pub per_second: Option<NonZeroU32>,
    /// Attempts at once.
    pub burst: NonZeroU32,
}

/// Buyers whose recent attempts are remembered, before those who are quiet are forgotten.
const SWEEP_EVERY: u32 = 100_000;

type Store = DashMapStateStore<u64, BuildAsItIs>;
type Limiter = RateLimiter<u64, Store, DefaultClock>;

/// Counts attempts.
pub(super) struct Attempts {
    limiter: Option<Limiter>,
    since_sweep: AtomicU32,
}

impl Attempts {
    pub fn new(limits: AttemptLimits) -> Self {
        let quota = limits.per_second.map(|rate| Quota::per_second(rate).allow_burst(limits.burst));
        Self {
            limiter: quota.map(|quota| RateLimiter::dashmap_with_hasher(quota, BuildAsItIs::default())),
            since_sweep: AtomicU32::new(0),
        }
    }

    /// Counts one; `true` where it is one too many. Buyers are told apart by 64 bits of hash: two who share them
    /// share a rate.
    pub fn is_over(&self, buyer: &BuyerId) -> bool {
        let Some(limiter) = &self.limiter else { return false };
        if self.since_sweep.fetch_add(1, Ordering::Relaxed) == SWEEP_EVERY {
            limiter.retain_recent();
            self.since_sweep.store(0, Ordering::Relaxed);
        }
        limiter.check_key(&xxh3_64(buyer.as_str().as_bytes())).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_buyer_has_a_rate_of_its_own() {
        let attempts = Attempts::new(AttemptLimits {
            per_second: NonZeroU32::new(1),
            burst: NonZeroU32::new(3).unwrap(),
        });
        let (alice, bob) = (BuyerId::parse(b"alice").unwrap(), BuyerId::parse(b"bob").unwrap());
        assert!((0..3).all(|_| !attempts.is_over(&alice)));
        assert!(attempts.is_over(&alice));
        assert!(!attempts.is_over(&bob));
        let unlimited = Attempts::new(AttemptLimits { per_second: None, burst: NonZeroU32::MIN });
        assert!((0..100).all(|_| !unlimited.is_over(&alice)));
    }
}
