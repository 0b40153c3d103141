//! The command line of the chaos tests. Exit codes: 0 every promise held, 1 one was broken or a fault did not fire, 2 the
//! run itself failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chaos::deployment::DeploymentOptions;
use chaos::event::EventReport;
use chaos::faults;
use chaos::report::{RunRecord, Total};
use chaos::runner::{Plan, run};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Breaks a Doorbuster under traffic, and checks what it promised
#[derive(Debug, Parser)]
struct Arguments {
    /// For how long events begin (seconds); without it each fault runs once
    #[arg(long)]
    seconds: Option<u64>,
    /// Decides the order of the faults and everything random in them; drawn where none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Deployments side by side: most of the time of an event is waiting
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    lanes: u8,
    /// Only faults of these kinds (may be repeated)
    #[arg(long = "fault", value_parser = PossibleValuesParser::new(faults::kinds()), hide_possible_values = true)]
    faults: Vec<String>,
    /// None of these kinds (may be repeated)
    #[arg(
        long = "without",
        conflicts_with = "faults",
        value_parser = PossibleValuesParser::new(faults::kinds()),
        hide_possible_values = true
    )]
    without: Vec<String>,
    /// Partitions
    #[arg(long, default_value_t = 1)]
    partitions: u8,
    /// For FAILPOINTS of every node: takes a protection out, to see the checker notice
    #[arg(long, default_value = "")]
    failpoints: String,
    /// Writes the report there, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Keeps what came of it in a file of its own in this directory
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Runs nothing: adds up what was kept in this directory
    #[arg(long, value_name = "DIR")]
    sum: Option<PathBuf>,
    /// With --sum: writes the table there, between its marks
    #[arg(long, value_name = "PAGE", requires = "sum")]
    into: Option<PathBuf>,
    /// Lists the kinds of faults
    #[arg(long)]
    list: bool,
}

/// Whoever waits for a command of the system keeps a thread.
#[tokio::main(worker_threads = 16)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(dir) = &arguments.sum {
        return sum(dir, arguments.into.as_deref());
    }
    if arguments.list {
        faults::kinds().iter().for_each(|kind| println!("{kind}"));
        return ExitCode::SUCCESS;
    }
    let plan = plan(&arguments);
    println!("seed {}, lanes {}", plan.seed, plan.lanes);
    let began = Instant::now();
    let report = tokio::select! {
        report = run(&plan, tell) => report,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("interrupted");
            return ExitCode::from(2);
        }
    };
    println!("\nseed {}, lanes {}\n{}", report.seed, report.lanes, report.table());
    report.complaints().iter().for_each(|complaint| println!("{complaint}"));
    if let Some(path) = arguments.json {
        let written = serde_json::to_vec_pretty(&report).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|text| std::fs::write(&path, text)) {
            return failed(&path, &error);
        }
    }
    if let Some(dir) = arguments.record {
        let record = RunRecord::of(&report, arguments.partitions, began.elapsed().as_secs());
        if let Err(error) = record.keep(&dir) {
            return failed(&dir, &error);
        }
    }
    match (report.failures.is_empty(), report.is_good()) {
        (false, _) => ExitCode::from(2),
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
    }
}

fn sum(dir: &Path, page: Option<&Path>) -> ExitCode {
    let total = match Total::read(dir) {
        Ok(total) => total,
        Err(error) => return failed(dir, &error),
    };
    match page {
        Some(page) => {
            if let Err(error) = total.write_into(page) {
                return failed(page, &error);
            }
        }
        None => println!("{}", total.markdown()),
    }
    if total.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(path: &Path, error: &std::io::Error) -> ExitCode {
    eprintln!("error: {}: {error}", path.display());
    ExitCode::from(2)
}

fn plan(arguments: &Arguments) -> Plan {
    let all = || {
        let kinds = faults::kinds().into_iter().map(str::to_owned);
        kinds.filter(|kind| !arguments.without.contains(kind)).collect()
    };
    Plan {
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        lanes: arguments.lanes.into(),
        time: arguments.seconds.map(Duration::from_secs),
        kinds: if arguments.faults.is_empty() { all() } else { arguments.faults.clone() },
        deployment: DeploymentOptions {
            partitions: arguments.partitions,
            failpoints: arguments.failpoints.clone(),
            settings: BTreeMap::new(),
            ..DeploymentOptions::default()
        },
    }
}

fn tell(event: &EventReport) {
    let verdict = match (event.findings.is_clean(), event.fired) {
        (true, true) => "ok",
        (true, false) => "unfired",
        (false, _) => "BROKEN",
    };
    let ms = |time: Option<u64>| time.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"));
    println!(
        "{verdict:7} {:32} {:5} requests, {:4} orders, first after {}, drained after {}: {}",
        event.kind,
        event.attempts,
        event.findings.acknowledged,
        ms(event.first_order_ms),
        ms(event.drained_ms),
        event.evidence,
    );
}
