//! `POST /v1/sales/{sale}/orders`

use std::sync::Arc;

use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::desks::Desk;
use super::{Api, QUERY_MAX, answer, claim_body, outcome, prefer, sales};
use crate::catalogue::Sku;
use crate::claim::{Claim, ClaimError, Decision, IdempotencyKey, fingerprint};
use crate::http::{Body, Problem, ProblemKind, read_body};
use crate::log::Lines;
use crate::order_id::OrderId;
use crate::postgres::{PgError, within};

/// Places an order, or finds the one that this key placed before.
pub(super) async fn place(
    api: &Api,
    sale: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let buyer = api.identity.of(headers)?;
    let key = IdempotencyKey::from_headers(headers)?;
    check_content_type(headers)?;
    let body = read_body(body, api.options.body_max_bytes, api.options.body_timeout).await?;
    let lines = claim_body::read(&body)?;
    let mut desk = api.desks.of(sale).await?;
    if unknown_item(&desk, &lines).is_some() {
        desk = api.desks.load(&desk.definition.sale.id).await?;
        if let Some(sku) = unknown_item(&desk, &lines) {
            return Err(Problem::new(ProblemKind::UnknownItem).with_extension("sku", sku.as_str()));
        }
    }
    let mut claim = Claim::new(desk.definition.sale.id.clone(), buyer, key, lines);
    if desk.definition.sale.retired_at.is_some() {
        return Box::pin(from_postgres(api, &desk, &claim)).await;
    }
    claim.over_rate = api.attempts.is_over(&claim.buyer);
    let claim = Arc::new(claim);
    match decide(api, &desk, claim.clone()).await {
        Ok(decision @ (Decision::Accepted(id) | Decision::Duplicate(id))) => {
            match prefer::wait(headers, api.options.wait_max) {
                None => Ok(answer::to_decision(decision)),
                Some(wait) => Ok(Box::pin(outcome::of_claim(api, decision, id, wait)).await),
            }
        }
        Ok(Decision::Absent) => Box::pin(absent(api, &desk, &claim)).await,
        Ok(decision) if api.partitions.count() > 1 => {
            Ok(Box::pin(answer::of_one_partition(decision, &claim.lines, sales::left(api, &desk))).await)
        }
        Ok(decision) => Ok(answer::to_decision(decision)),
        Err(error) => Ok(answer::to_error(&error)),
    }
}

/// A sale that is not in Redis: not published yet, lost, or retired since this node last looked.
async fn absent(api: &Api, desk: &Desk, claim: &Claim) -> Result<Response<Body>, Problem> {
    let desk = api.desks.load(&desk.definition.sale.id).await?;
    match desk.definition.sale.retired_at {
        Some(_) => from_postgres(api, &desk, claim).await,
        None => Ok(answer::to_decision(Decision::Absent)),
    }
}

async fn decide(api: &Api, desk: &Desk, claim: Arc<Claim>) -> Result<Decision, ClaimError> {
    let partition = api.partitions.of(&claim.buyer);
    let intake = desk.intake(partition).ok_or(ClaimError::Fenced)?;
    // In bounded time: the intake bounds the wait, the client of Redis each call. The claim is in their hands: a client
    // that goes away undoes nothing.
    intake.decide(claim).await
}

/// RFC 9110 section 15.5.16; a body without a type is taken for JSON.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.as_bytes().split(|&c| c == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Ok(())
    } else {
        Err(ProblemKind::UnsupportedMediaType.into())
    }
}

fn unknown_item<'a>(desk: &Desk, lines: &'a Lines) -> Option<&'a Sku> {
    lines.iter().map(|(sku, _)| sku).find(|sku| desk.definition.item(sku.as_str()).is_none())
}

/// A sale whose keys Redis no longer has: its orders are all in Postgres.
async fn from_postgres(api: &Api, desk: &Desk, claim: &Claim) -> Result<Response<Body>, Problem> {
    let found = find_order(api, desk, claim).await.map_err(|error| {
        tracing::warn!(%error, "an order of a retired sale cannot be looked up");
        ProblemKind::Unavailable
    })?;
    Ok(answer::to_decision(match found {
        Some((id, of_body)) if of_body == fingerprint(&claim.lines) => Decision::Duplicate(id),
        Some(_) => Decision::KeyReused,
        None => Decision::Closed,
    }))
}

async fn find_order(api: &Api, desk: &Desk, claim: &Claim) -> Result<Option<(OrderId, u64)>, PgError> {
    let query = async {
        let db = api.pool.get().await?;
        let statement = db
            .prepare_cached(
                "SELECT id, fingerprint FROM orders WHERE buyer = $1 AND sale_id = $2 AND idem_key = $3
             AND cancel_reason IS DISTINCT FROM 'duplicate'",
            )
            .await?;
        let row = db
            .query_opt(
                &statement,
                &[&claim.buyer.as_str(), &desk.definition.sale.id.as_str(), &claim.key().as_str()],
            )
            .await?;
        Ok(row.map(|row| (OrderId::from_uuid(row.get(0)), row.get::<_, i64>(1).cast_unsigned())))
    };
    within(QUERY_MAX, query).await
}
