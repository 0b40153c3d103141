//! The cases: each a file of its own, with its parameters and what a shorter profile changes in them.

mod profile;

pub use profile::Profile;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::load::Mix;
use crate::stage::{Ack, EngineSettings};

/// The files, in the order in which they run.
const FILES: [(&str, &str); 12] = [
    ("accept", include_str!("../../cases/accept.toml")),
    ("sold-out", include_str!("../../cases/sold-out.toml")),
    ("backlog", include_str!("../../cases/backlog.toml")),
    ("drop", include_str!("../../cases/drop.toml")),
    ("mixed", include_str!("../../cases/mixed.toml")),
    ("latency", include_str!("../../cases/latency.toml")),
    ("many-sales", include_str!("../../cases/many-sales.toml")),
    ("many-skus", include_str!("../../cases/many-skus.toml")),
    ("ack-memory", include_str!("../../cases/ack-memory.toml")),
    ("ack-fsync", include_str!("../../cases/ack-fsync.toml")),
    ("ack-replica", include_str!("../../cases/ack-replica.toml")),
    ("long", include_str!("../../cases/long.toml")),
];

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every connection busy, for a time.
    Steady,
    /// Buyers arrive within seconds for less stock than there are buyers.
    Burst,
    /// The worker is frozen for a time; then it drains what has gathered.
    Backlog,
    /// A closed loop to find the most, then arrivals at shares of it.
    Sweep,
    /// Many orders, watched from the first to the last; then some more, beside a new engine.
    Long,
}

/// A case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows, in a sentence.
    pub about: String,
    /// How it is run.
    pub kind: Kind,
    /// What is measured, in turns: `engine`, `one-sku`, a peer's name, or a limit's.
    pub subjects: Vec<String>,
    /// How often.
    pub rounds: u32,
    /// Whether `make bench` runs it too.
    #[serde(default)]
    pub headline: bool,
    /// What is for sale.
    #[serde(default)]
    pub sale: SaleShape,
    /// What is sent.
    pub load: LoadShape,
    /// Shares of it.
    #[serde(default)]
    pub mix: Mix,
    /// How the engine is run.
    #[serde(default)]
    pub engine: EngineShape,
}

/// What is for sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaleShape {
    /// Sales.
    pub sales: usize,
    /// SKUs in each.
    pub skus: usize,
    /// Units of each SKU in each sale.
    pub stock: u64,
    /// All units are sold before the measurement begins.
    pub sold_out: bool,
}

impl Default for SaleShape {
    fn default() -> Self {
        Self { sales: 1, skus: 1, stock: 1_000_000_000, sold_out: false }
    }
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadShape {
    /// Open connections.
    pub connections: usize,
    /// Threads of the load generator.
    #[serde(default = "two")]
    pub threads: usize,
    /// How long; for a burst, within what time all buyers arrive.
    pub seconds: f64,
    /// How long the queue-first peer is loaded: it accepts more in a second than it decides in ten.
    #[serde(default)]
    pub queue_first_seconds: Option<f64>,
    /// Claims, where their number is what ends it.
    #[serde(default)]
    pub claims: Option<u64>,
    /// Of a long run: what is sent afterwards, to see what its orders cost the next ones.
    #[serde(default)]
    pub afterwards: Option<Afterwards>,
    /// Of a sweep: arrivals as shares of the most.
    #[serde(default)]
    pub shares: Vec<f64>,
    /// Units that a peer with a row for each unit gets.
    #[serde(default = "peer_units")]
    pub peer_units_max: u64,
    /// Streams of events that are open on the first sale of the engine meanwhile, besides the connections.
    #[serde(default)]
    pub watchers: usize,
    /// Also count system calls, in runs of their own.
    #[serde(default)]
    pub syscalls: bool,
}

/// Loads that follow a long run: one on the engine that has its orders, one on a new engine, and so on in turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Afterwards {
    /// How often each.
    pub rounds: u32,
    /// Claims of each.
    pub claims: u64,
}

fn two() -> usize {
    2
}

fn peer_units() -> u64 {
    200_000
}

/// How the engine is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineShape {
    /// What holds an order before its 202.
    pub ack: Ack,
    /// Further settings.
    pub settings: BTreeMap<String, String>,
}

impl EngineShape {
    /// What it is started with.
    pub fn settings(&self) -> EngineSettings {
        EngineSettings { ack: self.ack, settings: self.settings.clone() }
    }
}

/// A case that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// No file of that name.
    #[error("there is no case {0:?}; \"bench cases\" lists them")]
    Unknown(String),
    /// The file.
    #[error("cases/{name}.toml: {source}")]
    File {
        /// Which.
        name: String,
        /// What is wrong.
        source: toml::de::Error,
    },
}

/// The names of all cases.
pub fn names() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

/// A case as a profile runs it.
///
/// # Errors
/// [`CaseError`].
pub fn load(name: &str, profile: Profile) -> Result<Case, CaseError> {
    let (_, text) =
        FILES.iter().find(|(known, _)| *known == name).ok_or_else(|| CaseError::Unknown(name.to_owned()))?;
    read(text, profile).map_err(|source| CaseError::File { name: name.to_owned(), source })
}

fn read(text: &str, profile: Profile) -> Result<Case, toml::de::Error> {
    let mut table: Table = toml::from_str(text)?;
    let changes = table.remove("profile");
    if let Some(Value::Table(mut changes)) = changes
        && let Some(Value::Table(changes)) = changes.remove(profile.name())
    {
        merge(&mut table, changes);
    }
    table.try_into()
}

fn merge(table: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Value::Table(table)), Value::Table(changes)) => merge(table, changes),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Subject;

    #[test]
    fn every_case_can_be_read_in_every_profile() {
        for name in names() {
            for profile in [Profile::Headline, Profile::Full, Profile::Smoke] {
                let case = load(name, profile).unwrap();
                assert!(case.rounds > 0 && case.load.connections > 0, "{name}");
                for subject in &case.subjects {
                    assert!(Subject::named(subject).is_some(), "{name}: {subject}");
                }
            }
            let smoke = load(name, Profile::Smoke).unwrap();
            assert!(smoke.rounds == 1 && smoke.load.seconds <= 1.0, "{name} is too long for a smoke test");
        }
        assert!(matches!(load("nonsense", Profile::Full), Err(CaseError::Unknown(_))));
    }

    #[test]
    fn every_file_is_a_case() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut files: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let mut known = names();
        known.sort_unstable();
        assert_eq!(files, known);
    }

    #[test]
    fn a_profile_changes_only_what_it_names() {
        let text = "about = 'x'\nkind = 'steady'\nsubjects = ['engine']\nrounds = 5\n\
                    [load]\nconnections = 8\nseconds = 9.0\n[profile.smoke]\nrounds = 1\n[profile.smoke.load]\nseconds = 1.0\n";
        let (full, smoke) = (read(text, Profile::Full).unwrap(), read(text, Profile::Smoke).unwrap());
        assert_eq!((full.rounds, full.load.seconds), (5, 9.0));
        assert_eq!((smoke.rounds, smoke.load.seconds, smoke.load.connections), (1, 1.0, 8));
    }
}
