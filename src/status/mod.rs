//! How the engine stands, seen from outside: what Redis and Postgres say of each partition.

mod attention;
mod drift;
mod postgres;
mod redis;

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use crate::partition::Partition;
use crate::postgres::{PgPool, within};
use crate::redis::{Redis, RedisError};

pub use attention::Attention;
pub use drift::{Drift, KnownDrift};
pub use postgres::{InDatabase, InPostgres, Keeper};
pub use redis::{Consumer, InRedis, LogSize, Meta, State};

/// What was seen at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Each partition, in order.
    pub partitions: Vec<PartitionStatus>,
    /// What concerns all of them; `None` while Postgres does not answer.
    pub database: Option<InDatabase>,
    /// Why Redis did not answer.
    pub redis_error: Option<String>,
    /// Why Postgres did not answer.
    pub postgres_error: Option<String>,
    /// What an operator should look at, most urgent first.
    pub attention: Vec<Attention>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u8,
    /// `None` while Redis does not answer.
    pub redis: Option<InRedis>,
    /// `None` while Postgres does not answer, or where it has no row for the partition.
    pub postgres: Option<InPostgres>,
    /// Redis held against Postgres; `None` while one of them does not answer.
    pub drift: Option<Drift>,
}

impl Status {
    /// Asks both servers. One that is away is a finding, not a failure.
    ///
    /// `configured` is the number of partitions to look at while Postgres, which knows it, is away. `limit` bounds
    /// each server's answers; `lag_max` is the age from which an entry or a change of stock counts as stuck.
    pub async fn collect(
        redis: &Redis,
        pool: &PgPool,
        configured: u8,
        limit: Duration,
        lag_max: Duration,
    ) -> Self {
        let (database, postgres_error) = match within(limit, postgres::ask(pool)).await {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (database, in_postgres) = database.map_or((None, Vec::new()), |(all, each)| (Some(all), each));
        let count = in_postgres.iter().map(|(number, _)| number + 1).max().unwrap_or(configured);
        let sales = database.as_ref().map(|all| all.in_redis.clone()).unwrap_or_default();
        let asked = async {
            let mut each = Vec::new();
            redis.wait_ready().await?;
            for number in 0..count {
                each.push(redis::ask(redis, Partition::new(number), &sales).await?);
            }
            Ok::<_, RedisError>(each)
        };
        let (in_redis, redis_error) = match tokio::time::timeout(limit, asked).await {
            Ok(Ok(each)) => (each, None),
            Ok(Err(error)) => (Vec::new(), Some(error.to_string())),
            Err(_) => (Vec::new(), Some(RedisError::Timeout.to_string())),
        };
        let mut in_redis = in_redis.into_iter();
        let partitions = (0..count)
            .map(|partition| PartitionStatus {
                partition,
                redis: in_redis.next(),
                postgres: in_postgres
                    .iter()
                    .find(|(number, _)| *number == partition)
                    .map(|(_, found)| found.clone()),
                drift: None,
            })
            .collect();
        let mut status = Self { partitions, database, redis_error, postgres_error, attention: Vec::new() };
        if status.is_complete() {
            status.ask_drift(redis, pool, limit).await;
        }
        status.attention = attention::find(&status, lag_max);
        status
    }

    /// All partitions at once: each takes its time where its log is not persisted yet.
    async fn ask_drift(&mut self, redis: &Redis, pool: &PgPool, limit: Duration) {
        let asked = self.partitions.iter().map(|one| async {
            let open = one.redis.as_ref().filter(|redis| redis.state == State::Open);
            let stamp = open.and_then(|redis| redis.meta.stamp.as_deref());
            drift::ask(redis, pool, (Partition::new(one.partition), stamp), limit).await
        });
        let found = join_all(asked).await;
        self.partitions.iter_mut().zip(found).for_each(|(one, drift)| one.drift = Some(drift));
    }

    /// Whether both servers have answered.
    pub fn is_complete(&self) -> bool {
        self.redis_error.is_none() && self.postgres_error.is_none()
    }
}
