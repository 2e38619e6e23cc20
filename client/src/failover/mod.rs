//! `bazaar failover`: takes the leader away while clients trade, and says how long no trade was answered, and why so
//! long. It touches processes only through `scripts/cluster`, so it works on no other cluster than that script's.

pub mod gap;

use std::{collections::HashSet, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bazaar_domain::{
    ReplicaId, StockName,
    api::Role,
    gap::{Gap, Milestones, split},
};
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::gap::{longest_pause, median};
use crate::{
    Context,
    admin::Replica,
    api::explained,
    away::Away,
    crowd::{Crowd, WallClock},
    output::{Report, counted, table, table_text},
    script::ScriptArgs,
    whole::whole,
};

/// How long is traded before the leader is taken away, so that there is an answer to count from.
const BEFORE: Duration = Duration::from_millis(500);
/// How long is traded after it.
const AFTER: Duration = Duration::from_secs(4);

/// How the leader is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// kill -9.
    Kill,
    /// Halted (SIGSTOP), and resumed after the round.
    Pause,
    /// Stopped in order (SIGTERM), and started again.
    Stop,
    /// The leadership is handed to another replica.
    Transfer,
}

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar failover
  bazaar failover --how pause --rounds 5
  bazaar failover --data /tmp/my-cluster

Also after Ctrl-C the replica comes back.

GAP MS is the longest time without an answered trade, from the last answer before to the first one after. Its parts, in
milliseconds, are read from the events of the new leader:
  DETECT        until a replica found the leader lost and stood for election
  ELECT         from there until it was elected
  FIRST COMMIT  from there until it had committed an entry of its own term, and took trades
  RE-ROUTE      from there until the frontend had found it and a trade was answered
A '-' stands for a part that does not lie within the gap, or of which the new leader noted no beginning or no end: if the
longest pause had another reason, say, or after a handover (--how stop, transfer).";

/// The arguments of `bazaar failover`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FailoverArgs {
    /// How the leader is taken away.
    #[arg(long, value_enum, default_value = "kill")]
    pub how: How,
    /// How often it is done, one round after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub rounds: u64,
    /// Clients that trade meanwhile, each with one trade under way.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub clients: u64,
    /// The cluster that it is done to.
    #[command(flatten)]
    pub script: ScriptArgs,
}

#[derive(Debug, Serialize)]
struct Round {
    /// The replica that led.
    leader: ReplicaId,
    /// The one that leads now.
    successor: ReplicaId,
    #[serde(flatten)]
    gap: Gap,
    answered: u64,
    /// Trades that were answered with an error.
    failed: u64,
    /// What the first of them said.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct FailoverReport {
    how: How,
    rounds: Vec<Round>,
    median_ms: Option<f64>,
    worst_ms: Option<f64>,
    failed: u64,
    /// Order numbers that were given to more than one trade.
    doubled: u64,
}

impl Report for FailoverReport {
    fn to_text(&self, colour: bool) -> String {
        let header = ["FROM", "TO", "GAP MS", "DETECT", "ELECT", "FIRST COMMIT", "RE-ROUTE", "ANSWERED", "ERRORS"];
        let mut rounds = table(&header, colour);
        let millis = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.1}"));
        for Round { leader, successor, gap, answered, failed, .. } in &self.rounds {
            rounds.add_row([
                leader.to_string(),
                successor.to_string(),
                millis(Some(gap.total_ms)),
                millis(gap.detect_ms),
                millis(gap.elect_ms),
                millis(gap.first_commit_ms),
                millis(gap.re_route_ms),
                answered.to_string(),
                failed.to_string(),
            ]);
        }
        format!(
            "{}\n\nno trade was answered for {} ms (median of {}), {} ms at worst; {}, {}",
            table_text(&rounds),
            millis(self.median_ms),
            counted(self.rounds.len() as u64, "round"),
            millis(self.worst_ms),
            counted(self.failed, "error"),
            counted(self.doubled, "doubled order number"),
        )
    }
}

/// Runs the command.
///
/// # Errors
/// If the cluster is not one of the script's, is not whole, or a trade failed or was doubled.
pub async fn run(context: &Context, args: FailoverArgs) -> Result<()> {
    let script = args.script.of(context.config_path())?;
    let cluster = context.cluster()?;
    let replicas: Vec<Replica> =
        cluster.replicas.iter().map(|replica| Replica::new(replica, context.frontend.caller())).collect();
    let stocks = context.frontend.stocks().await.map_err(|failure| explained(&context.frontend, &failure))?;
    let stock = stocks.first().context("no stock is listed")?.name;
    let away = Away::new(script);
    let report = away.restoring(all_rounds(context, &args, &away, &replicas, stock)).await?;
    context.printer.print(&report);
    let why = report.rounds.iter().find_map(|round| round.first_failure.as_deref()).unwrap_or_default();
    ensure!(report.failed == 0, "{} a client: {why}", counted(report.failed, "trade failed for"));
    ensure!(report.doubled == 0, "{} given twice", counted(report.doubled, "order number was"));
    Ok(())
}

async fn all_rounds(
    context: &Context,
    args: &FailoverArgs,
    away: &Away,
    replicas: &[Replica],
    stock: StockName,
) -> Result<FailoverReport> {
    let mut numbers = HashSet::new();
    let mut report =
        FailoverReport { how: args.how, rounds: Vec::new(), median_ms: None, worst_ms: None, failed: 0, doubled: 0 };
    for _ in 0..args.rounds {
        let leader = whole(replicas).await?;
        let (round, acknowledged) = one_round(context, args, away, replicas, stock, leader).await?;
        report.failed += round.failed;
        report.doubled += acknowledged.into_iter().filter(|number| !numbers.insert(*number)).count() as u64;
        report.rounds.push(round);
    }
    whole(replicas).await?;
    let totals = || report.rounds.iter().map(|round| round.gap.total_ms);
    (report.median_ms, report.worst_ms) = (median(totals()), totals().max_by(f64::total_cmp));
    Ok(report)
}

async fn one_round(
    context: &Context,
    args: &FailoverArgs,
    away: &Away,
    replicas: &[Replica],
    stock: StockName,
    leader: ReplicaId,
) -> Result<(Round, Vec<u64>)> {
    let clock = WallClock::start();
    let crowd = Crowd::start(&context.frontend, stock, args.clients, clock);
    tokio::time::sleep(BEFORE).await;
    let taken_away = clock.now_ms();
    take_away(away, args.how, replicas, leader).await?;
    tokio::time::sleep(AFTER).await;
    let seen = crowd.stop().await;
    let answered = seen.answered.len() as u64;
    let mut around: Vec<f64> = seen.answered.into_iter().filter(|at| *at >= taken_away - 100.0).collect();
    let found = milestones(replicas, leader, taken_away).await;
    away.bring_back(leader).await?;
    let (successor, milestones) = found?;
    let pause = longest_pause(&mut around);
    let pause = pause.context("no trade was answered; look at 'bazaar status'")?;
    let numbers = seen.orders.into_iter().map(|order| order.number).collect();
    let gap = split(pause, milestones);
    let round = Round { leader, successor, gap, answered, failed: seen.failed, first_failure: seen.first_failure };
    Ok((round, numbers))
}

/// Who leads now, and what the survivors wrote down since the leader was taken away.
async fn milestones(replicas: &[Replica], old: ReplicaId, since_ms: f64) -> Result<(ReplicaId, Milestones)> {
    for replica in replicas.iter().filter(|replica| replica.id != old) {
        let Ok(health) = replica.health().await else { continue };
        if health.role != Role::Leader {
            continue;
        }
        let events = replica.events().await.context("the new leader does not show its events")?;
        return Ok((replica.id, Milestones::since(since_ms, &events)));
    }
    bail!("no other replica leads after {} s; look at 'bazaar status'", AFTER.as_secs())
}

/// Takes the leader away. What the script does is undone by [`Away::bring_back`]; a handover leaves nothing to undo.
async fn take_away(away: &Away, how: How, replicas: &[Replica], leader: ReplicaId) -> Result<()> {
    match how {
        How::Kill => away.take(leader, "kill", "restart").await.map(drop),
        How::Pause => away.take(leader, "pause", "resume").await.map(drop),
        How::Stop => away.take(leader, "stop", "restart").await.map(drop),
        How::Transfer => {
            let to = replicas.iter().map(|replica| replica.id).filter(|id| *id != leader).max();
            let to = to.context("there is no other replica")?;
            let from = replicas.iter().find(|replica| replica.id == leader).context("the leader is unknown")?;
            from.transfer(to).await.context("the leader does not hand over")
        }
    }
}
