//! Telling Doorbuster what became of a charge, as Standard Webhooks says.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use serde_json::json;
use tokio::sync::Semaphore;

use super::SandboxWebhook;
use super::charges::SandboxCharge;
use crate::http::HttpClient;
use crate::payment::protocol::ChargeStatus;

const TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_MAX: usize = 4 * 1024;
/// About a minute: a node whose Postgres comes back, or that is started anew, is not to miss one.
const ATTEMPTS: usize = 16;
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Messages that are on their way at once.
const AT_ONCE: usize = 32;

pub(super) struct Post {
    to: SandboxWebhook,
    http: HttpClient,
    slots: Semaphore,
}

impl Post {
    pub fn new(to: SandboxWebhook) -> Result<Self, rustls::Error> {
        let http = HttpClient::new(TIMEOUT, TIMEOUT, REPLY_MAX)?;
        Ok(Self { to, http, slots: Semaphore::new(AT_ONCE) })
    }

    /// Tells of a charge that is decided, under one id however often; `false` where nobody took it.
    pub async fn tell(&self, charge: &SandboxCharge) -> bool {
        let Ok(_slot) = self.slots.acquire().await else { return false };
        // What was refunded meanwhile was paid.
        let kind = if charge.status == ChargeStatus::Declined { "payment.declined" } else { "payment.paid" };
        let answer = charge.answer();
        let data = json!({
            "order_id": charge.order_id,
            "amount": charge.amount,
            "currency": charge.currency,
            "reference": charge.reference,
            "reason": answer.reason,
        });
        let body = json!({ "type": kind, "data": data }).to_string();
        let id = format!("{kind}-{}", charge.order_id);
        let pauses = ExponentialBuilder::new()
            .with_min_delay(PAUSE_MIN)
            .with_max_delay(PAUSE_MAX)
            .with_max_times(ATTEMPTS - 1)
            .with_jitter();
        let told = (|| self.deliver(&id, &body)).retry(pauses).await;
        if let Err(error) = &told {
            tracing::warn!(%error, id, "nobody takes the webhook: it is sent again after a restart");
        }
        told.is_ok()
    }

    async fn deliver(&self, id: &str, body: &str) -> Result<(), String> {
        let timestamp = jiff::Timestamp::now().as_second();
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.to.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.to.secret.sign(id, timestamp, body.as_bytes()))
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|error| error.to_string())?;
        let reply = self.http.send(request).await.map_err(|error| error.to_string())?;
        if reply.status.is_success() { Ok(()) } else { Err(reply.describe()) }
    }
}
