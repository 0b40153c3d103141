//! What a setting is: a row of the table, and the macro that turns the table into [`Settings`].

use super::table::Settings;
use super::value::Shown;

/// Begins the name of each environment variable.
pub const VARIABLE_PREFIX: &str = "DOORBUSTER_";

/// One row of the table: all that is known of a setting.
pub struct Setting {
    /// Name, and key in the TOML file.
    pub name: &'static str,
    /// Heading under which help and docs show it.
    pub section: &'static str,
    /// Smallest and largest value, of numbers.
    pub bounds: Bounds,
    /// Whether its value, or a part of it, may not be shown.
    pub secret: bool,
    pub(super) doc: &'static str,
    pub(super) allowed: fn(Bounds) -> String,
    pub(super) mask: fn(&str) -> String,
    pub(super) set: fn(&mut Settings, &str, Bounds) -> bool,
    pub(super) show: fn(&Settings) -> Shown,
}

impl Setting {
    /// The row of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        super::SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// Its environment variable: `DOORBUSTER_REDIS_URL`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Its flag, without the dashes: `redis-url`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// What it does, in one sentence.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// What its value may be, to be read after "give".
    pub fn allowed(&self) -> String {
        (self.allowed)(self.bounds)
    }

    /// Its value in `settings`, masked where it is secret.
    pub fn show(&self, settings: &Settings) -> Shown {
        (self.show)(settings)
    }

    /// Sets it from text; `false` where the text is not allowed.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> bool {
        (self.set)(settings, text, self.bounds)
    }
}

/// The range of a number, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Smallest.
    pub min: u64,
    /// Largest.
    pub max: u64,
    /// What is counted, in the plural; empty for what is no number.
    pub unit: &'static str,
}

impl Bounds {
    /// Of a setting that is no number.
    pub const NONE: Self = Self { min: 0, max: u64::MAX, unit: "" };
}

/// Declares the settings: from each row come a field of `Settings`, its default and its [`Setting`].
macro_rules! settings {
    ($( $section:literal { $(
        #[doc = $doc:literal]
        $name:ident: $kind:ty = $default:expr $(, $min:literal ..= $max:literal $unit:literal)?;
    )+ } )+) => {
        /// All settings, validated where they came from [`Sources`](super::Sources). Names end in
        /// their unit.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Settings { $($(
            #[doc = $doc]
            pub $name: $kind,
        )+)+ }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($( $name: $default, )+)+ }
            }
        }

        /// Every setting, in the order in which it is shown.
        pub static SETTINGS: &[Setting] = &[ $($( Setting {
            name: stringify!($name),
            section: $section,
            bounds: settings!(@bounds $($min, $max, $unit)?),
            secret: <$kind as Value>::SECRET,
            doc: $doc,
            allowed: <$kind as Value>::allowed,
            mask: <$kind as Value>::mask,
            set: |settings, text, bounds| {
                <$kind as Value>::parse(text, bounds).map(|value| settings.$name = value).is_some()
            },
            show: |settings| settings.$name.shown(),
        }, )+)+ ];
    };
    (@bounds) => { Bounds::NONE };
    (@bounds $min:literal, $max:literal, $unit:literal) => {
        Bounds { min: $min, max: $max, unit: $unit }
    };
}
pub(super) use settings;
