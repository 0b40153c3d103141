//! Places where the chaos tests end a process, and protections that they take out to see themselves notice it.
//!
//! Without the feature `faults` nothing of this is compiled in. With it nothing happens either, until [`arm`] has read
//! the variable `FAILPOINTS`, which only the binary of the chaos tests does.

/// Ends the process with SIGKILL where a test has armed the point of this name.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "faults")]
        $crate::faults::armed::crash_point($name);
    };
}
/// Whether a test has taken this protection out.
macro_rules! weakened {
    ($name:literal) => {{
        #[cfg(feature = "faults")]
        let weakened = $crate::faults::armed::is_on($name);
        #[cfg(not(feature = "faults"))]
        let weakened = false;
        weakened
    }};
}
/// A script or statement, without the protection that a test has taken out of it.
macro_rules! weakened_text {
    ($text:expr) => {{
        #[cfg(feature = "faults")]
        let text = $crate::faults::armed::text($text);
        #[cfg(not(feature = "faults"))]
        let text = $text;
        text
    }};
}
pub(crate) use {crash_point, weakened, weakened_text};

#[cfg(feature = "faults")]
pub use armed::arm;

#[cfg(feature = "faults")]
pub(crate) mod armed {
    use nix::sys::signal::{Signal, raise};

    /// Names of what is to be taken out, and the text that goes and comes.
    const WEAKER_TEXTS: [(&str, &str, &str); 4] = [
        (
            "release_without_guard",
            "if redis.call('SISMEMBER', KEYS[4], ARGV[3]) == 1 then return 'known' end\n",
            "",
        ),
        // Two batches must hold a row each at the same moment, so that moment is stretched.
        (
            "open_gate",
            "FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS w (sale_id, sku, units, number)\n",
            "FROM (SELECT t.*, pg_sleep(0.02)
                   FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS t (sale_id, sku, units, number)
                   ORDER BY random()) AS w\n",
        ),
        (
            "idempotency_after_decrement",
            "    local found_order, is_order = find_order(buyer, head)\n    \
             if found_order then return found_order, is_order end\n",
            "",
        ),
        (
            "idempotency_after_decrement",
            "  accepted = accepted + 1\n",
            "  if has_orders then\n    \
             local found_order, is_order = find_order(buyer, head)\n    \
             if found_order then return found_order, is_order end\n  \
             end\n  accepted = accepted + 1\n",
        ),
    ];

    /// Reads `FAILPOINTS` (see the crate `fail`): points to end at, protections to take out. Call it
    /// once; the process stays armed until it ends.
    pub fn arm() {
        std::mem::forget(fail::FailScenario::setup());
    }

    pub(crate) fn crash_point(name: &'static str) {
        fail::fail_point!(name, |_| {
            eprintln!("crash point {name}: ends here");
            let _ = raise(Signal::SIGKILL);
        });
    }

    pub(crate) fn is_on(name: &str) -> bool {
        fail::fail_point!(name, |_| true);
        false
    }

    /// Replaces what is switched off. Each text to go stands in one script or statement alone.
    pub(crate) fn text(text: &'static str) -> &'static str {
        let mut weaker = std::borrow::Cow::Borrowed(text);
        for (name, goes, comes) in WEAKER_TEXTS {
            if text.contains(goes) && is_on(name) {
                weaker = weaker.replace(goes, comes).into();
            }
        }
        match weaker {
            std::borrow::Cow::Borrowed(text) => text,
            // For the life of a test process.
            std::borrow::Cow::Owned(text) => text.leak(),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_text_to_go_stands_in_one_place() {
            let texts = [
                include_str!("../lua/change_stock.lua"),
                include_str!("../lua/claim.lua"),
                include_str!("../sql/persist/gate.sql"),
            ];
            for (name, goes, _) in WEAKER_TEXTS {
                let found: usize = texts.iter().map(|text| text.matches(goes).count()).sum();
                assert_eq!(found, 1, "{name}");
            }
        }
    }
}
