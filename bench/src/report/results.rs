//! A run of the benchmark as a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::statistics::{Spread, spread};
use crate::cases::{Case, Profile};
use crate::drive::Sample;
use crate::machine::{self, Machine};
use crate::stage::POSTGRES_SETTINGS;

/// A run of the benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// When it began.
    pub taken_at: jiff::Timestamp,
    /// Which cases, how long.
    pub profile: Profile,
    /// Of the code.
    pub commit: String,
    /// On what.
    pub machine: Machine,
    /// With what.
    pub versions: BTreeMap<String, String>,
    /// Of the servers, beside the durable ones: the same for the engine and every peer.
    pub settings: BTreeMap<String, String>,
    /// The cases as they were run.
    pub cases: BTreeMap<String, Case>,
    /// Everything that was seen.
    pub samples: Vec<Sample>,
}

/// A file of results that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it holds.
    #[error("{} holds no results of this benchmark: {source}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Node draws the charts of the README.
    #[error("the charts were not drawn: {0}")]
    Charts(String),
}

impl Results {
    /// Of a run that begins now.
    pub fn begin(profile: Profile) -> Self {
        let durable = [
            ("redis.appendfsync", "always"),
            ("postgres.fsync", "on"),
            ("postgres.synchronous_commit", "on"),
        ];
        let sizes = POSTGRES_SETTINGS.map(|(name, value)| (format!("postgres.{name}"), value.to_owned()));
        let settings = durable.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            taken_at: jiff::Timestamp::now(),
            profile,
            commit: machine::commit(),
            machine: Machine::here(),
            versions: machine::versions(),
            settings: settings.chain(sizes).collect(),
            cases: BTreeMap::new(),
            samples: Vec::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ResultsError`].
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let text = std::fs::read(path).map_err(|source| ResultsError::file(path, source))?;
        serde_json::from_slice(&text)
            .map_err(|source| ResultsError::Content { path: path.to_path_buf(), source })
    }

    /// Writes a file into `dir`, named for its time; its path.
    ///
    /// # Errors
    /// [`ResultsError`].
    pub fn write(&self, dir: &Path) -> Result<PathBuf, ResultsError> {
        let stamp = self.taken_at.strftime("%Y%m%dT%H%M%SZ");
        let path = dir.join(format!("{}-{stamp}.json", self.profile.name()));
        write_json(&path, self)?;
        Ok(path)
    }

    /// The numbers of one figure, by round.
    pub fn figure<'a>(
        &'a self,
        case: &'a str,
        subject: &'a str,
        figure: &'a str,
    ) -> impl Iterator<Item = (u32, f64)> + 'a {
        let of = move |sample: &&Sample| sample.case == case && sample.subject == subject;
        let number = move |sample: &Sample| Some((sample.round, *sample.figures.get(figure)?));
        self.samples.iter().filter(of).filter_map(number)
    }

    /// The median of one figure.
    pub fn median(&self, case: &str, subject: &str, figure: &str) -> Option<Spread> {
        spread(self.figure(case, subject, figure).map(|(_, number)| number))
    }

    /// One figure against another, each round by itself: what the machine did meanwhile met both.
    pub fn ratio(&self, case: &str, of: (&str, &str), to: (&str, &str)) -> Option<Spread> {
        let below: BTreeMap<u32, f64> = self.figure(case, to.0, to.1).collect();
        let ratios = self
            .figure(case, of.0, of.1)
            .filter_map(|(round, number)| Some(number / below.get(&round).filter(|below| **below > 0.0)?));
        spread(ratios)
    }

    /// Samples whose outcome was wrong.
    pub fn faults(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| !sample.faults.is_empty())
    }
}

impl ResultsError {
    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }
}

/// Writes JSON for people and programs.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ResultsError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|source| ResultsError::Content { path: path.to_path_buf(), source })?;
    std::fs::write(path, text + "\n").map_err(|source| ResultsError::file(path, source))
}

/// Case, subject, round and figures of a sample.
#[cfg(test)]
pub(super) type Given<'a> = (&'a str, &'a str, u32, &'a [(&'a str, f64)]);

#[cfg(test)]
pub(super) fn results_of(samples: &[Given<'_>]) -> Results {
    let mut results = Results::begin(Profile::Smoke);
    for (case, subject, round, figures) in samples {
        let mut sample = Sample::new(case, *subject, *round);
        for (name, value) in *figures {
            sample.set(*name, *value);
        }
        results.samples.push(sample);
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine is half as fast in the second round; the share is the same.
        let results = results_of(&[
            ("accept", "engine", 1, &[("x", 40.0)]),
            ("accept", "bare", 1, &[("y", 100.0)]),
            ("accept", "engine", 2, &[("x", 20.0)]),
            ("accept", "bare", 2, &[("y", 50.0)]),
            ("accept", "engine", 3, &[("x", 1000.0)]),
        ]);
        let share = results.ratio("accept", ("engine", "x"), ("bare", "y")).unwrap();
        assert_eq!((share.median, share.count), (0.4, 2));
        assert!(results.ratio("accept", ("engine", "x"), ("bare", "z")).is_none());
    }

    #[test]
    fn a_file_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let results = results_of(&[("accept", "engine", 1, &[("x", 1.5)])]);
        let path = results.write(dir.path()).unwrap();
        let read = Results::read(&path).unwrap();
        assert_eq!(read.median("accept", "engine", "x").unwrap().median, 1.5);
        assert!(Results::read(&dir.path().join("none")).is_err());
    }
}
