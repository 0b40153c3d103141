//! Why a partition is not open.

use std::time::Duration;

use crate::log::EntryId;
use crate::partition::Partition;
use crate::persist::WriteError;
use crate::postgres::PgError;
use crate::redis::RedisError;

use super::durability::DurabilityError;

/// A partition is not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Redis.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error("postgres: {0}")]
    Postgres(#[from] PgError),
    /// What the log holds could not be persisted.
    #[error("draining the log: {0}")]
    Drain(#[from] WriteError),
    /// The servers may lose what a 202 promises.
    #[error(
        "the servers' settings break the promise of the configured ack: {}. Change them, or set \
         durability_check = \"warn\" to sell all the same", .0.join("; ")
    )]
    Durability(Vec<String>),
    /// Postgres is older than the log.
    #[error(
        "postgres has persisted up to {watermark}, but the log begins at {first}: entries between them exist nowhere. \
         Is postgres_url right? Was it restored from a backup older than log_retention_s? Restore a newer one; \
         opening now would destroy what redis alone still knows"
    )]
    Gap {
        /// Persisted up to here.
        watermark: EntryId,
        /// The log begins here.
        first: EntryId,
    },
    /// The lock was lost on the way.
    #[error("the keeper's lock was lost or is in doubt, or every answer came late")]
    LockLost,
    /// Postgres was restarted, replaced or restored on the way, or another keeper has gone further.
    #[error("postgres is not the one at which this opening began, or another keeper has gone further")]
    OtherPostgres,
    /// The partition's row is missing.
    #[error("postgres has no row for this partition: run `doorbuster migrate` with the same `partitions`")]
    NoPartition,
}

impl From<DurabilityError> for OpenError {
    fn from(error: DurabilityError) -> Self {
        match error {
            DurabilityError::Redis(error) => error.into(),
            DurabilityError::Postgres(error) => error.into(),
        }
    }
}

impl OpenError {
    /// Before the next try: short where only a server has to come back.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Self::Redis(RedisError::Layout(_)) => Duration::from_secs(5),
            Self::Redis(_) | Self::LockLost => Duration::from_millis(50),
            Self::Postgres(_) | Self::Drain(_) | Self::OtherPostgres => super::RETRY,
            Self::Durability(_) | Self::Gap { .. } | Self::NoPartition => Duration::from_secs(5),
        }
    }

    /// Whether another process may be able to open where this one is not: then the lock must be free for it.
    pub(super) fn is_for_another_process(&self) -> bool {
        matches!(self, Self::OtherPostgres | Self::Redis(RedisError::Layout(_)))
    }

    /// The label of a metric.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Redis(RedisError::Layout(_)) => "layout",
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
            Self::Drain(_) => "drain",
            Self::Durability(_) => "durability",
            Self::Gap { .. } => "gap",
            Self::LockLost => "lock",
            Self::OtherPostgres => "superseded",
            Self::NoPartition => "no_partition",
        }
    }

    /// Whether Redis did not answer.
    pub(super) fn is_redis_away(&self) -> bool {
        matches!(self, Self::Redis(RedisError::Timeout | RedisError::Disconnected(_)))
    }

    pub(super) fn report(&self, partition: Partition) {
        match self {
            Self::Durability(_)
            | Self::Gap { .. }
            | Self::NoPartition
            | Self::Redis(RedisError::Layout(_)) => {
                tracing::error!(%partition, error = %self, "refuses to open");
            }
            _ => tracing::warn!(%partition, error = %self, "cannot open yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_a_label_of_its_own_and_the_metric_names_it() {
        let errors = [
            OpenError::Redis(RedisError::Timeout),
            OpenError::Redis(RedisError::Layout("9".into())),
            OpenError::Postgres(PgError::Url(String::new())),
            OpenError::Drain(WriteError::GateMoved),
            OpenError::Durability(Vec::new()),
            OpenError::Gap { watermark: EntryId::ZERO, first: EntryId::ZERO },
            OpenError::LockLost,
            OpenError::OtherPostgres,
            OpenError::NoPartition,
        ];
        let reasons: std::collections::BTreeSet<&str> = errors.iter().map(OpenError::reason).collect();
        assert_eq!(reasons.len(), errors.len());
        let table = crate::metrics::Metrics::new().markdown_table();
        let help = table.lines().find(|line| line.contains("doorbuster_opening_failures")).unwrap();
        for reason in reasons {
            assert!(help.contains(reason), "{reason}: {help}");
        }
    }
}
