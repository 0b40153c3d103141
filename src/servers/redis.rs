//! A private Redis (or Valkey) server with every durable setting on.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::data_dir::{self, LogPart};
use super::process::{Launch, READY_INTERVAL, ServerProcess};
use super::{ServersError, binaries, free_port};

const SERVER: &str = "redis-server";
/// Bound on the first answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound on the loading of the append-only file, once the server answers that it is loading.
const LOAD_TIMEOUT: Duration = Duration::from_secs(300);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_BYTES_MAX: usize = 16 * 1024;
/// Grace after SIGTERM; Redis itself waits up to 10 s for its replicas (`shutdown-timeout`).
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
/// Bound on the wait for an earlier server on the same directory to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);
/// Starts on different ports before giving up, where the port is ours to choose.
const PORT_ATTEMPTS: u32 = 5;

/// What the engine demands before it accepts an order, and no snapshot beside the log.
const DURABLE_SETTINGS: [(&str, &str); 10] = [
    ("protected-mode", "yes"),
    ("daemonize", "no"),
    ("logfile", "\"\""),
    ("save", "\"\""),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
    // At half a kilobyte for an order the default of 64 MB would rewrite the log in the middle of a sale.
    ("auto-aof-rewrite-min-size", "1gb"),
    // A replica need not wait for others that might want the same copy.
    ("repl-diskless-sync-delay", "0"),
];

/// How to start a private Redis.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// Directory of its own for data, log and configuration; made where it is missing.
    pub data_dir: PathBuf,
    /// TCP port on 127.0.0.1; a free one where none is named.
    pub port: Option<u16>,
    /// Port on 127.0.0.1 of the server that this one copies; none for a primary.
    pub replica_of: Option<u16>,
    /// More lines for redis.conf, as (directive, the rest of the line); they win over ours.
    pub extra_args: Vec<(String, String)>,
    /// More environment variables of the server.
    pub env: Vec<(OsString, OsString)>,
    /// Program and arguments put before the server's own, such as `nsenter --net=…`. It must become the
    /// server by exec, since its process id is taken for the server's.
    pub launcher: Vec<OsString>,
    /// A second address to listen on, and the one at which the server is reached; only 127.0.0.1 where none is
    /// named.
    pub host: Option<IpAddr>,
}

/// A Redis server that is ours alone. Dropping it ends the server.
pub struct PrivateRedis {
    options: RedisOptions,
    binary: PathBuf,
    port: u16,
    process: Option<ServerProcess>,
}

impl PrivateRedis {
    /// Starts the server and waits until it answers PONG, its log file loaded. A server that is
    /// just ending on the same directory is waited for.
    ///
    /// # Errors
    /// [`ServersError`]: the binary missing or too old, the directory or the port in use, or no
    /// PONG within 10 s (300 s while it loads).
    pub async fn start(options: RedisOptions) -> Result<Self, ServersError> {
        let binary = binaries::find_redis()?;
        let data_dir = data_dir::create(&options.data_dir)?;
        let mut redis =
            Self { options: RedisOptions { data_dir, ..options }, binary, port: 0, process: None };
        for attempt in 1..=PORT_ATTEMPTS {
            redis.port = redis.options.port.map_or_else(free_port, Ok)?;
            match redis.launch().await {
                Err(ServersError::PortInUse { .. })
                    if redis.options.port.is_none() && attempt < PORT_ATTEMPTS => {}
                outcome => return outcome.map(|()| redis),
            }
        }
        Err(ServersError::NoFreePort { attempts: PORT_ATTEMPTS })
    }

    /// Address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}:{}", self.host(), self.port)
    }

    /// TCP port on 127.0.0.1; the same through every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Address at which the server is reached.
    #[must_use]
    pub fn host(&self) -> IpAddr {
        self.options.host.unwrap_or(Ipv4Addr::LOCALHOST.into())
    }

    /// Whom this server replicates from its next start on; nobody with none. A running server is told with
    /// REPLICAOF instead, which does not outlive it: the configuration is written anew at each start.
    pub fn set_replica_of(&mut self, primary: Option<u16>) {
        self.options.replica_of = primary;
    }

    /// Directory with data, log and configuration.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }

    /// Process id; none while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ServerProcess::pid)
    }

    /// Stops the server: SIGTERM, and SIGKILL after 12 s. Does nothing where it is stopped.
    ///
    /// # Errors
    /// [`ServersError::WillNotEnd`] where it survives SIGKILL for 10 s.
    pub async fn stop(&mut self) -> Result<(), ServersError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        // A frozen server would not see the signal; one that has ended needs none.
        let _ = process.signal(Signal::SIGCONT);
        process.end(&[(Signal::SIGTERM, STOP_TIMEOUT)]).await?;
        self.process = None;
        Ok(())
    }

    /// Kills the server with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn kill(&mut self) -> Result<(), ServersError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.end(&[]).await?;
        self.process = None;
        Ok(())
    }

    /// Starts the server again on the same port and data, stopping it first where it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), ServersError> {
        self.stop().await?;
        self.launch().await
    }

    /// Freezes the server (SIGSTOP): connections stay open, nothing is answered.
    ///
    /// # Errors
    /// [`ServersError::NotRunning`].
    pub fn pause(&mut self) -> Result<(), ServersError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen server go on (SIGCONT).
    ///
    /// # Errors
    /// [`ServersError::NotRunning`].
    pub fn resume(&mut self) -> Result<(), ServersError> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), ServersError> {
        let process = self.process.as_mut().ok_or(ServersError::NotRunning { server: SERVER })?;
        process.signal(signal)
    }

    async fn launch(&mut self) -> Result<(), ServersError> {
        let dir = &self.options.data_dir;
        let lock = data_dir::lock(dir, LOCK_TIMEOUT).await?;
        let conf = dir.join("redis.conf");
        std::fs::write(&conf, self.conf_text())
            .map_err(ServersError::io(format!("write {}", conf.display())))?;
        let log = LogPart::begin(dir.join("redis.log"))?;
        let mut args = self.options.launcher.clone();
        args.extend([self.binary.clone().into(), conf.into()]);
        let program = PathBuf::from(args.remove(0));
        let process = ServerProcess::launch(Launch {
            server: SERVER,
            program: &program,
            args,
            env: &self.options.env,
            dir,
            log: &log.path,
            lock,
            run_as: None,
            abandon: Signal::SIGTERM,
        })?;
        self.process = Some(wait_until_ready(process, self.host(), self.port, &log).await?);
        Ok(())
    }

    /// A file and not arguments: a directive may take several words or an empty string.
    /// The working directory is the data directory, so that no path needs quoting.
    fn conf_text(&self) -> String {
        let mut text = String::from("# Written anew at each start.\ndir ./\n");
        let _ = writeln!(text, "port {}", self.port);
        match self.options.host {
            Some(host) => drop(writeln!(text, "bind 127.0.0.1 {host}")),
            None => text.push_str("bind 127.0.0.1\n"),
        }
        for (name, value) in DURABLE_SETTINGS {
            let _ = writeln!(text, "{name} {value}");
        }
        if let Some(primary) = self.options.replica_of {
            let _ = writeln!(text, "replicaof 127.0.0.1 {primary}");
        }
        for (name, value) in &self.options.extra_args {
            let _ = writeln!(text, "{name} {}", if value.is_empty() { "\"\"" } else { value });
        }
        text
    }
}

/// Waits for PONG of Redis or Sentinel; gives the process back, or ends it by dropping it.
pub(super) async fn wait_until_ready(
    mut process: ServerProcess,
    host: IpAddr,
    port: u16,
    log: &LogPart,
) -> Result<ServerProcess, ServersError> {
    let began = Instant::now();
    loop {
        if let Some(status) = process.exit_status()? {
            return Err(log.ended_early(SERVER, &status.to_string(), port));
        }
        let (timeout, detail) = match probe(host, port, process.pid()).await {
            Ok(Answer::Pong) => return Ok(process),
            Ok(Answer::Loading) => (LOAD_TIMEOUT, "loading its data".to_owned()),
            Ok(Answer::Other(line)) => (ANSWER_TIMEOUT, line),
            Err(error) => (ANSWER_TIMEOUT, error.to_string()),
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

#[derive(Debug, PartialEq)]
enum Answer {
    Pong,
    Loading,
    Other(String),
}

/// Asks PING, and INFO for the pid: another server may have taken the port first, and its PONG
/// would be taken for ours. Inline commands (Redis protocol specification, "Inline commands").
async fn probe(host: IpAddr, port: u16, pid: u32) -> std::io::Result<Answer> {
    let asked = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(b"PING\r\nINFO server\r\n").await?;
        // Instead of QUIT, which a Sentinel does not know: the server answers and closes.
        stream.shutdown().await?;
        let mut reply = Vec::new();
        stream.take(PROBE_BYTES_MAX as u64).read_to_end(&mut reply).await?;
        Ok(read_answer(&String::from_utf8_lossy(&reply), pid))
    };
    tokio::time::timeout(PROBE_TIMEOUT, asked).await.unwrap_or_else(|elapsed| Err(elapsed.into()))
}

fn read_answer(reply: &str, pid: u32) -> Answer {
    let first = reply.lines().next().unwrap_or_default();
    if first.starts_with("-LOADING") {
        Answer::Loading
    } else if first == "+PONG" && reply.lines().any(|line| line == format!("process_id:{pid}")) {
        Answer::Pong
    } else {
        Answer::Other(format!("the port answers \"{first}\", as another process than ours"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pong_counts() {
        let reply = "+PONG\r\n$40\r\n# Server\r\nprocess_id:77\r\n\r\n+OK\r\n";
        assert_eq!(read_answer(reply, 77), Answer::Pong);
        assert!(matches!(read_answer(reply, 78), Answer::Other(_)));
        assert_eq!(read_answer("-LOADING Redis is loading the dataset in memory\r\n", 77), Answer::Loading);
    }
}
