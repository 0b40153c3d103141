//! Whether the Redis at hand is the one that Postgres knows. Pure, so that every case has a test.

use crate::log::EntryId;

/// What is known of a partition's log when its keeper looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The persisted watermark, and its mark.
    pub watermark: EntryId,
    /// The mark that Postgres holds for it.
    pub watermark_mark: String,
    /// The highest entry of which Postgres knows an order or a ledger row.
    pub highest_known: EntryId,
    /// The first entry of the log; `None` where the log is empty or missing.
    pub first: Option<FirstEntry>,
    /// The last id that the log has given out.
    pub last_generated: EntryId,
    /// The mark of the entry at the watermark, where the log still has one there.
    pub mark_in_log: Option<String>,
    /// Whether the log holds anything but openings. Looked at only while the watermark is zero.
    pub is_used: bool,
}

/// The oldest retained entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstEntry {
    /// Where it stands.
    pub id: EntryId,
    /// For an opening: what was persisted when it was written. Nothing was lost before it.
    pub base: Option<EntryId>,
}

/// What to do before the partition may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The log goes on from the watermark: drain from there.
    Intact,
    /// Redis is new, emptied, older than Postgres, or of another history: drain all of what the log has, then rebuild.
    Rebuild(&'static str),
    /// Postgres is older than what Redis has already forgotten: opening would destroy what Redis alone still knows.
    Refuse {
        /// Persisted up to here.
        watermark: EntryId,
        /// But the log begins here.
        first: EntryId,
    },
}

/// Judges. Equal sums of stock prove nothing: what counts is that the log holds the very entry which Postgres
/// persisted last, and has not gone back behind what Postgres knows.
pub fn judge(history: &History) -> Verdict {
    let Some(first) = history.first else {
        return Verdict::Rebuild("the log is empty or missing");
    };
    if first.id > history.watermark && first.base.is_none_or(|base| base > history.watermark) {
        return Verdict::Refuse { watermark: history.watermark, first: first.id };
    }
    if history.watermark == EntryId::ZERO && history.is_used {
        // A database that has never finished an opening, and a log that has been sold from: not a pair.
        return Verdict::Refuse { watermark: history.watermark, first: first.id };
    }
    if history.watermark == EntryId::ZERO {
        return Verdict::Rebuild("the database has never persisted anything of this log");
    }
    match &history.mark_in_log {
        None => Verdict::Rebuild("the log does not hold the entry that was persisted last"),
        Some(mark) if *mark != history.watermark_mark => Verdict::Rebuild("the log is of another history"),
        Some(_) if history.last_generated < history.highest_known => {
            Verdict::Rebuild("the log is older than the database")
        }
        Some(_) => Verdict::Intact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn healthy() -> History {
        History {
            watermark: at(50),
            watermark_mark: "M".into(),
            highest_known: at(60),
            first: Some(FirstEntry { id: at(10), base: None }),
            last_generated: at(70),
            mark_in_log: Some("M".into()),
            is_used: true,
        }
    }

    #[test]
    fn a_log_that_goes_on_is_intact() {
        assert_eq!(judge(&healthy()), Verdict::Intact);
        let trimmed_to_the_watermark =
            History { first: Some(FirstEntry { id: at(50), base: None }), ..healthy() };
        assert_eq!(judge(&trimmed_to_the_watermark), Verdict::Intact);
    }

    #[test]
    fn an_emptied_redis_is_rebuilt() {
        let emptied = History { first: None, mark_in_log: None, last_generated: EntryId::ZERO, ..healthy() };
        assert!(matches!(judge(&emptied), Verdict::Rebuild(_)));
    }

    #[test]
    fn a_redis_with_older_data_is_rebuilt() {
        let behind_the_watermark = History { last_generated: at(40), mark_in_log: None, ..healthy() };
        assert!(matches!(judge(&behind_the_watermark), Verdict::Rebuild(_)));
        let behind_what_is_known = History { last_generated: at(55), ..healthy() };
        assert!(matches!(judge(&behind_what_is_known), Verdict::Rebuild(_)));
    }

    #[test]
    fn another_history_is_rebuilt() {
        let other = History { mark_in_log: Some("X".into()), ..healthy() };
        assert!(matches!(judge(&other), Verdict::Rebuild(_)));
    }

    #[test]
    fn a_gap_is_refused() {
        let gap =
            History { first: Some(FirstEntry { id: at(55), base: None }), mark_in_log: None, ..healthy() };
        assert_eq!(judge(&gap), Verdict::Refuse { watermark: at(50), first: at(55) });
        // The same log, begun by an opening after the one that this database knows: entries before it were trimmed.
        let later_opening = FirstEntry { id: at(55), base: Some(at(52)) };
        let restored_too_old = History { first: Some(later_opening), mark_in_log: None, ..healthy() };
        assert!(matches!(judge(&restored_too_old), Verdict::Refuse { .. }));
    }

    #[test]
    fn a_log_that_an_opening_began_has_no_gap() {
        // The keeper died between writing the opening entry and raising the watermark to it.
        let begun = History {
            first: Some(FirstEntry { id: at(55), base: Some(at(50)) }),
            mark_in_log: None,
            last_generated: at(65),
            ..healthy()
        };
        assert!(matches!(judge(&begun), Verdict::Rebuild(_)));
    }

    #[test]
    fn a_fresh_database_before_a_used_log_is_refused() {
        // As a log is that was never trimmed: it begins with the first opening of all.
        let first = Some(FirstEntry { id: at(10), base: Some(EntryId::ZERO) });
        let wrong_database = History {
            watermark: EntryId::ZERO,
            highest_known: EntryId::ZERO,
            mark_in_log: None,
            first,
            ..healthy()
        };
        assert!(matches!(judge(&wrong_database), Verdict::Refuse { .. }));
        let died_in_its_first_opening = History { is_used: false, ..wrong_database };
        assert!(matches!(judge(&died_in_its_first_opening), Verdict::Rebuild(_)));
    }
}
