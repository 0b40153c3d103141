//! Servers of a test's own, and a client that shows every byte.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chaos::instruments::{InstrumentError, redis_command};
use doorbuster::servers::{PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn tempdir() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

pub fn redis_options(dir: &Path) -> RedisOptions {
    RedisOptions { data_dir: dir.join("redis"), ..Default::default() }
}

pub fn postgres_options(dir: &Path) -> PostgresOptions {
    PostgresOptions { data_dir: dir.join("postgres"), ..Default::default() }
}

/// A Redis connection that sends inline commands one at a time.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub async fn open(port: u16) -> std::io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(("127.0.0.1", port)).await? })
    }

    pub async fn send(&mut self, command: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await
    }

    /// What comes next, up to 4 KiB; an error where the connection ends.
    pub async fn receive(&mut self) -> std::io::Result<String> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => Ok(String::from_utf8_lossy(&bytes[..length]).into_owned()),
        }
    }

    pub async fn ask(&mut self, command: &str) -> std::io::Result<String> {
        self.send(command).await?;
        self.receive().await
    }
}

pub fn address(redis: &PrivateRedis) -> SocketAddr {
    (redis.host(), redis.port()).into()
}

/// A reply as text; nothing for nil.
pub async fn redis_text(server: SocketAddr, words: &[&str]) -> Result<Option<String>, InstrumentError> {
    Ok(redis_command(server, words).await?.into_string())
}

pub async fn sql_client(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub async fn count_rows(postgres: &PrivatePostgres) -> i64 {
    let client = sql_client(&postgres.url("postgres")).await.unwrap();
    client.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0)
}

/// Whether an instrument is not to be had here. Then the test says so, and is over.
pub fn not_run<T>(made: Result<T, InstrumentError>) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(error) if error.is_unavailable() => {
            eprintln!("not run: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
