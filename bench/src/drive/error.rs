//! Why a case cannot be run to its end.

use crate::limits::LimitError;
use crate::load::LoadError;
use crate::stage::StageError;

/// Why a case cannot be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Servers and processes.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The load generator.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Somebody who was to watch.
    #[error("a sale cannot be watched: {0}")]
    Watch(#[from] std::io::Error),
    /// A task panicked.
    #[error("a task of the benchmark panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl DriveError {
    /// The engine refused what the case asks of it: this binary does not have it.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Stage(StageError::Ended { .. }))
    }
}
