//! The Lua scripts, compiled into the binary.

use std::sync::{Arc, LazyLock};

use fred::util::sha1_hash;

use crate::faults::weakened_text;
use crate::redis::Stamp;

const FENCE: &str = include_str!("../../lua/include/fence.lua");
const APPEND_ORDERS: &str = include_str!("../../lua/include/append_orders.lua");
const OPENING: &str = include_str!("../../lua/include/opening.lua");
const LAST_DELIVERED: &str = include_str!("../../lua/include/last_delivered.lua");
const OLDEST_UNSETTLED: &str = include_str!("../../lua/include/oldest_unsettled.lua");
const SAME_SERVER: &str = include_str!("../../lua/include/same_server.lua");
const HEALTHY_REPLICAS: &str = include_str!("../../lua/include/healthy_replicas.lua");

/// A script of an open partition: its text holds the stamp of the opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// `claim.lua`
    Claim,
    /// `survey.lua`
    Survey,
    /// `buyers.lua`
    Buyers,
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
    /// `touch.lua`
    Touch,
    /// `snapshot.lua`
    Snapshot,
    /// `sample.lua`
    Sample,
}

/// A script that only the keeper runs, with EVAL, while the partition is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeeperScript {
    /// `keeper/begin.lua`
    Begin,
    /// `keeper/step.lua`
    Step,
    /// `keeper/remember.lua`
    Remember,
    /// `keeper/open.lua`
    Open,
}

impl Script {
    /// All of them, in the order of [`StampedScripts`].
    pub const ALL: [Script; 13] = [
        Script::Claim,
        Script::Survey,
        Script::Buyers,
        Script::Settle,
        Script::ChangeStock,
        Script::PublishSale,
        Script::Renew,
        Script::Position,
        Script::Trim,
        Script::Retire,
        Script::Touch,
        Script::Snapshot,
        Script::Sample,
    ];

    fn source(self) -> &'static str {
        match self {
            Self::Claim => include_str!("../../lua/claim.lua"),
            Self::Survey => include_str!("../../lua/survey.lua"),
            Self::Buyers => include_str!("../../lua/buyers.lua"),
            Self::Settle => include_str!("../../lua/settle.lua"),
            Self::ChangeStock => include_str!("../../lua/change_stock.lua"),
            Self::PublishSale => include_str!("../../lua/publish_sale.lua"),
            Self::Renew => include_str!("../../lua/renew.lua"),
            Self::Position => include_str!("../../lua/position.lua"),
            Self::Trim => include_str!("../../lua/trim.lua"),
            Self::Retire => include_str!("../../lua/retire.lua"),
            Self::Touch => include_str!("../../lua/touch.lua"),
            Self::Snapshot => include_str!("../../lua/snapshot.lua"),
            Self::Sample => include_str!("../../lua/sample.lua"),
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|&other| other == self).unwrap_or_default()
    }
}

/// A text under a stamp. What is put in front belongs to the marker, so it never changes either.
fn stamped(text: &str, stamp: &Stamp) -> String {
    // The shebang must stay the first line (https://redis.io/docs/latest/develop/programmability/eval-intro/).
    let (shebang, body) = text.split_once('\n').unwrap_or((text, ""));
    format!("{shebang}\nlocal STAMP = '{stamp}'\n{body}")
}

/// `marker.lua` under a stamp: the same for every version of Doorbuster.
fn marker(stamp: &Stamp) -> String {
    stamped(include_str!("../../lua/marker.lua"), stamp)
}

/// The scripts as one version of Doorbuster has them, without a stamp.
#[derive(Clone, Debug)]
pub struct ScriptTexts(Arc<[String; Script::ALL.len()]>);

impl ScriptTexts {
    /// Those of another version, for a test of an upgrade: each text as `change` makes it.
    pub fn changed(change: impl Fn(Script, &str) -> String) -> Self {
        let texts = Self::default();
        Self(Arc::new(Script::ALL.map(|script| change(script, texts.of(script)))))
    }

    fn of(&self, script: Script) -> &str {
        &self.0[script.index()]
    }
}

/// Those that are compiled in.
impl Default for ScriptTexts {
    fn default() -> Self {
        static TEXTS: LazyLock<ScriptTexts> = LazyLock::new(|| {
            ScriptTexts(Arc::new(Script::ALL.map(|script| with_includes(weakened_text!(script.source())))))
        });
        TEXTS.clone()
    }
}

impl KeeperScript {
    /// The text.
    pub fn text(self) -> String {
        with_includes(match self {
            Self::Begin => include_str!("../../lua/keeper/begin.lua"),
            Self::Step => include_str!("../../lua/keeper/step.lua"),
            Self::Remember => include_str!("../../lua/keeper/remember.lua"),
            Self::Open => include_str!("../../lua/keeper/open.lua"),
        })
    }
}

fn with_includes(source: &str) -> String {
    let includes = [
        ("fence", FENCE),
        ("append_orders", APPEND_ORDERS),
        ("opening", OPENING),
        ("last_delivered", LAST_DELIVERED),
        ("oldest_unsettled", OLDEST_UNSETTLED),
        ("same_server", SAME_SERVER),
        ("healthy_replicas", HEALTHY_REPLICAS),
    ];
    includes.iter().fold(source.to_owned(), |text, (name, include)| {
        text.replace(&format!("-- @include {name}\n"), include)
    })
}

/// The scripts under a stamp, and the digests under which a server that the keeper opened knows them. A server that has
/// forgotten them answers NOSCRIPT: it is not the one that was opened.
#[derive(Clone, Debug)]
pub struct StampedScripts {
    /// The opening.
    pub stamp: Stamp,
    texts: ScriptTexts,
    digests: [String; Script::ALL.len()],
    marker: String,
}

impl StampedScripts {
    /// Those of an opening.
    pub fn new(stamp: Stamp) -> Self {
        Self::of(ScriptTexts::default(), stamp)
    }

    /// Those of an opening, with the texts of some version.
    pub fn of(texts: ScriptTexts, stamp: Stamp) -> Self {
        let digests = Script::ALL.map(|script| sha1_hash(&stamped(texts.of(script), &stamp)));
        Self { stamp, texts, digests, marker: sha1_hash(&marker(&stamp)) }
    }

    /// The text of one script.
    pub fn text(&self, script: Script) -> String {
        stamped(self.texts.of(script), &self.stamp)
    }

    /// The digest of one script (SHA-1, hexadecimal).
    pub fn digest(&self, script: Script) -> &str {
        &self.digests[script.index()]
    }

    /// The text of the marker.
    pub fn marker_text(&self) -> String {
        marker(&self.stamp)
    }

    /// The digest of the marker.
    pub fn marker_digest(&self) -> &str {
        &self.marker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Partition;

    #[test]
    fn every_script_is_stamped_behind_its_shebang() {
        let stamp = Stamp { partition: Partition::new(1), epoch: 4, nonce: 5 };
        let scripts = StampedScripts::new(stamp);
        for script in Script::ALL {
            let text = scripts.text(script);
            let mut lines = text.lines();
            assert!(lines.next().unwrap().starts_with("#!lua"), "{script:?}");
            assert_eq!(lines.next(), Some("local STAMP = '1:4:0000000000000005'"), "{script:?}");
            assert!(!text.contains("@include"), "{script:?}");
            let must = script != Script::Position;
            assert_eq!(must, text.contains("fence(KEYS[1])"), "{script:?} must check its stamp");
        }
        for script in [KeeperScript::Begin, KeeperScript::Step, KeeperScript::Remember, KeeperScript::Open] {
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
    /// Nodes of all versions must agree on it. Whoever sees this test fail has broken every rolling upgrade: put the text
    /// back.
    #[test]
    fn the_marker_is_the_same_in_every_version() {
        let scripts = StampedScripts::new(Stamp { partition: Partition::new(1), epoch: 4, nonce: 5 });
        assert_eq!(scripts.marker_digest(), "e3221bcf1b026b80f8ee5ec12c114eae55a436d5");
        let other =
            StampedScripts::of(ScriptTexts::changed(|_, text| format!("{text}\n-- other")), scripts.stamp);
        assert_eq!(other.marker_digest(), scripts.marker_digest());
        for script in Script::ALL {
            assert_ne!(other.digest(script), scripts.digest(script), "{script:?}");
        }
    }
}
