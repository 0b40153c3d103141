//! Why a run could not go on. A broken promise is no error: it is a finding.

use doorbuster::catalogue::StoreError;
use doorbuster::redis::RedisError;
use doorbuster::servers::ServersError;

use crate::instruments::InstrumentError;

/// The run itself failed.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// A private server.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// An instrument: also one that this machine does not permit.
    #[error(transparent)]
    Instrument(#[from] InstrumentError),
    /// Postgres, asked by the test itself.
    #[error("postgres: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// Redis, asked by the test itself.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// A sale could not be made.
    #[error("catalogue: {0}")]
    Catalogue(#[from] StoreError),
    /// A file or a process.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The stand-in gateway, asked by the test itself.
    #[error("gateway: {0}")]
    Gateway(String),
    /// Something that must happen did not.
    #[error("not in time: {0}")]
    NotInTime(String),
    /// A test asked for what cannot be.
    #[error("{0}")]
    Setup(String),
}

impl ChaosError {
    /// Whether this machine merely does not permit what was asked: that is not run, and proves nothing.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Instrument(error) if error.is_unavailable())
    }

    /// For `map_err`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
