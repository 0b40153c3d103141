//! What a proxy may do, what it has done, and which request is next to lose its reply.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a proxy treats what passes through it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// Passes everything on at once.
    Pass,
    /// Passes everything on, each direction late by its time; the rate stays the same.
    Delay {
        /// From client to server.
        requests: Duration,
        /// From server to client.
        replies: Duration,
    },
    /// Delivers nothing either way and closes nothing. What was sent meanwhile is delivered when this ends, as TCP
    /// would send it again after a partition; [`cut`](super::Proxy::cut) before the end loses it.
    Blackhole,
    /// Closes the port: new connections are refused, existing ones go on.
    Refuse,
    /// Of each thing that a client sends, with the probability `fraction`: closes the connection, half the times
    /// before the server got it and half the times after, with the reply lost.
    Unreliable {
        /// 0 to 1.
        fraction: f64,
        /// The same seed makes the same decisions in the same order.
        seed: u64,
    },
    /// Passes so many bytes a second on each connection and direction.
    Throttle {
        /// Bytes per second.
        bytes_per_s: u32,
    },
}

/// What a proxy has done: the evidence that a fault was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed by [`cut`](super::Proxy::cut).
    pub cut: u64,
    /// Pieces delivered late, by delay, hole or throttle.
    pub late: u64,
    /// Requests dropped before the server got them.
    pub requests_lost: u64,
    /// Requests that the server got and answered, and whose reply was dropped.
    pub replies_lost: u64,
    /// Bytes from clients delivered to the server.
    pub bytes_in: u64,
    /// Bytes from the server delivered to clients.
    pub bytes_out: u64,
}

/// [`ProxyCounts`] while they grow.
#[derive(Default)]
pub(super) struct Counters {
    pub accepted: AtomicU64,
    pub cut: AtomicU64,
    pub late: AtomicU64,
    pub requests_lost: AtomicU64,
    pub replies_lost: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> ProxyCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProxyCounts {
            accepted: of(&self.accepted),
            cut: of(&self.cut),
            late: of(&self.late),
            requests_lost: of(&self.requests_lost),
            replies_lost: of(&self.replies_lost),
            bytes_in: of(&self.bytes_in),
            bytes_out: of(&self.bytes_out),
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What becomes of one piece of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes.
    Passes,
    /// It is dropped and the connection closed.
    RequestLost,
    /// It passes; its reply is dropped and the connection closed.
    ReplyLost,
}

/// Which requests lose their replies.
pub(super) struct Losses {
    remaining: u32,
    containing: Vec<u8>,
    random: fastrand::Rng,
}

impl Default for Losses {
    fn default() -> Self {
        Self { remaining: 0, containing: Vec::new(), random: fastrand::Rng::with_seed(0) }
    }
}

impl Losses {
    pub(super) fn arm(&mut self, requests: u32, containing: &[u8]) {
        self.remaining = requests;
        self.containing = containing.to_vec();
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.random = fastrand::Rng::with_seed(seed);
    }

    /// Decides over a piece. `tail` is the end of what its connection sent before, and is moved on: the bytes looked
    /// for may lie across two pieces.
    pub(super) fn decide(&mut self, behaviour: Behaviour, piece: &[u8], tail: &mut Vec<u8>) -> Fate {
        if self.matches(piece, tail) {
            self.remaining -= 1;
            return Fate::ReplyLost;
        }
        match behaviour {
            Behaviour::Unreliable { fraction, .. } if self.random.f64() < fraction => {
                if self.random.bool() {
                    Fate::RequestLost
                } else {
                    Fate::ReplyLost
                }
            }
            _ => Fate::Passes,
        }
    }

    fn matches(&self, piece: &[u8], tail: &mut Vec<u8>) -> bool {
        if self.remaining == 0 || self.containing.is_empty() {
            tail.clear();
            return self.remaining > 0;
        }
        tail.extend_from_slice(piece);
        let found = tail.windows(self.containing.len()).any(|window| window == self.containing);
        let keep = tail.len().min(self.containing.len() - 1);
        tail.drain(..tail.len() - keep);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_requests_that_match_lose_their_replies() {
        let (mut losses, mut tail) = (Losses::default(), Vec::new());
        assert_eq!(losses.decide(Behaviour::Pass, b"COMMIT", &mut tail), Fate::Passes);
        losses.arm(1, b"COMMIT");
        for (piece, fate) in [("BEGIN", Fate::Passes), ("COM", Fate::Passes), ("MIT", Fate::ReplyLost)] {
            assert_eq!(losses.decide(Behaviour::Pass, piece.as_bytes(), &mut tail), fate, "{piece}");
        }
        assert_eq!(losses.decide(Behaviour::Pass, b"COMMIT", &mut tail), Fate::Passes);
        losses.arm(1, b"");
        assert_eq!(losses.decide(Behaviour::Pass, b"anything", &mut tail), Fate::ReplyLost);
    }

    #[test]
    fn a_seed_repeats_its_losses() {
        let fates = |seed| {
            let (mut losses, mut tail) = (Losses::default(), Vec::new());
            losses.seed(seed);
            let behaviour = Behaviour::Unreliable { fraction: 0.5, seed };
            (0..200).map(|_| losses.decide(behaviour, b"x", &mut tail)).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        for fate in [Fate::Passes, Fate::RequestLost, Fate::ReplyLost] {
            assert!(fates(1).iter().filter(|found| **found == fate).count() > 20, "{fate:?}");
        }
    }
}
