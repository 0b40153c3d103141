//! The real binary, on the servers of a world.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::support::World;

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub error: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {} {}", self.out, self.error))
    }

    /// One JSON object on each line.
    pub fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The binary with the settings of this world and nothing of this process's.
pub fn command(world: &World, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DOORBUSTER_") {
            command.env_remove(name);
        }
    }
    command
        .env("DOORBUSTER_REDIS_URL", world.redis.url())
        .env("DOORBUSTER_POSTGRES_URL", &world.postgres_url)
        .args(words)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub async fn run(world: &World, words: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = command(world, words).output().await.unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        error: String::from_utf8(stderr).unwrap(),
    }
}
