//! The stand-in payment gateway of a deployment: a process like the others, and its books.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use doorbuster::payment::{Rates, SandboxCharge};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use serde::Deserialize;
use serde_json::json;

use crate::ChaosError;
use crate::client::{self, Http};
use crate::deployment::{PATIENCE, local_address};
use crate::node_process::{NodeOptions, NodeProcess, Role};
use crate::occasion::CURRENCY;

const TOKEN: &str = "no-secret-of-a-chaos-gateway";
/// Signs its webhooks.
const WEBHOOK_SECRET: &str = "whsec_ZG9vcmJ1c3Rlci1jaGFvcy1kZXBsb3ltZW50LXNlY3JldA==";
const POLL: Duration = Duration::from_millis(20);
/// What the test itself asks of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Running or not. What it was charged with it finds again in its file.
pub struct Gateway {
    /// To be frozen and killed.
    pub process: NodeProcess,
    address: SocketAddr,
    rates: Rates,
}

/// Where buyers pay elsewhere: the gateway's hosted checkout.
#[derive(Clone)]
pub struct Checkout {
    address: SocketAddr,
    http: Http,
}

impl Checkout {
    /// Pays for an order, once.
    ///
    /// # Errors
    /// [`ChaosError::Gateway`] where it was not said what became of it.
    pub async fn pay(&self, order: &str, amount: i64) -> Result<(), ChaosError> {
        let body = json!({ "amount": amount, "currency": CURRENCY }).to_string();
        let path = format!("/v1/checkout/{order}");
        ask(&self.http, self.address, Method::POST, &path, body.into()).await.map(drop)
    }
}

#[derive(Deserialize)]
struct Books {
    charges: Vec<SandboxCharge>,
}

impl Gateway {
    /// One that does not run yet, and will keep its books in `dir`.
    ///
    /// # Errors
    /// [`ChaosError`] where there is no free port.
    pub(crate) fn new(dir: &Path) -> Result<Self, ChaosError> {
        let address = local_address()?;
        let state = dir.join("gateway.jsonl").display().to_string();
        let words =
            ["gateway-sandbox", "--listen", &address.to_string(), "--token", TOKEN, "--state", &state];
        let options = NodeOptions {
            name: "gateway".to_owned(),
            role: Role::Gateway,
            command: words.map(str::to_owned).to_vec(),
            listen: address,
            admin: address,
            settings: BTreeMap::new(),
            failpoints: String::new(),
            variables: BTreeMap::new(),
            under: Vec::new(),
        };
        Ok(Self { process: NodeProcess::new(options, dir), address, rates: Rates::default() })
    }

    /// What every node is told of it.
    pub(crate) fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("gateway_url", format!("http://{}", self.address)),
            ("gateway_token", TOKEN.to_owned()),
            ("payment_webhook_secret", WEBHOOK_SECRET.to_owned()),
        ]
    }

    /// Has it tell this API node what became of its charges, from its next start on.
    pub(crate) fn tell(&mut self, api: SocketAddr) {
        let url = format!("http://{api}/v1/payments/webhook");
        let words = ["--webhook-url", &url, "--webhook-secret", WEBHOOK_SECRET];
        self.process.options.command.extend(words.map(str::to_owned));
    }

    /// Starts it where it does not run, and waits until it behaves as it was told last.
    ///
    /// # Errors
    /// [`ChaosError::NotInTime`].
    pub async fn start(&mut self) -> Result<(), ChaosError> {
        self.process.start_again()?;
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.set(self.rates).await {
            if Instant::now() > end {
                return Err(error);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Changes how it misbehaves.
    ///
    /// # Errors
    /// [`ChaosError::Gateway`].
    pub async fn set(&mut self, rates: Rates) -> Result<(), ChaosError> {
        self.rates = rates;
        let body = serde_json::to_vec(&rates).map_err(failed)?;
        self.ask(Method::PUT, "/sandbox", body.into()).await.map(drop)
    }

    /// Every charge, of every sale.
    ///
    /// # Errors
    /// [`ChaosError::Gateway`].
    pub async fn charges(&self) -> Result<Vec<SandboxCharge>, ChaosError> {
        let body = self.ask(Method::GET, "/sandbox/charges", Bytes::new()).await?;
        let books: Books = serde_json::from_slice(&body).map_err(failed)?;
        Ok(books.charges)
    }

    /// Where buyers pay elsewhere.
    pub fn checkout(&self) -> Checkout {
        Checkout { address: self.address, http: client::http() }
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ChaosError> {
        ask(&client::http(), self.address, method, path, body).await
    }
}

async fn ask(
    http: &Http,
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Bytes, ChaosError> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Full::new(body))
        .map_err(failed)?;
    let answer = async {
        let response = http.request(request).await.map_err(failed)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(failed(status)) }
    };
    tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| Err(failed("no answer in time")))
}

fn failed(why: impl ToString) -> ChaosError {
    ChaosError::Gateway(why.to_string())
}
