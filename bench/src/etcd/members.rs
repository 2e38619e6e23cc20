//! Three members as processes.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use bazaar_tests::{ports::Ports, process, process::Process, wait_until};
use tempfile::TempDir;

use super::{grpc::Connection, kv, load::Kind};
use crate::{answer::Answer, child, machine, usage::Group};

const MEMBERS: u16 = 3;
/// What the database may take: the default of 2 GiB is filled within minutes.
const QUOTA_BYTES: u64 = 8 << 30;
/// How much longer than the load the load generator may take.
const SLACK: Duration = Duration::from_secs(60);

/// A running cluster; killed and removed when it is dropped.
#[derive(Debug)]
pub struct Etcd {
    // Before the folder, so that the processes are gone when it is removed.
    members: Vec<Process>,
    ports: Ports,
    _folder: TempDir,
    leader: u16,
    binary: PathBuf,
}

impl Etcd {
    /// Starts a new cluster and waits until it has a leader.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start() -> Result<Self> {
        let binary = machine::find_program("etcd", "etcd-server")?;
        let ports = Ports::take()?;
        let folder = TempDir::new()?;
        let mut members = Vec::new();
        for member in 0..MEMBERS {
            let log = folder.path().join(format!("m{member}.log"));
            let data = folder.path().join(format!("m{member}"));
            let arguments = arguments(&ports, member, &data.to_string_lossy());
            members.push(child::start(&child::under(None), &binary, arguments, &log)?);
        }
        let leader = wait_until("etcd has a leader", || find_leader(&ports)).await.with_context(|| {
            let log = fs::read_to_string(folder.path().join("m0.log")).unwrap_or_default();
            format!("etcd does not start:\n{log}")
        })?;
        Ok(Self { members, ports, _folder: folder, leader, binary })
    }

    /// What the server calls itself.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn version(&self) -> Result<String> {
        let said = child::succeeds(&child::under(None), &self.binary, ["--version"], SLACK).await?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    }

    /// The members by their part.
    pub fn groups(&self) -> Vec<Group> {
        let of = |leads: bool| {
            let members = (0..MEMBERS).zip(&self.members).filter(|(member, _)| (*member == self.leader) == leads);
            members.map(|(_, process)| process.id()).collect()
        };
        vec![Group { name: "leader", pids: of(true) }, Group { name: "followers", pids: of(false) }]
    }

    /// Loads the leader.
    ///
    /// # Errors
    /// If the load fails.
    pub async fn load(&self, kind: Kind, clients: u64, duration_s: u64) -> Result<Answer> {
        let kind = match kind {
            Kind::Put => "put",
            Kind::Trade => "trade",
        };
        let member = authority(&self.ports, self.leader);
        let (clients, duration) = (clients.to_string(), duration_s.to_string());
        let arguments = [kind, "--member", &member, "--clients", &clients, "--duration-s", &duration];
        let limit = Duration::from_secs(duration_s) + SLACK;
        let load = process::binary("etcd-load");
        let text = child::succeeds(&child::under(None), &load, arguments, limit).await?;
        Ok(serde_json::from_str(&text)?)
    }
}

async fn find_leader(ports: &Ports) -> Option<u16> {
    for member in 0..MEMBERS {
        if let Ok(connection) = Connection::open(&authority(ports, member)).await
            && kv::leads(&connection).await.is_ok_and(|leads| leads)
        {
            return Some(member);
        }
    }
    None
}

fn authority(ports: &Ports, member: u16) -> String {
    format!("127.0.0.1:{}", ports.get(member))
}

fn arguments(ports: &Ports, member: u16, data: &str) -> Vec<String> {
    let url = |member| format!("http://{}", authority(ports, member));
    let peer = |member| url(MEMBERS + member);
    let all: Vec<String> = (0..MEMBERS).map(|member| format!("m{member}={}", peer(member))).collect();
    let (name, quota) = (format!("m{member}"), QUOTA_BYTES.to_string());
    [
        ("--name", name),
        ("--data-dir", data.to_owned()),
        ("--listen-client-urls", url(member)),
        ("--advertise-client-urls", url(member)),
        ("--listen-peer-urls", peer(member)),
        ("--initial-advertise-peer-urls", peer(member)),
        ("--initial-cluster", all.join(",")),
        ("--quota-backend-bytes", quota),
        ("--logger", "zap".into()),
        ("--log-level", "error".into()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}
