//! An operator's word about a sale, moved by compare-and-set.

use jiff::Timestamp;
use serde::Serialize;

use super::{CatalogueStore, StoreError, read};
use crate::catalogue::{ControlAction, Sale, SaleId};
use crate::postgres::within;

const SET_CONTROL: &str = include_str!("../../../sql/catalogue/set_control.sql");
const SALE_EVENTS: &str = include_str!("../../../sql/catalogue/sale_events.sql");
/// Two operators may meet; more rounds than this mean that something else is wrong.
const ATTEMPTS_MAX: usize = 5;
/// What is shown of a sale's history.
const EVENTS_MAX: i64 = 20;
/// Who did it, where nobody says.
const NOBODY: &str = "unknown";

/// What an operator does to a sale.
#[derive(Debug, Clone, Copy)]
pub struct ControlChange<'a> {
    /// What.
    pub action: ControlAction,
    /// Who.
    pub actor: &'a str,
    /// Why, at most 500 characters.
    pub reason: Option<&'a str>,
    /// The time of the Redis that decides, where it is known: one whose clock is behind the database's would open a
    /// sale that is opened "now" only later.
    pub redis_now: Option<Timestamp>,
}

impl From<ControlAction> for ControlChange<'_> {
    fn from(action: ControlAction) -> Self {
        Self { action, actor: NOBODY, reason: None, redis_now: None }
    }
}

/// What an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SaleEvent {
    /// When, by the database's clock.
    pub at: Timestamp,
    /// `open`, `pause`, `resume`, `close`.
    pub action: String,
    /// Who.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl CatalogueStore {
    /// Does what an operator asks for and returns the sale as it is then. Its version is higher by one where
    /// something changed, and the same where the action had been done before. "Now" is the database's time, or that of
    /// Redis where it is earlier.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the sale is over, [`StoreError::NoSuchSale`],
    /// [`StoreError::Contended`], [`StoreError::Postgres`].
    pub async fn set_control(
        &self,
        id: &SaleId,
        change: impl Into<ControlChange<'_>>,
    ) -> Result<Sale, StoreError> {
        let change = change.into();
        within(self.limit, async {
            let client = self.connection().await?;
            for _ in 0..ATTEMPTS_MAX {
                let (sale, now) =
                    read::sale(&client, id).await?.ok_or_else(|| StoreError::NoSuchSale(id.clone()))?;
                let now = change.redis_now.map_or(now, |redis_now| redis_now.min(now));
                let window = sale.window.after(change.action, now)?;
                if window == sale.window {
                    return Ok(sale);
                }
                let (control, action) = (window.control.as_str(), change.action.as_str());
                let changed = client
                    .execute(
                        SET_CONTROL,
                        &[
                            &id.as_str(),
                            &sale.version,
                            &control,
                            &window.opens_at,
                            &action,
                            &change.actor,
                            &change.reason,
                        ],
                    )
                    .await?;
                if changed == 1 {
                    return Ok(Sale { window, version: sale.version + 1, ..sale });
                }
            }
            Err(StoreError::Contended(id.clone()))
        })
        .await
    }

    /// What operators did to a sale, the newest first, the last twenty.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn sale_events(&self, id: &SaleId) -> Result<Vec<SaleEvent>, StoreError> {
        within(self.limit, async {
            let client = self.connection().await?;
            let rows = client.query(SALE_EVENTS, &[&id.as_str(), &EVENTS_MAX]).await?;
            rows.iter()
                .map(|row| {
                    Ok(SaleEvent {
                        at: row.try_get(0)?,
                        action: row.try_get(1)?,
                        actor: row.try_get(2)?,
                        reason: row.try_get(3)?,
                    })
                })
                .collect()
        })
        .await
    }
}
