//! A whole cluster: three replicas, the catalog and a frontend, as processes.

mod members;
mod requests;
mod secured;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::{
    network::{Host, Network},
    ports::Ports,
    process::Process,
    shim::Shim,
    wait::{LOOK_EVERY, WAIT_MAX},
};

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// An order replica.
    Replica(u64),
    /// The catalog.
    Catalog,
    /// A frontend, from 1; most stories have only the first one.
    Frontend(u16),
}

impl Name {
    /// The folder of its data, in the cluster's.
    pub fn folder(self) -> String {
        match self {
            Self::Replica(id) => format!("replica-{id}"),
            Self::Catalog => "catalog".into(),
            Self::Frontend(number) => format!("frontend-{number}"),
        }
    }
}

/// The replicas of every cluster here.
pub const REPLICAS: [u64; 3] = [1, 2, 3];
/// Most replicas of a cluster here.
const REPLICAS_MAX: u64 = 5;
/// How long a process may take to end by itself: a workload checks all that it did first.
const FINISH_MAX: Duration = Duration::from_secs(180);
/// What people run, and the same with rules that can be broken.
const REPLICA_BINARIES: [&str; 2] = ["bazaar-order-raft", "mutant-order-raft"];
const CATALOG_BINARIES: [&str; 2] = ["bazaar-catalog", "mutant-catalog"];
const FRONTEND_BINARIES: [&str; 2] = ["bazaar-frontend", "mutant-frontend"];
/// Most frontends of a cluster here.
pub const FRONTENDS_MAX: u16 = 4;
/// What a test stock starts with.
pub const LISTED_QUANTITY: u64 = 1_000_000;
/// The stocks of every cluster here.
pub const STOCKS: [&str; 10] = ["S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"];
/// A request of a story that takes longer than this has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster in a temporary folder; everything is killed and removed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // Before the folder, so that the processes are gone when it is removed.
    processes: BTreeMap<Name, Process>,
    /// Without one, all processes are on this machine's own loopback.
    network: Option<Network>,
    folder: TempDir,
    ports: Ports,
    client: reqwest::Client,
    /// What a test added to the configuration.
    more_config: String,
    frontends: u16,
    /// Whether everything goes over TLS, with the certificates in the folder's `certs`.
    is_secured: bool,
    /// The rule that is broken, if this cluster is there to be found out.
    mutant: Option<&'static str>,
    /// Stands between the processes and their disks and clocks.
    shim: Option<Shim>,
}

/// Where a frontend's three ports begin in the block.
fn frontend_port(frontend: u16) -> u16 {
    if frontend == 1 { 1 } else { replica_port(6) + 3 * (frontend - 2) }
}

/// Where a replica's three ports begin in the block.
fn replica_port(id: u64) -> u16 {
    4 + 3 * u16::try_from(id - 1).expect("replicas are 1 to 5")
}

/// Where a process's ports begin in the block; the first one tells whether it is ready.
fn first_port(name: Name) -> u16 {
    match name {
        Name::Catalog => 0,
        Name::Frontend(number) => frontend_port(number),
        Name::Replica(id) => replica_port(id),
    }
}

/// The host of the process that a port of the block belongs to: after the catalog's one port, each process has three.
fn host_of(offset: u16) -> Host {
    Host(1 + u8::try_from(offset.div_ceil(3)).expect("a block is small"))
}

impl Cluster {
    /// Starts a new cluster and waits until a trade would succeed.
    ///
    /// # Errors
    /// If something does not start; the message holds its log.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// As [`Self::start`], with more lines for the configuration.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with(more_config: &str) -> Result<Self> {
        Self::start_with_frontends(1, more_config).await
    }

    /// As [`Self::start_with`], with so many frontends, up to [`FRONTENDS_MAX`].
    ///
    /// # Errors
    /// As there.
    pub async fn start_with_frontends(frontends: u16, more_config: &str) -> Result<Self> {
        let mut cluster = Self::prepare(more_config)?.with_frontends(frontends);
        cluster.launch_all().await?;
        Ok(cluster)
    }

    /// As [`Self::start_with_frontends`], with each process on a host of its own; `None`, with the reason printed, where
    /// no network can be laid.
    ///
    /// # Errors
    /// As there.
    pub async fn start_on_network(frontends: u16, more_config: &str) -> Result<Option<Self>> {
        let mut cluster = Self::prepare(more_config)?.with_frontends(frontends);
        if !cluster.lay_network()? {
            return Ok(None);
        }
        cluster.launch_all().await?;
        Ok(Some(cluster))
    }

    /// The same cluster with so many frontends, up to [`FRONTENDS_MAX`]; before anything is started.
    pub fn with_frontends(self, frontends: u16) -> Self {
        Self { frontends, ..self }
    }

    /// The same cluster of processes that break a rule (`bazaar_domain::mutants`); before anything is started. They have
    /// to be built: `scripts/mutants` does that.
    pub fn with_mutant(self, mutant: &'static str) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// Puts each process on a host of its own, before anything is started; `false`, with the reason printed, where no
    /// network can be laid.
    ///
    /// # Errors
    /// If it should be possible, and fails.
    pub fn lay_network(&mut self) -> Result<bool> {
        // With hosts for replicas that may join.
        let names = (1..=REPLICAS_MAX).map(Name::Replica).chain(self.names());
        let hosts: BTreeSet<Host> = names.map(Self::host).collect();
        self.network = Network::lay(&hosts.into_iter().collect::<Vec<_>>())?;
        // Now with the addresses of the hosts.
        self.write_config(&REPLICAS)?;
        Ok(self.network.is_some())
    }

    /// Puts a [`Shim`] between each process that is started from now on and its disk and clock; `false`, with the reason
    /// printed, where there can be none.
    ///
    /// # Errors
    /// If it should be possible, and fails.
    pub fn load_shim(&mut self) -> Result<bool> {
        self.shim = Shim::compile(self.folder())?;
        Ok(self.shim.is_some())
    }

    /// What stands between the processes and their disks and clocks.
    ///
    /// # Errors
    /// If it was not loaded.
    pub fn shim(&self) -> Result<&Shim> {
        self.shim.as_ref().context("this cluster has no shim")
    }

    fn scheme(&self) -> &'static str {
        if self.is_secured { "https" } else { "http" }
    }

    /// Starts all processes for the first time, and waits until a trade would succeed.
    ///
    /// # Errors
    /// If something does not start; the message holds its log.
    pub async fn launch_all(&mut self) -> Result<()> {
        for name in self.names() {
            self.launch(name, true)?;
        }
        self.wait_all_ready().await
    }

    /// Makes folder, ports and configuration, and starts nothing.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn prepare(more_config: &str) -> Result<Self> {
        let folder = TempDir::new().context("no temporary folder")?;
        let ports = Ports::take()?;
        let mut stocks = String::new();
        for stock in STOCKS {
            writeln!(stocks, "[[stock]]\nname = \"{stock}\"\nprice = 15.99\nquantity = {LISTED_QUANTITY}")?;
        }
        fs::write(folder.path().join("stocks.toml"), stocks)?;
        let client = bazaar_service::tls::http_client().timeout(REQUEST_TIMEOUT).build()?;
        let more_config = more_config.to_owned();
        let (processes, network) = (BTreeMap::new(), None);
        let cluster = Self {
            processes,
            network,
            folder,
            ports,
            client,
            more_config,
            frontends: 1,
            is_secured: false,
            mutant: None,
            shim: None,
        };
        cluster.write_config(&REPLICAS)?;
        Ok(cluster)
    }

    /// Writes the configuration with these replicas, 1 to 5; processes that run keep what they read at their start.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_config(&self, replicas: &[u64]) -> Result<()> {
        let address = |offset| self.address(offset);
        let mut config = format!(
            "{}\n[catalog]\nservice = \"{}\"\n[frontend]\npublic = \"{}\"\ninternal = \"{}\"\nadmin = \"{}\"\n",
            self.more_config,
            address(0),
            address(1),
            address(2),
            address(3),
        );
        for id in replicas {
            let [service, peers, admin] = [0, 1, 2].map(|listener| address(replica_port(*id) + listener));
            writeln!(
                config,
                "[[replica]]\nid = {id}\nservice = \"{service}\"\npeers = \"{peers}\"\nadmin = \"{admin}\""
            )?;
        }
        Ok(fs::write(self.config(), config)?)
    }

    fn address(&self, offset: u16) -> String {
        let host = self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, |network| network.address(host_of(offset)));
        format!("{host}:{}", self.ports.get(offset))
    }

    /// All processes, in the order of a start.
    pub fn names(&self) -> impl Iterator<Item = Name> + use<> {
        let frontends = (1..=self.frontends).map(Name::Frontend);
        REPLICAS.into_iter().map(Name::Replica).chain([Name::Catalog]).chain(frontends)
    }

    /// The host of a process, in a cluster on a network.
    pub fn host(name: Name) -> Host {
        host_of(first_port(name))
    }

    /// The network, if the cluster is on one of its own.
    ///
    /// # Errors
    /// If it is not.
    pub fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("this cluster has no network of its own")
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder().join("cluster.toml")
    }

    /// The data directory of a process.
    pub fn data(&self, name: Name) -> PathBuf {
        self.folder().join(name.folder())
    }

    /// The arguments with which a process is started.
    pub fn arguments(&self, name: Name, bootstrap: bool) -> (&'static str, Vec<String>) {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut arguments = vec!["--config".into(), text(self.config())];
        if self.network.is_some() && !self.is_secured {
            arguments.push("--insecure".into());
        }
        if !matches!(name, Name::Frontend(_)) {
            arguments.extend(["--data".into(), text(self.data(name))]);
        }
        let binaries = match name {
            Name::Catalog => CATALOG_BINARIES,
            Name::Frontend(number) => {
                for (listener, flag) in (0..).zip(["--public", "--internal", "--admin"]) {
                    arguments.extend([flag.into(), self.address(frontend_port(number) + listener)]);
                }
                FRONTEND_BINARIES
            }
            Name::Replica(id) => {
                arguments.extend(["--id".into(), id.to_string()]);
                if bootstrap {
                    arguments.extend(["--bootstrap".into(), "test-cluster".into()]);
                }
                REPLICA_BINARIES
            }
        };
        let [real, mutant] = binaries;
        (if self.mutant.is_some() { mutant } else { real }, arguments)
    }

    /// Starts a process and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn launch(&mut self, name: Name, bootstrap: bool) -> Result<()> {
        self.launch_under(&[], name, bootstrap)
    }

    /// The same through another program, see [`Process::start_under`].
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn launch_under(&mut self, prefix: &[&str], name: Name, bootstrap: bool) -> Result<()> {
        let (binary, arguments) = self.arguments(name, bootstrap);
        let log = self.data(name).with_extension("log");
        let mut under = self.network.as_ref().map_or(vec![], |network| network.on(Self::host(name)));
        under.extend(prefix.iter().map(|word| (*word).to_owned()));
        under.push("env".into());
        under.extend(self.mutant.map(|mutant| format!("BAZAAR_MUTANT={mutant}")));
        if let Some(shim) = &self.shim {
            under.extend(shim.variables(name, &self.data(name))?);
        }
        let prefix: Vec<&str> = under.iter().map(String::as_str).collect();
        self.processes.insert(name, Process::start_under(&prefix, binary, arguments, &log)?);
        Ok(())
    }

    /// Whether a process has ended by itself.
    ///
    /// # Errors
    /// If it was not started.
    pub fn has_ended(&mut self, name: Name) -> Result<bool> {
        let process = self.processes.get_mut(&name).with_context(|| format!("{name:?} does not run"))?;
        Ok(process.ended()?.is_some())
    }

    /// Waits until a process has ended by itself; returns its exit code and its last words: the lines `error: ...`.
    ///
    /// # Errors
    /// If it does not end, or was killed.
    pub async fn ended(&mut self, name: Name) -> Result<(i32, Vec<String>)> {
        let process = self.processes.get_mut(&name).with_context(|| format!("{name:?} does not run"))?;
        let status = process.end(WAIT_MAX).await.with_context(|| format!("{name:?}"))?;
        let output = process.output();
        self.processes.remove(&name);
        let code = status.code().with_context(|| format!("{name:?} ended with {status}:\n{output}"))?;
        Ok((code, output.lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect()))
    }

    /// Starts a process again and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn restart(&mut self, name: Name) -> Result<()> {
        self.launch(name, false)?;
        self.wait_ready(name).await
    }

    /// Kills a process (kill -9).
    pub fn kill(&mut self, name: Name) {
        self.processes.remove(&name);
    }

    /// Stops a process in order (SIGTERM) and waits until it has ended well.
    ///
    /// # Errors
    /// If it does not end, or says that it failed.
    pub async fn stop(&mut self, name: Name) -> Result<()> {
        let process = self.processes.remove(&name).with_context(|| format!("{name:?} does not run"))?;
        process.signal("TERM")?;
        finished(process).await.map(drop)
    }

    /// Kills all processes as nearly at once as can be.
    ///
    /// # Errors
    /// If a signal cannot be sent.
    pub fn kill_all(&mut self) -> Result<()> {
        for process in self.processes.values() {
            process.signal("KILL")?;
        }
        self.processes.clear();
        Ok(())
    }

    /// Sends a signal to a process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, name: Name, signal: &str) -> Result<()> {
        self.process(name)?.signal(signal)
    }

    /// A running process.
    ///
    /// # Errors
    /// If it was not started, or was killed.
    pub fn process(&self, name: Name) -> Result<&Process> {
        self.processes.get(&name).with_context(|| format!("{name:?} does not run"))
    }

    /// `http://host:port`, or `https://`, of the listener that tells whether a process is ready.
    pub fn url_of(&self, name: Name) -> String {
        format!("{}://{}", self.scheme(), self.address(first_port(name)))
    }

    /// `http://host:port` of a replica's admin listener.
    pub fn admin_url(&self, id: u64) -> String {
        format!("{}://{}", self.scheme(), self.address(replica_port(id) + 2))
    }

    /// Where other processes reach a process: for replicas, whether they mean the listener of Raft's messages.
    ///
    /// # Errors
    /// If its address is none.
    pub fn reached_at(&self, name: Name, by_peers: bool) -> Result<SocketAddr> {
        let offset = match name {
            Name::Catalog => 0,
            Name::Frontend(number) => frontend_port(number) + 1,
            Name::Replica(id) => replica_port(id) + u16::from(by_peers),
        };
        Ok(self.address(offset).parse()?)
    }

    /// Keeps the folder when this is dropped; returns where it is.
    pub fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder().to_owned()
    }

    /// `http://host:port` of each listener of a process that speaks HTTP.
    pub fn http_urls(&self, name: Name) -> Vec<String> {
        let listeners: &[u16] = match name {
            Name::Catalog => &[0],
            Name::Frontend(_) => &[0, 1, 2],
            Name::Replica(_) => &[0, 2],
        };
        listeners.iter().map(|listener| format!("http://{}", self.address(first_port(name) + listener))).collect()
    }

    /// Starts all processes with these variables, and waits until they are ready.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn launch_with(&mut self, variables: &[&str]) -> Result<()> {
        let prefix: Vec<&str> = ["env"].into_iter().chain(variables.iter().copied()).collect();
        for name in self.names() {
            self.launch_under(&prefix, name, true)?;
        }
        self.wait_all_ready().await
    }

    /// Where a process shows its metrics.
    pub fn metrics_url(&self, name: Name) -> String {
        let offset = match name {
            Name::Catalog => 0,
            Name::Frontend(number) => frontend_port(number) + 2,
            Name::Replica(id) => replica_port(id) + 2,
        };
        format!("{}://{}/metrics", self.scheme(), self.address(offset))
    }

    /// `http://host:port` of the frontend, where clients come.
    pub fn url(&self) -> String {
        self.url_of(Name::Frontend(1))
    }

    /// Waits until a process is ready.
    ///
    /// # Errors
    /// If it ended, or takes too long; the message holds its log.
    pub async fn wait_ready(&mut self, name: Name) -> Result<()> {
        let url = format!("{}/readyz", self.url_of(name));
        let process = self.processes.get_mut(&name).context("it was not started")?;
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            if self.client.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return Ok(());
            }
            if let Some(status) = process.ended()? {
                bail!("{name:?} ended with {status}:\n{}", process.output());
            }
            ensure!(Instant::now() < deadline, "{name:?} does not become ready:\n{}", process.output());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until everything is ready.
    ///
    /// # Errors
    /// If something does not become ready.
    pub async fn wait_all_ready(&mut self) -> Result<()> {
        for name in self.names() {
            self.wait_ready(name).await?;
        }
        Ok(())
    }

    fn running_replicas(&self) -> impl Iterator<Item = u64> {
        self.processes.keys().filter_map(|name| if let Name::Replica(id) = name { Some(*id) } else { None })
    }
}

/// Waits for a process to end, and checks that it ended well.
///
/// # Errors
/// If it did not; the message holds its output.
pub async fn finished(mut process: Process) -> Result<String> {
    let status = process.end(FINISH_MAX).await?;
    let output = process.output();
    ensure!(status.success(), "it ended with {status}:\n{output}");
    Ok(output)
}
