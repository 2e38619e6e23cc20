//! Clients at every frontend, and faults that are drawn from a seed.
//!
//! Each fault has to show that it happened: a process that is gone or halted, a connection that does not come about,
//! packets that were counted, bytes that were lost. After it a leader and trades have to be there in time, and at the end
//! all that clients saw is checked, see [`Chaos::end`].

mod check;
mod clocks;
mod disks;
mod draw;
mod kind;
mod links;
mod members;
mod mutants;
mod overlap;
mod processes;
mod recovery;
mod replicas;
mod report;

use std::{collections::BTreeSet, fs, mem, path::Path, time::Instant};

use anyhow::{Context, Result, bail};

use self::{overlap::Meanwhile, recovery::Recovery};
use crate::{
    Cluster, Name,
    cluster::REPLICAS,
    disk::{SmallDisk, copied},
    proxy::Late,
    traffic::{Trades, Traffic},
};

pub use check::Check;
pub use draw::Draw;
pub use kind::Kind;
pub use mutants::{BROKEN, Broken, Caught};
pub use report::Report;

/// After so many faults, lookups have to go on everywhere too, and not only trades.
const LOOKUPS_EVERY: u64 = 3;
/// Room on the disk of the replica whose disk gets full.
const SMALL_DISK_MIB: u64 = 512;
/// The replica that has it.
const ON_SMALL_DISK: u64 = 1;
/// What a log says when a thread panicked.
const PANICKED: &str = "panicked at";

/// Snapshots as often as a short run needs them, and little log behind them: replicas that were away need one.
const CONFIG: &str = "raft.snapshot_every_entries = 2000\nraft.log_kept_entries = 500";

/// A cluster with so many frontends for [`Chaos::begin_with_everything`].
///
/// # Errors
/// If it has no folder or no ports.
pub fn prepared(frontends: u16) -> Result<Cluster> {
    prepared_with(frontends, "")
}

fn prepared_with(frontends: u16, more_config: &str) -> Result<Cluster> {
    Ok(Cluster::prepare(&format!("{CONFIG}\n{more_config}"))?.with_frontends(frontends))
}

/// A cluster that suffers faults under traffic.
#[derive(Debug)]
pub struct Chaos {
    // Before the cluster, in whose folder it lies.
    small_disk: Option<SmallDisk>,
    cluster: Cluster,
    /// Clients at every frontend.
    pub traffic: Traffic,
    draw: Draw,
    report: Report,
    began: Instant,
    /// What else is to happen during the fault, until it has.
    meanwhile: Option<Meanwhile>,
    /// What else happened, in words.
    overlapped: String,
    /// Processes that were started, and need not be ready yet.
    starting: BTreeSet<Name>,
    /// Ways that were cut and mended.
    mended: Vec<(Name, Name)>,
    /// How long it took this time until all went on.
    recovery: Recovery,
    /// Requests that arrive when the fault is long over.
    late: Late,
}

impl Chaos {
    /// Puts clients at every frontend.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn begin(cluster: Cluster, seed: u64) -> Result<Self> {
        let mut traffic = Traffic::new()?;
        for name in cluster.names() {
            if let Name::Frontend(number) = name {
                traffic.trade(format!("frontend {number}"), cluster.url_of(name), Trades::MayGetLost);
            }
        }
        Ok(Self {
            small_disk: None,
            cluster,
            traffic,
            draw: Draw::new(seed),
            report: Report::default(),
            began: Instant::now(),
            meanwhile: None,
            overlapped: String::new(),
            starting: BTreeSet::new(),
            mended: Vec::new(),
            recovery: Recovery::default(),
            late: Late::default(),
        })
    }

    /// Starts a cluster that can suffer all kinds of faults: each process on a host of its own, with a shim before its
    /// disk and clock, and one replica on a small disk. `None`, with the reason printed, where that is not allowed.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn begin_with_everything(mut cluster: Cluster, seed: u64) -> Result<Option<Self>> {
        if !cluster.lay_network()? || !cluster.network()?.can_filter() || !cluster.load_shim()? {
            return Ok(None);
        }
        let small = cluster.data(Name::Replica(ON_SMALL_DISK));
        let Some(disk) = SmallDisk::mount(&small, SMALL_DISK_MIB)? else { return Ok(None) };
        cluster.launch_all().await?;
        let mut chaos = Self { small_disk: Some(disk), ..Self::begin(cluster, seed)? };
        chaos.traffic.watch("catalog", chaos.cluster.url_of(Name::Catalog), Trades::MayGetLost);
        Ok(Some(chaos))
    }

    /// Suffers so many faults of these kinds, one after the other.
    ///
    /// # Errors
    /// If one does not happen, or all does not go on after it, or clients find anything wrong.
    pub async fn suffer(&mut self, kinds: &[Kind], faults: u64) -> Result<()> {
        self.suffer_while(kinds, |report| report.faults() < faults).await
    }

    /// The same for as long as it is told to, all kinds equally often.
    ///
    /// # Errors
    /// As there.
    pub async fn suffer_while(&mut self, kinds: &[Kind], go_on: impl Fn(&Report) -> bool) -> Result<()> {
        self.traffic.all_goes_on().await?;
        let mut left = Vec::new();
        while go_on(&self.report) {
            if left.is_empty() {
                left = kinds.to_vec();
                self.draw.shuffle(&mut left);
            }
            let kind = left.pop().context("no kind of fault was given")?;
            let number = self.report.faults() + 1;
            self.suffer_one(kind).await.with_context(|| format!("fault {number}, {kind}"))?;
            if number.is_multiple_of(LOOKUPS_EVERY) {
                self.traffic.all_goes_on().await?;
            }
        }
        Ok(())
    }

    async fn suffer_one(&mut self, kind: Kind) -> Result<()> {
        self.meanwhile = self.draw_meanwhile().await?;
        let mut evidence = self.carry_out(kind).await?;
        evidence.push_str(&mem::take(&mut self.overlapped));
        println!("{:>7.1} s  {kind:<17} {evidence}", self.began.elapsed().as_secs_f64());
        self.goes_on_in_time().await?;
        self.report.add(kind, evidence, mem::take(&mut self.recovery));
        self.ways_are_mended().await?;
        self.all_are_ready().await?;
        self.traffic.trades_go_on().await?;
        self.all_live()?;
        self.traffic.is_consistent()
    }

    /// The same until `end`, but at least one fault, and then [`Self::end`].
    ///
    /// # Errors
    /// As there.
    pub async fn suffer_until(&mut self, kinds: &[Kind], end: Instant) -> Result<()> {
        self.suffer_while(kinds, |report| report.faults() == 0 || Instant::now() < end).await?;
        self.end().await
    }

    /// Does it and undoes it; returns what shows that it happened.
    async fn carry_out(&mut self, kind: Kind) -> Result<String> {
        match kind {
            Kind::Kill => self.kill().await,
            Kind::Stop => self.stop().await,
            Kind::KillAll => self.kill_all().await,
            Kind::StopAll => self.stop_all().await,
            Kind::RollingRestart => self.restart_in_turn().await,
            Kind::Freeze => self.freeze().await,
            Kind::Halves => self.part_in_halves().await,
            Kind::LeaderAlone => self.isolate_leader().await,
            Kind::OneWay => self.cut_one_way().await,
            Kind::Bridge => self.leave_a_bridge().await,
            Kind::LeaderCatalog => self.part_leader_and_catalog().await,
            Kind::FrontendCatalog => self.part_frontend_and_catalog().await,
            Kind::Loss => self.lose_packets().await,
            Kind::Delay | Kind::Reset | Kind::HalfClose | Kind::Replay | Kind::Hold => self.mistreat(kind).await,
            Kind::DiskFull => self.fill_disk().await,
            Kind::FailingSync => self.fail_syncs().await,
            Kind::SlowSync => self.slow_syncs().await,
            Kind::PowerLoss => self.cut_power_of_one().await,
            Kind::PowerLossAll => self.cut_power_of_all().await,
            Kind::FlippedBit => self.flip_bit().await,
            Kind::OldDirectory => self.bring_back_old_directory().await,
            Kind::Wiped => self.wipe().await,
            Kind::Members => self.join_and_leave().await,
            Kind::ClockJump => self.jump_clock().await,
        }
    }

    /// What was suffered so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Ends the clients, and checks what they saw, see [`Traffic::end`]; that there is an order of all they did; that all
    /// replicas, which it kills, have stored the same; and that no thread of any process panicked.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn end(&mut self) -> Result<()> {
        self.late.arrived().await;
        self.traffic.end(&self.cluster).await?;
        self.traffic.is_linearizable()?;
        self.replicas_have_the_same().await?;
        // Those of replicas that came and went are there too.
        for entry in fs::read_dir(self.cluster.folder())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                no_panic(&path).context(Check::Panics)?;
            }
        }
        Ok(())
    }

    /// Kills all processes and keeps the cluster's folder, with logs, data and what clients saw; says where it is.
    pub fn keep(&mut self) -> String {
        let folder = self.cluster.keep();
        match self.write_to(&folder) {
            Ok(()) => format!("logs, data and what clients saw are in {}", folder.display()),
            Err(error) => format!("what is left of it is in {}; not all could be kept: {error:#}", folder.display()),
        }
    }

    fn write_to(&mut self, folder: &Path) -> Result<()> {
        self.cluster.kill_all()?;
        let recorder = self.traffic.recorder();
        fs::write(folder.join("history"), recorder.history().lines())?;
        fs::write(folder.join("accepted"), recorder.records())?;
        let operations = self.traffic.operations();
        let lines = operations.iter().map(|operation| Ok(serde_json::to_string(operation)? + "\n"));
        fs::write(folder.join("operations"), lines.collect::<Result<String>>()?)?;
        if self.small_disk.is_some() {
            // It goes with its disk.
            let small = self.cluster.data(Name::Replica(ON_SMALL_DISK));
            copied(&small, &small.with_extension("kept"))?;
        }
        Ok(())
    }

    async fn leader(&self) -> Result<u64> {
        recovers(&self.traffic, self.cluster.leader()).await
    }

    async fn followers(&self) -> Result<Vec<u64>> {
        let leader = self.leader().await?;
        Ok(REPLICAS.into_iter().filter(|id| *id != leader).collect())
    }

    async fn a_follower(&mut self) -> Result<u64> {
        let followers = self.followers().await?;
        Ok(*self.draw.one_of(&followers))
    }

    /// A replica; the leader in half of the draws.
    async fn a_replica(&mut self) -> Result<u64> {
        if self.draw.one_in(2) { self.leader().await } else { self.a_follower().await }
    }

    fn a_frontend(&mut self) -> Name {
        let frontends: Vec<Name> = self.cluster.names().filter(|name| matches!(name, Name::Frontend(_))).collect();
        *self.draw.one_of(&frontends)
    }

    /// A process: mostly a frontend or the catalog, whose caches and leases are easily wrong; now and then a replica.
    async fn a_process(&mut self) -> Result<Name> {
        Ok(match self.draw.below(6) {
            0 => Name::Replica(self.leader().await?),
            1 => Name::Replica(self.a_follower().await?),
            2 | 3 => Name::Catalog,
            _ => self.a_frontend(),
        })
    }
}

/// Waits for something that has to come about when all is well, unless a client finds a fault first.
async fn recovers<T>(traffic: &Traffic, something: impl Future<Output = Result<T>>) -> Result<T> {
    traffic.unless_faulty(async { something.await.context(Check::Recovery) }).await
}

fn no_panic(log: &Path) -> Result<()> {
    let text = fs::read_to_string(log).with_context(|| log.display().to_string())?;
    match text.lines().find(|line| line.contains(PANICKED)) {
        Some(line) => bail!("{}: {line}", log.display()),
        None => Ok(()),
    }
}

/// A fault that left no trace did not happen, and what came after it shows nothing.
fn happened(is_so: bool, what: impl FnOnce() -> String) -> Result<()> {
    if is_so { Ok(()) } else { bail!("the fault did not happen: {}", what()) }
}
