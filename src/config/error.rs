//! What can be wrong with a configuration, said so that it can be put right.

use std::fmt;

use super::setting::Setting;
use super::source::Origin;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value that its setting does not allow.
    #[error("{setting}: {value:?} from {origin} is not allowed; give {allowed}")]
    Value {
        /// Name of the setting.
        setting: &'static str,
        /// What was given, masked where it is secret.
        value: String,
        /// Who gave it.
        origin: Origin,
        /// What may be given.
        allowed: String,
    },
    /// Values that are allowed alone, but not together.
    #[error("{values}: {rule}")]
    Relation {
        /// Each setting with its value and origin.
        values: String,
        /// What has to hold.
        rule: &'static str,
    },
    /// A key of the file that is no setting.
    #[error("{file}:{key}: there is no such setting{}; remove the key", did_you_mean(.meant))]
    UnknownKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// A key much like it.
        meant: Option<String>,
    },
    /// A `DOORBUSTER_*` variable that is no setting.
    #[error("{variable}: there is no such setting{}; unset the variable", did_you_mean(.meant))]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// A variable much like it.
        meant: Option<String>,
    },
    /// A variable that is not text.
    #[error("{variable}: its value is not UTF-8; set it to text")]
    NotUnicode {
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("{file}: {reason}; give the path of a readable TOML file to {given_by}")]
    FileUnreadable {
        /// The file.
        file: String,
        /// What the system says.
        reason: String,
        /// The flag or variable that named the file.
        given_by: String,
    },
    /// The file is not TOML. The line itself is not shown: it may hold a secret.
    #[error("{file}:{line}: {reason}; the file must be TOML (https://toml.io)")]
    FileSyntax {
        /// The file.
        file: String,
        /// Number of the line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn value(setting: &'static Setting, text: &str, origin: Origin) -> Self {
        Self::Value { setting: setting.name, value: (setting.mask)(text), origin, allowed: setting.allowed() }
    }
}

fn did_you_mean(meant: &Option<String>) -> String {
    meant.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// Names this many edits apart are still taken for slips of the hand.
const SLIPS_MAX: usize = 4;

/// The candidate most like `name`, where one is alike enough to be what was meant.
pub(super) fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate))
        .filter(|(slips, candidate)| *slips <= SLIPS_MAX.min(candidate.len() / 3))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// All that is wrong with a configuration, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Ok` where nothing is wrong.
    pub(super) fn check(errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used")?;
        self.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}
