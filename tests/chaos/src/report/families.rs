//! What the kinds have in common: one fault, met at another moment or beside other traffic.

use std::collections::BTreeMap;

use super::Row;

/// Each fault, and its kinds.
const FAMILIES: [(&str, &[&str]); 33] = [
    (
        "kill -9 of an API node",
        &[
            "api_killed",
            "checkouts_api_killed",
            "crash_claim_before_call",
            "crash_claim_before_reply",
            "cancel_storm_crash_before_commit",
            "cancel_storm_crash_after_commit",
        ],
    ),
    (
        "kill -9 of a worker, or of all of them",
        &[
            "worker_killed",
            "workers_killed_with_backlog",
            "expiry_storm_crash_before_commit",
            "expiry_storm_crash_after_commit",
            "everything_killed",
        ],
    ),
    (
        "a worker dies around the commit and the settling of a batch",
        &[
            "crash_persist_before_commit",
            "crash_persist_before_settle",
            "crash_persist_after_settle",
            "persist_worker_panicked",
        ],
    ),
    (
        "kill -9 of the keeper",
        &[
            "keeper_killed",
            "crash_publish_before_said",
            "crash_stock_before_ledger",
            "cancel_storm_crash_before_ledger",
        ],
    ),
    (
        "the keeper dies inside an opening or a rebuild",
        &[
            "crash_opening_after_epoch",
            "crash_opening_after_begin",
            "crash_opening_after_drain",
            "crash_opening_after_entry",
            "crash_opening_after_watermark",
            "crash_opening_without_group",
            "crash_opening_after_load",
            "crash_opening_after_open",
            "crash_rebuild_before_orders",
            "crash_opening_after_rebuild",
            "crash_opening_after_base",
            "keeper_panicked",
        ],
    ),
    (
        "kill -9 or restart of Redis",
        &[
            "redis_killed",
            "redis_restarted",
            "cancel_storm_redis_killed",
            "expiry_storm_redis_killed",
            "late_payments_redis_killed",
            "checkouts_redis_killed",
        ],
    ),
    (
        "kill -9 or restart of Postgres",
        &[
            "postgres_killed",
            "postgres_restarted",
            "cancel_storm_postgres_killed",
            "expiry_storm_postgres_killed",
            "late_payments_postgres_killed",
            "checkouts_postgres_killed",
        ],
    ),
    ("SIGSTOP of an API node", &["api_frozen"]),
    ("SIGSTOP of a worker", &["worker_frozen", "expiry_storm_worker_frozen"]),
    ("SIGSTOP of the keeper", &["keeper_frozen", "cancel_storm_keeper_frozen"]),
    ("SIGSTOP of Redis", &["redis_frozen"]),
    ("SIGSTOP of Postgres", &["postgres_frozen"]),
    ("power lost by Redis", &["redis_power_lost"]),
    ("power lost by Postgres", &["postgres_power_lost"]),
    (
        "the network to Redis: replies lost or late, nothing passes, connections cut",
        &[
            "redis_replies_lost",
            "redis_delayed",
            "redis_unreachable",
            "redis_connections_cut",
            "redis_unreliable",
            "cancel_storm_redis_unreliable",
            "expiry_storm_redis_unreliable",
        ],
    ),
    (
        "the network to Postgres: the same",
        &[
            "postgres_replies_lost",
            "postgres_delayed",
            "postgres_unreachable",
            "postgres_connections_cut",
            "postgres_unreliable",
        ],
    ),
    (
        "a primary killed or cut off, its replica promoted, `ack = \"replica\"`",
        &["failover_ack_replica", "primary_cut_off_ack_replica"],
    ),
    ("the same, `ack = \"fsync\"`", &["failover_ack_fsync", "primary_cut_off_ack_fsync"]),
    ("Redis at its maxmemory", &["redis_memory_full"]),
    ("the disk of Redis full", &["redis_disk_full"]),
    ("the disk of Postgres full", &["postgres_disk_full"]),
    ("FLUSHALL", &["flushall"]),
    ("the log deleted, or its group", &["log_deleted", "group_destroyed"]),
    ("the log trimmed too early", &["log_trimmed_too_early"]),
    (
        "SCRIPT FLUSH; keys of Redis deleted",
        &["script_flush", "stock_deleted", "buyers_deleted", "meta_deleted"],
    ),
    ("an older dump of Redis", &["older_dump", "older_dump_keepers_frozen"]),
    (
        "a clock an hour on, or back",
        &["redis_clock_forward", "redis_clock_back", "postgres_clock_forward", "postgres_clock_back"],
    ),
    ("an entry delivered twice, a second order of one key", &["delivered_twice", "duplicate_order"]),
    ("poison", &["poison"]),
    (
        "an older Postgres, and the log replayed: twice, under traffic, dying inside it",
        &[
            "postgres_restored",
            "cancel_storm_postgres_restored",
            "replayed_twice",
            "crash_replay_after_foreseen",
            "crash_replay_before_commit",
            "crash_replay_after_batch",
        ],
    ),
    (
        "persisting held back, changes of stock sent again",
        &["persisting_held_back", "allotments_sent_again", "cancel_storm_sent_again"],
    ),
    ("a storm of cancels or of ending holds, nothing else broken", &["cancel_storm", "expiry_storm"]),
    (
        "the gateway and the payment workers: down, frozen, slow, lying, killed; late money, hosted checkouts",
        &[
            "gateway_down",
            "gateway_frozen",
            "gateway_slow",
            "gateway_losing_answers",
            "gateway_lying",
            "payment_worker_killed",
            "payment_worker_frozen",
            "crash_payment_before_ask",
            "crash_payment_before_conclude",
            "crash_payment_before_commit",
            "crash_payment_after_conclude",
            "crash_payment_after_reclaim",
            "crash_payment_before_brought",
            "late_payments",
            "late_payments_worker_killed",
            "checkouts",
            "checkouts_gateway_down",
            "checkouts_worker_killed",
            "checkouts_crash_after_reclaim",
        ],
    ),
];

/// The rows of each fault, added up.
pub(super) fn add_up(kinds: &BTreeMap<String, Row>) -> impl Iterator<Item = (&'static str, Row)> {
    FAMILIES.into_iter().map(|(name, of)| {
        let mut row = Row::default();
        of.iter().filter_map(|kind| kinds.get(*kind)).for_each(|one| row.join(one));
        (name, row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults;

    #[test]
    fn every_kind_belongs_to_one_fault() {
        let mut of_families: Vec<&str> =
            FAMILIES.iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
        let mut kinds = faults::kinds();
        of_families.sort_unstable();
        kinds.sort_unstable();
        assert_eq!(of_families, kinds);
    }
}
