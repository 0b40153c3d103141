//! A server's directory: its lock, its log, and where it may lie.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ServersError;
use super::process::POLL_INTERVAL;
use super::user::ServerUser;

/// A log above this size is set aside at the next start, so that logs stay bounded.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of a log's end goes into an error.
const TAIL_BYTES_MAX: u64 = 4 * 1024;

/// Where `dev` should keep its data: `preferred`, or `/var/lib/doorbuster` where we are root and
/// the user that PostgreSQL runs as cannot get to `preferred` (a clone in `/root`, for example).
///
/// # Errors
/// [`ServersError::NoServerUser`] as root on a machine without another user for PostgreSQL;
/// [`ServersError::Io`] where `preferred` cannot be made absolute.
pub fn dev_data_dir(preferred: &Path) -> Result<PathBuf, ServersError> {
    let preferred = std::path::absolute(preferred)
        .map_err(ServersError::io(format!("find the path of {}", preferred.display())))?;
    let Some(user) = ServerUser::for_new_cluster()? else { return Ok(preferred) };
    let nearest = preferred.ancestors().find(|part| part.exists()).unwrap_or(&preferred);
    match user.blocked_at(nearest) {
        None => Ok(preferred),
        Some(_) => Ok(PathBuf::from("/var/lib/doorbuster")),
    }
}

/// Makes a directory where it is missing; its absolute path without symlinks.
pub(super) fn create(dir: &Path) -> Result<PathBuf, ServersError> {
    std::fs::create_dir_all(dir).map_err(ServersError::io(format!("create {}", dir.display())))?;
    dir.canonicalize().map_err(ServersError::io(format!("open {}", dir.display())))
}

/// Takes the directory's lock, waiting up to `timeout` for a server that is about to end.
///
/// The lock belongs to the open file, and the server inherits that file: the lock lasts until
/// the server *and all its children* have ended, whatever became of the process that started it.
///
/// # Errors
/// [`ServersError::DataDirInUse`] when the time is over.
pub(super) async fn lock(dir: &Path, timeout: Duration) -> Result<File, ServersError> {
    let path = dir.join("lock");
    let doing = || ServersError::io(format!("lock {}", path.display()));
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(doing())?;
    let deadline = Instant::now() + timeout;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(doing()(source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(ServersError::DataDirInUse { dir: dir.to_path_buf() });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// The part of a log that one start of a server writes.
pub(super) struct LogPart {
    pub path: PathBuf,
    from_byte: u64,
}

impl LogPart {
    /// Begins a part at the log's present end; sets a log aside that has grown too long.
    pub(super) fn begin(path: PathBuf) -> Result<Self, ServersError> {
        let mut from_byte = std::fs::metadata(&path).map_or(0, |found| found.len());
        if from_byte > LOG_BYTES_MAX {
            std::fs::rename(&path, path.with_extension("log.old"))
                .map_err(ServersError::io(format!("set {} aside", path.display())))?;
            from_byte = 0;
        }
        Ok(Self { path, from_byte })
    }

    /// The end of this part, at most 4 KiB; empty where there is none.
    pub(super) fn tail(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.from_byte.max(end.saturating_sub(TAIL_BYTES_MAX))))?;
            file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).trim_end().to_owned(),
            Err(error) => format!("(unreadable: {error})"),
        }
    }

    /// The error for a server that ended with `status` before it was ready on `port`.
    pub(super) fn ended_early(&self, server: &'static str, status: &str, port: u16) -> ServersError {
        let tail = self.tail();
        if tail.contains("Address already in use") {
            return ServersError::PortInUse { port };
        }
        ServersError::EndedEarly { server, status: status.to_owned(), log: self.path.clone(), tail }
    }
}
