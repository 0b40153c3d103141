//! The table of a run, and the same as JSON.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::event::EventReport;
use crate::findings::Broken;

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// From which all of it follows.
    pub seed: u64,
    /// Every event, in the order in which they ran.
    pub events: Vec<EventReport>,
    /// What this machine does not permit.
    pub not_run: Vec<NotRun>,
}

/// A fault that was not tried: neither good nor bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotRun {
    /// The fault's kind.
    pub kind: String,
    /// What is missing.
    pub reason: String,
}

/// What the events of one kind have in common.
#[derive(Clone, Debug, Default, Serialize)]
struct Row {
    runs: u64,
    fired: u64,
    acknowledged: u64,
    destroyed: u64,
    lost_in_failover: u64,
    broken: BTreeMap<Broken, u64>,
    first_order_ms: Vec<u64>,
    drained_ms: Vec<u64>,
    p99_ms: u64,
}

impl RunReport {
    /// Whether every fault fired and every promise held. Where nothing ran nothing is good.
    pub fn is_good(&self) -> bool {
        !self.events.is_empty() && self.events.iter().all(EventReport::is_good)
    }

    /// One row for each kind, in the order in which the kinds first ran. Times are the worst of the kind.
    pub fn table(&self) -> String {
        let mut kinds: Vec<&str> = Vec::new();
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for event in &self.events {
            if !rows.contains_key(event.kind.as_str()) {
                kinds.push(&event.kind);
            }
            rows.entry(&event.kind).or_default().add(event);
        }
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let mut header = vec!["fault", "runs", "fired", "acks", "destroyed", "lost in failover"];
        header.extend(Broken::ALL.map(Broken::heading));
        header.extend(["first 202 (ms)", "drained (ms)", "p99 (ms)"]);
        table.set_header(header);
        for kind in kinds {
            table.add_row(rows.remove(kind).unwrap_or_default().cells(kind));
        }
        for NotRun { kind, reason } in &self.not_run {
            table.add_row([kind.clone(), format!("not run: {reason}")]);
        }
        table.to_string()
    }

    /// Everything that went wrong, one line each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for event in &self.events {
            let name = format!("{} (seed {}, {})", event.kind, event.seed, event.sale);
            if !event.fired {
                complaints.push(format!("{name}: did not fire: {}", event.evidence));
            }
            for (broken, details) in &event.findings.broken {
                let shown = details.iter().take(3).cloned().collect::<Vec<_>>().join(" | ");
                complaints.push(format!("{name}: {} {}: {shown}", details.len(), broken.heading()));
            }
        }
        complaints
    }
}

impl Row {
    fn add(&mut self, event: &EventReport) {
        self.runs += 1;
        self.fired += u64::from(event.fired);
        self.acknowledged += event.findings.acknowledged;
        self.destroyed += event.findings.destroyed;
        self.lost_in_failover += event.findings.lost_in_failover;
        for broken in Broken::ALL {
            *self.broken.entry(broken).or_default() += event.findings.count(broken);
        }
        self.first_order_ms.extend(event.first_order_ms);
        self.drained_ms.extend(event.drained_ms);
        self.p99_ms = self.p99_ms.max(event.p99_ms);
    }

    fn cells(self, kind: &str) -> Vec<String> {
        let mut cells = vec![kind.to_owned()];
        let counts = [self.runs, self.fired, self.acknowledged, self.destroyed, self.lost_in_failover];
        cells.extend(counts.map(|n| n.to_string()));
        cells.extend(Broken::ALL.iter().map(|broken| self.broken.get(broken).unwrap_or(&0).to_string()));
        cells.extend([worst(&self.first_order_ms), worst(&self.drained_ms), self.p99_ms.to_string()]);
        cells
    }
}

fn worst(times: &[u64]) -> String {
    times.iter().max().map_or_else(|| "never".to_owned(), u64::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_shown_and_counts_as_nothing() {
        let not_run = NotRun { kind: "redis_power_lost".into(), reason: "no C compiler".into() };
        let report = RunReport { seed: 1, events: Vec::new(), not_run: vec![not_run] };
        assert!(report.table().contains("not run: no C compiler"));
        assert!(!report.is_good() && report.complaints().is_empty());
    }
}
