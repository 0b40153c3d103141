//! What is sent next, and what an answer means. No I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::pace::Arrivals;
use super::request::{Accepted, Ask, NUMBERS_PER_THREAD};
use super::tally::{Tally, record};
use super::{End, Live, Mix};

/// Before an open claim is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long after the end open claims are sent again.
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// Orders of which some are asked for, or sent again.
const RECENT_MAX: usize = 1024;

/// One thing to be asked, until it has its final answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    pub ask: Ask,
    /// When it should have been sent for the first time.
    pub intended: Instant,
    tries: u32,
}

/// Where one thread is in its run.
#[derive(Debug)]
pub(super) struct Workload {
    mix: Mix,
    arrivals: Option<Arrivals>,
    claims_max: u64,
    end: Instant,
    next_number: u64,
    open: VecDeque<(Instant, Errand)>,
    recent: Vec<Accepted>,
    random: fastrand::Rng,
    pub tally: Tally,
}

impl Workload {
    pub(super) fn new(
        mix: Mix,
        arrivals: Option<Arrivals>,
        end: End,
        thread: usize,
        begin: Instant,
        tally: Tally,
    ) -> Self {
        let (claims_max, bound) = match end {
            End::After(time) => (u64::MAX, time),
            End::Claims { claims, within } => (claims, within),
        };
        Self {
            mix,
            arrivals,
            claims_max,
            end: begin + bound,
            next_number: thread as u64 * NUMBERS_PER_THREAD,
            open: VecDeque::new(),
            recent: Vec::with_capacity(RECENT_MAX),
            random: fastrand::Rng::with_seed(thread as u64 + 1),
            tally,
        }
    }

    /// What a free connection is to send now.
    pub(super) fn next(&mut self, now: Instant, live: &Live) -> Option<Errand> {
        if self.open.front().is_some_and(|(due, _)| *due <= now) {
            self.tally.retried += 1;
            return self.open.pop_front().map(|(_, errand)| errand);
        }
        let intended = match &mut self.arrivals {
            None => (now < self.end).then_some(now)?,
            // What was to arrive before the end is sent, however late: nothing that had to wait is left out.
            Some(arrivals) => {
                (arrivals.next() < self.end && now < self.end + SETTLE_MAX).then(|| arrivals.due(now))??
            }
        };
        let ask = self.draw(live)?;
        Some(Errand { ask, intended, tries: 0 })
    }

    fn draw(&mut self, live: &Live) -> Option<Ask> {
        let mix = self.mix;
        let drawn = match mix.again + mix.order + mix.sale {
            0 => 0,
            others => self.random.u32(0..mix.claim + others),
        };
        let recent = match self.recent.len() {
            0 => None,
            length => Some(self.recent[self.random.usize(0..length)]),
        };
        match recent {
            Some(order) if (mix.claim..mix.claim + mix.again).contains(&drawn) => Some(Ask::Again(order)),
            Some(order) if (mix.claim + mix.again..mix.claim + mix.again + mix.order).contains(&drawn) => {
                Some(Ask::Order(order))
            }
            _ if drawn >= mix.claim + mix.again + mix.order => Some(Ask::Sale { number: self.next_number }),
            _ if self.claims_max != u64::MAX && !live.take_claim(self.claims_max) => {
                // Nothing new from here on: only what is open is finished.
                self.end = Instant::now().min(self.end);
                self.arrivals = None;
                None
            }
            _ => {
                self.next_number += 1;
                Some(Ask::Claim { number: self.next_number })
            }
        }
    }

    /// Takes an answer in; whether an order was accepted by it.
    pub(super) fn answered(&mut self, errand: Errand, answer: &Answer, now: Instant) -> bool {
        self.tally.answered(answer.status, now);
        let status = answer.status;
        match errand.ask {
            Ask::Claim { number } => return self.claim_answered(errand, number, answer, now),
            Ask::Again(order) => match status {
                200 if answer.id == Some(order.id) => {}
                429 | 500..=599 => {}
                _ => self.tally.contradict(format!("a retry of an accepted claim was answered {status}")),
            },
            Ask::Order(_) if status == 404 => {
                self.tally.contradict("an accepted order was not found".to_owned());
            }
            Ask::Order(_) | Ask::Sale { .. } => {}
        }
        record(&mut self.tally.read_us, now - errand.intended);
        false
    }

    fn claim_answered(&mut self, errand: Errand, number: u64, answer: &Answer, now: Instant) -> bool {
        match answer.status {
            202 | 200 => {
                if answer.status == 200 && errand.tries == 0 {
                    self.tally.contradict("a key that is new was known".to_owned());
                }
                self.tally.accept(number, now);
                self.remember(number, answer);
            }
            429 | 500..=599 => {
                self.keep_open(errand, now);
                return false;
            }
            _ => self.tally.refused += 1,
        }
        record(&mut self.tally.claim_us, now - errand.intended);
        matches!(answer.status, 200 | 202)
    }

    fn remember(&mut self, number: u64, answer: &Answer) {
        if self.mix.again + self.mix.order == 0 {
            return;
        }
        let Some(id) = answer.id else { return };
        let accepted = Accepted { number, id };
        if self.recent.len() < RECENT_MAX {
            self.recent.push(accepted);
        } else {
            self.recent[self.random.usize(0..RECENT_MAX)] = accepted;
        }
    }

    /// No answer came: the connection broke, or the time is over.
    pub(super) fn unanswered(&mut self, errand: Errand, now: Instant) {
        self.tally.broken += 1;
        if let Ask::Claim { .. } = errand.ask {
            self.keep_open(errand, now);
        }
    }

    fn keep_open(&mut self, errand: Errand, now: Instant) {
        self.open.push_back((now + RETRY_PAUSE, Errand { tries: errand.tries + 1, ..errand }));
    }

    /// Whether nothing is left to be sent, given that `in_flight` errands have no answer yet.
    pub(super) fn is_over(&self, now: Instant, in_flight: usize) -> bool {
        let waiting = self.arrivals.as_ref().is_some_and(|arrivals| arrivals.next() < self.end);
        now >= self.end + SETTLE_MAX || now >= self.end && in_flight == 0 && self.open.is_empty() && !waiting
    }

    /// When something is due next.
    pub(super) fn wake(&self) -> Option<Instant> {
        let arrival = self.arrivals.as_ref().map(Arrivals::next).filter(|next| *next < self.end);
        let retry = self.open.front().map(|(due, _)| *due);
        arrival.into_iter().chain(retry).min()
    }

    /// What was seen; `in_flight` are the errands that have no answer.
    pub(super) fn finish(mut self, in_flight: impl Iterator<Item = Errand>) -> Tally {
        let waiting = self.open.iter().map(|(_, errand)| *errand);
        let open = waiting.chain(in_flight).filter(|errand| matches!(errand.ask, Ask::Claim { .. })).count();
        self.tally.open = open as u64;
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::OrderId;
    use super::*;

    fn workload(mix: Mix, end: End) -> (Workload, Instant) {
        let begin = Instant::now();
        (Workload::new(mix, None, end, 0, begin, Tally::new(begin).unwrap()), begin)
    }

    fn answer(status: u16) -> Answer {
        Answer { status, id: OrderId::of_location(b"/01K"), closes: false, length: 0 }
    }

    const SECOND: End = End::After(Duration::from_secs(1));

    #[test]
    fn an_open_claim_is_sent_again_with_its_number_until_it_is_decided() {
        let (mut load, begin) = workload(Mix::default(), SECOND);
        let live = Live::default();
        let first = load.next(begin, &live).unwrap();
        assert!(!load.answered(first, &answer(503), begin));
        assert!(matches!(load.next(begin, &live).unwrap().ask, Ask::Claim { number: 2 }));
        let later = begin + RETRY_PAUSE;
        let again = load.next(later, &live).unwrap();
        assert!(matches!(again.ask, Ask::Claim { number: 1 }));
        assert_eq!(again.intended, begin);
        assert!(load.answered(again, &answer(200), later));
        assert_eq!((load.tally.accepted.count, load.tally.retried), (1, 1));
        assert!(load.tally.contradictions.is_empty());
        assert_eq!(load.tally.claim_us.max() / 1000, 50);
    }

    #[test]
    fn what_contradicts_itself_is_noted() {
        let (mut load, begin) = workload(Mix { claim: 0, again: 1, order: 0, sale: 0 }, SECOND);
        let live = Live::default();
        let claim = load.next(begin, &live).unwrap();
        assert!(load.answered(claim, &answer(202), begin));
        for status in [202, 409, 422] {
            let again = load.next(begin, &live).unwrap();
            assert!(matches!(again.ask, Ask::Again(_)));
            load.answered(again, &answer(status), begin);
        }
        assert_eq!(load.tally.contradictions.len(), 3);
        let (mut load, begin) = workload(Mix::default(), SECOND);
        let claim = load.next(begin, &live).unwrap();
        load.answered(claim, &answer(200), begin);
        assert_eq!(load.tally.contradictions.len(), 1);
    }

    #[test]
    fn a_run_ends_when_its_claims_are_decided() {
        let (mut load, begin) =
            workload(Mix::default(), End::Claims { claims: 2, within: Duration::from_secs(9) });
        let live = Live::default();
        let one = load.next(begin, &live).unwrap();
        let two = load.next(begin, &live).unwrap();
        assert!(load.next(begin, &live).is_none());
        let now = Instant::now();
        assert!(!load.is_over(now, 2));
        load.answered(one, &answer(409), now);
        load.unanswered(two, now);
        assert!(!load.is_over(now, 0), "a claim is open");
        assert!(load.is_over(now + SETTLE_MAX + Duration::from_secs(9), 0));
        assert_eq!(load.finish(std::iter::empty()).open, 1);
    }

    #[test]
    fn an_arrival_before_the_end_is_sent_after_it() {
        let begin = Instant::now();
        let arrivals = Arrivals::new(10.0, begin, 3);
        let due = arrivals.next();
        let end = End::After(due - begin + Duration::from_millis(1));
        let mut load =
            Workload::new(Mix::default(), Some(arrivals), end, 0, begin, Tally::new(begin).unwrap());
        let late = due + Duration::from_secs(2);
        assert!(!load.is_over(late, 0));
        assert_eq!(load.next(late, &Live::default()).unwrap().intended, due);
    }
}
