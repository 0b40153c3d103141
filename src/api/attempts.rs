//! How often a buyer may try. Counted on this node, in memory: a refused attempt must not cost Redis a write.
//!
//! Being over the rate does not end a claim: it may still find the order that it made before, and nothing else.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use governor::clock::DefaultClock;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::buyer::BuyerId;

/// The rate of one buyer at one node.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimits {
    /// Attempts a second, in the long run; `None`: no limit.
    pub per_second: Option<NonZeroU32>,
    /// Attempts at once.
    pub burst: NonZeroU32,
}

/// Counts attempts.
pub(super) struct Attempts {
    limiter: Option<RateLimiter<u64, RecentBuyers, DefaultClock>>,
    /// So that nobody can choose ids which share a set, and so make each other forgotten.
    seed: u64,
}

impl Attempts {
    pub fn new(limits: AttemptLimits) -> Self {
        let quota = limits.per_second.map(|rate| Quota::per_second(rate).allow_burst(limits.burst));
        let limiter = |quota| RateLimiter::new(quota, RecentBuyers::new(SETS), DefaultClock::default());
        Self { limiter: quota.map(limiter), seed: fastrand::u64(..) }
    }

    /// Counts one; `true` where it is one too many. Buyers are told apart by 64 bits of hash: two who share them
    /// share a rate.
    pub fn is_over(&self, buyer: &BuyerId) -> bool {
        let Some(limiter) = &self.limiter else { return false };
        limiter.check_key(&xxh3_64_with_seed(buyer.as_str().as_bytes(), self.seed)).is_err()
    }
}

/// Of buyers who are remembered: three in each, 4 MB in all.
const SETS: usize = 1 << 16;
const BUYERS_OF_A_SET: usize = 3;

/// The buyers of the last moments, in a table that does not grow: in a rush nearly every claim has a buyer of its own, and each
/// costs one line of the processor's cache. Where a set is full, the buyer who is the least over his rate is forgotten, and
/// so may try as if he had not; one who has been quiet for a moment is not over it at all.
struct RecentBuyers(Box<[Set]>);

#[derive(Default)]
#[repr(align(64))]
struct Set(Mutex<[Recent; BUYERS_OF_A_SET]>);

/// Zeroes are nobody.
#[derive(Clone, Copy, Default)]
struct Recent {
    buyer: u64,
    /// When his attempts are forgotten: the "theoretical arrival time" of the generic cell rate algorithm (ITU-T I.371).
    until: u64,
}

impl RecentBuyers {
    fn new(sets: usize) -> Self {
        Self(std::iter::repeat_with(Set::default).take(sets).collect())
    }
}

impl StateStore for RecentBuyers {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, buyer: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let set = &self.0[*buyer as usize % self.0.len()];
        let mut set = set.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().position(|recent| recent.buyer == *buyer);
        let (decided, until) = decide(known.map(|at| Nanos::new(set[at].until)))?;
        let least = || (0..BUYERS_OF_A_SET).min_by_key(|&at| set[at].until).unwrap_or_default();
        let at = known.unwrap_or_else(least);
        set[at] = Recent { buyer: *buyer, until: until.as_u64() };
        Ok(decided)
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

    #[test]
    fn whoever_tries_most_is_forgotten_last() {
        let set = RecentBuyers::new(1);
        let until = |buyer: u64| {
            let seen = std::cell::Cell::new(None);
            let _ = set.measure_and_replace(&buyer, |known| {
                seen.set(known.map(Nanos::as_u64));
                Err::<((), Nanos), ()>(())
            });
            seen.get()
        };
        for buyer in [30, 10, 20, 40] {
            set.measure_and_replace(&buyer, |known| {
                assert_eq!(known, None);
                Ok::<_, ()>(((), Nanos::new(buyer)))
            })
            .unwrap();
        }
        assert_eq!([10, 20, 30, 40].map(until), [None, Some(20), Some(30), Some(40)]);
    }

    #[test]
    fn a_set_is_one_line_of_the_cache() {
        assert_eq!(size_of::<Set>(), 64);
    }
}
