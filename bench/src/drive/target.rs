//! What a load is sent to: one interface to the engine, a peer and the bare server.

use std::net::SocketAddr;

use crate::check::{check_engine, check_peer, orders_of_peer, sold_of_sales};
use crate::cost::{Processor, Storage};
use crate::load::{Shop, Tally};
use crate::stage::{Bare, Engine, Peer, StageError};

/// What a load is sent to.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// The engine.
    Engine(&'a Engine),
    /// A peer.
    Peer(&'a Peer),
    /// The bare server, which sells nothing.
    Bare(&'a Bare),
}

impl Target<'_> {
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Engine(engine) => engine.address,
            Self::Peer(peer) => peer.address,
            Self::Bare(bare) => bare.address,
        }
    }

    /// Whose time is counted, and as what.
    pub(super) fn processor(&self) -> Processor {
        match self {
            Self::Engine(engine) => Processor::default()
                .with("api", Some(engine.api.pid()))
                .with("worker", Some(engine.worker.pid()))
                .with("redis", engine.servers.redis.pid())
                .with("replica", engine.servers.replica.as_ref().and_then(|replica| replica.pid()))
                .with("postgres", engine.servers.postgres.pid()),
            Self::Peer(peer) => Processor::default()
                .with("service", Some(peer.process.pid()))
                .with("redis", peer.servers.redis.pid())
                .with("postgres", peer.servers.postgres.pid()),
            Self::Bare(bare) => Processor::default().with("service", Some(bare.process.pid())),
        }
        .with_load()
    }

    pub(super) async fn create_sales(&self, shop: &Shop, stock: u64) -> Result<(), StageError> {
        for sale in shop.sales.iter() {
            match self {
                Self::Engine(engine) => engine.create_sale(sale, &shop.skus, stock).await?,
                Self::Peer(peer) => peer.create_sale(sale, &shop.skus, stock).await?,
                Self::Bare(_) => {}
            }
        }
        Ok(())
    }

    /// Orders (of one unit each) that are in Postgres.
    pub(super) async fn persisted(&self, shop: &Shop) -> Result<u64, StageError> {
        match self {
            Self::Engine(engine) => sold_of_sales(engine, &shop.sales).await,
            Self::Peer(peer) => orders_of_peer(peer, &shop.sales[0]).await,
            Self::Bare(_) => Ok(0),
        }
    }

    pub(super) async fn storage(&self) -> Result<Option<Storage>, StageError> {
        match self {
            Self::Engine(engine) => Storage::read(&engine.servers).await.map(Some),
            Self::Peer(peer) => Storage::read(&peer.servers).await.map(Some),
            Self::Bare(_) => Ok(None),
        }
    }

    /// How many orders a run must end with.
    pub(super) fn expected(&self, seen: &Tally, stock: u64) -> u64 {
        match self {
            Self::Bare(_) => 0,
            // What was only queued may still be refused, once the stock is gone.
            Self::Peer(peer) if peer.kind.answers_before_it_decides() => seen.accepted.count.min(stock),
            _ => seen.accepted.count,
        }
    }

    pub(super) async fn check(&self, shop: &Shop, seen: &Tally) -> Result<Vec<String>, StageError> {
        match self {
            Self::Engine(engine) => check_engine(engine, &shop.sales, &shop.skus, seen).await,
            Self::Peer(peer) => check_peer(peer, &shop.sales, seen).await,
            // Its one answer is a refusal.
            Self::Bare(_) => {
                let answered = seen.statuses.keys().all(|status| *status == 409) && seen.open == 0;
                Ok(if answered { Vec::new() } else { vec![format!("answers: {:?}", seen.statuses)] })
            }
        }
    }
}
