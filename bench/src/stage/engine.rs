//! The engine: an API process and a worker process of the real binary.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use doorbuster::catalogue::{CatalogueStore, NewSale};
use doorbuster::partition::Partition;
use doorbuster::redis::Keys;
use serde_json::json;

use super::process::Launch;
use super::{
    Ack, Process, Servers, StageError, free_address, get_status, sibling, temporary_dir, wait_until,
};

const PUBLISH_MAX: Duration = Duration::from_secs(60);

/// How the engine is run.
#[derive(Clone, Debug, Default)]
pub struct EngineSettings {
    /// What holds an order before its 202.
    pub ack: Ack,
    /// Further settings of `doorbuster run`.
    pub settings: BTreeMap<String, String>,
}

/// A running engine with its servers.
pub struct Engine {
    /// Where buyers call.
    pub address: SocketAddr,
    /// Redis and Postgres.
    pub servers: Servers,
    /// The process with `role = "api"`.
    pub api: Process,
    /// The process with `role = "worker"`, which is also the keeper.
    pub worker: Process,
    store: CatalogueStore,
    _dir: tempfile::TempDir,
}

impl Engine {
    /// Starts servers and processes, and waits until every partition is open.
    ///
    /// # Errors
    /// [`StageError`]; [`StageError::Ended`] where the engine refuses its settings.
    pub async fn start(base: &Path, options: &EngineSettings) -> Result<Self, StageError> {
        let dir = temporary_dir(base)?;
        let servers = Servers::start(dir.path(), options.ack).await?;
        let address = free_address()?;
        let role = |name: &'static str, role: &str| {
            let mut environment = vec![
                ("DOORBUSTER_ROLE".to_owned(), role.to_owned()),
                ("DOORBUSTER_LISTEN".to_owned(), address.to_string()),
                ("DOORBUSTER_REDIS_URL".to_owned(), servers.redis.url()),
                ("DOORBUSTER_POSTGRES_URL".to_owned(), servers.database_url()),
                ("DOORBUSTER_TRUSTED_BUYER_HEADER".to_owned(), "x-buyer-id".to_owned()),
                ("DOORBUSTER_ACK".to_owned(), options.ack.word().to_owned()),
                ("DOORBUSTER_LOG_FILTER".to_owned(), "warn".to_owned()),
            ];
            let further = options.settings.iter();
            environment.extend(
                further.map(|(key, value)| (format!("DOORBUSTER_{}", key.to_uppercase()), value.clone())),
            );
            Process::start(Launch {
                name,
                program: &sibling("doorbuster")?,
                arguments: vec!["run".into()],
                environment,
                dir: dir.path(),
                log: dir.path().join(format!("{role}.log")),
            })
        };
        let mut worker = role("the worker", "worker")?;
        let mut api = role("the API", "api")?;
        wait_until("the engine", || {
            let checked = worker.check().and_then(|()| api.check());
            async move {
                checked?;
                Ok(get_status(address, "/readyz").await == Some(200))
            }
        })
        .await?;
        let store = CatalogueStore::new(servers.pool.clone(), PUBLISH_MAX);
        Ok(Self { address, servers, api, worker, store, _dir: dir })
    }

    /// Ends it in order: processes before their servers.
    pub async fn stop(self) {
        self.api.stop().await;
        self.worker.stop().await;
    }

    /// Creates a sale that is open for ever, with `stock` units of each SKU, and waits until it sells.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn create_sale(&self, id: &str, skus: &[String], stock: u64) -> Result<(), StageError> {
        let products: Vec<_> = skus
            .iter()
            .map(|sku| json!({"sku": sku, "name": sku, "price": 1999, "currency": "EUR"}))
            .collect();
        let items: Vec<_> = skus.iter().map(|sku| json!({"sku": sku, "stock": stock})).collect();
        let definition = json!({
            "id": id, "name": id, "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
            "products": products, "items": items,
        });
        let sale = NewSale::read(&definition).map_err(|errors| StageError::Sale(format!("{errors:?}")))?;
        let created = self.store.create_sale(&sale, "bench").await?;
        let published = self.store.wait_published(&sale.id, created.version(), PUBLISH_MAX).await;
        if !published.applied {
            return Err(StageError::Sale(published.reason.unwrap_or_default()));
        }
        // A sale is published before its allotment is in the ledger: the stock must be there too.
        let applied =
            "SELECT NOT EXISTS (SELECT FROM stock_intents WHERE sale_id = $1 AND applied_at IS NULL)";
        wait_until("the sale's stock", || async {
            Ok(self.servers.db().await?.query_one(applied, &[&id]).await?.get(0))
        })
        .await
    }

    /// Units of a sale that Redis still has, over all its SKUs.
    ///
    /// # Errors
    /// [`StageError::Redis`].
    pub async fn redis_stock(&self, sale: &str, skus: &[String]) -> Result<i64, StageError> {
        let id = sale.parse().map_err(|_| StageError::Sale(sale.to_owned()))?;
        let key = Keys::new(Partition::new(0)).sale(&id).sale;
        let fields = skus.iter().map(|sku| format!("stock:{sku}").into()).collect();
        let reply = self.servers.client().on_key("HMGET", &key, fields).await?;
        let stocks: Vec<i64> =
            reply.convert().map_err(|_| StageError::Sale(format!("the stock of {sale} is not in redis")))?;
        Ok(stocks.iter().sum())
    }
}
