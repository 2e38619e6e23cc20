//! What `compose.yaml` and the `Dockerfile` say, as far as a container's start goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The project's folder.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `compose.yaml`.
#[derive(Debug, Deserialize)]
pub(crate) struct Compose {
    /// The services by name.
    pub(crate) services: BTreeMap<String, Service>,
}

/// A service.
#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Its environment, beside the image's.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// `SOURCE:TARGET[:ro]`.
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    /// `ADDRESS:PORT:CONTAINER_PORT`.
    #[serde(default)]
    pub(crate) ports: Vec<String>,
    /// Who runs it, if not the image's user.
    pub(crate) user: Option<String>,
    /// Capabilities beside none.
    #[serde(default)]
    pub(crate) cap_add: Vec<String>,
    /// What must be so before it starts.
    #[serde(default)]
    pub(crate) depends_on: BTreeMap<String, Dependency>,
    /// How it is asked whether it is well.
    pub(crate) healthcheck: Option<HealthCheck>,
}

/// What another service must be like.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// `service_started` or `service_completed_successfully`.
    pub(crate) condition: String,
}

/// How a container is asked whether it is well.
#[derive(Debug, Deserialize)]
pub(crate) struct HealthCheck {
    /// `CMD`, the program, its arguments.
    pub(crate) test: Vec<String>,
}

impl Compose {
    /// Reads the project's `compose.yaml` with the settings of `.env`, some of them replaced.
    ///
    /// # Errors
    /// If a file cannot be read or is wrong, or a variable is in neither.
    pub(crate) fn load(replaced: &[(&str, &str)]) -> Result<Self> {
        let text = fs::read_to_string(project().join("compose.yaml")).context("compose.yaml cannot be read")?;
        let settings = fs::read_to_string(project().join(".env")).context(".env cannot be read")?;
        let lines = settings.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        let settings: BTreeMap<&str, &str> = lines.chain(replaced.iter().copied()).collect();
        serde_saphyr::from_str(&interpolated(&text, &settings)?).context("compose.yaml is wrong")
    }

    /// The services in an order in which each comes behind those that it depends on.
    ///
    /// # Errors
    /// If they depend on each other in a circle, or on one that is not there.
    pub(crate) fn in_order(&self) -> Result<Vec<&str>> {
        let mut order: Vec<&str> = vec![];
        while order.len() < self.services.len() {
            let started: BTreeSet<&str> = order.iter().copied().collect();
            let next = self.services.iter().find(|(name, service)| {
                !started.contains(name.as_str())
                    && service.depends_on.keys().all(|other| started.contains(other.as_str()))
            });
            order.push(next.context("a service depends on what never starts")?.0);
        }
        Ok(order)
    }

    /// Whether another service waits for the end of this one.
    pub(crate) fn is_one_shot(&self, name: &str) -> bool {
        self.services.values().any(|service| {
            service.depends_on.get(name).is_some_and(|other| other.condition == "service_completed_successfully")
        })
    }
}

/// Puts settings in the place of `${NAME:-default}`.
fn interpolated(text: &str, settings: &BTreeMap<&str, &str>) -> Result<String> {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').context("a variable without an end")?;
        let (name, default) = variable.split_once(":-").context("a variable without a default")?;
        whole += settings.get(name).copied().unwrap_or(default);
        whole += rest;
    }
    Ok(whole)
}

/// What the last stage of the `Dockerfile` gives to every container.
#[derive(Debug)]
pub(crate) struct Image {
    /// Its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// User and group, as numbers.
    pub(crate) user: String,
    /// Where a container starts.
    pub(crate) folder: String,
}

impl Image {
    /// Reads the project's `Dockerfile`.
    ///
    /// # Errors
    /// If it lacks one of the lines.
    pub(crate) fn load() -> Result<Self> {
        let text = fs::read_to_string(project().join("Dockerfile")).context("the Dockerfile cannot be read")?;
        let text = text.replace("\\\n", " ");
        let last = text.rsplit("\nFROM ").next().context("a stage")?;
        let line = |word: &str| {
            let found = last.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
            found.map(str::to_owned).with_context(|| format!("the Dockerfile has no {word}"))
        };
        let variables = line("ENV")?;
        let environment: BTreeMap<String, String> = variables
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        ensure!(!environment.is_empty(), "the Dockerfile sets no environment");
        Ok(Self { environment, user: line("USER")?, folder: line("WORKDIR")? })
    }
}
