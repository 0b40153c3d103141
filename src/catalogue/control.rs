//! What an operator may do with a sale, and what a buyer meets at a moment. Pure rules.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

/// What the operator last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleControl {
    /// The window decides.
    Scheduled,
    /// Nothing is sold until it is resumed.
    Paused,
    /// For ever.
    Closed,
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlAction {
    /// Sell from now on, also before the window or out of a pause.
    Open,
    /// Stop selling for a while.
    Pause,
    /// Let the window decide again.
    Resume,
    /// Stop selling for ever.
    Close,
}

impl ControlAction {
    /// As it is typed, and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Close => "close",
        }
    }
}

/// What a buyer meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleStatus {
    /// The window begins later.
    NotYetOpen,
    /// Orders are taken.
    Open,
    /// The operator paused it.
    Paused,
    /// The window is over, or the operator closed it.
    Closed,
}

/// The action is against the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Nothing leads out of closed.
    #[error("the sale is closed, and closed is final: create a new sale")]
    Closed,
    /// Its end cannot be moved.
    #[error("the sale's window ended at {0}, and that is final: create a new sale")]
    WindowOver(Timestamp),
}

/// The part of a sale that the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SaleWindow {
    /// What the operator last said.
    pub control: SaleControl,
    /// First moment of the window.
    pub opens_at: Timestamp,
    /// First moment after the window.
    pub closes_at: Timestamp,
}

impl SaleWindow {
    /// What a buyer meets at `now`. A pause shows before the window too: the sale will not open by itself.
    pub fn status(&self, now: Timestamp) -> SaleStatus {
        match self.control {
            SaleControl::Closed => SaleStatus::Closed,
            _ if now >= self.closes_at => SaleStatus::Closed,
            SaleControl::Paused => SaleStatus::Paused,
            SaleControl::Scheduled if now < self.opens_at => SaleStatus::NotYetOpen,
            SaleControl::Scheduled => SaleStatus::Open,
        }
    }

    /// The window after `action` at `now`. Equal to this one where the action has already been done:
    /// doing it twice is no error.
    ///
    /// # Errors
    /// [`ControlError`] where the sale is over and something else than closing is asked for.
    pub fn after(&self, action: ControlAction, now: Timestamp) -> Result<Self, ControlError> {
        if action == ControlAction::Close {
            return Ok(Self { control: SaleControl::Closed, ..*self });
        }
        if self.control == SaleControl::Closed {
            return Err(ControlError::Closed);
        }
        if now >= self.closes_at {
            return Err(ControlError::WindowOver(self.closes_at));
        }
        let control = match action {
            ControlAction::Pause => SaleControl::Paused,
            _ => SaleControl::Scheduled,
        };
        let opens_at = if action == ControlAction::Open { self.opens_at.min(now) } else { self.opens_at };
        Ok(Self { control, opens_at, ..*self })
    }
}

/// A word that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of {allowed}: the database was written by another version")]
pub struct UnknownWord {
    /// What was found.
    pub word: String,
    /// What is known.
    pub allowed: &'static str,
}

impl SaleControl {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Paused => "paused",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for SaleControl {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "scheduled" => Ok(Self::Scheduled),
            "paused" => Ok(Self::Paused),
            "closed" => Ok(Self::Closed),
            _ => Err(UnknownWord { word: word.into(), allowed: "scheduled, paused, closed" }),
        }
    }
}

impl fmt::Display for SaleStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotYetOpen => "not_yet_open",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Closed => "closed",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ControlAction::{Close, Open, Pause, Resume};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn window(control: SaleControl) -> SaleWindow {
        SaleWindow { control, opens_at: at(100), closes_at: at(200) }
    }

    #[test]
    fn the_window_includes_its_first_moment_and_not_its_last() {
        let sale = window(SaleControl::Scheduled);
        assert_eq!(sale.status(at(99)), SaleStatus::NotYetOpen);
        assert_eq!(sale.status(at(100)), SaleStatus::Open);
        assert_eq!(sale.status(at(199)), SaleStatus::Open);
        assert_eq!(sale.status(at(200)), SaleStatus::Closed);
    }

    #[test]
    fn what_the_operator_said_goes_before_the_window() {
        for now in [50, 150] {
            assert_eq!(window(SaleControl::Paused).status(at(now)), SaleStatus::Paused);
            assert_eq!(window(SaleControl::Closed).status(at(now)), SaleStatus::Closed);
        }
        assert_eq!(window(SaleControl::Paused).status(at(200)), SaleStatus::Closed);
    }

    #[test]
    fn open_moves_only_a_later_beginning() {
        let early = window(SaleControl::Scheduled).after(Open, at(50)).unwrap();
        assert_eq!((early.opens_at, early.status(at(50))), (at(50), SaleStatus::Open));
        let late = window(SaleControl::Paused).after(Open, at(150)).unwrap();
        assert_eq!((late.opens_at, late.status(at(150))), (at(100), SaleStatus::Open));
    }

    #[test]
    fn doing_it_twice_changes_nothing() {
        for action in [Open, Pause, Resume, Close] {
            let once = window(SaleControl::Scheduled).after(action, at(50)).unwrap();
            assert_eq!(once.after(action, at(60)), Ok(once), "{action:?}");
        }
    }

    #[test]
    fn closed_is_final() {
        let closed = window(SaleControl::Paused).after(Close, at(150)).unwrap();
        assert_eq!((closed.control, closed.closes_at), (SaleControl::Closed, at(200)));
        for action in [Open, Pause, Resume] {
            assert_eq!(closed.after(action, at(150)), Err(ControlError::Closed));
            let over = window(SaleControl::Scheduled).after(action, at(200));
            assert_eq!(over, Err(ControlError::WindowOver(at(200))));
        }
        assert!(closed.after(Close, at(900)).is_ok());
    }
}
