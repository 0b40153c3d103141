//! The sandbox's requests: the protocol of docs/PAYMENTS.md, hosted checkout, and its own controls under `/sandbox`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::chance::Draw;
use super::desk::{Charged, Desk, Refunded};
use crate::http::{PathSegments, read_body};
use crate::order_id::OrderId;
use crate::payment::protocol::{ChargeAnswer, ChargeRequest, ChargeStatus, IDEMPOTENCY_KEY, is_currency};

const BODY_MAX: usize = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up, as it was told to")]
pub(super) struct HangUp;

/// What the buyer's browser sends.
#[derive(Deserialize)]
struct Checkout {
    amount: i64,
    currency: String,
}

/// An answer that is no success.
struct Refusal(StatusCode, Value);

impl Refusal {
    fn new(status: StatusCode, error: impl ToString) -> Self {
        Self(status, json!({ "error": error.to_string() }))
    }

    fn malformed(error: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    fn failed(error: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }
}

/// Answered, or hung up on.
enum Ended {
    Answered(Value),
    HungUp,
}

pub(super) async fn answer(
    desk: &Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HangUp> {
    match handle(desk, request).await {
        Ok(Ended::Answered(body)) => Ok(respond(StatusCode::OK, &body)),
        Ok(Ended::HungUp) => Err(HangUp),
        Err(Refusal(status, body)) => Ok(respond(status, &body)),
    }
}

async fn handle(desk: &Arc<Desk>, request: Request<Incoming>) -> Result<Ended, Refusal> {
    let (head, body) = request.into_parts();
    if desk.token.as_ref().is_some_and(|token| !token.authorizes(&head.headers)) {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "a bearer token is needed"));
    }
    let body = read_body(body, BODY_MAX, BODY_TIMEOUT).await.map_err(Refusal::malformed)?;
    let path = PathSegments::split(head.uri.path()).ok_or_else(no_route)?;
    match (&head.method, path.as_slice()) {
        (&Method::POST, ["v1", "charges"]) => {
            let request: ChargeRequest = parse(&body)?;
            check_key(&head.headers, &request.order_id)?;
            charge(desk, request).await
        }
        (&Method::GET, ["v1", "charges", order]) => look_up(desk, order).await,
        (&Method::POST, ["v1", "charges", order, "refund"]) => {
            check_key(&head.headers, &format!("refund-{order}"))?;
            refund(desk, order).await
        }
        (&Method::POST, ["v1", "checkout", order]) => {
            let Checkout { amount, currency } = parse(&body)?;
            charge(desk, ChargeRequest { order_id: (*order).to_owned(), buyer: None, amount, currency }).await
        }
        (&Method::GET, ["sandbox"]) => answered(&desk.rates()),
        (&Method::PUT, ["sandbox"]) => {
            desk.set_rates(parse(&body)?).map_err(Refusal::malformed)?;
            answered(&desk.rates())
        }
        (&Method::GET, ["sandbox", "charges"]) => answered(&json!({ "charges": desk.charges() })),
        _ => Err(no_route()),
    }
}

async fn charge(desk: &Arc<Desk>, request: ChargeRequest) -> Result<Ended, Refusal> {
    let order = known_form(&request.order_id)?;
    if request.amount <= 0 || !is_currency(&request.currency) {
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "give an amount above 0 and a currency of ISO 4217",
        ));
    }
    let turn = fail_by_chance(desk, order).await?;
    let charge = match desk.charge(&request).map_err(Refusal::failed)? {
        Charged::Stands(charge) => charge,
        Charged::Differs => {
            let error = "this order was charged with another amount or currency";
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error));
        }
    };
    end_by_chance(desk, order, turn, &charge.pretended_answer()).await
}

async fn look_up(desk: &Arc<Desk>, order: &str) -> Result<Ended, Refusal> {
    let order = known_form(order)?;
    fail_by_chance(desk, order).await?;
    let found = desk.look_up(order);
    tokio::time::sleep(desk.rates().delay()).await;
    found.map_or_else(|| Err(no_charge()), |charge| answered(&charge.answer()))
}

async fn refund(desk: &Arc<Desk>, order: &str) -> Result<Ended, Refusal> {
    let order = known_form(order)?;
    let turn = fail_by_chance(desk, order).await?;
    match desk.refund(order).map_err(Refusal::failed)? {
        Some(Refunded::Done) => {
            end_by_chance(desk, order, turn, &ChargeAnswer::of(ChargeStatus::Refunded)).await
        }
        Some(Refunded::Nothing(ChargeStatus::Undecided)) => {
            Err(Refusal::new(StatusCode::CONFLICT, "the charge is not decided yet"))
        }
        Some(Refunded::Nothing(_)) => {
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "nothing was taken that could be paid back"))
        }
        None => Err(no_charge()),
    }
}

/// The number of this request about the order, unless it is one that fails before anything is done.
async fn fail_by_chance(desk: &Desk, order: &str) -> Result<u64, Refusal> {
    let (rates, turn) = (desk.rates(), desk.turn(order));
    if desk.draws(Draw::Error, rates.error_rate, order, turn) {
        tokio::time::sleep(rates.delay()).await;
        return Err(Refusal::failed("the sandbox fails, as it was told to"));
    }
    Ok(turn)
}

/// Answers what was done, unless this is one whose answer gets lost.
async fn end_by_chance(desk: &Desk, order: &str, turn: u64, answer: &ChargeAnswer) -> Result<Ended, Refusal> {
    let rates = desk.rates();
    tokio::time::sleep(rates.delay()).await;
    if desk.draws(Draw::Unknown, rates.unknown_rate, order, turn) {
        return Ok(Ended::HungUp);
    }
    answered(answer)
}

fn known_form(order: &str) -> Result<&str, Refusal> {
    order.parse::<OrderId>().map(|_| order).map_err(Refusal::malformed)
}

fn check_key(headers: &HeaderMap, wanted: &str) -> Result<(), Refusal> {
    let is_wanted = headers.get(IDEMPOTENCY_KEY).is_some_and(|key| key.as_bytes() == wanted.as_bytes());
    is_wanted.then_some(()).ok_or_else(|| Refusal::malformed(format!("Idempotency-Key must be {wanted}")))
}

fn no_route() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing here")
}

fn no_charge() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, json!({ "status": ChargeStatus::None }))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(Refusal::malformed)
}

fn answered(body: &impl Serialize) -> Result<Ended, Refusal> {
    serde_json::to_value(body).map(Ended::Answered).map_err(Refusal::failed)
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
