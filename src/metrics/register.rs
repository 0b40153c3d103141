//! Names, labels and help of the metrics: what is registered here is what is exported, and what the docs list.

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric, Registry};

const PREFIX: &str = "doorbuster";

/// One metric as Prometheus sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name, with prefix and suffix.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, with its unit.
    pub help: &'static str,
}

#[derive(Debug)]
pub(super) struct Register {
    registry: Registry,
    rows: Vec<Row>,
}

impl Default for Register {
    fn default() -> Self {
        Self { registry: Registry::with_prefix(PREFIX), rows: Vec::new() }
    }
}

impl Register {
    /// Registers a metric; its name is without prefix, and of a counter without `_total`.
    pub fn add<M: Metric + EncodeMetric + Clone>(
        &mut self,
        name: &str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        let (kind, suffix) = match EncodeMetric::metric_type(&metric) {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Histogram => ("histogram", ""),
            _ => ("gauge", ""),
        };
        self.rows.push(Row { name: format!("{PREFIX}_{name}{suffix}"), kind, labels, help });
        self.registry.register(name, help, metric.clone());
        metric
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

pub(super) fn markdown_table(rows: &[Row]) -> String {
    let mut table = String::from("| metric | type | labels | what it tells |\n|---|---|---|---|\n");
    for Row { name, kind, labels, help } in rows {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!("| `{name}` | {kind} | {} | {help}. |\n", labels.join(", ")));
    }
    table
}
