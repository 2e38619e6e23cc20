//! Tokens: who may trade and read, and whose a key is.

use std::{fs, time::Duration};

use bazaar_frontend::Options;
use bazaar_service::auth::tokens::hash;
use bazaar_tests::described::Document;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    description::filled,
    fakes::{Bazaar, Got, bazaar_of, got},
};

/// Longest wait for a piece of a stream; the file of tokens is looked at every 5 s.
const PATIENCE: Duration = Duration::from_secs(30);
const TRADE: &str = r#"{"name":"GameStart","type":"buy","quantity":1}"#;
const OTHER_TRADE: &str = r#"{"name":"GameStart","type":"buy","quantity":2}"#;

/// A frontend whose tokens are called as they read.
async fn guarded(more: &str) -> (Bazaar, TempDir) {
    guarded_of(Options::default(), more).await
}

async fn guarded_of(options: Options, more: &str) -> (Bazaar, TempDir) {
    let dir = TempDir::new().unwrap();
    let entry = |(name, scope): (&str, &str)| {
        format!("[[token]]\nname = \"{name}\"\nhash = \"{}\"\nscopes = [\"{scope}\"]\n", hash(name))
    };
    let tokens = [("till", "trade"), ("shop", "trade"), ("page", "read"), ("boss", "admin")].map(entry);
    let file = dir.path().join("tokens.toml");
    fs::write(&file, tokens.concat()).unwrap();
    let settings = format!("cache_size = 5\n[auth]\ntokens = \"{}\"\n{more}", file.display());
    (bazaar_of(options, &settings).await, dir)
}

impl Bazaar {
    async fn trade_as(&self, token: &str, key: &str, body: &'static str) -> Got {
        let request = self.post_to("/orders").bearer_auth(token).header("content-type", "application/json");
        got(request.header("idempotency-key", key).body(body)).await
    }

    async fn get_as(&self, token: &str, path: &str) -> Got {
        got(self.client.get(format!("http://{}{path}", self.public)).bearer_auth(token)).await
    }

    async fn data_as(&self, token: &str, path: &str) -> Value {
        self.get_as(token, path).await.json()["data"].clone()
    }
}

#[tokio::test]
async fn a_trade_needs_a_token_that_permits_it() {
    let (bazaar, _dir) = guarded("").await;
    let nobody = bazaar.post("/orders", TRADE).await;
    assert_eq!((nobody.status, nobody.kind().as_str()), (401, "unauthenticated"));
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    assert_eq!(nobody.json()["error"]["outcome"], "not_applied");
    for token in ["page", "boss"] {
        let refused = bazaar.trade_as(token, "k", TRADE).await;
        assert_eq!((refused.status, refused.kind().as_str()), (403, "forbidden"), "{token}");
        assert_eq!(refused.json()["error"]["outcome"], "not_applied");
    }
    assert!(bazaar.shared.world().requests.is_empty(), "nothing reached a replica");
    assert_eq!(bazaar.trade_as("till", "k", TRADE).await.status, 200);
}

#[tokio::test]
async fn every_public_path_but_probes_and_descriptions_asks_for_a_token() {
    let (bazaar, _dir) = guarded("").await;
    let document = Document::new(bazaar.get("/openapi.json").await.json());
    let described = document.operations().map(|(method, path, _)| (method.to_owned(), filled(path)));
    let others =
        ["/docs/", "/stocks?stock_name=GameStart", "/orders?order_no=1"].map(|path| ("get".into(), path.into()));
    let (mut asked, mut open) = (0, Vec::new());
    for (method, path) in described.chain(others) {
        let url = format!("http://{}{path}", bazaar.public);
        let request = || bazaar.client.request(method.to_uppercase().parse().unwrap(), &url);
        let nobody = got(request()).await;
        if nobody.status == 200 {
            open.push(path);
            continue;
        }
        assert_eq!((nobody.status, nobody.kind().as_str()), (401, "unauthenticated"), "{method} {path}");
        let boss = got(request().bearer_auth("boss")).await;
        assert_eq!((boss.status, boss.kind().as_str()), (403, "forbidden"), "{method} {path}");
        if path.split('?').next() != Some("/orders/stream") {
            let allowed = got(request().bearer_auth("till")).await;
            assert!(![401, 403].contains(&allowed.status), "{method} {path}: {}", allowed.text);
        }
        asked += 1;
    }
    open.sort();
    assert_eq!(open, ["/docs/", "/livez", "/openapi.json", "/readyz"]);
    assert!(asked > 12, "{asked}");
}

#[tokio::test]
async fn where_the_page_would_be_it_is_said_why_there_is_none() {
    let (bazaar, _dir) = guarded("").await;
    for path in ["/ui", "/ui/events"] {
        let absent = bazaar.get(path).await;
        assert_eq!((absent.status, absent.kind().as_str()), (404, "not_found"), "{path}");
        assert!(absent.text.contains("[auth]") && absent.text.contains("docs/page.md"), "{}", absent.text);
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_taken_away() {
    let options = Options { keep_alive_every: Duration::from_millis(50), ..Options::default() };
    let (bazaar, dir) = guarded_of(options, "").await;
    let url = format!("http://{}/orders/stream", bazaar.public);
    let mut stream = bazaar.client.get(&url).bearer_auth("page").send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let piece = timeout(PATIENCE, stream.chunk()).await.expect("a sign of life").unwrap();
    assert!(piece.is_some_and(|piece| piece.starts_with(b": keep-alive\n\n")));
    fs::write(dir.path().join("tokens.toml"), "").unwrap();
    let ending = async { while stream.chunk().await.unwrap().is_some() {} };
    timeout(PATIENCE, ending).await.expect("the end in time");
}

#[tokio::test]
async fn plain_requests_do_not_pass_by_the_check() {
    let (bazaar, _dir) = guarded("").await;
    let length = TRADE.len();
    let requests = [
        "GET /stocks/GameStart HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        format!("POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{TRADE}"),
    ];
    for request in requests {
        let mut stream = TcpStream::connect(bazaar.public).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

#[tokio::test]
async fn reads_may_be_for_all_and_trades_are_not() {
    let (bazaar, _dir) = guarded("anonymous_reads = true").await;
    assert_eq!(bazaar.get("/stocks/GameStart").await.status, 200);
    assert_eq!(bazaar.get_as("nobody", "/stocks/GameStart").await.status, 401, "a wrong token is never for all");
    assert_eq!(bazaar.post("/orders", TRADE).await.status, 401);
}

#[tokio::test]
async fn two_tokens_with_the_same_key_do_not_see_each_other() {
    let (bazaar, _dir) = guarded("").await;
    let longest = "k".repeat(255);
    for (turn, key) in ["k", longest.as_str(), "till"].into_iter().enumerate() {
        let of_till = bazaar.trade_as("till", key, TRADE).await;
        let of_shop = bazaar.trade_as("shop", key, OTHER_TRADE).await;
        assert_eq!((of_till.status, of_shop.status), (200, 200), "{}", of_shop.text);
        assert_eq!((of_till.header("idempotency-key"), of_shop.header("idempotency-replayed")), (key, ""));
        let (first, second) = (2 * turn as u64 + 1, 2 * turn as u64 + 2);
        for (token, body, number) in [("till", TRADE, first), ("shop", OTHER_TRADE, second)] {
            let again = bazaar.trade_as(token, key, body).await;
            assert_eq!(again.header("idempotency-replayed"), "true", "{token}");
            assert_eq!(again.json()["data"]["transaction_number"], number, "{token}");
            let found = bazaar.data_as(token, &format!("/orders/by-key/{key}")).await;
            assert_eq!((&found["number"], found["key"].as_str()), (&number.into(), Some(key)), "{token}");
        }
        assert_eq!(bazaar.get_as("page", &format!("/orders/by-key/{key}")).await.status, 404);
    }
}

#[tokio::test]
async fn the_key_of_an_order_is_shown_to_its_sender_only() {
    let (bazaar, _dir) = guarded("").await;
    assert_eq!(bazaar.trade_as("till", "secret", TRADE).await.status, 200);
    let batch = r#"{"orders":[{"key":"secret-2","name":"BoarCo","type":"buy","quantity":1}]}"#;
    let request = bazaar.post_to("/orders/batch").bearer_auth("till").header("content-type", "application/json");
    assert_eq!(got(request.body(batch)).await.status, 200);
    let paths = ["/orders/1", "/orders/2", "/orders", "/order?order_number=2"];
    for path in paths {
        assert!(bazaar.get_as("till", path).await.text.contains("\"key\":\"secret"), "{path}");
        let seen = bazaar.get_as("shop", path).await.text;
        assert!(
            !seen.contains("secret") && !seen.contains("till") && seen.contains("\"key\":\"hidden:"),
            "{path} {seen}"
        );
    }
    let page = bazaar.data_as("shop", "/orders").await;
    assert_ne!(page[0]["key"], page[1]["key"], "they can still be told apart");
}
