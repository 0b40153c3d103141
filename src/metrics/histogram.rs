//! A histogram of atomics. The one of the client library takes a lock for each value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Counts values by size. Cheap to clone; clones share their counts.
#[derive(Clone, Debug)]
pub struct AtomicHistogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper bounds, each included, rising; above them is one bucket more. In `per_unit`ths of the exported unit.
    bounds: &'static [u64],
    per_unit: f64,
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// Values of one batch, not yet added.
#[derive(Debug)]
pub struct Tally<'a> {
    histogram: &'a AtomicHistogram,
    counts: Vec<u64>,
    sum: u64,
}

impl AtomicHistogram {
    /// Of durations, with bounds in microseconds; exported in seconds.
    pub fn of_micros(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1e6)
    }

    /// Of plain numbers.
    pub fn of_counts(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1.0)
    }

    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, per_unit, counts, sum: AtomicU64::new(0) }))
    }

    /// Counts one value, in the unit of the bounds.
    pub fn observe(&self, value: u64) {
        self.0.counts[self.bucket(value)].fetch_add(1, Relaxed);
        self.0.sum.fetch_add(value, Relaxed);
    }

    /// Counts one duration.
    pub fn observe_time(&self, time: Duration) {
        self.observe(micros(time));
    }

    /// Begins a batch of values.
    pub fn tally(&self) -> Tally<'_> {
        Tally { histogram: self, counts: vec![0; self.0.counts.len()], sum: 0 }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn bucket(&self, value: u64) -> usize {
        self.0.bounds.partition_point(|&bound| bound < value)
    }
}

impl Tally<'_> {
    pub(super) fn observe_time(&mut self, time: Duration) {
        let value = micros(time);
        self.counts[self.histogram.bucket(value)] += 1;
        self.sum += value;
    }

    /// Adds what was counted; once.
    pub(super) fn add(&self) {
        let inner = &self.histogram.0;
        for (all, of_batch) in inner.counts.iter().zip(&self.counts).filter(|(_, of_batch)| **of_batch > 0) {
            all.fetch_add(*of_batch, Relaxed);
        }
        inner.sum.fetch_add(self.sum, Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl EncodeMetric for AtomicHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let inner = &self.0;
        let bounds = inner.bounds.iter().map(|&bound| bound as f64 / inner.per_unit).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> =
            bounds.zip(inner.counts.iter().map(|count| count.load(Relaxed))).collect();
        // Of the buckets as they were read, so that the last one and the count agree.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = inner.sum.load(Relaxed) as f64 / inner.per_unit;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for AtomicHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[test]
    fn values_are_counted_at_their_bound_whether_one_by_one_or_in_a_batch() {
        let histogram = AtomicHistogram::of_micros(&[1_000, 5_000]);
        histogram.observe_time(Duration::from_millis(1));
        let mut tally = histogram.tally();
        tally.observe_time(Duration::from_micros(1_001));
        tally.observe_time(Duration::from_secs(1));
        assert_eq!(histogram.count(), 1, "not before it is added");
        tally.add();
        let mut registry = Registry::default();
        registry.register("t", "help", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "t_sum 1.002001",
            "t_count 3",
            "t_bucket{le=\"0.001\"} 1",
            "t_bucket{le=\"0.005\"} 2",
            "t_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
