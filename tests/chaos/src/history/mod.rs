//! What the buyers did and were told: one line before a request leaves, one after its answer.
//!
//! The line before is in the file before the first byte is sent, so that an order which no line asks for is a ghost.

mod attempt;
mod file;
mod line;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

pub use attempt::{
    Attempt, CancelAttempt, CancelOrder, CancelOutcome, CancelledBy, Lines, Outcome, Purchase,
};
pub use file::HistoryFile;
pub use line::Line;

/// All attempts of a run, in the order in which they were invoked.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Claims.
    pub attempts: Vec<Attempt>,
    /// Cancels.
    pub cancels: Vec<CancelAttempt>,
}

/// Where an attempt stands.
enum Place {
    Claim(usize),
    Cancel(usize),
}

/// The line after, whatever it was for.
enum Answer {
    Order { id: String, new: bool },
    Cancelled,
    Refused { status: u16, problem: String },
    Unknown { why: String },
}

impl History {
    /// Joins the lines. A line after without a line before cannot be: it is left out.
    pub fn from_lines(lines: impl IntoIterator<Item = Line>) -> Self {
        let (mut history, mut places) = (Self::default(), HashMap::new());
        for line in lines {
            let (attempt, at_us, answer) = match line {
                Line::Invoke { attempt, at_us, purchase, lines, .. } => {
                    places.insert(attempt, Place::Claim(history.attempts.len()));
                    let outcome = Outcome::Unknown { why: "no answer".into() };
                    history.attempts.push(Attempt { from_us: at_us, to_us: None, purchase, lines, outcome });
                    continue;
                }
                Line::Cancel { attempt, at_us, cancel, .. } => {
                    places.insert(attempt, Place::Cancel(history.cancels.len()));
                    let outcome = CancelOutcome::Unknown { why: "no answer".into() };
                    history.cancels.push(CancelAttempt { from_us: at_us, to_us: None, cancel, outcome });
                    continue;
                }
                Line::Ok { attempt, at_us, order, status } => {
                    (attempt, at_us, Answer::Order { id: order, new: status == 202 })
                }
                Line::Cancelled { attempt, at_us } => (attempt, at_us, Answer::Cancelled),
                Line::Fail { attempt, at_us, status, problem } => {
                    (attempt, at_us, Answer::Refused { status, problem })
                }
                Line::Unknown { attempt, at_us, why } => (attempt, at_us, Answer::Unknown { why }),
            };
            if let Some(place) = places.get(&attempt) {
                history.end(place, at_us, answer);
            }
        }
        history
    }

    fn end(&mut self, place: &Place, at_us: u64, answer: Answer) {
        match (place, answer) {
            (Place::Claim(index), answer) => {
                let attempt = &mut self.attempts[*index];
                attempt.outcome = match answer {
                    Answer::Order { id, new } => Outcome::Order { id, new },
                    Answer::Refused { status, problem } => Outcome::Refused { status, problem },
                    Answer::Unknown { why } => Outcome::Unknown { why },
                    Answer::Cancelled => return,
                };
                attempt.to_us = Some(at_us);
            }
            (Place::Cancel(index), answer) => {
                let attempt = &mut self.cancels[*index];
                attempt.outcome = match answer {
                    Answer::Cancelled => CancelOutcome::Done,
                    Answer::Refused { status, problem } => CancelOutcome::Refused { status, problem },
                    Answer::Unknown { why } => CancelOutcome::Unknown { why },
                    Answer::Order { .. } => return,
                };
                attempt.to_us = Some(at_us);
            }
        }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
    #[test]
    fn cancels_stand_beside_claims_and_keep_their_own_answers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let file = HistoryFile::create(&path, Instant::now()).unwrap();
        let purchase = Purchase { sale: "s".into(), buyer: "b".into(), key: "k".into() };
        let by_buyer = CancelOrder { order: "X".into(), by: CancelledBy::Buyer("b".into()) };
        let by_operator = CancelOrder { order: "X".into(), by: CancelledBy::Operator };
        let claim = file.invoke(&purchase, &Lines::from([("A".to_owned(), 2)]), 0).unwrap();
        let first = file.invoke_cancel(&by_buyer, 0).unwrap();
        let second = file.invoke_cancel(&by_operator, 1).unwrap();
        file.invoke_cancel(&by_operator, 1).unwrap();
        let refused = CancelOutcome::Refused { status: 409, problem: "not-stored-yet".into() };
        file.answer_cancel(second, &CancelOutcome::Done).unwrap();
        file.answer_cancel(first, &refused).unwrap();
        file.answer(claim, &Outcome::Order { id: "X".into(), new: true }).unwrap();
        let history = History::read(&path).unwrap();
        assert_eq!(history.attempts[0].order(), Some("X"));
        let cancels: Vec<_> = history.cancels.iter().map(|one| (&one.cancel, &one.outcome)).collect();
        assert_eq!(cancels[..2], [(&by_buyer, &refused), (&by_operator, &CancelOutcome::Done)]);
        assert!(matches!(cancels[2].1, CancelOutcome::Unknown { .. }) && history.cancels[2].to_us.is_none());
    }
}
