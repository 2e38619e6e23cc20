//! The internal and the admin listener, the lease, and the cache log.

use serde_json::json;

use crate::fakes::{bazaar, bazaar_with, got, start};

#[tokio::test]
async fn one_stock_can_be_dropped() {
    let bazaar = bazaar().await;
    bazaar.get("/stocks/GameStart").await;
    let drop = |name: &str| got(bazaar.client.post(format!("http://{}/invalidation/{name}", bazaar.internal)));
    assert_eq!(drop("GameStart").await.json(), json!({"data": {"name": "GameStart", "dropped": true}}));
    assert_eq!(drop("GameStart").await.json(), json!({"data": {"name": "GameStart", "dropped": false}}));
    assert_eq!(drop("no%20name").await.status, 400);
}

#[tokio::test]
async fn internal_and_admin_paths_are_not_public() {
    let bazaar = bazaar().await;
    for path in ["/metrics", "/rm?stock_name=GameStart", "/invalidation", "/admin/raft", "/health", "/subscribe"] {
        assert_eq!(bazaar.get(path).await.status, 404, "{path}");
    }
    assert_eq!(bazaar.post("/invalidation/GameStart", "").await.status, 404);
}

#[tokio::test]
async fn the_admin_listener_shows_what_was_counted() {
    let bazaar = bazaar().await;
    bazaar.get("/stocks/GameStart").await;
    bazaar.get("/stocks/GameStart").await;
    let admin = |path: &str| got(bazaar.client.get(format!("http://{}{path}", bazaar.admin)));
    let metrics = admin("/metrics").await.text;
    for name in ["bazaar_frontend_cache_hits_total", "bazaar_frontend_request_seconds_bucket{type=\"lookup\""] {
        assert!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }
    assert_eq!((admin("/livez").await.status, admin("/readyz").await.status), (200, 200));
    assert_eq!((bazaar.get("/livez").await.status, bazaar.get("/readyz").await.status), (200, 200));
}

#[tokio::test]
async fn the_lease_is_asked_for_with_the_internal_address_and_given_back_at_the_end() {
    let bazaar = bazaar().await;
    let asked = bazaar.shared.world().subscribed.clone().unwrap();
    assert_eq!((asked.session, asked.internal_address), (1, bazaar.internal.to_string()));
    let shared = bazaar.stop().await;
    let world = shared.world();
    let back = world.unsubscribed.expect("it unsubscribed");
    assert_eq!((back.frontend, back.session), (asked.frontend, 1));
}

#[tokio::test]
async fn after_a_lapse_the_next_session_is_asked_for() {
    let bazaar = start("", 300).await;
    bazaar.until_ready().await;
    bazaar.shared.world().lease_millis = 0;
    bazaar.until("session 2", |world| world.subscribed.as_ref().is_some_and(|asked| asked.session == 2)).await;
    assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "bypass");
}

#[tokio::test]
async fn the_cache_log_lists_the_names_after_each_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.log");
    let bazaar = bazaar_with(&format!("cache_size = 2\ncache_log = {:?}", path.to_str().unwrap())).await;
    for name in ["GameStart", "BoarCo", "GameStart", "MenhirCo"] {
        bazaar.get(&format!("/stocks/{name}")).await;
    }
    let wanted = "GameStart\nBoarCo GameStart\nMenhirCo GameStart\n";
    let written = async {
        while std::fs::read_to_string(&path).unwrap_or_default() != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), written).await.expect("the three lines");
}
