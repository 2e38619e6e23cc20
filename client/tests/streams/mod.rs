//! Commands that go on until somebody ends them.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use bazaar_domain::{Cents, IdempotencyKey, Quantity, Side, StockName, api::OrderView};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::{bazaar, cluster_of_one, command, fake::Fake, text};

/// How long a test waits for anything: far longer than it takes, so that only a fault runs into it.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, awaited).await.expect("it did not come in a minute")
}

/// A command that runs, and the lines that it prints.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(fake: &Fake, args: &[&str]) -> Self {
        let mut command = command(fake, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The number in the next line.
    async fn number(&mut self, field: &str) -> u64 {
        let line = in_time(self.lines.next_line()).await.unwrap().expect("the command ended");
        serde_json::from_str::<Value>(&line).unwrap()[field].as_u64().unwrap()
    }

    /// Ends it with Ctrl-C.
    async fn interrupt(self) -> Output {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.child.wait_with_output().await.unwrap()
    }
}

fn make_orders(fake: &Fake, count: u64) {
    let mut books = fake.books();
    for _ in 0..count {
        let number = books.orders.len() as u64 + 1;
        books.orders.push(OrderView {
            number,
            name: StockName::new("BoarCo").unwrap(),
            side: Side::Buy,
            quantity: Quantity::new(1).unwrap(),
            price: Cents::new(1_599).unwrap(),
            stock_version: number + 1,
            key: IdempotencyKey::new(&format!("k{number}")).unwrap(),
        });
    }
}

#[tokio::test]
async fn followed_orders_come_once_and_in_order_however_often_the_stream_breaks() {
    let fake = Fake::start().await;
    make_orders(&fake, 7);
    fake.books().stream_breaks_after = Some(3);
    let mut running = Running::start(&fake, &["orders", "--follow", "--after", "2", "--output", "json"]);
    for expected in 3..=7 {
        assert_eq!(running.number("number").await, expected);
    }
    make_orders(&fake, 1);
    assert_eq!(running.number("number").await, 8);
    let output = running.interrupt().await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("broke off behind order 5"), "{}", text(&output.stderr));
    assert_eq!(fake.books().streams[..2], [2, 5], "it goes on behind the last order that it saw");
}

#[tokio::test]
async fn followed_orders_begin_with_those_made_from_now_on_and_end_at_the_limit() {
    let fake = Fake::start().await;
    make_orders(&fake, 5);
    let mut running = Running::start(&fake, &["orders", "--follow", "--limit", "2", "--output", "json"]);
    // A stream shows that the place to begin was found.
    in_time(async {
        while fake.books().streams.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await;
    make_orders(&fake, 3);
    assert_eq!((running.number("number").await, running.number("number").await), (6, 7));
    let output = running.child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_number_that_is_left_out_is_an_error() {
    let fake = Fake::start().await;
    make_orders(&fake, 5);
    fake.books().stream_skips = Some(3);
    let output = bazaar(&fake, &["orders", "--follow", "--after", "0"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("order 4 came behind order 2"), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2);
}

#[tokio::test]
async fn a_followed_log_shows_the_newest_entries_and_goes_on_until_ctrl_c() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = cluster_of_one(&fake, folder.path()).await;
    make_orders(&fake, 5);
    let args = ["log", "--follow", "--limit", "2", "--config", &config, "--output", "json"];
    let mut running = Running::start(&fake, &args);
    assert_eq!((running.number("index").await, running.number("index").await), (4, 5));
    make_orders(&fake, 2);
    assert_eq!((running.number("index").await, running.number("index").await), (6, 7));
    assert_eq!(running.interrupt().await.status.code(), Some(0));
}
