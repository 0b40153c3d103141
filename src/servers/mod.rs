//! Private Redis, Sentinel and PostgreSQL servers for one process: `doorbuster dev` and the tests.
//!
//! Each server runs as a foreground child in its own process group (the terminal's Ctrl-C
//! reaches us alone, and we stop the servers in order), on 127.0.0.1, with the durable settings
//! that the engine demands. Three things keep the machine clean:
//!
//! - a *guard* process (`guard`) ends the server when ours dies, `kill -9` included;
//! - a *lock* (`data_dir`) held by the server itself keeps a second server out of the same
//!   data until the first is really gone;
//! - dropping a server without `stop()` ends it too.

mod binaries;
mod data_dir;
mod database;
mod error;
mod guard;
mod pg_cluster;
mod ports;
mod postgres;
mod process;
mod redis;
mod sentinel;
mod user;

pub use data_dir::dev_data_dir;
pub use error::ServersError;
pub use ports::free_port;
pub use postgres::{PostgresOptions, PrivatePostgres};
pub use redis::{PrivateRedis, RedisOptions};
pub use sentinel::{PrivateSentinel, SentinelOptions};
