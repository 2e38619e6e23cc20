//! Starts that cannot work: one clear sentence, a non-zero exit, nothing half started.

use std::{fs, net::TcpListener, process::Command};

use anyhow::{Result, ensure};
use bazaar_tests::{Cluster, Name, process::binary};

/// Runs a process that must refuse to start; returns its one sentence.
fn refusal(binary_name: &str, arguments: &[String]) -> Result<String> {
    let output = Command::new(binary(binary_name)).args(arguments).output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "it started");
    let sentences: Vec<&str> = error.lines().filter(|line| line.starts_with("error: ")).collect();
    ensure!(sentences.len() == 1, "not one sentence:\n{error}");
    Ok(sentences[0].to_owned())
}

fn refused(cluster: &Cluster, name: Name) -> Result<String> {
    let (binary_name, arguments) = cluster.arguments(name, true);
    refusal(binary_name, &arguments)
}

const ALL: [Name; 3] = [Name::Replica(1), Name::Catalog, Name::Frontend(1)];

#[test]
fn a_taken_port_is_named() -> Result<()> {
    for name in ALL {
        let cluster = Cluster::prepare("")?;
        let address = cluster.url_of(name).trim_start_matches("http://").to_owned();
        let _taken = TcpListener::bind(&address)?;
        let sentence = refused(&cluster, name)?;
        let port = address.rsplit(':').next().unwrap_or_default();
        ensure!(sentence.contains(&format!("port {port} is taken")), "{sentence}");
        ensure!(!cluster.data(name).exists(), "nothing was made before the port was known to be free");
    }
    Ok(())
}

#[test]
fn an_address_that_others_can_reach_is_refused_without_tls() -> Result<()> {
    for name in ALL {
        let cluster = Cluster::prepare("")?;
        let (binary_name, mut arguments) = cluster.arguments(name, true);
        let flag = if name == Name::Frontend(1) { "--public" } else { "--service" };
        let port = cluster.url_of(name).rsplit(':').next().unwrap_or_default().to_owned();
        arguments.retain(|argument| !argument.ends_with(&port) && argument != "--public");
        arguments.extend([flag.to_owned(), format!("0.0.0.0:{port}")]);
        let sentence = refusal(binary_name, &arguments)?;
        ensure!(sentence.contains("without TLS") && sentence.contains("--insecure"), "{sentence}");
        ensure!(!cluster.data(name).exists(), "nothing was made");
    }
    Ok(())
}

#[test]
fn a_broken_configuration_is_named() -> Result<()> {
    for name in ALL {
        let cluster = Cluster::prepare("")?;
        fs::write(cluster.config(), "[frontend]\nno_such_setting = 1\n")?;
        let sentence = refused(&cluster, name)?;
        ensure!(sentence.contains("cluster.toml") && sentence.contains("no_such_setting"), "{sentence}");
        fs::remove_file(cluster.config())?;
        let sentence = refused(&cluster, name)?;
        ensure!(sentence.contains("cannot be read"), "{sentence}");
    }
    Ok(())
}

#[test]
fn a_foreign_folder_is_left_alone() -> Result<()> {
    for name in [Name::Replica(1), Name::Catalog] {
        let cluster = Cluster::prepare("")?;
        fs::create_dir(cluster.data(name))?;
        fs::write(cluster.data(name).join("letters.txt"), "private")?;
        let sentence = refused(&cluster, name)?;
        ensure!(sentence.contains("letters.txt"), "{sentence}");
        ensure!(fs::read_dir(cluster.data(name))?.count() == 1, "something was written there");
    }
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_written_is_named() -> Result<()> {
    for name in [Name::Replica(1), Name::Catalog] {
        let cluster = Cluster::prepare("")?;
        // A file in the folder's place: not even root can make a folder there.
        fs::write(cluster.data(name), "")?;
        let sentence = refused(&cluster, name)?;
        ensure!(sentence.contains("cannot be made"), "{sentence}");
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_in_use_or_of_another_replica_is_refused() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let (binary_name, mut arguments) = cluster.arguments(Name::Replica(1), false);
    let free = ["--service", "127.0.0.1:0", "--peers", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    arguments.extend(free.map(str::to_owned));
    let sentence = refusal(binary_name, &arguments)?;
    ensure!(sentence.contains("in use by another process"), "{sentence}");
    cluster.kill(Name::Replica(1));
    let position = arguments.iter().position(|word| word == "1").unwrap_or_default();
    arguments[position] = "2".into();
    let sentence = refusal(binary_name, &arguments)?;
    ensure!(sentence.contains("replica 1, not of replica 2"), "{sentence}");
    Ok(())
}

#[test]
fn an_unknown_replica_is_named() -> Result<()> {
    let cluster = Cluster::prepare("")?;
    let (binary_name, _) = cluster.arguments(Name::Replica(1), false);
    let config = cluster.config().to_string_lossy().into_owned();
    let sentence = refusal(binary_name, &["--config".into(), config, "--id".into(), "9".into()])?;
    ensure!(sentence.contains("there is no replica 9"), "{sentence}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_says_ready_takes_a_trade_of_every_stock() -> Result<()> {
    let cluster = Cluster::start().await?;
    for stock in cluster.get(&format!("{}/stocks", cluster.url())).await?.1["data"].as_array().into_iter().flatten() {
        let name = stock["name"].as_str().unwrap_or_default();
        let (status, body) = cluster.trade(name, name, "buy", 1).await?;
        ensure!(status == 200, "{name}: {status} {body}");
    }
    let (status, body) = cluster.trade("last", "S9", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    Ok(())
}
