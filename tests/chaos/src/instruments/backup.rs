//! A base backup of a private PostgreSQL, and the return to it: a source of truth that is minutes old.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use doorbuster::servers::PrivatePostgres;

use super::InstrumentError;

/// A copy of a whole cluster as `pg_basebackup` makes it, with the log that it needs.
#[derive(Debug)]
pub struct BaseBackup {
    dir: PathBuf,
}

impl BaseBackup {
    /// Copies the running server into `dir`, which must not exist and should lie on the disk of the cluster.
    ///
    /// # Errors
    /// [`InstrumentError::Unavailable`] without `pg_basebackup`; [`InstrumentError::Command`] with what it
    /// printed; [`InstrumentError::Io`].
    pub async fn take(postgres: &PrivatePostgres, dir: &Path) -> Result<Self, InstrumentError> {
        let dir = std::path::absolute(dir).map_err(InstrumentError::io("find the backup's path"))?;
        let doing = || InstrumentError::io(format!("create {}", dir.display()));
        let owner = std::fs::metadata(postgres.pgdata()).map_err(doing())?;
        // PostgreSQL refuses to start on data that others could read.
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(doing())?;
        std::os::unix::fs::chown(&dir, Some(owner.uid()), Some(owner.gid())).map_err(doing())?;
        let mut command = Command::new(postgres.bin_dir().join("pg_basebackup"));
        command
            .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--dbname"])
            .arg(postgres.url("postgres"))
            .arg("--pgdata")
            .arg(&dir)
            .env("LC_ALL", "C")
            .current_dir("/")
            // The server reads the copy, so its user makes it.
            .uid(owner.uid())
            .gid(owner.gid())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .map_err(|error| InstrumentError::io("wait for pg_basebackup")(error.into()))?
            .map_err(|error| InstrumentError::Unavailable {
                instrument: "a base backup",
                reason: format!("pg_basebackup does not start: {error}"),
            })?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(InstrumentError::Command { doing: "take a base backup".to_owned(), output });
        }
        Ok(Self { dir })
    }

    /// Stops the server, puts the backup in the place of its data, and starts it: everything since is gone.
    ///
    /// # Errors
    /// [`InstrumentError::Servers`]; [`InstrumentError::Io`].
    pub async fn restore(self, postgres: &mut PrivatePostgres) -> Result<(), InstrumentError> {
        postgres.stop().await?;
        let pgdata = postgres.pgdata().to_path_buf();
        let doing = || InstrumentError::io(format!("put the backup in the place of {}", pgdata.display()));
        std::fs::remove_dir_all(&pgdata).map_err(doing())?;
        std::fs::rename(&self.dir, &pgdata).map_err(doing())?;
        postgres.restart().await?;
        Ok(())
    }
}
