//! Values from environment variables.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::error::{ConfigError, nearest};
use super::setting::{Setting, VARIABLE_PREFIX};
use super::source::{Given, Origin};
use super::table::SETTINGS;

/// Names the TOML file.
pub(super) const CONFIG_VARIABLE: &str = "DOORBUSTER_CONFIG";

/// The values in the `DOORBUSTER_*` variables, and the file that one of them names.
pub(super) fn read(
    environment: &[(OsString, OsString)],
    errors: &mut Vec<ConfigError>,
) -> (Given, Option<PathBuf>) {
    let mut given = Given::new();
    let mut file = None;
    for (name, value) in environment {
        let variable = name.to_string_lossy();
        let Some(suffix) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
        if variable == CONFIG_VARIABLE {
            file = (!value.is_empty()).then(|| PathBuf::from(value));
        } else if let Some(setting) = setting_of(suffix) {
            match value.to_str() {
                Some(text) => {
                    given.insert(setting.name, (Origin::Variable(variable.into_owned()), text.to_owned()));
                }
                None => errors.push(ConfigError::NotUnicode { variable: variable.into_owned() }),
            }
        } else if !is_service_link(suffix, value) {
            errors.push(unknown(&variable));
        }
    }
    (given, file)
}

/// Variables are upper case: a name in another case is unknown, rather than a second way to say it.
fn setting_of(suffix: &str) -> Option<&'static Setting> {
    let is_upper = !suffix.bytes().any(|byte| byte.is_ascii_lowercase());
    is_upper.then(|| Setting::named(&suffix.to_ascii_lowercase())).flatten()
}

fn unknown(variable: &str) -> ConfigError {
    let candidates = SETTINGS.iter().map(Setting::variable).chain([CONFIG_VARIABLE.to_owned()]);
    let meant = nearest(&variable.to_ascii_uppercase(), candidates);
    ConfigError::UnknownVariable { variable: variable.to_owned(), meant }
}

/// Whether Kubernetes set the variable because a Service of the namespace is called `doorbuster` or
/// `doorbuster-…`: `{SVC}_SERVICE_HOST`, `{SVC}_SERVICE_PORT[_NAME]`, `{SVC}_PORT[_8080_TCP[_ADDR…]]`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
/// Without this, such a Service would keep its own pods from starting.
fn is_service_link(suffix: &str, value: &OsStr) -> bool {
    let is_under = |mark| suffix.starts_with(mark) || suffix.contains(&format!("_{mark}"));
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.to_str().is_some_and(|value| value.starts_with(scheme)));
    is_under("SERVICE_HOST")
        || is_under("SERVICE_PORT")
        || (suffix == "PORT" || suffix.ends_with("_PORT")) && is_address
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
            suffix.split_once(protocol).is_some_and(|(port, _)| {
                let number = port.rsplit_once("PORT_").map(|(_, number)| number);
                number.is_some_and(|number| number.parse::<u16>().is_ok())
            })
        })
}
