//! The Lua scripts, compiled into the binary.

use fred::util::sha1_hash;

use crate::faults::weakened_text;
use crate::redis::Stamp;

const FENCE: &str = include_str!("../../lua/include/fence.lua");
const OPENING: &str = include_str!("../../lua/include/opening.lua");
const LAST_DELIVERED: &str = include_str!("../../lua/include/last_delivered.lua");
const SAME_SERVER: &str = include_str!("../../lua/include/same_server.lua");

/// A script of an open partition: its text holds the stamp of the opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// `claim.lua`
    Claim,
    /// `survey.lua`
    Survey,
    /// `settle.lua`
    Settle,
    /// `change_stock.lua`
    ChangeStock,
    /// `publish_sale.lua`
    PublishSale,
    /// `renew.lua`
    Renew,
    /// `position.lua`
    Position,
    /// `trim.lua`
    Trim,
    /// `retire.lua`
    Retire,
}

/// A script that only the keeper runs, with EVAL, while the partition is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeeperScript {
    /// `keeper/begin.lua`
    Begin,
    /// `keeper/step.lua`
    Step,
    /// `keeper/open.lua`
    Open,
}

impl Script {
    /// All of them, in the order of [`StampedScripts`].
    pub const ALL: [Script; 9] = [
        Script::Claim,
        Script::Survey,
        Script::Settle,
        Script::ChangeStock,
        Script::PublishSale,
        Script::Renew,
        Script::Position,
        Script::Trim,
        Script::Retire,
    ];

    fn source(self) -> &'static str {
        match self {
            Self::Claim => include_str!("../../lua/claim.lua"),
            Self::Survey => include_str!("../../lua/survey.lua"),
            Self::Settle => include_str!("../../lua/settle.lua"),
            Self::ChangeStock => include_str!("../../lua/change_stock.lua"),
            Self::PublishSale => include_str!("../../lua/publish_sale.lua"),
            Self::Renew => include_str!("../../lua/renew.lua"),
            Self::Position => include_str!("../../lua/position.lua"),
            Self::Trim => include_str!("../../lua/trim.lua"),
            Self::Retire => include_str!("../../lua/retire.lua"),
        }
    }

    /// The text under a stamp.
    pub fn text(self, stamp: &Stamp) -> String {
        let source = with_includes(weakened_text!(self.source()));
        // The shebang must stay the first line (https://redis.io/docs/latest/develop/programmability/eval-intro/).
        let (shebang, body) = source.split_once('\n').unwrap_or((&source, ""));
        format!("{shebang}\nlocal STAMP = '{stamp}'\n{body}")
    }
}

impl KeeperScript {
    /// The text.
    pub fn text(self) -> String {
        with_includes(match self {
            Self::Begin => include_str!("../../lua/keeper/begin.lua"),
            Self::Step => include_str!("../../lua/keeper/step.lua"),
            Self::Open => include_str!("../../lua/keeper/open.lua"),
        })
    }
}

fn with_includes(source: &str) -> String {
    let includes = [
        ("fence", FENCE),
        ("opening", OPENING),
        ("last_delivered", LAST_DELIVERED),
        ("same_server", SAME_SERVER),
    ];
    includes.iter().fold(source.to_owned(), |text, (name, include)| {
        text.replace(&format!("-- @include {name}\n"), include)
    })
}

/// The digests under which a server that the keeper opened knows the scripts. A server that has forgotten them
/// answers NOSCRIPT: it is not the one that was opened.
#[derive(Clone, Debug)]
pub struct StampedScripts {
    /// The opening.
    pub stamp: Stamp,
    digests: [String; Script::ALL.len()],
}

impl StampedScripts {
    /// Those of an opening.
    pub fn new(stamp: Stamp) -> Self {
        Self { stamp, digests: Script::ALL.map(|script| sha1_hash(&script.text(&stamp))) }
    }

    /// The digest of one script (SHA-1, hexadecimal).
    pub fn digest(&self, script: Script) -> &str {
        let index = Script::ALL.iter().position(|&other| other == script).unwrap_or_default();
        &self.digests[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Partition;

    #[test]
    fn every_script_is_stamped_behind_its_shebang() {
        let stamp = Stamp { partition: Partition::new(1), epoch: 4, nonce: 5 };
        for script in Script::ALL {
            let text = script.text(&stamp);
            let mut lines = text.lines();
            assert!(lines.next().unwrap().starts_with("#!lua"), "{script:?}");
            assert_eq!(lines.next(), Some("local STAMP = '1:4:0000000000000005'"), "{script:?}");
            assert!(!text.contains("@include"), "{script:?}");
            let must = script != Script::Position;
            assert_eq!(must, text.contains("fence(KEYS[1])"), "{script:?} must check its stamp");
        }
        for script in [KeeperScript::Begin, KeeperScript::Step, KeeperScript::Open] {
            assert!(script.text().starts_with("#!lua"), "{script:?}");
        }
    }

    #[test]
    fn another_stamp_is_another_script() {
        let stamp = Stamp { partition: Partition::new(1), epoch: 4, nonce: 5 };
        let other = Stamp { epoch: 5, ..stamp };
        for script in Script::ALL {
            assert_ne!(StampedScripts::new(stamp).digest(script), StampedScripts::new(other).digest(script));
        }
    }
}
