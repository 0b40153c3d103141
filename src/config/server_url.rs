//! URLs of the servers; their password is never shown.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use super::secret::MASK;
use super::setting::Bounds;
use super::value::{Shown, Value};

/// The URL of Redis.
pub type RedisUrl = ServerUrl<Redis>;
/// The URL of Postgres.
pub type PostgresUrl = ServerUrl<Postgres>;
/// The URL of a payment gateway.
pub type GatewayUrl = ServerUrl<PaymentGateway>;

/// Kind of server that a [`ServerUrl`] leads to.
pub trait Server {
    /// What its URLs begin with, before `://`.
    const SCHEMES: &[&str];
    /// Where it listens on a developer's machine.
    const LOCAL: &str;

    /// Whether its client can read the URL.
    fn reads(url: &str) -> bool;
}

/// Redis, or a server that speaks its protocol.
#[derive(Clone, PartialEq, Eq)]
pub enum Redis {}

impl Server for Redis {
    const SCHEMES: &[&str] = &["redis", "rediss", "redis-cluster", "redis-sentinel", "rediss-sentinel"];
    const LOCAL: &str = "redis://127.0.0.1:6379";

    fn reads(url: &str) -> bool {
        let Ok(url) = url::Url::parse(url) else { return false };
        // The name under which the Sentinels know the primary.
        let named =
            || url.query_pairs().any(|(name, value)| name == "sentinelServiceName" && !value.is_empty());
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        has_host && (!url.scheme().ends_with("-sentinel") || named())
    }
}

/// PostgreSQL.
#[derive(Clone, PartialEq, Eq)]
pub enum Postgres {}

impl Server for Postgres {
    const SCHEMES: &[&str] = &["postgres", "postgresql"];
    const LOCAL: &str = "postgres://doorbuster@127.0.0.1:5432/doorbuster";

    fn reads(url: &str) -> bool {
        tokio_postgres::Config::from_str(url).is_ok_and(|config| !config.get_hosts().is_empty())
    }
}

/// A payment gateway that speaks the protocol of docs/PAYMENTS.md.
#[derive(Clone, PartialEq, Eq)]
pub enum PaymentGateway {}

impl Server for PaymentGateway {
    const SCHEMES: &[&str] = &["http", "https"];
    const LOCAL: &str = "http://127.0.0.1:8090";

    /// Paths are appended to it, and its credential is a token.
    fn reads(url: &str) -> bool {
        let Ok(parsed) = url::Url::parse(url) else { return false };
        let has_host = parsed.host_str().is_some_and(|host| !host.is_empty());
        let is_bare = parsed.query().is_none() && parsed.fragment().is_none() && !url.contains('@');
        has_host && is_bare && url.parse::<hyper::Uri>().is_ok()
    }
}

/// The URL of a server, known to parse. `Debug` and `Display` mask its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl<S> {
    url: Cow<'static, str>,
    server: PhantomData<S>,
}

impl<S: Server> ServerUrl<S> {
    /// The server of a developer's machine.
    pub const fn local() -> Self {
        Self { url: Cow::Borrowed(S::LOCAL), server: PhantomData }
    }

    /// Keeps a URL; `None` where the scheme is another, it does not parse, or it was masked.
    pub fn new(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        let usable = S::SCHEMES.contains(&scheme) && !url.contains(MASK) && S::reads(url);
        usable.then(|| Self { url: Cow::Owned(url.to_owned()), server: PhantomData })
    }

    /// The URL with its password, for connecting.
    pub fn expose(&self) -> &str {
        &self.url
    }
}

impl<S> fmt::Display for ServerUrl<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_passwords(&self.url))
    }
}

impl<S> fmt::Debug for ServerUrl<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S: Server> Value for ServerUrl<S> {
    const SECRET: bool = true;

    fn parse(text: &str, _: Bounds) -> Option<Self> {
        Self::new(text)
    }

    fn allowed(_: Bounds) -> String {
        let schemes = S::SCHEMES.join("://, ");
        format!("a URL such as {}, beginning with one of {schemes}://", S::LOCAL)
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.to_string())
    }

    fn mask(text: &str) -> String {
        mask_passwords(text)
    }
}

/// Masks the password of the authority and of query parameters, in anything that was meant as a URL.
///
/// The authority is taken to reach to the *last* `@`: a password whose `/`, `?` or `@` was not
/// percent-encoded is then masked whole, where the rule of RFC 3986 would show its end.
fn mask_passwords(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.to_owned() };
    let (user_info, rest) = rest.rsplit_once('@').map_or((None, rest), |(info, rest)| (Some(info), rest));
    let user_info =
        match user_info.map(|info| info.split_once(':').map_or((info, None), |(u, p)| (u, Some(p)))) {
            None => String::new(),
            Some((user, None | Some(""))) => format!("{user}@"),
            Some((user, Some(_))) => format!("{user}:{MASK}@"),
        };
    let Some((path, query)) = rest.split_once('?') else { return format!("{scheme}://{user_info}{rest}") };
    let query: Vec<_> = query.split('&').map(mask_parameter).collect();
    format!("{scheme}://{user_info}{path}?{}", query.join("&"))
}

fn mask_parameter(parameter: &str) -> Cow<'_, str> {
    match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={MASK}").into(),
        _ => parameter.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_password_is_masked() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:pw@h:1/2", "redis://:********@h:1/2"),
            ("rediss://user:p%40w@h", "rediss://user:********@h"),
            ("postgres://u@h/db?sslmode=disable", "postgres://u@h/db?sslmode=disable"),
            ("postgres://u:p/w?x@y@h1:1,h2:2/db", "postgres://u:********@h1:1,h2:2/db"),
            ("postgres://u@h/db?a=b&password=pw", "postgres://u@h/db?a=b&password=********"),
            (
                "redis-sentinel://:pw@h?sentinelServiceName=m&sentinelPassword=pw",
                "redis-sentinel://:********@h?sentinelServiceName=m&sentinelPassword=********",
            ),
            ("host=h password=pw", "********"),
        ] {
            assert_eq!(mask_passwords(url), shown);
        }
    }

    #[test]
    fn a_url_has_a_known_scheme_and_a_host() {
        for good in [
            "redis://h",
            "rediss://u:p@h:6380/1",
            "redis-cluster://h:7000?node=i:7001",
            "redis-sentinel://h:26379?sentinelServiceName=main&node=i:26379",
        ] {
            assert_eq!(RedisUrl::new(good).unwrap().expose(), good);
        }
        for bad in [
            "",
            "h:6379",
            "http://h",
            "redis://",
            "redis://:********@h",
            "redis://h:port",
            "redis-sentinel://h:26379",
        ] {
            assert_eq!(RedisUrl::new(bad), None, "{bad}");
        }
        for good in ["postgres://u@h/db", "postgresql://u:p@h1:5432,h2:5433/db"] {
            assert_eq!(PostgresUrl::new(good).unwrap().expose(), good);
        }
        for bad in ["host=h user=u", "redis://h", "postgres:///db", "postgres://h/db?unknown=1"] {
            assert_eq!(PostgresUrl::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_gateway_is_a_bare_http_url() {
        for good in ["http://127.0.0.1:8090", "https://pay.example/shop", "https://[::1]:1/"] {
            assert_eq!(GatewayUrl::new(good).unwrap().expose(), good);
        }
        for bad in [
            "pay.example",
            "ftp://h",
            "http://",
            "https://u:p@h",
            "https://h?a=b",
            "https://h#a",
            "http://h o",
        ] {
            assert_eq!(GatewayUrl::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_masks_too() {
        assert_eq!(format!("{:?}", RedisUrl::new("redis://:pw@h").unwrap()), "redis://:********@h");
    }
}
