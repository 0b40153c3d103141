//! A world of its own for each test: a private Redis, a database on a PostgreSQL that all tests of this binary
//! share, and a node with every role.

pub mod backup;
pub mod block;
pub mod claims;
pub mod event_stream;
pub mod forwarder;
pub mod http;
pub mod life;
pub mod payments;
pub mod receiver;

use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use doorbuster::catalogue::{CatalogueStore, ControlAction, NewSale, SaleId};
use doorbuster::config::{Millis, Settings};
use doorbuster::node::Node;
use doorbuster::postgres::connect_pool;
use doorbuster::redis::{Redis, RedisOptions};
use doorbuster::servers::{self, PostgresOptions, PrivatePostgres, PrivateRedis};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

pub use backup::assert_same;
pub use block::Block;
pub use forwarder::Forwarder;
pub use http::{Client, Reply};

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    pub redis: PrivateRedis,
    pub postgres_url: String,
    pub settings: Settings,
    pub node: Option<Node>,
    pub store: CatalogueStore,
    pub db: tokio_postgres::Client,
    /// Only where a test asked for a PostgreSQL of its own.
    pub postgres: Option<PrivatePostgres>,
    dir: TempDir,
    _postgres_dir: Option<TempDir>,
}

pub fn tempdir() -> TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// The PostgreSQL that tests share. It is ended by its guard when this process ends.
async fn shared_postgres() -> (&'static Mutex<PrivatePostgres>, u32) {
    static SHARED: tokio::sync::OnceCell<(TempDir, Mutex<PrivatePostgres>)> =
        tokio::sync::OnceCell::const_new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (_, postgres) = SHARED
        .get_or_init(|| async {
            let dir = tempdir();
            let options = PostgresOptions { data_dir: dir.path().join("postgres"), ..Default::default() };
            (dir, Mutex::new(PrivatePostgres::start(options).await.unwrap()))
        })
        .await;
    (postgres, NEXT.fetch_add(1, Ordering::Relaxed))
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with_partitions(partitions: u8) -> Self {
        Self::with(|settings| settings.partitions = partitions).await
    }

    /// As [`World::with_partitions`], for a test in which Redis becomes another process.
    pub async fn with_short_lease(partitions: u8) -> Self {
        Self::with(|settings| {
            settings.partitions = partitions;
            settings.lease_ms = Millis::new(3_000);
        })
        .await
    }

    /// A world whose settings `change` has changed, on the shared PostgreSQL.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let (postgres, number) = shared_postgres().await;
        let name = format!("world_{number}");
        let url = {
            let postgres = postgres.lock().await;
            postgres.create_database(&name).await.unwrap();
            postgres.url(&name)
        };
        Self::on(url, None, change).await
    }

    /// A world with a PostgreSQL that this test may stop.
    pub async fn with_own_postgres(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempdir();
        let options = PostgresOptions { data_dir: dir.path().join("postgres"), ..Default::default() };
        let postgres = PrivatePostgres::start(options).await.unwrap();
        postgres.create_database("world").await.unwrap();
        let url = postgres.url("world");
        let mut world = Self::on(url, Some(postgres), change).await;
        world._postgres_dir = Some(dir);
        world
    }

    async fn on(url: String, postgres: Option<PrivatePostgres>, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempdir();
        let options = servers::RedisOptions { data_dir: dir.path().join("redis"), ..Default::default() };
        let redis = PrivateRedis::start(options).await.unwrap();
        let mut settings = test_settings(&redis, &url);
        change(&mut settings);
        let node = Node::start(&settings).await.unwrap();
        let pool = connect_pool(&url, 4, Duration::from_secs(10)).unwrap();
        let (db, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let world = Self {
            redis,
            postgres_url: url,
            settings,
            node: Some(node),
            store: CatalogueStore::new(pool, Duration::from_secs(10)),
            db,
            postgres,
            dir,
            _postgres_dir: None,
        };
        assert!(world.node().wait_ready(PATIENCE).await, "the partitions do not open");
        world
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.node().api.unwrap())
    }

    /// Another node of the same world; the caller stops it.
    pub async fn second_node(&self, change: impl FnOnce(&mut Settings)) -> Node {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Node::start(&settings).await.unwrap()
    }

    pub async fn stop_node(&mut self) {
        self.node.take().unwrap().stop().await;
    }

    /// Workers and keepers end where they are: what they have in hand is lost.
    pub fn crash_node(&mut self) {
        drop(self.node.take());
    }

    /// A node whose partitions are nobody's concern yet.
    pub async fn start_node_silently(&mut self) {
        self.node = Some(Node::start(&self.settings).await.unwrap());
    }

    pub async fn start_node(&mut self) {
        let before = self.count("SELECT min(epoch) FROM partitions").await;
        self.node = Some(Node::start(&self.settings).await.unwrap());
        // Until the new keeper is at work, the opening of the last one may still stand.
        self.until("every partition is opened anew", || async {
            self.count("SELECT min(epoch) FROM partitions").await > before
        })
        .await;
        self.all_open().await;
    }

    pub async fn all_open(&self) {
        self.until("every partition is open", || self.says_open()).await;
        assert!(self.node().wait_ready(PATIENCE).await, "the partitions do not open");
    }

    /// Whether Redis says of every partition that it is open.
    async fn says_open(&self) -> bool {
        for partition in 0..self.settings.partitions {
            let meta = format!("{{p{partition}}}:meta");
            if self.redis_says(&["HGET", &meta, "state"]).await != "open" {
                return false;
            }
        }
        true
    }

    /// A sale that is open, with these items as `(sku, stock, per_buyer_limit)`, ready to be sold.
    pub async fn open_sale(&self, id: &str, items: &[(&str, i64, Option<i32>)]) -> SaleId {
        self.sale(id, items, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await
    }

    pub async fn sale(
        &self,
        id: &str,
        items: &[(&str, i64, Option<i32>)],
        opens: &str,
        closes: &str,
    ) -> SaleId {
        let sale = self.published_sale(id, items, opens, closes).await;
        self.no_intents_open().await;
        sale
    }

    /// A sale that Redis knows, but whose units may still be on their way.
    pub async fn published_sale(
        &self,
        id: &str,
        items: &[(&str, i64, Option<i32>)],
        opens: &str,
        closes: &str,
    ) -> SaleId {
        let products: Vec<Value> = items
            .iter()
            .map(|(sku, ..)| json!({ "sku": sku, "name": sku, "price": 1999, "currency": "EUR" }))
            .collect();
        let items: Vec<Value> = items
            .iter()
            .map(|(sku, stock, limit)| match limit {
                Some(limit) => json!({ "sku": sku, "stock": stock, "per_buyer_limit": limit }),
                None => json!({ "sku": sku, "stock": stock }),
            })
            .collect();
        let definition = json!({
            "id": id, "name": id, "opens_at": opens, "closes_at": closes, "items": items, "products": products,
        });
        let sale = NewSale::read(&definition).unwrap();
        let created = self.store.create_sale(&sale, "test").await.unwrap();
        let published = self.store.wait_published(&sale.id, created.version(), PATIENCE).await;
        assert!(published.applied, "{published:?}");
        sale.id
    }

    /// Waits until every change of stock has come back through the log.
    pub async fn no_intents_open(&self) {
        self.until("no change of stock is open", || async {
            self.count("SELECT count(*) FROM stock_intents WHERE applied_at IS NULL").await == 0
        })
        .await;
    }

    pub async fn control(&self, sale: &SaleId, action: ControlAction) {
        let changed = self.store.set_control(sale, action).await.unwrap();
        assert!(self.store.wait_published(sale, changed.version, PATIENCE).await.applied);
    }

    /// Waits until claims pass again after Redis was restarted: its scripts are gone until the keeper has opened.
    pub async fn start_anew_after_redis(&self) {
        self.until("every partition is open on the new redis", || async {
            self.says_open().await && self.probe().await
        })
        .await;
    }

    /// Whether a claim that finds nothing passes in every partition.
    async fn probe(&self) -> bool {
        let client = self.client();
        let sales = self.reconnect().await.query("SELECT id FROM sales LIMIT 1", &[]).await.unwrap();
        let Some(sale) = sales.first().map(|row| row.get::<_, String>(0)) else { return true };
        let sku = self
            .reconnect()
            .await
            .query_one("SELECT sku FROM sale_items WHERE sale_id = $1 LIMIT 1", &[&sale])
            .await;
        let sku: String = sku.unwrap().get(0);
        for buyer in 0..16 {
            // More than any sale here has: refused wherever it is decided.
            let reply = client.claim(&sale, &format!("probe-{buyer}"), "probe", &[(&sku, 10_000)]).await;
            if ["unavailable", "indeterminate"].contains(&reply.problem().1)
                && !self.is_empty_partition_answer(&reply)
            {
                return false;
            }
        }
        true
    }

    /// With several partitions an empty one says "try again" while others have units.
    fn is_empty_partition_answer(&self, reply: &Reply) -> bool {
        reply.body["detail"].as_str().is_some_and(|detail| detail.contains("partition"))
    }

    pub async fn reconnect(&self) -> tokio_postgres::Client {
        let (db, connection) =
            tokio_postgres::connect(&self.postgres_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        db
    }

    /// The append-only files of Redis as they are now.
    pub fn redis_data(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let dir = self.redis_dir().join("appendonlydir");
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
    }

    /// Puts older files back, as after a restore; Redis must be stopped.
    pub fn put_redis_data(&self, files: &[(std::path::PathBuf, Vec<u8>)]) {
        for (path, content) in files {
            std::fs::write(path, content).unwrap();
        }
    }

    /// The data directory of a PostgreSQL of its own.
    pub fn postgres_dir(&self) -> std::path::PathBuf {
        self._postgres_dir.as_ref().unwrap().path().join("postgres/pgdata")
    }

    fn redis_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("redis")
    }

    /// One number from the database.
    pub async fn count(&self, query: &str) -> i64 {
        self.db.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Units of an item in Redis, all partitions together; panics where a partition has none.
    pub async fn stock(&self, sale: &SaleId, sku: &str) -> i64 {
        let mut total = 0;
        for partition in 0..self.settings.partitions {
            let (key, field) = (format!("{{p{partition}}}:sale:{sale}"), format!("stock:{sku}"));
            total += self.redis_says(&["HGET", &key, &field]).await.parse::<i64>().unwrap();
        }
        total
    }

    /// Runs `redis-cli`.
    pub async fn redis_says(&self, words: &[&str]) -> String {
        let port = self.redis.port().to_string();
        let output =
            tokio::process::Command::new("redis-cli").args(["-p", &port]).args(words).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes an entry into the first partition's log and counts it, as a script does.
    pub async fn append(&self, field: &str, value: &str) {
        let both = "redis.call('HINCRBY', KEYS[1], 'appended', 1)
            return redis.call('XADD', KEYS[2], '*', ARGV[1], ARGV[2])";
        self.redis_says(&["EVAL", both, "2", "{p0}:meta", "{p0}:log", field, value]).await;
    }

    /// A connection to Redis as a node makes it.
    pub async fn redis_client(&self) -> Redis {
        let options =
            RedisOptions { url: self.redis.url(), timeout: Duration::from_secs(10), queue_max: 100 };
        let redis = Redis::connect(&options).unwrap();
        redis.wait_ready().await.unwrap();
        redis
    }

    /// Waits until every entry of every log is settled.
    pub async fn drained(&self) {
        self.until("the backlog is drained", || async {
            for partition in 0..self.settings.partitions {
                let meta = format!("{{p{partition}}}:meta");
                let counts = self.redis_says(&["HMGET", &meta, "state", "appended", "settled"]).await;
                let counts: Vec<&str> = counts.lines().collect();
                if counts.len() != 3 || counts[0] != "open" || counts[1] != counts[2] {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Promises 1 and 4 at rest, for one item: stock in Redis + units of active orders = allotment.
    pub async fn assert_balanced(&self, sale: &SaleId, sku: &str) {
        let row = self
            .db
            .query_one(
                "SELECT sum(allotted)::bigint, sum(sold)::bigint FROM sale_stock WHERE sale_id = $1 AND sku = $2",
                &[&sale.as_str(), &sku],
            )
            .await
            .unwrap();
        let (allotted, sold): (i64, i64) = (row.get(0), row.get(1));
        let active = self
            .db
            .query_one(
                "SELECT coalesce(sum(l.quantity), 0)::bigint FROM orders o JOIN order_lines l ON l.order_id = o.id
                 WHERE o.sale_id = $1 AND l.sku = $2 AND o.state <> 'cancelled'",
                &[&sale.as_str(), &sku],
            )
            .await
            .unwrap()
            .get::<_, i64>(0);
        assert_eq!(active, sold, "units of active orders against sale_stock.sold");
        assert_eq!(self.stock(sale, sku).await + sold, allotted, "redis + sold against the allotment");
    }

    /// Waits until `condition` holds.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl FnMut() -> F) {
        until(what, condition).await;
    }
}

/// Waits until `condition` holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn test_settings(redis: &PrivateRedis, postgres_url: &str) -> Settings {
    static TRACING: OnceLock<()> = OnceLock::new();
    TRACING.get_or_init(|| {
        if let Ok(filter) = std::env::var("TEST_LOG") {
            tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().init();
        }
    });
    let mut settings = Settings::default();
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings.redis_url = doorbuster::config::RedisUrl::new(&redis.url()).unwrap();
    settings.postgres_url = doorbuster::config::PostgresUrl::new(postgres_url).unwrap();
    settings.trusted_buyer_header = Some("x-buyer-id".parse().unwrap());
    settings.attempts_per_second = 0;
    settings.postgres_pool_max = 8;
    // Longer than by default: a busy machine must not make a test see an opening that it did not ask for. Tests that
    // replace Redis wait it out, and shorten it.
    settings.lease_ms = Millis::new(10_000);
    settings
}
