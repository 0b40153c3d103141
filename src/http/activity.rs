//! What a connection is doing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

/// What the parts of one connection tell each other. HTTP/1.1 answers in order, so at most one request is in flight.
///
/// All of them run in the connection's task: but for the alarm the atomics are for the compiler.
pub(super) struct Activity {
    started: AtomicU64,
    answered: AtomicU64,
    awaits_bytes: AtomicBool,
    alarm: AtomicBool,
    /// Wakes the connection's task, which is always the same one.
    task: OnceLock<Waker>,
}

/// What the connection waits for beside its client has come: a timer, or the shutdown. Polling them would tell too, but the timer lies
/// in memory of its own, which by the next request the processor's cache has lost again, and the shutdown's channel takes a lock.
impl Wake for Activity {
    fn wake(self: Arc<Self>) {
        self.alarm.store(true, Relaxed);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Activity {
    /// Of a new connection, with the alarm set: what can set it is still to be polled for the first time.
    pub(super) fn new() -> Self {
        Self {
            started: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            awaits_bytes: AtomicBool::new(false),
            alarm: AtomicBool::new(true),
            task: OnceLock::new(),
        }
    }

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

    /// Whether it waits for bytes from the client, and so is told when they end. While it makes and writes an answer it does not,
    /// unless a body is still to come that the handler did not want.
    pub(super) fn set_awaits_bytes(&self, awaits_bytes: bool) {
        self.awaits_bytes.store(awaits_bytes, Relaxed);
    }

    pub(super) fn awaits_bytes(&self) -> bool {
        self.awaits_bytes.load(Relaxed)
    }

    /// Takes the alarm back, and gives a waker that sets it and wakes the connection's task.
    pub(super) fn alarm(self: &Arc<Self>, task: &Waker) -> Waker {
        self.alarm.store(false, Relaxed);
        self.task.get_or_init(|| task.clone());
        Waker::from(Arc::clone(self))
    }

    pub(super) fn has_alarm(&self) -> bool {
        self.alarm.load(Relaxed)
    }

    /// Which request it waits for, or for the rest of its head: how many came before. `None` while it has one in hand.
    pub(super) fn awaited_head(&self) -> Option<u64> {
        (self.awaits_bytes() && self.started() == self.answered()).then(|| self.started())
    }
}
