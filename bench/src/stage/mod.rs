//! What is measured, as processes: the engine, a peer, or the bare server, each with servers of its own.

mod bare;
mod engine;
mod error;
mod peer;
mod process;
mod servers;

pub use bare::Bare;
pub use engine::{Engine, EngineSettings};
pub use error::StageError;
pub use peer::{PEERS, Peer, PeerKind};
pub use process::Process;
pub use servers::{Ack, POSTGRES_SETTINGS, Servers};

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use doorbuster::servers::free_port;

/// How long a stage may take until it serves.
const START_MAX: Duration = Duration::from_secs(60);

/// A free address on this machine.
fn free_address() -> Result<SocketAddr, StageError> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
}

/// A directory that the server's user may enter too.
fn temporary_dir(base: &Path) -> Result<tempfile::TempDir, StageError> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix("doorbuster-bench-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in(base)
        .map_err(|source| StageError::io("make a directory for data", source))
}

/// A binary that was built beside this one.
pub fn sibling(name: &str) -> Result<PathBuf, StageError> {
    let own = std::env::current_exe().map_err(|source| StageError::io("find this program", source))?;
    let path = own.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(StageError::NotBuilt(path)) }
}

/// Waits until `ready` says so.
async fn wait_until<F>(what: &'static str, mut ready: impl FnMut() -> F) -> Result<(), StageError>
where
    F: Future<Output = Result<bool, StageError>>,
{
    let deadline = Instant::now() + START_MAX;
    while !ready().await? {
        if Instant::now() >= deadline {
            return Err(StageError::NotReady(what));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The status of a plain GET; `None` where nobody answers.
pub async fn get_status(address: SocketAddr, path: &str) -> Option<u16> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        std::str::from_utf8(&head[9..12]).ok()?.parse().ok()
    };
    tokio::time::timeout(Duration::from_secs(2), asked).await.ok().flatten()
}
