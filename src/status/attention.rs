//! What an operator should look at. A rule each, so that every one has a test.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{Drift, InDatabase, InPostgres, InRedis, State, Status};

/// Something that is not as it should be, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// Where; `None` for all partitions.
    pub partition: Option<u8>,
    /// What, and what to do.
    pub text: String,
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "p{partition}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Looks through what was seen.
pub(super) fn find(status: &Status, lag_max: Duration) -> Vec<Attention> {
    let mut found = Vec::new();
    let mut say = |partition: Option<u8>, text: String| found.push(Attention { partition, text });
    if let Some(error) = &status.redis_error {
        say(None, format!("Redis does not answer: {error}"));
    }
    if let Some(error) = &status.postgres_error {
        say(None, format!("Postgres does not answer: {error}"));
    }
    if let Some(database) = &status.database {
        in_database(database, lag_max).into_iter().for_each(|text| say(None, text));
    }
    for one in &status.partitions {
        let number = Some(one.partition);
        if let Some(redis) = &one.redis {
            in_redis(redis, lag_max).into_iter().for_each(|text| say(number, text));
        }
        match &one.postgres {
            Some(postgres) => in_postgres(postgres, lag_max).into_iter().for_each(|text| say(number, text)),
            None if status.postgres_error.is_none() => {
                say(number, "Postgres has no row for it: run `doorbuster migrate`".into());
            }
            None => {}
        }
        if let Some(Drift::Known(drift)) = one.drift
            && drift.drifting > 0
        {
            let (units, items) = (drift.units, drift.drifting);
            say(
                number,
                format!("the stock of {items} item(s) drifts by {units} units: `doorbuster reconcile`"),
            );
        }
        if let (Some(redis), Some(postgres)) = (&one.redis, &one.postgres)
            && redis.state == State::Open
            && redis.meta.epoch != Some(postgres.epoch)
        {
            let text = format!(
                "Redis was opened under epoch {}, Postgres knows {}: a keeper is at work, or the two do not belong \
                 together",
                redis.meta.epoch.unwrap_or(0),
                postgres.epoch
            );
            say(number, text);
        }
    }
    found
}

fn in_database(database: &InDatabase, lag_max: Duration) -> Vec<String> {
    let mut found = Vec::new();
    let stuck = database.oldest_payment_ms.and_then(|age| u128::try_from(age).ok());
    if let Some(age) = stuck.filter(|age| *age > lag_max.as_millis()) {
        found.push(format!(
            "{} payment(s) wait for an answer, the oldest for {} s: `doorbuster payment list`",
            database.payments_open,
            age / 1000
        ));
    }
    if database.dead_deliveries > 0 {
        let n = database.dead_deliveries;
        found.push(format!(
            "{n} webhook deliver{} given up: `doorbuster webhook dead`",
            if n == 1 { "y was" } else { "ies were" }
        ));
    }
    found
}

fn in_redis(redis: &InRedis, lag_max: Duration) -> Vec<String> {
    let closed = match redis.state {
        State::Open => None,
        State::Opening => Some("it is being opened; where that lasts, the keeper's log tells why"),
        State::LeaseOver => Some("its lease is over: no keeper renews it. Does a worker run?"),
        State::Unknown => Some("Redis knows nothing of it: no keeper has opened it. Does a worker run?"),
    };
    let mut found: Vec<String> = closed.map(|why| format!("closed: {why}")).into_iter().collect();
    if u128::from(redis.lag_ms) > lag_max.as_millis() {
        let seconds = redis.lag_ms / 1000;
        let what = if redis.consumers.is_empty() {
            "nobody reads the log: run a worker"
        } else {
            "are the workers and Postgres well?"
        };
        found.push(format!("{} entries wait, the oldest for {seconds} s: {what}", redis.backlog));
    }
    found
}

fn in_postgres(postgres: &InPostgres, lag_max: Duration) -> Vec<String> {
    let mut found = Vec::new();
    if postgres.keeper.is_none() {
        found.push("no keeper holds its lock: run a worker".to_owned());
    }
    if postgres.dead_letters > 0 {
        let n = postgres.dead_letters;
        found.push(format!("{n} dead letter{}: `doorbuster dead list`", if n == 1 { "" } else { "s" }));
    }
    if postgres.incidents > 0 {
        let n = postgres.incidents;
        found.push(format!("{n} incident{}: `doorbuster incidents list`", if n == 1 { "" } else { "s" }));
    }
    let stuck = postgres.oldest_intent_ms.and_then(|age| u128::try_from(age).ok());
    if stuck.is_some_and(|age| age > lag_max.as_millis()) {
        found.push(format!(
            "{} change(s) of stock wait, the oldest for {} s: is the partition open, and is its sale in Redis?",
            postgres.intents,
            stuck.unwrap_or(0) / 1000
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Consumer, Keeper, KnownDrift, LogSize, Meta, PartitionStatus};
    use super::*;
    use crate::log::EntryId;

    fn healthy() -> Status {
        let redis = InRedis {
            state: State::Open,
            meta: Meta { epoch: Some(3), ..Meta::default() },
            backlog: 5,
            oldest_unsettled: None,
            lag_ms: 40,
            pending: 5,
            consumers: vec![Consumer { name: "n-0".into(), pending: 5, idle_ms: 3 }],
            log: LogSize::default(),
            bytes_per_order: None,
        };
        let keeper =
            Keeper { pid: 7, address: "local".into(), application: "doorbuster".into(), connected_at: None };
        let postgres = InPostgres {
            epoch: 3,
            opened_at: None,
            watermark: EntryId::ZERO,
            keeper: Some(keeper),
            dead_letters: 0,
            intents: 1,
            oldest_intent_ms: Some(20),
            incidents: 0,
            last_incident_at: None,
        };
        let one = PartitionStatus {
            partition: 0,
            redis: Some(redis),
            postgres: Some(postgres),
            drift: Some(Drift::Known(KnownDrift { items: 3, ..KnownDrift::default() })),
        };
        Status {
            partitions: vec![one],
            database: None,
            redis_error: None,
            postgres_error: None,
            attention: Vec::new(),
        }
    }

    fn found(change: impl FnOnce(&mut InRedis, &mut InPostgres)) -> Vec<String> {
        let mut status = healthy();
        let one = &mut status.partitions[0];
        change(one.redis.as_mut().unwrap(), one.postgres.as_mut().unwrap());
        find(&status, Duration::from_secs(30)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_well_is_not_mentioned() {
        assert_eq!(found(|_, _| {}), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_not_well_is_named() {
        type Change = fn(&mut InRedis, &mut InPostgres);
        let cases: [(&str, Change); 10] = [
            ("p0: closed: it is being opened", |redis, _| redis.state = State::Opening),
            ("p0: closed: its lease", |redis, _| redis.state = State::LeaseOver),
            ("p0: closed: Redis knows nothing", |redis, _| redis.state = State::Unknown),
            ("p0: 5 entries wait, the oldest for 31 s: are", |redis, _| redis.lag_ms = 31_000),
            ("p0: 5 entries wait, the oldest for 31 s: nobody", |redis, _| {
                redis.lag_ms = 31_000;
                redis.consumers.clear();
            }),
            ("p0: Redis was opened under epoch 3, Postgres knows 4", |_, postgres| postgres.epoch = 4),
            ("p0: no keeper", |_, postgres| postgres.keeper = None),
            ("p0: 1 dead letter:", |_, postgres| postgres.dead_letters = 1),
            ("p0: 2 incidents:", |_, postgres| postgres.incidents = 2),
            ("p0: 1 change(s) of stock", |_, postgres| postgres.oldest_intent_ms = Some(31_000)),
        ];
        for (expected, change) in cases {
            let found = found(change);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn what_concerns_no_partition_is_named_too() {
        let mut status = healthy();
        let well = InDatabase {
            sales: 1,
            sales_open: 1,
            payments_open: 3,
            oldest_payment_ms: Some(200),
            dead_deliveries: 0,
            in_redis: Vec::new(),
        };
        status.database = Some(well.clone());
        assert_eq!(find(&status, Duration::from_secs(30)), []);
        status.database = Some(InDatabase { oldest_payment_ms: Some(31_000), dead_deliveries: 1, ..well });
        let found: Vec<_> = find(&status, Duration::from_secs(30)).iter().map(ToString::to_string).collect();
        assert!(found[0].starts_with("3 payment(s) wait for an answer, the oldest for 31 s"), "{found:?}");
        assert!(found[1].starts_with("1 webhook delivery was given up"), "{found:?}");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn drift_is_named_and_what_is_not_known_is_none() {
        let mut status = healthy();
        status.partitions[0].drift = Some(Drift::Known(KnownDrift { units: 4, drifting: 2, items: 3 }));
        let found = find(&status, Duration::from_secs(30));
        let text = "p0: the stock of 2 item(s) drifts by 4 units: `doorbuster reconcile`";
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        status.partitions[0].drift = Some(Drift::Unknown("not persisted".into()));
        assert_eq!(find(&status, Duration::from_secs(30)), []);
    }

    #[test]
    fn a_server_that_is_away_is_said_once() {
        let mut status = healthy();
        status.postgres_error = Some("gone".into());
        status.partitions[0].postgres = None;
        let found = find(&status, Duration::from_secs(30));
        assert_eq!(found, [Attention { partition: None, text: "Postgres does not answer: gone".into() }]);
    }
}
