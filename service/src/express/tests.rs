use std::time::Duration;

use axum::response::IntoResponse;
use tokio::io::{DuplexStream, duplex};

use super::*;

/// Answers every `GET /ok` and `POST /ok` with what it was, unless the body is a fault.
#[derive(Clone)]
struct Echo;

impl Express for Echo {
    type Request = String;

    fn read(&self, head: &Head<'_>, body: &[u8]) -> Option<String> {
        (head.target == "/ok").then(|| format!("{:?} {}", head.method, String::from_utf8_lossy(body)))
    }

    async fn answer(&self, request: String, _id: &RequestId) -> Response {
        assert_ne!(request, "Post fault", "asked for");
        request.into_response()
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends these bytes at once, and returns what came back and how the connection left the express way.
async fn exchange(bytes: &[u8]) -> (String, Left) {
    let (mut client, mut server): (DuplexStream, _) = duplex(64 * 1024);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let left = serve(&mut server, &Echo, PATIENCE, PATIENCE, &CancellationToken::new()).await.unwrap();
    drop(server);
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    (answers, left)
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET /ok HTTP/1.1\r\nhost: x\r\n{headers}\r\n").into_bytes()
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let post = b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nX-Request-Id: mine\r\n\r\nbody";
    let (answers, left) = exchange(&[&get("Connection: keep-alive\r\n")[..], post].concat()).await;
    assert_eq!(left, Left::Closed);
    let bodies: Vec<&str> = answers.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
    assert_eq!(bodies.len(), 2, "{answers}");
    assert!(bodies[0].ends_with("\r\n\r\nGet ") && bodies[0].contains("content-length: 4\r\n"), "{answers}");
    assert!(bodies[1].ends_with("\r\n\r\nPost body") && bodies[1].contains("x-request-id: mine\r\n"), "{answers}");
}

#[tokio::test]
async fn what_is_not_understood_whole_goes_to_the_server_with_all_its_bytes() {
    let long = "a".repeat(200);
    let cases = [
        "GET /other HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET /ok HTTP/1.0\r\nhost: x\r\n\r\n".into(),
        "GET /ok HTTP/1.1\r\n\r\n".into(),
        "GET /ok HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n".into(),
        "GET /ok HTTP/1.1\r\nhost: x/y\r\n\r\n".into(),
        "GET /ok HTTP/1.1\r\nhost: x\r\n".into(),
        "PUT /ok HTTP/1.1\r\nhost: x\r\n\r\n".into(),
        "nonsense\r\n\r\n".into(),
        "POST /ok HTTP/1.1\r\nhost: x\r\n\r\n".into(),
        "POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nfour".into(),
        "POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nfour".into(),
        "POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: +4\r\n\r\nfour".into(),
        "POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551615\r\n\r\nfour".into(),
    ];
    let headers = [
        "accept: application/problem+json".to_owned(),
        "connection: close".into(),
        "expect: 100-continue".into(),
        "if-none-match: *".into(),
        "transfer-encoding: chunked".into(),
        "content-length: 0".into(),
        "content-encoding: gzip".into(),
        format!("x-request-id: {long}"),
        "x-request-id:".into(),
        "x-request-id: a\r\nx-request-id: b".into(),
        "origin: http://x".into(),
        "x-unknown: 1".into(),
    ];
    let headers = headers.iter().map(|header| String::from_utf8(get(&format!("{header}\r\n"))).unwrap());
    for case in cases.into_iter().chain(headers) {
        let (answers, left) = exchange(case.as_bytes()).await;
        assert_eq!((answers.as_str(), left), ("", Left::ForServer(case.clone().into_bytes())), "{case}");
    }
}

#[tokio::test]
async fn the_headers_that_plain_clients_send_are_taken() {
    for header in [
        "User-Agent: curl/8",
        "Accept: */*",
        "accept: application/json",
        "Accept-Encoding: gzip, deflate",
        "Connection: Keep-Alive",
        "content-type: application/json",
        "Idempotency-Key: k",
    ] {
        let (answers, left) = exchange(&get(&format!("{header}\r\n"))).await;
        assert_eq!((answers.matches("HTTP/1.1 200 OK").count(), left), (1, Left::Closed), "{header}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_goes_on() {
    let fault = b"POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nfault";
    let (answers, left) = exchange(&[&fault[..], &get("")].concat()).await;
    assert_eq!(left, Left::Closed);
    assert!(answers.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answers}");
    assert!(answers.contains(r#""kind":"internal""#) && answers.contains("HTTP/1.1 200 OK"), "{answers}");
}

#[tokio::test]
async fn what_was_answered_is_not_given_to_the_server_again() {
    let unusual = get("x-unknown: 1\r\n");
    let (answers, left) = exchange(&[&get("")[..], &unusual].concat()).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1);
    assert_eq!(left, Left::ForServer(unusual));
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_announces_the_last_answer() {
    let stop = CancellationToken::new();
    stop.cancel();
    let (mut client, mut server) = duplex(1024);
    assert_eq!(serve(&mut server, &Echo, PATIENCE, PATIENCE, &stop).await.unwrap(), Left::Closed);
    client.write_all(&get("")).await.unwrap();
    assert_eq!(serve(&mut server, &Echo, PATIENCE, PATIENCE, &stop).await.unwrap(), Left::Closed);
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_its_time() {
    let (_client, mut server) = duplex(1024);
    let left = serve(&mut server, &Echo, Duration::from_millis(1), PATIENCE, &CancellationToken::new()).await.unwrap();
    assert_eq!(left, Left::Closed);
}
