//! What `dev` prints when all of it runs: the addresses, and lines to paste into a shell.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::gateway::DevGateway;
use super::servers::Servers;
use super::settings::DevSettings;
use crate::config::Secret;
use crate::node::Node;

/// The sale and the item that the line buys.
pub(super) const SALE: &str = "demo";
pub(super) const SKU: &str = "TEE-RED";
const BUYER: &str = "alice";
const ORDERS: &str = "SELECT id, state, buyer, accepted_at FROM orders ORDER BY id DESC LIMIT 5";

/// The block.
pub(super) struct Welcome {
    api: Option<SocketAddr>,
    admin: Option<(SocketAddr, String)>,
    metrics: Option<SocketAddr>,
    gateway: Option<String>,
    redis_url: String,
    postgres_url: String,
    data_dir: Option<PathBuf>,
    buyer_header: String,
    look: String,
    notes: Vec<String>,
}

impl Welcome {
    pub(super) fn new(
        node: &Node,
        dev: &DevSettings,
        servers: &Servers,
        gateway: Option<&DevGateway>,
        note: Option<String>,
    ) -> Self {
        let settings = &dev.settings;
        let token = match &settings.admin_token {
            Some(token) if dev.token_is_public => Secret::expose(token).to_owned(),
            // Somebody's own secret: the shell fills it in.
            _ => "$DOORBUSTER_ADMIN_TOKEN".to_owned(),
        };
        // Their passwords open nothing to whom is not on this machine already; those of other servers stay hidden.
        let shown = |url: &dyn fmt::Display, whole: &str| {
            if is_local(whole) { whole.to_owned() } else { url.to_string() }
        };
        let postgres_url = shown(&settings.postgres_url, settings.postgres_url.expose());
        Self {
            api: node.api.map(reachable),
            admin: node.admin.map(|admin| (reachable(admin), token)),
            metrics: node.metrics.map(reachable),
            gateway: gateway.map(DevGateway::url),
            redis_url: shown(&settings.redis_url, settings.redis_url.expose()),
            look: look_line(&postgres_url, is_on_path("psql")),
            postgres_url,
            data_dir: servers.data_dir().map(Path::to_path_buf),
            buyer_header: dev.buyer_header.to_string(),
            notes: dev.notes.iter().cloned().chain(note).collect(),
        }
    }
}

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nDoorbuster runs: the sale \"{SALE}\" is open.\n")?;
        for note in &self.notes {
            writeln!(f, "  Note       {note}")?;
        }
        if let Some(api) = self.api {
            writeln!(f, "  API        http://{api}")?;
        }
        if let Some((admin, token)) = &self.admin {
            writeln!(f, "  Admin      http://{admin}  (token: {token})")?;
        }
        if let Some(metrics) = self.metrics {
            writeln!(f, "  Metrics    http://{metrics}/metrics")?;
        }
        if let Some(gateway) = &self.gateway {
            writeln!(f, "  Gateway    {gateway}  (a stand-in: it takes no money)")?;
        }
        writeln!(f, "  Redis      {}", self.redis_url)?;
        writeln!(f, "  Postgres   {}", self.postgres_url)?;
        if let Some(dir) = &self.data_dir {
            writeln!(f, "  Data       {}", dir.display())?;
        }
        let as_buyer = format!("-H '{}: {BUYER}'", self.buyer_header);
        if let Some(api) = self.api {
            let claim = format!(
                "http://{api}/v1/sales/{SALE}/orders {as_buyer} -H \"Idempotency-Key: $(date +%s%N)\" \
                 -H 'Content-Type: application/json' -d '{{\"items\":[{{\"sku\":\"{SKU}\",\"quantity\":1}}]}}'"
            );
            let location = format!("$(curl -s -o /dev/null -w '%header{{location}}' {claim})");
            let watch = format!("curl -sSN {as_buyer} \"http://{api}{location}/events\"");
            section(f, "Buy a shirt and watch its order until it is paid:", &watch)?;
            section(f, "Buy another:", &format!("curl -i {claim}"))?;
            section(
                f,
                "Follow the order, with the ID of the answer's Location:",
                &format!("curl -s {as_buyer} http://{api}/v1/orders/ID"),
            )?;
            section(
                f,
                "Every order of this buyer:",
                &format!("curl -s {as_buyer} http://{api}/v1/buyers/me/orders"),
            )?;
        }
        if let Some(gateway) = &self.gateway {
            let decline = format!("curl -X PUT {gateway}/sandbox -d '{{\"decline_rate\":1}}'");
            section(f, "Have every payment declined, then buy again:", &decline)?;
        }
        section(f, "See it in Postgres:", &self.look)?;
        if let Some((admin, token)) = &self.admin {
            let list = format!("curl -s http://{admin}/admin/v1/sales -H \"Authorization: Bearer {token}\"");
            section(f, "See the sales as an operator:", &list)?;
        }
        writeln!(f, "\nCtrl-C stops everything; the data stays.")
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, line: &str) -> fmt::Result {
    writeln!(f, "\n  {title}\n    {line}")
}

/// Where to call an address that listens everywhere.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn is_local(url: &str) -> bool {
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| url.host_str());
    host.is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host))
}

/// psql comes with the server on most systems, but not with a server in a container.
fn look_line(postgres_url: &str, has_psql: bool) -> String {
    if has_psql {
        return format!("psql '{postgres_url}' -c '{ORDERS}'");
    }
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("doorbuster"));
    format!("DOORBUSTER_POSTGRES_URL='{postgres_url}' '{}' sale show {SALE}", program.display())
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_of_every_interface_is_shown_as_one_that_can_be_called() {
        for (listens, called) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), called.parse().unwrap());
        }
    }

    #[test]
    fn only_passwords_of_this_machine_are_shown() {
        assert!(is_local("postgres://u:p@127.0.0.1:5432/d") && is_local("redis://:p@localhost"));
        assert!(!is_local("postgres://u:p@db.example/d") && !is_local("postgres://u:p@127.0.0.1:1,db:2/d"));
    }

    #[test]
    fn without_psql_the_program_itself_shows_postgres() {
        assert!(look_line("postgres://h/d", true).starts_with("psql 'postgres://h/d' -c 'SELECT"));
        let line = look_line("postgres://h/d", false);
        assert!(
            line.starts_with("DOORBUSTER_POSTGRES_URL='postgres://h/d' '/")
                && line.ends_with("sale show demo")
        );
    }
}
