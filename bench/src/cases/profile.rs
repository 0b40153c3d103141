//! How long a run may take.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The cases of the headline, in less than ten minutes.
    Headline,
    /// Every case, at full length.
    Full,
    /// Every case for a second, to see that it works; its figures mean nothing.
    Smoke,
}

impl Profile {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Headline => "headline",
            Self::Full => "full",
            Self::Smoke => "smoke",
        }
    }
}
