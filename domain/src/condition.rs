//! How a cluster is, decided from what its processes say. Pure.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    api::{Health, Role},
    words::ReplicaId,
};

/// A follower that lacks more committed entries than this in its state catches up: far more than one lags under load, and
/// as many as a learner may lack that is given its vote. Its votes count; but what is promised of a cluster that lost a
/// replica (orders readable at once, a quick handover) it cannot keep yet, so it is not counted among those that can be lost.
const LAG_ENTRIES_MAX: u64 = 500;

/// How a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All processes work.
    Healthy,
    /// Trades are taken, but something is missing.
    Degraded,
    /// No trade can be taken.
    Unavailable,
    /// Nobody was asked yet.
    Unknown,
}

/// What one replica said.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The replica.
    pub id: ReplicaId,
    /// Its health, or why it did not answer.
    pub health: Result<Health, String>,
    /// For how long it has led its term, if it leads and that is known.
    pub leads_for: Option<Duration>,
}

/// What one frontend said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontendLook<'a> {
    /// `frontend`, `frontend-2` and so on.
    pub name: &'a str,
    /// Why it is not ready; nothing if it is.
    pub problem: Option<&'a str>,
    /// Whether trades go through it. Without a catalog a frontend is not ready, since lookups fail, and trades go on.
    pub takes_trades: bool,
}

/// What must be mended before a trade can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Replicas wait with empty data directories, and nobody has founded a cluster of them.
    Founding,
    /// Too few replicas vote.
    Quorum,
    /// Nobody leads yet, which passes by itself.
    Leader,
    /// No frontend passes trades on.
    Frontend,
}

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// How the cluster is.
    pub state: State,
    /// The same with reasons, in one sentence.
    pub sentence: String,
    /// Why no trade can be taken, if that is so.
    pub obstacle: Option<Obstacle>,
    /// The last log index of the leader, if there is one.
    pub leader_last: Option<u64>,
}

/// Who votes, as the replica that knows most of the log says; all that were asked, if nobody says. A configuration may
/// be older than the membership, and so may a replica that was removed.
pub fn voters(looks: &[Look]) -> BTreeSet<ReplicaId> {
    let healths = looks.iter().filter_map(|look| look.health.as_ref().ok());
    let best = healths.filter(|health| !health.voters.is_empty()).max_by_key(|health| (health.committed, health.term));
    match best {
        Some(health) => health.voters.iter().map(|voter| voter.id).collect(),
        None => looks.iter().map(|look| look.id).collect(),
    }
}

/// Whether a replica takes itself for a voter and is none any more.
pub fn is_removed(health: &Health, voters: &BTreeSet<ReplicaId>) -> bool {
    is_voter(&health) && !voters.contains(&health.id)
}

/// Decides how the cluster is. For the catalog, why it is not ready; nothing if it is.
pub fn judge(looks: &[Look], catalog: Option<&str>, frontends: &[FrontendLook<'_>]) -> Condition {
    if looks.is_empty() {
        let sentence = "Unknown: no replica was asked yet".to_owned();
        return Condition { state: State::Unknown, sentence, obstacle: None, leader_last: None };
    }
    let members = voters(looks);
    let concerns = |look: &&Look| match &look.health {
        Ok(health) => !is_removed(health, &members),
        Err(_) => members.contains(&look.id),
    };
    let looks: Vec<&Look> = looks.iter().filter(concerns).collect();
    let quorum = members.len() / 2 + 1;
    let voters: Vec<&Health> = looks.iter().filter_map(|look| look.health.as_ref().ok()).filter(is_voter).collect();
    let mut problems: Vec<String> = looks.iter().filter_map(|look| unreachable(look)).collect();
    if looks.iter().all(|look| is_joining(look)) {
        let waiting = counted(looks.len() as u64, "replica");
        let (waits, directories) =
            if looks.len() == 1 { ("waits", "an empty data directory") } else { ("wait", "empty data directories") };
        let reason = format!("no cluster is founded yet: {waiting} {waits} with {directories}");
        return unavailable(Obstacle::Founding, reason, &[]);
    }
    if voters.len() < quorum {
        problems.extend(looks.iter().filter_map(|look| not_voting(look)));
        let total = members.len();
        let counts =
            format!("no quorum: {} of {} reachable, need {quorum}", voters.len(), counted(total as u64, "replica"));
        return unavailable(Obstacle::Quorum, counts, &problems);
    }
    let newest = voters.iter().filter(|health| health.role == Role::Leader).max_by_key(|health| health.term);
    let Some(leader) = newest else {
        let counts = format!("no leader: {} reachable", counted(voters.len() as u64, "voting replica"));
        problems.push("an election takes a fraction of a second, look again".into());
        return unavailable(Obstacle::Leader, counts, &problems);
    };
    if !leader.ready {
        problems.push("look again in a second".into());
        let reason = format!("replica {} leads term {} but takes no trades yet", leader.id, leader.term);
        return unavailable(Obstacle::Leader, reason, &problems);
    }
    let follows = |health: &Health| health.leader == Some(leader.id) && missing(health, leader) <= LAG_ENTRIES_MAX;
    let working = voters.iter().filter(|health| health.id == leader.id || follows(health)).count();
    problems.extend(looks.iter().filter_map(|look| not_following(look, leader)));
    problems.extend(catalog.map(|reason| format!("catalog: {reason}")));
    let troubled = frontends.iter().filter_map(|row| Some(format!("{}: {}", row.name, row.problem?)));
    problems.extend(troubled);
    if !frontends.iter().any(|frontend| frontend.takes_trades) {
        let reason = format!("replica {} leads, but no frontend takes trades", leader.id);
        return unavailable(Obstacle::Frontend, reason, &problems);
    }
    let state = if problems.is_empty() { State::Healthy } else { State::Degraded };
    let since = looks.iter().find(|look| look.id == leader.id).and_then(|look| look.leads_for);
    let since = since.map(|span| format!(" for {}", spelled(span))).unwrap_or_default();
    let mut sentence = format!("{state:?}: replica {} leads term {}{since}; can lose ", leader.id, leader.term);
    match working.saturating_sub(quorum) {
        0 => sentence += "no more replica",
        spare => sentence += &counted(spare as u64, "more replica"),
    }
    if !problems.is_empty() {
        sentence += &format!("; {}", problems.join(", "));
    }
    Condition { state, sentence, obstacle: None, leader_last: Some(leader.last_log_index.unwrap_or(0)) }
}

/// `1 order`, `2 orders`.
pub fn counted(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// `12 s`, `3 m 12 s`, `2 h 3 m`, `4 d 2 h`: what people want to know of a span.
pub fn spelled(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} m", minutes % 60),
        (_, _, _) => format!("{days} d {} h", hours % 24),
    }
}

fn unavailable(obstacle: Obstacle, reason: String, problems: &[String]) -> Condition {
    let tail = if problems.is_empty() { String::new() } else { format!("; {}", problems.join(", ")) };
    let sentence = format!("Unavailable: {reason}{tail}");
    Condition { state: State::Unavailable, sentence, obstacle: Some(obstacle), leader_last: None }
}

fn is_joining(look: &Look) -> bool {
    look.health.as_ref().is_ok_and(|health| health.role == Role::Joining)
}

/// How many entries are committed that this replica has not applied.
fn missing(health: &Health, leader: &Health) -> u64 {
    leader.committed.max(health.committed).unwrap_or(0).saturating_sub(health.applied.unwrap_or(0))
}

fn is_voter(health: &&Health) -> bool {
    matches!(health.role, Role::Leader | Role::Follower | Role::Candidate)
}

fn unreachable(look: &Look) -> Option<String> {
    look.health.as_ref().err().map(|reason| format!("{}: {reason}", look.id))
}

fn not_voting(look: &Look) -> Option<String> {
    let health = look.health.as_ref().ok()?;
    (!is_voter(&health)).then(|| format!("{}: {}", look.id, role(health)))
}

fn not_following(look: &Look, leader: &Health) -> Option<String> {
    let health = look.health.as_ref().ok()?;
    if health.id == leader.id {
        return None;
    }
    if health.role != Role::Follower || health.leader != Some(leader.id) {
        return Some(format!("{}: {}, does not follow replica {} as a voter", look.id, role(health), leader.id));
    }
    let lacks = missing(health, leader);
    (lacks > LAG_ENTRIES_MAX).then(|| format!("{}: catches up, has yet to apply {lacks} log entries", look.id))
}

fn role(health: &Health) -> String {
    format!("{:?}", health.role).to_lowercase()
}

#[cfg(test)]
mod tests {
    use crate::api::ServiceAddress;

    use super::*;

    fn replica(id: ReplicaId, role: Role, leader: Option<ReplicaId>) -> Look {
        let health = Health {
            id,
            role,
            leader,
            term: 7,
            ready: true,
            quorum_ack_age_ms: None,
            last_log_index: Some(40),
            committed: Some(40),
            applied: Some(40),
            orders: 9,
            cluster_id: None,
            voters: Vec::new(),
        };
        Look { id, health: Ok(health), leads_for: None }
    }

    fn frontend<'a>(name: &'a str, problem: Option<&'a str>) -> FrontendLook<'a> {
        FrontendLook { name, problem, takes_trades: problem.is_none() }
    }

    fn ready() -> [FrontendLook<'static>; 1] {
        [frontend("frontend", None)]
    }

    fn silent(id: ReplicaId, reason: &str) -> Look {
        Look { id, health: Err(reason.into()), leads_for: None }
    }

    fn follower(id: ReplicaId) -> Look {
        replica(id, Role::Follower, Some(3))
    }

    fn leader() -> Look {
        replica(3, Role::Leader, Some(3))
    }

    #[test]
    fn three_replicas_that_follow_one_leader_are_healthy() {
        let found = judge(&[follower(1), follower(2), leader()], None, &ready());
        assert_eq!(found.sentence, "Healthy: replica 3 leads term 7; can lose 1 more replica");
        assert_eq!((found.state, found.leader_last), (State::Healthy, Some(40)));
    }

    #[test]
    fn how_long_the_leader_has_led_is_told_if_it_is_known() {
        let leader = Look { leads_for: Some(Duration::from_secs(192)), ..leader() };
        let found = judge(&[follower(1), follower(2), leader], None, &ready());
        assert_eq!(found.sentence, "Healthy: replica 3 leads term 7 for 3 m 12 s; can lose 1 more replica");
        let texts = [0, 59, 3_661, 100_000].map(|seconds| spelled(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0 s", "59 s", "1 h 1 m", "1 d 3 h"]);
    }

    #[test]
    fn before_anybody_was_asked_nothing_is_known() {
        assert_eq!(judge(&[], None, &ready()).state, State::Unknown);
    }

    #[test]
    fn a_lost_replica_degrades_and_is_named() {
        let found = judge(&[silent(1, "refused"), follower(2), leader()], None, &ready());
        assert_eq!(found.sentence, "Degraded: replica 3 leads term 7; can lose no more replica; 1: refused");
        assert_eq!(found.state, State::Degraded);
    }

    #[test]
    fn less_than_a_quorum_is_unavailable() {
        let found = judge(&[follower(1), silent(2, "refused"), silent(3, "timeout")], None, &ready());
        assert_eq!(found.sentence, "Unavailable: no quorum: 1 of 3 replicas reachable, need 2; 2: refused, 3: timeout");
        assert_eq!(found.state, State::Unavailable);
    }

    #[test]
    fn a_learner_does_not_count_for_the_quorum() {
        let joining = replica(1, Role::Joining, None);
        let found = judge(&[joining, silent(2, "refused"), leader()], None, &ready());
        assert_eq!(found.state, State::Unavailable);
        assert!(found.sentence.contains("1: joining"), "{}", found.sentence);
    }

    #[test]
    fn the_membership_counts_not_the_configuration() {
        let voters: Vec<ServiceAddress> =
            [2, 3].map(|id| ServiceAddress { id, service: format!("127.0.0.1:1600{id}") }).into();
        let mut leader = leader();
        leader.health.as_mut().unwrap().voters = voters;
        let mut removed = follower(1);
        removed.health.as_mut().unwrap().committed = Some(30);
        let found = judge(&[removed.clone(), follower(2), leader.clone(), silent(4, "refused")], None, &ready());
        assert_eq!(found.sentence, "Healthy: replica 3 leads term 7; can lose no more replica");
        let found = judge(&[removed, silent(2, "refused"), leader], None, &ready());
        assert_eq!(found.sentence, "Unavailable: no quorum: 1 of 2 replicas reachable, need 2; 2: refused");
    }

    #[test]
    fn no_leader_and_a_leader_that_is_not_ready_are_unavailable() {
        let found = judge(&[follower(1), follower(2), replica(3, Role::Candidate, None)], None, &ready());
        assert!(
            found.sentence.starts_with("Unavailable: no leader: 3 voting replicas reachable"),
            "{}",
            found.sentence
        );
        let mut unready = leader();
        unready.health.as_mut().unwrap().ready = false;
        assert_eq!(judge(&[follower(1), follower(2), unready], None, &ready()).state, State::Unavailable);
    }

    #[test]
    fn a_follower_of_nobody_and_a_catalog_without_a_lease_degrade() {
        let lost = replica(1, Role::Candidate, None);
        let found = judge(&[lost, follower(2), leader()], None, &ready());
        assert!(found.sentence.contains("1: candidate"), "{}", found.sentence);
        assert!(found.sentence.contains("can lose no more replica"), "{}", found.sentence);
        let found = judge(&[follower(1), follower(2), leader()], Some("no lease"), &ready());
        assert_eq!(found.sentence, "Degraded: replica 3 leads term 7; can lose 1 more replica; catalog: no lease");
    }

    #[test]
    fn of_two_that_call_themselves_leader_the_one_with_the_higher_term_counts() {
        let mut old = replica(1, Role::Leader, Some(1));
        old.health.as_mut().unwrap().term = 6;
        let found = judge(&[old, follower(2), leader()], None, &ready());
        assert!(found.sentence.starts_with("Degraded: replica 3 leads term 7"), "{}", found.sentence);
    }

    #[test]
    fn one_of_several_frontends_is_enough_to_trade() {
        let all = [follower(1), follower(2), leader()];
        let [works, gone] = [frontend("frontend", None), frontend("frontend-2", Some("refused"))];
        let found = judge(&all, None, &[works, gone]);
        assert_eq!(found.sentence, "Degraded: replica 3 leads term 7; can lose 1 more replica; frontend-2: refused");
        let found = judge(&all, None, &[gone]);
        assert_eq!(found.state, State::Unavailable);
        assert_eq!(found.sentence, "Unavailable: replica 3 leads, but no frontend takes trades; frontend-2: refused");
        assert_eq!(found.obstacle, Some(Obstacle::Frontend));
    }

    #[test]
    fn a_dead_catalog_makes_no_frontend_ready_and_trades_go_on() {
        let all = [follower(1), follower(2), leader()];
        let waits = FrontendLook { takes_trades: true, ..frontend("frontend", Some("the catalog gives no lease")) };
        let found = judge(&all, Some("refused"), &[waits]);
        assert_eq!((found.state, found.obstacle), (State::Degraded, None));
        assert!(
            found.sentence.ends_with("catalog: refused, frontend: the catalog gives no lease"),
            "{}",
            found.sentence
        );
    }

    #[test]
    fn a_follower_that_applied_far_less_than_is_committed_cannot_stand_in_for_another() {
        let with = |applied| {
            let (mut young, mut leader) = (follower(1), leader());
            leader.health.as_mut().unwrap().committed = Some(8_928);
            young.health.as_mut().unwrap().applied = Some(applied);
            let mut second = follower(2);
            second.health.as_mut().unwrap().applied = Some(8_928);
            judge(&[young, second, leader], None, &ready())
        };
        let found = with(1_031);
        assert_eq!(found.state, State::Degraded);
        let expected = "can lose no more replica; 1: catches up, has yet to apply 7897 log entries";
        assert!(found.sentence.ends_with(expected), "{}", found.sentence);
        assert_eq!(with(8_928 - LAG_ENTRIES_MAX).state, State::Healthy);
    }

    #[test]
    fn a_cluster_that_nobody_founded_is_called_so() {
        let joining = [1, 2, 3].map(|id| replica(id, Role::Joining, None));
        let found = judge(&joining, None, &ready());
        let expected = "Unavailable: no cluster is founded yet: 3 replicas wait with empty data directories";
        assert_eq!((found.sentence.as_str(), found.obstacle), (expected, Some(Obstacle::Founding)));
        let found = judge(&[joining[0].clone(), silent(2, "refused"), silent(3, "refused")], None, &ready());
        assert_eq!(found.obstacle, Some(Obstacle::Quorum), "those that are silent may have a cluster");
    }
}
