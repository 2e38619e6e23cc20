//! Lookups: cache, entity tags, consistency, one fetch for many.

use std::sync::Arc;

use bazaar_domain::internal::InvalidationBatch;
use bazaar_service::Caller;
use tokio::sync::Notify;

use crate::fakes::{Bazaar, bazaar, bazaar_with, got, start};

const GAME_START: &str = r#"{"data":{"name":"GameStart","price":15.99,"quantity":100,"trade_volume":0,"version":1}}"#;

#[tokio::test]
async fn the_second_lookup_is_a_hit_with_the_same_answer() {
    let bazaar = bazaar().await;
    let first = bazaar.get("/stocks/GameStart").await;
    let second = bazaar.get("/stocks/GameStart").await;
    assert_eq!((first.status, first.header("x-cache"), first.text.as_str()), (200, "miss", GAME_START));
    assert_eq!((second.status, second.header("x-cache"), second.text.as_str()), (200, "hit", GAME_START));
    assert_eq!((first.header("etag"), second.header("etag")), ("\"1\"", "\"1\""));
    assert_eq!(second.header("content-type"), "application/json");
    assert_eq!(bazaar.shared.fetches(), 1);
}

#[tokio::test]
async fn a_known_version_is_answered_with_304() {
    let bazaar = bazaar().await;
    let url = format!("http://{}/stocks/GameStart", bazaar.public);
    for tags in ["\"1\"", "W/\"1\"", "\"7\", \"1\"", "*"] {
        let answer = got(bazaar.client.get(&url).header("if-none-match", tags)).await;
        assert_eq!((answer.status, answer.text.as_str(), answer.header("etag")), (304, "", "\"1\""), "{tags}");
    }
    assert_eq!(got(bazaar.client.get(&url).header("if-none-match", "\"2\"")).await.status, 200);
}

#[tokio::test]
async fn an_unknown_stock_is_404_each_time_and_not_kept() {
    let bazaar = bazaar().await;
    for fetches in 1..=2 {
        let answer = bazaar.get("/stocks/Nobody").await;
        assert_eq!((answer.status, answer.kind().as_str()), (404, "stock_not_found"));
        assert_eq!(answer.json()["error"]["message"], "stock not found");
        assert_eq!(bazaar.shared.fetches(), fetches);
    }
}

#[tokio::test]
async fn a_cache_of_size_0_is_bypassed_and_takes_no_lease() {
    let bazaar = bazaar_with("cache_size = 0").await;
    for _ in 0..2 {
        assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "bypass");
    }
    assert_eq!(bazaar.shared.fetches(), 2);
    assert!(bazaar.shared.world().subscribed.is_none());
}

#[tokio::test]
async fn without_a_lease_lookups_bypass_the_cache_and_the_frontend_is_as_ready_as_the_catalog() {
    let bazaar = start("", 0).await;
    bazaar.until("a lease request", |world| world.subscribed.is_some()).await;
    for _ in 0..2 {
        assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "bypass");
    }
    bazaar.until_ready().await;
    bazaar.shared.world().catalog_is_current = false;
    let ready = bazaar.get("/readyz").await;
    assert_eq!((ready.status, ready.kind().as_str()), (503, "catalog_unavailable"));
}

#[tokio::test]
async fn an_answer_marked_not_cacheable_is_fetched_again() {
    let bazaar = bazaar().await;
    bazaar.shared.world().cacheable = false;
    for _ in 0..2 {
        assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "miss");
    }
    assert_eq!(bazaar.shared.fetches(), 2);
}

#[tokio::test]
async fn stale_lookups_ask_the_catalog_and_are_marked() {
    let bazaar = bazaar().await;
    bazaar.shared.world().catalog_is_current = false;
    let current = bazaar.get("/stocks/GameStart").await;
    assert_eq!((current.status, current.kind().as_str(), current.header("retry-after")), (503, "no_leader", "1"));
    let stale = bazaar.get("/stocks/GameStart?consistency=stale").await;
    assert_eq!((stale.status, stale.header("x-consistency"), stale.text.as_str()), (200, "stale", GAME_START));
    let other = bazaar.get("/stocks/GameStart?consistency=strong").await;
    assert_eq!((other.status, other.kind().as_str()), (400, "invalid_request"));
}

#[tokio::test]
async fn a_frontend_may_be_told_to_answer_with_old_values_by_itself() {
    let bazaar = bazaar_with("read_consistency = \"stale-ok\"").await;
    let current = bazaar.get("/stocks/GameStart").await;
    assert_eq!((current.status, current.header("x-consistency")), (200, ""));
    bazaar.shared.world().catalog_is_current = false;
    let cached = bazaar.get("/stocks/GameStart").await;
    assert_eq!((cached.header("x-cache"), cached.header("x-consistency")), ("hit", ""));
    let stale = bazaar.get("/stocks/BoarCo").await;
    assert_eq!((stale.status, stale.header("x-consistency")), (200, "stale"));
    let older_form = bazaar.get("/stocks?stock_name=BoarCo").await;
    assert_eq!((older_form.status, older_form.header("x-consistency")), (200, "stale"));
    let unknown = bazaar.get("/stocks/NotInAnOldCopy").await;
    assert_eq!((unknown.status, unknown.kind().as_str()), (503, "no_leader"), "an old copy cannot know");
    bazaar.shared.world().catalog_is_current = true;
    let current = bazaar.get("/stocks/BoarCo").await;
    assert_eq!((current.header("x-cache"), current.header("x-consistency")), ("miss", ""), "what is old is not kept");
}

#[tokio::test]
async fn a_catalog_that_cannot_be_reached_is_told_as_such() {
    // Port 9 of this machine is not listened on.
    let text = "[catalog]\nservice = \"127.0.0.1:9\"\n[[replica]]\nid = 1\nservice = \"127.0.0.1:10\"\n\
                peers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    let config = Arc::new(bazaar_domain::config::ClusterConfig::parse(text).unwrap());
    let bind = || async { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap() };
    let listeners = bazaar_frontend::Listeners { public: bind().await, internal: bind().await, admin: bind().await };
    let public = listeners.public.local_addr().unwrap();
    tokio::spawn(bazaar_frontend::run(listeners, config, tokio_util::sync::CancellationToken::new()));
    let answer = got(Caller::new().http().get(format!("http://{public}/stocks/GameStart"))).await;
    assert_eq!(
        (answer.status, answer.kind().as_str(), answer.header("retry-after")),
        (503, "catalog_unavailable", "1")
    );
    let leader = got(Caller::new().http().get(format!("http://{public}/leader"))).await;
    assert_eq!((leader.status, leader.kind().as_str()), (503, "no_quorum"));
    assert_eq!(leader.json()["error"]["message"], "no_quorum: 0 of 1 replicas reachable, need 1; 1: refused");
}

#[tokio::test]
async fn the_list_of_stocks_comes_from_the_catalog() {
    let answer = bazaar().await.get("/stocks").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"][0]["name"], "BoarCo");
    assert_eq!(answer.header("x-log-index"), "5", "it says at which log index it is a snapshot");
}

#[tokio::test]
async fn the_request_id_goes_along_to_the_catalog_and_back() {
    let bazaar = bazaar().await;
    let request = bazaar.client.get(format!("http://{}/stocks/GameStart", bazaar.public));
    let answer = got(request.header("x-request-id", "id-7")).await;
    assert_eq!(answer.header("x-request-id"), "id-7");
    assert_eq!(bazaar.shared.world().ids, ["id-7"]);
}

/// Starts so many lookups of one stock, and waits until the first one has reached the catalog.
async fn lookups(bazaar: &Bazaar, count: usize) -> Vec<tokio::task::JoinHandle<String>> {
    let url = format!("http://{}/stocks/GameStart", bazaar.public);
    let tasks = (0..count).map(|_| {
        let request = bazaar.client.get(&url);
        tokio::spawn(async move { got(request).await.text })
    });
    let tasks = tasks.collect();
    while bazaar.shared.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    tasks
}

#[tokio::test]
async fn lookups_that_miss_together_share_a_fetch() {
    let bazaar = bazaar().await;
    let gate = Arc::new(Notify::new());
    *bazaar.shared.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let tasks = lookups(&bazaar, 20).await;
    gate.notify_one();
    for task in tasks {
        assert_eq!(task.await.unwrap(), GAME_START);
    }
    assert_eq!(bazaar.shared.fetches(), 1);
}

#[tokio::test]
async fn a_fetch_that_an_invalidation_overtook_is_answered_but_not_kept() {
    let bazaar = bazaar().await;
    let gate = Arc::new(Notify::new());
    *bazaar.shared.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let tasks = lookups(&bazaar, 1).await;
    let index = bazaar.shared.world().log_index + 1;
    let batch =
        InvalidationBatch { incarnation: 1, session: 1, batch: 1, index, names: vec!["GameStart".parse().unwrap()] };
    let url = format!("http://{}/invalidation", bazaar.internal);
    let ack: bazaar_domain::internal::InvalidationAck =
        Caller::new().post(&url, &batch, std::time::Duration::from_secs(5), None).await.unwrap();
    assert_eq!((ack.session, ack.batch, ack.incarnation), (1, 1, 1));
    gate.notify_one();
    for task in tasks {
        assert_eq!(task.await.unwrap(), GAME_START);
    }
    *bazaar.shared.gate.lock().unwrap() = None;
    bazaar.shared.world().log_index = index;
    assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "miss");
    assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "hit");
}
