//! A buyer's browser: sends one request, and knows what its answer means.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::deployment::{ADMIN_TOKEN, Deployment};
use crate::history::{CancelOrder, CancelOutcome, CancelledBy, HistoryFile, Lines, Outcome, Purchase};

/// Longer than a node takes to say that it does not know (claim_timeout_ms + redis_timeout_ms).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// What the history calls a refusal by a partition that is empty while another is not.
pub const PARTITION_EMPTY: &str = "partition-empty";
/// By what such an answer is known.
const EMPTY_PARTITION: &str = "partition has too few units left while another has some";

/// Sends requests.
pub(crate) type Http = HyperClient<HttpConnector, Full<Bytes>>;

/// Sends claims, and writes down what became of them.
#[derive(Clone)]
pub struct Client {
    http: Http,
    apis: Arc<[SocketAddr]>,
    admins: Arc<[SocketAddr]>,
    history: Arc<HistoryFile>,
}

impl Client {
    /// A client of the nodes of a deployment.
    pub fn new(deployment: &Deployment, history: Arc<HistoryFile>) -> Self {
        let (apis, admins) = (deployment.apis().into(), deployment.admins().into());
        Self { http: http(), apis, admins, history }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.apis.len()
    }

    /// Claims, once.
    ///
    /// # Errors
    /// Where the history cannot be written.
    pub async fn claim(&self, purchase: &Purchase, lines: &Lines, node: usize) -> io::Result<Outcome> {
        let node = node % self.apis.len();
        let attempt = self.history.invoke(purchase, lines, node)?;
        let outcome = match self.send(claim_request(purchase, lines, self.apis[node])).await {
            Ok((status, body)) => read_answer(status, &body),
            Err(why) => Outcome::Unknown { why },
        };
        self.history.answer(attempt, &outcome)?;
        Ok(outcome)
    }

    /// Cancels, once.
    ///
    /// # Errors
    /// Where the history cannot be written.
    pub async fn cancel(&self, cancel: &CancelOrder, node: usize) -> io::Result<CancelOutcome> {
        let node = node % self.apis.len();
        let attempt = self.history.invoke_cancel(cancel, node)?;
        let request = cancel_request(cancel, self.apis[node], self.admins[node]);
        let outcome = match self.send(request).await {
            Ok((status, body)) => read_cancel_answer(status, &body),
            Err(why) => CancelOutcome::Unknown { why },
        };
        self.history.answer_cancel(attempt, &outcome)?;
        Ok(outcome)
    }

    async fn send(
        &self,
        request: Result<Request<Full<Bytes>>, String>,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = request?;
        let answer = async {
            let response = self.http.request(request).await.map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok((parts.status, body.to_bytes()))
        };
        let in_time = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        in_time.unwrap_or_else(|_| Err("no answer in time".into()))
    }
}

fn claim_request(
    purchase: &Purchase,
    lines: &Lines,
    api: SocketAddr,
) -> Result<Request<Full<Bytes>>, String> {
    let items: Vec<Value> = lines.iter().map(|(sku, n)| json!({ "sku": sku, "quantity": n })).collect();
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://{api}/v1/sales/{}/orders", purchase.sale))
        .header("x-buyer-id", &purchase.buyer)
        .header("idempotency-key", &purchase.key)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json!({ "items": items }).to_string())))
        .map_err(|error| error.to_string())
}

fn cancel_request(
    cancel: &CancelOrder,
    api: SocketAddr,
    admin: SocketAddr,
) -> Result<Request<Full<Bytes>>, String> {
    let request = Request::builder().method(Method::POST);
    let order = &cancel.order;
    let request = match &cancel.by {
        CancelledBy::Buyer(buyer) => request
            .uri(format!("http://{api}/v1/orders/{order}/cancel"))
            .header("x-buyer-id", buyer)
            .body(Full::default()),
        CancelledBy::Operator => request
            .uri(format!("http://{admin}/admin/v1/orders/{order}/cancel"))
            .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
            .header("content-type", "application/json")
            .body(Full::from(json!({ "reason": "a storm", "actor": "chaos" }).to_string())),
    };
    request.map_err(|error| error.to_string())
}

/// Whether a node says that it is ready.
pub async fn is_ready(api: SocketAddr) -> bool {
    let Ok(uri) = format!("http://{api}/readyz").parse() else { return false };
    let answer = tokio::time::timeout(READY_TIMEOUT, http().get(uri)).await;
    matches!(answer, Ok(Ok(response)) if response.status() == StatusCode::OK)
}

/// Never sends a request twice by itself: what is sent is what is written down.
pub(crate) fn http() -> Http {
    HyperClient::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

/// The last part of a problem's type.
fn problem(body: &Value) -> String {
    let kind = body["type"].as_str().unwrap_or("no problem document");
    kind.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What the answer to a cancel means: anything but 200 and a problem of the request leaves it open.
fn read_cancel_answer(status: StatusCode, body: &[u8]) -> CancelOutcome {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    match status.as_u16() {
        200 => CancelOutcome::Done,
        code @ 400..500 => CancelOutcome::Refused { status: code, problem: problem(&body) },
        code => CancelOutcome::Unknown { why: format!("{code} {}", problem(&body)) },
    }
}

/// What an answer means to a buyer (README, "Answers").
fn read_answer(status: StatusCode, body: &[u8]) -> Outcome {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let problem = || problem(&body);
    // Decided, unlike any other 503: asking again at once would find the same.
    let partition_is_empty =
        || body["detail"].as_str().is_some_and(|detail| detail.contains(EMPTY_PARTITION));
    match (status.as_u16(), body["id"].as_str()) {
        (200 | 202, Some(id)) => Outcome::Order { id: id.to_owned(), new: status == StatusCode::ACCEPTED },
        (code @ 400..500, _) => Outcome::Refused { status: code, problem: problem() },
        (503, _) if partition_is_empty() => {
            Outcome::Refused { status: 503, problem: PARTITION_EMPTY.to_owned() }
        }
        (code, _) => Outcome::Unknown { why: format!("{code} {}", problem()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_is_done_where_it_is_said_so_and_open_where_nobody_knows() {
        assert_eq!(read_cancel_answer(StatusCode::OK, b"{}"), CancelOutcome::Done);
        let early = read_cancel_answer(StatusCode::CONFLICT, br#"{"type":"/problems/not-stored-yet"}"#);
        assert_eq!(early, CancelOutcome::Refused { status: 409, problem: "not-stored-yet".into() });
        let open = read_cancel_answer(StatusCode::SERVICE_UNAVAILABLE, b"");
        assert!(matches!(open, CancelOutcome::Unknown { .. }));
    }

    #[test]
    fn only_a_problem_of_the_request_is_a_refusal() {
        let refused = read_answer(StatusCode::CONFLICT, br#"{"type":"/problems/sold-out"}"#);
        assert_eq!(refused, Outcome::Refused { status: 409, problem: "sold-out".into() });
        let unknown = read_answer(StatusCode::SERVICE_UNAVAILABLE, br#"{"type":"/problems/indeterminate"}"#);
        assert!(matches!(unknown, Outcome::Unknown { .. }));
        let empty = format!(
            r#"{{"type":"/problems/unavailable","detail":"this buyer's {EMPTY_PARTITION}: try again"}}"#
        );
        let refused = read_answer(StatusCode::SERVICE_UNAVAILABLE, empty.as_bytes());
        assert_eq!(refused, Outcome::Refused { status: 503, problem: PARTITION_EMPTY.into() });
        let engine = include_str!("../../../src/api/answer.rs");
        assert!(engine.contains(EMPTY_PARTITION), "the engine says it in other words");
        // A 202 that was cut short tells of no order.
        assert!(matches!(read_answer(StatusCode::ACCEPTED, br#"{"id":"01"#), Outcome::Unknown { .. }));
        let order = read_answer(StatusCode::OK, br#"{"id":"01X"}"#);
        assert_eq!(order, Outcome::Order { id: "01X".into(), new: false });
    }
}
