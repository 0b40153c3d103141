//! The command line of the chaos tests. Exit codes: 0 every promise held, 1 one was broken or a fault did not fire, 2 the
//! run itself failed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chaos::deployment::DeploymentOptions;
use chaos::event::EventReport;
use chaos::faults;
use chaos::runner::{Plan, run};
use clap::Parser;

/// Breaks a Doorbuster under traffic, and checks what it promised
#[derive(Debug, Parser)]
struct Arguments {
    /// For how long events begin (seconds); without it each fault runs once
    #[arg(long)]
    seconds: Option<u64>,
    /// Decides the order of the faults and everything random in them; drawn where none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults of these kinds (may be repeated)
    #[arg(long = "fault")]
    faults: Vec<String>,
    /// Partitions
    #[arg(long, default_value_t = 1)]
    partitions: u8,
    /// For FAILPOINTS of every node: takes a protection out, to see the checker notice
    #[arg(long, default_value = "")]
    failpoints: String,
    /// Writes the report there, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Lists the kinds of faults
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        faults::kinds().iter().for_each(|kind| println!("{kind}"));
        return ExitCode::SUCCESS;
    }
    let plan = plan(&arguments);
    println!("seed {}", plan.seed);
    let report = tokio::select! {
        report = run(&plan, tell) => report,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("interrupted");
            return ExitCode::from(2);
        }
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    println!("\nseed {}\n{}", report.seed, report.table());
    report.complaints().iter().for_each(|complaint| println!("{complaint}"));
    if let Some(path) = arguments.json {
        let written = serde_json::to_vec_pretty(&report).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|text| std::fs::write(&path, text)) {
            eprintln!("error: write {}: {error}", path.display());
            return ExitCode::from(2);
        }
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(arguments: &Arguments) -> Plan {
    let all = || faults::kinds().into_iter().map(str::to_owned).collect();
    Plan {
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
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
    let verdict = if event.is_good() { "ok" } else { "BROKEN" };
    let ms = |time: Option<u64>| time.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"));
    println!(
        "{verdict:6} {:32} {:5} requests, {:4} orders, first after {}, drained after {}: {}",
        event.kind,
        event.attempts,
        event.findings.acknowledged,
        ms(event.first_order_ms),
        ms(event.drained_ms),
        event.evidence,
    );
}
