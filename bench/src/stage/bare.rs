//! The bare hyper server.

use std::net::SocketAddr;
use std::path::Path;

use super::process::Launch;
use super::{Process, StageError, free_address, get_status, sibling, temporary_dir, wait_until};

/// A bare hyper server that reads a claim and answers a fixed refusal.
pub struct Bare {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
    _dir: tempfile::TempDir,
}

impl Bare {
    /// Starts it.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn start(base: &Path) -> Result<Self, StageError> {
        let (dir, address) = (temporary_dir(base)?, free_address()?);
        let process = Process::start(Launch {
            name: "bare",
            program: &sibling("bare")?,
            arguments: vec![address.to_string().into()],
            environment: Vec::new(),
            dir: dir.path(),
            log: dir.path().join("bare.log"),
        })?;
        wait_until("the bare server", || async { Ok(get_status(address, "/").await.is_some()) }).await?;
        Ok(Self { address, process, _dir: dir })
    }
}
