//! The three servers as processes.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bazaar_tests::{ports::Ports, process::Process, wait::LOOK_EVERY, wait_until};
use tempfile::TempDir;

use super::{
    Script, pgbench,
    script::{BOOKS, SCHEMA},
};
use crate::{answer::Answer, child, machine, usage::Group};

/// The primary, and two standbys.
const SERVERS: u16 = 3;
/// The user of the package: the server refuses to run as root.
const USER: &str = "postgres";
/// Everything else is as the package has it.
const SETTINGS: [&str; 11] = [
    "listen_addresses=127.0.0.1",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "wal_level=replica",
    "hot_standby=on",
    "max_wal_senders=8",
    "max_connections=300",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "logging_collector=off",
];
const CALL_MAX: Duration = Duration::from_secs(120);
/// How long the servers may take to end.
const END_MAX: Duration = Duration::from_secs(10);
/// How much longer than the load the load generator may take.
const SLACK: Duration = Duration::from_secs(60);

/// A running cluster; killed and removed when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    // Before the folder, so that the processes are gone when it is removed.
    servers: Vec<Process>,
    ports: Ports,
    folder: TempDir,
    programs: PathBuf,
    /// What its own programs run under.
    under: Vec<String>,
}

impl Postgres {
    /// Starts a new cluster, waits until commits need a quorum, and makes the tables.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = TempDir::new()?;
        let owner = machine::is_root().then(|| machine::user_ids(USER)).transpose()?;
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group))?;
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        // The user's own programs run as they are; root's run as the package's user.
        let under = child::under(owner.map(|_| USER));
        let (servers, ports) = (Vec::new(), Ports::take()?);
        let mut cluster = Self { servers, ports, folder, programs, under };
        cluster.start_all().await?;
        Ok(cluster)
    }

    async fn start_all(&mut self) -> Result<()> {
        let primary = self.data(0);
        self.call("initdb", &["-D", &primary, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C"]).await?;
        self.start_server(0).await?;
        for server in 1..SERVERS {
            let (port, data) = (self.port(0), self.data(server));
            let from = ["-h", "127.0.0.1", "-p", &port, "-U", USER];
            let to = ["-D", &data, "-R", "-X", "stream", "-c", "fast"];
            self.call("pg_basebackup", &[&from[..], &to].concat()).await?;
            self.start_server(server).await?;
        }
        self.wait_for("both standbys stream", "SELECT count(*) = 2 FROM pg_stat_replication WHERE state = 'streaming'")
            .await?;
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s1, s2)'").await?;
        self.sql("SELECT pg_reload_conf()").await?;
        self.wait_for(
            "commits need a quorum",
            "SELECT count(*) = 2 FROM pg_stat_replication WHERE sync_state = 'quorum'",
        )
        .await?;
        for statement in SCHEMA.split_inclusive(";\n") {
            self.sql(statement).await?;
        }
        Ok(())
    }

    async fn start_server(&mut self, server: u16) -> Result<()> {
        let (port, data) = (self.port(server), self.data(server));
        let name = format!("cluster_name=s{server}");
        let sockets = self.folder.path().to_string_lossy();
        let mut arguments = vec!["-D", &data, "-p", &port, "-k", &sockets, "-c", &name];
        arguments.extend(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let log = self.folder.path().join(format!("s{server}.log"));
        self.servers.push(child::start(&self.under, &self.programs.join("postgres"), arguments, &log)?);
        let answers = || async { self.sql_of(server, "SELECT 1").await.ok() };
        let said = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("PostgreSQL answers", answers)
            .await
            .with_context(|| format!("PostgreSQL does not start:\n{}", said()))?;
        Ok(())
    }

    /// The servers by their part.
    pub fn groups(&self) -> Vec<Group> {
        let pids: Vec<u32> = self.servers.iter().map(Process::id).collect();
        vec![Group { name: "primary", pids: pids[..1].into() }, Group { name: "standbys", pids: pids[1..].into() }]
    }

    /// Loads the primary with pgbench.
    ///
    /// # Errors
    /// If the load fails.
    pub async fn load(&self, script: Script, clients: u64, duration_s: u64) -> Result<Answer> {
        let scratch = TempDir::new()?;
        let file = scratch.path().join(script.name());
        fs::write(&file, script.text())?;
        let (file, prefix) = (file.to_string_lossy(), scratch.path().join("log").to_string_lossy().into_owned());
        let (port, clients, duration) = (self.port(0), clients.to_string(), duration_s.to_string());
        // More threads than clients are refused; two cannot hold any load of this size back.
        let threads = if clients == "1" { "1" } else { "2" };
        let to = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-n", "-M", "prepared", "-f", &file];
        let load = ["-c", &clients, "-j", threads, "-T", &duration, "-l", "--log-prefix", &prefix, USER];
        let limit = Duration::from_secs(duration_s) + SLACK;
        let program = self.programs.join("pgbench");
        let printed = child::succeeds(&child::under(None), &program, to.iter().chain(&load), limit).await?;
        pgbench::answer(&printed, &logs(scratch.path())?)
    }

    /// Checks that what the stocks lost is what was sold.
    ///
    /// # Errors
    /// If it is not.
    pub async fn check_books(&self) -> Result<()> {
        let holds = self.sql(BOOKS).await?;
        ensure!(holds == "t", "PostgreSQL: what the stocks lost is not what was sold");
        Ok(())
    }

    /// The version of the server.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn version(&self) -> Result<String> {
        self.sql("SHOW server_version").await
    }

    async fn wait_for(&self, what: &str, question: &str) -> Result<()> {
        wait_until(what, || async { self.sql(question).await.ok().filter(|answer| answer == "t") }).await.map(drop)
    }

    async fn sql(&self, text: &str) -> Result<String> {
        self.sql_of(0, text).await
    }

    async fn sql_of(&self, server: u16, text: &str) -> Result<String> {
        let port = self.port(server);
        let how = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"];
        let what = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-c", text];
        Ok(self.call("psql", &[&how[..], &what].concat()).await?.trim().to_owned())
    }

    async fn call(&self, program: &str, arguments: &[&str]) -> Result<String> {
        child::succeeds(&self.under, &self.programs.join(program), arguments, CALL_MAX).await
    }

    fn port(&self, server: u16) -> String {
        self.ports.get(server).to_string()
    }

    fn data(&self, server: u16) -> String {
        self.folder.path().join(format!("s{server}")).to_string_lossy().into_owned()
    }
}

/// A server that is killed outright leaves shared memory behind, so each is told to end at once (SIGQUIT) first.
impl Drop for Postgres {
    fn drop(&mut self) {
        let deadline = Instant::now() + END_MAX;
        // The primary last: its standbys would look for it.
        for server in self.servers.iter_mut().rev() {
            // If it is gone already, or does not end in time, what follows is the same: it is killed.
            let told = server.signal("QUIT").is_ok();
            while told && Instant::now() < deadline && server.ended().is_ok_and(|ended| ended.is_none()) {
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

/// The folder of the newest installed version: Debian does not put the server's programs into the path.
fn programs() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| entry.ok());
    let with_number =
        folders.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let newest = with_number.filter(|(_, path)| path.join("bin/pgbench").exists()).max();
    match newest {
        Some((_, path)) => Ok(path.join("bin")),
        None => bail!("PostgreSQL is missing; install it with: sudo apt-get install postgresql"),
    }
}

fn logs(folder: &Path) -> Result<Vec<String>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("log") {
            logs.push(fs::read_to_string(entry.path())?);
        }
    }
    Ok(logs)
}
