//! A Redis primary with replicas, watched by Sentinels or by nobody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use doorbuster::servers::{PrivateRedis, PrivateSentinel, RedisOptions, SentinelOptions};
use fred::prelude::Value;

use super::{InstrumentError, redis_command};

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Name under which the Sentinels know the primary.
pub const SERVICE: &str = "doorbuster";
/// Bound on the first synchronisation and on the Sentinels' getting to know each other.
const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// How to start a replica set.
#[derive(Debug, Clone)]
pub struct ReplicaSetOptions {
    /// Directory of its own; made where it is missing.
    pub dir: PathBuf,
    /// How the primary is started; its directory is chosen by the set.
    pub primary: RedisOptions,
    /// How each replica is started; directory and primary are chosen by the set.
    pub replica: RedisOptions,
    /// Number of replicas.
    pub replicas: usize,
    /// Number of Sentinels; a majority of them decides. 0: nobody does, see [`ReplicaSet::promote`].
    pub sentinels: usize,
    /// How long the primary may be silent before the Sentinels replace it, in milliseconds.
    pub down_after_ms: u32,
}

/// The servers, in the order in which they were started: the first was the primary to begin with.
pub struct ReplicaSet {
    /// The Redis servers.
    pub servers: Vec<PrivateRedis>,
    /// The Sentinels.
    pub sentinels: Vec<PrivateSentinel>,
}

impl ReplicaSet {
    /// Starts all of it, and waits until the replicas have all data and the Sentinels know them and each other: a
    /// failover before that would not happen.
    ///
    /// # Errors
    /// [`InstrumentError::Servers`]; [`InstrumentError::TimedOut`] after 30 s.
    pub async fn start(options: ReplicaSetOptions) -> Result<Self, InstrumentError> {
        let primary_options =
            RedisOptions { data_dir: options.dir.join("redis0"), ..options.primary.clone() };
        let primary = PrivateRedis::start(primary_options).await?;
        let address = address_of(&primary);
        let mut set = Self { servers: vec![primary], sentinels: Vec::new() };
        for number in 1..=options.replicas {
            set.servers.push(PrivateRedis::start(options.replica_of(address, number)).await?);
        }
        set.wait_until_synced(FORM_TIMEOUT).await?;
        for number in 0..options.sentinels {
            set.sentinels.push(PrivateSentinel::start(options.sentinel(address, number)).await?);
        }
        set.wait_until_watched(options.replicas).await?;
        Ok(set)
    }

    /// Address of a server.
    ///
    /// # Panics
    /// Never for an index below the number of servers.
    #[must_use]
    pub fn address(&self, index: usize) -> SocketAddr {
        address_of(&self.servers[index])
    }

    /// The server at an address; none where it is not of this set.
    #[must_use]
    pub fn index_of(&self, address: SocketAddr) -> Option<usize> {
        self.servers.iter().position(|server| address_of(server) == address)
    }

    /// URL for clients: of the Sentinels, or of the first server where there are none.
    #[must_use]
    pub fn url(&self) -> String {
        let mut sentinels = self.sentinels.iter().map(|sentinel| local(sentinel.port()));
        let Some(first) = sentinels.next() else { return self.servers[0].url() };
        let others: String = sentinels.map(|other| format!("&node={other}")).collect();
        format!("redis-sentinel://{first}?sentinelServiceName={SERVICE}{others}")
    }

    /// Whom the first Sentinel that answers takes for the primary.
    ///
    /// # Errors
    /// [`InstrumentError::Redis`] where no Sentinel answers; [`InstrumentError::Unavailable`] in a set without them.
    pub async fn primary(&self) -> Result<SocketAddr, InstrumentError> {
        let mut outcome = Err(InstrumentError::Unavailable {
            instrument: "Sentinel",
            reason: "this set has none".to_owned(),
        });
        for sentinel in &self.sentinels {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
            outcome = redis_command(local(sentinel.port()), &words).await.and_then(parse_address);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Waits until the Sentinels have put another primary in the place of `old`, and it takes itself for one.
    ///
    /// # Errors
    /// [`InstrumentError::TimedOut`].
    pub async fn wait_for_failover(
        &self,
        old: SocketAddr,
        timeout: Duration,
    ) -> Result<SocketAddr, InstrumentError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Ok(primary) = self.primary().await
                && primary != old
                && self.says(primary, "role:master").await
            {
                return Ok(primary);
            }
            wait_or(deadline, timeout, || format!("another primary than {old}")).await?;
        }
    }

    /// Makes a replica the primary, without Sentinel. The old primary is left as it is: whatever it is.
    ///
    /// # Errors
    /// [`InstrumentError::Redis`].
    pub async fn promote(&mut self, index: usize) -> Result<(), InstrumentError> {
        redis_command(self.address(index), &["REPLICAOF", "NO", "ONE"]).await?;
        // Else a restart would make it a replica again.
        self.servers[index].set_replica_of(None);
        Ok(())
    }

    /// Makes a running server the replica of another, which drops what it has that the other has not.
    ///
    /// # Errors
    /// [`InstrumentError::Redis`].
    pub async fn demote(&mut self, index: usize, primary: usize) -> Result<(), InstrumentError> {
        let address = self.address(primary);
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        redis_command(self.address(index), &["REPLICAOF", &ip, &port]).await?;
        self.servers[index].set_replica_of(Some(address.port()));
        Ok(())
    }

    /// Waits until every server but the first follows a primary and has all of its data.
    ///
    /// # Errors
    /// [`InstrumentError::TimedOut`].
    pub async fn wait_until_synced(&self, timeout: Duration) -> Result<(), InstrumentError> {
        let deadline = Instant::now() + timeout;
        for index in 1..self.servers.len() {
            while !self.says(self.address(index), "master_link_status:up").await {
                wait_or(deadline, timeout, || format!("replica {index} in step")).await?;
            }
        }
        Ok(())
    }

    async fn wait_until_watched(&self, replicas: usize) -> Result<(), InstrumentError> {
        let deadline = Instant::now() + FORM_TIMEOUT;
        let knows_all = format!("slaves={replicas},sentinels={}", self.sentinels.len());
        for sentinel in &self.sentinels {
            while !says(local(sentinel.port()), "sentinel", &knows_all).await {
                wait_or(deadline, FORM_TIMEOUT, || "Sentinels that know all servers".to_owned()).await?;
            }
        }
        Ok(())
    }

    async fn says(&self, server: SocketAddr, line: &str) -> bool {
        says(server, "replication", line).await
    }
}

impl ReplicaSetOptions {
    fn replica_of(&self, primary: SocketAddr, number: usize) -> RedisOptions {
        let mut options =
            RedisOptions { data_dir: self.dir.join(format!("redis{number}")), ..self.replica.clone() };
        options.replica_of = Some(primary.port());
        if !primary.ip().is_loopback() {
            // The last of two lines wins.
            options.extra_args.push(("replicaof".to_owned(), format!("{} {}", primary.ip(), primary.port())));
        }
        // As the others reach it, whatever address the way to the primary begins at.
        let ip = self.replica.host.map_or("127.0.0.1".to_owned(), |host| host.to_string());
        options.extra_args.push(("replica-announce-ip".to_owned(), ip));
        options
    }

    fn sentinel(&self, primary: SocketAddr, number: usize) -> SentinelOptions {
        SentinelOptions {
            data_dir: self.dir.join(format!("sentinel{number}")),
            service: SERVICE.to_owned(),
            primary,
            quorum: self.sentinels / 2 + 1,
            down_after_ms: self.down_after_ms,
            failover_timeout_ms: self.down_after_ms.saturating_mul(10),
        }
    }
}

fn address_of(server: &PrivateRedis) -> SocketAddr {
    (server.host(), server.port()).into()
}

fn local(port: u16) -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, port).into()
}

async fn says(server: SocketAddr, section: &str, part: &str) -> bool {
    let info = redis_command(server, &["INFO", section]).await;
    info.is_ok_and(|reply| reply.as_str().is_some_and(|text| text.contains(part)))
}

fn parse_address(reply: Value) -> Result<SocketAddr, InstrumentError> {
    let words: Vec<String> = reply.convert().unwrap_or_default();
    let parsed = match words.as_slice() {
        [ip, port] => format!("{ip}:{port}").parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| InstrumentError::Command {
        doing: "read the primary's address".to_owned(),
        output: words.join(" "),
    })
}

async fn wait_or(
    deadline: Instant,
    timeout: Duration,
    what: impl Fn() -> String,
) -> Result<(), InstrumentError> {
    if Instant::now() >= deadline {
        return Err(InstrumentError::TimedOut { what: what(), waited_ms: timeout.as_millis() });
    }
    tokio::time::sleep(POLL_INTERVAL).await;
    Ok(())
}
