//! The one home of every setting: name, type, default, bounds, unit and what it does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::header::HeaderName;

use super::choice::{Ack, DurabilityCheck, LogFormat, Role};
use super::secret::Secret;
use super::server_url::{GatewayUrl, PostgresUrl, RedisUrl};
use super::setting::{Bounds, Setting, settings};
use super::value::{LogFilter, Millis, Seconds, Value};

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

settings! {
    "Process" {
        /// What this process runs: the API, the workers (which sweep too), a sweeper of holds, payments, webhooks, or all.
        role: Role = Role::All;
        /// Address of the API; port 0 takes a free one.
        listen: SocketAddr = loopback(8080);
        /// Address of the admin API, which is off without an admin_token.
        admin_listen: SocketAddr = loopback(8081);
        /// Bearer token of the admin API; better not given as a flag, which others can see.
        admin_token: Option<Secret> = None;
        /// Address that serves the metrics for Prometheus at /metrics; nothing is served without it.
        metrics_listen: Option<SocketAddr> = None;
        /// Header with the buyer's id, believed as it comes: only behind a proxy that sets it.
        trusted_buyer_header: Option<HeaderName> = None;
        /// How long claims in flight may take to finish after a signal to stop.
        shutdown_deadline_ms: Millis = Millis::new(10_000), 100..=600_000 "milliseconds";
    }
    "Logs" {
        /// Format of the log lines on stderr.
        log_format: LogFormat = LogFormat::Human;
        /// Which log lines are written, by level and module.
        log_filter: LogFilter = LogFilter::info();
    }
    "Servers" {
        /// Redis, which decides the claims; redis-sentinel://HOST:PORT?sentinelServiceName=NAME follows a failover.
        redis_url: RedisUrl = RedisUrl::local();
        /// How long one Redis command, or connecting, may take.
        redis_timeout_ms: Millis = Millis::new(1_000), 10..=60_000 "milliseconds";
        /// Postgres, where orders end.
        postgres_url: PostgresUrl = PostgresUrl::local();
        /// How long one statement, connecting, or waiting for a connection may take.
        postgres_timeout_ms: Millis = Millis::new(5_000), 10..=300_000 "milliseconds";
        /// The most connections of this process to Postgres.
        postgres_pool_max: usize = 16, 1..=1_000 "connections";
        /// Slices of the buyers, each with its own log; the same on every node, fixed while sales exist.
        partitions: u8 = 1, 1..=64 "partitions";
        /// What holds an order before its 202: fsync, Redis's disk; replica, that and replicas; memory, its memory alone.
        ack: Ack = Ack::Fsync;
        /// With ack replica: how many replicas must hold an order.
        ack_replicas: u32 = 1, 1..=10 "replicas";
        /// With ack replica: how long they may take; past it the answer is 503 and the same key tells later.
        ack_replica_timeout_ms: Millis = Millis::new(1_000), 10..=60_000 "milliseconds";
        /// Whether a server set up for less than ack promises stops an opening, or is only logged.
        durability_check: DurabilityCheck = DurabilityCheck::Enforce;
    }
    "Claims" {
        /// The most claims that one script call decides.
        claim_batch_max: usize = 256, 1..=256 "claims";
        /// The most script calls in flight for one sale and partition.
        claim_calls_max: usize = 2, 1..=8 "calls";
        /// The most claims that wait on one node; more are answered 503.
        claim_queue_max: usize = 20_000, 1..=1_000_000 "claims";
        /// How long a claim may wait for its turn before the answer is 503, as a call ends; its own may then take redis_timeout_ms.
        claim_timeout_ms: Millis = Millis::new(2_000), 10..=60_000 "milliseconds";
        /// The most log entries of a partition not yet persisted; past it claims are answered 503.
        backlog_max: u64 = 1_000_000, 1..=100_000_000 "log entries";
        /// Attempts of one buyer on one node in each second; 0 sets no limit.
        attempts_per_second: u32 = 20, 0..=1_000_000 "attempts";
        /// The most attempts of one buyer on one node at once.
        attempts_burst: u32 = 40, 1..=1_000_000 "attempts";
    }
    "Persisting" {
        /// Workers of this process for each partition. Two read the log all the time, further ones while whole batches wait.
        persist_workers: usize = 4, 1..=16 "workers";
        /// The most log entries that one transaction persists; those that were decided by one call stay together.
        persist_batch_max: usize = 2_000, 1..=5_000 "log entries";
        /// After this time a silent worker counts as dead, and others claim its entries.
        persist_idle_ms: Millis = Millis::new(30_000), 100..=3_600_000 "milliseconds";
    }
    "Orders" {
        /// Time between two looks for orders that were not paid in time.
        sweep_interval_ms: Millis = Millis::new(200), 10..=60_000 "milliseconds";
    }
    "Payments" {
        /// The most payments that one process works on at once.
        payment_concurrency: usize = 64, 1..=10_000 "payments";
        /// Time between two looks for payments that are due; new ones are told sooner, by the payments stream.
        payment_poll_ms: Millis = Millis::new(500), 10..=60_000 "milliseconds";
        /// How long a process may work on one payment, besides what the gateway may take, before another counts it as lost.
        payment_lease_s: Seconds = Seconds::new(20), 1..=3_600 "seconds";
        /// The pause before a payment of which nothing is known is looked at again; doubled each time, up to an hour.
        payment_retry_ms: Millis = Millis::new(2_000), 10..=600_000 "milliseconds";
        /// How long a request to charge, or a buyer's own payment, may be on its way; past it, what the gateway never heard of is void.
        payment_give_up_s: Seconds = Seconds::new(86_400), 5..=2_592_000 "seconds";
        /// After which a gateway that has declined is asked once more whether it took the money all the same.
        payment_recheck_s: Seconds = Seconds::new(600), 1..=86_400 "seconds";
        /// The secret (whsec_…) by which the gateway signs its webhooks to /v1/payments/webhook, which is off without one.
        payment_webhook_secret: Option<Secret> = None;
        /// How far the time of such a webhook may be from this clock.
        payment_webhook_tolerance_s: Seconds = Seconds::new(300), 1..=86_400 "seconds";
        /// Payment gateway that speaks the protocol of docs/PAYMENTS.md; without one nothing is charged.
        gateway_url: Option<GatewayUrl> = None;
        /// Bearer token that is shown to the gateway; better not given as a flag, which others can see.
        gateway_token: Option<Secret> = None;
        /// How long one attempt to ask the gateway may take; at most half of it to connect.
        gateway_timeout_ms: Millis = Millis::new(5_000), 10..=120_000 "milliseconds";
        /// The most attempts of one request to the gateway.
        gateway_attempts: u32 = 3, 1..=10 "attempts";
        /// The longest pause after the first attempt that failed; doubled after each, the pause itself is drawn below it.
        gateway_retry_ms: Millis = Millis::new(200), 1..=60_000 "milliseconds";
        /// After this many attempts in a row without an answer the gateway is not asked for a while.
        gateway_breaker_failures: u32 = 5, 1..=1_000 "attempts";
        /// How long the gateway is then left alone, until it is tried again.
        gateway_breaker_ms: Millis = Millis::new(5_000), 10..=600_000 "milliseconds";
    }
    "Keeper" {
        /// How long an opened partition stays open when its keeper goes silent.
        lease_ms: Millis = Millis::new(800), 500..=300_000 "milliseconds";
        /// Time between renewals of the lease: under a third of lease_ms.
        lease_renew_ms: Millis = Millis::new(150), 10..=100_000 "milliseconds";
        /// Time between two reconciles of Redis stock with Postgres.
        reconcile_interval_ms: Millis = Millis::new(5_000), 100..=3_600_000 "milliseconds";
        /// How long log entries are kept after they are persisted, for a replay.
        log_retention_s: Seconds = Seconds::new(86_400), 1..=31_536_000 "seconds";
        /// How long the Redis keys of a sale are kept after it closed.
        sale_retention_s: Seconds = Seconds::new(86_400), 1..=31_536_000 "seconds";
    }
    "Live" {
        /// The longest that Prefer: wait=N may hold a response.
        wait_max_s: Seconds = Seconds::new(30), 1..=300 "seconds";
        /// The most responses that wait at once on one node; never more than a quarter of http_connections_max.
        waiters_max: usize = 2_500, 0..=1_000_000 "responses";
        /// The most event streams open at once on one node; never more than half of http_connections_max.
        event_streams_max: usize = 5_000, 0..=1_000_000 "streams";
        /// The most events of sales that a node sends in a second; with many streams each is sent fewer.
        event_rate_max: u32 = 10_000, 10..=10_000_000 "events";
        /// Time between two signs of life of an event stream: less than a proxy waits for one.
        event_heartbeat_ms: Millis = Millis::new(15_000), 100..=300_000 "milliseconds";
    }
    "Webhooks" {
        /// How long one attempt to deliver an event may take.
        webhook_timeout_ms: Millis = Millis::new(15_000), 100..=120_000 "milliseconds";
        /// The pause after the first attempt that failed; doubled after each, up to an hour.
        webhook_retry_ms: Millis = Millis::new(5_000), 10..=600_000 "milliseconds";
        /// How long an event is tried before its delivery is given up, until someone redrives it.
        webhook_give_up_s: Seconds = Seconds::new(86_400), 1..=2_592_000 "seconds";
    }
    "HTTP" {
        /// The most connections open at once on one listener.
        http_connections_max: usize = 10_000, 1..=1_000_000 "connections";
        /// How long a client may take to send the head of a request; it may get a quarter more.
        http_header_timeout_ms: Millis = Millis::new(10_000), 100..=300_000 "milliseconds";
        /// The longest request body.
        http_body_max_bytes: usize = 16_384, 256..=1_048_576 "bytes";
        /// How long a client may take to send a request body.
        http_body_timeout_ms: Millis = Millis::new(5_000), 100..=300_000 "milliseconds";
    }
}
