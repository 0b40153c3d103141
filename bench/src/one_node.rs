//! A node of its own with servers of its own, for the tools beside the benchmark.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use doorbuster::catalogue::{CatalogueStore, NewSale};
use doorbuster::postgres::connect_pool;
use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// For whatever is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A node in all roles. Everything ends with it.
pub struct OneNode {
    /// Where buyers call.
    pub address: SocketAddr,
    /// Its database.
    pub postgres_url: String,
    /// The process.
    pub process: Child,
    _redis: PrivateRedis,
    _postgres: PrivatePostgres,
    _dir: TempDir,
}

impl Drop for OneNode {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl OneNode {
    /// Starts it with these settings (names and values in the environment), and waits until it sells. The binary is the one
    /// beside this program.
    pub async fn start(settings: &[(&str, String)]) -> Self {
        let dir = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary directory");
        let options = RedisOptions { data_dir: dir.path().join("redis"), ..Default::default() };
        let redis = PrivateRedis::start(options).await.expect("redis");
        let options = PostgresOptions { data_dir: dir.path().join("postgres"), ..Default::default() };
        let postgres = PrivatePostgres::start(options).await.expect("postgres");
        postgres.create_database("bench").await.expect("a database");
        let postgres_url = postgres.url("bench");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let program = std::env::current_exe().expect("this program").with_file_name("doorbuster");
        let process = Command::new(program)
            .arg("run")
            .env("DOORBUSTER_LISTEN", address.to_string())
            .env("DOORBUSTER_REDIS_URL", redis.url())
            .env("DOORBUSTER_POSTGRES_URL", &postgres_url)
            .env("DOORBUSTER_TRUSTED_BUYER_HEADER", "x-buyer-id")
            .env("DOORBUSTER_LOG_FILTER", "warn")
            .env("DOORBUSTER_ATTEMPTS_PER_SECOND", "0")
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .spawn()
            .expect("build doorbuster first, in the same profile");
        let node = Self { address, postgres_url, process, _redis: redis, _postgres: postgres, _dir: dir };
        let end = Instant::now() + PATIENCE;
        while !is_ready(address).await {
            assert!(Instant::now() < end, "the node does not get ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        node
    }

    /// Creates a sale of one SKU, `TEE`, which is open; `terms` are added to its definition.
    pub async fn create_sale(&self, id: &str, stock: u64, terms: Value) {
        let mut definition = serde_json::json!({
            "id": id, "name": id, "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
            "items": [{ "sku": "TEE", "stock": stock }],
            "products": [{ "sku": "TEE", "name": "Tee", "price": 1999, "currency": "EUR" }],
        });
        for (name, value) in terms.as_object().expect("terms by name") {
            definition[name] = value.clone();
        }
        let store =
            CatalogueStore::new(connect_pool(&self.postgres_url, 2, PATIENCE).expect("a pool"), PATIENCE);
        let sale = NewSale::read(&definition).expect("a definition");
        let created = store.create_sale(&sale, "bench").await.expect("a sale");
        assert!(store.wait_published(&sale.id, created.version(), PATIENCE).await.applied, "not published");
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// A connection of a buyer.
pub async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Claims a unit; whether it was accepted.
pub async fn claim(stream: &mut TcpStream, sale: &str, buyer: &str) -> bool {
    let body = r#"{"items":[{"sku":"TEE","quantity":1}]}"#;
    let request = format!(
        "POST /v1/sales/{sale}/orders HTTP/1.1\r\nHost: x\r\nX-Buyer-Id: {buyer}\r\nIdempotency-Key: k\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = [0; 2048];
    // An answer is small, and one write of the node.
    let read = stream.read(&mut answer).await.expect("an answer");
    answer[..read].starts_with(b"HTTP/1.1 202")
}
