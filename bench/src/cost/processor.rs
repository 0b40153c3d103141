//! Processor time of processes and all that they started, from /proc (proc(5), "stat").

use std::collections::{BTreeMap, HashMap};

/// Ticks a second of the times in /proc. The kernel fixes it at 100 for user space on every architecture that
/// Linux still has (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;
const US_PER_TICK: u64 = 1_000_000 / TICKS_PER_SECOND;

/// The processes whose time is counted, each with a name for its component.
#[derive(Clone, Debug, Default)]
pub struct Processor {
    roots: Vec<(&'static str, u32)>,
}

/// Microseconds of processor time by component, user and system together.
pub type Usage = BTreeMap<&'static str, u64>;

/// What one line of /proc/PID/stat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Of the process and of its children that have ended.
    ticks: u64,
}

impl Processor {
    /// Counts the process `pid`, and what it started, as `component`.
    #[must_use]
    pub fn with(mut self, component: &'static str, pid: Option<u32>) -> Self {
        self.roots.extend(pid.map(|pid| (component, pid)));
        self
    }

    /// Counts this very process as the load generator.
    #[must_use]
    pub fn with_load(self) -> Self {
        self.with("load", Some(std::process::id()))
    }

    /// The time used so far. Of a tree in which processes come and go it never falls: what ended is counted by its
    /// parent, which has waited for it.
    pub fn usage(&self) -> Usage {
        let stats = all_stats();
        let mut usage = Usage::new();
        for (component, root) in &self.roots {
            let others = self.roots.iter().map(|(_, pid)| *pid).filter(|pid| pid != root);
            let ticks = tree_ticks(&stats, *root, &others.collect::<Vec<_>>());
            *usage.entry(component).or_default() += ticks * US_PER_TICK;
        }
        usage
    }
}

/// The difference between two readings.
pub fn spent(before: &Usage, after: &Usage) -> Usage {
    after
        .iter()
        .map(|(name, us)| (*name, us.saturating_sub(before.get(name).copied().unwrap_or(0))))
        .collect()
}

fn all_stats() -> HashMap<u32, Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parse(&std::fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect()
}

/// The command in the second field may hold spaces and parentheses, hence the search from the right.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    // Counted from the third field: ppid is the 4th, utime, stime, cutime and cstime the 14th to 17th.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

/// Ticks of `root` and its descendants; a descendant that is a root itself is counted as that one alone. This
/// program's own children are such: servers, peers, and what helps them.
fn tree_ticks(stats: &HashMap<u32, Stat>, root: u32, others: &[u32]) -> u64 {
    let Some(own) = stats.get(&root) else { return 0 };
    if root == std::process::id() {
        return own_ticks(root).unwrap_or(own.ticks);
    }
    let children = stats.iter().filter(|(pid, stat)| stat.parent == root && !others.contains(pid));
    own.ticks + children.map(|(pid, _)| tree_ticks(stats, *pid, others)).sum::<u64>()
}

/// Of a process without its children.
fn own_ticks(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some(fields.get(11..13)?.iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_an_odd_command_name() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6";
        assert_eq!(parse(line), Some(Stat { parent: 7, ticks: 127 }));
        assert_eq!(parse("42 (x) S"), None);
    }

    #[test]
    fn a_tree_is_summed_without_the_trees_of_others() {
        let stat = |parent, ticks| Stat { parent, ticks };
        let stats =
            HashMap::from([(10, stat(1, 1)), (11, stat(10, 2)), (12, stat(11, 4)), (13, stat(10, 8))]);
        assert_eq!(tree_ticks(&stats, 10, &[]), 15);
        assert_eq!(tree_ticks(&stats, 10, &[11]), 9);
        assert_eq!(tree_ticks(&stats, 99, &[]), 0);
    }

    #[test]
    fn work_that_is_done_is_seen() {
        let processor = Processor::default().with_load();
        let before = processor.usage();
        let began = std::time::Instant::now();
        let mut sum = 0_u64;
        while began.elapsed().as_millis() < 300 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert!(spent(&before, &processor.usage())["load"] >= 20_000, "{sum}");
    }
}
