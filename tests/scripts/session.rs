//! A session reaches the process that it reached before, or nothing. Only beside the marker are scripts loaded.

use std::time::Duration;

use doorbuster::redis::{
    RedisError, ReplicaWait, Script, ScriptTexts, Session, SessionPool, Stamp, StampedScripts,
};

use crate::shop::Shop;

const WAIT: ReplicaWait = ReplicaWait { replicas: 1, limit: Duration::from_millis(50) };

/// The scripts of another version, under the stamp of this shop.
fn other_version(shop: &Shop) -> StampedScripts {
    let texts = ScriptTexts::changed(|_, text| format!("{text}-- of another version\n"));
    StampedScripts::of(texts, shop.at.scripts.stamp)
}

async fn load_all(session: &Session, scripts: &StampedScripts, shop: &Shop) -> Result<(), RedisError> {
    session.load_beside_marker(scripts, &Script::ALL, &shop.at.keys.meta).await
}

async fn known_scripts(shop: &Shop, scripts: &StampedScripts) -> usize {
    let mut args = vec!["EXISTS".into()];
    args.extend(Script::ALL.map(|script| scripts.digest(script).into()));
    let known = shop.at.redis.command("SCRIPT", &shop.at.keys.meta, args).await.unwrap();
    known.convert::<Vec<bool>>().unwrap().into_iter().filter(|known| *known).count()
}

#[tokio::test]
async fn a_session_does_not_outlive_its_server() {
    let mut shop = Shop::open(&[("A", 5)]).await;
    let session = shop.at.redis.session().await.unwrap();
    let meta = shop.at.keys.meta.clone();
    assert!(session.redis().on_key("EXISTS", &meta, vec![]).await.is_ok() && !session.is_broken());
    shop.server.server.kill().await.unwrap();
    shop.server.server.restart().await.unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    // A client that connects again reaches the new process,
    while shop.at.redis.on_key("EXISTS", &meta, vec![]).await.is_err() {
        assert!(std::time::Instant::now() < end, "the client does not connect again");
    }
    // the session does not.
    assert!(session.is_broken());
    assert!(load_all(&session, &shop.at.scripts, &shop).await.is_err());
    assert_eq!(known_scripts(&shop, &shop.at.scripts).await, 0);
}

#[tokio::test]
async fn another_version_loads_its_scripts_beside_the_marker() {
    let shop = Shop::open(&[("A", 5)]).await;
    let (session, other) = (shop.at.redis.session().await.unwrap(), other_version(&shop));
    assert_eq!(known_scripts(&shop, &other).await, 0);
    load_all(&session, &other, &shop).await.unwrap();
    assert_eq!(known_scripts(&shop, &other).await, Script::ALL.len());
}

#[tokio::test]
async fn without_the_marker_of_this_opening_nothing_is_loaded() {
    let mut shop = Shop::open(&[("A", 5)]).await;
    let session = shop.at.redis.session().await.unwrap();
    let mut later = other_version(&shop).stamp;
    later.epoch += 1;
    let later = StampedScripts::new(later);
    let refused = load_all(&session, &later, &shop).await;
    assert!(matches!(refused, Err(RedisError::Fenced(_))), "{refused:?}");
    assert_eq!(known_scripts(&shop, &later).await, 0);

    shop.at.redis.command("SCRIPT", &shop.at.keys.meta, vec!["FLUSH".into()]).await.unwrap();
    let refused = load_all(&session, &shop.at.scripts, &shop).await;
    assert!(matches!(refused, Err(RedisError::Fenced(_))), "{refused:?}");

    shop.server.server.restart().await.unwrap();
    let session = shop.at.redis.session().await.unwrap();
    let refused = load_all(&session, &shop.at.scripts, &shop).await;
    assert!(matches!(refused, Err(RedisError::Fenced(_))), "{refused:?}");
    assert_eq!(known_scripts(&shop, &shop.at.scripts).await, 0);
}

#[tokio::test]
async fn a_wait_tells_that_nobody_holds_what_was_written() {
    let shop = Shop::open(&[("A", 5)]).await;
    let session = shop.at.redis.session_with_waits(WAIT.limit).await.unwrap();
    let touch = || {
        let meta = vec![shop.at.keys.meta.clone()];
        session.run_and_wait(&shop.at.scripts, Script::Touch, meta, vec![], WAIT)
    };
    for time in 1..=2 {
        let held = touch().await.unwrap();
        assert_eq!((held.reply.as_i64(), held.replicas.clone()), (Some(time), Ok(0)));
        assert!(!held.by(WAIT));
    }
    let none_asked = ReplicaWait { replicas: 0, ..WAIT };
    assert!(touch().await.unwrap().by(none_asked));
    // What the script refuses is refused, whatever WAIT says.
    shop.at.raw("HSET", &shop.at.keys.meta, &["lease_until", "1"]).await;
    assert!(matches!(touch().await, Err(RedisError::Fenced(_))));
}

#[tokio::test]
async fn a_session_is_used_again_under_its_own_opening_only() {
    let shop = Shop::open(&[]).await;
    let pool = SessionPool::new(shop.at.redis.clone(), WAIT.limit);
    let id = async |session: &Session| {
        session
            .redis()
            .command("CLIENT", &shop.at.keys.meta, vec!["ID".into()])
            .await
            .unwrap()
            .as_i64()
            .unwrap()
    };
    let stamp = shop.at.scripts.stamp;
    let first = pool.take(&stamp).await.unwrap();
    let first_id = id(&first).await;
    // Another call at the same time has a connection of its own.
    assert_ne!(id(&pool.take(&stamp).await.unwrap()).await, first_id);
    pool.give_back(stamp, first);
    let again = pool.take(&stamp).await.unwrap();
    assert_eq!(id(&again).await, first_id);
    pool.give_back(stamp, again);
    // After a failover it may lead to the server that was primary before.
    let later = Stamp { epoch: stamp.epoch + 1, ..stamp };
    assert_ne!(id(&pool.take(&later).await.unwrap()).await, first_id);
    assert_ne!(id(&pool.take(&stamp).await.unwrap()).await, first_id, "kept though its opening is over");
}
