//! Background tasks outlive their bugs.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Before a task that panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Runs a task until `stop`, and again where it panicked: a bug that one entry meets must not leave a partition without
/// its keeper.
pub(crate) async fn supervise<F>(what: &'static str, stop: CancellationToken, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Aborted with its supervisor, where a node is dropped instead of stopped.
    while let Err(panic) = AbortOnDropHandle::new(tokio::spawn(start())).await {
        tracing::error!(%panic, "a {what} panicked; it is started again");
        if stop.is_cancelled() {
            return;
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[derive(Clone, Default)]
    struct Counts {
        started: Arc<AtomicU32>,
        dropped: Arc<AtomicU32>,
    }

    struct Running(Arc<AtomicU32>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    impl Counts {
        /// Panics until it was started `starts` times, then works until `stop`.
        fn task(
            &self,
            starts: u32,
            stop: &CancellationToken,
        ) -> impl Fn() -> futures_util::future::BoxFuture<'static, ()> + use<> {
            let (counts, stop) = (self.clone(), stop.clone());
            move || {
                let (counts, stop) = (counts.clone(), stop.clone());
                Box::pin(async move {
                    let _running = Running(counts.dropped.clone());
                    let started = counts.started.fetch_add(1, SeqCst) + 1;
                    tokio::task::yield_now().await;
                    assert!(started >= starts, "a bug");
                    stop.cancelled().await;
                })
            }
        }

        async fn until_started(&self, times: u32) {
            let begun = std::time::Instant::now();
            while self.started.load(SeqCst) < times {
                assert!(begun.elapsed() < PATIENCE, "it is not started again");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_and_ends_with_the_node() {
        let (counts, stop) = (Counts::default(), CancellationToken::new());
        let supervisor = tokio::spawn(supervise("task", stop.clone(), counts.task(3, &stop)));
        counts.until_started(3).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((counts.started.load(SeqCst), counts.dropped.load(SeqCst)), (3, 2), "the third one works");
        stop.cancel();
        tokio::time::timeout(PATIENCE, supervisor).await.expect("it does not end").unwrap();
        assert_eq!(counts.started.load(SeqCst), 3, "what ends in order is not started again");
    }

    #[tokio::test]
    async fn a_task_that_panics_as_it_stops_is_left_alone() {
        let (counts, stop) = (Counts::default(), CancellationToken::new());
        stop.cancel();
        let all = supervise("task", stop.clone(), counts.task(u32::MAX, &stop));
        tokio::time::timeout(PATIENCE, all).await.expect("it does not end");
        assert_eq!(counts.started.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a_task_ends_with_its_supervisor() {
        let (counts, stop) = (Counts::default(), CancellationToken::new());
        let supervisor = tokio::spawn(supervise("task", stop.clone(), counts.task(1, &stop)));
        counts.until_started(1).await;
        supervisor.abort();
        let begun = std::time::Instant::now();
        while counts.dropped.load(SeqCst) == 0 {
            assert!(begun.elapsed() < PATIENCE, "it works on without a supervisor");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
