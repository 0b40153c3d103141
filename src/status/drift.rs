//! Whether the stock of Redis is what Postgres computes: `doorbuster reconcile` without its patience.

use std::time::Duration;

use serde::Serialize;

use crate::partition::Partition;
use crate::postgres::PgPool;
use crate::reconcile::{Balance, Depth, ReconcileError, Reconciler};
use crate::redis::{Redis, Stamp, StampedScripts};

/// How long what a snapshot counts may take to be persisted. A backlog that takes longer has a column of its own.
const PATIENCE: Duration = Duration::from_secs(1);

/// The stock of one partition held against Postgres.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// It was told.
    Known(KnownDrift),
    /// Why it could not be told now.
    Unknown(String),
}

/// What does not balance; 0 is the only good value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KnownDrift {
    /// Units by which items differ, whichever way.
    pub units: u64,
    /// Items that differ, or have no stock in Redis although they must.
    pub drifting: u64,
    /// Items that were looked at.
    pub items: u64,
}

impl KnownDrift {
    fn of(balances: &[Balance]) -> Self {
        Self {
            units: balances.iter().map(|balance| balance.drift().unsigned_abs()).sum(),
            drifting: balances.iter().filter(|balance| !balance.is_good()).count() as u64,
            items: balances.len() as u64,
        }
    }
}

/// Asks, for at most `limit`. From aggregates, so that its cost does not grow with the orders; and only with scripts that
/// the server knows, since a status changes nothing.
pub(super) async fn ask(
    redis: &Redis,
    pool: &PgPool,
    (partition, stamp): (Partition, Option<&str>),
    limit: Duration,
) -> Drift {
    let Some(stamp) = stamp.and_then(|stamp| stamp.parse::<Stamp>().ok()) else {
        return Drift::Unknown(ReconcileError::Closed(partition).to_string());
    };
    let scripts = StampedScripts::new(stamp);
    let reconciler = Reconciler {
        redis: redis.clone(),
        pool: pool.clone(),
        patience: Some(PATIENCE),
        depth: Depth::Aggregates,
    };
    match tokio::time::timeout(limit, seen_twice(&reconciler, &scripts)).await {
        Ok(Ok(known)) => Drift::Known(known),
        Ok(Err(error)) => Drift::Unknown(error.to_string()),
        Err(_) => Drift::Unknown(format!("no answer within {limit:?}")),
    }
}

/// As reconcile does it: what is told was seen twice.
async fn seen_twice(reconciler: &Reconciler, scripts: &StampedScripts) -> Result<KnownDrift, ReconcileError> {
    let first = KnownDrift::of(&reconciler.check(scripts, None).await?);
    if first.drifting == 0 {
        return Ok(first);
    }
    Ok(KnownDrift::of(&reconciler.check(scripts, None).await?))
}
