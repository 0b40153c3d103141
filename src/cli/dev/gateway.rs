//! The payment gateway of `dev`: a stand-in in this process, unless the settings name a gateway.

use std::net::SocketAddr;
use std::path::Path;

use hyper::Uri;

use super::DevError;
use crate::config::{GatewayUrl, Secret, Settings};
use crate::payment::{Rates, Sandbox, SandboxOptions, SandboxWebhook};
use crate::webhooks::WebhookSecret;

/// Its charges, beside the data of the private servers: orders of an earlier run are known to it.
const STATE: &str = "gateway.jsonl";
/// So that an order can be seen while it is being paid.
const DELAY_MS: u64 = 400;

/// The stand-in, with the secret by which it signs.
pub(super) struct DevGateway {
    sandbox: Sandbox,
    secret: WebhookSecret,
}

impl DevGateway {
    /// Starts it on a free port, and leads the settings to it; `None` where they lead elsewhere already.
    ///
    /// # Errors
    /// [`DevError::Sandbox`], [`DevError::WebhookSecret`].
    pub(super) async fn start(
        settings: &mut Settings,
        data_dir: Option<&Path>,
    ) -> Result<Option<Self>, DevError> {
        if settings.gateway_url.is_some() {
            return Ok(None);
        }
        let secret = match &settings.payment_webhook_secret {
            Some(secret) => secret.expose().parse()?,
            None => WebhookSecret::generate()?,
        };
        let sandbox = Sandbox::start(SandboxOptions {
            rates: Rates { delay_ms: DELAY_MS, ..Rates::default() },
            seed: fastrand::u64(..),
            state: data_dir.map(|dir| dir.join(STATE)),
            ..SandboxOptions::default()
        });
        let sandbox = sandbox.await?;
        settings.gateway_url = GatewayUrl::new(&sandbox.url());
        settings.payment_webhook_secret = Secret::new(&secret.expose());
        Ok(Some(Self { sandbox, secret }))
    }

    /// Has outcomes told to the node, whose address is known only once it runs.
    ///
    /// # Errors
    /// [`DevError::Sandbox`].
    pub(super) fn tell(&self, api: SocketAddr) -> Result<(), DevError> {
        let Ok(url) = format!("http://{api}/v1/payments/webhook").parse::<Uri>() else { return Ok(()) };
        Ok(self.sandbox.tell(SandboxWebhook { url, secret: self.secret.clone() })?)
    }

    pub(super) fn url(&self) -> String {
        self.sandbox.url()
    }

    pub(super) async fn stop(self) {
        self.sandbox.stop().await;
    }
}
