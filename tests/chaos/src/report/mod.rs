//! The table of a run, and the same as JSON.

mod families;
mod record;
mod row;

use comfy_table::{Table, presets};
use serde::{Deserialize, Serialize};

pub use record::{RunRecord, Total};
pub use row::Row;
use row::rows;

use crate::event::EventReport;
use crate::findings::Broken;

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunReport {
    /// From which all of it follows, together with the number of lanes.
    pub seed: u64,
    /// Deployments side by side.
    pub lanes: usize,
    /// Every event, in the order in which they ended.
    pub events: Vec<EventReport>,
    /// What this machine does not permit.
    pub not_run: Vec<NotRun>,
    /// Events that could not be run to their end: neither good nor bad, but the run has failed.
    pub failures: Vec<String>,
}

/// A fault that was not tried: neither good nor bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// The fault's kind.
    pub kind: String,
    /// What is missing.
    pub reason: String,
}

impl RunReport {
    /// Whether every fault fired and every promise held. Where nothing ran nothing is good.
    pub fn is_good(&self) -> bool {
        !self.events.is_empty() && self.failures.is_empty() && self.events.iter().all(EventReport::is_good)
    }

    /// One row for each kind, in the order in which the kinds first ran. Times are the worst of the kind.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let mut header = vec!["fault", "runs", "fired", "acks", "destroyed", "lost in failover"];
        header.extend(Broken::ALL.map(Broken::heading));
        header.extend(["first 202 (ms)", "drained (ms)", "p99 (ms)"]);
        table.set_header(header);
        for (kind, row) in rows(&self.events) {
            table.add_row(row.cells(kind));
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
        complaints.extend(self.failures.iter().map(|failure| format!("failed: {failure}")));
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_shown_and_counts_as_nothing() {
        let not_run = NotRun { kind: "redis_power_lost".into(), reason: "no C compiler".into() };
        let report =
            RunReport { seed: 1, lanes: 1, events: Vec::new(), not_run: vec![not_run], failures: Vec::new() };
        assert!(report.table().contains("not run: no C compiler"));
        assert!(!report.is_good() && report.complaints().is_empty());
    }
}
