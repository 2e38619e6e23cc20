//! Networks that are cut: each process is on a host of its own, clients trade and look without a pause, and ways between
//! hosts are cut and mended. Trades go on where they can; no lookup ever falls behind; and in the end all keepers agree.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster, Name,
    cluster::REPLICAS,
    network::Host,
    traffic::{Door, Trades, Traffic},
    wait_until,
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// How long a story waits for an answer that should not come.
const NO_ANSWER_AFTER: Duration = Duration::from_secs(3);
/// Where a needless election is a fault, a leader may be silent for longer than a busy machine makes it.
const PATIENT: &str = "[raft]\nelection_min_ms = 1000\nelection_max_ms = 1500\nleader_silence_ms = 1000\n";
/// A follower that has been away for so long has missed every heartbeat and some chances to stand for election.
const AWAY_MS: u64 = 4_000;
const CATALOG: Name = Name::Catalog;
const FRONTEND: Name = Name::Frontend(1);
const SECOND_FRONTEND: Name = Name::Frontend(2);

/// A cluster under traffic, on its own network.
struct Story {
    cluster: Cluster,
    traffic: Traffic,
    /// Through the first frontend: no trade here may fail.
    frontend: Arc<Door>,
    /// Straight at the catalog.
    catalog: Arc<Door>,
}

impl Story {
    /// `None`, with the reason printed, where no network can be laid.
    async fn begin(frontends: u16, more_config: &str) -> Result<Option<Self>> {
        let Some(cluster) = Cluster::start_on_network(frontends, more_config).await? else { return Ok(None) };
        let mut traffic = Traffic::new()?;
        let frontend = traffic.trade("frontend", cluster.url_of(FRONTEND), Trades::Succeed);
        let catalog = traffic.watch("catalog", cluster.url_of(CATALOG), Trades::Succeed);
        frontend.trades_go_on().await?;
        Ok(Some(Self { cluster, traffic, frontend, catalog }))
    }

    /// Clients of the second frontend.
    fn at_the_second_frontend(&mut self, trades: Trades) -> Arc<Door> {
        self.traffic.trade("second frontend", self.cluster.url_of(SECOND_FRONTEND), trades)
    }

    async fn leader_and_followers(&self) -> Result<(u64, Vec<u64>)> {
        let leader = self.cluster.leader().await?;
        Ok((leader, REPLICAS.into_iter().filter(|id| *id != leader).collect()))
    }

    fn part(&self, these: &[Name], those: &[Name]) -> Result<()> {
        let [these, those] =
            [these, those].map(|names| names.iter().copied().map(Cluster::host).collect::<Vec<Host>>());
        self.cluster.network()?.part(&these, &those)
    }

    fn heal(&self) -> Result<()> {
        self.cluster.network()?.heal()
    }

    async fn health(&self, id: u64) -> Result<Value> {
        let (_, health) = self.cluster.get(&format!("{}/health", self.cluster.url_of(Name::Replica(id)))).await?;
        Ok(health["data"].clone())
    }

    /// Waits until one of these replicas leads and takes trades; returns its number.
    async fn leads_among(&self, ids: &[u64]) -> Result<u64> {
        let leads = wait_until("another replica leads", || async {
            for id in ids {
                let health = self.health(*id).await.ok()?;
                if health["role"] == "leader" && health["ready"] == true {
                    return Some(*id);
                }
            }
            None
        });
        self.traffic.unless_faulty(leads).await
    }

    /// Waits until a replica follows, and has what the leader had committed.
    async fn follows(&self, id: u64, leader: u64) -> Result<()> {
        let committed = self.health(leader).await?["committed"].as_u64().context("a commit index")?;
        let what = format!("replica {id} follows");
        let follows = wait_until(&what, || async {
            let health = self.health(id).await.ok()?;
            let caught_up = health["applied"].as_u64().is_some_and(|applied| applied >= committed);
            (health["role"] == "follower" && health["leader"] == leader && caught_up).then_some(())
        });
        self.traffic.unless_faulty(follows).await
    }

    /// The term of each replica.
    async fn terms(&self) -> Result<Vec<u64>> {
        let mut terms = Vec::new();
        for id in REPLICAS {
            terms.push(self.health(id).await?["term"].as_u64().context("a term")?);
        }
        Ok(terms)
    }

    async fn ends_well(mut self) -> Result<()> {
        self.traffic.end(&self.cluster).await
    }

    /// Asks a replica that is cut off from the others for the newest order, and for a trade: it cannot know of either.
    /// Returns what it says of the trade, if it says anything.
    async fn asked_directly_it_refuses(&self, id: u64, key: &str) -> Result<Option<Value>> {
        let url = self.cluster.url_of(Name::Replica(id));
        let order = format!("{url}/orders/{}", self.traffic.last_order()?);
        refused(self.cluster.client().get(order)).await?;
        let trade = json!({ "name": "S0", "type": "buy", "quantity": 1 });
        let post = self.cluster.client().post(format!("{url}/orders"));
        refused(post.header("Idempotency-Key", key).json(&trade)).await
    }
}

/// Sends a request that must be refused, or get no answer; a wrong one is a success, and that there is no such thing.
async fn refused(request: RequestBuilder) -> Result<Option<Value>> {
    let Ok(answer) = request.timeout(NO_ANSWER_AFTER).send().await else { return Ok(None) };
    let status = answer.status();
    let Ok(body) = answer.json::<Value>().await else { return Ok(None) };
    let refusals = [StatusCode::MISDIRECTED_REQUEST, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    ensure!(refusals.contains(&status), "{status} {body}");
    Ok(Some(body))
}

/// What of a leader's network is cut.
enum Leader {
    /// The other replicas, both ways.
    Parted,
    /// Everybody, both ways.
    Alone,
    /// It hears no other replica, but they might hear it.
    Deaf,
    /// No other replica hears it, but it might hear them.
    Mute,
}

async fn a_leader_that_is_cut_off(how: Leader) -> Result<()> {
    let Some(story) = Story::begin(1, "").await? else { return Ok(()) };
    let (old, others) = story.leader_and_followers().await?;
    let network = story.cluster.network()?;
    let old_host = Cluster::host(Name::Replica(old));
    for other in others.iter().map(|id| Cluster::host(Name::Replica(*id))) {
        match how {
            Leader::Parted => network.part(&[old_host], &[other])?,
            Leader::Alone => network.isolate(old_host)?,
            Leader::Deaf => network.cut(other, old_host)?,
            Leader::Mute => network.cut(old_host, other)?,
        }
    }
    // At once, when it still believes that it leads, and later.
    let mut said = vec![("directly-1", story.asked_directly_it_refuses(old, "directly-1").await?)];
    let new = story.leads_among(&others).await?;
    story.frontend.trades_go_on().await?;
    story.frontend.lookups_go_on().await?;
    story.catalog.lookups_go_on().await?;
    said.push(("directly-2", story.asked_directly_it_refuses(old, "directly-2").await?));
    story.heal()?;
    story.follows(old, new).await?;
    // What it said has not happened did not happen; what it did not know of happens once.
    for (key, body) in said {
        let (status, found) = story.cluster.get(&format!("{}/orders/by-key/{key}", story.cluster.url())).await?;
        let denied = body.is_some_and(|body| body["error"]["outcome"] == "not_applied");
        ensure!(status == StatusCode::NOT_FOUND || status == StatusCode::OK && !denied, "{key}: {status} {found}");
        let (status, first) = story.cluster.trade(key, "S0", "buy", 1).await?;
        ensure!(status == StatusCode::OK, "{key}: {status} {first}");
        let (status, again) = story.cluster.trade(key, "S0", "buy", 1).await?;
        ensure!(status == StatusCode::OK && again == first, "{key}: {status} {first}, and then {again}");
    }
    ensure!(story.cluster.leader().await? == new, "who came back took the leadership");
    story.ends_well().await
}

#[tokio::test]
async fn a_leader_cut_off_from_the_other_replicas_is_replaced_and_answers_nothing_wrong() -> Result<()> {
    a_leader_that_is_cut_off(Leader::Parted).await
}

#[tokio::test]
async fn a_leader_cut_off_from_everybody_is_replaced_and_answers_nothing_wrong() -> Result<()> {
    a_leader_that_is_cut_off(Leader::Alone).await
}

#[tokio::test]
async fn a_leader_that_hears_no_other_replica_is_replaced_and_answers_nothing_wrong() -> Result<()> {
    a_leader_that_is_cut_off(Leader::Deaf).await
}

#[tokio::test]
async fn a_leader_that_no_other_replica_hears_is_replaced_and_answers_nothing_wrong() -> Result<()> {
    a_leader_that_is_cut_off(Leader::Mute).await
}

/// Cuts the way between the leader and a follower, in these directions, until it has long been noticed.
async fn a_follower_that_is_cut_off(from_leader: bool, to_leader: bool, to_the_other: bool) -> Result<()> {
    let Some(story) = Story::begin(1, PATIENT).await? else { return Ok(()) };
    let (leader, followers) = story.leader_and_followers().await?;
    let [away, other] = followers[..] else { anyhow::bail!("two followers") };
    let terms = story.terms().await?;
    let network = story.cluster.network()?;
    let [leader_host, away_host] = [leader, away].map(|id| Cluster::host(Name::Replica(id)));
    if from_leader {
        network.cut(leader_host, away_host)?;
    }
    if to_leader {
        network.cut(away_host, leader_host)?;
    }
    if to_the_other {
        story.part(&[Name::Replica(away)], &[Name::Replica(other)])?;
    }
    let members = format!("{}/admin/raft", story.cluster.admin_url(leader));
    let lags = wait_until("the leader knows that it lags", || async {
        let (_, raft) = story.cluster.get(&members).await.ok()?;
        let followers = raft["data"]["followers"].as_array()?.clone();
        let follower = followers.into_iter().find(|follower| follower["id"] == away)?;
        follower["lag_ms"].as_u64().filter(|lag| *lag > AWAY_MS)
    });
    story.traffic.unless_faulty(lags).await?;
    story.frontend.trades_go_on().await?;
    story.heal()?;
    story.follows(away, leader).await?;
    // Back for a while, and still nobody has stood for election.
    story.frontend.trades_go_on().await?;
    ensure!(story.cluster.leader().await? == leader, "another replica leads");
    ensure!(story.terms().await? == terms, "an election took place: {:?}, before {terms:?}", story.terms().await?);
    ensure!(story.frontend.refused() == 0, "{} lookups were refused", story.frontend.refused());
    story.ends_well().await
}

#[tokio::test]
async fn a_follower_that_was_cut_off_comes_back_without_an_election() -> Result<()> {
    a_follower_that_is_cut_off(true, true, true).await
}

#[tokio::test]
async fn a_follower_that_only_the_other_follower_reaches_disturbs_nobody() -> Result<()> {
    a_follower_that_is_cut_off(true, true, false).await
}

#[tokio::test]
async fn a_follower_that_hears_nothing_from_the_leader_disturbs_nobody() -> Result<()> {
    a_follower_that_is_cut_off(true, false, false).await
}

#[tokio::test]
async fn a_follower_that_the_leader_does_not_hear_disturbs_nobody() -> Result<()> {
    a_follower_that_is_cut_off(false, true, false).await
}

/// Cuts the catalog off from the leader, or from all replicas.
async fn a_catalog_that_is_cut_off(from_all: bool) -> Result<()> {
    let Some(story) = Story::begin(1, PATIENT).await? else { return Ok(()) };
    let (leader, followers) = story.leader_and_followers().await?;
    story.part(&[CATALOG], &[Name::Replica(leader)])?;
    if from_all {
        let followers: Vec<Name> = followers.into_iter().map(Name::Replica).collect();
        story.part(&[CATALOG], &followers)?;
    }
    // The first trade after the cut waits until no lease can hide it, and no later one has to.
    story.frontend.trades_go_on().await?;
    story.catalog.lookups_are_refused().await?;
    story.frontend.lookups_are_refused().await?;
    story.frontend.trades_are_not_held_up().await?;
    ensure!(story.cluster.leader().await? == leader, "another replica leads");
    story.heal()?;
    story.ends_well().await
}

#[tokio::test]
async fn a_catalog_cut_off_from_the_leader_holds_trades_up_once_and_lookups_are_never_stale() -> Result<()> {
    a_catalog_that_is_cut_off(false).await
}

#[tokio::test]
async fn a_catalog_cut_off_from_all_replicas_holds_trades_up_once_and_lookups_are_never_stale() -> Result<()> {
    a_catalog_that_is_cut_off(true).await
}

#[tokio::test]
async fn a_frontend_cut_off_from_the_catalog_trades_on_and_shows_nothing_stale() -> Result<()> {
    let Some(mut story) = Story::begin(2, PATIENT).await? else { return Ok(()) };
    let second = story.at_the_second_frontend(Trades::Succeed);
    second.trades_go_on().await?;
    story.part(&[FRONTEND], &[CATALOG])?;
    story.frontend.lookups_are_refused().await?;
    story.frontend.trades_go_on().await?;
    // Whoever can reach the catalog has waited for the lease of the one that cannot, and goes on.
    second.trades_are_not_held_up().await?;
    second.lookups_go_on().await?;
    story.heal()?;
    story.ends_well().await
}

#[tokio::test]
async fn the_half_with_the_majority_trades_on_and_the_other_half_shows_nothing_stale() -> Result<()> {
    let Some(mut story) = Story::begin(2, "").await? else { return Ok(()) };
    let (old, others) = story.leader_and_followers().await?;
    let minority = story.at_the_second_frontend(Trades::MayBeRefused);
    minority.trades_go_on().await?;
    let majority: Vec<Name> = others.iter().copied().map(Name::Replica).chain([FRONTEND]).collect();
    story.part(&[Name::Replica(old), CATALOG, SECOND_FRONTEND], &majority)?;
    let new = story.leads_among(&others).await?;
    story.frontend.trades_go_on().await?;
    story.frontend.lookups_are_refused().await?;
    story.catalog.lookups_are_refused().await?;
    minority.lookups_are_refused().await?;
    story.asked_directly_it_refuses(old, "directly").await?;
    story.frontend.trades_go_on().await?;
    story.heal()?;
    story.follows(old, new).await?;
    minority.trades_go_on().await?;
    minority.lookups_go_on().await?;
    story.ends_well().await
}
