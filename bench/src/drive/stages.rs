//! The stages of a case: started at their first turn, kept until the case is over.

use super::{DriveError, Driver};
use crate::cases::Case;
use crate::stage::{Bare, Engine, EngineSettings, PEERS, Peer, PeerKind, StageError};

/// What runs for a case.
pub struct Stages<'a> {
    driver: &'a Driver,
    case: &'a Case,
    engine: Option<Engine>,
    script: Option<Engine>,
    copy: Option<Engine>,
    bare: Option<Bare>,
    peers: [Option<Peer>; PEERS.len()],
}

impl<'a> Stages<'a> {
    pub(super) fn new(driver: &'a Driver, case: &'a Case) -> Self {
        Self {
            driver,
            case,
            engine: None,
            script: None,
            copy: None,
            bare: None,
            peers: [const { None }; PEERS.len()],
        }
    }

    /// The engine as the case runs it.
    pub(super) async fn engine(&mut self) -> Result<&Engine, DriveError> {
        start(&mut self.engine, self.driver, &self.case.engine.settings()).await
    }

    /// An engine whose worker is frozen once it has opened: an open partition that nobody else touches, for calls of the
    /// claim script alone.
    pub(super) async fn script_stage(&mut self) -> Result<&Engine, DriveError> {
        // The longest lease there is: nobody renews it.
        let mut settings = EngineSettings::default();
        settings.settings.insert("lease_ms".into(), "300000".into());
        settings.settings.insert("backlog_max".into(), "100000000".into());
        if let Some(old) = self.script.take() {
            // Its lease is running out, and its log is full of orders that nobody made.
            old.stop().await;
        }
        start(&mut self.script, self.driver, &settings).await
    }

    /// An engine that does nothing, for its tables alone.
    pub(super) async fn copy_stage(&mut self) -> Result<&Engine, DriveError> {
        start(&mut self.copy, self.driver, &EngineSettings::default()).await
    }

    pub(super) async fn bare(&mut self) -> Result<&Bare, DriveError> {
        let bare = match self.bare.take() {
            Some(bare) => bare,
            None => Bare::start(&self.driver.base).await?,
        };
        Ok(self.bare.insert(bare))
    }

    pub(super) async fn peer(&mut self, kind: PeerKind) -> Result<&Peer, DriveError> {
        let index = PEERS.iter().position(|peer| *peer == kind).unwrap_or_default();
        let peer = match self.peers[index].take() {
            Some(peer) => peer,
            None => Peer::start(&self.driver.base, kind).await?,
        };
        Ok(self.peers[index].insert(peer))
    }

    /// Ends everything in order: processes before their servers.
    pub(super) async fn stop(self) {
        for engine in [self.engine, self.script, self.copy].into_iter().flatten() {
            engine.stop().await;
        }
        for peer in self.peers.into_iter().flatten() {
            peer.process.stop().await;
        }
    }
}

async fn start<'e>(
    slot: &'e mut Option<Engine>,
    driver: &Driver,
    settings: &EngineSettings,
) -> Result<&'e Engine, DriveError> {
    let engine = match slot.take() {
        Some(engine) => engine,
        None => Engine::start(&driver.base, settings).await.map_err(|error: StageError| error)?,
    };
    Ok(slot.insert(engine))
}
