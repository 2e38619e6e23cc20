//! What holds for the files of a deployment, whoever runs them.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use bazaar_domain::config::ClusterConfig;

use crate::compose::{Compose, project};

fn read(path: &str) -> Result<String> {
    fs::read_to_string(project().join(path)).with_context(|| format!("{path} cannot be read"))
}

/// All files below `deploy/`, and those beside it.
fn all_files() -> Result<Vec<String>> {
    let mut texts = vec![read("compose.yaml")?, read(".env")?, read("Dockerfile")?];
    for folder in ["compose", "systemd", "kubernetes"] {
        for entry in fs::read_dir(project().join("deploy").join(folder))? {
            texts.push(fs::read_to_string(entry?.path())?);
        }
    }
    Ok(texts)
}

#[test]
fn no_file_bootstraps_a_cluster_at_a_start() -> Result<()> {
    for text in all_files()? {
        let used = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .any(|line| line.contains("--bootstrap") || line.contains("BAZAAR_ORDER_BOOTSTRAP"));
        ensure!(!used, "a file has it:\n{text}");
    }
    Ok(())
}

#[test]
fn only_the_frontend_is_published_and_only_on_this_machine() -> Result<()> {
    let compose = Compose::load(&[])?;
    for (name, service) in &compose.services {
        ensure!((name == "frontend") != service.ports.is_empty(), "{name} publishes {:?}", service.ports);
        ensure!(service.ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{name}: {:?}", service.ports);
    }
    Ok(())
}

#[test]
fn every_process_of_compose_has_a_health_check_and_every_keeper_a_folder_of_its_own() -> Result<()> {
    let compose = Compose::load(&[])?;
    let mut folders = BTreeSet::new();
    for (name, service) in &compose.services {
        ensure!(compose.is_one_shot(name) != service.healthcheck.is_some(), "{name}");
        let own = service.volumes.iter().filter(|volume| volume.ends_with(":/var/lib/bazaar"));
        for folder in own {
            ensure!(folders.insert(folder.clone()), "{name} shares {folder}");
        }
    }
    ensure!(folders.len() == 4, "three replicas and the catalog keep something: {folders:?}");
    Ok(())
}

#[test]
fn the_addresses_of_compose_are_its_services() -> Result<()> {
    let compose = Compose::load(&[])?;
    let config = ClusterConfig::parse(&read("deploy/compose/cluster.toml")?)?;
    let replicas = config.replicas.iter().flat_map(|replica| [&replica.service, &replica.peers, &replica.admin]);
    for address in replicas.chain([&config.catalog.service]) {
        ensure!(compose.services.contains_key(address.host()), "{address} is no service");
    }
    let advertised = config.frontend.internal_advertised.context("where the catalog reaches the frontend")?;
    ensure!(advertised.starts_with("frontend:"), "{advertised}");
    for replica in &config.replicas {
        let service = &compose.services[replica.service.host()];
        ensure!(service.environment["BAZAAR_ORDER_ID"] == replica.id.to_string(), "replica {}", replica.id);
    }
    Ok(())
}

#[test]
fn the_files_of_kubernetes_name_three_pods_and_the_same_stocks() -> Result<()> {
    let config = ClusterConfig::parse(&read("deploy/kubernetes/cluster.toml")?)?;
    for replica in &config.replicas {
        ensure!(replica.peers.host() == format!("order-{}.order", replica.id), "{}", replica.peers);
    }
    ensure!(config.replicas.len() == 3);
    ensure!(read("deploy/kubernetes/stocks.toml")? == read("config/stocks.toml")?, "the stocks differ");
    Ok(())
}

#[test]
fn the_image_holds_what_the_files_run() -> Result<()> {
    let dockerfile = read("Dockerfile")?;
    let compose = Compose::load(&[])?;
    let programs: BTreeSet<&str> =
        compose.services.values().filter_map(|service| Some(service.command.first()?.as_str())).collect();
    for program in programs.into_iter().filter(|program| program.starts_with("bazaar")) {
        let copied = dockerfile.split_whitespace().any(|word| word.strip_prefix("target/release/") == Some(program));
        ensure!(copied, "the image has no {program}");
    }
    Ok(())
}

#[test]
fn neither_keys_nor_tokens_get_into_the_image_or_the_repository() -> Result<()> {
    for (file, of_any_folder) in [(".gitignore", ""), (".dockerignore", "**/")] {
        let text = read(file)?;
        let secrets = ["*.key", "tokens.toml"].map(|secret| format!("{of_any_folder}{secret}"));
        for secret in secrets.iter().map(String::as_str).chain(["/certs", "/config/certs"]) {
            ensure!(text.lines().any(|line| line == secret), "{file} lets {secret} through");
        }
    }
    let dockerfile = read("Dockerfile")?;
    let folders = dockerfile.lines().filter(|line| line.starts_with("COPY config/"));
    for line in folders {
        let sources = line.split_whitespace().skip(1).take_while(|word| word.starts_with("config/"));
        ensure!(sources.into_iter().all(|source| source.ends_with(".toml")), "'{line}' takes whatever lies there");
    }
    Ok(())
}
