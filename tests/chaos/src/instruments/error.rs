//! What can go wrong with an instrument.

use doorbuster::servers::ServersError;

/// An instrument could not be built, or could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum InstrumentError {
    /// This machine or this user does not permit it: the fault is *not run*, which is neither good nor bad.
    #[error("{instrument} is not available here: {reason}")]
    Unavailable {
        /// Which instrument.
        instrument: &'static str,
        /// What is missing, for the operator.
        reason: String,
    },
    /// A command that the instrument is made of failed.
    #[error("cannot {doing}: {output}")]
    Command {
        /// What was attempted.
        doing: String,
        /// What the command printed.
        output: String,
    },
    /// Power cannot be lost under a process that runs on: it would write what it remembers.
    #[error("processes {pids:?} still use {what}: kill them first")]
    StillRunning {
        /// The processes.
        pids: Vec<u32>,
        /// What they use.
        what: String,
    },
    /// The shim lost count (its table was full, or a journal could not be written): the run proves nothing.
    #[error("the shim could not follow every file; its results are void")]
    LostCount,
    /// What was waited for did not come.
    #[error("not within {waited_ms} ms: {what}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long, in milliseconds.
        waited_ms: u128,
    },
    /// A private server could not be handled.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// A Redis or Sentinel did not answer as asked.
    #[error("Redis at {server}: {source}")]
    Redis {
        /// Its address.
        server: std::net::SocketAddr,
        /// The client's error.
        #[source]
        source: fred::error::Error,
    },
    /// A file, a socket or a process could not be handled.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl InstrumentError {
    /// Wraps a system error; `doing` completes "cannot …".
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Whether the instrument is merely not permitted here.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
