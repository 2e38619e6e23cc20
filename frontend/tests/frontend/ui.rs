//! The page: its parts and its policy, the stream that keeps it current, and who may command a playground.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use bazaar_frontend::{Options, Playground};
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fakes::{Bazaar, Got, bazaar, bazaar_of, bazaar_with, got};

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(10);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A page's stream of events.
struct Stream {
    answer: Response,
    unread: Vec<u8>,
}

/// One event: its id and its message.
type Told = (String, Value);

impl Stream {
    async fn open(bazaar: &Bazaar, last: Option<&str>) -> Self {
        let mut request = bazaar.client.get(format!("http://{}/ui/events", bazaar.public));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { answer, unread: Vec::new() }
    }

    /// The next event that has data; nothing at the end of the stream.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.unread.drain(..end + 2).collect();
                let event = std::str::from_utf8(&event).unwrap();
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let (id, data) = (field("id: "), field("data: "));
                if let Some(data) = data {
                    return Some((id.unwrap(), serde_json::from_str(&data).unwrap()));
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("news in time");
            // An end, and not an error: nothing may be cut off.
            self.unread.extend_from_slice(&chunk.unwrap()?);
        }
    }

    /// Reads on until an event of which this holds.
    async fn until(&mut self, holds: impl Fn(&Value) -> bool) -> Told {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if holds(&told.1) {
                return told;
            }
        }
    }
}

fn is_state(message: &Value, what: &str) -> bool {
    message["name"] == "state" && message["html"].as_str().is_some_and(|html| html.contains(what))
}

#[tokio::test]
async fn the_page_is_complete_without_scripts_and_lets_nothing_in() {
    let bazaar = bazaar().await;
    let page = bazaar.get("/ui").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.text.contains("replica 2 leads term 5"), "{}", page.text);
    for section in ["topology", "log", "replicas", "failovers", "traffic", "consistency"] {
        assert!(page.text.contains(&format!("<section id=\"{section}\"")), "{section}");
    }
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "it names something from elsewhere");
    for (asset, kind) in
        [("/ui/page.js", "text/javascript; charset=utf-8"), ("/ui/page.css", "text/css; charset=utf-8")]
    {
        let got = bazaar.get(asset).await;
        assert_eq!(
            (got.status, got.header("content-type"), got.header("x-content-type-options")),
            (200, kind, "nosniff")
        );
    }
}

#[tokio::test]
async fn a_page_that_was_away_gets_what_it_missed_and_nothing_twice() {
    let bazaar = bazaar().await;
    let mut stream = Stream::open(&bazaar, None).await;
    assert_eq!(stream.next().await.unwrap().1["type"], "reset");
    let (seen, _) = stream.until(|message| is_state(message, "replica 2 leads")).await;
    drop(stream);

    bazaar.shared.world().leader = None;
    let mut other = Stream::open(&bazaar, None).await;
    other.until(|message| is_state(message, "Unavailable")).await;

    let mut stream = Stream::open(&bazaar, Some(&seen)).await;
    let (first, message) = stream.next().await.unwrap();
    assert_ne!(message["type"], "reset");
    let mut number = number_of(&first);
    assert!(number > number_of(&seen));
    let mut said = Vec::new();
    while said.is_empty() {
        let (id, message) = stream.next().await.unwrap();
        assert!(number_of(&id) > number, "{id} came after {number}");
        number = number_of(&id);
        said.extend(message["text"].as_str().map(str::to_owned));
    }
    assert!(said[0].starts_with("Unavailable"), "{said:?}");
}

fn number_of(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn a_page_of_an_earlier_process_gets_everything_anew() {
    let bazaar = bazaar().await;
    let mut stream = Stream::open(&bazaar, Some("00000000000000ff-7")).await;
    assert_eq!(stream.next().await.unwrap().1["type"], "reset");
    stream.until(|message| is_state(message, "replica 2 leads")).await;
    stream.until(|message| message["name"] == "consistency").await;
}

#[tokio::test]
async fn an_open_stream_ends_when_the_frontend_stops() {
    let bazaar = bazaar().await;
    let mut stream = Stream::open(&bazaar, None).await;
    stream.next().await.unwrap();
    let stopping = tokio::spawn(bazaar.stop());
    let ending = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ending).await.expect("the end in time");
    stopping.await.unwrap();
}

#[tokio::test]
async fn only_so_many_pages_are_kept_current() {
    let bazaar = bazaar_of(Options { pages_max: 1, ..Options::default() }, "").await;
    let first = Stream::open(&bazaar, None).await;
    let refused = bazaar.get("/ui/events").await;
    assert_eq!((refused.status, refused.kind().as_str()), (503, "overloaded"));
    drop(first);
    let again = async {
        let url = format!("http://{}/ui/events", bazaar.public);
        while bazaar.client.get(&url).send().await.unwrap().status() != 200 {}
    };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
}

#[tokio::test]
async fn a_page_of_another_site_trades_nothing_and_sees_nothing() {
    let bazaar = bazaar().await;
    let trade = r#"{"name":"GameStart","type":"buy","quantity":1}"#;
    let own = format!("http://{}", bazaar.public);
    let from = async |origin: &str| got(bazaar.post_to("/orders").header("Origin", origin).body(trade)).await;
    for origin in ["http://evil.example", "null"] {
        let refused = from(origin).await;
        assert_eq!((refused.status, refused.kind().as_str()), (403, "forbidden"), "{origin}");
        assert_eq!(refused.json()["error"]["outcome"], "not_applied");
    }
    assert!(bazaar.shared.world().requests.is_empty(), "nothing reached a replica");
    let trade_from_own = bazaar.post_to("/orders").header("content-type", "application/json").header("Origin", &own);
    assert_eq!(got(trade_from_own.body(trade)).await.status, 200);
    for path in ["/ui", "/ui/events"] {
        let url = format!("http://{}{path}", bazaar.public);
        let refused = got(bazaar.client.get(url).header("Host", "evil.example")).await;
        assert_eq!((refused.status, refused.kind().as_str()), (403, "forbidden"), "{path}");
    }
}

#[tokio::test]
async fn the_page_can_be_switched_off() {
    let bazaar = bazaar_with("ui = false").await;
    for path in ["/ui", "/ui/events", "/ui/page.js"] {
        assert_eq!(bazaar.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_entry_of_a_replica_that_does_not_answer_is_said_to_be_unknown() {
    let bazaar = bazaar().await;
    let entry = bazaar.get("/ui/log/1/5").await;
    assert_eq!(entry.status, 502);
    assert!(entry.text.contains("the replica cannot be asked"), "{}", entry.text);
    assert_eq!(bazaar.get("/ui/log/9/5").await.status, 404);
    assert_eq!(bazaar.get("/ui/log/1/last").await.kind(), "invalid_request");
}

/// A playground whose script says what it was told.
async fn playground() -> (TempDir, Bazaar) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("cluster");
    let said = "#!/bin/sh\necho \"$1 $2\"\n[ \"$2\" != 3 ] || { echo gone >&2; exit 1; }\n";
    // A command for replica 2 takes until there is a file.
    let waits = "[ \"$2\" != 2 ] || { d=${0%/*}; echo > \"$d/begun\"; until [ -e \"$d/go\" ]; do sleep 0.05; done; }\n";
    fs::write(&script, format!("{said}{waits}")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("playground-token"), TOKEN).unwrap();
    fs::write(folder.path().join("cluster.toml"), "").unwrap();
    let playground = Playground::open(&script, folder.path(), &folder.path().join("cluster.toml")).unwrap();
    (folder, bazaar_of(Options { playground: Some(playground), ..Options::default() }, "").await)
}

async fn command(bazaar: &Bazaar, token: &str, origin: &str, body: Value) -> Got {
    let request = bazaar.post_to("/ui/control").header("X-Playground-Token", token).header("Origin", origin);
    got(request.json(&body)).await
}

#[tokio::test]
async fn without_a_playground_there_is_nothing_to_command() {
    let bazaar = bazaar().await;
    let own = format!("http://{}", bazaar.public);
    assert_eq!(command(&bazaar, TOKEN, &own, json!({ "verb": "kill", "name": "1" })).await.status, 404);
    assert!(!bazaar.get("/ui").await.text.contains("id=\"playground\""));
}

#[tokio::test]
async fn only_its_own_page_with_the_token_commands_a_playground() {
    let (_folder, bazaar) = playground().await;
    assert!(bazaar.get("/ui").await.text.contains("id=\"playground\""));
    let own = format!("http://{}", bazaar.public);
    let kill = || json!({ "verb": "kill", "name": "1" });
    for (token, origin) in [("", own.as_str()), (&TOKEN[1..], &own), (TOKEN, "http://evil.example")] {
        let refused = command(&bazaar, token, origin, kill()).await;
        assert_eq!((refused.status, refused.kind()), (403, "forbidden".to_owned()), "{token} {origin}");
    }
    let done = command(&bazaar, TOKEN, &own, kill()).await;
    assert_eq!((done.status, &done.json()["data"]["output"]), (200, &json!("kill 1")));
}

#[tokio::test]
async fn a_playground_takes_only_known_verbs_and_names_and_says_what_failed() {
    let (_folder, bazaar) = playground().await;
    let own = format!("http://{}", bazaar.public);
    for body in [
        json!({ "verb": "stop", "name": "1" }),
        json!({ "verb": "kill", "name": "--data" }),
        json!({ "verb": "kill", "name": "1", "more": 1 }),
        json!({ "verb": "pause", "name": "frontend" }),
    ] {
        let refused = command(&bazaar, TOKEN, &own, body.clone()).await;
        assert_eq!((refused.status, refused.kind()), (400, "invalid_request".to_owned()), "{body}");
    }
    let failed = command(&bazaar, TOKEN, &own, json!({ "verb": "kill", "name": "3" })).await;
    assert_eq!(failed.status, 500);
    assert!(failed.text.contains("gone"), "{}", failed.text);
}

#[tokio::test]
async fn a_command_goes_on_alone_when_its_browser_goes_away() {
    let (folder, bazaar) = playground().await;
    let own = format!("http://{}", bazaar.public);
    let kill = |name: &str| json!({ "verb": "kill", "name": name });
    let request = bazaar.post_to("/ui/control").header("X-Playground-Token", TOKEN).header("Origin", &own);
    let asking = tokio::spawn(request.json(&kill("2")).send());
    let wait = async {
        while !folder.path().join("begun").exists() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it begins");
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    // The connection is gone by now, or soon; the command is at work all the same.
    for _ in 0..3 {
        let refused = command(&bazaar, TOKEN, &own, kill("1")).await;
        assert_eq!((refused.status, refused.kind().as_str()), (503, "overloaded"));
    }
    fs::write(folder.path().join("go"), "").unwrap();
    let done = async { while command(&bazaar, TOKEN, &own, kill("1")).await.status != 200 {} };
    tokio::time::timeout(PATIENCE, done).await.expect("the next one has its turn");
}
