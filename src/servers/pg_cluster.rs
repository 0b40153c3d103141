//! The files of a private PostgreSQL: password and cluster, made once and found again.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::binaries::{self, PostgresBinaries};
use super::user::ServerUser;
use super::{ServersError, data_dir};

/// The role that owns the cluster; it exists nowhere else.
pub(super) const ROLE: &str = "doorbuster";
/// Bound on initdb, usually a second or two.
const INITDB_TIMEOUT: Duration = Duration::from_secs(120);
const PASSWORD_BYTES: usize = 24;

/// Where everything of one private PostgreSQL lies.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// The directory that the caller named: lock, log, password and cluster are in it.
    pub home: PathBuf,
    /// PostgreSQL's data directory.
    pub pgdata: PathBuf,
    pub password: String,
    pub binaries: PostgresBinaries,
    pub run_as: Option<ServerUser>,
}

/// A home directory that the server's user owns and can reach, not yet looked into.
pub(super) struct Home {
    dir: PathBuf,
    run_as: Option<ServerUser>,
}

impl Home {
    /// Makes the directory, closed to all but the server's user (and root).
    pub(super) fn prepare(dir: &Path) -> Result<Self, ServersError> {
        let dir = data_dir::create(dir)?;
        let run_as = ServerUser::for_cluster(&dir.join("pgdata"))?;
        if let Some(user) = &run_as {
            user.own(&dir)?;
        }
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))
            .map_err(ServersError::io(format!("close {} to other users", dir.display())))?;
        if let Some(user) = &run_as {
            user.check_reach(&dir)?;
        }
        Ok(Self { dir, run_as })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Finds the cluster, or makes it with initdb. The caller holds the directory's lock.
    pub(super) async fn open(self) -> Result<Cluster, ServersError> {
        let pgdata = self.dir.join("pgdata");
        let binaries = binaries::find_postgres(cluster_major(&pgdata)?, &pgdata)?;
        let password_file = self.dir.join("password");
        let password = find_or_make_password(&password_file, self.run_as.as_ref())?;
        let cluster = Cluster { home: self.dir, pgdata, password, binaries, run_as: self.run_as };
        if !cluster.pgdata.exists() {
            cluster.init(&password_file).await?;
        }
        Ok(cluster)
    }
}

impl Cluster {
    /// Runs initdb beside the final place and renames the result: a cluster is there wholly or
    /// not at all, however this process ends.
    async fn init(&self, password_file: &Path) -> Result<(), ServersError> {
        let unfinished = self.home.join("pgdata.unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)
                .map_err(ServersError::io(format!("remove {}", unfinished.display())))?;
        }
        let mut command = tokio::process::Command::new(&self.binaries.initdb);
        command
            .arg("--pgdata")
            .arg(&unfinished)
            .arg("--pwfile")
            .arg(password_file)
            // Locale C sorts by bytes: the same order on every machine, whatever it has installed.
            .args(["--username", ROLE, "--encoding", "UTF8", "--locale", "C", "--auth", "scram-sha-256"])
            .env("LC_ALL", "C")
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(user) = &self.run_as {
            command.uid(user.uid).gid(user.gid);
        }
        let failed = |output: String| ServersError::Initdb { dir: self.pgdata.clone(), output };
        let output = tokio::time::timeout(INITDB_TIMEOUT, command.output())
            .await
            .map_err(|_| failed(format!("not done after {} s", INITDB_TIMEOUT.as_secs())))?
            .map_err(ServersError::io("start initdb"))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
        }
        std::fs::rename(&unfinished, &self.pgdata)
            .map_err(ServersError::io(format!("move the cluster to {}", self.pgdata.display())))
    }

    /// Removes a `postmaster.pid` whose pid has meanwhile been given to an unrelated process.
    ///
    /// PostgreSQL itself sees through a file whose process is dead, but takes any living process
    /// of the same user for a running server. A process that works in this very directory is one,
    /// though. Where there is no /proc to tell, PostgreSQL's judgement stands.
    pub(super) fn clear_stale_pid_file(&self) -> Result<(), ServersError> {
        let path = self.pgdata.join("postmaster.pid");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) else {
            return Ok(());
        };
        if kill(Pid::from_raw(pid), None).is_err() || !Path::new("/proc/self/cwd").exists() {
            return Ok(());
        }
        if std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.pgdata) {
            return Err(ServersError::DataDirInUse { dir: self.pgdata.clone() });
        }
        std::fs::remove_file(&path).map_err(ServersError::io(format!("remove the stale {}", path.display())))
    }
}

/// The major version of an existing cluster.
fn cluster_major(pgdata: &Path) -> Result<Option<u32>, ServersError> {
    let path = pgdata.join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ServersError::io(format!("read {}", path.display()))(error)),
    }
}

fn find_or_make_password(path: &Path, owner: Option<&ServerUser>) -> Result<String, ServersError> {
    let doing = || ServersError::io(format!("keep the database password in {}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() == 2 * PASSWORD_BYTES => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(doing()(error)),
    }
    let mut random = [0u8; PASSWORD_BYTES];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).map_err(doing())?;
    // Hexadecimal, so that it needs no escaping in a URL.
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            writeln!(file, "{password}")?;
            file.sync_all()
        })
        .map_err(doing())?;
    if let Some(user) = owner {
        user.own(path)?;
    }
    Ok(password)
}
