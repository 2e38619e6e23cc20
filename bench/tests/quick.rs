//! The driver from its start to its end, with the real processes.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::Instant,
};

use bazaar_bench::procfs::Stat;
use bazaar_tests::wait::{LOOK_EVERY, WAIT_MAX};
use serde_json::Value;
use tempfile::TempDir;

/// The words with which each process was started, and by whom.
fn processes() -> Vec<(u32, Vec<String>)> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let look = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let words = line.split_terminator('\0').map(str::to_owned).collect();
        Some((Stat::parse(&stat).ok()?.parent, words))
    };
    pids.filter_map(look).collect()
}

fn is_used(folder: &str) -> bool {
    processes().iter().any(|(_, words)| words.iter().any(|word| word.starts_with(folder)))
}

/// A run whose first replica was started, and the folder of its cluster.
fn run_with_a_replica() -> (Child, String) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_measure")).args(["--quick", "--only", "trades-16"]).spawn().unwrap();
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        for (parent, words) in processes() {
            let is_replica =
                parent == run.id() && words.first().is_some_and(|word| word.ends_with("bazaar-order-raft"));
            let config = words.into_iter().skip_while(|word| *word != "--config").nth(1);
            if let Some(config) = config.filter(|_| is_replica) {
                return (run, Path::new(&config).parent().unwrap().to_str().unwrap().to_owned());
            }
        }
        assert!(Instant::now() < deadline && run.try_wait().unwrap().is_none(), "nothing was started");
        thread::sleep(LOOK_EVERY);
    }
}

#[test]
fn a_quick_run_measures_trades_writes_the_figures_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("figures/x.json");
    let arguments = ["--quick", "--only", "trades-16", "--out", out.to_str().unwrap()];
    let ended = Command::new(env!("CARGO_BIN_EXE_measure")).args(arguments).output().unwrap();
    let (printed, said) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{printed}\n{said}");
    assert!(printed.lines().any(|line| line.trim_start().starts_with("trades-16")), "{printed}");

    let document: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let point = &document["points"][0];
    assert_eq!(point["name"], "trades-16");
    assert!(point["rate_per_s"]["median"].as_f64().unwrap() > 0.0, "{point}");
    assert_eq!(point["errors"], 0);
    let groups = |figures: &Value| figures.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let processes = ["frontend", "catalog", "leader", "follower_a", "follower_b"].map(str::to_owned);
    assert_eq!(groups(&point["resident_mib"]), processes.clone().into());
    assert_eq!(groups(&point["cpu_us_per_operation"]), processes.into_iter().chain(["client".to_owned()]).collect());
    let written = point["written_bytes_per_operation"]["leader"].as_f64().unwrap();
    assert!(written > 50.0, "each trade is in the leader's log: {written}");
}

#[test]
fn a_run_that_is_told_to_end_takes_its_processes_and_their_data_with_it() {
    let (mut run, folder) = run_with_a_replica();
    assert!(Command::new("kill").arg(run.id().to_string()).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(1));
    assert!(!is_used(&folder));
    assert!(!Path::new(&folder).exists());
}

#[test]
fn a_run_that_is_killed_leaves_data_but_no_processes() {
    let (mut run, folder) = run_with_a_replica();
    run.kill().unwrap();
    run.wait().unwrap();
    let deadline = Instant::now() + WAIT_MAX;
    while is_used(&folder) {
        assert!(Instant::now() < deadline, "something lives on");
        thread::sleep(LOOK_EVERY);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_wrong_row_is_refused_before_anything_starts() {
    let ended = Command::new(env!("CARGO_BIN_EXE_measure")).args(["--only", "nonsense"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.starts_with("error: there is no row 'nonsense'; there are trades-1, "), "{said}");
}
