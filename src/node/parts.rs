//! What the roles of a process share, and how each works by the settings.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::NodeError;
use crate::catalogue::CatalogueStore;
use crate::claim::Decider;
use crate::config::{Ack, DurabilityCheck, Settings};
use crate::gate::Gate;
use crate::http::HttpLimits;
use crate::keeper::{self, KeeperOptions};
use crate::metrics::Metrics;
use crate::order_life::OrderLife;
use crate::partition::Partitions;
use crate::postgres::{PgPool, connect_pool, ensure_partitions, migrate};
use crate::redis::{Redis, RedisOptions, ReplicaWait};

/// Commands that may wait for a connection to Redis; claims wait in their intakes, not here.
const REDIS_QUEUE_MAX: usize = 4096;

/// What every role shares.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) partitions: Partitions,
    pub(super) redis_options: RedisOptions,
    pub(super) pool: PgPool,
    pub(super) gates: Vec<Gate>,
    pub(super) metrics: Arc<Metrics>,
}

impl<'a> Parts<'a> {
    pub(super) async fn prepare(settings: &'a Settings) -> Result<Self, NodeError> {
        let partitions = Partitions::new(settings.partitions)
            .ok_or_else(|| NodeError::Settings("partitions must be at least 1".into()))?;
        let timeout = settings.postgres_timeout_ms.duration();
        let url = settings.postgres_url.expose();
        migrate(url, timeout).await?;
        let pool = connect_pool(url, settings.postgres_pool_max, timeout)?;
        ensure_partitions(&pool, settings.partitions).await?;
        let redis_options = RedisOptions {
            url: settings.redis_url.expose().to_owned(),
            timeout: settings.redis_timeout_ms.duration(),
            queue_max: REDIS_QUEUE_MAX,
        };
        let watcher = Redis::connect(&redis_options)?;
        let gates = partitions.all().map(|partition| Gate::watch(watcher.clone(), partition)).collect();
        Ok(Self { settings, partitions, redis_options, pool, gates, metrics: Metrics::new() })
    }

    pub(super) fn store(&self) -> CatalogueStore {
        CatalogueStore::new(self.pool.clone(), self.settings.postgres_timeout_ms.duration())
    }

    pub(super) fn orders(&self) -> OrderLife {
        OrderLife::new(self.pool.clone(), self.settings.postgres_timeout_ms.duration())
    }
}

pub(super) fn http_limits(settings: &Settings) -> HttpLimits {
    let connections = u32::try_from(settings.http_connections_max).ok().and_then(NonZeroU32::new);
    HttpLimits {
        connections_max: connections.unwrap_or(NonZeroU32::MIN),
        header_timeout: settings.http_header_timeout_ms.duration(),
        body_max_bytes: settings.http_body_max_bytes,
        body_timeout: settings.http_body_timeout_ms.duration(),
        shutdown_deadline: settings.shutdown_deadline_ms.duration(),
        ..HttpLimits::default()
    }
}

pub(super) fn decider(settings: &Settings, redis: Redis) -> Decider {
    match settings.ack {
        Ack::Fsync | Ack::Memory => redis.into(),
        Ack::Replica => {
            let limit = settings.ack_replica_timeout_ms.duration();
            Decider::with_replicas(redis, ReplicaWait { replicas: settings.ack_replicas, limit })
        }
    }
}

/// How a keeper works, by these settings.
pub(crate) fn keeper_options(settings: &Settings) -> KeeperOptions {
    KeeperOptions {
        lease: settings.lease_ms.duration(),
        lease_renew: settings.lease_renew_ms.duration(),
        log_retention: settings.log_retention_s.duration(),
        sale_retention: settings.sale_retention_s.duration(),
        reconcile: settings.reconcile_interval_ms.duration(),
        postgres_timeout: settings.postgres_timeout_ms.duration() * 2,
        durability: keeper::DurabilityCheck {
            fsync: settings.ack != Ack::Memory,
            enforce: settings.durability_check == DurabilityCheck::Enforce,
        },
    }
}
