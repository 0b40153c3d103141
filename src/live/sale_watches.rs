//! Sales that someone watches, on this node.
//!
//! Each watched sale is sampled by a task of its own, however many watch it; nothing is published for each claim. What is
//! told is a state, never a change: a client that misses some has missed nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

use super::SaleSample;
use crate::catalogue::{SaleDefinition, SaleId, SaleStatus};
use crate::gate::Gate;
use crate::http::Event;
use crate::redis::{Redis, RedisClock};

/// Time between two samples: nine in a second, so that with the one at the moment of opening or closing a client is sent
/// ten at most.
const PERIOD: Duration = Duration::from_millis(111);
/// How far apart the events of two watchers are sent: written all at once they would stand before every claim.
const SPREAD: Duration = Duration::from_micros(40);
/// Sales that are sampled at once: with more, watchers would cost Redis what claims need.
const SALES_MAX: usize = 200;

/// The sales that are watched.
#[derive(Clone)]
pub struct SaleWatches {
    watched: Arc<Mutex<HashMap<SaleId, watch::Sender<Option<SaleEvent>>>>>,
    redis: Redis,
    gates: Arc<[Gate]>,
    clock: Arc<RedisClock>,
    /// Events in a second, those of all watchers together.
    events_max: u32,
}

/// What watchers of a sale are told; written once for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleEvent {
    /// The same for the same state, on every node.
    pub id: Arc<str>,
    /// As it is sent.
    pub bytes: Bytes,
    /// Nothing more happens.
    pub is_last: bool,
    /// Each watcher is sent it at a moment of his own within this time.
    pub spread: Duration,
}

impl SaleWatches {
    /// Begins with none.
    pub fn new(redis: Redis, gates: impl Into<Arc<[Gate]>>, clock: Arc<RedisClock>, events_max: u32) -> Self {
        Self { watched: Arc::default(), redis, gates: gates.into(), clock, events_max }
    }

    /// Watches a sale; `None` where too many others are watched on this node. The first event is the state as it is.
    pub fn watch(&self, definition: Arc<SaleDefinition>) -> Option<watch::Receiver<Option<SaleEvent>>> {
        let mut watched = self.watched();
        if let Some(known) = watched.get(&definition.sale.id) {
            return Some(known.subscribe());
        }
        if watched.len() >= SALES_MAX {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        watched.insert(definition.sale.id.clone(), sender.clone());
        tokio::spawn(self.clone().sample(definition, sender));
        Some(receiver)
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<SaleId, watch::Sender<Option<SaleEvent>>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time between two events of a sale: longer with many watchers, whose events cost the processor what claims need.
    fn period(&self) -> Duration {
        let watchers: usize = self.watched().values().map(watch::Sender::receiver_count).sum();
        PERIOD.max(Duration::from_secs_f64(watchers as f64 / f64::from(self.events_max.max(1))))
    }

    /// Samples until nobody watches.
    async fn sample(self, definition: Arc<SaleDefinition>, sender: watch::Sender<Option<SaleEvent>>) {
        loop {
            let sample = SaleSample::take(&self.redis, &self.gates, &definition).await;
            let now = self.clock.now().await;
            let watchers = u32::try_from(sender.receiver_count()).unwrap_or(u32::MAX);
            let event = SaleEvent::of(&definition, &sample, now, SPREAD * watchers);
            sender.send_if_modified(|told| {
                let is_new = told.as_ref().is_none_or(|told| told.id != event.id);
                if is_new {
                    *told = Some(event);
                }
                is_new
            });
            let now = self.clock.now().await;
            tokio::time::sleep(pause(&definition, &sample, self.period(), now)).await;
            let mut watched = self.watched();
            // Under the lock under which watchers join.
            if sender.receiver_count() == 0 {
                watched.remove(&definition.sale.id);
                return;
            }
        }
    }
}

/// Until the next sample: sooner where the sale opens or closes before that.
fn pause(definition: &SaleDefinition, sample: &SaleSample, period: Duration, now: Timestamp) -> Duration {
    let window = sample.window.unwrap_or(definition.sale.window);
    let until = |moment: Timestamp| moment.duration_since(now);
    let next = [window.opens_at, window.closes_at].into_iter().map(until).filter(SignedDuration::is_positive);
    next.filter_map(|wait| Duration::try_from(wait).ok()).fold(period, Duration::min)
}

impl SaleEvent {
    fn of(definition: &SaleDefinition, sample: &SaleSample, now: Timestamp, spread: Duration) -> Self {
        let sale = &definition.sale;
        let window = sample.window.unwrap_or(sale.window);
        let status = window.status(now);
        let stock = definition.items().iter().zip(&sample.left);
        let items: Vec<_> = stock.map(|(item, left)| json!({ "sku": item.sku, "left": left })).collect();
        let mut state = json!({
            "id": sale.id, "status": status, "opens_at": window.opens_at, "closes_at": window.closes_at,
            "items": items,
        });
        let id = format!("{:016x}", xxh3_64(state.to_string().as_bytes()));
        state["at"] = json!(now);
        let bytes = Event { id: &id, name: "sale", data: &state.to_string() }.encode();
        Self { id: id.into(), bytes, is_last: status == SaleStatus::Closed, spread }
    }
}
