//! One line of the table: what the events of one kind have in common.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::EventReport;
use crate::findings::Broken;

/// What the events of one kind have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Events.
    pub runs: u64,
    /// Of these, whose fault was seen to have happened.
    pub fired: u64,
    /// Orders that buyers were told of.
    pub acknowledged: u64,
    /// Of these, gone with a storage that the injector destroyed.
    pub destroyed: u64,
    /// Of these, lost in a failover for which nobody promised more.
    pub lost_in_failover: u64,
    /// Cancels sent.
    pub cancels: u64,
    /// How often each promise was broken.
    pub broken: BTreeMap<Broken, u64>,
    /// From the end of each fault to the first new order.
    pub first_order_ms: Vec<u64>,
    /// From there until all that was accepted before was persisted.
    pub drained_ms: Vec<u64>,
    /// The worst 99th percentile of the requests during a fault.
    pub p99_ms: u64,
}

impl Row {
    /// Adds an event.
    fn add(&mut self, event: &EventReport) {
        self.runs += 1;
        self.fired += u64::from(event.fired);
        self.acknowledged += event.findings.acknowledged;
        self.destroyed += event.findings.destroyed;
        self.lost_in_failover += event.findings.lost_in_failover;
        self.cancels += event.cancels;
        for (broken, details) in &event.findings.broken {
            *self.broken.entry(*broken).or_default() += details.len() as u64;
        }
        self.first_order_ms.extend(event.first_order_ms);
        self.drained_ms.extend(event.drained_ms);
        self.p99_ms = self.p99_ms.max(event.p99_ms);
    }

    pub(super) fn cells(&self, kind: &str) -> Vec<String> {
        let mut cells = vec![kind.to_owned()];
        let counts = [self.runs, self.fired, self.acknowledged, self.destroyed, self.lost_in_failover];
        cells.extend(counts.map(|n| n.to_string()));
        cells.extend(Broken::ALL.iter().map(|broken| self.broken.get(broken).unwrap_or(&0).to_string()));
        cells.extend([worst(&self.first_order_ms), worst(&self.drained_ms), self.p99_ms.to_string()]);
        cells
    }
}

impl Row {
    /// Adds the same kind of another run.
    pub(super) fn join(&mut self, other: &Self) {
        self.runs += other.runs;
        self.fired += other.fired;
        self.acknowledged += other.acknowledged;
        self.destroyed += other.destroyed;
        self.lost_in_failover += other.lost_in_failover;
        self.cancels += other.cancels;
        for (broken, times) in &other.broken {
            *self.broken.entry(*broken).or_default() += times;
        }
        self.first_order_ms.extend(&other.first_order_ms);
        self.drained_ms.extend(&other.drained_ms);
        self.p99_ms = self.p99_ms.max(other.p99_ms);
    }
}

/// One row for each kind, in the order in which the kinds first ran.
pub(super) fn rows(events: &[EventReport]) -> Vec<(&str, Row)> {
    let mut rows: Vec<(&str, Row)> = Vec::new();
    for event in events {
        let at = rows.iter().position(|(kind, _)| *kind == event.kind).unwrap_or_else(|| {
            rows.push((&event.kind, Row::default()));
            rows.len() - 1
        });
        rows[at].1.add(event);
    }
    rows
}

pub(super) fn worst(times: &[u64]) -> String {
    times.iter().max().map_or_else(|| "never".to_owned(), u64::to_string)
}
