//! What is measured.

use crate::stage::PeerKind;

/// What is measured: the engine, a peer, or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The engine.
    Engine,
    /// The engine, with every claim on one SKU: beside a case in which they are spread over many.
    OneSku,
    /// What people deploy instead.
    Peer(PeerKind),
    /// The bare hyper server: the most that this HTTP stack gives.
    Bare,
    /// `redis-benchmark` with the claim script, one claim in each call.
    RedisBenchmark,
    /// The claim script by the engine's own client, 256 claims in each call.
    BatchScript,
    /// Binary COPY into the engine's tables.
    Copy,
    /// `fdatasync` of a file where the data is.
    Fdatasync,
}

/// All but the peers.
const NAMED: [(&str, Subject); 7] = [
    ("engine", Subject::Engine),
    ("one-sku", Subject::OneSku),
    ("bare", Subject::Bare),
    ("redis-benchmark", Subject::RedisBenchmark),
    ("batch-script", Subject::BatchScript),
    ("copy", Subject::Copy),
    ("fdatasync", Subject::Fdatasync),
];

impl Subject {
    /// The subject of a name.
    pub fn named(name: &str) -> Option<Self> {
        let subject = NAMED.iter().find(|(known, _)| *known == name).map(|(_, subject)| *subject);
        subject.or_else(|| PeerKind::named(name).map(Self::Peer))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.name(),
            other => NAMED.iter().find(|(_, subject)| *subject == other).map_or("", |(name, _)| name),
        }
    }
}
