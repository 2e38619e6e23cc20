//! The binary and the workload against a small fake of the services.

mod exits;
mod fake;
mod streams;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bazaar_client::{
    api::Frontend,
    crash::report::CrashReport,
    output::Report,
    sweep::{
        markdown::markdown,
        report::{Request, SweepReport},
    },
    workload::{WorkloadArgs, execute, report::WorkloadReport},
};
use clap::Parser;
use fake::Fake;
use indicatif::ProgressBar;
use serde_json::Value;
use tokio::net::TcpSocket;

/// How long a test waits for anything: far longer than it takes, so that only a fault runs into it.
const WAIT_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, Parser)]
struct Workload {
    #[command(flatten)]
    args: WorkloadArgs,
}

async fn workload(fake: &Fake, flags: &[&str]) -> WorkloadReport {
    let args = Workload::parse_from([&["workload"], flags].concat()).args;
    let frontend = Frontend::new(&fake.url()).unwrap();
    execute(&frontend, &args, Arc::new(AtomicBool::new(false)), ProgressBar::hidden()).await.unwrap()
}

/// The binary; none of the caller's own settings reach it.
fn command(fake: &Fake, args: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_bazaar"));
    let foreign =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("BAZAAR_"));
    for name in foreign.chain(["NO_COLOR", "CLICOLOR_FORCE"].map(Into::into)) {
        command.env_remove(name);
    }
    // A test that gives up leaves nothing behind.
    command.env("BAZAAR_URL", fake.url()).args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, awaited).await.expect("it did not come in two minutes")
}

/// Runs the binary to its end.
async fn bazaar(fake: &Fake, args: &[&str]) -> Output {
    in_time(command(fake, args).output()).await.unwrap()
}

/// An address at which nothing listens, as long as the socket is kept: nobody else can be given its port.
fn deaf() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Writes a configuration of one replica whose every address is the fake.
async fn cluster_of_one(fake: &Fake, folder: &Path) -> String {
    let (catalog, service, admin) = (fake.another().await, fake.another().await, fake.another().await);
    write_config(folder, [catalog, service, fake.another().await, admin])
}

/// Writes a configuration of one replica: the catalog, and the replica's service, peers and admin.
fn write_config(folder: &Path, [catalog, service, peers, admin]: [SocketAddr; 4]) -> String {
    let text = format!(
        "[catalog]\nservice = \"{catalog}\"\n\
         [[replica]]\nid = 1\nservice = \"{service}\"\npeers = \"{peers}\"\nadmin = \"{admin}\"\n"
    );
    // As scripts/cluster leaves it behind where it started a cluster.
    fs::create_dir_all(folder.join("run")).unwrap();
    let path = folder.join("cluster.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_workload_against_a_good_service_finds_every_order_again() {
    let fake = Fake::start().await;
    let report = workload(&fake, &["--requests", "200", "--clients", "4", "--prob", "0.8", "--seed", "7"]).await;
    assert_eq!(report.complaint(), None);
    assert_eq!((report.mismatches, report.stale_reads, report.iterations), (0, 0, 200));
    assert!(report.accepted > 100, "{report:?}");
    assert_eq!(report.order_read.count, report.accepted);
    assert_eq!(report.cache.hit, 200);
    assert!(report.to_text(false).ends_with("stale reads: 0\nmismatches: 0"));
}

#[tokio::test]
async fn a_lost_order_is_one_mismatch_and_a_non_zero_exit() {
    let fake = Fake::start().await;
    fake.books().lost = Some(3);
    let flags = ["workload", "--requests", "40", "--clients", "2", "--prob", "1", "--output", "json"];
    let output = bazaar(&fake, &flags).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["mismatches"], 1);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("1 lost or changed order"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_refused_trade_is_sent_again_with_the_same_key_and_is_no_failure() {
    let fake = Fake::start().await;
    fake.books().refused_trades = 2;
    let report = workload(&fake, &["--requests", "1", "--clients", "1", "--prob", "1"]).await;
    assert_eq!(report.complaint(), None);
    assert_eq!((report.accepted, report.replayed, report.trade.retries), (1, 0, 2));
    let keys = fake.books().keys.clone();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn a_trade_of_unknown_outcome_is_settled_by_a_replay() {
    let fake = Fake::start().await;
    fake.books().unknown_trades = 1;
    let report = workload(&fake, &["--requests", "1", "--clients", "1", "--prob", "1"]).await;
    assert_eq!(report.complaint(), None);
    assert_eq!((report.accepted, report.replayed), (1, 1));
    assert_eq!(fake.books().orders.len(), 1);
}

#[tokio::test]
async fn a_trade_that_a_proxy_gave_up_is_settled_by_a_replay() {
    let fake = Fake::start().await;
    fake.books().foreign_trades = 2;
    let report = workload(&fake, &["--requests", "2", "--clients", "1", "--prob", "1"]).await;
    assert_eq!(report.complaint(), None);
    assert_eq!((report.accepted, report.replayed), (2, 2));
    assert_eq!(fake.books().orders.len(), 2);
}

#[tokio::test]
async fn a_trade_that_is_refused_past_its_retries_is_a_failure() {
    let fake = Fake::start().await;
    fake.books().refused_trades = u32::MAX;
    let report = workload(&fake, &["--requests", "1", "--clients", "1", "--prob", "1", "--retry-s", "0"]).await;
    assert_eq!((report.trade.failed, report.accepted), (1, 0));
    assert!(report.complaint().is_some());
}

#[tokio::test]
async fn lookups_that_show_less_than_an_own_trade_are_stale() {
    let fake = Fake::start().await;
    fake.books().shown_version = Some(1);
    let report = workload(&fake, &["--requests", "30", "--clients", "1", "--prob", "1"]).await;
    assert!(report.stale_reads > 0, "{report:?}");
    assert!(report.complaint().is_some());
}

#[tokio::test]
async fn two_runs_with_one_seed_use_different_keys() {
    let fake = Fake::start().await;
    let flags = ["--requests", "20", "--clients", "1", "--prob", "1", "--seed", "5"];
    let first = workload(&fake, &flags).await;
    let second = workload(&fake, &flags).await;
    assert_eq!((first.replayed, second.replayed), (0, 0));
    assert_eq!(fake.books().orders.len() as u64, first.accepted + second.accepted);
}

#[tokio::test]
async fn check_passes_on_what_a_workload_recorded_and_fails_on_an_order_nobody_has() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    let records_flag = records.to_str().unwrap();
    let config = cluster_of_one(&fake, folder.path()).await;
    let report =
        workload(&fake, &["--requests", "50", "--clients", "3", "--prob", "1", "--records", records_flag]).await;
    assert_eq!(report.complaint(), None);

    let check = ["check", "--config", &config, "--records", records_flag];
    let output = bazaar(&fake, &check).await;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).ends_with("\nok\n"), "{}", text(&output.stdout));

    let mut lines = fs::read_to_string(&records).unwrap();
    let last = lines.lines().last().unwrap().to_owned();
    let mut record: Value = serde_json::from_str(&last).unwrap();
    record["number"] = 999.into();
    lines += &format!("{record}\n");
    fs::write(&records, lines).unwrap();
    let output = bazaar(&fake, &check).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).ends_with("\nFAILED\n"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("missing: number 999"), "{}", text(&output.stdout));
}

#[tokio::test]
async fn status_log_and_the_single_requests_show_what_is_there() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = cluster_of_one(&fake, folder.path()).await;
    let bought = bazaar(&fake, &["trade", "buy", "BoarCo", "3", "-n", "2", "--key", "k", "--output", "json"]).await;
    let bought: Value = serde_json::from_slice(&bought.stdout).unwrap();
    assert_eq!((&bought["accepted"], &bought["replayed"]), (&1.into(), &1.into()));

    let shown = |output: &Output, wanted: &str| {
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && out.contains(wanted), "wanted '{wanted}': {out}{err}");
    };
    shown(&bazaar(&fake, &["query", "BoarCo"]).await, "997");
    shown(&bazaar(&fake, &["order", "1"]).await, "BoarCo");
    shown(&bazaar(&fake, &["status", "--config", &config]).await, "Healthy: replica 1 leads term 5");
    shown(&bazaar(&fake, &["log", "--config", &config]).await, "buy 3 BoarCo");
}

#[tokio::test]
async fn bench_counts_every_trade_that_the_service_took() {
    let fake = Fake::start().await;
    let flags = ["bench", "--connections", "4", "--duration-s", "1", "--warm-up-s", "0", "--output", "json"];
    let output = bazaar(&fake, &flags).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (counted, taken) = (report["operations"].as_u64().unwrap(), fake.books().orders.len() as u64);
    // At the end each of the four connections may have a trade under way whose answer is not waited for.
    assert!(counted > 0 && (counted..=counted + 4).contains(&taken), "counted {counted}, taken {taken}");
}

#[tokio::test]
async fn an_open_loop_sends_what_the_rate_wants_and_writes_its_page() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let flags =
        ["bench", "--kind", "lookup", "--rate", "100", "--threads", "2", "--duration-s", "2", "--warm-up-s", "0"];
    let output = bazaar(&fake, &[&flags[..], &["--html", page.to_str().unwrap(), "--output", "json"]].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["loop"], &report["wanted_requests_per_s"]), (&"open".into(), &100.into()));
    let (requests, unanswered) = (report["requests"].as_u64().unwrap(), report["unanswered"].as_u64().unwrap());
    let scheduled = 100.0 * report["measured_s"].as_f64().unwrap() + 2.0;
    assert!(requests > 0 && requests as f64 <= scheduled, "no more is sent than the schedule holds: {report}");
    assert_eq!(unanswered, 200_u64.saturating_sub(requests));
    assert_eq!(report["series"].as_array().unwrap().len(), 2);
    assert!(report["client_cpu_us_per_request"].as_f64().unwrap() > 0.0);
    assert!(fs::read_to_string(page).unwrap().contains("open, 100 requests/s"));
}

#[tokio::test]
async fn a_rate_that_the_service_cannot_bear_is_said_to_be_missed_and_its_latencies_grow() {
    let fake = Fake::start().await;
    fake.books().lookup_pause_ms = 50;
    let flags = ["bench", "--kind", "lookup", "--connections", "2", "--rate", "200", "--duration-s", "2"];
    let output = bazaar(&fake, &[&flags[..], &["--warm-up-s", "0", "--output", "json"]].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Two connections get 40 answers a second at most: of 400 requests about 80 are answered, the last ones 1.6 s late.
    assert_eq!(report["wanted_rate_reached"], false);
    assert!(report["max_ms"].as_f64().unwrap() > 1_000.0, "a closed loop would show 50 ms: {report}");
}

#[tokio::test]
async fn a_sweep_measures_every_probability_and_writes_figures_tables_and_charts() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let flags =
        ["sweep", "--clients", "2", "--requests", "100", "--repeats", "2", "--probs", "50,0", "--output", "json"];
    let output = bazaar(&fake, &[&flags[..], &["--out", folder.path().to_str().unwrap()]].concat()).await;
    // A machine without fonts has everything but the PNGs, and is told so.
    let failure = text(&output.stderr);
    assert!(output.status.success() || failure.contains("fonts-dejavu-core"), "{failure}");
    let report: SweepReport = serde_json::from_slice(&output.stdout).unwrap();
    let counts = |at: usize| report.points[at].latencies.iter().map(|(request, figures)| (*request, figures.count));
    assert_eq!(report.points.iter().map(|point| point.probability_percent).collect::<Vec<_>>(), [0, 50]);
    assert_eq!(counts(0).collect::<Vec<_>>(), [(Request::Lookup, 200)]);
    assert_eq!(counts(1).map(|(request, _)| request).collect::<Vec<_>>(), Request::ALL);
    assert_eq!(report.points[1].hits_percent.median, 100.0);
    assert_eq!(fs::read_to_string(folder.path().join("sweep.md")).unwrap(), markdown(&report));
    for name in ["lookup.svg", "trade.svg", "order-read.svg"] {
        let svg = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(roxmltree::Document::parse(&svg).unwrap().root_element().has_tag_name("svg"), "{svg}");
    }
}

#[tokio::test]
async fn a_sweep_refuses_a_frontend_whose_cache_is_on_in_the_place_of_one_without() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let url = other.url();
    let flags = ["sweep", "--requests", "10", "--repeats", "1", "--token", "a-token", "--url-uncached", &url];
    let output = bazaar(&fake, &flags).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--cache-size 0"), "{}", text(&output.stderr));
    for asked in [&fake, &other] {
        assert_eq!(asked.books().authorizations.first().unwrap(), "Bearer a-token", "it is for both frontends");
    }
}

#[tokio::test]
async fn a_sweep_in_which_an_order_is_lost_fails_and_shows_no_figures() {
    let fake = Fake::start().await;
    fake.books().lost = Some(1);
    let output = bazaar(&fake, &["sweep", "--requests", "50", "--repeats", "1", "--probs", "80"]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    assert!(text(&output.stderr).contains("1 lost or changed order"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn without_the_script_or_a_cluster_of_it_nothing_is_begun() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (cluster_of_one(&fake, folder.path()).await, folder.path().to_str().unwrap());
    let crash = ["crash", "--config", &config, "--data", data, "--script", "/no/such/script"];
    let output = bazaar(&fake, &crash).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--script"), "{}", text(&output.stderr));
    let elsewhere = folder.path().join("elsewhere");
    for command in ["crash", "failover"] {
        let nowhere = [command, "--config", &config, "--data", elsewhere.to_str().unwrap(), "--script", "/bin/true"];
        let output = bazaar(&fake, &nowhere).await;
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output.stderr).contains("no cluster was started in"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn crashes_are_survived_by_a_service_that_keeps_its_orders_and_noticed_in_one_that_does_not() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (cluster_of_one(&fake, folder.path()).await, folder.path().to_str().unwrap());
    let crash = ["crash", "--rounds", "1", "--clients", "1", "--prob", "0.5", "--config", &config, "--data", data];
    // Nothing is killed here: what is judged is what the clients saw, and the comparison.
    let flags = [&crash[..], &["--script", "/bin/true", "--output", "json"]].concat();
    let output = bazaar(&fake, &flags).await;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(!folder.path().join("crash-acknowledged.jsonl").exists(), "it is of no use after a success");
    let report: CrashReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.rounds.len(), report.rounds[0].led, report.complaint()), (1, true, None));
    assert!(report.rounds[0].accepted > 0 && report.comparison.ok, "{report:?}");
    let checked = report.comparison.checks.iter().any(|row| row.name == "acknowledged orders are kept");
    assert!(checked, "{report:?}");

    let made = fake.books().orders.len() as u64;
    fake.books().lost = Some(made + 1);
    let output = bazaar(&fake, &flags).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("orders lost"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_page_that_cannot_be_written_is_said_before_anything_is_measured() {
    let fake = Fake::start().await;
    let output = bazaar(&fake, &["bench", "--html", "/no/such/folder/report.html"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--html"), "{}", text(&output.stderr));
    assert!(fake.books().orders.is_empty());
}

#[tokio::test]
async fn errors_are_one_sentence_that_names_the_way_out() {
    let fake = Fake::start().await;
    let missing = bazaar(&fake, &["status", "--config", "no/such/file.toml"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("--config"), "{}", text(&missing.stderr));
    let unknown = bazaar(&fake, &["query", "Nobody"]).await;
    assert_eq!(unknown.status.code(), Some(5));
    assert_eq!(text(&unknown.stderr).lines().count(), 1);
    let (_kept, nobody) = deaf();
    let refused = bazaar(&fake, &["order", "1", "--url", &format!("http://{nobody}")]).await;
    assert!(!refused.status.success());
}
