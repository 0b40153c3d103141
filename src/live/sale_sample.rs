//! A sale as Redis holds it at one moment.

use fred::types::Value;
use jiff::Timestamp;

use crate::catalogue::{SaleDefinition, SaleWindow};
use crate::gate::Gate;
use crate::redis::{Keys, Redis, RedisError};

/// What buyers are told of a sale: unknown is `None`, never 0, since a Redis that is away has not sold out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleSample {
    /// By which claims are decided; `None` where no partition tells.
    pub window: Option<SaleWindow>,
    /// Units left of each item, in the order of the definition, all partitions together.
    pub left: Vec<Option<i64>>,
}

impl SaleSample {
    /// Reads a sale from every partition: one command for each. What cannot be read is unknown.
    pub async fn take(redis: &Redis, gates: &[Gate], definition: &SaleDefinition) -> Self {
        let mut sample = Self { window: None, left: vec![Some(0); definition.items().len()] };
        for gate in gates {
            let found = match gate.open() {
                Some(_) => of_partition(redis, gate, definition).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "a sale cannot be sampled");
                    Vec::new()
                }),
                None => Vec::new(),
            };
            sample.window = sample.window.or_else(|| read_window(&found));
            for (index, sum) in sample.left.iter_mut().enumerate() {
                let units = found.get(WINDOW.len() + index).and_then(Value::as_i64);
                *sum = sum.zip(units).map(|(sum, units)| sum + units);
            }
        }
        sample
    }
}

const WINDOW: [&str; 3] = ["control", "opens_at", "closes_at"];

async fn of_partition(
    redis: &Redis,
    gate: &Gate,
    definition: &SaleDefinition,
) -> Result<Vec<Value>, RedisError> {
    let stock = definition.items().iter().map(|item| format!("stock:{}", item.sku).into());
    let fields: Vec<Value> = WINDOW.into_iter().map(Value::from).chain(stock).collect();
    let key = Keys::new(gate.partition()).sale(&definition.sale.id).sale;
    Ok(redis.on_key("HMGET", &key, fields).await?.into_array())
}

fn read_window(found: &[Value]) -> Option<SaleWindow> {
    let time = |value: &Value| Timestamp::from_millisecond(value.as_i64()?).ok();
    let [control, opens_at, closes_at, ..] = found else { return None };
    Some(SaleWindow {
        control: control.as_str()?.parse().ok()?,
        opens_at: time(opens_at)?,
        closes_at: time(closes_at)?,
    })
}
