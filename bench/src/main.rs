//! Measures Doorbuster: its cases, their cost, the limits beside them and the peers. See bench/README.md.

mod cases;
mod check;
mod cost;
mod drive;
mod limits;
mod load;
mod machine;
mod report;
mod stage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cases::{CaseError, Profile};
use crate::drive::{DriveError, Driver};
use crate::report::{Results, ResultsError};

/// Measures Doorbuster: honest, reproducible, beside its limits and its peers.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run cases, by default all of the profile
    Run {
        /// Names of cases; see `cases`
        cases: Vec<String>,
        /// How long it may take
        #[arg(long, value_enum, default_value = "headline")]
        profile: Profile,
        /// Where the data of the servers lies: on the storage to be measured
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Where the results go
        #[arg(long, value_name = "DIR", default_value = "bench/results")]
        results: PathBuf,
        /// Leave this subject out, such as a peer whose packages cannot be installed; may be repeated
        #[arg(long, value_name = "SUBJECT")]
        without: Vec<String>,
    },
    /// List the cases
    Cases,
    /// Print how the second result differs from the first
    Compare {
        /// A result
        a: PathBuf,
        /// Another
        b: PathBuf,
    },
    /// Write the page and the charts of a result once more
    Report {
        /// A result
        result: PathBuf,
        /// Also draw the README's charts into this directory
        #[arg(long, value_name = "DIR")]
        svg: Option<PathBuf>,
    },
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("cannot {0}: {1}")]
    Io(&'static str, std::io::Error),
    #[error("{0} runs had a wrong outcome: they have no figures")]
    Faults(usize),
    #[error("interrupted: servers and processes are ended")]
    Interrupted,
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(self) -> Result<(), BenchError> {
        match self {
            Self::Run { cases, profile, data_dir, results, without } => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| BenchError::Io("start the runtime", error))?;
                runtime.block_on(async {
                    // Dropping the run ends everything that it has started.
                    tokio::select! {
                        done = run(cases, profile, data_dir, &results, &without) => done,
                        _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
                    }
                })
            }
            Self::Cases => {
                for name in cases::names() {
                    println!("{name:<12} {}", cases::load(name, Profile::Full)?.about);
                }
                Ok(())
            }
            Self::Compare { a, b } => {
                println!("{}", report::compare(&Results::read(&a)?, &Results::read(&b)?));
                Ok(())
            }
            Self::Report { result, svg } => {
                let page = report::write_page(&Results::read(&result)?, &result)?;
                println!("{}", page.display());
                if let Some(dir) = svg {
                    report::write_svgs(&result, &dir)?;
                }
                Ok(())
            }
        }
    }
}

async fn run(
    names: Vec<String>,
    profile: Profile,
    data_dir: Option<PathBuf>,
    into: &Path,
    without: &[String],
) -> Result<(), BenchError> {
    let base = data_dir.unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(into).map_err(|error| BenchError::Io("make the directory of results", error))?;
    let driver = Driver::new(base);
    let mut results = Results::begin(profile);
    // A part of the cases gives a part of the headline, and other lengths give another one: neither replaces that of `make bench`.
    let is_the_headline = profile == Profile::Headline && names.is_empty() && without.is_empty();
    for name in chosen(names, profile)? {
        let mut case = cases::load(&name, profile)?;
        case.subjects.retain(|subject| !without.contains(subject));
        driver.note(&format!("{name}: {}", case.about));
        results.samples.extend(driver.run(&name, &case).await?);
        results.cases.insert(name, case);
    }
    let path = results.write(into)?;
    println!("{}", report::table(&results));
    let headline = report::headline(&results);
    if profile != Profile::Smoke && !headline.is_empty() {
        println!("{}", report::headline_table(&headline));
        if is_the_headline {
            report::write_json(&into.join("headline.json"), &headline)?;
        }
    }
    let page = report::write_page(&results, &path)?;
    println!("results {}\nreport  {}", path.display(), page.display());
    match results.faults().count() {
        0 => Ok(()),
        faults => Err(BenchError::Faults(faults)),
    }
}

/// The cases to run: those that were named, else all of the profile.
fn chosen(names: Vec<String>, profile: Profile) -> Result<Vec<String>, CaseError> {
    if !names.is_empty() {
        return Ok(names);
    }
    let mut chosen = Vec::new();
    for name in cases::names() {
        if profile != Profile::Headline || cases::load(name, profile)?.headline {
            chosen.push(name.to_owned());
        }
    }
    Ok(chosen)
}
