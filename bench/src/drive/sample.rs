//! What one turn of one subject gave.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cost::Usage;
use crate::load::{SLOT, Tally};

/// What one turn of one subject gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// The case.
    pub case: String,
    /// The subject, with what distinguishes this turn from others of it.
    pub subject: String,
    /// From 1.
    pub round: u32,
    /// Numbers by name; none where the outcome was not right.
    pub figures: BTreeMap<String, f64>,
    /// What happened when.
    #[serde(default, skip_serializing_if = "Timeline::is_empty")]
    pub timeline: Timeline,
    /// Why it gave nothing: what the check of its outcome found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Why it was not run at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

/// What happened when, since the beginning of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Width of a slot, in milliseconds.
    pub slot_ms: u64,
    /// Orders accepted in each slot.
    pub accepted: Vec<u32>,
    /// Answers in each slot.
    pub answered: Vec<u32>,
    /// (milliseconds, orders persisted until then).
    pub persisted: Vec<(u64, u64)>,
    /// Of a long run: (orders so far, processor microseconds of an order since the last point, Redis bytes of an order).
    pub cost: Vec<(u64, f64, f64)>,
}

impl Timeline {
    fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.answered.is_empty()
    }

    /// Of what a load generator saw.
    pub fn of(tally: &Tally, persisted: Vec<(u64, u64)>) -> Self {
        Self {
            slot_ms: SLOT.as_millis() as u64,
            accepted: tally.accepted_slots.clone(),
            answered: tally.answer_slots.clone(),
            persisted,
            cost: Vec::new(),
        }
    }
}

impl Sample {
    /// An empty one.
    pub fn new(case: &str, subject: impl Into<String>, round: u32) -> Self {
        Self { case: case.to_owned(), subject: subject.into(), round, ..Self::default() }
    }

    /// Adds a figure; one that is no number is left out.
    pub fn set(&mut self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.figures.insert(name.into(), value);
        }
    }

    /// Percentiles in milliseconds, under `prefix`.
    pub fn latency(&mut self, prefix: &str, histogram: &Histogram<u64>) {
        if histogram.is_empty() {
            return;
        }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            self.set(format!("{prefix}{name}_ms"), histogram.value_at_quantile(quantile) as f64 / 1000.0);
        }
    }

    /// Processor time for each of `count` things, by component; the load generator's apart from the sum.
    pub fn processor(&mut self, usage: &Usage, unit: &str, count: u64) {
        if count == 0 {
            return;
        }
        let own: u64 = usage.iter().filter(|(name, _)| **name != "load").map(|(_, us)| us).sum();
        self.set(format!("cpu_us_per_{unit}"), own as f64 / count as f64);
        for (component, us) in usage {
            self.set(format!("cpu_us_per_{unit}.{component}"), *us as f64 / count as f64);
        }
        let all: u64 = usage.values().sum();
        self.set("load_cpu_share", usage.get("load").copied().unwrap_or(0) as f64 / all as f64);
    }

    /// Takes every figure away where there are faults: a run whose outcome is wrong has no speed.
    #[must_use]
    pub fn judged(mut self, faults: Vec<String>) -> Self {
        if !faults.is_empty() {
            self.figures.clear();
            self.timeline = Timeline::default();
            self.faults = faults;
        }
        self
    }
}

/// Things a second; not a number where no time passed.
pub fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_outcome_leaves_no_figure() {
        let mut sample = Sample::new("accept", "engine", 1);
        sample.set("accepted_per_s", 1.0);
        sample.set("nonsense", f64::NAN);
        assert_eq!(sample.clone().judged(Vec::new()).figures.len(), 1);
        let judged = sample.judged(vec!["oversold".into()]);
        assert!(judged.figures.is_empty() && judged.timeline.is_empty());
    }

    #[test]
    fn the_load_generator_is_told_apart() {
        let mut sample = Sample::default();
        sample.processor(&Usage::from([("api", 30), ("redis", 10), ("load", 60)]), "order", 2);
        assert_eq!(sample.figures["cpu_us_per_order"], 20.0);
        assert_eq!(sample.figures["cpu_us_per_order.load"], 30.0);
        assert_eq!(sample.figures["load_cpu_share"], 0.6);
    }
}
