//! One desk for each sale: its definition, and where its claims are handed in.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::catalogue::{CatalogueStore, SaleDefinition, SaleId};
use crate::claim::{Decider, Intake, IntakeLimits};
use crate::gate::Gate;
use crate::http::{Problem, ProblemKind};
use crate::metrics::ClaimMetrics;
use crate::partition::Partition;

/// Definitions that this node loads at once; further requests wait for their turn. Without the bound, made-up sale ids
/// would be a way to flood Postgres.
const LOADS_MAX: usize = 4;
/// How long a request waits for its turn.
const LOAD_WAIT: Duration = Duration::from_secs(2);
/// Sales whose desks are kept.
const DESKS_MAX: usize = 10_000;

/// A sale, as this node knows it.
pub(super) struct Desk {
    pub definition: Arc<SaleDefinition>,
    intakes: Arc<[Intake]>,
}

impl Desk {
    /// Where the claims of a partition go.
    pub fn intake(&self, partition: Partition) -> Option<&Intake> {
        self.intakes.get(usize::from(partition.number()))
    }
}

/// The desks of a node.
pub(super) struct Desks {
    open: RwLock<HashMap<SaleId, Arc<Desk>>>,
    loads: Semaphore,
    decider: Decider,
    gates: Vec<Gate>,
    store: CatalogueStore,
    limits: IntakeLimits,
    metrics: ClaimMetrics,
}

impl Desks {
    pub fn new(
        decider: Decider,
        gates: Vec<Gate>,
        store: CatalogueStore,
        limits: IntakeLimits,
        metrics: ClaimMetrics,
    ) -> Self {
        Self {
            open: RwLock::default(),
            loads: Semaphore::new(LOADS_MAX),
            decider,
            gates,
            store,
            limits,
            metrics,
        }
    }

    /// The desk of a sale; loads it where this node has none.
    ///
    /// A sale that is not found here is looked for in Postgres every time: it may have been created, and sold, through
    /// another node a moment ago, and "unknown" must not hide an order.
    pub async fn of(&self, sale: &str) -> Result<Arc<Desk>, Problem> {
        match self.known(sale) {
            Some(desk) => Ok(desk),
            None => Box::pin(self.first_load(sale)).await,
        }
    }

    async fn first_load(&self, sale: &str) -> Result<Arc<Desk>, Problem> {
        let sale: SaleId = sale.parse().map_err(|_| ProblemKind::NotFound)?;
        let _permit = self.load_permit().await?;
        // A rush opens a sale with many requests at once: the first of them has loaded it by now.
        match self.known(sale.as_str()) {
            Some(desk) => Ok(desk),
            None => self.load_permitted(&sale).await,
        }
    }

    fn known(&self, sale: &str) -> Option<Arc<Desk>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(sale).cloned()
    }

    async fn load_permit(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let permit = tokio::time::timeout(LOAD_WAIT, self.loads.acquire()).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| ProblemKind::Unavailable.into())
    }

    /// Loads a sale's definition anew, and keeps its intakes.
    pub async fn load(&self, sale: &SaleId) -> Result<Arc<Desk>, Problem> {
        let load = async {
            let _permit = self.load_permit().await?;
            self.load_permitted(sale).await
        };
        Box::pin(load).await
    }

    async fn load_permitted(&self, sale: &SaleId) -> Result<Arc<Desk>, Problem> {
        let definition = self.store.load_definition(sale).await.map_err(|error| {
            tracing::warn!(%sale, %error, "a sale's definition cannot be loaded");
            ProblemKind::Unavailable
        })?;
        let definition = definition.ok_or(ProblemKind::NotFound)?;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= DESKS_MAX && !open.contains_key(sale) {
            // Intakes end after their last claim when their desk is gone; a sale in use is soon back.
            open.clear();
        }
        let intakes = match open.get(sale) {
            Some(desk) => desk.intakes.clone(),
            None => self.start_intakes(sale),
        };
        let desk = Arc::new(Desk { definition, intakes });
        open.insert(sale.clone(), desk.clone());
        Ok(desk)
    }

    fn start_intakes(&self, sale: &SaleId) -> Arc<[Intake]> {
        let start = |gate: &Gate| {
            Intake::start(self.decider.clone(), gate.clone(), sale, self.limits, self.metrics.clone())
        };
        self.gates.iter().map(start).collect()
    }
}
