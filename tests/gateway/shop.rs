//! What asks the gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use doorbuster::buyer::BuyerId;
use doorbuster::config::{GatewayUrl, Secret, Settings};
use doorbuster::http::{HttpClient, Reply};
use doorbuster::log::EntryId;
use doorbuster::metrics::Metrics;
use doorbuster::order_id::{Mark, OrderId};
use doorbuster::partition::Partitions;
use doorbuster::payment::{
    Charge, ChargeState, HttpGateway, HttpGatewayOptions, Rates, Sandbox, SandboxCharge, SandboxOptions,
};
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Shop {
    pub gateway: HttpGateway,
    pub metrics: Arc<Metrics>,
}

/// As in production, but for short pauses; the breaker stays out of the way.
pub fn options(url: &str) -> HttpGatewayOptions {
    let settings = Settings { gateway_url: GatewayUrl::new(url), ..Settings::default() };
    HttpGatewayOptions {
        timeout: Duration::from_secs(10),
        retry: Duration::from_millis(5),
        breaker_failures: 1_000,
        ..HttpGatewayOptions::of(&settings).unwrap()
    }
}

impl Shop {
    pub fn at(url: &str) -> Self {
        Self::with(options(url))
    }

    pub fn with(options: HttpGatewayOptions) -> Self {
        let metrics = Metrics::new();
        Self { gateway: HttpGateway::new(options, metrics.gateway.clone()).unwrap(), metrics }
    }

    /// A count, as Prometheus sees it.
    pub fn requests(&self, operation: &str, result: &str) -> u64 {
        let name =
            format!("doorbuster_gateway_requests_total{{operation=\"{operation}\",result=\"{result}\"}} ");
        let text = self.metrics.text();
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    }

    pub fn attempts(&self) -> u64 {
        let text = self.metrics.text();
        let name = "doorbuster_gateway_attempt_seconds_count ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    pub fn breaker(&self) -> u64 {
        let text = self.metrics.text();
        let name = "doorbuster_gateway_breaker_state ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }
}

pub async fn sandbox(rates: Rates) -> Sandbox {
    Sandbox::start(SandboxOptions { rates, ..SandboxOptions::default() }).await.unwrap()
}

/// The nth order; the same in every run, and so what chance does to it.
pub fn order(n: u64) -> OrderId {
    let entry: EntryId = format!("1700000000000-{n}").parse().unwrap();
    let partition = Partitions::new(1).unwrap().all().next().unwrap();
    OrderId::new(entry, partition, "0000000B".parse::<Mark>().unwrap())
}

pub fn charge_of(order: OrderId) -> Charge {
    Charge { order, buyer: BuyerId::parse(b"alice").unwrap(), amount: 1_500, currency: "EUR".to_owned() }
}

pub fn paid(order: OrderId) -> ChargeState {
    ChargeState::Paid { amount: 1_500, currency: "EUR".to_owned(), reference: format!("sandbox-{order}") }
}

/// What the sandbox has of an order.
pub fn of(sandbox: &Sandbox, order: OrderId) -> Option<SandboxCharge> {
    sandbox.charges().into_iter().find(|charge| charge.order_id == order.to_string())
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One request, as somebody else than the client might send it.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
    HttpClient::new(PATIENCE, PATIENCE, 1 << 20).unwrap().send(request).await.unwrap()
}

pub fn json(reply: &Reply) -> Value {
    serde_json::from_slice(reply.body.as_ref().unwrap()).unwrap()
}

pub fn token() -> Secret {
    Secret::new("a-token-of-the-gateway").unwrap()
}
