//! Commands that go on until somebody ends them.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use bazaar_domain::{Cents, IdempotencyKey, Quantity, Side, StockName, api::OrderView};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::{bazaar, cluster_of_one, command, fake::Fake, in_time, text};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

async fn until(mut is_so: impl FnMut() -> bool) {
    in_time(async {
        while !is_so() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await;
}

/// A command that runs, and the lines that it prints.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(fake: &Fake, args: &[&str]) -> Self {
        let mut command = command(fake, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
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
        self.signal("-INT").await
    }

    async fn signal(self, signal: &str) -> Output {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        let Self { mut child, lines } = self;
        // The rest that it prints.
        child.stdout = Some(lines.into_inner().into_inner());
        in_time(child.wait_with_output()).await.unwrap()
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
    until(|| !fake.books().streams.is_empty()).await;
    make_orders(&fake, 3);
    assert_eq!((running.number("number").await, running.number("number").await), (6, 7));
    let output = in_time(running.child.wait_with_output()).await.unwrap();
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

#[tokio::test]
async fn a_workload_that_is_ended_compares_its_orders_and_only_ctrl_c_is_no_success() {
    for (signal, code) in [("-TERM", 0), ("-INT", 130)] {
        let fake = Fake::start().await;
        let args = ["workload", "--requests", "100000000", "--clients", "1", "--prob", "1", "--output", "json"];
        let running = Running::start(&fake, &args);
        until(|| fake.books().orders.len() > 5).await;
        let output = running.signal(signal).await;
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["interrupted"], &report["mismatches"]), (&true.into(), &0.into()));
    }
}

#[tokio::test]
async fn a_sweep_that_is_ended_shows_no_figures() {
    let fake = Fake::start().await;
    let running = Running::start(&fake, &["sweep", "--requests", "10000000"]);
    until(|| fake.books().orders.len() > 5).await;
    let output = running.interrupt().await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(130), String::new()));
}

/// A script that notes what it is called with and touches nothing.
fn noting_script(folder: &Path) -> (PathBuf, PathBuf) {
    let (script, notes) = (folder.join("script"), folder.join("notes"));
    let text = format!("#!/bin/sh\necho \"$1 $2\" >>'{}'\n", notes.display());
    write_script(&script, &text);
    (script, notes)
}

fn write_script(path: &Path, text: &str) {
    // By a child: as long as a process has it open for writing, a script cannot be started.
    let write = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
    let mut writer = std::process::Command::new("sh");
    assert!(writer.args(["-c", write, "sh", text]).arg(path).status().unwrap().success());
}

#[tokio::test]
async fn what_crash_and_failover_took_away_comes_back_when_they_are_ended() {
    let fake = Fake::start().await;
    for (command, taken, back) in [
        (&["crash"][..], "kill 1", "restart 1"),
        (&["failover"], "kill 1", "restart 1"),
        (&["failover", "--how", "pause"], "pause 1", "resume 1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = cluster_of_one(&fake, folder.path()).await;
        let (script, notes) = noting_script(folder.path());
        let noted = || std::fs::read_to_string(&notes).unwrap_or_default();
        let data = folder.path().to_str().unwrap();
        let common = ["--config", &config, "--data", data, "--script", script.to_str().unwrap()];
        let running = Running::start(&fake, &[command, &common].concat());
        until(|| noted().contains(taken)).await;
        let output = running.interrupt().await;
        assert_eq!(output.status.code(), Some(130), "{command:?}: {}", text(&output.stderr));
        let noted = noted();
        assert_eq!((noted.lines().next(), noted.lines().last()), (Some(taken), Some(back)), "{command:?}: {noted}");
    }
}

#[tokio::test]
async fn a_replica_that_cannot_be_brought_back_is_named_with_the_way_to_do_it() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = cluster_of_one(&fake, folder.path()).await;
    let data = folder.path().to_str().unwrap();
    let script = folder.path().join("its script");
    let failing = "#!/bin/sh\n[ \"$1\" != restart ]\n";
    write_script(&script, failing);
    let script = script.to_str().unwrap();
    let output = bazaar(&fake, &["failover", "--config", &config, "--data", data, "--script", script]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let typed = format!("'{script}' restart 1 --data");
    assert!(said.contains("replica 1 is still away") && said.contains(&typed), "{said}");
}
