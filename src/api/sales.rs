//! `GET /v1/sales` and `GET /v1/sales/{sale}`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::Api;
use super::desks::Desk;
use crate::catalogue::{PAGE_MAX, SaleDefinition, SaleId, Sku};
use crate::http::{Body, Problem, ProblemKind, json};
use crate::live::SaleSample;

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
    stock: tokio::sync::Mutex<Option<(Instant, Arc<SaleSample>)>>,
    definition_loaded: tokio::sync::Mutex<Option<Instant>>,
}

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
    let now = api.clock.now().await;
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
    Ok(json(StatusCode::OK, view(&desk.definition, &stock, api.clock.now().await).to_string()))
}

/// What all partitions together have left, as of a moment ago; `None` where it is not known.
pub(super) async fn left(api: &Api, desk: &Desk) -> HashMap<Sku, Option<i64>> {
    let stock = api.samples.of(&desk.definition.sale.id).stock(api, desk).await;
    desk.definition.items().iter().map(|item| item.sku.clone()).zip(stock.left.iter().copied()).collect()
}

impl Sample {
    /// Whoever comes while a sample is taken waits for it, instead of taking another.
    async fn stock(&self, api: &Api, desk: &Desk) -> Arc<SaleSample> {
        let mut taken = self.stock.lock().await;
        match &*taken {
            Some((at, stock)) if at.elapsed() < STOCK_AGE => stock.clone(),
            _ => {
                let stock = Arc::new(SaleSample::take(&api.redis, &api.gates, &desk.definition).await);
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

/// By what Redis holds, and at its time: that decides.
fn view(definition: &SaleDefinition, sample: &SaleSample, now: Timestamp) -> serde_json::Value {
    let sale = &definition.sale;
    let window = sample.window.unwrap_or(sale.window);
    let items: Vec<_> = definition
        .items()
        .iter()
        .zip(&sample.left)
        .map(|(item, left)| {
            json!({
                "sku": item.sku, "name": item.product.name, "description": item.product.description,
                "image_url": item.product.image_url, "price": item.price.minor_units, "currency": item.price.currency.code(),
                "per_buyer_limit": item.per_buyer_limit, "left": left,
            })
        })
        .collect();
    json!({
        "id": sale.id, "name": sale.name, "status": window.status(now),
        "opens_at": window.opens_at, "closes_at": window.closes_at, "items": items,
    })
}
