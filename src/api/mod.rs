//! What buyers call: `/v1`.

mod answer;
mod attempts;
mod buyer_identity;
mod cancel;
mod claim_body;
mod claims;
mod desks;
mod orders;
mod routes;
mod sales;

use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::CatalogueStore;
use crate::claim::{Decider, IntakeLimits, ReplicaAck};
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::order_life::OrderLife;
use crate::partition::{Partition, Partitions};
use crate::postgres::PgPool;
use crate::redis::Redis;

pub use attempts::AttemptLimits;
pub use buyer_identity::BuyerIdentity;
pub use routes::handle;

use attempts::Attempts;
use desks::Desks;
use sales::StockSamples;

/// For Postgres to answer a buyer, also where it hangs: some of these then ask the log instead.
const QUERY_MAX: Duration = Duration::from_secs(2);

/// How the API answers.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Of the claim path.
    pub intake: IntakeLimits,
    /// Bytes of a request body, at most.
    pub body_max_bytes: usize,
    /// For a request body to arrive.
    pub body_timeout: Duration,
    /// Of each buyer.
    pub attempts: AttemptLimits,
}

/// Everything a request may need.
pub struct Api {
    partitions: Partitions,
    gates: Vec<Gate>,
    redis: Redis,
    replicas: Option<ReplicaAck>,
    pool: PgPool,
    store: CatalogueStore,
    orders: OrderLife,
    identity: BuyerIdentity,
    options: ApiOptions,
    desks: Desks,
    attempts: Attempts,
    samples: StockSamples,
    metrics: Arc<Metrics>,
}

impl Api {
    /// Over connections and gates that are there already; `gates` in the order of the partitions. `redis` serves reads;
    /// each sale's claims go through `claims`.
    pub fn new(
        gates: Vec<Gate>,
        partitions: Partitions,
        (claims, redis): (Decider, Redis),
        (pool, store, orders): (PgPool, CatalogueStore, OrderLife),
        identity: BuyerIdentity,
        options: ApiOptions,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            replicas: claims.replicas().cloned(),
            desks: Desks::new(claims, gates.clone(), store.clone(), options.intake, metrics.claims.clone()),
            attempts: Attempts::new(options.attempts),
            samples: StockSamples::default(),
            partitions,
            gates,
            redis,
            pool,
            store,
            orders,
            identity,
            options,
            metrics,
        }
    }

    /// Whether every partition is known to be open.
    pub fn is_ready(&self) -> bool {
        self.gates.iter().all(|gate| gate.open().is_some())
    }

    fn gate(&self, partition: Partition) -> Option<&Gate> {
        self.gates.get(usize::from(partition.number()))
    }
}
