//! The Redis and the Postgres of a stage: the same settings for the engine and for every peer.

use std::path::Path;
use std::time::Duration;

use doorbuster::partition::Partition;
use doorbuster::postgres::{PgPool, connect_pool};
use doorbuster::redis::{Keys, Redis, RedisOptions};
use doorbuster::servers::{self, PostgresOptions, PrivatePostgres, PrivateRedis};
use serde::{Deserialize, Serialize};

use super::StageError;

/// Beside the durable ones: sizes, as any operator would set them. The defaults are for a very small machine.
pub const POSTGRES_SETTINGS: [(&str, &str); 4] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "15min"),
    ("max_connections", "200"),
];
const DATABASE: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(60);

/// What holds an order before its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// The memory of Redis; it syncs its file each second.
    Memory,
    /// The file of Redis, synced.
    #[default]
    Fsync,
    /// That, and the memory of a replica.
    Replica,
}

impl Ack {
    /// As the engine's setting has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fsync => "fsync",
            Self::Replica => "replica",
        }
    }
}

/// The servers of one stage.
pub struct Servers {
    /// Redis.
    pub redis: PrivateRedis,
    /// Its replica, with [`Ack::Replica`].
    pub replica: Option<PrivateRedis>,
    /// Postgres.
    pub postgres: PrivatePostgres,
    /// Connections to it, for this program's own questions.
    pub pool: PgPool,
    client: Redis,
}

impl Servers {
    /// Starts them in `dir`.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn start(dir: &Path, ack: Ack) -> Result<Self, StageError> {
        let fsync = if ack == Ack::Memory { "everysec" } else { "always" };
        let redis = PrivateRedis::start(servers::RedisOptions {
            data_dir: dir.join("redis"),
            extra_args: vec![("appendfsync".into(), fsync.into())],
            ..Default::default()
        })
        .await?;
        let replica = match ack {
            Ack::Replica => {
                let of = ("replicaof".to_owned(), format!("127.0.0.1 {}", redis.port()));
                let options = servers::RedisOptions {
                    data_dir: dir.join("replica"),
                    extra_args: vec![of],
                    ..Default::default()
                };
                Some(PrivateRedis::start(options).await?)
            }
            _ => None,
        };
        let settings = POSTGRES_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let postgres = PrivatePostgres::start(PostgresOptions {
            data_dir: dir.join("postgres"),
            extra_settings: settings.to_vec(),
            ..Default::default()
        })
        .await?;
        postgres.create_database(DATABASE).await?;
        let pool = connect_pool(&postgres.url(DATABASE), 8, PATIENCE)?;
        let options = RedisOptions { url: redis.url(), timeout: PATIENCE, queue_max: 1 << 16 };
        let client = Redis::connect(&options)?;
        client.wait_ready().await?;
        Ok(Self { redis, replica, postgres, pool, client })
    }

    /// Address of the database.
    pub fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// A connection to the database.
    ///
    /// # Errors
    /// [`StageError::Pool`].
    pub async fn db(&self) -> Result<deadpool_postgres::Object, StageError> {
        Ok(self.pool.get().await.map_err(doorbuster::postgres::PgError::from)?)
    }

    /// A client of Redis.
    pub fn client(&self) -> &Redis {
        &self.client
    }

    /// A section of INFO, as text.
    ///
    /// # Errors
    /// [`StageError::Redis`].
    pub async fn redis_info(&self, section: &'static str) -> Result<String, StageError> {
        let key = Keys::new(Partition::new(0)).meta;
        let reply = self.client.command("INFO", &key, vec![section.into()]).await?;
        Ok(reply.as_string().unwrap_or_default())
    }
}
