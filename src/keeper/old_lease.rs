//! The lease of another server, which may still be selling: waited out before a new one sells.
//!
//! A renewal takes effect within some time after it was sent ([`Lateness`](super::server_clock::Lateness): usually 200 ms,
//! at most a lease), so a lease is over that time and a lease after the last one was sent. A keeper that this process does
//! not know of sends them
//! - for [`PROOF`] after its lock was lost; and then
//! - only while its server has the replicas that it had: it misses one within [`REPLICA_MISSED`] of its promotion, and
//!   nobody else's server has our data.

use std::time::{Duration, Instant};

use crate::partition::Partition;
use crate::postgres::{PgError, PgPool};

use super::lock::PROOF;
use super::server_identity::ServerIdentity;

/// After a replica's last word it counts as healthy for up to three seconds (`healthy_replicas.lua`: two whole ones, by
/// a clock that is up to one old), and a word may be on its way.
const REPLICA_MISSED: Duration = Duration::from_millis(3500);

/// A lease that this process gave, and until when it may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenLease {
    /// The Redis process.
    pub run_id: String,
    /// Under which it was opened.
    pub epoch: i64,
    /// It is over by then.
    pub ends: Instant,
}

/// What the database says of the server on which the partition was opened last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordedLease {
    /// The Redis process.
    pub run_id: String,
    /// Under which it was opened.
    pub epoch: i64,
    /// Length of its lease.
    pub lease: Duration,
    /// When the last one is over, where its keeper ended in order.
    pub ends: Option<Instant>,
}

/// The time before which `here` must not sell: another server may. `None`: it may at once.
///
/// `since`: from when on this process had the lock, and knew `here` to be the server; so no other keeper can have
/// proven its lock, nor seen `here` as its healthy replica, at a later time.
pub(super) fn sells_not_before(
    here: &ServerIdentity,
    recorded: Option<&RecordedLease>,
    given: Option<&GivenLease>,
    since: Instant,
) -> Option<Instant> {
    // On the same process the opening itself has closed what was open.
    let by_record = recorded.filter(|lease| lease.run_id != here.run_id).map(|lease| {
        let ours = given.filter(|given| given.epoch == lease.epoch);
        let unknown = || since + PROOF.max(REPLICA_MISSED) + 2 * lease.lease;
        ours.map(|given| given.ends).or(lease.ends).unwrap_or_else(unknown)
    });
    // Also where the database has forgotten it.
    let by_memory = given.filter(|given| given.run_id != here.run_id).map(|given| given.ends);
    by_record.max(by_memory)
}

impl RecordedLease {
    /// Reads it; `None` before the first opening of all.
    pub async fn read(pool: &PgPool, partition: Partition) -> Result<Option<Self>, PgError> {
        let db = pool.get().await?;
        let row = db
            .query_opt(
                "SELECT server_run_id, lease_epoch, lease_ms,
                        (extract(epoch FROM lease_ends_at - clock_timestamp()) * 1000)::bigint
                 FROM partitions WHERE partition = $1 AND server_run_id IS NOT NULL",
                &[&partition.to_sql()],
            )
            .await?;
        let ms = |ms: i64| Duration::from_millis(ms.max(0).unsigned_abs());
        Ok(row.map(|row| Self {
            run_id: row.get(0),
            epoch: row.get(1),
            lease: ms(row.get(2)),
            ends: row.get::<_, Option<i64>>(3).map(|left_ms| Instant::now() + ms(left_ms)),
        }))
    }

    /// Says which server is about to sell. Only once the lease before it is over: whoever reads this no longer knows of
    /// that one. `false`: this opening is no longer the one.
    pub async fn write(
        pool: &PgPool,
        partition: Partition,
        epoch: i64,
        server: &ServerIdentity,
        lease: Duration,
    ) -> Result<bool, PgError> {
        let db = pool.get().await?;
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let written = db
            .execute(
                // The opening has drained the log: from here on orders may move at this Postgres.
                "UPDATE partitions SET server_run_id = $3, server_replid = $4, lease_ms = $5, lease_epoch = $2,
                                       lease_ends_at = NULL, drained_postgres = postgres_identity()
                 WHERE partition = $1 AND epoch = $2 AND postgres = postgres_identity()",
                &[&partition.to_sql(), &epoch, &server.run_id, &server.master_replid, &lease_ms],
            )
            .await?;
        Ok(written == 1)
    }

    /// Says when the last lease is over, for whoever comes next.
    pub async fn write_end(pool: &PgPool, partition: Partition, given: &GivenLease) -> Result<(), PgError> {
        let db = pool.get().await?;
        let left = given.ends.saturating_duration_since(Instant::now()).as_secs_f64();
        db.execute(
            "UPDATE partitions SET lease_ends_at = clock_timestamp() + make_interval(secs => $3)
             WHERE partition = $1 AND lease_epoch = $2",
            &[&partition.to_sql(), &given.epoch, &left],
        )
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(run_id: &str) -> ServerIdentity {
        ServerIdentity { run_id: run_id.into(), master_replid: "line".into() }
    }

    fn recorded(run_id: &str, ends: Option<Instant>) -> RecordedLease {
        RecordedLease { run_id: run_id.into(), epoch: 7, lease: Duration::from_secs(1), ends }
    }

    #[test]
    fn nothing_is_waited_for_on_the_same_process_or_at_the_very_first_opening() {
        let now = Instant::now();
        let given = GivenLease { run_id: "a".into(), epoch: 7, ends: now + Duration::from_secs(1) };
        assert_eq!(sells_not_before(&server("a"), None, None, now), None);
        assert_eq!(sells_not_before(&server("a"), Some(&recorded("a", None)), Some(&given), now), None);
    }

    #[test]
    fn our_own_lease_is_over_when_its_last_renewal_is() {
        let now = Instant::now();
        let ends = now + Duration::from_secs(1);
        let given = GivenLease { run_id: "a".into(), epoch: 7, ends };
        assert_eq!(sells_not_before(&server("b"), Some(&recorded("a", None)), Some(&given), now), Some(ends));
        // A database that was restored names an older server, even this one.
        assert_eq!(sells_not_before(&server("b"), Some(&recorded("b", None)), Some(&given), now), Some(ends));
    }

    #[test]
    fn another_keepers_lease_is_over_when_it_said_so_or_must_have_noticed() {
        let now = Instant::now();
        let said = now + Duration::from_millis(300);
        assert_eq!(sells_not_before(&server("b"), Some(&recorded("a", Some(said))), None, now), Some(said));
        let unsaid = sells_not_before(&server("b"), Some(&recorded("a", None)), None, now).unwrap();
        assert_eq!(unsaid - now, REPLICA_MISSED + Duration::from_secs(2));
        // What we gave under an older epoch says nothing of it.
        let older = GivenLease { run_id: "a".into(), epoch: 6, ends: now };
        assert_eq!(
            sells_not_before(&server("b"), Some(&recorded("a", None)), Some(&older), now),
            Some(unsaid)
        );
    }
}
