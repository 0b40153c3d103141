//! The listeners.

use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::register::Register;
use crate::http::{OpenConnections, ProblemKind};

type Label = [(&'static str, &'static str); 1];

/// Counts requests and connections.
#[derive(Debug)]
pub struct HttpMetrics {
    problems: Vec<Counter>,
    connections: Family<Label, Gauge>,
    listeners: Mutex<Vec<(&'static str, OpenConnections)>>,
}

impl HttpMetrics {
    pub(super) fn new(register: &mut Register) -> Self {
        let problems: Family<Label, Counter> = register.add(
            "request_problems",
            &["problem"],
            "Requests of buyers that were refused before or without a decision, by the type of the problem",
            Family::default(),
        );
        Self {
            problems: ProblemKind::ALL
                .iter()
                .map(|kind| problems.get_or_create_owned(&[("problem", kind.slug())]))
                .collect(),
            connections: register.add(
                "http_connections",
                &["listener"],
                "HTTP connections that are open now",
                Family::default(),
            ),
            listeners: Mutex::default(),
        }
    }

    /// A request ended in this problem.
    pub fn problem(&self, kind: ProblemKind) {
        if let Some(index) = ProblemKind::ALL.iter().position(|known| *known == kind) {
            self.problems[index].inc();
        }
    }

    /// Where a listener counts its connections; read when the metrics are asked for.
    pub fn listener(&self, name: &'static str) -> OpenConnections {
        let open = OpenConnections::default();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push((name, open.clone()));
        open
    }

    pub(super) fn refresh(&self) {
        for (name, open) in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.connections.get_or_create(&[("listener", *name)]).set(open.count());
        }
    }
}
