//! What no client can do to the service by what it sends: a clear refusal, nothing changed, and it goes on.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, chaos::Draw, wait_until};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Silent connections that must not keep others from trading.
const SILENT_CONNECTIONS: usize = 2_000;
/// Longest wait for an answer to a broken request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests that are made of a good one, for each listener.
const CHANGED_REQUESTS: u64 = 200;

fn address(cluster: &Cluster, name: Name) -> String {
    cluster.url_of(name).trim_start_matches("http://").to_owned()
}

/// Sends bytes as they are and reads until the service closes, or has nothing more to say for a while.
async fn raw(address: &str, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // The service may refuse, and close, before it has read all of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match timeout(ANSWER_TIMEOUT, stream.read(&mut buffer)).await.context("no answer and no end")? {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let key = if headers.contains("idempotency-key") { "" } else { "idempotency-key: k\r\n" };
    let head = format!("POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{key}{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// What a client may not send, and the statuses that refuse it; an empty answer is a closed connection.
fn broken_requests() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let trade = br#"{"name":"S1","type":"buy","quantity":1}"#;
    let long = "x".repeat(70_000);
    let deep = format!("{{\"name\":{}", "[".repeat(100_000));
    let chunks = format!("{:x}\r\n{}\r\n", 60_000, "y".repeat(60_000)).repeat(20) + "0\r\n\r\n";
    let framed = |body: &[u8]| post(&format!("content-length: {}\r\n", body.len()), body);
    vec![
        ("two lengths", post("content-length: 39\r\ncontent-length: 40\r\n", trade), &["400", ""]),
        (
            "a length and chunks",
            post("content-length: 5\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\nGET /"),
            &["400", ""],
        ),
        ("a long header", post(&format!("x-long: {long}\r\ncontent-length: 39\r\n"), trade), &["431", ""]),
        (
            "a long path",
            format!("GET /stocks/{long} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes(),
            &["400", "414", "431", ""],
        ),
        ("a deep body", framed(deep.as_bytes()), &["400", "413"]),
        (
            "a large chunked body",
            [post("transfer-encoding: chunked\r\n", b""), chunks.into_bytes()].concat(),
            &["413", ""],
        ),
        ("a compressed body", post("content-encoding: gzip\r\ncontent-length: 3\r\n", b"abc"), &["415"]),
        ("bytes that are no request", b"\x16\x03\x01 hello\r\n\r\n".to_vec(), &["400", ""]),
        ("a body that is no text", framed(b"{\"name\":\"\xff\xfe\",\"type\":\"buy\",\"quantity\":1}"), &["400"]),
        ("a mark before the body", framed(b"\xef\xbb\xbf{\"name\":\"S1\",\"type\":\"buy\",\"quantity\":1}"), &["400"]),
        (
            "a key that is not printable",
            post("idempotency-key: a\u{b}b\r\ncontent-length: 39\r\n", trade),
            &["400", ""],
        ),
        ("two keys", post("idempotency-key: a\r\nidempotency-key: b\r\ncontent-length: 39\r\n", trade), &["400"]),
        ("two hosts", post("host: y\r\ncontent-length: 39\r\n", trade), &["400"]),
        (
            "two media types",
            post("content-type: application/vnd.bazaar.record\r\ncontent-length: 39\r\n", trade),
            &["415"],
        ),
    ]
}

#[tokio::test]
async fn broken_requests_are_refused_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    let before = cluster.stock("S1").await?;
    for name in [Name::Frontend(1), Name::Replica(cluster.leader().await?)] {
        for (what, bytes, wanted) in broken_requests() {
            let answer = raw(&address(&cluster, name), &bytes).await?;
            let status = answer.split(' ').nth(1).unwrap_or_default();
            let refused = wanted.contains(&status) || (status.starts_with('4') && name != Name::Frontend(1));
            ensure!(refused, "{what} at {name:?}: {answer}");
        }
    }
    ensure!(cluster.stock("S1").await? == before, "a broken request changed a stock");
    ensure!(cluster.trade("after", "S1", "buy", 1).await?.0 == 200, "the service goes on");
    Ok(())
}

/// Two trades in one piece, one of them in chunks, with some bytes changed, taken away, put in or repeated.
fn changed(draw: &mut Draw, number: u64) -> Vec<u8> {
    let body = br#"{"name":"S1","type":"buy","quantity":1}"#;
    let head = |key: &str, end: &str| {
        format!("POST /orders HTTP/1.1\r\nhost: x\r\nidempotency-key: {number}-{key}\r\n{end}\r\n").into_bytes()
    };
    let chunks = [b"27\r\n", &body[..], b"\r\n0\r\n\r\n"].concat();
    let chunked = [head("chunked", "transfer-encoding: chunked\r\n"), chunks].concat();
    let plain = [head("plain", "content-length: 39\r\n"), body.to_vec()].concat();
    let mut bytes = if draw.one_in(2) { [plain, chunked].concat() } else { [chunked, plain].concat() };
    for _ in 0..=draw.below(3) {
        let place = draw.below(bytes.len() as u64) as usize;
        let byte = *draw.one_of(b"\r\n :;,0129afxPH/\0\x80\xff\t{}\"");
        match draw.below(4) {
            0 => bytes[place] = byte,
            1 => drop(bytes.remove(place)),
            2 => bytes.insert(place, byte),
            _ => {
                let end = (place + 1 + draw.below(60) as usize).min(bytes.len());
                bytes.splice(place..place, bytes[place..end].to_vec());
            }
        }
    }
    bytes
}

/// Sends bytes, says that no more come, and reads all that is answered.
async fn answers(address: &str, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // The service may close before it has read all of it.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let (mut all, mut part) = (Vec::new(), [0; 4_096]);
    while let Ok(count @ 1..) = timeout(ANSWER_TIMEOUT, stream.read(&mut part)).await.context("no end")? {
        all.extend_from_slice(&part[..count]);
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

#[tokio::test]
async fn what_changed_bytes_trade_is_what_they_are_answered() -> Result<()> {
    let cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let (mut draw, mut told) = (Draw::new(11), BTreeSet::new());
    for (turn, name) in (0..).zip([Name::Frontend(1), Name::Replica(leader)]) {
        for number in turn * CHANGED_REQUESTS..(turn + 1) * CHANGED_REQUESTS {
            let bytes = changed(&mut draw, number);
            let answers = answers(&address(&cluster, name), &bytes).await?;
            let shown = || format!("{name:?} {:?} got {answers}", String::from_utf8_lossy(&bytes));
            // On a busy machine the leader may lose its quorum for a moment.
            let is_fault = |answer: &str| answer.starts_with('5') && !answer.starts_with("503 ");
            ensure!(!answers.split("HTTP/1.1 ").skip(1).any(is_fault), shown());
            for receipt in answers.split("\"transaction_number\":").skip(1) {
                let digits: String = receipt.chars().take_while(char::is_ascii_digit).collect();
                told.insert(digits.parse::<u64>().with_context(shown)?);
            }
        }
    }
    let health = cluster.get(&format!("{}/health", cluster.url_of(Name::Replica(leader)))).await?.1;
    let orders = health["data"]["orders"].as_u64().context("the number of orders")?;
    ensure!(orders > CHANGED_REQUESTS / 2, "{orders} orders: too few requests were left good");
    ensure!(told.iter().copied().eq(1..=orders), "{orders} orders, and told of were {told:?}");
    Ok(())
}

#[tokio::test]
async fn a_page_of_the_log_without_an_entry_is_as_it_is_described() -> Result<()> {
    let cluster = Cluster::start().await?;
    for brief in [false, true] {
        let url = format!("{}/admin/log?after={}&brief={brief}", cluster.admin_url(1), u64::MAX);
        // Whoever asks for it through the harness has it compared with the description.
        let (status, page) = cluster.get(&url).await?;
        ensure!(status == 200 && page["data"].as_array().is_some_and(Vec::is_empty), "{status} {page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_reads_order_numbers_as_the_frontend_does() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.trade("first", "S1", "buy", 1).await?;
    for name in [Name::Frontend(1), Name::Replica(cluster.leader().await?)] {
        for (number, wanted) in [("1", 200), ("01", 200), ("+1", 400), ("-1", 400), ("%2B1", 400), ("1.0", 400)] {
            let (status, body) = cluster.get(&format!("{}/orders/{number}", cluster.url_of(name))).await?;
            ensure!(status == wanted, "{number} at {name:?}: {status} {body}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_told_of_the_batch() -> Result<()> {
    let cluster = Cluster::start().await?;
    let url = format!("{}/orders", cluster.url_of(Name::Replica(cluster.leader().await?)));
    let order = json!({"key": "k", "name": "S1", "type": "buy", "quantity": 1.5});
    let answer = cluster.client().post(&url).json(&json!({ "orders": [order] })).send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    ensure!(status == 400 && body.contains("1.5"), "{status} {body}");
    let order = json!({"key": "k", "name": "S1", "type": "buy", "quantity": 1});
    let batch = cluster.client().post(&url).header("idempotency-key", "").json(&json!({ "orders": [order] }));
    let status = batch.send().await?.status();
    ensure!(status == 400, "a batch with a key that is none: {status}");
    Ok(())
}

#[tokio::test]
async fn internal_paths_are_not_on_the_public_listener() -> Result<()> {
    let cluster = Cluster::start().await?;
    let internal =
        ["/invalidation", "/invalidation/S1", "/rm?stock_name=S1", "/metrics", "/admin/raft", "/lease", "/subscribe"];
    for path in internal {
        let (status, body) = cluster.get(&format!("{}{path}", cluster.url())).await?;
        ensure!(status == 404 && body["error"]["kind"] == "not_found", "{path}: {status} {body}");
    }
    Ok(())
}

#[tokio::test]
async fn silent_and_slow_connections_keep_nobody_from_trading() -> Result<()> {
    let cluster = Cluster::start().await?;
    let address = address(&cluster, Name::Frontend(1));
    let mut silent = Vec::with_capacity(SILENT_CONNECTIONS);
    for number in 0..SILENT_CONNECTIONS {
        let mut stream = TcpStream::connect(&address).await?;
        if number % 2 == 0 {
            stream.write_all(b"POST /orders HT").await?;
        }
        silent.push(stream);
    }
    for number in 0..20 {
        let (status, body) = cluster.trade(&format!("key-{number}"), "S1", "buy", 1).await?;
        ensure!(status == 200, "{status} {body}");
    }
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_no_raft_message_do_not_disturb_the_replicas() -> Result<()> {
    let cluster = Cluster::start().await?;
    let service = address(&cluster, Name::Replica(1));
    let port: u16 = service.rsplit(':').next().context("a port")?.parse()?;
    // The peer listener is beside the service listener.
    let answer = raw(&format!("127.0.0.1:{}", port + 1), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    ensure!(!answer.contains("200"), "the peer listener does not speak HTTP: {answer}");
    wait_until("trades go on", || async {
        cluster.trade("k", "S1", "buy", 1).await.ok().filter(|(status, _)| *status == 200)
    })
    .await?;
    Ok(())
}
