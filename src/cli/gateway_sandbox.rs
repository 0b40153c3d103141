//! `doorbuster gateway-sandbox`

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use clap::error::ErrorKind;
use hyper::Uri;

use super::CliError;
use super::runtime::block_on;
use super::stop_signals::StopSignals;
use crate::config::{Secret, Settings};
use crate::payment::{Rates, Sandbox, SandboxOptions, SandboxWebhook};
use crate::telemetry;
use crate::webhooks::WebhookSecret;

/// Where it listens unless told otherwise; the API has the default of the setting.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);

/// Arguments of `doorbuster gateway-sandbox`.
#[derive(Debug, Args)]
#[command(
    long_about = "Run a stand-in payment gateway that takes no money, for trying payments out and for testing them.\n\
    It serves the protocol of docs/PAYMENTS.md. Rates are shares from 0 to 1; what happens to an order follows\n\
    from the seed and the order's id. Read and change them while it runs: GET and PUT /sandbox."
)]
pub(super) struct GatewaySandboxCommand {
    /// Address of the gateway; port 0 takes a free one [default: 127.0.0.1:8090]
    // The same name as the setting of the API's address, which is given to every command and read as that.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Bearer token that callers must show: Doorbuster's gateway_token. Needed where others can reach the address
    #[arg(long)]
    token: Option<String>,
    /// Share of the charges that are declined
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    decline_rate: f64,
    /// Share of the requests that are answered 500, and not carried out
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    error_rate: f64,
    /// Share of the charges and refunds that are carried out, and not answered
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    unknown_rate: f64,
    /// Share of the charges that are decided only after --settle-ms
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    undecided_rate: f64,
    /// Share of the charges that are answered as declined, and are paid: a look-up and the webhook say so
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    lie_rate: f64,
    /// Share of the charges whose webhook gets lost on its way
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    lost_webhook_rate: f64,
    /// Pause before each answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// How long undecided charges stay so, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = Rates::default().settle_ms)]
    settle_ms: u64,
    /// What all chance follows from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Where outcomes are told: http://HOST:PORT/v1/payments/webhook of a node
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook_url: Option<Uri>,
    /// What signs them: whsec_ and base64
    #[arg(long, value_name = "SECRET", requires = "webhook_url")]
    webhook_secret: Option<String>,
    /// File that each change is written to, to know the charges again after a restart [default: memory alone]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

impl GatewaySandboxCommand {
    pub(super) fn run(self, settings: &Settings) -> Result<(), CliError> {
        let options = self.options(settings)?;
        telemetry::init(settings)?;
        block_on(async {
            let mut signals = StopSignals::listen()?;
            let has_token = options.token.is_some();
            let sandbox = Sandbox::start(options).await?;
            say(&sandbox, has_token)?;
            signals.next().await;
            sandbox.stop().await;
            Ok(())
        })?
    }

    fn options(self, settings: &Settings) -> Result<SandboxOptions, CliError> {
        let token = self.token.map(|token| Secret::new(&token).ok_or_else(wrong_token)).transpose()?;
        let webhook = match (self.webhook_url, self.webhook_secret) {
            (Some(url), Some(secret)) => Some(SandboxWebhook { url, secret: parse_secret(&secret)? }),
            _ => None,
        };
        Ok(SandboxOptions {
            listen: if self.listen.is_some() { settings.listen } else { LISTEN },
            token,
            rates: Rates {
                decline_rate: self.decline_rate,
                error_rate: self.error_rate,
                unknown_rate: self.unknown_rate,
                undecided_rate: self.undecided_rate,
                lie_rate: self.lie_rate,
                lost_webhook_rate: self.lost_webhook_rate,
                delay_ms: self.delay_ms,
                settle_ms: self.settle_ms,
            },
            seed: self.seed,
            webhook,
            state: self.state,
        })
    }
}

fn wrong_token() -> CliError {
    let allowed = format!("{} to {} letters, digits and -._~+/=", Secret::LENGTH_MIN, Secret::LENGTH_MAX);
    clap::Error::raw(ErrorKind::ValueValidation, format!("--token: give {allowed}\n")).into()
}

fn parse_secret(secret: &str) -> Result<WebhookSecret, CliError> {
    let parsed = secret.parse::<WebhookSecret>();
    parsed.map_err(|error| {
        clap::Error::raw(ErrorKind::ValueValidation, format!("--webhook-secret: {error}\n")).into()
    })
}

fn say(sandbox: &Sandbox, has_token: bool) -> io::Result<()> {
    let url = sandbox.url();
    let (setting, header) = match has_token {
        true => (" --gateway-token TOKEN", " -H 'Authorization: Bearer TOKEN'"),
        false => ("", ""),
    };
    let mut out = io::stdout();
    write!(
        out,
        "The stand-in gateway listens on {url}. It takes no money.\n\
         \n  Point a node at it:\n    doorbuster run --gateway-url {url}{setting}\n\
         \n  See and change how it misbehaves:\n    curl {url}/sandbox{header}\n    \
         curl -X PUT {url}/sandbox{header} -d '{{\"decline_rate\":0.5}}'\n\
         \n  See every charge:\n    curl {url}/sandbox/charges{header}\n\
         \nCtrl-C stops it.\n"
    )?;
    out.flush()
}
