//! Configuration: every setting can be a flag, an environment variable or a key of a TOML file.
//!
//! A flag beats a variable, a variable beats the file, the file beats the default
//! (<https://12factor.net/config>). The module `table` is the one home of the settings; names, flags, help,
//! docs and `doorbuster config` come from it. Whatever is wrong is reported at once, before anything runs.

mod choice;
mod environment;
mod error;
mod file;
mod relation;
mod secret;
mod server_url;
mod setting;
mod show;
mod source;
mod table;
mod value;

pub use choice::{Ack, DurabilityCheck, LogFormat, Role};
pub use error::{ConfigError, ConfigErrors};
pub use secret::{MASK, Secret};
pub use server_url::{GatewayUrl, PostgresUrl, RedisUrl, ServerUrl};
pub use setting::{Bounds, Setting, VARIABLE_PREFIX};
pub use show::settings_markdown;
pub use source::{Effective, Origin, Sources};
pub use table::{SETTINGS, Settings};
pub use value::{LogFilter, Millis, Seconds, Shown};

#[cfg(test)]
mod tests;
