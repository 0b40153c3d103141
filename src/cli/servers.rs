//! Both servers, for a command that works beside running nodes.

use std::time::Duration;

use super::CliError;
use super::runtime::block_on;
use crate::config::Settings;
use crate::gate::Gate;
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::node::keeper_options;
use crate::partition::{Partition, Partitions};
use crate::postgres::{PgError, PgPool, connect_pool};
use crate::redis::{Redis, RedisOptions};
use crate::telemetry;

/// Connections of one command.
const CONNECTIONS: usize = 4;
/// Commands that may wait for Redis.
const QUEUE_MAX: usize = 256;

/// The way to Redis and to Postgres. Nothing is connected until it is needed.
pub(super) struct Servers {
    pub redis: Redis,
    pub pool: PgPool,
    /// For one statement, or one transaction of a few.
    pub timeout: Duration,
}

impl Servers {
    /// As the settings say.
    pub(super) fn of(settings: &Settings) -> Result<Self, CliError> {
        let timeout = settings.postgres_timeout_ms.duration();
        let options = RedisOptions {
            url: settings.redis_url.expose().to_owned(),
            timeout: settings.redis_timeout_ms.duration(),
            queue_max: QUEUE_MAX,
        };
        let redis = Redis::connect(&options)?;
        let pool = connect_pool(settings.postgres_url.expose(), CONNECTIONS, timeout)?;
        Ok(Self { redis, pool, timeout: timeout * 2 })
    }

    /// The number of partitions, which only Postgres knows: this machine may be configured otherwise, or not at all.
    pub(super) async fn partitions(&self) -> Result<Partitions, CliError> {
        let db = self.pool.get().await.map_err(PgError::from)?;
        let row = db.query_one("SELECT count(*) FROM partitions", &[]).await.map_err(PgError::from)?;
        let count = u8::try_from(row.get::<_, i64>(0)).ok().and_then(Partitions::new);
        count.ok_or(CliError::NotMigrated)
    }

    /// Those that a command is about: the one that was given, or all.
    pub(super) async fn chosen(&self, partition: Option<u8>) -> Result<Vec<Partition>, CliError> {
        match self.checked(partition).await? {
            None => Ok(self.partitions().await?.all().collect()),
            Some(partition) => Ok(vec![partition]),
        }
    }

    /// The partition that was given, if one was: one of those that are there.
    pub(super) async fn checked(&self, partition: Option<u8>) -> Result<Option<Partition>, CliError> {
        let Some(number) = partition else { return Ok(None) };
        match self.partitions().await?.count() {
            count if number < count => Ok(Some(Partition::new(number))),
            count => Err(CliError::NoSuchPartition { number, count }),
        }
    }
}

/// Runs the work of a command that needs them.
///
/// # Errors
/// Where the settings are of no use, and those of the work.
pub(super) fn with_servers<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(Servers) -> Result<T, CliError>,
) -> Result<T, CliError> {
    telemetry::init(settings)?;
    block_on(async { work(Servers::of(settings)?).await })?
}

/// A keeper for one opening that an operator asks for.
pub(super) fn operators_keeper(
    redis: &Redis,
    pool: &PgPool,
    settings: &Settings,
    partition: Partition,
) -> Keeper {
    Keeper {
        partition,
        redis: redis.clone(),
        pool: pool.clone(),
        gate: Gate::watch(redis.clone(), partition),
        options: keeper_options(settings),
        metrics: Metrics::new(),
    }
}
