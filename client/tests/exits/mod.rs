//! Exit codes, colours and environment variables of the binary.

use std::process::Output;

use serde_json::Value;

use crate::{bazaar, cluster_of_one, command, deaf, fake::Fake, in_time, text, write_config};

fn ended(output: &Output, code: i32, hint: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(hint) && said.lines().filter(|line| line.starts_with("error: ")).count() <= 1, "{said}");
}

#[tokio::test]
async fn each_way_to_end_has_its_exit_code_and_says_what_to_do_next() {
    let fake = Fake::start().await;
    let buy = |quantity: &'static str| ["trade", "buy", "BoarCo", quantity, "--key", "k"];
    ended(&bazaar(&fake, &["query", "BoarCo"]).await, 0, "");
    ended(&bazaar(&fake, &["query", "BoarCo", "--no-such-flag"]).await, 2, "--no-such-flag");
    ended(&bazaar(&fake, &["tour"]).await, 2, "--yes");
    ended(&bazaar(&fake, &["query", "Nobody"]).await, 5, "bazaar stocks");
    ended(&bazaar(&fake, &["stocks"]).await, 0, "");
    ended(&bazaar(&fake, &["order", "77"]).await, 5, "bazaar orders");
    ended(&bazaar(&fake, &["trade", "buy", "BoarCo", "999999999"]).await, 5, "bazaar query NAME");
    fake.books().refused_trades = 1;
    ended(&bazaar(&fake, &buy("1")).await, 3, "bazaar status");
    fake.books().unknown_trades = 1;
    ended(&bazaar(&fake, &buy("1")).await, 4, "--key 'k'");
    ended(&bazaar(&fake, &buy("1")).await, 0, "");
    ended(&bazaar(&fake, &["log", "--data", "no/such/folder"]).await, 1, "--data");
}

#[tokio::test]
async fn where_nobody_answers_every_command_says_so_with_the_same_code() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let nobody = [deaf(), deaf(), deaf(), deaf()];
    let addresses = nobody.each_ref().map(|(_, address)| *address);
    let (config, url) = (write_config(folder.path(), addresses), format!("http://{}", addresses[0]));
    ended(&bazaar(&fake, &["orders", "--url", &url]).await, 3, "scripts/cluster start");
    ended(&bazaar(&fake, &["trade", "buy", "BoarCo", "1", "--url", &url]).await, 3, "scripts/cluster start");
    ended(&bazaar(&fake, &["ready", &url]).await, 3, "is not ready");
    ended(&bazaar(&fake, &["init", "--config", &config, "--wait-s", "0"]).await, 3, "start what is missing");
    ended(&bazaar(&fake, &["members", "list", "--config", &config]).await, 3, "bazaar status");
    let backup = folder.path().join("backup");
    ended(&bazaar(&fake, &["backup", backup.to_str().unwrap(), "--config", &config]).await, 3, "--replica");
}

#[tokio::test]
async fn wrong_arguments_are_told_from_what_goes_wrong_behind_them() {
    let fake = Fake::start().await;
    ended(&bazaar(&fake, &["stocks", "--url", "nonsense"]).await, 2, "--url");
    ended(&bazaar(&fake, &["sweep", "--url-uncached", "ftp://host"]).await, 2, "ftp://host");
    ended(&bazaar(&fake, &["ready", "127.0.0.1:16006"]).await, 2, "http://host:port");
    ended(&bazaar(&fake, &["stocks", "--certificate", "a.pem"]).await, 2, "--certificate-key");
    ended(&bazaar(&fake, &["stocks", "--certificate", "a", "--certificate-key", "b"]).await, 2, "--ca");
    let endless = u64::MAX.to_string();
    for command in
        [["ready", "--wait-s"], ["init", "--wait-s"], ["workload", "--deadline-s"], ["workload", "--retry-s"]]
    {
        ended(&bazaar(&fake, &[&command[..], &[&endless]].concat()).await, 2, command[1]);
    }
}

#[tokio::test]
async fn a_trade_whose_answer_is_not_the_frontends_may_have_happened_and_one_without_trust_was_not_sent() {
    let fake = Fake::start().await;
    let buy = ["trade", "buy", "BoarCo", "1", "--key", "k"];
    fake.books().foreign_trades = 1;
    ended(&bazaar(&fake, &buy).await, 4, "--key 'k'");
    let again = bazaar(&fake, &[&buy[..], &["--output", "json"]].concat()).await;
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["replayed"], 1);
    let url = fake.url().replace("http:", "https:");
    ended(&bazaar(&fake, &[&buy[..], &["--url", &url]].concat()).await, 1, "speaks no TLS");
    assert_eq!(fake.books().keys.len(), 2);
}

#[tokio::test]
async fn a_wrong_argument_is_said_in_words_and_nothing_is_asked() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = cluster_of_one(&fake, folder.path()).await;
    ended(&bazaar(&fake, &["trade", "buy", "BoarCo", "-1"]).await, 2, "a quantity is a whole number from 1");
    ended(&bazaar(&fake, &["order", "abc"]).await, 2, "give a whole number");
    ended(&bazaar(&fake, &["orders", "--after", "x"]).await, 2, "give a whole number");
    ended(&bazaar(&fake, &["log", "--node", "9", "--config", &config]).await, 2, "there is no replica 9");
    ended(&bazaar(&fake, &["backup", "b", "--replica", "9", "--config", &config]).await, 2, "there is no replica 9");
    ended(&bazaar(&fake, &["tour", "--yes", "--script", "no/such", "--config", &config]).await, 2, "--script");
}

#[tokio::test]
async fn a_configuration_that_somebody_named_is_read_or_nothing_is_asked() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    ended(&bazaar(&fake, &["query", "BoarCo", "--config", "no/such/file"]).await, 1, "--config");
    let mut named = command(&fake, &["query", "BoarCo"]);
    ended(&named.env("BAZAAR_CONFIG", "no/such/file").output().await.unwrap(), 1, "no/such/file");
    let path = folder.path().join("cluster.toml");
    std::fs::write(&path, "[frontend]\npublic = 8080\n").unwrap();
    ended(&bazaar(&fake, &["query", "BoarCo", "--config", path.to_str().unwrap()]).await, 1, "line 2, column 10: ");
    // Where nobody named one, the default address serves.
    let mut elsewhere = command(&fake, &["query", "BoarCo", "--stale"]);
    ended(&elsewhere.current_dir(folder.path()).output().await.unwrap(), 0, "");
}

#[tokio::test]
async fn colours_come_if_they_are_wanted_and_not_else() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = cluster_of_one(&fake, folder.path()).await;
    let is_coloured = async |args: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["status", "--config", config.as_str()], args].concat();
        let output = in_time(command(&fake, &arguments).envs(variables.iter().copied()).output()).await.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).contains('\x1b')
    };
    assert!(!is_coloured(&[], &[]).await, "a file is not a terminal");
    assert!(is_coloured(&["--color", "always"], &[("NO_COLOR", "1")]).await);
    assert!(is_coloured(&[], &[("CLICOLOR_FORCE", "1")]).await);
    assert!(is_coloured(&[], &[("BAZAAR_COLOR", "always")]).await);
    assert!(!is_coloured(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).await);
    assert!(!is_coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]).await);
}

#[tokio::test]
async fn a_variable_stands_for_its_flag_and_the_command_line_wins() {
    let fake = Fake::start().await;
    for _ in 0..3 {
        ended(&bazaar(&fake, &["trade", "buy", "BoarCo", "1"]).await, 0, "");
    }
    let numbers = async |args: &[&str]| {
        let mut command = command(&fake, &[&["orders"], args].concat());
        command.env("BAZAAR_ORDERS_LIMIT", "2").env("BAZAAR_OUTPUT", "json");
        let output = in_time(command.output()).await.unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let orders = report["orders"].as_array().unwrap();
        orders.iter().map(|order| order["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&[]).await, [2, 3]);
    assert_eq!(numbers(&["--after", "0"]).await, [1, 2]);
    assert_eq!(numbers(&["--limit", "1"]).await, [3]);
    assert_eq!(numbers(&["--stock", "BoarCo", "--limit", "1"]).await, [3]);
    assert_eq!(numbers(&["--stock", "GameStart"]).await, [0_u64; 0]);
    let check = ["check", "--config", "no/such/file"];
    for (value, given) in [("0", false), ("false", false), ("1", true), ("true", true)] {
        let mut command = command(&fake, &check);
        let output = in_time(command.env("BAZAAR_CHECK_ALLOW_UNREACHABLE", value).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1), "'{value}' means {given}, and is no wrong argument");
    }
}

#[tokio::test]
async fn completions_and_the_manual_can_be_had_in_both_forms() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let json = async |args: &[&str]| {
        let output = bazaar(&fake, &[args, &["--output", "json"]].concat()).await;
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    };
    assert!(json(&["completions", "bash"]).await["text"].as_str().unwrap().contains("_bazaar"));
    assert_eq!(json(&["man"]).await["name"], "bazaar.1");
    let written = json(&["man", "--dir", pages.to_str().unwrap()]).await;
    assert_eq!(written["pages"].as_array().unwrap().len(), std::fs::read_dir(&pages).unwrap().count());
    let printed = bazaar(&fake, &["completions", "zsh"]).await;
    assert!(text(&printed.stdout).starts_with("#compdef bazaar"), "{}", text(&printed.stdout));
}
