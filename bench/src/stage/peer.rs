//! The peers: what people deploy instead, each with servers of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::process::Launch;
use super::{
    Ack, Process, Servers, StageError, free_address, get_status, sibling, temporary_dir, wait_until,
};

/// The tables that all peers share.
const SCHEMA: &str = include_str!("../../peers/schema.sql");

/// How much of what npm says goes into an error.
const NPM_LINES_MAX: usize = 10;

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// Express, BullMQ, and a worker that locks the row of the item.
    BullmqLock,
    /// Fastify, an atomic Lua script, and BullMQ for persistence.
    LuaBullmq,
    /// hyper and Postgres alone: INSERT, then a conditional UPDATE.
    PostgresUpdate,
    /// hyper and Postgres alone: a row for each unit, taken with SKIP LOCKED.
    PostgresSkipLocked,
}

/// All of them, in the order in which they are shown.
pub const PEERS: [PeerKind; 4] =
    [PeerKind::BullmqLock, PeerKind::LuaBullmq, PeerKind::PostgresUpdate, PeerKind::PostgresSkipLocked];

impl PeerKind {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::BullmqLock => "bullmq-lock",
            Self::LuaBullmq => "lua-bullmq",
            Self::PostgresUpdate => "postgres-update",
            Self::PostgresSkipLocked => "postgres-skip-locked",
        }
    }

    /// The peer of a name.
    pub fn named(name: &str) -> Option<Self> {
        PEERS.into_iter().find(|peer| peer.name() == name)
    }

    /// Whether a 202 only says that the claim is queued: its order may still be refused.
    pub fn answers_before_it_decides(self) -> bool {
        self == Self::BullmqLock
    }

    fn node_dir(self) -> Option<PathBuf> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        matches!(self, Self::BullmqLock | Self::LuaBullmq).then(|| here.join(self.name()))
    }
}

/// A running peer.
pub struct Peer {
    /// Which.
    pub kind: PeerKind,
    /// Where buyers call.
    pub address: SocketAddr,
    /// Redis and Postgres.
    pub servers: Servers,
    /// The root of its processes.
    pub process: Process,
    _dir: tempfile::TempDir,
}

impl Peer {
    /// Starts servers and processes; installs a Node peer's packages at its first use.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn start(base: &Path, kind: PeerKind) -> Result<Self, StageError> {
        let dir = temporary_dir(base)?;
        let servers = Servers::start(dir.path(), Ack::Fsync).await?;
        servers.db().await?.batch_execute(SCHEMA).await?;
        let address = free_address()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let environment = vec![
            ("LISTEN".to_owned(), address.to_string()),
            ("PORT".to_owned(), address.port().to_string()),
            ("PROCESSES".to_owned(), cores.to_string()),
            ("REDIS_URL".to_owned(), servers.redis.url()),
            ("DATABASE_URL".to_owned(), servers.database_url()),
            ("NODE_ENV".to_owned(), "production".to_owned()),
        ];
        let log = dir.path().join("peer.log");
        let mut process = match kind.node_dir() {
            Some(node_dir) => {
                install_packages(&node_dir).await?;
                Process::start(Launch {
                    name: kind.name(),
                    program: Path::new("node"),
                    arguments: vec!["main.js".into()],
                    environment,
                    dir: &node_dir,
                    log,
                })?
            }
            None => {
                let variant = if kind == PeerKind::PostgresUpdate { "update" } else { "skip-locked" };
                Process::start(Launch {
                    name: kind.name(),
                    program: &sibling("peer-postgres")?,
                    arguments: vec![variant.into()],
                    environment,
                    dir: dir.path(),
                    log,
                })?
            }
        };
        wait_until(kind.name(), || {
            let checked = process.check();
            async move {
                checked?;
                Ok(get_status(address, "/healthz").await == Some(200))
            }
        })
        .await?;
        Ok(Self { kind, address, servers, process, _dir: dir })
    }

    /// Puts `stock` units of each SKU on sale, wherever this design keeps them.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn create_sale(&self, id: &str, skus: &[String], stock: u64) -> Result<(), StageError> {
        let units = i64::try_from(stock).unwrap_or(i64::MAX);
        let db = self.servers.db().await?;
        db.execute(
            "INSERT INTO stock (sale, sku, allotted) SELECT $1, unnest($2::text[]), $3",
            &[&id, &skus, &units],
        )
        .await?;
        match self.kind {
            PeerKind::PostgresSkipLocked => {
                db.execute(
                    "INSERT INTO units (sale, sku) SELECT $1, sku FROM unnest($2::text[]) sku, generate_series(1, $3::bigint)",
                    &[&id, &skus, &units],
                )
                .await?;
                db.batch_execute("VACUUM ANALYZE units").await?;
            }
            PeerKind::LuaBullmq => {
                let key = doorbuster::redis::Keys::new(doorbuster::partition::Partition::new(0)).meta;
                for sku in skus {
                    let arguments = vec![format!("stock:{id}:{sku}").into(), units.into()];
                    self.servers.client().command("SET", &key, arguments).await?;
                }
            }
            PeerKind::BullmqLock | PeerKind::PostgresUpdate => {}
        }
        Ok(())
    }
}

/// `npm ci`, where the packages are not there as the lockfile names them.
async fn install_packages(dir: &Path) -> Result<(), StageError> {
    let lock = std::fs::read(dir.join("package-lock.json"))
        .map_err(|source| StageError::io("read a peer's package-lock.json", source))?;
    let installed = dir.join("node_modules/.installed-lock.json");
    if std::fs::read(&installed).is_ok_and(|found| found == lock) {
        return Ok(());
    }
    let output = tokio::process::Command::new("npm")
        .args(["ci", "--omit=dev", "--no-audit", "--no-fund"])
        .current_dir(dir)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .map_err(|source| StageError::io("start npm (run \"make bench-deps\")", source))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        // The usage of npm follows; the reason stands at the beginning.
        let errors = stderr.lines().filter(|line| line.starts_with("npm error")).take(NPM_LINES_MAX);
        let said = errors.collect::<Vec<_>>().join("\n");
        return Err(StageError::Packages { dir: dir.to_path_buf(), said });
    }
    std::fs::write(installed, lock).map_err(|source| StageError::io("note what is installed", source))
}
