//! `bazaar status`: the state of every process, and what the cluster can bear.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use bazaar_domain::{
    ErrorKind, ReplicaId,
    api::{Health, MemberView, Role},
    condition::{Condition, FrontendLook, Look, Obstacle, State, is_removed, judge, voters},
    config::ClusterConfig,
};
use clap::Args;
use futures::future::{join, join_all};
use serde::Serialize;

use crate::{
    Context,
    admin::{Replica, ready},
    api::Failure,
    exit::{Ending, Exit},
    output::{Report, or_dash, table, table_text, verdict_cell},
};

/// Digits of a digest that are shown; enough to see that two are equal.
const DIGEST_CHARS_SHOWN: usize = 12;

/// What is shown of a replica, before its digest.
const REPLICA_COLUMNS: [&str; 11] =
    ["ROLE", "ID", "TERM", "LEADER", "LAST", "COMMITTED", "APPLIED", "LAG", "LAG MS", "ACK AGE MS", "ORDERS"];

/// A replica's row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplicaRow {
    /// The replica.
    pub id: ReplicaId,
    /// What it says, if it answers.
    pub health: Option<Health>,
    /// Why it does not.
    pub unreachable: Option<String>,
    /// Whether it takes itself for a voter, and was removed from the cluster.
    pub removed: bool,
    /// Log entries up to the leader's last that it has not applied.
    pub lag_entries: Option<u64>,
    /// For how many milliseconds the leader has had the first of them.
    pub lag_ms: Option<u64>,
    /// The digest over the orders up to the common number.
    pub digest: Option<String>,
}

/// A frontend's row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrontendRow {
    /// `frontend`, `frontend-2` and so on.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Why it is not ready; nothing if it is.
    pub problem: Option<String>,
    /// Whether trades go through it, also if it is not ready for want of a catalog.
    pub takes_trades: bool,
    /// Whether it answers at all.
    #[serde(skip)]
    answers: bool,
}

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar status
  bazaar status --output json
  bazaar status --frontend http://127.0.0.1:8180";

/// The arguments of `bazaar status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// Further frontends to look at, beside the one of --url. May be given several times, or divided by commas.
    #[arg(long = "frontend", value_name = "URL", value_delimiter = ',')]
    pub frontends: Vec<String>,
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// The replicas.
    pub replicas: Vec<ReplicaRow>,
    /// The digests cover the orders up to this number.
    pub digest_number: u64,
    /// Why the catalog is not ready; nothing if it is.
    pub catalog: Option<String>,
    /// The frontends that were looked at.
    pub frontends: Vec<FrontendRow>,
    /// How the cluster is.
    pub state: State,
    /// The same with reasons, in one sentence.
    pub sentence: String,
    /// The processes that do not answer, by the names that scripts/cluster has for them.
    pub silent: Vec<String>,
    /// Why no trade can be taken, if that is so.
    #[serde(skip)]
    obstacle: Option<Obstacle>,
}

impl StatusReport {
    /// What to do so that trades are taken again, or that nothing is missing any more; nothing if nobody knows.
    fn advice(&self) -> Option<String> {
        let start = || format!("start what does not answer: {}", self.silent.join(", "));
        match self.obstacle {
            Some(Obstacle::Founding) => Some("found a cluster with 'bazaar init'".into()),
            Some(Obstacle::Leader) => Some("look again in a second".into()),
            Some(Obstacle::Quorum | Obstacle::Frontend) | None if !self.silent.is_empty() => Some(start()),
            Some(Obstacle::Quorum) => {
                Some("too many replicas wait with empty data directories; bring back one that has its own".into())
            }
            Some(Obstacle::Frontend) => Some("the frontend looks for the leader, look again in a second".into()),
            None => None,
        }
    }
}

impl Report for StatusReport {
    fn to_text(&self, colour: bool) -> String {
        let digest = format!("DIGEST@{}", self.digest_number);
        let header: Vec<&str> = REPLICA_COLUMNS.into_iter().chain([digest.as_str()]).collect();
        let mut replicas = table(&header, colour);
        for row in &self.replicas {
            replicas.add_row(replica_cells(row));
        }
        let mut others = table(&["PROCESS", "STATE"], colour);
        let frontends = self.frontends.iter().map(|frontend| (frontend.name.as_str(), &frontend.problem));
        for (name, problem) in [("catalog", &self.catalog)].into_iter().chain(frontends) {
            let text = problem.as_deref().map_or("ready".into(), |problem| format!("not ready: {problem}"));
            others.add_row([verdict_cell(name, true), verdict_cell(text, problem.is_none())]);
        }
        let report = format!("{}\n\n{}\n\n{}", table_text(&replicas), table_text(&others), self.sentence);
        // If no trade is taken, this is the error that follows the report.
        let advice = self.advice().filter(|_| self.state != State::Unavailable);
        advice.map_or(report.clone(), |advice| format!("{report}\n{advice}"))
    }
}

fn replica_cells(row: &ReplicaRow) -> Vec<comfy_table::Cell> {
    let Some(health) = &row.health else {
        let reason = row.unreachable.as_deref().unwrap_or("unreachable");
        let mut cells = vec![verdict_cell(reason, false), row.id.into()];
        cells.resize(REPLICA_COLUMNS.len() + 1, "-".into());
        return cells;
    };
    let digest = row.digest.as_ref().map(|digest| digest.chars().take(DIGEST_CHARS_SHOWN).collect::<String>());
    let role = if row.removed { "removed".into() } else { format!("{:?}", health.role).to_lowercase() };
    let rest = [
        row.id.to_string(),
        health.term.to_string(),
        or_dash(health.leader),
        or_dash(health.last_log_index),
        or_dash(health.committed),
        or_dash(health.applied),
        or_dash(row.lag_entries),
        or_dash(row.lag_ms),
        or_dash(health.quorum_ack_age_ms),
        health.orders.to_string(),
        or_dash(digest),
    ];
    std::iter::once(verdict_cell(role, health.ready && !row.removed)).chain(rest.map(Into::into)).collect()
}

/// Runs the command.
///
/// # Errors
/// If the configuration cannot be read, or the cluster is unavailable.
pub async fn run(context: &Context, args: StatusArgs) -> Result<()> {
    let config = context.cluster()?;
    let report = look(context, &config, &args.frontends).await;
    context.printer.print(&report);
    if report.state == State::Unavailable {
        let advice = report.advice().unwrap_or_else(|| "look again in a second".into());
        bail!(Ending::new(Exit::Unavailable, format!("no trades are taken now; {advice}")));
    }
    Ok(())
}

/// Asks every process how it is.
async fn look(context: &Context, config: &ClusterConfig, more_frontends: &[String]) -> StatusReport {
    let caller = context.frontend.caller();
    let mut replicas: Vec<Replica> = config.replicas.iter().map(|replica| Replica::new(replica, caller)).collect();
    let catalog_url = caller.url(&config.catalog.service, "");
    let others = join(ready(caller, &catalog_url), frontends(context, more_frontends));
    let (mut healths, (catalog, frontends)) = join(join_all(replicas.iter().map(Replica::health)), others).await;
    // The configuration may be older than the membership.
    let known = healths.iter().flatten().flat_map(|health| &health.voters);
    let unconfigured: BTreeMap<ReplicaId, Replica> = known
        .filter(|voter| config.replica(voter.id).is_err())
        .filter_map(|voter| Some((voter.id, Replica::of_voter(voter, caller)?)))
        .collect();
    healths.extend(join_all(unconfigured.values().map(Replica::health)).await);
    replicas.extend(unconfigured.into_values());
    let members = members(&replicas, &healths).await;
    let looks: Vec<Look> = replicas
        .iter()
        .zip(healths)
        .map(|(replica, health)| Look {
            id: replica.id,
            health: health.map_err(|failure| failure.to_string()),
            leads_for: None,
        })
        .collect();
    let voters = voters(&looks);
    let number = digest_number(&looks, &voters);
    let digests = join_all(replicas.iter().zip(&looks).map(async |(replica, look)| match look.health {
        Ok(_) => replica.digest(number).await.ok().map(|view| view.digest),
        Err(_) => None,
    }));
    let digests = digests.await;
    let is_catalog_silent = catalog.as_ref().is_err_and(|failure| failure.status().is_none());
    let catalog = catalog.err().map(|failure| failure.to_string());
    let condition = judge(&looks, catalog.as_deref(), &frontend_looks(&frontends));
    let Condition { state, sentence, obstacle, leader_last } = condition;
    let replicas_silent = looks.iter().filter(|look| look.health.is_err() && voters.contains(&look.id));
    let replicas_silent = replicas_silent.map(|look| format!("replica-{}", look.id));
    let frontends_silent = frontends.iter().filter(|row| !row.answers).map(|row| row.name.clone());
    let catalog_silent = is_catalog_silent.then(|| "catalog".to_owned());
    let silent = replicas_silent.chain(catalog_silent).chain(frontends_silent).collect();
    let rows = looks.into_iter().zip(digests).map(|(look, digest)| {
        let removed = look.health.as_ref().is_ok_and(|health| is_removed(health, &voters));
        ReplicaRow { removed, ..row(look, digest, leader_last, &members) }
    });
    let replicas = rows.collect();
    StatusReport { replicas, digest_number: number, catalog, frontends, state, sentence, silent, obstacle }
}

fn frontend_looks(rows: &[FrontendRow]) -> Vec<FrontendLook<'_>> {
    let looks = rows.iter().map(|row| FrontendLook {
        name: &row.name,
        problem: row.problem.as_deref(),
        takes_trades: row.takes_trades,
    });
    looks.collect()
}

/// Asks the frontend of the command line, and further ones, whether they are ready.
async fn frontends(context: &Context, more: &[String]) -> Vec<FrontendRow> {
    let urls = std::iter::once(context.frontend.url()).chain(more.iter().map(String::as_str));
    let rows = urls.enumerate().map(async |(number, url)| {
        let name = if number == 0 { "frontend".into() } else { format!("frontend-{}", number + 1) };
        let failure = ready(context.frontend.caller(), url).await.err();
        FrontendRow {
            name,
            url: url.to_owned(),
            problem: failure.as_ref().map(ToString::to_string),
            takes_trades: failure.as_ref().is_none_or(lacks_only_the_catalog),
            answers: failure.as_ref().is_none_or(|failure| failure.status().is_some()),
        }
    });
    join_all(rows).await
}

fn lacks_only_the_catalog(failure: &Failure) -> bool {
    matches!(failure, Failure::Answered { error, .. } if error.kind == ErrorKind::CatalogUnavailable)
}

/// How many orders all voters have that have any: one that gets its first orders must not hide what the others hold.
fn digest_number(looks: &[Look], voters: &BTreeSet<ReplicaId>) -> u64 {
    let voting = looks.iter().filter(|look| voters.contains(&look.id)).filter_map(|look| look.health.as_ref().ok());
    voting.map(|health| health.orders).filter(|orders| *orders > 0).min().unwrap_or(0)
}

/// The members as the leader sees them: only it knows for how long each of them has lagged.
async fn members(replicas: &[Replica], healths: &[Result<Health, Failure>]) -> Vec<MemberView> {
    let leads = |health: &Result<Health, Failure>| {
        health.as_ref().is_ok_and(|health| health.role == Role::Leader && health.ready)
    };
    let Some((leader, _)) = replicas.iter().zip(healths).find(|(_, health)| leads(health)) else { return Vec::new() };
    leader.members().await.map(|members| members.members).unwrap_or_default()
}

fn row(look: Look, digest: Option<String>, leader_last: Option<u64>, members: &[MemberView]) -> ReplicaRow {
    let (health, unreachable) = match look.health {
        Ok(health) => (Some(health), None),
        Err(reason) => (None, Some(reason)),
    };
    let applied = health.as_ref().map(|health| health.applied.unwrap_or(0));
    let lag_entries = leader_last.zip(applied).map(|(leader, own)| leader.saturating_sub(own));
    let member = members.iter().rfind(|member| member.id == look.id);
    ReplicaRow {
        id: look.id,
        health,
        removed: false,
        unreachable,
        lag_entries,
        lag_ms: member.and_then(|member| member.lag_ms),
        digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(id: ReplicaId, orders: u64) -> Look {
        let text = serde_json::json!({
            "id": id, "role": "follower", "leader": 1, "term": 5, "ready": true, "quorum_ack_age_ms": null,
            "last_log_index": 9, "committed": 9, "applied": 9, "orders": orders,
        });
        Look { id, health: Ok(serde_json::from_value(text).unwrap()), leads_for: None }
    }

    #[test]
    fn digests_are_compared_over_what_all_voters_hold_that_hold_anything() {
        let looks = [look(1, 12), look(2, 0), look(3, 10), look(4, 7)];
        assert_eq!(digest_number(&looks, &[1, 2, 3].into()), 10);
        assert_eq!(digest_number(&looks[1..2], &[2].into()), 0);
    }

    #[test]
    fn what_to_do_is_named_by_what_is_missing() {
        let report = |obstacle, silent: &[&str]| StatusReport {
            replicas: Vec::new(),
            digest_number: 0,
            catalog: None,
            frontends: Vec::new(),
            state: State::Unavailable,
            sentence: String::new(),
            silent: silent.iter().map(ToString::to_string).collect(),
            obstacle,
        };
        let advice = |obstacle, silent: &[&str]| report(obstacle, silent).advice();
        assert_eq!(advice(None, &[]), None);
        assert_eq!(advice(None, &["catalog"]).unwrap(), "start what does not answer: catalog");
        assert_eq!(advice(Some(Obstacle::Founding), &["catalog"]).unwrap(), "found a cluster with 'bazaar init'");
        let missing = advice(Some(Obstacle::Quorum), &["replica-1", "replica-2"]).unwrap();
        assert_eq!(missing, "start what does not answer: replica-1, replica-2");
        assert_eq!(advice(Some(Obstacle::Leader), &["replica-3"]).unwrap(), "look again in a second");
    }
}
