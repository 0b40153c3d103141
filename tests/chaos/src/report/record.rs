//! Runs that are kept, and their sum.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::row::{Row, rows, worst};
use super::{NotRun, RunReport, families};

/// One finished run, kind by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long it took (s).
    pub took_s: u64,
    /// From which all of it follows, together with the lanes.
    pub seed: u64,
    /// Deployments side by side.
    pub lanes: usize,
    /// Of each deployment.
    pub partitions: u8,
    /// Each kind.
    pub kinds: BTreeMap<String, Row>,
    /// What that machine did not permit.
    pub not_run: Vec<NotRun>,
}

impl RunRecord {
    /// Of a run that has ended now.
    pub fn of(report: &RunReport, partitions: u8, took_s: u64) -> Self {
        let kinds = rows(&report.events).into_iter().map(|(kind, row)| (kind.to_owned(), row)).collect();
        Self {
            ended_at: Timestamp::now(),
            took_s,
            seed: report.seed,
            lanes: report.lanes,
            partitions,
            kinds,
            not_run: report.not_run.clone(),
        }
    }

    /// Writes it into a file of its own. Nothing that is there is replaced.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let name = format!("{}-seed-{}.json", self.ended_at.strftime("%Y%m%dT%H%M%SZ"), self.seed);
        let file = fs::File::create_new(dir.join(name))?;
        serde_json::to_writer(&file, self).map_err(io::Error::other)
    }
}

/// Kept runs, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    runs: usize,
    took_s: u64,
    kinds: BTreeMap<String, Row>,
}

const BEGIN: &str = "<!-- chaos results: begin -->";
const END: &str = "<!-- chaos results: end -->";

impl Total {
    /// Adds up what a directory holds.
    ///
    /// # Errors
    /// Where a file cannot be read, or is no record.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let mut total = Self::default();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                total.add(&serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)?);
            }
        }
        Ok(total)
    }

    fn add(&mut self, run: &RunRecord) {
        self.runs += 1;
        self.took_s += run.took_s;
        for (kind, row) in &run.kinds {
            self.kinds.entry(kind.clone()).or_default().join(row);
        }
    }

    /// Whether every fault fired and every promise held.
    pub fn is_good(&self) -> bool {
        self.kinds.values().all(|row| row.fired == row.runs && row.broken.is_empty())
    }

    /// As docs/RELIABILITY.md shows it: each fault, then each of its kinds.
    pub fn markdown(&self) -> String {
        let mut faults = table("fault");
        for (fault, row) in families::add_up(&self.kinds) {
            faults.add_row(cells(fault, &row));
        }
        let (mut kinds, mut all) = (table("kind"), Row::default());
        for (kind, row) in &self.kinds {
            kinds.add_row(cells(kind, row));
            all.join(row);
        }
        faults.add_row(cells("**all**", &all));
        let (runs, hours) = (self.runs, self.took_s as f64 / 3600.0);
        format!(
            "{runs} runs, {hours:.1} hours.\n\n{faults}\n\nThe same by each of the {} kinds of these faults:\n\n{kinds}",
            self.kinds.len()
        )
    }

    /// Writes the table into a page, between its marks.
    ///
    /// # Errors
    /// Where the page cannot be read or written, or has no marks.
    pub fn write_into(&self, page: &Path) -> io::Result<()> {
        let text = fs::read_to_string(page)?;
        let marks = text.find(BEGIN).zip(text.find(END)).filter(|(begin, end)| begin < end);
        let (begin, end) =
            marks.ok_or_else(|| io::Error::other(format!("{} has no {BEGIN} … {END}", page.display())))?;
        let whole = format!("{}{BEGIN}\n\n{}\n\n{}", &text[..begin], self.markdown(), &text[end..]);
        fs::write(page, whole)
    }
}

fn table(of: &str) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        of,
        "events",
        "fired",
        "acks",
        "cancels",
        "destroyed",
        "lost in failover",
        "broken promises",
        "first 202 (ms): median",
        "worst",
        "drained (ms): worst",
    ]);
    table
}

fn cells(kind: &str, row: &Row) -> Vec<String> {
    let counts = [row.runs, row.fired, row.acknowledged, row.cancels, row.destroyed, row.lost_in_failover];
    let broken: Vec<String> =
        row.broken.iter().map(|(broken, times)| format!("{times} {}", broken.heading())).collect();
    let mut cells = vec![kind.to_owned()];
    cells.extend(counts.map(|n| n.to_string()));
    cells.push(if broken.is_empty() { "0".to_owned() } else { broken.join(", ") });
    cells.extend([median(&row.first_order_ms), worst(&row.first_order_ms), worst(&row.drained_ms)]);
    cells
}

fn median(times: &[u64]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or_else(|| "never".to_owned(), u64::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Broken;

    fn run(seed: u64, broken: bool) -> RunRecord {
        let row = Row {
            runs: 2,
            fired: 2,
            acknowledged: 10,
            first_order_ms: vec![seed, 5],
            drained_ms: vec![7],
            broken: if broken { BTreeMap::from([(Broken::Leaked, 1)]) } else { BTreeMap::new() },
            ..Row::default()
        };
        RunRecord {
            ended_at: Timestamp::from_second(1_800_000_000).unwrap(),
            took_s: 1800,
            seed,
            lanes: 1,
            partitions: 1,
            kinds: BTreeMap::from([("redis_killed".to_owned(), row)]),
            not_run: Vec::new(),
        }
    }

    #[test]
    fn kept_runs_are_added_up_and_none_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        run(1, false).keep(dir.path()).unwrap();
        run(9, false).keep(dir.path()).unwrap();
        assert!(run(9, false).keep(dir.path()).is_err(), "the same file");
        let total = Total::read(dir.path()).unwrap();
        assert!(total.is_good());
        let row = &total.kinds["redis_killed"];
        assert_eq!((total.runs, total.took_s, row.runs, row.acknowledged), (2, 3600, 4, 20));
        assert!(total.markdown().starts_with("2 runs, 1.0 hours."), "{}", total.markdown());
        run(3, true).keep(dir.path()).unwrap();
        let total = Total::read(dir.path()).unwrap();
        assert!(!total.is_good() && total.markdown().contains("1 leaked"));
    }

    #[test]
    fn a_page_keeps_what_is_around_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("page.md");
        let mut total = Total::default();
        assert!(fs::write(&page, "nothing").and_then(|()| total.write_into(&page)).is_err());
        fs::write(&page, format!("before\n{BEGIN}\nstale\n{END}\nafter\n")).unwrap();
        total.add(&run(1, false));
        total.write_into(&page).unwrap();
        let first = fs::read_to_string(&page).unwrap();
        assert!(first.starts_with("before\n") && first.ends_with(&format!("{END}\nafter\n")));
        assert!(first.contains("redis_killed") && !first.contains("stale"));
        total.write_into(&page).unwrap();
        assert_eq!(fs::read_to_string(&page).unwrap(), first, "again it is the same");
    }
}
