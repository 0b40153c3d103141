//! What buyers call: `/v1`.

mod answer;
mod attempts;
mod buyer_identity;
mod cancel;
mod claim_body;
mod claims;
mod desks;
mod events;
mod orders;
mod outcome;
mod payment_webhook;
mod prefer;
mod routes;
mod sales;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::catalogue::CatalogueStore;
use crate::claim::{Decider, IntakeLimits, ReplicaAck};
use crate::gate::Gate;
use crate::live::{OrderWatches, SaleWatches};
use crate::metrics::Metrics;
use crate::order_life::OrderLife;
use crate::partition::{Partition, Partitions};
use crate::postgres::PgPool;
use crate::redis::{Keys, Redis, RedisClock};

pub use attempts::AttemptLimits;
pub use buyer_identity::BuyerIdentity;
pub use payment_webhook::PaymentInbox;
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
    /// For a response that the client would have wait.
    pub wait_max: Duration,
    /// Responses that may wait at once.
    pub waiters_max: usize,
    /// Event streams that may be open at once.
    pub streams_max: usize,
    /// Events of sales in a second, all streams together.
    pub events_max: u32,
    /// Between two signs of life of an event stream.
    pub heartbeat: Duration,
    /// For what the payment gateway tells, where it may.
    pub payments: Option<PaymentInbox>,
    /// When the node stops: what is held open ends.
    pub stop: CancellationToken,
}

/// Everything a request may need.
pub struct Api {
    partitions: Partitions,
    gates: Vec<Gate>,
    clock: Arc<RedisClock>,
    /// Orders and sales that someone watches.
    orders: OrderWatches,
    sales: SaleWatches,
    /// Room for event streams, and for responses that wait.
    streams: Arc<Semaphore>,
    waiters: Semaphore,
    redis: Redis,
    replicas: Option<ReplicaAck>,
    pool: PgPool,
    store: CatalogueStore,
    /// Steps of stored orders.
    life: OrderLife,
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
        (pool, store, life, orders): (PgPool, CatalogueStore, OrderLife, OrderWatches),
        identity: BuyerIdentity,
        options: ApiOptions,
        metrics: Arc<Metrics>,
    ) -> Self {
        let clock = Arc::new(RedisClock::new(redis.clone(), Keys::new(Partition::new(0)).meta));
        Self {
            sales: SaleWatches::new(redis.clone(), gates.clone(), clock.clone(), options.events_max),
            orders,
            life,
            streams: Arc::new(Semaphore::new(options.streams_max.min(Semaphore::MAX_PERMITS))),
            waiters: Semaphore::new(options.waiters_max.min(Semaphore::MAX_PERMITS)),
            replicas: claims.replicas().cloned(),
            desks: Desks::new(claims, gates.clone(), store.clone(), options.intake, metrics.claims.clone()),
            attempts: Attempts::new(options.attempts),
            samples: StockSamples::default(),
            clock,
            partitions,
            gates,
            redis,
            pool,
            store,
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
