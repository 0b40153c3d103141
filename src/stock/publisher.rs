//! Tells Redis of a change at once, beside the keeper: an operator who pauses a sale does not wait for a turn.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use crate::gate::Gate;
use crate::postgres::PgPool;
use crate::redis::{Keys, Redis, server_time};

use super::publish_sales;

/// How long a partition that is not known to be open is waited for.
const OPEN_WAIT: Duration = Duration::from_secs(1);

/// Publishes what Postgres has decided. Safe beside keepers and other publishers: an older version never replaces a
/// newer one, and each is logged once. What fails here is left to the keeper.
#[derive(Clone)]
pub struct Publisher {
    redis: Redis,
    gates: Arc<[Gate]>,
    pool: PgPool,
}

impl Publisher {
    /// For all partitions.
    pub fn new(redis: Redis, gates: impl Into<Arc<[Gate]>>, pool: PgPool) -> Self {
        Self { redis, gates: gates.into(), pool }
    }

    /// Tells every partition that is open.
    pub async fn publish(&self) {
        join_all(self.gates.iter().map(|gate| self.publish_to(gate.clone()))).await;
    }

    async fn publish_to(&self, mut gate: Gate) {
        let partition = gate.partition();
        let Ok(scripts) = tokio::time::timeout(OPEN_WAIT, gate.wait_open()).await else {
            tracing::debug!(%partition, "not open: the keeper will publish");
            return;
        };
        if let Err(error) = publish_sales(&self.redis, &scripts, &self.pool).await {
            tracing::debug!(%partition, %error, "not published: the keeper will");
        }
    }

    /// The time of the Redis server whose clock is furthest behind; `None` where one does not tell.
    pub async fn time(&self) -> Option<Timestamp> {
        let ask = async |gate: &Gate| server_time(&self.redis, &Keys::new(gate.partition()).meta).await.ok();
        let times = join_all(self.gates.iter().map(ask)).await;
        times.into_iter().collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publisher of {} partitions", self.gates.len())
    }
}
