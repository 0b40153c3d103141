//! The whole of a Doorbuster: a private Redis and Postgres, and real processes of the engine.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use doorbuster::catalogue::CatalogueStore;
use doorbuster::partition::{Partition, Partitions};
use doorbuster::postgres::{PartitionLock, connect_pool};
use doorbuster::redis::{Keys, Redis, RedisOptions, Reply};
use doorbuster::servers::{PrivatePostgres, free_port};
use fred::types::Value;
use tempfile::TempDir;

use crate::ChaosError;
use crate::gateway::Gateway;
use crate::instruments::ReplicaSet;
use crate::node_process::{NodeOptions, NodeProcess, Role};
use crate::storage::{Instruments, Layout, Storage};

/// How long anything may take that must happen: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
const DATABASE: &str = "chaos";
/// Of the operators.
pub const ADMIN_TOKEN: &str = "no-secret-of-a-chaos-deployment";
/// Processes that ask the gateway, where there is one.
const PAYMENT_NODES: usize = 2;
const POLL: Duration = Duration::from_millis(20);
/// For what the tests themselves ask of Redis.
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
/// For the catalogue's statements.
const POSTGRES_TIMEOUT: Duration = Duration::from_secs(10);

/// What to deploy.
#[derive(Clone, Debug)]
pub struct DeploymentOptions {
    /// Partitions.
    pub partitions: u8,
    /// Processes that take claims.
    pub apis: usize,
    /// Processes that persist.
    pub workers: usize,
    /// Settings that differ from those of every deployment.
    pub settings: BTreeMap<String, String>,
    /// For `FAILPOINTS` of every node.
    pub failpoints: String,
    /// More lines for redis.conf.
    pub redis: Vec<(String, String)>,
    /// More settings of Postgres.
    pub postgres: Vec<(String, String)>,
    /// Which servers.
    pub layout: Layout,
}

impl Default for DeploymentOptions {
    fn default() -> Self {
        Self {
            partitions: 1,
            apis: 2,
            workers: 2,
            settings: BTreeMap::new(),
            failpoints: String::new(),
            redis: Vec::new(),
            postgres: Vec::new(),
            layout: Layout::Single,
        }
    }
}

/// Everything that runs. Dropping it ends all of it.
pub struct Deployment {
    /// The engine's processes: first those that take claims, then those that persist, then those that ask the gateway.
    pub nodes: Vec<NodeProcess>,
    /// Decides the claims: one server, unless the layout has replicas.
    pub redis: ReplicaSet,
    /// Where orders end.
    pub postgres: PrivatePostgres,
    /// Takes the money, in a layout that has one.
    pub gateway: Option<Gateway>,
    /// What lies around and under them.
    pub instruments: Instruments,
    /// How it was deployed.
    pub options: DeploymentOptions,
    /// Where sales are made.
    pub(crate) store: CatalogueStore,
    dir: PathBuf,
    /// Removed with the deployment, unless it was kept.
    temporary: Option<TempDir>,
}

/// An item of a sale: SKU, units, limit for one buyer.
pub type Item = (&'static str, i64, Option<i32>);

impl Deployment {
    /// Starts everything and waits until every node knows that all partitions are open.
    ///
    /// # Errors
    /// [`ChaosError`].
    pub async fn start(options: DeploymentOptions) -> Result<Self, ChaosError> {
        // Open to the user that PostgreSQL runs as.
        let open = std::fs::Permissions::from_mode(0o755);
        let temporary = tempfile::Builder::new().prefix("doorbuster-chaos-").permissions(open).tempdir();
        let temporary = temporary.map_err(ChaosError::io("make a directory"))?;
        let dir = temporary.path().to_owned();
        // A deadlock is a finding; it need not hold the run up for the usual second.
        let mut postgres = vec![("deadlock_timeout".to_owned(), "100ms".to_owned())];
        postgres.extend(options.postgres.clone());
        let storage = Storage::start(options.layout, &dir, &options.redis, postgres).await?;
        let Storage { redis, postgres, instruments } = storage;
        postgres.create_database(DATABASE).await?;
        let pool = connect_pool(&postgres.url(DATABASE), 4, POSTGRES_TIMEOUT)
            .map_err(|error| ChaosError::Setup(error.to_string()))?;
        let store = CatalogueStore::new(pool, POSTGRES_TIMEOUT);
        let gateway = (options.layout == Layout::WithGateway).then(|| Gateway::new(&dir)).transpose()?;
        let (nodes, temporary) = (Vec::new(), Some(temporary));
        let mut deployment =
            Self { nodes, redis, postgres, gateway, instruments, options, store, dir, temporary };
        deployment.start_nodes()?;
        deployment.start_gateway().await?;
        deployment.all_ready().await?;
        Ok(deployment)
    }

    async fn start_gateway(&mut self) -> Result<(), ChaosError> {
        let first = self.apis().first().copied();
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        if let Some(api) = first {
            gateway.tell(api);
        }
        gateway.start().await
    }

    /// The gateway.
    ///
    /// # Errors
    /// [`ChaosError::Setup`] in a layout without one.
    pub fn gateway(&mut self) -> Result<&mut Gateway, ChaosError> {
        self.gateway
            .as_mut()
            .ok_or_else(|| ChaosError::Setup("there is no gateway in this layout".to_owned()))
    }

    fn start_nodes(&mut self) -> Result<(), ChaosError> {
        let apis = (0..self.options.apis).map(|number| (Role::Api, format!("api-{number}")));
        let workers = (0..self.options.workers).map(|number| (Role::Worker, format!("worker-{number}")));
        let payments = if self.gateway.is_some() { PAYMENT_NODES } else { 0 };
        let payments = (0..payments).map(|number| (Role::Payment, format!("payment-{number}")));
        for (role, name) in apis.chain(workers).chain(payments).collect::<Vec<_>>() {
            let options = NodeOptions {
                role,
                command: vec!["run".to_owned()],
                listen: local_address()?,
                admin: local_address()?,
                settings: self.settings(&name),
                failpoints: self.options.failpoints.clone(),
                variables: BTreeMap::new(),
                under: Vec::new(),
                name,
            };
            self.nodes.push(NodeProcess::start(options, &self.dir)?);
        }
        Ok(())
    }

    /// Short times, so that what a fault takes is seen in seconds.
    fn settings(&self, node: &str) -> BTreeMap<String, String> {
        let postgres_url = self.instruments.postgres_proxy.url_through(&self.postgres.url(DATABASE));
        let postgres_url = format!("{postgres_url}?application_name={node}");
        let redis_url = match &self.instruments.redis_proxy {
            Some(proxy) => proxy.url_through(&self.redis.url()),
            None => self.redis.url(),
        };
        let settings = [
            ("redis_url", redis_url),
            ("postgres_url", postgres_url),
            ("partitions", self.options.partitions.to_string()),
            ("postgres_pool_max", "8".to_owned()),
            ("trusted_buyer_header", "x-buyer-id".to_owned()),
            ("attempts_per_second", "0".to_owned()),
            ("admin_token", ADMIN_TOKEN.to_owned()),
            ("persist_idle_ms", "2000".to_owned()),
            ("lease_ms", "3000".to_owned()),
            ("log_filter", "info".to_owned()),
        ];
        let mut settings: BTreeMap<String, String> = settings
            .into_iter()
            .chain(self.options.layout.settings())
            .chain(self.gateway.iter().flat_map(Gateway::settings))
            .map(|(n, v)| (n.to_owned(), v))
            .collect();
        settings.extend(self.options.settings.clone());
        settings
    }

    /// Where logs and data are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Leaves logs and data where they are.
    pub fn keep(&mut self) -> &Path {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        &self.dir
    }

    /// The addresses that buyers call.
    pub fn apis(&self) -> Vec<SocketAddr> {
        self.of_role(Role::Api).into_iter().map(|node| self.nodes[node].options.listen).collect()
    }

    /// The addresses that operators call, of the same nodes.
    pub fn admins(&self) -> Vec<SocketAddr> {
        self.of_role(Role::Api).into_iter().map(|node| self.nodes[node].options.admin).collect()
    }

    /// Numbers of the nodes of a role.
    pub fn of_role(&self, role: Role) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].options.role == role).collect()
    }

    /// All partitions.
    pub fn partitions(&self) -> Vec<Partition> {
        Partitions::new(self.options.partitions).map(|all| all.all().collect()).unwrap_or_default()
    }

    /// The node that is keeper of the first partition, where one is.
    ///
    /// # Errors
    /// [`ChaosError::Postgres`].
    pub async fn keeper(&self) -> Result<Option<usize>, ChaosError> {
        let query = format!(
            "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid::bigint = {} AND l.objid = 0",
            PartitionLock::Keeper.class()
        );
        let row = self.sql().await?.query_opt(&query, &[]).await?;
        let name: Option<String> = row.map(|row| row.get(0));
        Ok(name.and_then(|name| self.nodes.iter().position(|node| node.options.name == name)))
    }

    /// A new session.
    ///
    /// # Errors
    /// [`ChaosError::Postgres`].
    pub async fn sql(&self) -> Result<tokio_postgres::Client, ChaosError> {
        let url = self.postgres.url(DATABASE);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The database's URL, for a watcher of its own.
    pub fn postgres_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`ChaosError::Redis`].
    pub async fn connect_redis(&self) -> Result<Redis, ChaosError> {
        let options = RedisOptions { url: self.redis.url(), timeout: REDIS_TIMEOUT, queue_max: 1000 };
        let redis = Redis::connect(&options)?;
        redis.wait_ready().await?;
        Ok(redis)
    }

    /// One command, on a connection of its own.
    ///
    /// # Errors
    /// [`ChaosError::Redis`].
    pub async fn redis_command(&self, name: &'static str, args: &[&str]) -> Result<Reply, ChaosError> {
        let redis = self.connect_redis().await?;
        let args = args.iter().map(|arg| Value::from(*arg)).collect();
        let reply = redis.command(name, &Keys::new(Partition::new(0)).meta, args).await;
        redis.close().await;
        Ok(reply?)
    }

    /// Starts every node that does not run, without faults of its own, and waits until all know that it is open.
    ///
    /// # Errors
    /// [`ChaosError::NotInTime`].
    pub async fn start_missing(&mut self) -> Result<(), ChaosError> {
        for node in &mut self.nodes {
            node.options.failpoints.clone_from(&self.options.failpoints);
            node.start_again()?;
        }
        Ok(())
    }

    /// Waits until every API node answers that it is ready.
    ///
    /// # Errors
    /// [`ChaosError::NotInTime`].
    pub async fn all_ready(&self) -> Result<(), ChaosError> {
        let end = Instant::now() + PATIENCE;
        for api in self.apis() {
            while !crate::client::is_ready(api).await {
                if Instant::now() > end {
                    return Err(ChaosError::NotInTime(format!("the node at {api} is ready")));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }
}

pub(crate) fn local_address() -> Result<SocketAddr, ChaosError> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
}
