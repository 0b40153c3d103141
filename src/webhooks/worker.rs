//! The role `webhooks`: any number of processes side by side.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::Uri;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::client::WebhookClient;
use super::delivery::Target;
use crate::metrics::WebhookMetrics;
use crate::postgres::{PgError, PgPool, within};
use crate::retry::RetryPolicy;

const TELL_SALES: &str = include_str!("../../sql/webhooks/tell_sales.sql");
const PRUNE: &str = include_str!("../../sql/webhooks/prune.sql");
const ENDPOINTS: &str = "SELECT id, url, secret FROM webhook_endpoints WHERE disabled_at IS NULL ORDER BY id";

/// How soon an event is on its way.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is looked which sales have opened, closed and sold out.
const SALES: Duration = Duration::from_secs(1);
const FORGET: Duration = Duration::from_secs(600);
/// For a statement, also where Postgres hangs.
const STATEMENT_MAX: Duration = Duration::from_secs(10);

/// How a worker works.
#[derive(Debug, Clone, Copy)]
pub struct WebhookOptions {
    /// For one attempt.
    pub timeout: Duration,
    /// When it is tried again.
    pub retry: RetryPolicy,
}

/// Delivers.
#[derive(Clone)]
pub struct WebhookWorker {
    /// Where events are.
    pub pool: PgPool,
    /// How they are sent.
    pub client: WebhookClient,
    /// How.
    pub options: WebhookOptions,
    /// What it has done.
    pub metrics: WebhookMetrics,
}

impl WebhookWorker {
    /// Works until `stop`, and finishes the attempts under way.
    pub async fn run(self, stop: CancellationToken) {
        let (mut looks, mut sales, mut forgets) = (every(LOOK), every(SALES), every(FORGET));
        // One task for each endpoint: one that is slow holds up nobody but itself.
        let mut tasks: JoinSet<String> = JoinSet::new();
        let mut busy: HashMap<String, Instant> = HashMap::new();
        while !stop.is_cancelled() {
            tokio::select! {
                _ = looks.tick() => {}
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    match ended {
                        Ok(id) => drop(busy.remove(&id)),
                        // A bug that one event meets must not end the deliveries to its endpoint for ever.
                        Err(panic) => {
                            tracing::error!(%panic, "deliveries to an endpoint panicked");
                            busy.clear();
                        }
                    }
                    continue;
                }
                () = stop.cancelled() => break,
            }
            if let Err(error) = self.look(&mut tasks, &mut busy, &stop, &mut sales, &mut forgets).await {
                tracing::warn!(%error, "webhooks wait for postgres");
                tokio::time::sleep(SALES).await;
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn look(
        &self,
        tasks: &mut JoinSet<String>,
        busy: &mut HashMap<String, Instant>,
        stop: &CancellationToken,
        sales: &mut Interval,
        forgets: &mut Interval,
    ) -> Result<(), PgError> {
        if sales.tick().now_or_never().is_some() {
            self.execute(TELL_SALES).await?;
        }
        if forgets.tick().now_or_never().is_some() {
            self.execute(PRUNE).await?;
        }
        for target in within(STATEMENT_MAX, self.targets()).await? {
            if !busy.contains_key(&target.id) {
                busy.insert(target.id.clone(), Instant::now());
                tasks.spawn(drain(target, stop.clone()));
            }
        }
        Ok(())
    }

    async fn execute(&self, statement: &'static str) -> Result<(), PgError> {
        let work = async {
            let db = self.pool.get().await?;
            let statement = db.prepare_cached(statement).await?;
            db.execute(&statement, &[]).await?;
            Ok(())
        };
        within(STATEMENT_MAX, work).await
    }

    async fn targets(&self) -> Result<Vec<Target>, PgError> {
        let db = self.pool.get().await?;
        let rows = db.query(&db.prepare_cached(ENDPOINTS).await?, &[]).await?;
        let target = |row: &tokio_postgres::Row| {
            let id: String = row.get(0);
            let (url, secret) = (row.get::<_, &str>(1).parse::<Uri>(), row.get::<_, &str>(2).parse());
            let (Ok(url), Ok(secret)) = (url, secret) else {
                tracing::error!(
                    endpoint = id,
                    "an endpoint's row cannot be read: remove it and add it again"
                );
                return None;
            };
            Some(Target {
                id,
                url,
                secret,
                pool: self.pool.clone(),
                client: self.client.clone(),
                timeout: self.options.timeout,
                retry: self.options.retry,
                metrics: self.metrics.clone(),
            })
        };
        Ok(rows.iter().filter_map(target).collect())
    }
}

/// Delivers to one endpoint until nothing is due.
async fn drain(target: Target, stop: CancellationToken) -> String {
    while !stop.is_cancelled() {
        match target.deliver_due().await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(endpoint = target.id, %error, "a delivery could not be taken or written down");
                break;
            }
        }
    }
    target.id
}

fn every(pause: Duration) -> Interval {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
