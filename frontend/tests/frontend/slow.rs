//! Bodies that do not arrive.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fakes::bazaar;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_trade_whose_body_drips_is_408_and_trades_nothing() {
    let bazaar = bazaar().await;
    let stream = TcpStream::connect(bazaar.public).await.unwrap();
    let (mut answers, mut requests) = stream.into_split();
    requests.write_all(b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 10000\r\n\r\n{").await.unwrap();
    let dripping = async {
        // Each byte is early enough by itself: the whole body has one time.
        while requests.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answered = async {
        let mut answer = Vec::new();
        let mut part = [0; 1_024];
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = answers.read(&mut part).await.unwrap();
            assert_ne!(count, 0, "closed without a word");
            answer.extend_from_slice(&part[..count]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::select! {
        answer = tokio::time::timeout(PATIENCE, answered) => answer.expect("an answer"),
        () = dripping => panic!("closed without a word"),
    };
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(bazaar.shared.world().requests.is_empty());
}
