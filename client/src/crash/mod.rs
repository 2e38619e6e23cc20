//! `bazaar crash`: kills random replicas while clients run, brings them back, and compares all databases at the end.
//! It touches processes only through `scripts/cluster`, so it works on no other cluster than that script's.

pub mod plan;
pub mod report;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bazaar_domain::ReplicaId;
use clap::Args;
use futures::future::join;
use indicatif::ProgressBar;

use crate::{
    Context,
    admin::Replica,
    away::Away,
    check,
    output::{make_folder, write_file},
    script::ScriptArgs,
    terminal,
    whole::whole,
    workload::{self, WorkloadArgs, parse_probability, report::WorkloadReport},
};
use plan::{Victim, victims};
use report::{CrashReport, Round};

/// How long clients run before a replica is killed.
const BEFORE: Duration = Duration::from_secs(1);
/// How long it is down before it is started again.
const DOWN: Duration = Duration::from_secs(2);
/// How long clients run after it has caught up.
const AFTER: Duration = Duration::from_secs(1);
/// More iterations than a round has time for: its end is decided by the crash, not by a count.
const ITERATIONS_MAX: u64 = 1_000_000_000;
/// No round takes longer.
const ROUND_S_MAX: u64 = 300;
/// How long one request is retried.
const RETRY_S: u64 = 60;
/// The file in the cluster's folder that gets every acknowledged order; kept if something is wrong.
const RECORDS_FILE: &str = "crash-acknowledged.jsonl";

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar crash                                     five crashes of the cluster in data/, the leader's at least twice
  bazaar crash --rounds 20 --seed 7 --data /tmp/b  others, of the cluster in /tmp/b

The exit code is 0 only if no client saw an error and all databases are equal at the end. Also after Ctrl-C a killed
replica comes back.";

/// The arguments of `bazaar crash`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct CrashArgs {
    /// How many replicas are killed, one after the other.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub rounds: u64,
    /// Clients that run meanwhile.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub clients: u64,
    /// Probability of a trade after a lookup, 0 to 1.
    #[arg(long, default_value_t = 0.5, value_parser = parse_probability)]
    pub prob: f64,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also write the findings as JSON and Markdown to this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The script that started the cluster.
    #[command(flatten)]
    pub script: ScriptArgs,
}

/// Runs the command.
///
/// # Errors
/// If the cluster is not one of the script's or is not whole, a client saw an error, or the databases differ.
pub async fn run(context: &Context, args: CrashArgs) -> Result<()> {
    args.out.as_deref().map_or(Ok(()), make_folder)?;
    let script = args.script.of(context.config_path())?;
    let cluster = context.cluster()?;
    let replicas: Vec<Replica> =
        cluster.replicas.iter().map(|replica| Replica::new(replica, context.frontend.caller())).collect();
    let ids: Vec<ReplicaId> = replicas.iter().map(|replica| replica.id).collect();
    let away = Away::new(script);
    let live = terminal::live_line(context.printer.format);
    let experiment = Experiment { context, args: &args, replicas, away, live };
    let rounds = experiment.away.restoring(experiment.rounds(&ids)).await?;
    experiment.live.set_message("comparing all databases");
    let checks = check::rows(context, Some(&experiment.records()), false).await?;
    experiment.live.finish_and_clear();
    let report = CrashReport::new(&args, rounds, checks);
    context.printer.print(&report);
    if let Some(folder) = &args.out {
        write_file(folder, "crash.json", report.to_json())?;
        write_file(folder, "crash.md", report.to_markdown())?;
    }
    if let Some(complaint) = report.complaint() {
        bail!("{complaint}; what was acknowledged is in {}", experiment.records().display());
    }
    // It was only there to be compared.
    let _ = std::fs::remove_file(experiment.records());
    Ok(())
}

struct Experiment<'a> {
    context: &'a Context,
    args: &'a CrashArgs,
    replicas: Vec<Replica>,
    away: Away,
    live: ProgressBar,
}

impl Experiment<'_> {
    async fn rounds(&self, ids: &[ReplicaId]) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for victim in victims(self.args.seed, self.args.rounds as usize, ids) {
            rounds.push(self.round(victim, rounds.len() as u64 + 1).await?);
        }
        whole(&self.replicas).await?;
        Ok(rounds)
    }

    /// Kills one replica while clients run, and brings it back.
    async fn round(&self, victim: Victim, number: u64) -> Result<Round> {
        let leader = whole(&self.replicas).await?;
        let replica = match victim {
            Victim::Leader => leader,
            Victim::Replica(id) => id,
        };
        let rounds = self.args.rounds;
        self.live.set_message(format!("crash {number} of {rounds}: replica {replica}, while clients run"));
        let stop = Arc::new(AtomicBool::new(false));
        let crash = async {
            let down = self.kill_and_bring_back(replica).await;
            // Whatever became of it: the clients must not run for ever.
            stop.store(true, Ordering::Relaxed);
            down
        };
        let (clients, down) = join(self.clients(number, Arc::clone(&stop)), crash).await;
        Ok(Round::new(replica, replica == leader, down?, &clients?))
    }

    async fn clients(&self, number: u64, stop: Arc<AtomicBool>) -> Result<WorkloadReport> {
        let flags = WorkloadArgs {
            requests: ITERATIONS_MAX,
            clients: self.args.clients,
            prob: self.args.prob,
            seed: self.args.seed.wrapping_add(number),
            deadline_s: ROUND_S_MAX,
            retry_s: RETRY_S,
            records: Some(self.records()),
        };
        workload::execute(&self.context.frontend, &flags, stop, ProgressBar::hidden()).await
    }

    /// Returns how long the replica was away: from its death until it had caught up again.
    async fn kill_and_bring_back(&self, replica: ReplicaId) -> Result<Duration> {
        tokio::time::sleep(BEFORE).await;
        let killed = Instant::now();
        self.away.take(replica, "kill", "restart").await?;
        tokio::time::sleep(DOWN).await;
        self.away.bring_back(replica).await?;
        whole(&self.replicas).await.context("a killed replica came back, but did not catch up")?;
        let away = killed.elapsed();
        tokio::time::sleep(AFTER).await;
        Ok(away)
    }

    fn records(&self) -> PathBuf {
        self.away.script().data().join(RECORDS_FILE)
    }
}
