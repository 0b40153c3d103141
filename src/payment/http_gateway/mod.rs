//! A payment gateway that is asked over HTTP: docs/PAYMENTS.md.
//!
//! One request to it is up to `attempts` attempts. All of them carry the same idempotency key, so that whichever of them
//! arrive are carried out once. What is said of the request in the end is what is known of all its attempts: only where
//! none of them can have arrived, it was not asked.

mod attempt;
mod breaker;
mod retries;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use serde_json::to_vec;

use self::attempt::{Flaw, Operation, judge_failure, judge_reply};
use self::breaker::Breaker;
use self::retries::Retries;
use super::gateway::{Charge, ChargeState, Gateway, GatewayError};
use super::protocol::{ChargeAnswer, ChargeRequest, ChargeStatus, IDEMPOTENCY_KEY};
use crate::config::{GatewayUrl, Secret, Settings};
use crate::http::HttpClient;
use crate::metrics::GatewayMetrics;
use crate::order_id::OrderId;

/// What is read of an answer.
const ANSWER_MAX: usize = 16 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where the gateway is, and how it is asked.
#[derive(Clone, Debug)]
pub struct HttpGatewayOptions {
    /// What `/v1/charges` is appended to.
    pub url: GatewayUrl,
    /// Shown to the gateway as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Of one attempt, from connecting to the end of the answer. Half of it is for connecting: what fails there is known not
    /// to have been carried out.
    pub timeout: Duration,
    /// The most attempts of one request.
    pub attempts: u32,
    /// The longest pause before the second attempt; doubled before each later one.
    pub retry: Duration,
    /// Attempts in a row without an answer, after which the circuit opens.
    pub breaker_failures: u32,
    /// How long it then stays open.
    pub breaker_open: Duration,
}

impl HttpGatewayOptions {
    /// Of these settings; `None` where they name no gateway.
    pub fn of(settings: &Settings) -> Option<Self> {
        Some(Self {
            url: settings.gateway_url.clone()?,
            token: settings.gateway_token.clone(),
            timeout: settings.gateway_timeout_ms.duration(),
            attempts: settings.gateway_attempts,
            retry: settings.gateway_retry_ms.duration(),
            breaker_failures: settings.gateway_breaker_failures,
            breaker_open: settings.gateway_breaker_ms.duration(),
        })
    }
}

/// The gateway cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum GatewaySetupError {
    /// TLS.
    #[error("TLS for the payment gateway: {0}")]
    Tls(#[from] rustls::Error),
    /// The token.
    #[error("the gateway's token cannot stand in a header: set gateway_token to another")]
    Token,
}

/// A payment gateway behind HTTP. Cheap to clone; clones share connections and circuit breaker.
#[derive(Clone)]
pub struct HttpGateway(Arc<Inner>);

struct Inner {
    http: HttpClient,
    /// Without a slash at its end.
    base: String,
    authorization: Option<HeaderValue>,
    retries: Retries,
    breaker: Breaker,
    metrics: GatewayMetrics,
}

/// What is sent, attempt after attempt.
struct Message {
    operation: Operation,
    method: Method,
    path: String,
    key: Option<String>,
    body: Bytes,
}

impl HttpGateway {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`GatewaySetupError`].
    pub fn new(options: HttpGatewayOptions, metrics: GatewayMetrics) -> Result<Self, GatewaySetupError> {
        let authorization = options.token.as_ref().map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| GatewaySetupError::Token)?;
            value.set_sensitive(true);
            Ok::<_, GatewaySetupError>(value)
        });
        Ok(Self(Arc::new(Inner {
            http: HttpClient::new(options.timeout, options.timeout / 2, ANSWER_MAX)?,
            base: options.url.expose().trim_end_matches('/').to_owned(),
            authorization: authorization.transpose()?,
            retries: Retries { attempts: options.attempts, pause: options.retry },
            breaker: Breaker::new(options.breaker_failures, options.breaker_open, metrics.clone()),
            metrics,
        })))
    }
}

impl Gateway for HttpGateway {
    async fn charge(&self, charge: &Charge) -> Result<ChargeState, GatewayError> {
        let body = to_vec(&ChargeRequest::from(charge)).map_err(|e| GatewayError::NotAsked(e.to_string()))?;
        let message = Message {
            operation: Operation::Charge,
            method: Method::POST,
            path: "/v1/charges".to_owned(),
            key: Some(charge.order.to_string()),
            body: body.into(),
        };
        let read = |answer: ChargeAnswer| {
            answer.state()?.ok_or("it has no such charge, right after it was asked for one")
        };
        self.0.ask(&message, read, |state| word(Some(state))).await
    }

    async fn look_up(&self, order: OrderId) -> Result<Option<ChargeState>, GatewayError> {
        let message = Message {
            operation: Operation::LookUp,
            method: Method::GET,
            path: format!("/v1/charges/{order}"),
            key: None,
            body: Bytes::new(),
        };
        self.0.ask(&message, ChargeAnswer::state, |state| word(state.as_ref())).await
    }

    async fn refund(&self, order: OrderId) -> Result<(), GatewayError> {
        let message = Message {
            operation: Operation::Refund,
            method: Method::POST,
            path: format!("/v1/charges/{order}/refund"),
            key: Some(format!("refund-{order}")),
            body: Bytes::new(),
        };
        let read = |answer: ChargeAnswer| match answer.status {
            ChargeStatus::Refunded => Ok(()),
            _ => Err("it does not say that the charge is refunded"),
        };
        self.0.ask(&message, read, |()| "refunded").await
    }
}

impl Inner {
    /// Asks until there is an answer, or nothing more to try.
    async fn ask<T>(
        &self,
        message: &Message,
        read: impl Fn(ChargeAnswer) -> Result<T, &'static str> + Sync,
        result: impl Fn(&T) -> &'static str,
    ) -> Result<T, GatewayError> {
        let asked = self.retries.run(|| self.attempt(message, &read)).await;
        let result = match &asked {
            Ok(answer) => result(answer),
            Err(GatewayError::NotAsked(_)) => "not_asked",
            Err(GatewayError::Unknown(_)) => "unknown",
            Err(GatewayError::Refused(_)) => "refused",
        };
        self.metrics.answered(message.operation.name(), result);
        asked
    }

    async fn attempt<T>(
        &self,
        message: &Message,
        read: impl Fn(ChargeAnswer) -> Result<T, &'static str>,
    ) -> Result<T, Flaw> {
        if !self.breaker.lets_through() {
            return Err(Flaw::circuit_open());
        }
        let request = self.request(message).map_err(|error| Flaw::unsendable(error.to_string()))?;
        let began = Instant::now();
        let reply = self.http.send(request).await;
        self.metrics.attempt(began.elapsed());
        let judged = match reply {
            Ok(reply) => judge_reply(message.operation, &reply, read),
            Err(error) => Err(judge_failure(error)),
        };
        match &judged {
            Err(flaw) if flaw.is_outage => self.breaker.failed(),
            _ => self.breaker.answered(),
        }
        judged
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(message.method.clone())
            .uri(format!("{}{}", self.base, message.path))
            .header(ACCEPT, JSON);
        if let Some(key) = &message.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if !message.body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(message.body.clone()))
    }
}

/// For the metrics.
fn word(state: Option<&ChargeState>) -> &'static str {
    match state {
        Some(ChargeState::Paid { .. }) => "paid",
        Some(ChargeState::Declined { .. }) => "declined",
        Some(ChargeState::Refunded) => "refunded",
        Some(ChargeState::Undecided) => "undecided",
        None => "none",
    }
}
