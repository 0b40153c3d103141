//! Why a stage cannot be set up.

use std::path::PathBuf;

use doorbuster::catalogue::StoreError;
use doorbuster::postgres::PgError;
use doorbuster::servers::ServersError;

/// Why a stage cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A private server.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// A binary is missing.
    #[error("{} is not built: run \"cargo build --release --workspace\"", .0.display())]
    NotBuilt(PathBuf),
    /// A process ended early.
    #[error("{name} ended ({status}); the end of its log:\n{tail}")]
    Ended {
        /// Which.
        name: &'static str,
        /// How.
        status: String,
        /// Last lines of its log.
        tail: String,
    },
    /// A process did not become ready.
    #[error("{0} was not ready in time: the machine may be overloaded")]
    NotReady(&'static str),
    /// The operating system.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The connection to Postgres.
    #[error(transparent)]
    Pool(#[from] PgError),
    /// Postgres.
    #[error("postgres: {}", doorbuster::postgres::error_chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The catalogue.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sale that the engine does not take.
    #[error("the sale is not taken: {0}")]
    Sale(String),
    /// Redis.
    #[error("redis: {0}")]
    Redis(#[from] doorbuster::redis::RedisError),
    /// Node's packages.
    #[error("npm ci failed in {}: {said}", dir.display())]
    Packages {
        /// Where.
        dir: PathBuf,
        /// What it said.
        said: String,
    },
}

impl StageError {
    pub(super) fn io(doing: &'static str, source: std::io::Error) -> Self {
        Self::Io { doing, source }
    }
}
