//! An operator's word about a sale, moved by compare-and-set.

use super::{CatalogueStore, StoreError, read};
use crate::catalogue::{ControlAction, Sale, SaleId};
use crate::postgres::within;

/// Two operators may meet; more rounds than this mean that something else is wrong.
const ATTEMPTS_MAX: usize = 5;

impl CatalogueStore {
    /// Does `action` to a sale and returns the sale as it is then. Its version is higher by one where
    /// something changed, and the same where the action had been done before. "Now" is the database's time.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the sale is over, [`StoreError::NoSuchSale`],
    /// [`StoreError::Contended`], [`StoreError::Postgres`].
    pub async fn set_control(&self, id: &SaleId, action: ControlAction) -> Result<Sale, StoreError> {
        within(self.limit, async {
            let client = self.connection().await?;
            for _ in 0..ATTEMPTS_MAX {
                let (sale, now) =
                    read::sale(&client, id).await?.ok_or_else(|| StoreError::NoSuchSale(id.clone()))?;
                let window = sale.window.after(action, now)?;
                if window == sale.window {
                    return Ok(sale);
                }
                let changed = client
                    .execute(
                        "UPDATE sales SET control = $3, opens_at = $4, version = version + 1 \
                         WHERE id = $1 AND version = $2",
                        &[&id.as_str(), &sale.version, &window.control.as_str(), &window.opens_at],
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
}
