//! What it was measured on, and with what.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// What it was measured on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = value_of(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned();
        let memory = read("/proc/meminfo");
        let kib = value_of(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// Versions of everything that takes part; what is not installed is left out.
pub fn versions() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([("doorbuster".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    for (name, program, argument) in [
        ("redis", "redis-server", "--version"),
        ("postgres", "postgres", "--version"),
        ("node", "node", "--version"),
        ("rustc", "rustc", "--version"),
    ] {
        versions.extend(first_line(program, argument).map(|line| (name.to_owned(), line)));
    }
    for (peer, package) in [
        ("bullmq-lock", include_str!("../peers/bullmq-lock/package.json")),
        ("lua-bullmq", include_str!("../peers/lua-bullmq/package.json")),
    ] {
        let package: serde_json::Value = serde_json::from_str(package).unwrap_or_default();
        for (name, version) in package["dependencies"].as_object().into_iter().flatten() {
            versions.insert(format!("{peer}: {name}"), version.as_str().unwrap_or_default().to_owned());
        }
    }
    versions
}

/// The commit that is checked out, with a mark where files differ from it; empty outside a repository.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let dir = env!("CARGO_MANIFEST_DIR");
        let output = Command::new("git").args(["-C", dir]).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{commit}, changed"),
        _ => commit,
    }
}

fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}
