//! How a status looks to people.

use std::io::{self, Write};

use comfy_table::Table;
use jiff::{SignedDuration, Timestamp};

use crate::cli::tables::{known, number, table, text};
use crate::log::EntryId;
use crate::status::{Drift, InPostgres, InRedis, PartitionStatus, State, Status};

pub(super) fn write(out: &mut impl Write, status: &Status, now: Timestamp) -> io::Result<()> {
    writeln!(out, "{}\n", partitions(&status.partitions))?;
    writeln!(out, "{}\n", logs(&status.partitions, now))?;
    writeln!(out, "{}\n", keepers(&status.partitions, now))?;
    let consumers = consumers(&status.partitions);
    if consumers.row_count() > 0 {
        writeln!(out, "{consumers}\n")?;
    }
    if let Some(all) = &status.database {
        writeln!(out, "{} sales, {} of them open", all.sales, all.sales_open)?;
    }
    if status.attention.is_empty() {
        return writeln!(out, "all is well");
    }
    writeln!(out, "wants attention:")?;
    status.attention.iter().try_for_each(|found| writeln!(out, "  {found}"))
}

fn partitions(all: &[PartitionStatus]) -> Table {
    let mut table = table(&[
        "PARTITION",
        "STATE",
        "LEASE",
        "EPOCH",
        "BACKLOG",
        "LAG",
        "PENDING",
        "DRIFT",
        "DEAD",
        "INTENTS",
        "INCIDENTS",
    ]);
    for one in all {
        let (redis, postgres) = (one.redis.as_ref(), one.postgres.as_ref());
        table.add_row([
            text(format!("p{}", one.partition)),
            text(redis.map_or("unknown: no answer", |redis| state(redis.state))),
            known(redis.and_then(|redis| redis.meta.lease_left_ms).map(|left| ms(left.max(0)))),
            number(epochs(redis, postgres)),
            known(redis.map(|redis| redis.backlog)),
            known(redis.map(|redis| ms(i64::try_from(redis.lag_ms).unwrap_or(i64::MAX)))),
            known(redis.map(|redis| redis.pending)),
            known(one.drift.as_ref().map(drift)),
            known(postgres.map(|postgres| postgres.dead_letters)),
            known(postgres.map(|postgres| postgres.intents)),
            known(postgres.map(|postgres| postgres.incidents)),
        ]);
    }
    table
}

fn logs(all: &[PartitionStatus], now: Timestamp) -> Table {
    let mut table =
        table(&["LOG", "ENTRIES", "MEMORY", "PER ORDER", "OLDEST", "LAST", "PERSISTED TO", "OLDEST PENDING"]);
    for one in all {
        let Some(redis) = &one.redis else { continue };
        let watermark = one.postgres.as_ref().map(|postgres| postgres.watermark);
        table.add_row([
            text(format!("p{}", one.partition)),
            number(redis.log.entries),
            number(bytes(redis.log.bytes)),
            known(redis.bytes_per_order.map(bytes)),
            known(redis.log.first.map(|entry| ago(entry, now))),
            known(redis.log.last),
            known(watermark),
            known(redis.oldest_unsettled),
        ]);
    }
    table
}

fn keepers(all: &[PartitionStatus], now: Timestamp) -> Table {
    let mut table = table(&["KEEPER", "ADDRESS", "PID", "NAME", "SINCE", "OPENED", "LAST INCIDENT"]);
    for one in all {
        let Some(postgres) = &one.postgres else { continue };
        let keeper = postgres.keeper.as_ref();
        table.add_row([
            text(format!("p{}", one.partition)),
            text(keeper.map_or("none", |keeper| keeper.address.as_str())),
            known(keeper.map(|keeper| keeper.pid)),
            text(keeper.map_or("-", |keeper| keeper.application.as_str())),
            known(keeper.and_then(|keeper| keeper.connected_at).map(|at| since(at, now))),
            known(postgres.opened_at.map(|at| since(at, now))),
            known(postgres.last_incident_at.map(|at| since(at, now))),
        ]);
    }
    table
}

fn consumers(all: &[PartitionStatus]) -> Table {
    let mut table = table(&["CONSUMER", "NAME", "PENDING", "SILENT FOR"]);
    for one in all {
        for consumer in one.redis.iter().flat_map(|redis| &redis.consumers) {
            table.add_row([
                text(format!("p{}", one.partition)),
                text(&consumer.name),
                number(consumer.pending),
                number(ms(consumer.idle_ms)),
            ]);
        }
    }
    table
}

fn state(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Opening => "opening",
        State::LeaseOver => "closed: lease over",
        State::Unknown => "closed: never opened",
    }
}

fn drift(drift: &Drift) -> String {
    match drift {
        Drift::Known(known) if known.drifting > 0 => format!("{} in {} items", known.units, known.drifting),
        Drift::Known(_) => "0".to_owned(),
        Drift::Unknown(_) => "unknown".to_owned(),
    }
}

/// One number where both servers agree.
fn epochs(redis: Option<&InRedis>, postgres: Option<&InPostgres>) -> String {
    let shown = |epoch: Option<i64>| epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
    let (redis, postgres) =
        (redis.and_then(|redis| redis.meta.epoch), postgres.map(|postgres| postgres.epoch));
    if redis == postgres {
        shown(redis)
    } else {
        format!("{} / {} in Postgres", shown(redis), shown(postgres))
    }
}

fn ms(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{:#}", SignedDuration::from_secs(ms / 1000)),
    }
}

fn since(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", ms(now.duration_since(then).as_secs().max(0).saturating_mul(1000)))
}

fn ago(entry: EntryId, now: Timestamp) -> String {
    Timestamp::from_millisecond(entry.ms_sql()).map_or_else(|_| "-".to_owned(), |then| since(then, now))
}

fn bytes(bytes: u64) -> String {
    match bytes {
        ..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_their_unit() {
        assert_eq!([ms(40), ms(1_250), ms(119_999), ms(7_200_000)], ["40 ms", "1.2 s", "119.9 s", "2h"]);
        assert_eq!([bytes(9_999), bytes(10_000), bytes(12_000_000)], ["9999 B", "10 kB", "12 MB"]);
    }
}
