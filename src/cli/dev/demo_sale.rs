//! The demo sale: made once, then left to the developer.

use std::time::Duration;

use super::DevError;
use crate::catalogue::{CatalogueStore, FieldError, NewSale, SaleId, StoreError, read_toml};
use crate::config::Settings;
use crate::postgres::connect_pool;

/// Also an example of what `doorbuster sale create` reads.
const DEFINITION: &str = include_str!("../../../examples/demo-sale.toml");
const ACTOR: &str = "dev";
/// Of a sale that a running keeper has only to be told about.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);

/// The demo sale in Postgres, on its way to Redis.
pub(super) struct DemoSale {
    store: CatalogueStore,
    id: SaleId,
    version: i64,
}

/// Makes the demo sale where it is missing. One that is there is left as it is, whatever was done to it.
///
/// # Errors
/// [`DevError::Store`].
pub(super) async fn ensure(settings: &Settings) -> Result<DemoSale, DevError> {
    let timeout = settings.postgres_timeout_ms.duration();
    let store = CatalogueStore::new(connect_pool(settings.postgres_url.expose(), 1, timeout)?, timeout);
    let sale = definition().map_err(DevError::Definition)?;
    let version = match store.get_sale(&sale.id).await {
        Ok(found) => found.definition.sale.version,
        Err(StoreError::NoSuchSale(_)) => store.create_sale(&sale, ACTOR).await?.version(),
        Err(error) => return Err(error.into()),
    };
    Ok(DemoSale { store, id: sale.id, version })
}

fn definition() -> Result<NewSale, Vec<FieldError>> {
    let document = read_toml(DEFINITION)
        .map_err(|error| vec![FieldError { field: "(document)".into(), message: error.to_string() }])?;
    NewSale::read(&document)
}

impl DemoSale {
    /// Waits until Redis sells it; a sentence where it does not yet.
    pub(super) async fn wait_published(&self) -> Option<String> {
        let publication = self.store.wait_sellable(&self.id, self.version, PUBLISH_WAIT).await;
        publication.reason.map(|reason| format!("the sale {} is not applied yet: {reason}", self.id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalogue::{SaleControl, SaleStatus, SaleWindow};

    #[test]
    fn the_demo_sale_is_open_now_and_has_what_the_curl_line_buys() {
        let sale = definition().unwrap();
        assert_eq!(sale.id.as_str(), super::super::welcome::SALE);
        assert!(sale.items.iter().any(|item| item.sku.as_str() == super::super::welcome::SKU));
        assert!(sale.items.iter().all(|item| item.per_buyer_limit.is_some()));
        let window = SaleWindow {
            opens_at: sale.opens_at,
            closes_at: sale.closes_at,
            control: SaleControl::Scheduled,
        };
        assert_eq!(window.status(jiff::Timestamp::now()), SaleStatus::Open);
    }
}
