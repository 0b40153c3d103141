//! A client that speaks as a buyer's browser would.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    http: HyperClient<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Reply {
    /// Status, and the last part of the problem's type.
    pub fn problem(&self) -> (u16, &str) {
        let kind = self.body["type"].as_str().unwrap_or_default();
        (self.status.as_u16(), kind.rsplit('/').next().unwrap_or_default())
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {self:?}")).to_owned()
    }

    pub fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap().parse().unwrap())
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, http: HyperClient::builder(TokioExecutor::new()).build_http() }
    }

    /// Claims; panics where no response comes at all.
    pub async fn claim(
        &self,
        sale: impl std::fmt::Display,
        buyer: &str,
        key: &str,
        items: &[(&str, u64)],
    ) -> Reply {
        self.try_claim(&sale.to_string(), buyer, key, items).await.unwrap()
    }

    pub async fn try_claim(
        &self,
        sale: &str,
        buyer: &str,
        key: &str,
        items: &[(&str, u64)],
    ) -> Result<Reply, hyper_util::client::legacy::Error> {
        let items: Vec<Value> = items.iter().map(|(sku, n)| json!({ "sku": sku, "quantity": n })).collect();
        let headers = [("x-buyer-id", buyer), ("idempotency-key", key), ("content-type", "application/json")];
        let body = json!({ "items": items }).to_string();
        self.send(Method::POST, &format!("/v1/sales/{sale}/orders"), &headers, body).await
    }

    pub async fn get(&self, path: &str, buyer: &str) -> Reply {
        self.send(Method::GET, path, &[("x-buyer-id", buyer)], String::new()).await.unwrap()
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Reply, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.http.request(request.body(Full::new(body.into())).unwrap()).await?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}
