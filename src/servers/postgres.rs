//! A private PostgreSQL server with every durable setting on.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::data_dir::{self, LogPart};
use super::database::{self, NotYet};
use super::pg_cluster::{Cluster, Home};
use super::process::{self, Launch, READY_INTERVAL, ServerProcess};
use super::{ServersError, free_port};

const SERVER: &str = "postgres";
/// Bound on the first answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Bound on crash recovery, once the server answers that it is starting.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(300);
/// Grace for a fast shutdown (SIGINT), which writes a checkpoint.
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Grace for an immediate one (SIGQUIT); the postmaster kills stragglers after 5 s.
const IMMEDIATE_STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Bound on the wait for an earlier server on the same directory to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);
/// Starts on different ports before giving up, where the port is ours to choose.
const PORT_ATTEMPTS: u32 = 5;

/// Loopback TCP only, nothing that acknowledges before it is on disk, logs we can read.
const DURABLE_SETTINGS: [(&str, &str); 9] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// How to start a private PostgreSQL.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Directory of its own for cluster, password and log; made where it is missing. As root it
    /// is given to the user that the server runs as.
    pub data_dir: PathBuf,
    /// TCP port on 127.0.0.1; a free one where none is named.
    pub port: Option<u16>,
    /// More settings, as (name, value); they win over ours.
    pub extra_settings: Vec<(String, String)>,
    /// More environment variables of the server.
    pub env: Vec<(OsString, OsString)>,
}

/// A PostgreSQL server that is ours alone. Dropping it ends the server.
pub struct PrivatePostgres {
    options: PostgresOptions,
    cluster: Cluster,
    port: u16,
    process: Option<ServerProcess>,
}

impl PrivatePostgres {
    /// Starts the server, the cluster made first where the directory has none, and waits until
    /// it accepts sessions. A server that is just ending on the same directory is waited for.
    ///
    /// # Errors
    /// [`ServersError`]: no PostgreSQL 15 or later, the directory not reachable for the server's
    /// user, the directory or the port in use, or no session within 15 s (300 s while it
    /// recovers).
    pub async fn start(options: PostgresOptions) -> Result<Self, ServersError> {
        let home = Home::prepare(&options.data_dir)?;
        let mut lock = data_dir::lock(home.dir(), LOCK_TIMEOUT).await?;
        let cluster = home.open().await?;
        let mut postgres = Self { options, cluster, port: 0, process: None };
        for attempt in 1..=PORT_ATTEMPTS {
            postgres.port = postgres.options.port.map_or_else(free_port, Ok)?;
            match postgres.launch(lock).await {
                Err(ServersError::PortInUse { .. })
                    if postgres.options.port.is_none() && attempt < PORT_ATTEMPTS =>
                {
                    lock = data_dir::lock(&postgres.cluster.home, LOCK_TIMEOUT).await?;
                }
                outcome => return outcome.map(|()| postgres),
            }
        }
        Err(ServersError::NoFreePort { attempts: PORT_ATTEMPTS })
    }

    /// Address of a database for clients, with the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        database::url(self.port, &self.cluster.password, database)
    }

    /// TCP port on 127.0.0.1; the same through every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// PostgreSQL's own data directory.
    #[must_use]
    pub fn pgdata(&self) -> &Path {
        &self.cluster.pgdata
    }

    /// Directory with the binaries of this installation.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        // Behind a link in a directory of PATH, which need not have links to the other binaries.
        let postgres = &self.cluster.binaries.postgres;
        let postgres = postgres.canonicalize().unwrap_or_else(|_| postgres.clone());
        postgres.parent().map(Path::to_path_buf).unwrap_or_default()
    }

    /// Process id of the postmaster; none while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ServerProcess::pid)
    }

    /// Creates a database; does nothing where it exists.
    ///
    /// # Errors
    /// [`ServersError::DatabaseName`], or [`ServersError::Postgres`].
    pub async fn create_database(&self, name: &str) -> Result<(), ServersError> {
        database::create(self.port, &self.cluster.password, name).await
    }

    /// Drops a database and the sessions in it; does nothing where it does not exist.
    ///
    /// # Errors
    /// As [`Self::create_database`].
    pub async fn drop_database(&self, name: &str) -> Result<(), ServersError> {
        database::drop(self.port, &self.cluster.password, name).await
    }

    /// Stops the server: a fast shutdown (SIGINT, sessions are ended), after 30 s an immediate
    /// one (SIGQUIT), after 8 s more SIGKILL. Does nothing where it is stopped.
    ///
    /// # Errors
    /// [`ServersError::WillNotEnd`] where it survives SIGKILL for 10 s.
    pub async fn stop(&mut self) -> Result<(), ServersError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        // A frozen server would not see the signal; one that has ended needs none.
        let _ = signal_tree(process, Signal::SIGCONT);
        let ladder = [(Signal::SIGINT, FAST_STOP_TIMEOUT), (Signal::SIGQUIT, IMMEDIATE_STOP_TIMEOUT)];
        process.end(&ladder).await?;
        self.process = None;
        Ok(())
    }

    /// Kills the postmaster and its children with SIGKILL, as a power cut would, and waits until
    /// all of them are gone: a new postmaster refuses to start beside an old child.
    ///
    /// # Errors
    /// As [`Self::stop`]; [`ServersError::DataDirInUse`] where a child survives for 15 s.
    pub async fn kill(&mut self) -> Result<(), ServersError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        // Stopped first, so that it neither forks nor reaps while its children are listed.
        if process.signal(Signal::SIGSTOP).is_ok() {
            for child in process::children_of(process.pid()) {
                let _ = process::send(child, Signal::SIGKILL);
            }
        }
        process.end(&[]).await?;
        self.process = None;
        // Every child holds the lock too, so a free lock proves that the last has gone.
        data_dir::lock(&self.cluster.home, LOCK_TIMEOUT).await.map(drop)
    }

    /// Starts the server again on the same port and data, stopping it first where it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), ServersError> {
        self.stop().await?;
        let lock = data_dir::lock(&self.cluster.home, LOCK_TIMEOUT).await?;
        self.launch(lock).await
    }

    /// Freezes the server and all its children (SIGSTOP): connections stay open, nothing is
    /// answered.
    ///
    /// # Errors
    /// [`ServersError::NotRunning`].
    pub fn pause(&mut self) -> Result<(), ServersError> {
        signal_tree(self.running()?, Signal::SIGSTOP)
    }

    /// Lets a frozen server and its children go on (SIGCONT).
    ///
    /// # Errors
    /// [`ServersError::NotRunning`].
    pub fn resume(&mut self) -> Result<(), ServersError> {
        signal_tree(self.running()?, Signal::SIGCONT)
    }

    fn running(&mut self) -> Result<&mut ServerProcess, ServersError> {
        self.process.as_mut().ok_or(ServersError::NotRunning { server: SERVER })
    }

    async fn launch(&mut self, lock: File) -> Result<(), ServersError> {
        self.cluster.clear_stale_pid_file()?;
        let log = LogPart::begin(self.cluster.home.join("postgres.log"))?;
        let process = ServerProcess::launch(Launch {
            server: SERVER,
            program: &self.cluster.binaries.postgres,
            args: self.arguments(),
            env: &self.options.env,
            dir: &self.cluster.home,
            log: &log.path,
            lock,
            run_as: self.cluster.run_as.as_ref(),
            abandon: Signal::SIGQUIT,
        })?;
        self.process = Some(self.wait_until_ready(process, &log).await?);
        Ok(())
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["-D".into(), self.cluster.pgdata.clone().into()];
        let ours = DURABLE_SETTINGS.iter().map(|(name, value)| format!("{name}={value}"));
        let port = std::iter::once(format!("port={}", self.port));
        let extra = self.options.extra_settings.iter().map(|(name, value)| format!("{name}={value}"));
        for setting in ours.chain(port).chain(extra) {
            args.extend(["-c".into(), setting.into()]);
        }
        args
    }

    /// Waits for a session; gives the process back, or ends it by dropping it.
    async fn wait_until_ready(
        &self,
        mut process: ServerProcess,
        log: &LogPart,
    ) -> Result<ServerProcess, ServersError> {
        let began = Instant::now();
        loop {
            if let Some(status) = process.exit_status()? {
                return Err(log.ended_early(SERVER, &status.to_string(), self.port));
            }
            let (timeout, detail) = match database::probe(self.port, &self.cluster.password).await {
                Ok(()) => return Ok(process),
                Err(NotYet::Starting) => (RECOVERY_TIMEOUT, "starting up".to_owned()),
                Err(NotYet::Other(detail)) => (ANSWER_TIMEOUT, detail),
            };
            if began.elapsed() >= timeout {
                return Err(ServersError::NotReady {
                    server: SERVER,
                    waited_ms: began.elapsed().as_millis(),
                    detail,
                    log: log.path.clone(),
                });
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
    }
}

/// Signals the postmaster, then its children. Stopped first, it forks no more while they are
/// listed; resumed first, it is there to reap those that end.
fn signal_tree(process: &mut ServerProcess, signal: Signal) -> Result<(), ServersError> {
    process.signal(signal)?;
    for child in process::children_of(process.pid()) {
        // A child may end by itself between the listing and the signal.
        let _ = process::send(child, signal);
    }
    Ok(())
}
