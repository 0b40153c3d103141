//! Whether a change has reached every partition of Redis.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{CatalogueStore, StoreError};
use crate::catalogue::SaleId;
use crate::postgres::within;

const POLL_FIRST: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(200);

/// How far a change of a sale has come. It is stored in either case: a worker that is away applies it
/// when it is back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// Every partition acts on it.
    pub applied: bool,
    /// Why not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Publication {
    fn pending(reason: String) -> Self {
        Self { applied: false, reason: Some(reason) }
    }
}

/// Partitions that have an older definition.
const BEHIND: &str = "SELECT count(*) FROM sale_publications WHERE sale_id = $1 AND version < $2";
/// Partitions that have an older definition, or not the units of the sale's beginning: claims find nothing there yet.
const WITHOUT_UNITS: &str = "SELECT count(*) FROM sale_publications p WHERE sale_id = $1 AND (version < $2 OR EXISTS (
         SELECT FROM stock_intents i
         WHERE i.sale_id = p.sale_id AND i.partition = p.partition AND i.kind = 'allotment' AND i.applied_at IS NULL))";

impl CatalogueStore {
    /// Waits until every partition was told at least `version` of the sale, at most for `timeout`. Never an
    /// error: the change itself is already committed.
    pub async fn wait_published(&self, id: &SaleId, version: i64, timeout: Duration) -> Publication {
        self.wait_for_none(BEHIND, id, version, timeout).await
    }

    /// As [`CatalogueStore::wait_published`], and until every partition has its units: only then a new sale sells.
    pub async fn wait_sellable(&self, id: &SaleId, version: i64, timeout: Duration) -> Publication {
        self.wait_for_none(WITHOUT_UNITS, id, version, timeout).await
    }

    async fn wait_for_none(&self, behind: &str, id: &SaleId, version: i64, timeout: Duration) -> Publication {
        let end = Instant::now() + timeout;
        let mut pause = POLL_FIRST;
        let mut reason = format!("not confirmed within {} ms", timeout.as_millis());
        // Bounded by `end`: each round takes at least its pause.
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match within(left.min(self.limit), self.count_partitions(behind, id, version)).await {
                Ok(0) => return Publication { applied: true, reason: None },
                Ok(behind) => {
                    reason = format!(
                        "{behind} partition(s) have not been told yet: a worker has to run for each; the \
                         change is stored and will be applied"
                    );
                }
                // A round that the end cut short knows less than the one before it.
                Err(_) if left.is_zero() || Instant::now() >= end => {}
                Err(error) => {
                    tracing::warn!(sale = %id, %error, "cannot see whether a change of a sale was applied");
                    reason = "the change is stored; whether it was applied cannot be seen now".into();
                }
            }
            if Instant::now() + pause >= end {
                return Publication::pending(reason);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    async fn count_partitions(&self, query: &str, id: &SaleId, version: i64) -> Result<i64, StoreError> {
        let client = self.connection().await?;
        let row = client.query_one(query, &[&id.as_str(), &version]).await?;
        Ok(row.try_get(0)?)
    }
}
