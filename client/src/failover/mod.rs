//! `bazaar failover`: takes the leader away while clients trade, and says how long no trade was answered, and why so
//! long. It touches processes only through `scripts/cluster`, so it works on no other cluster than that script's.

pub mod gap;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use bazaar_domain::{
    Quantity, ReplicaId, Side, StockName,
    api::Role,
    gap::{Gap, Milestones, split},
};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::task::JoinSet;

use self::gap::{longest_pause, median};
use crate::{
    Context,
    admin::Replica,
    api::{Frontend, explained},
    output::{Report, counted, table, table_text},
    script::{ClusterScript, ScriptArgs},
    trade::fresh_key,
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
        for Round { leader, successor, gap, answered, failed } in &self.rounds {
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
    let mut numbers = HashSet::new();
    let mut report =
        FailoverReport { how: args.how, rounds: Vec::new(), median_ms: None, worst_ms: None, failed: 0, doubled: 0 };
    for _ in 0..args.rounds {
        let leader = whole(&replicas).await?;
        let (round, acknowledged) = one_round(context, &args, &script, &replicas, stock, leader).await?;
        report.failed += round.failed;
        report.doubled += acknowledged.into_iter().filter(|number| !numbers.insert(*number)).count() as u64;
        report.rounds.push(round);
    }
    whole(&replicas).await?;
    let totals = || report.rounds.iter().map(|round| round.gap.total_ms);
    (report.median_ms, report.worst_ms) = (median(totals()), totals().max_by(f64::total_cmp));
    context.printer.print(&report);
    ensure!(report.failed == 0, "{} a client", counted(report.failed, "trade failed for"));
    ensure!(report.doubled == 0, "{} given twice", counted(report.doubled, "order number was"));
    Ok(())
}

async fn one_round(
    context: &Context,
    args: &FailoverArgs,
    script: &ClusterScript,
    replicas: &[Replica],
    stock: StockName,
    leader: ReplicaId,
) -> Result<(Round, Vec<u64>)> {
    let goes_on = Arc::new(AtomicBool::new(true));
    let clock = WallClock::start();
    let mut traders = JoinSet::new();
    for _ in 0..args.clients {
        traders.spawn(trade(context.frontend.clone(), stock, clock, Arc::clone(&goes_on)));
    }
    tokio::time::sleep(BEFORE).await;
    let taken_away = clock.now_ms();
    take_away(script, args.how, replicas, leader).await?;
    tokio::time::sleep(AFTER).await;
    goes_on.store(false, Ordering::Relaxed);
    let mut all = Traded::default();
    while let Some(traded) = traders.join_next().await {
        let Traded { mut answers, mut numbers, failed } = traded?;
        all.answers.append(&mut answers);
        all.numbers.append(&mut numbers);
        all.failed += failed;
    }
    let answered = all.answers.len() as u64;
    let mut around: Vec<f64> = all.answers.into_iter().filter(|at| *at >= taken_away - 100.0).collect();
    let found = milestones(replicas, leader, taken_away).await;
    // Whatever was found or not: nobody wants a replica that stays halted.
    bring_back(script, args.how, leader).await?;
    let (successor, milestones) = found?;
    let pause = longest_pause(&mut around);
    let pause = pause.context("no trade was answered; look at 'bazaar status'")?;
    let round = Round { leader, successor, gap: split(pause, milestones), answered, failed: all.failed };
    Ok((round, all.numbers))
}

#[derive(Debug, Default)]
struct Traded {
    answers: Vec<f64>,
    numbers: Vec<u64>,
    failed: u64,
}

/// One client: buys one and sells one, in turn, so that the stock never runs out.
async fn trade(frontend: Frontend, stock: StockName, clock: WallClock, goes_on: Arc<AtomicBool>) -> Traded {
    let mut traded = Traded::default();
    let one = Quantity::new(1).expect("one is a quantity");
    let mut side = Side::Sell;
    while goes_on.load(Ordering::Relaxed) {
        side = if side == Side::Sell { Side::Buy } else { Side::Sell };
        match frontend.trade(&fresh_key(), stock, side, one).await {
            Ok(accepted) => {
                traded.answers.push(clock.now_ms());
                traded.numbers.push(accepted.receipt.transaction_number);
            }
            Err(_) => traded.failed += 1,
        }
    }
    traded
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

/// The wall clock at one moment, and a steady clock from there on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    origin: Instant,
    origin_ms: f64,
}

impl WallClock {
    pub(crate) fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_ms: since_1970.as_secs_f64() * 1_000.0 }
    }

    pub(crate) fn now_ms(self) -> f64 {
        self.origin_ms + self.origin.elapsed().as_secs_f64() * 1_000.0
    }
}

async fn take_away(script: &ClusterScript, how: How, replicas: &[Replica], leader: ReplicaId) -> Result<()> {
    let call = async |verb| script.call(&[verb, &leader.to_string()]).await.map(drop);
    match how {
        How::Kill => call("kill").await,
        How::Pause => call("pause").await,
        How::Stop => call("stop").await,
        How::Transfer => {
            let to = replicas.iter().map(|replica| replica.id).filter(|id| *id != leader).max();
            let to = to.context("there is no other replica")?;
            let from = replicas.iter().find(|replica| replica.id == leader).context("the leader is unknown")?;
            from.transfer(to).await.context("the leader does not hand over")
        }
    }
}

async fn bring_back(script: &ClusterScript, how: How, replica: ReplicaId) -> Result<()> {
    let call = async |verb| script.call(&[verb, &replica.to_string()]).await.map(drop);
    match how {
        How::Kill | How::Stop => call("restart").await,
        How::Pause => call("resume").await,
        How::Transfer => Ok(()),
    }
}
