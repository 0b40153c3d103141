//! `GET /v1/sales` and `GET /v1/sales/{sale}`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fred::types::Value;
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::Api;
use super::desks::Desk;
use crate::catalogue::{PAGE_MAX, SaleId, Sku};
use crate::http::{Body, Problem, ProblemKind, json};
use crate::redis::{Keys, RedisError};

/// How old what a watcher is told may be. However many watch, Redis and Postgres are asked this often.
const STOCK_AGE: Duration = Duration::from_millis(100);
const DEFINITION_AGE: Duration = Duration::from_secs(1);
/// Sales whose samples are kept.
const SAMPLES_MAX: usize = 1_000;

/// What was last told of each sale.
#[derive(Default)]
pub(super) struct StockSamples {
    of_sale: Mutex<HashMap<SaleId, Arc<Sample>>>,
    list: tokio::sync::Mutex<Option<(Instant, bytes::Bytes)>>,
}

/// Two locks: claims look at the stock, and must not wait behind a page that loads the definition.
#[derive(Default)]
struct Sample {
    stock: tokio::sync::Mutex<Option<(Instant, Stock)>>,
    definition_loaded: tokio::sync::Mutex<Option<Instant>>,
}

/// Units left of each item, in the order of the definition; `None` where they are not known.
type Stock = Arc<Vec<Option<i64>>>;

impl StockSamples {
    fn of(&self, sale: &SaleId) -> Arc<Sample> {
        let mut samples = self.of_sale.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= SAMPLES_MAX && !samples.contains_key(sale) {
            samples.clear();
        }
        samples.entry(sale.clone()).or_default().clone()
    }
}

/// Sales that are not long over, the first thousand by id.
pub(super) async fn list(api: &Api) -> Result<Response<Body>, Problem> {
    let mut list = api.samples.list.lock().await;
    if let Some((taken, body)) = &*list
        && taken.elapsed() < DEFINITION_AGE
    {
        return Ok(json(StatusCode::OK, body.clone()));
    }
    let sales = api.store.list_sales(None, PAGE_MAX, false).await.map_err(|error| {
        tracing::warn!(%error, "sales cannot be listed");
        ProblemKind::Unavailable
    })?;
    let now = Timestamp::now();
    let sales: Vec<_> = sales
        .rows
        .iter()
        .map(|summary| &summary.sale)
        .map(|sale| {
            json!({
                "id": sale.id, "name": sale.name, "status": sale.window.status(now),
                "opens_at": sale.window.opens_at, "closes_at": sale.window.closes_at,
            })
        })
        .collect();
    let body = bytes::Bytes::from(json!({ "sales": sales }).to_string());
    *list = Some((Instant::now(), body.clone()));
    Ok(json(StatusCode::OK, body))
}

/// One sale, with what is left of its items.
pub(super) async fn show(api: &Api, sale: &str) -> Result<Response<Body>, Problem> {
    let desk = api.desks.of(sale).await?;
    let sample = api.samples.of(&desk.definition.sale.id);
    let desk = sample.fresh_definition(api, desk).await;
    let stock = sample.stock(api, &desk).await;
    Ok(json(StatusCode::OK, view(&desk, &stock).to_string()))
}

/// What all partitions together have left, as of a moment ago; `None` where it is not known.
pub(super) async fn left(api: &Api, desk: &Desk) -> HashMap<Sku, Option<i64>> {
    let stock = api.samples.of(&desk.definition.sale.id).stock(api, desk).await;
    desk.definition.items().iter().map(|item| item.sku.clone()).zip(stock.iter().copied()).collect()
}

impl Sample {
    /// Whoever comes while a sample is taken waits for it, instead of taking another.
    async fn stock(&self, api: &Api, desk: &Desk) -> Stock {
        let mut taken = self.stock.lock().await;
        match &*taken {
            Some((at, stock)) if at.elapsed() < STOCK_AGE => stock.clone(),
            _ => {
                let stock: Stock = Arc::new(read_stock(api, desk).await);
                *taken = Some((Instant::now(), stock.clone()));
                stock
            }
        }
    }

    /// The definition as it is now; the one that is known where Postgres does not answer. One request in a while asks,
    /// the others go on with what is known.
    async fn fresh_definition(&self, api: &Api, known: Arc<Desk>) -> Arc<Desk> {
        let Ok(mut loaded) = self.definition_loaded.try_lock() else { return known };
        if loaded.is_some_and(|at| at.elapsed() < DEFINITION_AGE) {
            return known;
        }
        // Also where it fails: a Postgres that hangs is asked once in a while, not by everyone in turn.
        *loaded = Some(Instant::now());
        api.desks.load(&known.definition.sale.id).await.unwrap_or(known)
    }
}

fn view(desk: &Desk, stock: &[Option<i64>]) -> serde_json::Value {
    let sale = &desk.definition.sale;
    let items: Vec<_> = desk
        .definition
        .items()
        .iter()
        .zip(stock)
        .map(|(item, left)| {
            json!({
                "sku": item.sku, "name": item.product.name, "description": item.product.description,
                "image_url": item.product.image_url, "price": item.price.minor_units, "currency": item.price.currency.code(),
                "per_buyer_limit": item.per_buyer_limit, "left": left,
            })
        })
        .collect();
    json!({
        "id": sale.id, "name": sale.name, "status": sale.window.status(Timestamp::now()),
        "opens_at": sale.window.opens_at, "closes_at": sale.window.closes_at, "items": items,
    })
}

/// Unknown is `None`, never 0: a Redis that is away has not sold out.
async fn read_stock(api: &Api, desk: &Desk) -> Vec<Option<i64>> {
    let mut total = vec![Some(0); desk.definition.items().len()];
    for gate in &api.gates {
        let found = match gate.open() {
            Some(_) => {
                stock_of_partition(api, desk, &Keys::new(gate.partition())).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "stock cannot be read");
                    Vec::new()
                })
            }
            None => Vec::new(),
        };
        for (i, sum) in total.iter_mut().enumerate() {
            *sum = sum.zip(found.get(i).copied().flatten()).map(|(sum, units)| sum + units);
        }
    }
    total
}

async fn stock_of_partition(api: &Api, desk: &Desk, keys: &Keys) -> Result<Vec<Option<i64>>, RedisError> {
    let fields: Vec<Value> =
        desk.definition.items().iter().map(|item| format!("stock:{}", item.sku).into()).collect();
    Ok(api.redis.on_key("HMGET", &keys.sale(&desk.definition.sale.id).sale, fields).await?.convert()?)
}
