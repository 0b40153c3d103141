//! The servers of a deployment, in the layout that its faults need, and the instruments around them.

use std::path::Path;

use doorbuster::servers::{PostgresOptions, PrivatePostgres, RedisOptions};

use crate::ChaosError;
use crate::instruments::{Island, Proxy, ReplicaSet, ReplicaSetOptions, Shim};

/// Sentinels of a replicated layout; two of them decide.
const SENTINELS: usize = 3;
/// How long a primary may be silent before it is replaced (ms).
const DOWN_AFTER_MS: u32 = 1000;

/// A gateway that is away or slow for a second is to be noticed, and a request to charge that a frozen process sends at
/// last is to count as one that may still come.
const PAYMENT_SETTINGS: [(&str, &str); 10] = [
    ("gateway_timeout_ms", "500"),
    ("gateway_attempts", "2"),
    ("gateway_retry_ms", "20"),
    ("gateway_breaker_failures", "5"),
    ("gateway_breaker_ms", "300"),
    ("payment_poll_ms", "100"),
    // Some frozen processes wake up behind it.
    ("payment_lease_s", "1"),
    ("payment_retry_ms", "100"),
    ("payment_recheck_s", "1"),
    ("payment_give_up_s", "8"),
];

/// Which servers stand under the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// One Redis and one Postgres.
    #[default]
    Single,
    /// The same, a payment gateway, and nodes that ask it.
    WithGateway,
    /// One Redis and one Postgres, both under the shim that takes power, room on the disk, and the right time.
    Shimmed,
    /// A Redis primary, a replica, and Sentinels that choose.
    Replicated {
        /// Whether orders wait for the replica (`ack = "replica"`).
        ack_replica: bool,
        /// Whether the primary lives in a network of its own, which can be cut off.
        island: bool,
    },
}

impl Layout {
    /// Whether another event may follow on it.
    pub fn is_reusable(self) -> bool {
        // After its event the primary lives where no link can be cut.
        !matches!(self, Self::Replicated { island: true, .. })
    }

    /// Settings of the engine that go with it.
    pub fn settings(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Replicated { ack_replica: true, .. } => vec![("ack", "replica".to_owned())],
            Self::WithGateway => {
                PAYMENT_SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What may be broken around the servers.
pub struct Instruments {
    /// Between the engine and Redis; none where Sentinels tell the engine where Redis is.
    pub redis_proxy: Option<Proxy>,
    /// Between the engine and Postgres.
    pub postgres_proxy: Proxy,
    /// Under Redis.
    pub redis_shim: Option<Shim>,
    /// Under Postgres.
    pub postgres_shim: Option<Shim>,
    /// Around the first primary.
    pub island: Option<Island>,
}

/// The servers.
pub(crate) struct Storage {
    pub redis: ReplicaSet,
    pub postgres: PrivatePostgres,
    pub instruments: Instruments,
}

impl Storage {
    /// Starts the servers below `dir`, with more lines of configuration.
    ///
    /// # Errors
    /// [`ChaosError::Instrument`], also where this machine does not permit the layout.
    pub(crate) async fn start(
        layout: Layout,
        dir: &Path,
        redis_conf: &[(String, String)],
        postgres_settings: Vec<(String, String)>,
    ) -> Result<Self, ChaosError> {
        let (mut redis_options, mut postgres_options) = (
            RedisOptions { extra_args: redis_conf.to_vec(), ..RedisOptions::default() },
            PostgresOptions {
                data_dir: dir.join("postgres"),
                extra_settings: postgres_settings,
                ..PostgresOptions::default()
            },
        );
        let mut replica_options = redis_options.clone();
        let (mut redis_shim, mut postgres_shim, mut island) = (None, None, None);
        let (mut replicas, mut sentinels) = (0, 0);
        match layout {
            Layout::Single | Layout::WithGateway => {}
            Layout::Shimmed => {
                let of_redis = Shim::install(&dir.join("redis-shim"), &dir.join("redis0/appendonlydir"))?;
                let of_postgres = Shim::install(&dir.join("postgres-shim"), &dir.join("postgres/pgdata"))?;
                (redis_options.env, postgres_options.env) = (of_redis.env(), of_postgres.env());
                (redis_shim, postgres_shim) = (Some(of_redis), Some(of_postgres));
            }
            Layout::Replicated { island: is_island, .. } => {
                (replicas, sentinels) = (1, SENTINELS);
                if is_island {
                    let made = Island::make()?;
                    redis_options = made.redis(redis_options);
                    replica_options = made.redis_outside(replica_options);
                    island = Some(made);
                }
            }
        }
        let redis = ReplicaSet::start(ReplicaSetOptions {
            dir: dir.to_owned(),
            primary: redis_options,
            replica: replica_options,
            replicas,
            sentinels,
            down_after_ms: DOWN_AFTER_MS,
        });
        let (redis, postgres) = (redis.await?, PrivatePostgres::start(postgres_options).await?);
        let redis_proxy = match sentinels {
            0 => Some(Proxy::before_port(redis.servers[0].port()).await?),
            _ => None,
        };
        let postgres_proxy = Proxy::before_port(postgres.port()).await?;
        let instruments = Instruments { redis_proxy, postgres_proxy, redis_shim, postgres_shim, island };
        Ok(Self { redis, postgres, instruments })
    }
}
