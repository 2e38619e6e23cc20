//! `bazaar tour`: leads through what the bazaar promises, on the running cluster. It kills and restarts replicas through
//! `scripts/cluster`, shows each command as a person would type it with what it really printed, and brings back what it
//! broke, whatever happens.

mod chapters;
mod promises;
mod quorum;
mod stage;

use std::{
    io::{IsTerminal, stdin},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use bazaar_domain::{ReplicaId, StockName};
use clap::Args;
use tokio::process::Command;

use crate::{
    Context,
    admin::Replica,
    api::{Failure, explained},
    away::Away,
    check::report::Row,
    cli::CONFIG_DEFAULT,
    exit::{Ending, Exit},
    script::{ClusterScript, ScriptArgs, quoted},
    whole::whole,
    workload::record::Record,
};
use promises::TourReport;
use stage::Stage;

/// Fewest replicas that can lose one and go on.
const REPLICAS_MIN: usize = 3;
/// What the tour itself buys is less than this.
const QUANTITY_NEEDED: u64 = 100;

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar tour                                with a pause before each chapter
  bazaar tour --yes                          without pauses
  bazaar tour --yes --data /tmp/my-cluster --config my-cluster.toml
  bazaar tour --yes --output json            the story on standard error, the result as JSON

The tour kills replicas of the cluster that scripts/cluster started, one and then as many as cost the quorum, and
restarts them, also after Ctrl-C. It trades: its orders stay in the books. The exit code is 0 only if every promise was
kept.";

/// The arguments of `bazaar tour`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TourArgs {
    /// Do not wait for Enter before each chapter.
    #[arg(long, short)]
    yes: bool,
    /// The cluster that it is done to.
    #[command(flatten)]
    script: ScriptArgs,
}

/// What the chapters work with.
struct Tour<'a> {
    context: &'a Context,
    /// What was killed and is not back, and the script.
    away: Arc<Away>,
    replicas: Vec<Replica>,
    stage: Stage,
    stock: StockName,
    /// Makes the keys of this tour its own.
    token: String,
    /// Orders that were acknowledged.
    acknowledged: Vec<Record>,
    /// What was promised and seen.
    promises: Vec<Row>,
}

/// What a command printed, and its exit code.
struct Ran {
    code: i32,
    output: String,
}

/// Runs the command.
///
/// # Errors
/// If there is no cluster of the script's, a promise was not kept, or somebody ended the tour.
pub async fn run(context: &Context, args: TourArgs) -> Result<()> {
    let began = Instant::now();
    if !args.yes && !stdin().is_terminal() {
        bail!(Ending::new(Exit::Usage, "nobody can press Enter here; give --yes for a tour without pauses"));
    }
    let mut tour = Tour::prepare(context, args).await?;
    let away = Arc::clone(&tour.away);
    away.restoring(tour.tell()).await?;
    let report = TourReport::new(tour.promises, began.elapsed());
    tour.stage.say("\n== What was promised, and what was seen");
    context.printer.print(&report);
    ensure!(report.ok, "not every promise was kept; see the rows marked FAIL");
    Ok(())
}

/// A frontend that is not there is started with its cluster; what another one says stands for itself.
fn no_stocks(context: &Context, script: &ClusterScript, failure: &Failure) -> anyhow::Error {
    if *failure != Failure::Refused {
        return explained(&context.frontend, failure);
    }
    let (url, start) = (context.frontend.url(), script.typed(&["start"]));
    let why = format!("nothing answers at {url}; the tour needs a running cluster, start it with: {start}");
    Ending::new(Exit::Unavailable, why).into()
}

impl<'a> Tour<'a> {
    /// Finds the cluster, and makes sure that all of it runs and is the script's.
    async fn prepare(context: &'a Context, args: TourArgs) -> Result<Self> {
        let script = args.script.of(context.config_path())?;
        let config = context.cluster()?;
        ensure!(
            config.replicas.len() >= REPLICAS_MIN,
            "a tour needs a cluster of {REPLICAS_MIN} replicas, the configuration names {}",
            config.replicas.len()
        );
        let listed = context.frontend.stocks().await;
        let stocks = listed.map_err(|failure| no_stocks(context, &script, &failure))?;
        let most = stocks.iter().max_by_key(|stock| stock.quantity).context("no stock is listed")?;
        ensure!(most.quantity >= QUANTITY_NEEDED, "no stock has {QUANTITY_NEEDED} left to trade; sell some first");
        let replicas: Vec<Replica> =
            config.replicas.iter().map(|replica| Replica::new(replica, context.frontend.caller())).collect();
        let names: Vec<String> = replicas.iter().map(|replica| format!("replica-{}", replica.id)).collect();
        for (replica, runs) in replicas.iter().zip(script.runs(&names).await?) {
            let (id, data) = (replica.id.to_string(), script.data());
            let restart = script.typed(&["restart", &id]);
            let why = format!("replica {id} does not run in {}; see --data, or start it: {restart}", data.display());
            ensure!(runs, Ending::new(Exit::Unavailable, why));
        }
        let complete = whole(&replicas).await;
        complete.map_err(|why| Ending::new(Exit::Unavailable, format!("{why:#}; look at 'bazaar status'")))?;
        Ok(Self {
            context,
            away: Arc::new(Away::new(script)),
            replicas,
            stage: Stage::new(context.printer, !args.yes),
            stock: most.name,
            token: format!("{:08x}", rand::random::<u32>()),
            acknowledged: Vec::new(),
            promises: Vec::new(),
        })
    }

    async fn tell(&mut self) -> Result<()> {
        let (count, url) = (self.replicas.len(), self.context.frontend.url());
        self.stage.say(&format!("A tour of the cluster of {count} replicas behind {url}, in six chapters."));
        let before = self.leader_position().await?;
        let number = self.first_trade().await?;
        self.log_entry(number, before).await?;
        let (dead, position) = self.leader_dies().await?;
        self.catch_up(dead, position).await?;
        self.lose_the_quorum().await?;
        self.check().await
    }

    /// A promise, and whether what was seen keeps it.
    fn promise(&mut self, promise: &str, is_kept: bool, seen: String) {
        self.promises.push(if is_kept { Row::pass(promise, seen) } else { Row::fail(promise, seen) });
    }

    /// A command of this program as a person would type it.
    fn typed(&self, words: &[&str]) -> String {
        let config = self.context.config_path();
        let mut typed: Vec<String> = ["bazaar"].iter().chain(words).map(|word| quoted(word)).collect();
        if config != Path::new(CONFIG_DEFAULT) {
            typed.extend(["--config".to_owned(), quoted(&config.to_string_lossy())]);
        }
        if !self.context.is_default_url {
            typed.extend(["--url".to_owned(), quoted(self.context.frontend.url())]);
        }
        typed.join(" ")
    }

    /// Runs this same program with these words, as a person would type them, and shows what it prints.
    async fn bazaar(&self, words: &[&str]) -> Result<Ran> {
        self.stage.command(&self.typed(words));
        let ran = self.quietly("table", words).await?;
        self.stage.output(&ran.output);
        if ran.code != 0 {
            self.stage.output(&format!("(exit code {})", ran.code));
        }
        Ok(ran)
    }

    /// The same without showing it, in an output format.
    async fn quietly(&self, format: &str, words: &[&str]) -> Result<Ran> {
        let program = std::env::current_exe().context("this program does not know where it is")?;
        let colour = if self.context.printer.colour && format == "table" { "always" } else { "never" };
        let output = Command::new(program)
            .args(words)
            .args(["--url", self.context.frontend.url(), "--output", format, "--color", colour, "--config"])
            .arg(self.context.config_path())
            .envs(self.context.frontend.access().variables())
            // Ctrl-C is for the tour, which ends what it began.
            .process_group(0)
            .kill_on_drop(true)
            .output()
            .await
            .context("this program cannot be run")?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ok(Ran { code: output.status.code().unwrap_or(-1), output: text })
    }

    /// Kills a replica with the script.
    async fn kill(&mut self, id: ReplicaId) -> Result<()> {
        self.stage.command(&self.away.script().typed(&["kill", &id.to_string()]));
        self.stage.output(&self.away.take(id, "kill", "restart").await?);
        Ok(())
    }

    /// Restarts a replica with the script, which waits until it is ready.
    async fn bring_back(&mut self, id: ReplicaId) -> Result<()> {
        self.stage.command(&self.away.script().typed(&["restart", &id.to_string()]));
        self.stage.output(&self.away.bring_back(id).await?);
        Ok(())
    }
}
