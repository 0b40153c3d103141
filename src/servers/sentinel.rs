//! A private Redis Sentinel, for tests of what a failover does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::data_dir::{self, LogPart};
use super::process::{Launch, ServerProcess};
use super::{ServersError, binaries, free_port, redis};

const SERVER: &str = "redis-sentinel";
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

/// How to start a private Sentinel.
#[derive(Debug, Clone)]
pub struct SentinelOptions {
    /// Directory of its own for configuration and log; made where it is missing.
    pub data_dir: PathBuf,
    /// The name under which clients ask for the primary.
    pub service: String,
    /// The primary to begin with. Sentinel finds its replicas, and the other Sentinels, by itself.
    pub primary: SocketAddr,
    /// Sentinels that must agree that the primary is gone.
    pub quorum: usize,
    /// How long the primary may be silent, in milliseconds.
    pub down_after_ms: u32,
    /// How long one failover may take before another is tried, in milliseconds.
    pub failover_timeout_ms: u32,
}

/// A Sentinel that is ours alone. Dropping it ends it.
pub struct PrivateSentinel {
    options: SentinelOptions,
    binary: PathBuf,
    port: u16,
    process: Option<ServerProcess>,
}

impl PrivateSentinel {
    /// Starts it on a free port of 127.0.0.1 and waits until it answers.
    ///
    /// # Errors
    /// As [`super::PrivateRedis::start`].
    pub async fn start(options: SentinelOptions) -> Result<Self, ServersError> {
        let binary = binaries::find_redis()?;
        let data_dir = data_dir::create(&options.data_dir)?;
        let options = SentinelOptions { data_dir, ..options };
        let mut sentinel = Self { options, binary, port: free_port()?, process: None };
        let conf = sentinel.options.data_dir.join("sentinel.conf");
        // Only once: Sentinel itself writes into it whom it follows now.
        std::fs::write(&conf, sentinel.conf_text())
            .map_err(ServersError::io(format!("write {}", conf.display())))?;
        sentinel.launch().await.map(|()| sentinel)
    }

    /// TCP port on 127.0.0.1; the same through every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id; none while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ServerProcess::pid)
    }

    /// Stops it; does nothing where it is stopped.
    ///
    /// # Errors
    /// [`ServersError::WillNotEnd`].
    pub async fn stop(&mut self) -> Result<(), ServersError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.end(&[(Signal::SIGTERM, STOP_TIMEOUT)]).await?;
        self.process = None;
        Ok(())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn kill(&mut self) -> Result<(), ServersError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.end(&[]).await?;
        self.process = None;
        Ok(())
    }

    /// Starts it again with what it knew, stopping it first where it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), ServersError> {
        self.stop().await?;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), ServersError> {
        let dir = &self.options.data_dir;
        let lock = data_dir::lock(dir, LOCK_TIMEOUT).await?;
        let log = LogPart::begin(dir.join("sentinel.log"))?;
        let process = ServerProcess::launch(Launch {
            server: SERVER,
            program: &self.binary,
            args: vec![dir.join("sentinel.conf").into(), "--sentinel".into()],
            env: &[],
            dir,
            log: &log.path,
            lock,
            run_as: None,
            abandon: Signal::SIGTERM,
        })?;
        let host = IpAddr::from(Ipv4Addr::LOCALHOST);
        self.process = Some(redis::wait_until_ready(process, host, self.port, &log).await?);
        Ok(())
    }

    fn conf_text(&self) -> String {
        let SentinelOptions { service, primary, quorum, down_after_ms, failover_timeout_ms, .. } =
            &self.options;
        // Announced as the others reach it, whatever address the way to the primary begins at.
        format!(
            "dir ./\nport {port}\nbind 127.0.0.1\ndaemonize no\nlogfile \"\"\n\
             sentinel announce-ip 127.0.0.1\n\
             sentinel monitor {service} {ip} {primary_port} {quorum}\n\
             sentinel down-after-milliseconds {service} {down_after_ms}\n\
             sentinel failover-timeout {service} {failover_timeout_ms}\n",
            port = self.port,
            ip = primary.ip(),
            primary_port = primary.port(),
        )
    }
}
