//! What a process counts and measures, for Prometheus.
//!
//! No globals: whoever counts is given its part. What the claim path touches is counted for a whole batch and then added,
//! one atomic addition for each outcome and bucket that occurred. Labels are bounded: no buyers, no orders, and a capped
//! number of items.

mod claims;
mod gateway;
mod histogram;
mod http;
mod keeper;
mod live;
mod orders;
mod partition_sampler;
mod payments;
mod persisting;
mod process;
mod register;
mod service;
mod stock;
mod webhooks;

use std::sync::Arc;

pub use claims::{BatchTally, ClaimMetrics, Outcome};
pub use gateway::{BreakerState, GatewayMetrics};
pub use histogram::AtomicHistogram;
pub use http::HttpMetrics;
pub use keeper::KeeperMetrics;
pub use live::{Counted, LiveMetrics};
pub use orders::OrderMetrics;
pub use partition_sampler::PartitionSampler;
pub use payments::PaymentMetrics;
pub use persisting::PersistMetrics;
pub use register::Row;
pub use service::handle;
pub use stock::{ExportedItems, StockMetrics};
pub use webhooks::WebhookMetrics;

use process::ProcessMetrics;
use register::Register;

/// Everything that one process measures.
#[derive(Debug)]
pub struct Metrics {
    /// The claim path.
    pub claims: ClaimMetrics,
    /// The listeners.
    pub http: HttpMetrics,
    /// From the log into Postgres.
    pub persist: PersistMetrics,
    /// From stored to confirmed or cancelled.
    pub orders: OrderMetrics,
    /// How orders are paid for.
    pub payments: PaymentMetrics,
    /// What is asked of the payment gateway.
    pub gateway: GatewayMetrics,
    /// Openings, leases, and what the keeper samples of its partition.
    pub keeper: KeeperMetrics,
    /// Stock and drift.
    pub stock: StockMetrics,
    /// What clients hold open.
    pub live: LiveMetrics,
    /// Deliveries to the outside.
    pub webhooks: WebhookMetrics,
    process: ProcessMetrics,
    exposition: Register,
}

impl Metrics {
    /// A set of its own, all at zero.
    pub fn new() -> Arc<Self> {
        let mut register = Register::default();
        Arc::new(Self {
            claims: ClaimMetrics::new(&mut register),
            http: HttpMetrics::new(&mut register),
            persist: PersistMetrics::new(&mut register),
            orders: OrderMetrics::new(&mut register),
            payments: PaymentMetrics::new(&mut register),
            gateway: GatewayMetrics::new(&mut register),
            keeper: KeeperMetrics::new(&mut register),
            stock: StockMetrics::new(&mut register),
            live: LiveMetrics::new(&mut register),
            webhooks: WebhookMetrics::new(&mut register),
            process: ProcessMetrics::new(&mut register),
            exposition: register,
        })
    }

    /// Every metric that a process exports, in the order of the documented table.
    pub fn rows(&self) -> &[Row] {
        self.exposition.rows()
    }

    /// All metrics as a Markdown table, for docs/METRICS.md; a test holds the two together.
    pub fn markdown_table(&self) -> String {
        register::markdown_table(self.rows())
    }

    /// The metrics as they are now, in the OpenMetrics text format.
    pub fn text(&self) -> String {
        self.process.refresh();
        self.http.refresh();
        self.exposition.text()
    }
}
