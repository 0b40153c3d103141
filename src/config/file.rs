//! Values from a TOML file.

use std::path::Path;

use super::error::{ConfigError, nearest};
use super::setting::Setting;
use super::source::{Given, Origin};
use super::table::SETTINGS;

/// The values of the file at `path`, which `given_by` named.
pub(super) fn read(path: &Path, given_by: &str, errors: &mut Vec<ConfigError>) -> Given {
    // A path goes into messages and comments of one line.
    let file = path.to_string_lossy().escape_debug().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text, errors),
        Err(error) => {
            let (reason, given_by) = (error.to_string(), given_by.to_owned());
            errors.push(ConfigError::FileUnreadable { file, reason, given_by });
            Given::new()
        }
    }
}

fn parse(file: &str, text: &str, errors: &mut Vec<ConfigError>) -> Given {
    let mut given = Given::new();
    let table: toml::Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            // Not the error's own display: that quotes the line, and the line may hold a secret.
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            let reason = error.message().to_owned();
            errors.push(ConfigError::FileSyntax { file: file.to_owned(), line, reason });
            return given;
        }
    };
    for (key, value) in table {
        let Some(setting) = Setting::named(&key) else {
            let meant = nearest(&key, SETTINGS.iter().map(|setting| setting.name.to_owned()));
            errors.push(ConfigError::UnknownKey { file: file.to_owned(), key, meant });
            continue;
        };
        let text = match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        given.insert(setting.name, (Origin::File { file: file.to_owned(), key: setting.name }, text));
    }
    given
}
