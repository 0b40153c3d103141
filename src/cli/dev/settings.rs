//! The settings as `dev` uses them: what makes trying out easy, unless it was set.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use hyper::header::HeaderName;

use super::DevError;
use crate::config::{Effective, LogFilter, Origin, Role, Secret, Setting, Settings};
use crate::servers::free_port;

/// Where Prometheus may ask.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8082);
/// No secret: it is only ever used on addresses of this machine.
const ADMIN_TOKEN: &str = "doorbuster-dev-token";
/// What needs a developer's eye. The Redis client warns of each connection that a stop closes.
const QUIET: &str = "warn,fred=error";
const BUYER_HEADER: HeaderName = HeaderName::from_static("x-buyer-id");

/// Settings for one run of `dev`.
pub(super) struct DevSettings {
    /// In effect; the servers' URLs are filled in when they run.
    pub settings: Settings,
    /// Which header names the buyer.
    pub buyer_header: HeaderName,
    /// Whether the admin token is the well-known one, which may be shown.
    pub token_is_public: bool,
    /// What the developer should know.
    pub notes: Vec<String>,
}

impl DevSettings {
    /// # Errors
    /// [`DevError::TokenNeeded`], and [`DevError::Servers`] where no port is free.
    pub(super) fn choose(effective: &Effective, external: bool) -> Result<Self, DevError> {
        let mut settings = Settings { role: Role::All, ..effective.settings.clone() };
        let mut notes = Vec::new();
        if let (false, Some(quiet)) = (is_given(effective, "log_filter"), LogFilter::new(QUIET)) {
            settings.log_filter = quiet;
        }
        let buyer_header = settings.trusted_buyer_header.get_or_insert(BUYER_HEADER).clone();
        // An admin_token that was set to nothing turns the admin API off.
        let token_is_public = !is_given(effective, "admin_token");
        if token_is_public {
            if !settings.admin_listen.ip().is_loopback() {
                return Err(DevError::TokenNeeded(settings.admin_listen));
            }
            settings.admin_token = Secret::new(ADMIN_TOKEN);
        }
        if !is_given(effective, "listen") {
            settings.listen = free_address("API", settings.listen, &mut notes)?;
        }
        if settings.admin_token.is_some() && !is_given(effective, "admin_listen") {
            settings.admin_listen = free_address("admin API", settings.admin_listen, &mut notes)?;
        }
        if !is_given(effective, "metrics_listen") {
            settings.metrics_listen = Some(free_address("metrics", METRICS, &mut notes)?);
        }
        for name in
            ["redis_url", "postgres_url"].into_iter().filter(|name| !external && is_given(effective, name))
        {
            notes.push(format!(
                "{name} is set, but the servers here are private ones: add --external to use it"
            ));
        }
        Ok(Self { settings, buyer_header, token_is_public, notes })
    }
}

fn is_given(effective: &Effective, name: &str) -> bool {
    Setting::named(name).is_some_and(|setting| *effective.origin(setting) != Origin::Default)
}

/// The default address, or a free port beside it where another process has that one. What else may be
/// wrong with it, the listener will say.
fn free_address(what: &str, address: SocketAddr, notes: &mut Vec<String>) -> Result<SocketAddr, DevError> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let free = SocketAddr::new(address.ip(), free_port()?);
            notes.push(format!("port {} is taken, so the {what} listens on {}", address.port(), free.port()));
            Ok(free)
        }
        _ => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::config::Sources;

    fn chosen(flags: &[(&str, &str)]) -> Result<DevSettings, DevError> {
        let flags = flags.iter().map(|(name, value)| (Setting::named(name).unwrap(), (*value).to_owned()));
        let sources = Sources { flags: flags.collect(), ..Sources::default() };
        DevSettings::choose(&sources.load().unwrap(), false)
    }

    #[test]
    fn what_was_set_is_left_alone() {
        let dev = chosen(&[
            ("log_filter", "debug"),
            ("admin_token", "a-token-of-my-own"),
            ("trusted_buyer_header", "x-user"),
            ("admin_listen", "0.0.0.0:0"),
            ("role", "worker"),
        ])
        .unwrap();
        assert_eq!(dev.settings.log_filter.as_str(), "debug");
        assert_eq!(dev.settings.admin_token.unwrap().expose(), "a-token-of-my-own");
        assert_eq!((dev.buyer_header.as_str(), dev.token_is_public), ("x-user", false));
        assert_eq!(dev.settings.role, Role::All);
        assert!(chosen(&[("admin_token", "")]).unwrap().settings.admin_token.is_none());
    }

    #[test]
    fn the_well_known_token_stays_on_this_machine() {
        let dev = chosen(&[]).unwrap();
        assert_eq!(dev.settings.admin_token.unwrap().expose(), ADMIN_TOKEN);
        assert!(crate::http::BearerToken::new(ADMIN_TOKEN).is_ok());
        let error = chosen(&[("admin_listen", "0.0.0.0:0")]).err().unwrap();
        assert!(matches!(error, DevError::TokenNeeded(_)), "{error}");
    }

    #[test]
    fn a_taken_port_is_replaced_and_said() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _holder = TcpListener::bind(taken).unwrap();
        let mut notes = Vec::new();
        let free = free_address("API", taken, &mut notes).unwrap();
        assert_ne!(free.port(), taken.port());
        assert_eq!(notes, [format!("port {} is taken, so the API listens on {}", taken.port(), free.port())]);
    }
}
