//! How each type of setting is read from text and shown again.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::header::HeaderName;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::setting::Bounds;

/// A type that a setting can have. Every source gives text, so there is one way to read it.
pub(super) trait Value: Sized {
    /// Whether a value, or a part of it, may not be shown.
    const SECRET: bool = false;

    /// Reads a value; `None` where it is not [`allowed`](Value::allowed).
    fn parse(text: &str, bounds: Bounds) -> Option<Self>;

    /// What may be given, to be read after "give".
    fn allowed(bounds: Bounds) -> String;

    /// The value as it may be shown.
    fn shown(&self) -> Shown;

    /// Text that was meant as a value, as it may be shown.
    fn mask(text: &str) -> String {
        text.to_owned()
    }
}

/// A value as it may be shown, secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// A number.
    Number(u64),
    /// Any other value.
    Text(String),
    /// An optional setting that is not set.
    Unset,
}

impl Shown {
    /// As a TOML value; what is not set is the empty string, which reads as "not set" again.
    pub fn to_toml(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => toml::Value::String(text.clone()).to_string(),
            Self::Unset => "\"\"".to_owned(),
        }
    }
}

impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;

    /// Empty text is "not set", so that a variable can take back what the file sets.
    fn parse(text: &str, bounds: Bounds) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::parse(text, bounds).map(Some) }
    }

    fn allowed(bounds: Bounds) -> String {
        format!("{}; or nothing", T::allowed(bounds))
    }

    fn shown(&self) -> Shown {
        self.as_ref().map_or(Shown::Unset, T::shown)
    }

    fn mask(text: &str) -> String {
        T::mask(text)
    }
}

macro_rules! number {
    ($($kind:ty),+) => { $(
        impl Value for $kind {
            fn parse(text: &str, bounds: Bounds) -> Option<Self> {
                let number = text.parse().ok().filter(|n| (bounds.min..=bounds.max).contains(n))?;
                Self::try_from(number).ok()
            }

            fn allowed(bounds: Bounds) -> String {
                format!("a whole number of {} from {} to {}", bounds.unit, bounds.min, bounds.max)
            }

            fn shown(&self) -> Shown {
                // Bounds keep every value far below the largest u64.
                Shown::Number(u64::try_from(*self).unwrap_or(u64::MAX))
            }
        }
    )+ };
}
number!(u8, u32, u64, usize, Millis, Seconds);

macro_rules! time_span {
    ($name:ident, $unit:literal, $to_duration:path) => {
        #[doc = concat!("A span of time in whole ", $unit, ".")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            #[doc = concat!("A span of so many ", $unit, ".")]
            pub const fn new(count: u64) -> Self {
                Self(count)
            }

            #[doc = concat!("The number of ", $unit, ".")]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The span as the standard library has it.
            pub const fn duration(self) -> Duration {
                $to_duration(self.0)
            }
        }

        impl From<u64> for $name {
            fn from(count: u64) -> Self {
                Self(count)
            }
        }

        impl From<$name> for u64 {
            fn from(span: $name) -> Self {
                span.0
            }
        }
    };
}
time_span!(Millis, "milliseconds", Duration::from_millis);
time_span!(Seconds, "seconds", Duration::from_secs);

/// Which log lines are written: directives of `tracing_subscriber::EnvFilter`, known to parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Everything from level info up.
    pub fn info() -> Self {
        Self("info".to_owned())
    }

    /// Keeps the directives; `None` where they do not parse.
    pub fn new(directives: &str) -> Option<Self> {
        let parses = !directives.trim().is_empty() && EnvFilter::try_new(directives).is_ok();
        parses.then(|| Self(directives.to_owned()))
    }

    /// The directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for LogFilter {
    fn parse(text: &str, _: Bounds) -> Option<Self> {
        Self::new(text)
    }

    fn allowed(_: Bounds) -> String {
        "a level, or directives such as info,doorbuster=debug".to_owned()
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

impl Value for SocketAddr {
    fn parse(text: &str, _: Bounds) -> Option<Self> {
        text.parse().ok()
    }

    fn allowed(_: Bounds) -> String {
        "an IP address and a port, such as 0.0.0.0:8080 or [::]:8080".to_owned()
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl Value for HeaderName {
    fn parse(text: &str, _: Bounds) -> Option<Self> {
        text.parse().ok()
    }

    fn allowed(_: Bounds) -> String {
        "the name of an HTTP header, such as x-buyer-id".to_owned()
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.as_str().to_owned())
    }
}
