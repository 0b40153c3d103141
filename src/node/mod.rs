//! One process: the roles it runs, started and stopped in order.

mod parts;
mod payments;

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use self::parts::keeper_options;
use self::parts::{Parts, decider, http_limits};
pub(crate) use self::payments::payment_desk;
use crate::admin::{self, AdminDoor, AdminState};
use crate::api::{self, Api, ApiOptions, AttemptLimits, BuyerIdentity};
use crate::claim::IntakeLimits;
use crate::config::Settings;
use crate::gate::Gate;
use crate::http::{self, BearerToken, HttpLimits, Served};
use crate::keeper::Keeper;
use crate::live::OrderWatches;
use crate::metrics;
use crate::order_life::Sweeper;
use crate::persist::{KnownItems, PersistOptions, PersistWorker, READ_BLOCK, Reserve};
use crate::postgres::{MigrateError, PartitionsError, PgError};
use crate::redis::{Redis, RedisError};
use crate::retry::RetryPolicy;
use crate::stock::Publisher;
use crate::supervise::supervise;
use crate::webhooks::{WebhookClient, WebhookOptions, WebhookStore, WebhookWorker};

/// A process that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// The schema.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The number of partitions.
    #[error(transparent)]
    Partitions(#[from] PartitionsError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}: {source}; choose another with {setting}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that gives it.
        setting: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The settings contradict themselves.
    #[error("{0}")]
    Settings(String),
}

/// A running process.
pub struct Node {
    /// Where buyers call, in the roles that have the API.
    pub api: Option<SocketAddr>,
    /// Where operators call, where there is an admin token.
    pub admin: Option<SocketAddr>,
    /// Where Prometheus asks, where it may.
    pub metrics: Option<SocketAddr>,
    gates: Vec<Gate>,
    servers: Vec<JoinHandle<Served>>,
    workers: JoinSet<()>,
    stop_servers: CancellationToken,
    stop_workers: CancellationToken,
    /// A node that is dropped, or that failed to start, serves nothing any more.
    _serves_until_dropped: DropGuard,
}

/// What a stop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Requests in flight that were answered after the signal.
    pub requests_finished: u64,
    /// Requests in flight that the deadline cut.
    pub requests_cut: u64,
}

impl Node {
    /// Starts the roles that `settings` names: migrates the schema first, then works and listens.
    ///
    /// # Errors
    /// [`NodeError`]; then nothing is left running.
    pub async fn start(settings: &Settings) -> Result<Self, NodeError> {
        let parts = Parts::prepare(settings).await?;
        let stop_servers = CancellationToken::new();
        let stop_workers = CancellationToken::new();
        let mut node = Self {
            api: None,
            admin: None,
            metrics: None,
            gates: parts.gates.clone(),
            servers: Vec::new(),
            workers: JoinSet::new(),
            _serves_until_dropped: stop_servers.clone().drop_guard(),
            stop_servers,
            stop_workers,
        };
        // All addresses first: a process that cannot listen must neither serve nor become keeper.
        let api = match settings.role.runs_api() {
            true => Some(listen(settings.listen, "listen")?),
            false => None,
        };
        let admin = match &settings.admin_token {
            Some(token) => Some((listen(settings.admin_listen, "admin_listen")?, token)),
            None => None,
        };
        let metrics = match settings.metrics_listen {
            Some(address) => Some(listen(address, "metrics_listen")?),
            None => None,
        };
        if let Some(listener) = metrics {
            node.metrics = listener.local_addr().ok();
            node.serve_metrics(&parts, listener);
        }
        if let Some(listener) = api {
            node.api = listener.local_addr().ok();
            node.serve_api(&parts, listener).await?;
        }
        if let Some((listener, token)) = admin {
            node.admin = listener.local_addr().ok();
            node.serve_admin(&parts, listener, token.expose())?;
        }
        if settings.role.runs_webhooks() {
            node.start_webhooks(&parts)?;
        }
        if settings.role.runs_worker() {
            node.start_workers(&parts)?;
        }
        if settings.role.runs_sweeper() {
            node.start_sweeper(&parts);
        }
        if settings.role.runs_payment() {
            node.start_payments(&parts)?;
        }
        Ok(node)
    }

    /// Waits until every partition is open, at most `limit`; `false` where one is not.
    pub async fn wait_ready(&self, limit: Duration) -> bool {
        let all = async {
            for gate in &self.gates {
                gate.clone().wait_open().await;
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// The epoch under which this process knows each partition to be open, in their order.
    pub fn epochs(&self) -> Vec<Option<i64>> {
        self.gates.iter().map(|gate| gate.open().map(|scripts| scripts.stamp.epoch)).collect()
    }

    /// Stops: first the listeners, which finish the claims in flight, then the workers, which finish their batches.
    pub async fn stop(mut self) -> Stopped {
        self.stop_servers.cancel();
        let mut stopped = Stopped::default();
        for server in self.servers.drain(..) {
            if let Ok(served) = server.await {
                stopped.requests_finished += served.drained.requests_finished;
                stopped.requests_cut += served.drained.requests_cut;
            }
        }
        self.stop_workers.cancel();
        while self.workers.join_next().await.is_some() {}
        stopped
    }

    async fn serve_api(&mut self, parts: &Parts<'_>, listener: TcpListener) -> Result<(), NodeError> {
        let settings = parts.settings;
        let identity = match &settings.trusted_buyer_header {
            Some(name) => BuyerIdentity::TrustedHeader(name.clone()),
            None => BuyerIdentity::None,
        };
        let options = ApiOptions {
            intake: IntakeLimits {
                batch_max: settings.claim_batch_max,
                calls_max: settings.claim_calls_max,
                queue_max: settings.claim_queue_max,
                wait_max: settings.claim_timeout_ms.duration(),
                backlog_max: settings.backlog_max,
            },
            body_max_bytes: settings.http_body_max_bytes,
            body_timeout: settings.http_body_timeout_ms.duration(),
            attempts: AttemptLimits {
                per_second: NonZeroU32::new(settings.attempts_per_second),
                burst: NonZeroU32::new(settings.attempts_burst).unwrap_or(NonZeroU32::MIN),
            },
            wait_max: settings.wait_max_s.duration(),
            // What is held open must leave connections to those who buy.
            waiters_max: settings.waiters_max.min(settings.http_connections_max / 4),
            streams_max: settings.event_streams_max.min(settings.http_connections_max / 2),
            events_max: settings.event_rate_max,
            heartbeat: settings.event_heartbeat_ms.duration(),
            payments: parts.payment_inbox()?,
            stop: self.stop_servers.clone(),
        };
        // Two connections: a page that reads stock must not wait behind a batch of claims, nor the other way round.
        let claims = Redis::connect(&parts.redis_options)?;
        let reads = Redis::connect(&parts.redis_options)?;
        // A Redis that is away is no reason not to start: claims are answered 503 until it is there.
        if let Err(error) = claims.wait_ready().await {
            tracing::warn!(%error, "redis is away; claims wait for it");
        }
        let orders = OrderWatches::start(&parts.redis_options, parts.partitions, parts.pool.clone())?;
        let store = parts.store();
        let api = Api::new(
            parts.gates.clone(),
            parts.partitions,
            (decider(settings, claims), reads),
            (parts.pool.clone(), store, parts.orders(), orders),
            identity,
            options,
            parts.metrics.clone(),
        );
        let api = Arc::new(api);
        self.serve(parts, "api", listener, move |request| api::handle(api.clone(), request));
        Ok(())
    }

    fn serve_admin(
        &mut self,
        parts: &Parts<'_>,
        listener: TcpListener,
        token: &str,
    ) -> Result<(), NodeError> {
        let token =
            BearerToken::new(token).map_err(|error| NodeError::Settings(format!("admin_token: {error}")))?;
        let limits = HttpLimits { body_max_bytes: admin::BODY_MAX_BYTES, ..http_limits(parts.settings) };
        let redis = Redis::connect(&parts.redis_options)?;
        let publisher = Publisher::new(redis, parts.gates.clone(), parts.pool.clone());
        let state = AdminState {
            store: parts.store(),
            orders: parts.orders(),
            publisher: Some(publisher),
            webhooks: WebhookStore::new(parts.pool.clone(), parts.settings.postgres_timeout_ms.duration()),
            publish_wait: admin::PUBLISH_WAIT,
        };
        let door = Arc::new(AdminDoor { state, token, limits });
        self.serve(parts, "admin", listener, move |request| admin::serve(door.clone(), request));
        Ok(())
    }

    fn serve_metrics(&mut self, parts: &Parts<'_>, listener: TcpListener) {
        let (metrics, gates) = (parts.metrics.clone(), parts.gates.clone());
        self.serve(parts, "metrics", listener, move |request| {
            std::future::ready(metrics::handle(&metrics, &gates, &request))
        });
    }

    fn serve<H, F>(&mut self, parts: &Parts<'_>, name: &'static str, listener: TcpListener, handler: H)
    where
        H: Fn(hyper::Request<hyper::body::Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = hyper::Response<http::Body>> + Send + 'static,
    {
        let stop = self.stop_servers.clone();
        let limits = http_limits(parts.settings);
        let open = parts.metrics.http.listener(name);
        self.servers.push(tokio::spawn(async move {
            http::serve_counted(listener, limits, handler, stop.cancelled_owned(), open).await
        }));
    }

    fn start_sweeper(&mut self, parts: &Parts<'_>) {
        let pause = parts.settings.sweep_interval_ms.duration();
        let sweeper = Sweeper { orders: parts.orders(), pause, metrics: parts.metrics.orders.clone() };
        let stop = self.stop_workers.clone();
        self.workers.spawn(supervise("sweeper", stop.clone(), move || sweeper.clone().run(stop.clone())));
    }

    fn start_webhooks(&mut self, parts: &Parts<'_>) -> Result<(), NodeError> {
        let settings = parts.settings;
        let timeout = settings.webhook_timeout_ms.duration();
        let client = WebhookClient::new(timeout)
            .map_err(|error| NodeError::Settings(format!("TLS for webhooks: {error}")))?;
        let retry = RetryPolicy {
            pause_min: settings.webhook_retry_ms.duration(),
            give_up: settings.webhook_give_up_s.duration(),
        };
        let worker = WebhookWorker {
            pool: parts.pool.clone(),
            client,
            options: WebhookOptions { timeout, retry },
            metrics: parts.metrics.webhooks.clone(),
        };
        let stop = self.stop_workers.clone();
        let start = {
            let stop = stop.clone();
            move || worker.clone().run(stop.clone())
        };
        self.workers.spawn(supervise("webhook worker", stop, start));
        Ok(())
    }

    fn start_workers(&mut self, parts: &Parts<'_>) -> Result<(), NodeError> {
        let settings = parts.settings;
        // Unique for every start: entries are pending for a name, and a name that comes back would not be silent.
        let node = format!("{:016x}", fastrand::u64(..));
        let redis = Redis::connect(&parts.redis_options)?;
        let keeping = Redis::connect(&parts.redis_options)?;
        for gate in &parts.gates {
            let keeper = Keeper {
                partition: gate.partition(),
                redis: keeping.clone(),
                pool: parts.pool.clone(),
                gate: gate.clone(),
                options: keeper_options(settings),
                metrics: parts.metrics.clone(),
            };
            let stop = self.stop_workers.clone();
            self.workers.spawn(supervise("keeper", stop.clone(), move || keeper.clone().run(stop.clone())));
            let (reserve, items) = (Reserve::new(settings.persist_batch_max), KnownItems::default());
            for number in 0..settings.persist_workers {
                let worker = PersistWorker {
                    redis: redis.clone(),
                    reader: Redis::connect_blocking(&parts.redis_options, READ_BLOCK)?,
                    pool: parts.pool.clone(),
                    items: items.clone(),
                    gate: gate.clone(),
                    consumer: format!("{node}-{number}"),
                    number,
                    reserve: reserve.clone(),
                    options: PersistOptions {
                        batch_max: settings.persist_batch_max,
                        idle: settings.persist_idle_ms.duration(),
                        timeout: settings.postgres_timeout_ms.duration() * 2,
                    },
                    metrics: parts.metrics.persist.clone(),
                };
                let stop = self.stop_workers.clone();
                self.workers.spawn(supervise("persist worker", stop.clone(), move || {
                    worker.clone().run(stop.clone())
                }));
            }
        }
        Ok(())
    }
}

fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, NodeError> {
    http::listen(address).map_err(|source| NodeError::Listen { address, setting, source })
}
