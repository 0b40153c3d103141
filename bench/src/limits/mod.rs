//! What the parts could do alone: each figure of the engine is printed with its share of one of these.

mod copy;
mod script;
mod storage;

pub use copy::copy;
pub use script::{batch_script, redis_benchmark};
pub use storage::fdatasync;

use crate::stage::StageError;

/// A limit that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// Servers and processes.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Postgres.
    #[error("postgres: {}", doorbuster::postgres::error_chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// Files and processes.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The script's outcome is not what was sent.
    #[error("the claim script: {0}")]
    Script(String),
}
