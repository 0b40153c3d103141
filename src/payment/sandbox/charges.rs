//! The charges, and the file that they are found in again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::payment::protocol::{ChargeAnswer, ChargeStatus};

/// A charge as the sandbox knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxCharge {
    /// Whose it is.
    pub order_id: String,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// How it stands in truth.
    pub status: ChargeStatus,
    /// It is paid, and a charge is answered as if it were declined.
    pub is_lie: bool,
    /// Its name.
    pub reference: String,
    /// How often money was taken: more than once would be a mistake.
    pub times_charged: u32,
    /// How often it was paid back.
    pub times_refunded: u32,
    /// The webhook was told of the outcome, or was sent and got lost.
    pub is_told: bool,
}

impl SandboxCharge {
    pub(super) fn answer(&self) -> ChargeAnswer {
        ChargeAnswer {
            amount: Some(self.amount),
            currency: Some(self.currency.clone()),
            reference: Some(self.reference.clone()),
            reason: (self.status == ChargeStatus::Declined).then(|| "insufficient_funds".to_owned()),
            ..ChargeAnswer::of(self.status)
        }
    }

    /// What whoever asks for the charge is told.
    pub(super) fn pretended_answer(&self) -> ChargeAnswer {
        if !self.is_lie {
            return self.answer();
        }
        ChargeAnswer { reason: Some("do_not_honor".to_owned()), ..ChargeAnswer::of(ChargeStatus::Declined) }
    }

    pub(super) fn settle(&mut self, status: ChargeStatus) {
        self.times_charged += u32::from(status == ChargeStatus::Paid);
        self.status = status;
    }
}

/// By order.
#[derive(Default)]
pub(super) struct Charges {
    by_order: BTreeMap<String, SandboxCharge>,
    file: Option<File>,
}

impl Charges {
    /// Reads a file that an earlier sandbox wrote, or begins one: a JSON object on each line, the last one of an order
    /// counts. A last line that is not whole was never answered to anybody, and is cut off.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        file.try_lock().map_err(|_| io::Error::other("another sandbox works with this file"))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|&c| c == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        let mut by_order = BTreeMap::new();
        for line in text[..whole].split(|&c| c == b'\n').filter(|line| !line.is_empty()) {
            let charge: SandboxCharge = serde_json::from_slice(line)?;
            by_order.insert(charge.order_id.clone(), charge);
        }
        Ok(Self { by_order, file: Some(file) })
    }

    pub fn get(&self, order: &str) -> Option<&SandboxCharge> {
        self.by_order.get(order)
    }

    pub fn all(&self) -> impl Iterator<Item = &SandboxCharge> {
        self.by_order.values()
    }

    /// Puts a charge, in the file first: what cannot be written down has not happened.
    pub fn put(&mut self, charge: SandboxCharge) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&charge)?;
            line.push(b'\n');
            // One write, which reaches the system at once: a killed process loses nothing of it.
            file.write_all(&line)?;
        }
        self.by_order.insert(charge.order_id.clone(), charge);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(order: &str, status: ChargeStatus) -> SandboxCharge {
        SandboxCharge {
            order_id: order.to_owned(),
            amount: 1500,
            currency: "EUR".to_owned(),
            status,
            is_lie: false,
            reference: format!("sandbox-{order}"),
            times_charged: 0,
            times_refunded: 0,
            is_told: false,
        }
    }

    #[test]
    fn what_was_put_is_found_again_but_for_half_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("charges.jsonl");
        let mut charges = Charges::open(&path).unwrap();
        charges.put(charge("A", ChargeStatus::Undecided)).unwrap();
        charges.put(charge("B", ChargeStatus::Declined)).unwrap();
        charges.put(charge("A", ChargeStatus::Paid)).unwrap();
        assert!(Charges::open(&path).is_err(), "two would write over each other");
        drop(charges);
        File::options().append(true).open(&path).unwrap().write_all(b"{\"order_id\":\"C\",\"am").unwrap();

        let mut charges = Charges::open(&path).unwrap();
        let found: Vec<_> = charges.all().map(|charge| (charge.order_id.as_str(), charge.status)).collect();
        assert_eq!(found, [("A", ChargeStatus::Paid), ("B", ChargeStatus::Declined)]);
        charges.put(charge("C", ChargeStatus::Paid)).unwrap();
        drop(charges);
        assert_eq!(Charges::open(&path).unwrap().all().count(), 3);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "dear diary\n").unwrap();
        assert!(Charges::open(file.path()).is_err());
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "dear diary\n");
    }
}
