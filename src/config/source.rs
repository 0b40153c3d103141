//! Where values come from, and which of them wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::error::{ConfigError, ConfigErrors};
use super::setting::Setting;
use super::table::{SETTINGS, Settings};
use super::{environment, file, relation};

/// Everything that can give a value, the default apart. Not `Debug`: it holds secrets as they came.
#[derive(Default)]
pub struct Sources {
    /// Flags that were given, each with its text.
    pub flags: Vec<(&'static Setting, String)>,
    /// The file named by `--config`; without it, `DOORBUSTER_CONFIG` may name one.
    pub file: Option<PathBuf>,
    /// The environment. Variables that do not begin with `DOORBUSTER_` are not looked at.
    pub environment: Vec<(OsString, OsString)>,
}

/// Who gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A key of the file.
    File {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, without its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, key } => write!(f, "{file}:{key}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// Text given for settings, by name; a later insert beats an earlier one.
pub(super) type Given = BTreeMap<&'static str, (Origin, String)>;

/// The settings in effect, and who gave each of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The settings.
    pub settings: Settings,
    /// The origins that are not the default, by name.
    origins: BTreeMap<&'static str, Origin>,
}

impl Effective {
    /// Who gave a setting its value.
    pub fn origin(&self, setting: &Setting) -> &Origin {
        self.origins.get(setting.name).unwrap_or(&Origin::Default)
    }
}

impl Sources {
    /// Reads the file, lets the sources override each other, and validates what wins.
    ///
    /// # Errors
    /// [`ConfigErrors`] with all that is wrong. A value that another one overrides is not judged.
    pub fn load(&self) -> Result<Effective, ConfigErrors> {
        let mut errors = Vec::new();
        let (variables, named_file) = environment::read(&self.environment, &mut errors);
        let path = self.file.as_ref().map(|path| (path.clone(), "--config"));
        let mut given = match path.or(named_file.map(|path| (path, environment::CONFIG_VARIABLE))) {
            Some((path, given_by)) => file::read(&path, given_by, &mut errors),
            None => Given::new(),
        };
        given.extend(variables);
        given.extend(
            self.flags
                .iter()
                .map(|(setting, text)| (setting.name, (Origin::Flag(setting.flag()), text.clone()))),
        );
        judge(given, errors)
    }
}

fn judge(mut given: Given, mut errors: Vec<ConfigError>) -> Result<Effective, ConfigErrors> {
    let mut effective = Effective { settings: Settings::default(), origins: BTreeMap::new() };
    let mut refused = Vec::new();
    for setting in SETTINGS {
        let Some((origin, text)) = given.remove(setting.name) else { continue };
        if setting.set(&mut effective.settings, &text) {
            effective.origins.insert(setting.name, origin);
        } else {
            refused.push(setting.name);
            errors.push(ConfigError::value(setting, &text, origin));
        }
    }
    relation::check(&effective, &refused, &mut errors);
    ConfigErrors::check(errors).map(|()| effective)
}
