//! What can go wrong with a private server, and what the operator can do about it.

use std::path::PathBuf;

/// A private server could not be found, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// Neither `redis-server` nor `valkey-server` is on the machine.
    #[error(
        "redis-server not found: run \"make deps\" or install the redis-server package (valkey-server 8 or later will do too)"
    )]
    RedisNotFound,
    /// The only server found is older than the engine supports.
    #[error("{path} is version {found}, too old: install Redis 7.0 or later, or Valkey 8 or later", path = path.display())]
    RedisTooOld {
        /// The binary that was looked at.
        path: PathBuf,
        /// What it says its version is.
        found: String,
    },
    /// No directory holds both `postgres` and `initdb` of a supported version.
    #[error("PostgreSQL 15 or later not found: run \"make deps\" or install the postgresql package")]
    PostgresNotFound,
    /// The data needs a PostgreSQL major version that is not installed.
    #[error("{dir} was made by PostgreSQL {wanted}, which is not installed: install its server package, or remove the directory to begin anew", dir = dir.display())]
    PostgresMajorMissing {
        /// The cluster's directory.
        dir: PathBuf,
        /// The major version in its `PG_VERSION`.
        wanted: u32,
    },
    /// We are root, and there is no other user to run PostgreSQL as.
    #[error(
        "PostgreSQL does not run as root, and neither the user \"postgres\" nor \"nobody\" exists: create one with \"useradd --system postgres\""
    )]
    NoServerUser,
    /// The user that PostgreSQL runs as cannot get to the data directory.
    #[error("the user \"{user}\", as whom PostgreSQL runs, cannot enter {blocked}: choose a data directory elsewhere, such as /var/lib/doorbuster, or run \"chmod o+x {blocked}\"", blocked = blocked.display())]
    Unreachable {
        /// Name of the user.
        user: String,
        /// The first directory on the way that the user cannot enter.
        blocked: PathBuf,
    },
    /// Another server still runs on the same data.
    #[error("{dir} is in use by another running server: stop that one, or choose another data directory", dir = dir.display())]
    DataDirInUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another process listens on the port.
    #[error("port {port} on 127.0.0.1 is taken: stop the process that listens there, or choose another port")]
    PortInUse {
        /// The TCP port.
        port: u16,
    },
    /// No free port was found in a bounded number of attempts.
    #[error(
        "no free port on 127.0.0.1 after {attempts} attempts: end processes that hold many ports, or name a port"
    )]
    NoFreePort {
        /// How many ports were tried.
        attempts: u32,
    },
    /// The server ended before it was ready.
    #[error("{server} ended at its start ({status}); its log is {log}, the last lines:\n{tail}", log = log.display())]
    EndedEarly {
        /// Which server.
        server: &'static str,
        /// Its exit status.
        status: String,
        /// Where its log is.
        log: PathBuf,
        /// The last lines of this start.
        tail: String,
    },
    /// The server runs but did not become ready in time.
    #[error("{server} was not ready after {waited_ms} ms ({detail}): read its log, {log}", log = log.display())]
    NotReady {
        /// Which server.
        server: &'static str,
        /// How long was waited, in milliseconds.
        waited_ms: u128,
        /// The last answer it gave.
        detail: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// The server survived even SIGKILL for the time we waited (a disk that hangs, for example).
    #[error(
        "{server} (pid {pid}) did not end after SIGKILL: look at its state with \"ps\", its disk may hang"
    )]
    WillNotEnd {
        /// Which server.
        server: &'static str,
        /// Its process id.
        pid: u32,
    },
    /// A signal was to be sent to a server that does not run.
    #[error("{server} is not running: start it again with restart()")]
    NotRunning {
        /// Which server.
        server: &'static str,
    },
    /// `initdb` failed.
    #[error("initdb could not make {dir}: free disk space or correct what it says:\n{output}", dir = dir.display())]
    Initdb {
        /// The cluster's directory.
        dir: PathBuf,
        /// What initdb printed.
        output: String,
    },
    /// A database name that would need quoting.
    #[error(
        "\"{name}\" is no database name: use 1 to 63 lower-case letters, digits and underscores, a letter first"
    )]
    DatabaseName {
        /// The name as given.
        name: String,
    },
    /// PostgreSQL refused a statement or a connection.
    #[error("PostgreSQL refused to {doing}: read the server's log for the cause")]
    Postgres {
        /// What was attempted.
        doing: String,
        /// The driver's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A file or a process could not be handled.
    #[error("cannot {doing}: {source}; check the path, its owner and the space on its disk")]
    Io {
        /// What was attempted.
        doing: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl ServersError {
    /// Wraps a system error; `doing` completes "cannot …".
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
