//! Where claims wait for a call: many put them in, one task takes them out.
//!
//! A channel would wake that task for each claim. This one is told how many make it worth waking. While all calls are in flight
//! the task does not wait here: it comes by itself when one of them ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// So many find room without an allocation when all were taken; what a rush needed beyond that is given back.
const ROOM_KEPT: usize = 1024;

/// A queue of at most `max`.
pub(super) fn queue<T>(max: usize) -> (Entrance<T>, Exit<T>) {
    let state = State { waiting: VecDeque::new(), closed: false, sleeper: None };
    let queue = Arc::new(Queue { state: Mutex::new(state), max });
    (Entrance(queue.clone()), Exit(queue))
}

/// Where they are put in. When it is dropped, no more come.
pub(super) struct Entrance<T>(Arc<Queue<T>>);

/// Where they are taken out. When it is dropped, what waits is dropped, and no more are let in.
pub(super) struct Exit<T>(Arc<Queue<T>>);

struct Queue<T> {
    state: Mutex<State<T>>,
    max: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// One of the two sides is gone.
    closed: bool,
    /// Who sleeps at the exit, and how many have to wait for it to wake.
    sleeper: Option<(usize, Waker)>,
}

impl<T> Queue<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Wakes the sleeper, where it has waited for this, once the lock is free.
    fn release(mut state: MutexGuard<'_, Self>) {
        let (waiting, closed) = (state.waiting.len(), state.closed);
        let sleeper = state.sleeper.take_if(|(wanted, _)| closed || waiting >= *wanted);
        drop(state);
        if let Some((_, sleeper)) = sleeper {
            sleeper.wake();
        }
    }
}

impl<T> Entrance<T> {
    /// Puts one in, or gives it back: the queue is full, or nobody takes out any more.
    pub fn put(&self, one: T) -> Result<(), T> {
        let mut state = self.0.state();
        if state.closed || state.waiting.len() >= self.0.max {
            return Err(one);
        }
        state.waiting.push_back(one);
        State::release(state);
        Ok(())
    }
}

impl<T> Drop for Entrance<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        State::release(state);
    }
}

impl<T> Exit<T> {
    /// Takes those that have waited longest, until `taken` holds `most`.
    pub fn fill(&self, taken: &mut Vec<T>, most: usize) {
        let mut state = self.0.state();
        let count = most.saturating_sub(taken.len()).min(state.waiting.len());
        taken.extend(state.waiting.drain(..count));
        if state.waiting.is_empty() {
            state.waiting.shrink_to(ROOM_KEPT);
        }
    }

    /// Waits until `wanted` wait: true. False once no more come, however many wait.
    pub async fn wait_for(&self, wanted: usize) -> bool {
        poll_fn(|context| {
            let mut state = self.0.state();
            if state.closed {
                return Poll::Ready(false);
            }
            if state.waiting.len() >= wanted {
                return Poll::Ready(true);
            }
            state.sleeper = Some((wanted, context.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Exit<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Context;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn the_sleeper_is_woken_once_by_as_many_as_it_wants() {
        let (entrance, exit) = queue(10);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        assert_eq!(pin!(exit.wait_for(3)).poll(&mut context), Poll::Pending);
        let woken_by: Vec<usize> = (1..=5)
            .map(|one| {
                entrance.put(one).unwrap();
                wakes.0.load(SeqCst)
            })
            .collect();
        assert_eq!(woken_by, [0, 0, 1, 1, 1]);
        assert_eq!(pin!(exit.wait_for(3)).poll(&mut context), Poll::Ready(true));
        let mut taken = vec![0];
        exit.fill(&mut taken, 5);
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        assert_eq!(pin!(exit.wait_for(2)).poll(&mut context), Poll::Pending);
        drop(entrance);
        assert_eq!(wakes.0.load(SeqCst), 2);
        assert_eq!(pin!(exit.wait_for(2)).poll(&mut context), Poll::Ready(false));
        exit.fill(&mut taken, 9);
        assert_eq!(taken, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn it_is_bounded_and_keeps_nothing_that_nobody_takes() {
        let (entrance, exit) = queue(2);
        let one = Arc::new(());
        assert!(entrance.put(one.clone()).is_ok() && entrance.put(one.clone()).is_ok());
        assert!(entrance.put(one.clone()).is_err());
        drop(exit);
        assert_eq!(Arc::strong_count(&one), 1);
        assert!(entrance.put(one.clone()).is_err());
    }
}
