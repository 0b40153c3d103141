//! The loop of one thread, and the threads of a run.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::CreationError;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::{AsFd, AsRawFd};

use super::connection::{Connection, Progress};
use super::pace::Arrivals;
use super::request::Templates;
use super::tally::Tally;
use super::workload::Workload;
use super::{Live, LoadPlan, Pace};

/// How long an answer may take before the claim is sent again over a new connection.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often the connections are looked at for answers that take too long.
const SWEEP: Duration = Duration::from_millis(500);
const EVENTS_MAX: usize = 1024;
const TIMER: Token = Token(usize::MAX - 1);

/// A run of load that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Sockets, polling or timers.
    #[error("the load generator: {0}; look at the limit of open files (ulimit -n)")]
    Io(#[from] io::Error),
    /// The timer.
    #[error("the load generator's timer: {0}")]
    Timer(#[from] nix::Error),
    /// The histogram's bounds.
    #[error("the histogram of latencies: {0}")]
    Histogram(#[from] CreationError),
    /// A thread panicked.
    #[error("a thread of the load generator panicked")]
    Panicked,
}

/// Runs the load; blocks until every claim has its answer, or 20 s after the end.
///
/// # Errors
/// [`LoadError`].
pub fn run(plan: &LoadPlan, live: &Live) -> Result<Tally, LoadError> {
    let begin = Instant::now();
    let templates = Arc::new(Templates::new(plan.shop.clone(), plan.target.to_string()));
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let tallies: Vec<Result<Tally, LoadError>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let templates = &templates;
                scope.spawn(move || Thread::new(plan, templates, thread, threads, begin)?.run(live))
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or(Err(LoadError::Panicked))).collect()
    });
    let mut sum = Tally::new(begin)?;
    for tally in tallies {
        sum.merge(tally?);
    }
    Ok(sum)
}

struct Thread<'a> {
    plan: &'a LoadPlan,
    templates: &'a Templates,
    workload: Workload,
    poll: Poll,
    timer: TimerFd,
    /// What the timer is set to.
    timer_at: Option<Instant>,
    connections: Vec<Connection>,
    /// Connections without an errand.
    free: Vec<usize>,
    answers: u64,
    accepted: u64,
}

impl<'a> Thread<'a> {
    fn new(
        plan: &'a LoadPlan,
        templates: &'a Templates,
        thread: usize,
        threads: usize,
        begin: Instant,
    ) -> Result<Self, LoadError> {
        let poll = Poll::new()?;
        // poll itself waits in whole milliseconds: too coarse for arrivals.
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let descriptor = timer.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE)?;
        let count = plan.connections / threads + usize::from(thread < plan.connections % threads);
        let connections = (0..count)
            .map(|index| Connection::open(plan.target, Token(index), poll.registry()))
            .collect::<io::Result<Vec<_>>>()?;
        let arrivals = match plan.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => {
                let seed = u64::from(plan.shop.run) ^ (thread as u64) << 32;
                Some(Arrivals::new(per_second / threads as f64, begin, seed))
            }
        };
        let tally = Tally::new(begin)?;
        Ok(Self {
            plan,
            templates,
            workload: Workload::new(plan.mix, arrivals, plan.end, thread, begin, tally),
            poll,
            timer,
            timer_at: None,
            free: (0..connections.len()).collect(),
            connections,
            answers: 0,
            accepted: 0,
        })
    }

    fn run(mut self, live: &Live) -> Result<Tally, LoadError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut sweep_at = Instant::now() + SWEEP;
        loop {
            let now = Instant::now();
            self.send_due(now, live);
            let in_flight = self.connections.len() - self.free.len();
            if self.workload.is_over(now, in_flight) {
                break;
            }
            self.set_timer(now)?;
            match self.poll.poll(&mut events, Some(SWEEP)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    TIMER => {
                        // It rings once; the wait only takes the ring away.
                        let _ = self.timer.wait();
                        self.timer_at = None;
                    }
                    Token(index) => {
                        if event.is_writable() {
                            let progress = self.connections[index].writable();
                            self.advance(index, progress, live);
                        }
                        if event.is_readable() || event.is_error() {
                            let progress = self.connections[index].readable();
                            self.advance(index, progress, live);
                        }
                    }
                }
            }
            if Instant::now() >= sweep_at {
                self.sweep();
                sweep_at = Instant::now() + SWEEP;
            }
            live.add(std::mem::take(&mut self.answers), std::mem::take(&mut self.accepted));
        }
        live.add(self.answers, self.accepted);
        let in_flight = self.connections.iter().filter_map(|one| one.in_flight.map(|(errand, _)| errand));
        Ok(self.workload.finish(in_flight))
    }

    /// Gives every free connection what is due.
    fn send_due(&mut self, now: Instant, live: &Live) {
        while let Some(&index) = self.free.last() {
            let Some(errand) = self.workload.next(now, live) else { return };
            self.free.pop();
            let connection = &mut self.connections[index];
            self.templates.write(&errand.ask, &mut connection.out);
            if let Progress::Broken(lost) = connection.send(errand, now) {
                self.replace(index, lost);
            }
        }
    }

    /// Takes in what a connection came to, and gives it its next errand at once.
    fn advance(&mut self, index: usize, progress: Progress, live: &Live) {
        match progress {
            Progress::Waiting => {}
            Progress::Answered(errand, answer) => {
                let now = Instant::now();
                self.answers += 1;
                self.accepted += u64::from(self.workload.answered(errand, &answer, now));
                if answer.closes {
                    return self.replace(index, None);
                }
                match self.workload.next(now, live) {
                    None => self.free.push(index),
                    Some(next) => {
                        let connection = &mut self.connections[index];
                        self.templates.write(&next.ask, &mut connection.out);
                        if let Progress::Broken(lost) = connection.send(next, now) {
                            self.replace(index, lost);
                        }
                    }
                }
            }
            Progress::Broken(lost) => self.replace(index, lost),
        }
    }

    /// Makes a connection anew. One that had no errand is in the list of free ones already.
    fn replace(&mut self, index: usize, lost: Option<super::workload::Errand>) {
        if let Some(errand) = lost {
            self.workload.unanswered(errand, Instant::now());
        }
        // Where it cannot be made now, its next use fails and tries once more.
        let _ = self.connections[index].reopen(self.plan.target, self.poll.registry());
        if !self.free.contains(&index) {
            self.free.push(index);
        }
    }

    fn sweep(&mut self) {
        for index in 0..self.connections.len() {
            let late = |(_, sent): &(_, Instant)| sent.elapsed() > ANSWER_MAX;
            if self.connections[index].in_flight.as_ref().is_some_and(late)
                && let Progress::Broken(lost) = self.connections[index].broken()
            {
                self.replace(index, lost);
            }
        }
    }

    /// Sets the timer to what is due next, where a connection is free for it.
    fn set_timer(&mut self, now: Instant) -> Result<(), LoadError> {
        let wake = if self.free.is_empty() { None } else { self.workload.wake() };
        if wake == self.timer_at {
            return Ok(());
        }
        self.timer_at = wake;
        match wake {
            None => self.timer.unset()?,
            Some(at) => {
                // A timer of zero would be none at all.
                let wait = at.saturating_duration_since(now).max(Duration::from_nanos(1));
                let once = Expiration::OneShot(TimeSpec::from_duration(wait));
                self.timer.set(once, TimerSetTimeFlags::empty())?;
            }
        }
        Ok(())
    }
}
