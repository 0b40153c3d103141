//! What a connection is doing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What the parts of one connection tell each other. HTTP/1.1 answers in order, so at most one request is in flight.
///
/// All of them run in the connection's task: the atomics are for the compiler.
#[derive(Default)]
pub(super) struct Activity {
    started: AtomicU64,
    answered: AtomicU64,
    reads: AtomicBool,
}

impl Activity {
    pub(super) fn request_started(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// Its handler has answered; the answer need not be written yet.
    pub(super) fn request_answered(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// Requests whose head was read.
    pub(super) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }

    /// Those of them that their handler answered.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Whether it waits for bytes from the client, which it does not while it makes or writes an answer.
    pub(super) fn set_reads(&self, reads: bool) {
        self.reads.store(reads, Relaxed);
    }

    pub(super) fn reads(&self) -> bool {
        self.reads.load(Relaxed)
    }

    /// Whether it waits for a request, or for the rest of its head.
    pub(super) fn awaits_head(&self) -> bool {
        self.reads() && self.started() == self.answered()
    }
}
