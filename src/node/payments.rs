//! The role `payment`, and where the gateway tells of payments.

use std::sync::Arc;

use super::parts::{Parts, decider};
use super::{Node, NodeError};
use crate::api::PaymentInbox;
use crate::config::Settings;
use crate::payment::{
    Gateway, HttpGateway, HttpGatewayOptions, NoGateway, PaymentDesk, PaymentOptions, PaymentTimes,
    PaymentWorker,
};
use crate::postgres::PgPool;
use crate::redis::Redis;
use crate::supervise::supervise;
use crate::webhooks::WebhookSecret;

/// The door to payments, as the settings say.
pub(crate) fn payment_desk(settings: &Settings, pool: PgPool) -> PaymentDesk {
    let attempts = settings.gateway_attempts;
    let pauses = settings.gateway_retry_ms.duration() * (1 << attempts);
    let times = PaymentTimes {
        lease: settings.payment_lease_s.duration()
            + settings.gateway_timeout_ms.duration() * attempts
            + pauses,
        pause_min: settings.payment_retry_ms.duration(),
        charge_lasts: settings.payment_give_up_s.duration(),
        recheck: settings.payment_recheck_s.duration(),
    };
    PaymentDesk::new(pool, settings.postgres_timeout_ms.duration(), times)
}

impl Node {
    pub(super) fn start_payments(&mut self, parts: &Parts<'_>) -> Result<(), NodeError> {
        match HttpGatewayOptions::of(parts.settings) {
            Some(options) => {
                let gateway = HttpGateway::new(options, parts.metrics.gateway.clone())
                    .map_err(|error| NodeError::Settings(error.to_string()))?;
                self.start_payments_at(parts, gateway, true)
            }
            None => self.start_payments_at(parts, NoGateway, false),
        }
    }

    fn start_payments_at(
        &mut self,
        parts: &Parts<'_>,
        gateway: impl Gateway,
        asks_gateway: bool,
    ) -> Result<(), NodeError> {
        let settings = parts.settings;
        let worker = PaymentWorker {
            desk: parts.payment_desk(),
            gateway: Arc::new(gateway),
            claims: decider(settings, Redis::connect(&parts.redis_options)?),
            pool: parts.pool.clone(),
            gates: parts.gates.clone(),
            redis: parts.redis_options.clone(),
            options: PaymentOptions {
                asks_gateway,
                at_once: settings.payment_concurrency,
                poll: settings.payment_poll_ms.duration(),
                backlog_max: settings.backlog_max,
                webhooks_kept: settings.payment_webhook_tolerance_s.duration() * 2,
            },
            metrics: parts.metrics.payments.clone(),
        };
        let stop = self.stop_workers.clone();
        self.workers
            .spawn(supervise("payment worker", stop.clone(), move || worker.clone().run(stop.clone())));
        Ok(())
    }
}

impl Parts<'_> {
    fn payment_desk(&self) -> PaymentDesk {
        payment_desk(self.settings, self.pool.clone())
    }

    pub(super) fn payment_inbox(&self) -> Result<Option<PaymentInbox>, NodeError> {
        let Some(secret) = &self.settings.payment_webhook_secret else { return Ok(None) };
        let secret: WebhookSecret = secret
            .expose()
            .parse()
            .map_err(|error| NodeError::Settings(format!("payment_webhook_secret: {error}")))?;
        Ok(Some(PaymentInbox {
            desk: self.payment_desk(),
            secret,
            tolerance: self.settings.payment_webhook_tolerance_s.duration(),
            metrics: self.metrics.payments.clone(),
        }))
    }
}
