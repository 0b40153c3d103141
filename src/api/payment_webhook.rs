//! `POST /v1/payments/webhook`: the payment gateway tells how a charge ended.
//!
//! Signed by the Standard Webhooks scheme over id, timestamp and body:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::Api;
use crate::http::{Body, Problem, ProblemKind, json as respond, read_body};
use crate::metrics::PaymentMetrics;
use crate::order_id::OrderId;
use crate::payment::{News, PaymentDesk, PaymentError, Sum, WebhookName};
use crate::webhooks::WebhookSecret;

const ACTOR: &str = "payment webhook";
/// A webhook may be here before its order, which comes out of the log.
const NOT_STORED_RETRY: Duration = Duration::from_secs(2);
/// An order that is not stored after this time will not be.
const STORED_WITHIN_S: i64 = 86_400;
/// Money for an order that is not stored after this time is an incident.
const REPORTED_AFTER_S: i64 = 300;
/// Characters of a webhook's id, at most.
const ID_MAX: usize = 200;

/// Takes what the gateway sends.
#[derive(Clone, Debug)]
pub struct PaymentInbox {
    /// Where it is written.
    pub desk: PaymentDesk,
    /// By which it is signed.
    pub secret: WebhookSecret,
    /// How far its timestamp may be from our clock.
    pub tolerance: Duration,
    /// What it did.
    pub metrics: PaymentMetrics,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    order_id: String,
    #[serde(default)]
    amount: Option<i64>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// Takes a webhook once. Sent again with a new timestamp, as after an answer that was lost, it changes nothing.
pub(super) async fn take(api: &Api, headers: &HeaderMap, body: Incoming) -> Result<Response<Body>, Problem> {
    let inbox = api.options.payments.as_ref().ok_or(ProblemKind::NotFound)?;
    let body = read_body(body, api.options.body_max_bytes, api.options.body_timeout).await?;
    let refused = |why: String| {
        inbox.metrics.webhook_refused();
        Problem::new(ProblemKind::Unauthenticated).with_detail(why)
    };
    let name = signed_name(inbox, headers, &body).map_err(refused)?;
    let malformed = |detail: String| Problem::new(ProblemKind::MalformedRequest).with_detail(detail);
    let event: Event = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    let order: OrderId =
        event.data.order_id.parse().map_err(|error| malformed(format!("data.order_id: {error}")))?;
    let Some(news) = news_of(event).map_err(malformed)? else {
        return Ok(respond(StatusCode::OK, r#"{"ignored":true}"#));
    };
    match inbox.desk.conclude(order, &news, ACTOR, Some(name)).await {
        Ok(verdict) => {
            inbox.metrics.moved(verdict.payment);
            let body = json!({ "order_id": order.to_string(), "payment": verdict.payment });
            Ok(respond(StatusCode::OK, body.to_string()))
        }
        Err(PaymentError::Replayed) => {
            inbox.metrics.webhook_refused();
            Err(Problem::new(ProblemKind::Conflict).with_detail(PaymentError::Replayed.to_string()))
        }
        Err(PaymentError::None(_)) => Err(not_stored(inbox, order, &news).await),
        Err(error) => {
            tracing::warn!(%order, %error, "a webhook of the gateway is not taken now");
            Err(ProblemKind::Unavailable.into())
        }
    }
}

/// The answer for an order that is not stored. Somebody is told of its money before the gateway is told to stop.
async fn not_stored(inbox: &PaymentInbox, order: OrderId, news: &News) -> Problem {
    let age = age_s(order);
    if matches!(news, News::Paid { .. })
        && age > REPORTED_AFTER_S
        && let Err(error) = inbox.desk.report_unknown(order, news).await
    {
        tracing::warn!(%order, %error, "money without an order is not reported now");
        return ProblemKind::Unavailable.into();
    }
    if age > STORED_WITHIN_S {
        return ProblemKind::NotFound.into();
    }
    Problem::new(ProblemKind::NotStoredYet).with_retry_after(NOT_STORED_RETRY)
}

fn age_s(order: OrderId) -> i64 {
    jiff::Timestamp::now().as_second() - order.accepted_at().as_second()
}

/// Its name, if its signature and its time are good.
fn signed_name<'a>(
    inbox: &PaymentInbox,
    headers: &'a HeaderMap,
    body: &[u8],
) -> Result<WebhookName<'a>, String> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("the header {name} is missing"))
    };
    let (id, timestamp, signatures) =
        (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    if id.is_empty() || id.len() > ID_MAX {
        return Err(format!("webhook-id must have 1 to {ID_MAX} characters"));
    }
    let sent_at: i64 =
        timestamp.parse().map_err(|_| "webhook-timestamp must be seconds since the Unix epoch".to_owned())?;
    if !inbox.secret.verify(id, sent_at, signatures, body) {
        return Err("no signature in webhook-signature is of this message and secret".to_owned());
    }
    let distance = jiff::Timestamp::now().as_second().abs_diff(sent_at);
    if distance > inbox.tolerance.as_secs() {
        return Err(format!("webhook-timestamp is {distance} s from now: send it again with a new one"));
    }
    Ok(WebhookName { id, sent_at })
}

/// What it tells; `None` for a type that is none of ours.
fn news_of(event: Event) -> Result<Option<News>, String> {
    let data = event.data;
    match event.kind.as_str() {
        "payment.paid" => {
            let amount = data.amount.filter(|amount| *amount >= 0).ok_or("data.amount must be 0 or more")?;
            let currency = data.currency.ok_or("data.currency is missing")?;
            let reference = data.reference.unwrap_or_default();
            if currency.contains('\0') || reference.contains('\0') {
                return Err("data must not hold NUL".to_owned());
            }
            Ok(Some(News::Paid { sum: Sum { amount, currency }, reference }))
        }
        "payment.declined" => {
            let reason = data.reason.unwrap_or_else(|| "no reason is given".to_owned());
            Ok(Some(News::Declined(reason.chars().filter(|c| *c != '\0').take(200).collect())))
        }
        _ => Ok(None),
    }
}
