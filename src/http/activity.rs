//! What a connection is doing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

/// What the parts of one connection tell each other. HTTP/1.1 answers in order, so at most one request is in flight.
///
/// All of them run in the connection's task: but for the alarm the atomics are for the compiler.
#[derive(Default)]
pub(super) struct Activity {
    started: AtomicU64,
    answered: AtomicU64,
    reads: AtomicBool,
    alarm: AtomicBool,
    /// Wakes the connection's task, which is always the same one.
    task: OnceLock<Waker>,
}

/// A timer of the connection has ended. Polling it would tell too, but it lies in memory of its own, which by the next request the
/// processor's cache has lost again.
impl Wake for Activity {
    fn wake(self: Arc<Self>) {
        self.alarm.store(true, Relaxed);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
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

    /// A waker for a timer, that sets the alarm and wakes the connection's task.
    pub(super) fn alarm(self: &Arc<Self>, task: &Waker) -> Waker {
        self.alarm.store(false, Relaxed);
        self.task.get_or_init(|| task.clone());
        Waker::from(Arc::clone(self))
    }

    pub(super) fn has_alarm(&self) -> bool {
        self.alarm.load(Relaxed)
    }

    /// Whether it waits for a request, or for the rest of its head.
    pub(super) fn awaits_head(&self) -> bool {
        self.reads() && self.started() == self.answered()
    }
}
