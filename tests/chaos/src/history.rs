//! What the buyers did and were told: one line before a request leaves, one after its answer.
//!
//! The line before is in the file before the first byte is sent, so that an order which no line asks for is a ghost.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// SKUs and units.
pub type Lines = BTreeMap<String, u32>;

/// One purchase: all attempts with this key are for one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Purchase {
    /// In which sale.
    pub sale: String,
    /// Who buys.
    pub buyer: String,
    /// The idempotency key.
    pub key: String,
}

/// One line of the file. Times are microseconds since the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// About to be sent.
    Invoke {
        /// Numbers the attempts of a run.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The API node it goes to.
        node: usize,
        /// What for.
        #[serde(flatten)]
        purchase: Purchase,
        /// The units asked for.
        lines: Lines,
    },
    /// An order: 202, or 200 where this key had made it before.
    Ok {
        /// Which attempt.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The order's id.
        order: String,
        /// 202 or 200.
        status: u16,
    },
    /// Refused: no order of this key at that moment.
    Fail {
        /// Which attempt.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The status.
        status: u16,
        /// The last part of the problem's type.
        problem: String,
    },
    /// No answer, or one that leaves it open.
    Unknown {
        /// Which attempt.
        attempt: u64,
        /// When.
        at_us: u64,
        /// The problem's type, or what became of the connection.
        why: String,
    },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an order.
    Order {
        /// Its id.
        id: String,
        /// `false`: this key had made it before.
        new: bool,
    },
    /// With a refusal.
    Refused {
        /// The status.
        status: u16,
        /// The last part of the problem's type.
        problem: String,
    },
    /// It is not known.
    Unknown {
        /// The problem's type, or what became of the connection.
        why: String,
    },
}

/// One request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it was about to be sent (µs).
    pub from_us: u64,
    /// When its answer was there (µs); `None` where the run ended before.
    pub to_us: Option<u64>,
    /// What for.
    pub purchase: Purchase,
    /// The units asked for.
    pub lines: Lines,
    /// How it ended.
    pub outcome: Outcome,
}

impl Attempt {
    /// The order it was told, if it was.
    pub fn order(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Order { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether what it does may still happen, whatever came back.
    pub fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown { .. })
    }
}

/// All attempts of a run, in the order in which they were invoked.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The attempts.
    pub attempts: Vec<Attempt>,
}

impl History {
    /// Joins the lines. A line after without a line before cannot be: it is left out.
    pub fn from_lines(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut attempts = Vec::new();
        let mut at = HashMap::new();
        for line in lines {
            match line {
                Line::Invoke { attempt, at_us, purchase, lines, .. } => {
                    at.insert(attempt, attempts.len());
                    attempts.push(Attempt {
                        from_us: at_us,
                        to_us: None,
                        purchase,
                        lines,
                        outcome: Outcome::Unknown { why: "no answer".into() },
                    });
                }
                Line::Ok { attempt, at_us, order, status } => {
                    let outcome = Outcome::Order { id: order, new: status == 202 };
                    end(&mut attempts, &at, attempt, at_us, outcome);
                }
                Line::Fail { attempt, at_us, status, problem } => {
                    end(&mut attempts, &at, attempt, at_us, Outcome::Refused { status, problem });
                }
                Line::Unknown { attempt, at_us, why } => {
                    end(&mut attempts, &at, attempt, at_us, Outcome::Unknown { why });
                }
            }
        }
        Self { attempts }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, or a line (other than a last one that was cut) is none of ours.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut lines = Vec::new();
        let mut reader = BufReader::new(File::open(path)?);
        let mut text = String::new();
        while reader.read_line(&mut text)? > 0 {
            if text.ends_with('\n') {
                lines.push(serde_json::from_str(&text).map_err(io::Error::other)?);
            }
            text.clear();
        }
        Ok(Self::from_lines(lines))
    }
}

fn end(attempts: &mut [Attempt], at: &HashMap<u64, usize>, attempt: u64, at_us: u64, outcome: Outcome) {
    if let Some(attempt) = at.get(&attempt).and_then(|&index| attempts.get_mut(index)) {
        attempt.to_us = Some(at_us);
        attempt.outcome = outcome;
    }
}

/// Where the buyers write.
pub struct HistoryFile {
    file: Mutex<File>,
    next: AtomicU64,
    began: Instant,
}

impl HistoryFile {
    /// Begins a new file.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create(path: &Path, began: Instant) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(File::create(path)?), next: AtomicU64::new(0), began })
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Writes the line before; gives the attempt's number.
    ///
    /// # Errors
    /// Where it cannot be written: then the request must not be sent.
    pub fn invoke(&self, purchase: &Purchase, lines: &Lines, node: usize) -> io::Result<u64> {
        let attempt = self.next.fetch_add(1, Ordering::Relaxed);
        let (purchase, lines) = (purchase.clone(), lines.clone());
        self.write(&Line::Invoke { attempt, at_us: self.now_us(), node, purchase, lines })?;
        Ok(attempt)
    }

    /// Writes the line after.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn answer(&self, attempt: u64, outcome: &Outcome) -> io::Result<()> {
        let at_us = self.now_us();
        self.write(&match outcome.clone() {
            Outcome::Order { id, new } => {
                Line::Ok { attempt, at_us, order: id, status: if new { 202 } else { 200 } }
            }
            Outcome::Refused { status, problem } => Line::Fail { attempt, at_us, status, problem },
            Outcome::Unknown { why } => Line::Unknown { attempt, at_us, why },
        })
    }

    /// One call for each line, so that nothing waits in this process's memory.
    fn write(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_and_an_attempt_without_an_answer_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let file = HistoryFile::create(&path, Instant::now()).unwrap();
        let purchase = Purchase { sale: "s".into(), buyer: "b".into(), key: "k".into() };
        let lines = Lines::from([("A".to_owned(), 2)]);
        let first = file.invoke(&purchase, &lines, 0).unwrap();
        let second = file.invoke(&purchase, &lines, 1).unwrap();
        let third = file.invoke(&purchase, &lines, 1).unwrap();
        file.answer(second, &Outcome::Order { id: "X".into(), new: true }).unwrap();
        let refused = Outcome::Refused { status: 409, problem: "sold-out".into() };
        file.answer(first, &refused).unwrap();
        assert_eq!(third, 2);
        let history = History::read(&path).unwrap();
        let outcomes: Vec<_> = history.attempts.iter().map(|attempt| &attempt.outcome).collect();
        assert_eq!(outcomes[0], &refused);
        assert_eq!(history.attempts[1].order(), Some("X"));
        assert!(history.attempts[2].is_open() && history.attempts[2].to_us.is_none());
        assert_eq!((&history.attempts[0].purchase, &history.attempts[0].lines), (&purchase, &lines));
    }
}
