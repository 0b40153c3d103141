//! What has to hold between settings.

use super::choice::Ack;
use super::error::ConfigError;
use super::setting::Setting;
use super::source::Effective;
use super::table::Settings;

struct Relation {
    settings: &'static [&'static str],
    holds: fn(&Settings) -> bool,
    rule: &'static str,
}

static RELATIONS: &[Relation] = &[
    // Two renewals may fail before the lease ends.
    Relation {
        settings: &["lease_renew_ms", "lease_ms"],
        holds: |s| s.lease_renew_ms.get() * 3 < s.lease_ms.get(),
        rule: "lease_renew_ms must be less than a third of lease_ms",
    },
    Relation {
        settings: &["listen", "admin_listen"],
        holds: |s| s.admin_token.is_none() || s.listen != s.admin_listen || s.listen.port() == 0,
        rule: "the two listeners need addresses of their own",
    },
    // One WAIT covers one server; and a cluster's client may change the server between a claim and its WAIT.
    Relation {
        settings: &["ack", "redis_url"],
        holds: |s| s.ack != Ack::Replica || !s.redis_url.expose().contains("-cluster://"),
        rule: "ack = \"replica\" needs one primary with its replicas: redis_url cannot be a cluster",
    },
    Relation {
        settings: &["metrics_listen", "listen", "admin_listen"],
        holds: |s| {
            let is_free = |address| {
                ![Some(s.listen), s.admin_token.as_ref().map(|_| s.admin_listen)].contains(&Some(address))
            };
            s.metrics_listen.is_none_or(|address| address.port() == 0 || is_free(address))
        },
        rule: "metrics_listen needs an address of its own",
    },
];

/// Reports each relation that does not hold, unless one of its settings was `refused` already.
pub(super) fn check(effective: &Effective, refused: &[&str], errors: &mut Vec<ConfigError>) {
    let judged = |relation: &&Relation| !relation.settings.iter().any(|name| refused.contains(name));
    for relation in RELATIONS.iter().filter(judged).filter(|r| !(r.holds)(&effective.settings)) {
        let values: Vec<_> = relation
            .settings
            .iter()
            .filter_map(|name| Setting::named(name))
            .map(|setting| {
                let value = setting.show(&effective.settings).to_toml();
                format!("{} = {value} ({})", setting.name, effective.origin(setting))
            })
            .collect();
        errors.push(ConfigError::Relation { values: values.join(", "), rule: relation.rule });
    }
}
