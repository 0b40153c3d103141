//! What a run of load saw.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};

/// Width of a slot of the timelines.
pub const SLOT: Duration = Duration::from_millis(100);
/// The longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;

/// What a run of load saw.
#[derive(Debug)]
pub struct Tally {
    begin: Instant,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Claims that became orders, by the numbers in their keys.
    pub accepted: Numbers,
    /// Claims that were refused (409 or 422).
    pub refused: u64,
    /// Claims without a final answer when the run was over: each may be an order or not.
    pub open: u64,
    /// Requests sent again because their answer left the claim open.
    pub retried: u64,
    /// Requests that found no connection, or lost it, or waited too long.
    pub broken: u64,
    /// Answers that contradict an earlier one, in words; the first few.
    pub contradictions: Vec<String>,
    /// Of claims, from their intended time to their final answer, in microseconds.
    pub claim_us: Histogram<u64>,
    /// Of everything else.
    pub read_us: Histogram<u64>,
    /// Orders accepted in each [`SLOT`].
    pub accepted_slots: Vec<u32>,
    /// Answers in each [`SLOT`].
    pub answer_slots: Vec<u32>,
    /// From the beginning to the last order that was accepted.
    pub last_accepted: Duration,
    /// From the beginning to the last answer.
    pub last_answer: Duration,
}

/// A set of numbers, known by its size, sum and exclusive or.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u128,
    /// Their exclusive or.
    pub xor: u64,
}

impl Numbers {
    /// Adds one.
    pub fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum += u128::from(number);
        self.xor ^= number;
    }
}

impl Tally {
    /// # Errors
    /// Where the histogram refuses its bounds.
    pub(super) fn new(begin: Instant) -> Result<Self, CreationError> {
        // Three significant digits.
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX_US, 3);
        Ok(Self {
            begin,
            statuses: BTreeMap::new(),
            accepted: Numbers::default(),
            refused: 0,
            open: 0,
            retried: 0,
            broken: 0,
            contradictions: Vec::new(),
            claim_us: histogram()?,
            read_us: histogram()?,
            accepted_slots: Vec::new(),
            answer_slots: Vec::new(),
            last_accepted: Duration::ZERO,
            last_answer: Duration::ZERO,
        })
    }

    /// Answers received.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub(super) fn answered(&mut self, status: u16, now: Instant) {
        *self.statuses.entry(status).or_default() += 1;
        self.last_answer = now - self.begin;
        count_in(&mut self.answer_slots, self.last_answer);
    }

    pub(super) fn accept(&mut self, number: u64, now: Instant) {
        self.accepted.add(number);
        self.last_accepted = now - self.begin;
        count_in(&mut self.accepted_slots, self.last_accepted);
    }

    pub(super) fn contradict(&mut self, what: String) {
        if self.contradictions.len() < 5 {
            self.contradictions.push(what);
        }
    }

    /// Adds what another thread saw, from the same beginning; or another load, of which the times mean nothing then.
    pub fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.accepted.count += other.accepted.count;
        self.accepted.sum += other.accepted.sum;
        self.accepted.xor ^= other.accepted.xor;
        self.refused += other.refused;
        self.open += other.open;
        self.retried += other.retried;
        self.broken += other.broken;
        self.contradictions.extend(other.contradictions);
        self.claim_us += other.claim_us;
        self.read_us += other.read_us;
        add_slots(&mut self.accepted_slots, &other.accepted_slots);
        add_slots(&mut self.answer_slots, &other.answer_slots);
        self.last_accepted = self.last_accepted.max(other.last_accepted);
        self.last_answer = self.last_answer.max(other.last_answer);
    }
}

/// Records a latency; one above the bound counts as the bound.
pub(super) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US).max(1));
}

fn count_in(slots: &mut Vec<u32>, at: Duration) {
    let slot = (at.as_millis() / SLOT.as_millis()) as usize;
    if slots.len() <= slot {
        slots.resize(slot + 1, 0);
    }
    slots[slot] += 1;
}

fn add_slots(sum: &mut Vec<u32>, other: &[u32]) {
    if sum.len() < other.len() {
        sum.resize(other.len(), 0);
    }
    for (slot, more) in sum.iter_mut().zip(other) {
        *slot += more;
    }
}

/// A tally in which these claims were accepted, for the tests of who reads one.
#[cfg(test)]
pub fn tally_of(numbers: &[u64]) -> Tally {
    let begin = Instant::now();
    let mut tally = Tally::new(begin).unwrap();
    for number in numbers {
        tally.accept(*number, begin);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_threads_saw_is_one_tally() {
        let begin = Instant::now();
        let (mut one, mut two) = (Tally::new(begin).unwrap(), Tally::new(begin).unwrap());
        one.accept(5, begin + Duration::from_millis(50));
        two.accept(3, begin + Duration::from_millis(250));
        two.answered(503, begin);
        record(&mut two.claim_us, Duration::from_micros(700));
        record(&mut two.claim_us, Duration::from_secs(1_000_000));
        one.merge(two);
        assert_eq!(one.accepted, Numbers { count: 2, sum: 8, xor: 6 });
        assert_eq!(one.accepted_slots, [1, 0, 1]);
        assert_eq!(one.last_accepted, Duration::from_millis(250));
        assert_eq!((one.answers(), one.claim_us.len()), (1, 2));
    }
}
