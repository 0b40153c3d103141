//! The file that the buyers write.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{CancelOrder, CancelOutcome, Line, Lines, Outcome, Purchase};

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

    /// Writes the line before a cancel; gives the attempt's number.
    ///
    /// # Errors
    /// Where it cannot be written: then the request must not be sent.
    pub fn invoke_cancel(&self, cancel: &CancelOrder, node: usize) -> io::Result<u64> {
        let attempt = self.next.fetch_add(1, Ordering::Relaxed);
        self.write(&Line::Cancel { attempt, at_us: self.now_us(), node, cancel: cancel.clone() })?;
        Ok(attempt)
    }

    /// Writes the line after a cancel.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn answer_cancel(&self, attempt: u64, outcome: &CancelOutcome) -> io::Result<()> {
        let at_us = self.now_us();
        self.write(&match outcome.clone() {
            CancelOutcome::Done => Line::Cancelled { attempt, at_us },
            CancelOutcome::Refused { status, problem } => Line::Fail { attempt, at_us, status, problem },
            CancelOutcome::Unknown { why } => Line::Unknown { attempt, at_us, why },
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
