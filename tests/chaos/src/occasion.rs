//! What kind of sale an event happens in: who pays, how long orders wait for it, who gives up what he bought.

use doorbuster::catalogue::{NewSale, SaleId};
use doorbuster::payment::Rates;
use serde_json::{Value, json};

use crate::ChaosError;
use crate::deployment::{Deployment, Item, PATIENCE};
use crate::traffic::ITEMS;

/// What kind of sale an event needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Occasion {
    /// Orders are confirmed as they are persisted, and nobody gives one up.
    #[default]
    Ordinary,
    /// Buyers and operators cancel while everybody buys.
    CancelStorm,
    /// Nobody pays: every order ends with its hold, while everybody buys.
    ExpiryStorm,
    /// A gateway is asked for the money, most of it comes, and buyers and operators cancel.
    PaidSale,
    /// The same, but most money comes after the hold is over.
    LatePayments,
    /// Buyers pay at the gateway's hosted checkout: in time, too late, twice or not at all. They and operators cancel.
    Checkouts,
}

/// What a unit of anything costs (minor units).
pub(crate) const PRICE: i64 = 100;
pub(crate) const CURRENCY: &str = "EUR";

/// How long an order of an expiry storm waits (s): the shortest there is, so that most end while something is broken.
const SHORT_HOLD_S: u32 = 1;
/// How long an order of a paid sale waits (s): enough for a gateway at work, too little for one that is away.
const PAID_HOLD_S: u32 = 2;
/// After which time a gateway decides what it does not decide at once (ms): within a hold, and past the shortest.
const SETTLE_MS: u64 = 300;
const LATE_SETTLE_MS: u64 = 1_500;
/// Longer than any event.
const LONG_HOLD_S: u32 = 3600;

/// Units of the scarce item in a storm.
const STORM_STOCK: i64 = 12;
/// And where money comes late: somebody else has them by then.
const LATE_STOCK: i64 = 3;
/// Where most of it does not: of so many some are surely paid for too late before all are bought.
const CHECKOUT_STOCK: i64 = 24;

impl Occasion {
    /// Whether buyers and operators cancel.
    pub fn has_cancels(self) -> bool {
        matches!(self, Self::CancelStorm | Self::PaidSale | Self::LatePayments | Self::Checkouts)
    }

    /// Whether buyers pay elsewhere.
    pub fn has_checkout(self) -> bool {
        self == Self::Checkouts
    }

    /// What is for sale: in a storm the scarce item is so scarce that its units are sold again and again.
    pub fn items(self) -> [Item; 10] {
        let mut items = ITEMS;
        match self {
            Self::Ordinary => {}
            Self::LatePayments => items[0].1 = LATE_STOCK,
            Self::Checkouts => items[0].1 = CHECKOUT_STOCK,
            Self::CancelStorm | Self::ExpiryStorm | Self::PaidSale => items[0].1 = STORM_STOCK,
        }
        items
    }

    /// Fields of the sale's definition beside those of every sale. In half of the cancel storms the orders that are given
    /// up wait for their payment, in the others they are confirmed.
    pub fn terms(self, random: &mut fastrand::Rng) -> Value {
        match self {
            Self::Ordinary => json!({}),
            Self::CancelStorm if random.bool() => json!({ "buyer_cancel": "until_close" }),
            Self::CancelStorm => json!({ "payment": "checkout", "hold_s": LONG_HOLD_S }),
            Self::ExpiryStorm => json!({ "payment": "checkout", "hold_s": SHORT_HOLD_S }),
            Self::PaidSale => paid("gateway", PAID_HOLD_S),
            Self::LatePayments => paid("gateway", SHORT_HOLD_S),
            Self::Checkouts => paid("checkout", SHORT_HOLD_S),
        }
    }

    /// How the gateway behaves while nothing is broken.
    pub fn rates(self) -> Rates {
        match self {
            Self::LatePayments => Rates {
                decline_rate: 0.05,
                undecided_rate: 0.7,
                settle_ms: LATE_SETTLE_MS,
                ..Rates::default()
            },
            Self::Checkouts => Rates { lost_webhook_rate: 0.1, ..Self::PaidSale.rates() },
            _ => Rates { decline_rate: 0.1, undecided_rate: 0.1, settle_ms: SETTLE_MS, ..Rates::default() },
        }
    }
}

fn paid(payment: &str, hold_s: u32) -> Value {
    json!({ "payment": payment, "hold_s": hold_s, "buyer_cancel": "until_close" })
}

impl Deployment {
    /// A sale that is open and whose definition every partition has.
    ///
    /// # Errors
    /// [`ChaosError`].
    pub async fn open_sale(&self, id: &str, items: &[Item]) -> Result<(), ChaosError> {
        self.open_sale_on(id, items, json!({})).await
    }

    /// As [`Deployment::open_sale`], with more fields of its definition.
    ///
    /// # Errors
    /// [`ChaosError`].
    pub async fn open_sale_on(&self, id: &str, items: &[Item], terms: Value) -> Result<(), ChaosError> {
        let (sale, version) = self.create(id, items, terms).await?;
        let published = self.store.wait_published(&sale, version, PATIENCE).await;
        match published.applied {
            true => Ok(()),
            false => Err(ChaosError::NotInTime(format!("{id} is published"))),
        }
    }

    /// A sale that Postgres has, and Redis will have.
    ///
    /// # Errors
    /// [`ChaosError`].
    pub async fn create_sale(&self, id: &str, items: &[Item]) -> Result<(SaleId, i64), ChaosError> {
        self.create(id, items, json!({})).await
    }

    async fn create(&self, id: &str, items: &[Item], terms: Value) -> Result<(SaleId, i64), ChaosError> {
        let products: Vec<_> = items
            .iter()
            .map(|(sku, ..)| json!({ "sku": sku, "name": sku, "price": PRICE, "currency": CURRENCY }))
            .collect();
        let items: Vec<_> = items
            .iter()
            .map(|(sku, stock, limit)| json!({ "sku": sku, "stock": stock, "per_buyer_limit": limit }))
            .collect();
        let mut definition = json!({
            "id": id, "name": id, "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
            "items": items, "products": products,
        });
        for (name, value) in terms.as_object().into_iter().flatten() {
            definition[name] = value.clone();
        }
        let sale = NewSale::read(&definition).map_err(|error| ChaosError::Setup(format!("{error:?}")))?;
        let created = self.store.create_sale(&sale, "chaos").await?;
        Ok((sale.id, created.version()))
    }
}
