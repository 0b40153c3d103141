//! `GET /metrics`

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};

use super::Metrics;
use crate::gate::Gate;
use crate::http::{Body, Problem, ProblemKind, whole};

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/#protocol-negotiation>
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers a request; `gates` are asked at that moment.
pub fn handle(metrics: &Metrics, gates: &[Gate], request: &Request<Incoming>) -> Response<Body> {
    if request.uri().path() != "/metrics" {
        return Problem::new(ProblemKind::NotFound).into_response();
    }
    if request.method() != Method::GET {
        return Problem::method_not_allowed("GET").into_response();
    }
    for gate in gates {
        metrics.keeper.gate(gate.partition(), gate.open().map(|scripts| scripts.stamp.epoch));
    }
    let mut response = Response::new(whole(metrics.text()));
    response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
    response
}
