//! What a client cannot do to a listener by what it sends, or does not send, or does not take: on the express way and at
//! the HTTP server. The limits are short here, so that they are met soon; nothing depends on how soon.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bazaar_service::{
    HttpLimits, Payload, RequestId,
    express::{Express, Head},
    http::edge,
    serve_express,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);
/// More than two sockets hold between them.
const LARGE_BYTES: usize = 64 * 1024 * 1024;
const BODY_BYTES_MAX: usize = 1_024;

/// Answers `/express` at once.
#[derive(Clone)]
struct Ways;

impl Express for Ways {
    type Request = ();

    fn read(&self, head: &Head<'_>, _body: &[u8]) -> Option<()> {
        (head.target == "/express").then_some(())
    }

    async fn answer(&self, (): (), _: &RequestId) -> Response {
        "express".into_response()
    }
}

/// A listener until it is dropped.
struct Listening {
    address: SocketAddr,
    _stop: DropGuard,
}

async fn listening(limits: HttpLimits) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new()
        .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
        .route("/take", post(async |Payload(body): Payload<BODY_BYTES_MAX>| body.len().to_string()))
        .route("/routed", get(|| async { "routed" }));
    let stop = CancellationToken::new();
    tokio::spawn(serve_express(listener, Ways, edge(routes), limits, stop.clone()));
    Listening { address, _stop: stop.drop_guard() }
}

fn short() -> HttpLimits {
    HttpLimits { header_read_timeout: SHORT, write_stall_max: SHORT, ..HttpLimits::default() }
}

/// Sends bytes as they are, and returns all that comes until the listener closes.
async fn until_closed(listening: &Listening, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    // The listener may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    rest_of(&mut stream).await
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let (mut answer, mut part) = (Vec::new(), [0; 4_096]);
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut part).await {
            answer.extend_from_slice(&part[..count]);
        }
    };
    timeout(PATIENCE, reading).await.expect("the listener closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[tokio::test]
async fn who_sends_nothing_or_half_a_header_is_cut_off() {
    let listening = listening(short()).await;
    for start in ["", "G", "GET /express HTTP/1.1\r\nhost:", "POST /take HTTP/1.1\r\nhost: x\r\nx-one: 1\r\n"] {
        let answer = until_closed(&listening, start.as_bytes()).await;
        assert!(matches!(statuses(&answer)[..], [] | ["408"]), "{start}: {answer}");
    }
    // Idle after a request, on both ways.
    for path in ["/express", "/routed"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(statuses(&until_closed(&listening, request.as_bytes()).await), ["200"], "{path}");
    }
}

#[tokio::test]
async fn who_sends_a_header_byte_by_byte_is_cut_off_all_the_same() {
    let listening = listening(short()).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    let dripping = async {
        stream.write_all(b"GET /routed HTTP/1.1\r\nx-slow: ").await?;
        loop {
            stream.write_all(b"x").await?;
            tokio::time::sleep(SHORT / 20).await;
        }
    };
    let ended: std::io::Result<()> = timeout(PATIENCE, dripping).await.expect("the listener closes the connection");
    assert!(ended.is_err());
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut_off() {
    let listening = listening(short()).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Reading begins only when the listener has given up: until then the socket says nothing of an end.
    let refused = timeout(PATIENCE, async {
        while stream.write_all(b"GET /routed HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
            tokio::time::sleep(SHORT).await;
        }
    });
    refused.await.expect("the listener closes the connection");
    assert!(rest_of(&mut stream).await.len() < LARGE_BYTES);
}

#[tokio::test]
async fn who_takes_no_express_answers_is_cut_off() {
    let listening = listening(short()).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    let request = "GET /express HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    let asking = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, asking).await.expect("the listener closes the connection");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let listening = listening(HttpLimits::default()).await;
    let long = "x".repeat(100_000);
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    let post = |framing: String, body: String| format!("POST /take HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n{body}");
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), &["414", "431"][..]),
        (format!("GET /routed HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"), &["431"]),
        (format!("GET /routed HTTP/1.1\r\nhost: x\r\n{many}\r\n"), &["431"]),
        (format!("GET /express HTTP/1.1\r\nhost: x\r\n{many}\r\n"), &["431"]),
        (post(format!("connection: close\r\ncontent-length: {}", large.len()), large.clone()), &["413"]),
        (post("content-length: 99999999999999999999".into(), String::new()), &["400", "413"]),
        (post("transfer-encoding: chunked".into(), format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len())), &["413"]),
    ];
    for (request, wanted) in cases {
        let answer = until_closed(&listening, request.as_bytes()).await;
        // An answer to what was not read to its end may be lost on the way: the system resets such a connection.
        let may_be_lost = request.len() > HttpLimits::default().header_bytes_max;
        match statuses(&answer)[..] {
            [] => assert!(may_be_lost, "{request:.60}"),
            [status] => assert!(wanted.contains(&status), "{request:.60}: {answer}"),
            _ => panic!("{request:.60}: {answer}"),
        }
    }
}

#[tokio::test]
async fn a_request_whose_end_could_be_seen_at_two_places_hides_no_other() {
    let listening = listening(HttpLimits::default()).await;
    let hidden = "GET /express HTTP/1.1\r\nhost: x\r\n\r\n";
    let (chunks, length) = ("transfer-encoding: chunked\r\n", "content-length: 3\r\n");
    let heads = [
        // The HTTP server lets the chunks count, as it may, and closes then, as it must.
        (format!("{length}{chunks}"), "200", false),
        (format!("{chunks}{length}"), "200", false),
        // What has no end it refuses itself, without a body.
        (format!("{length}content-length: 8\r\n"), "400", false),
        ("content-length: 3, 8\r\n".into(), "400", false),
        ("content-length: +3\r\n".into(), "400", false),
        ("transfer-encoding: chunked, identity\r\n".into(), "400", false),
        ("transfer-encoding: identity\r\n".into(), "400", false),
        ("transfer-encoding: chunked, chunked\r\n".into(), "400", true),
        ("transfer-encoding: gzip, chunked\r\n".into(), "400", true),
        (format!("{chunks}{chunks}"), "400", true),
        (format!("transfer-encoding: gzip\r\n{chunks}"), "400", true),
        (chunks.into(), "200", false),
    ];
    for (head, wanted, says_why) in heads {
        let request = format!("POST /take HTTP/1.1\r\nhost: x\r\n{head}\r\n0\r\n\r\n{hidden}");
        let answers = until_closed(&listening, request.as_bytes()).await;
        assert_eq!(statuses(&answers), [wanted], "{head}: {answers}");
        assert_eq!(answers.contains("\"kind\":\"invalid_request\""), says_why, "{head}: {answers}");
        assert_eq!(answers.contains("x-request-id"), says_why || wanted == "200", "{head}: {answers}");
    }
}

#[tokio::test]
async fn a_request_that_could_be_for_two_hosts_is_for_none_and_hides_no_other() {
    let listening = listening(HttpLimits::default()).await;
    let cases = [
        ("", "400"),
        ("host: x\r\nhost: x\r\n", "400"),
        ("host: x\r\nhost: y\r\n", "400"),
        ("host: x/y\r\n", "400"),
        ("host: x y\r\n", "400"),
        ("host: me@x\r\n", "400"),
        ("host: x\u{e9}\r\n", "400"),
        // Who asks for nobody in particular says so like this.
        ("host:\r\n", "200"),
        ("host: [::1]:8080\r\n", "200"),
        ("host: shop.example:8080\r\n", "200"),
    ];
    for path in ["/express", "/routed"] {
        for (hosts, wanted) in cases {
            let hidden = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            let request = format!("GET {path} HTTP/1.1\r\n{hosts}\r\n{hidden}");
            let mut stream = TcpStream::connect(listening.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let answers = rest_of(&mut stream).await;
            let all = if wanted == "200" { &["200", "200"][..] } else { &[wanted][..] };
            assert_eq!(statuses(&answers), all, "{path} {hosts}: {answers}");
            assert_eq!(answers.contains("\"kind\":\"invalid_request\""), wanted == "400", "{answers}");
        }
    }
    let older = until_closed(&listening, b"GET /routed HTTP/1.0\r\n\r\n").await;
    assert!(older.starts_with("HTTP/1.0 200 "), "hosts came with HTTP/1.1: {older}");
}

#[tokio::test]
async fn many_idle_connections_leave_room_up_to_the_limit_and_a_clear_word_past_it() {
    let listening = listening(HttpLimits { connections_max: 50, ..HttpLimits::default() }).await;
    let request = b"GET /express HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(listening.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        // Once it answers it has its place.
        stream.read_exact(&mut [0; 8]).await.unwrap();
        idle.push(stream);
    }
    let answer = until_closed(&listening, b"").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"kind\":\"overloaded\""), "{answer}");
    drop(idle);
    let served = async {
        loop {
            let mut stream = TcpStream::connect(listening.address).await.unwrap();
            let mut status = [0; 12];
            if stream.write_all(request).await.is_ok()
                && stream.read_exact(&mut status).await.is_ok()
                && status.ends_with(b"200")
            {
                return;
            }
        }
    };
    timeout(PATIENCE, served).await.expect("there is room again");
}
