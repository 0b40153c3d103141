//! Settings that choose one of a few words.

use std::fmt;

use super::setting::Bounds;
use super::value::{Shown, Value};

macro_rules! choice {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $name {
            const WORDS: &[&str] = &[$($word),+];

            /// The word that chooses it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Value for $name {
            fn parse(text: &str, _: Bounds) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)+ _ => None }
            }

            fn allowed(_: Bounds) -> String {
                format!("one of {}", Self::WORDS.join(", "))
            }

            fn shown(&self) -> Shown {
                Shown::Text(self.as_str().to_owned())
            }
        }
    };
}

choice! {
    /// What a process runs.
    Role {
        /// The HTTP API.
        Api = "api",
        /// The workers, the keeper, and what the sweeper does.
        Worker = "worker",
        /// The end of holds that are over, and nothing else.
        Sweeper = "sweeper",
        /// The payment workers.
        Payment = "payment",
        /// The delivery of events to the outside.
        Webhooks = "webhooks",
        /// All of them.
        All = "all",
    }
}

impl Role {
    /// Whether this process answers buyers.
    pub const fn runs_api(self) -> bool {
        matches!(self, Self::Api | Self::All)
    }

    /// Whether this process asks the payment gateway.
    pub const fn runs_payment(self) -> bool {
        matches!(self, Self::Payment | Self::All)
    }

    /// Whether this process delivers events to the outside.
    pub const fn runs_webhooks(self) -> bool {
        matches!(self, Self::Webhooks | Self::All)
    }

    /// Whether this process persists orders.
    pub const fn runs_worker(self) -> bool {
        matches!(self, Self::Worker | Self::All)
    }

    /// Whether this process cancels orders that were not paid in time.
    pub const fn runs_sweeper(self) -> bool {
        matches!(self, Self::Sweeper | Self::Worker | Self::All)
    }
}

choice! {
    /// What has to hold an order before its 202.
    Ack {
        /// The disk of the Redis that answered.
        Fsync = "fsync",
        /// That, and the memory of replicas: a failover to one of them loses nothing.
        Replica = "replica",
        /// Its memory: a crash loses what was not yet written.
        Memory = "memory",
    }
}

choice! {
    /// What follows from a server whose settings hold less than [`Ack`] says.
    DurabilityCheck {
        /// The partition stays closed.
        Enforce = "enforce",
        /// A warning in the log.
        Warn = "warn",
    }
}

choice! {
    /// Format of the log.
    LogFormat {
        /// Lines for people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}
