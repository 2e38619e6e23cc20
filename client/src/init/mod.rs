//! `bazaar init`: founds a cluster of replicas that all wait with new data directories (ADR 0010). It can be repeated at
//! any time: it changes nothing about a cluster that exists.

mod plan;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bazaar_domain::{ReplicaId, api::FoundingStep};
use clap::Args;
use futures::future::join_all;
use serde::Serialize;

use crate::{
    Context,
    admin::Replica,
    cli::WAIT_S_MAX,
    exit::{Ending, Exit},
    init::plan::{Late, Plan, plan},
    output::Report,
    terminal,
};

/// Pause between two looks at the replicas.
const PAUSE: Duration = Duration::from_millis(200);

/// The arguments of `bazaar init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bazaar init\n  bazaar --config /etc/bazaar/cluster.toml init --wait-s 120")]
pub struct InitArgs {
    /// How long replicas that do not answer yet are waited for, in seconds.
    #[arg(long, env = "BAZAAR_INIT_WAIT_S", value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(..=WAIT_S_MAX))]
    wait_s: u64,
}

#[derive(Debug, Serialize)]
struct InitReport {
    cluster_id: String,
    /// Whether this call had anything to begin, or all was there before.
    founded: bool,
    /// Replicas whose data directory the cluster does not know.
    outsiders: Vec<ReplicaId>,
}

impl Report for InitReport {
    fn to_text(&self, _colour: bool) -> String {
        let what = if self.founded { "is founded" } else { "exists, nothing is changed" };
        let mut text = format!("cluster {} {what}", self.cluster_id);
        for id in &self.outsiders {
            text += &format!(
                "\nreplica {id} has a new data directory and does not vote; take it in with: bazaar members replace {id} \
                 (or add {id}, if it was no member before)"
            );
        }
        text
    }
}

/// Runs the command.
///
/// # Errors
/// If no cluster exists and a replica does not answer in time, or if the replicas contradict each other.
pub async fn run(context: &Context, args: InitArgs) -> Result<()> {
    let config = context.cluster()?;
    let caller = context.frontend.caller();
    let replicas: Vec<Replica> = config.replicas.iter().map(|replica| Replica::new(replica, caller)).collect();
    let deadline = Instant::now() + Duration::from_secs(args.wait_s);
    let mut told = String::new();
    loop {
        let views = join_all(replicas.iter().map(Replica::founding)).await;
        let why = match plan(&config.replicas, &views) {
            Plan::Refuse(why) => bail!("{why}"),
            plan => match carry_out(&replicas, plan).await {
                Ok(report) => {
                    context.printer.print(&report);
                    return Ok(());
                }
                Err(why) => why,
            },
        };
        if Instant::now() >= deadline {
            let sentence = format!("no cluster was founded: {why}; start what is missing, and repeat the command");
            bail!(Ending::new(Exit::Unavailable, sentence));
        }
        if why != told {
            terminal::print_note(&format!("waiting: {why}"));
            told = why;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Does what is to be done, or says why that has to wait.
async fn carry_out(replicas: &[Replica], plan: Plan) -> Result<InitReport, String> {
    match plan {
        Plan::Found(founding) => {
            // All agree, then all begin. A call that is cut off between is finished by the next one.
            all(replicas, &FoundingStep::Prepare(founding.clone())).await?;
            all(replicas, &FoundingStep::Begin(founding.clone())).await?;
            Ok(InitReport { cluster_id: founding.cluster_id, founded: true, outsiders: vec![] })
        }
        Plan::Exists { cluster_id, late, outsiders } => {
            let founded = late.is_some();
            if let Some(Late { founding, ids }) = late {
                let late: Vec<Replica> = replicas.iter().filter(|replica| ids.contains(&replica.id)).cloned().collect();
                all(&late, &FoundingStep::Begin(founding)).await?;
            }
            Ok(InitReport { cluster_id, founded, outsiders })
        }
        Plan::Wait(why) | Plan::Refuse(why) => Err(why),
    }
}

async fn all(replicas: &[Replica], step: &FoundingStep) -> Result<(), String> {
    let answers = join_all(replicas.iter().map(|replica| replica.founding_step(step))).await;
    let failed = replicas.iter().zip(answers).find_map(|(replica, answer)| Some((replica.id, answer.err()?)));
    match failed {
        Some((id, failure)) => Err(format!("replica {id}: {failure}")),
        None => Ok(()),
    }
}
