//! Looks at the whole cluster about once a second, but only while somebody looks at the page.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bazaar_domain::{
    Address, Moment, ReplicaId,
    api::{Data, DigestView, Health, MemberView},
    condition::{FrontendLook, Look, State, judge},
    config::ClusterConfig,
};
use bazaar_service::{CallError, Caller, RequestId, http::metrics_handle};
use futures::future::{join_all, join3};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    history::{self, Orders, Seen},
    lanes::LANE_ENTRIES,
    model::{EntryLook, Inside, ReplicaLook, View, newest_leader, votes},
    traffic::{Counters, Meter},
};
use crate::{gateway::outages::Outage, http::App};

/// How long a process may take to say how it is; a halted one must not hold up what is told of the others.
const LOOK_TIMEOUT: Duration = Duration::from_millis(400);
/// How long a replica may take to show what is inside.
const INSIDE_TIMEOUT: Duration = Duration::from_millis(800);

/// Events kept of each replica: enough for the failovers that are shown, and fewer than a replica remembers.
const EVENTS_KEPT_MAX: usize = 200;

/// Where a replica is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    service: String,
    admin: String,
}

impl Place {
    fn of(member: &MemberView) -> Self {
        Self { service: member.service.clone(), admin: member.admin.clone() }
    }
}

/// What is remembered of a replica from one look to the next: the page goes on showing it when the replica is gone.
#[derive(Debug, Clone, Default)]
struct Memory {
    inside: Option<Inside>,
    entries: BTreeMap<u64, EntryLook>,
}

/// Looks at the cluster.
pub(crate) struct Collector {
    app: Arc<App>,
    caller: Caller,
    places: BTreeMap<ReplicaId, Place>,
    memory: BTreeMap<ReplicaId, Memory>,
    meter: Meter,
}

impl Collector {
    pub(crate) fn new(app: Arc<App>, caller: Caller, config: &ClusterConfig) -> Self {
        let place =
            |service: &Address, admin: &Address| Place { service: service.to_string(), admin: admin.to_string() };
        let places = config.replicas.iter().map(|replica| (replica.id, place(&replica.service, &replica.admin)));
        Self { app, caller, places: places.collect(), memory: BTreeMap::new(), meter: Meter::default() }
    }

    /// The admin addresses of the replicas.
    pub(crate) fn admins(&self) -> BTreeMap<ReplicaId, String> {
        self.places.iter().map(|(id, place)| (*id, place.admin.clone())).collect()
    }

    /// Nobody has looked for a while: rates over that time would say nothing.
    pub(crate) fn rested(&mut self) {
        self.meter.forget();
    }

    /// One look at everything.
    pub(crate) async fn look(&mut self) -> View {
        let healths = join_all(self.places.iter().map(|(id, place)| self.health(*id, place)));
        let (healths, catalog, frontend) = join3(healths, self.catalog(), self.frontend()).await;
        let voters = healths.iter().filter_map(|(_, health, _)| health.as_ref().ok()).filter(|health| votes(health));
        let digest_number = voters.map(|health| health.orders).min().unwrap_or(0);
        let mut replicas = join_all(healths.into_iter().map(|seen| self.inside(seen, digest_number))).await;
        self.remember(&replicas);
        lag(&mut replicas);
        let at_unix_ms = unix_ms();
        let events = history::events(&replicas);
        let failovers = history::failovers(&events, &self.seen(), orders(&replicas, digest_number));
        let looks: Vec<Look> = replicas.iter().map(|replica| replica.look(at_unix_ms)).collect();
        let steady: Vec<Look> = looks.iter().map(|look| Look { leads_for: None, ..look.clone() }).collect();
        let own = [FrontendLook { name: "frontend", problem: frontend.as_deref(), takes_trades: frontend.is_none() }];
        let judged = |looks: &[Look]| judge(looks, catalog.as_ref().err().map(String::as_str), &own);
        View {
            at_unix_ms,
            condition: judged(&looks),
            steady: judged(&steady),
            route: self.app.gateway.seen().leader,
            traffic: self.meter.read(at_unix_ms, Counters::parse(&metrics_handle().render())),
            replicas,
            catalog,
            frontend,
            digest_number,
            failovers,
            events: events.into_iter().take(history::EVENTS_MAX).collect(),
        }
    }

    async fn health(&self, id: ReplicaId, place: &Place) -> (ReplicaId, Result<Health, String>, Duration) {
        let started = Instant::now();
        let health = self.get(&self.caller.url(&place.service, "/health"), LOOK_TIMEOUT).await;
        let health = health.and_then(|health: Health| {
            let is_it = health.id == id;
            is_it.then_some(health).ok_or_else(|| "another replica answers in its place".to_owned())
        });
        (id, health, started.elapsed())
    }

    async fn catalog(&self) -> Result<Duration, String> {
        let started = Instant::now();
        match timeout(LOOK_TIMEOUT, self.app.catalog.is_ready(&RequestId::fresh())).await {
            Ok(Ok(())) => Ok(started.elapsed()),
            Ok(Err(error)) => Err(error.message),
            Err(_) => Err("timeout".into()),
        }
    }

    /// Why this frontend does not take requests, if it does not.
    async fn frontend(&self) -> Option<String> {
        match timeout(LOOK_TIMEOUT, self.app.gateway.leader()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.message),
            Err(_) => Some("it looks for the leader".into()),
        }
    }

    async fn inside(
        &self,
        (id, health, round_trip): (ReplicaId, Result<Health, String>, Duration),
        number: u64,
    ) -> ReplicaLook {
        let known = self.memory.get(&id).cloned().unwrap_or_default();
        let mut look = ReplicaLook {
            id,
            health,
            round_trip,
            inside: known.inside,
            digest: None,
            entries: known.entries,
            lag: (None, None),
        };
        let Ok(health) = &look.health else { return look };
        let admin = self.caller.url(&self.places[&id].admin, "/admin");
        let after = entries_after(health.last_log_index.unwrap_or(0), &look);
        let urls = [
            format!("{admin}/raft"),
            format!(
                "{admin}/log?{}limit={LANE_ENTRIES}&brief=true",
                after.map(|after| format!("after={after}&")).unwrap_or_default()
            ),
            format!("{admin}/digest?number={number}"),
        ];
        let (inside, entries, digest) = join3(
            self.get::<Inside>(&urls[0], INSIDE_TIMEOUT),
            self.get::<Vec<EntryLook>>(&urls[1], INSIDE_TIMEOUT),
            self.get::<DigestView>(&urls[2], INSIDE_TIMEOUT),
        )
        .await;
        if let Ok(mut inside) = inside {
            inside.events.drain(..inside.events.len().saturating_sub(EVENTS_KEPT_MAX));
            look.inside = Some(inside);
        }
        if let Ok(entries) = entries {
            put_entries(&mut look.entries, after, entries);
        }
        look.digest = digest.ok().filter(|digest| digest.number == number).map(|digest| digest.digest);
        look
    }

    async fn get<T>(&self, url: &str, limit: Duration) -> Result<T, String>
    where
        Data<T>: DeserializeOwned,
    {
        let answer: Result<Data<T>, CallError> = self.caller.get_json(url, limit).await;
        answer.map(|body| body.data).map_err(|error| error.to_string())
    }

    /// Learns where members are that the configuration does not name, and keeps what was seen.
    fn remember(&mut self, replicas: &[ReplicaLook]) {
        for replica in replicas {
            let members = replica.inside.as_ref().map_or(&[][..], |inside| &inside.membership.members);
            for member in members {
                self.places.entry(member.id).or_insert_with(|| Place::of(member));
            }
            let memory = Memory { inside: replica.inside.clone(), entries: replica.entries.clone() };
            self.memory.insert(replica.id, memory);
        }
        // Others' knowledge may be old: they can add an address, and only the leader can change one.
        let known = newest_leader(replicas).and_then(|leader| leader.inside.as_ref());
        let members = known.map_or(&[][..], |inside| &inside.membership.members);
        self.places.extend(members.iter().map(|member| (member.id, Place::of(member))));
    }

    /// What the gateway saw, by the wall clock.
    fn seen(&self) -> Vec<Seen> {
        let (now, now_ms) = (self.app.lookups.clock().now(), unix_ms());
        let wall = |moment: Moment| now_ms - now.since(moment).as_secs_f64() * 1_000.0;
        self.app.gateway.seen().outages.iter().map(|outage| seen(outage, wall)).collect()
    }
}

fn seen(outage: &Outage, wall: impl Fn(Moment) -> f64) -> Seen {
    Seen {
        lost: outage.lost,
        last_contact: wall(outage.last_contact),
        last_answer: outage.last_answer.map(&wall),
        noticed: wall(outage.noticed),
        successor: outage.successor,
        found: outage.found.map(&wall),
        first_answer: outage.first_answer.map(&wall),
        gap: outage.gap().map(|(begin, end)| (wall(begin), wall(end))),
        resent: outage.tally.resent,
        replayed: outage.tally.replayed,
        expired: outage.tally.expired,
        newest_order: outage.tally.newest_order,
    }
}

/// Entries up to here need not be asked for again: what is committed never changes. None if the log is wanted from its
/// beginning.
fn entries_after(last: u64, known: &ReplicaLook) -> Option<u64> {
    let committed = known.inside.as_ref().and_then(|inside| Some(inside.log.committed?.index)).unwrap_or(0);
    let settled = known.entries.keys().next_back().map(|newest| committed.min(*newest).min(last));
    last.checked_sub(LANE_ENTRIES).max(settled)
}

/// Puts what a replica has behind an index in the place of what was known of it.
fn put_entries(known: &mut BTreeMap<u64, EntryLook>, after: Option<u64>, entries: Vec<EntryLook>) {
    known.retain(|index, _| after.is_some_and(|after| *index <= after));
    known.extend(entries.into_iter().map(|entry| (entry.index, entry)));
    while known.len() as u64 > LANE_ENTRIES {
        known.pop_first();
    }
}

/// Fills in how far the followers are behind: only the leader knows for how long.
fn lag(replicas: &mut [ReplicaLook]) {
    let Some(leader) = newest_leader(replicas) else { return };
    let Some(last) = leader.health.as_ref().ok().and_then(|health| health.last_log_index) else { return };
    let leader_id = leader.id;
    let times: BTreeMap<ReplicaId, Option<u64>> = leader
        .inside
        .iter()
        .flat_map(|inside| &inside.followers)
        .map(|follower| (follower.id, follower.lag_ms))
        .collect();
    for replica in replicas.iter_mut().filter(|replica| replica.id != leader_id) {
        let own = replica.health.as_ref().ok().map(|health| health.last_log_index.unwrap_or(0));
        replica.lag = (own.map(|own| last.saturating_sub(own)), times.get(&replica.id).copied().flatten());
    }
}

/// What is known of the orders: how many the leader holds, and whether all voters that answer agree.
fn orders(replicas: &[ReplicaLook], number: u64) -> Orders {
    let leader = newest_leader(replicas);
    let digests: Vec<Option<&str>> =
        replicas.iter().filter(|replica| replica.votes()).map(|replica| replica.digest.as_deref()).collect();
    let is_agreed =
        digests.first().is_some_and(|first| first.is_some() && digests.iter().all(|digest| digest == first));
    Orders {
        held: leader.and_then(|leader| Some(leader.health.as_ref().ok()?.orders)),
        agreed: is_agreed.then_some((number, digests.len())),
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1_000.0
}

/// Whether looks should follow each other faster: while something is wrong, people wait for the next one.
pub(crate) fn is_eventful(view: &View) -> bool {
    view.condition.state != State::Healthy
}

#[cfg(test)]
mod tests {
    use bazaar_domain::api::Role;

    use super::*;
    use crate::ui::fixtures::{entries, replica};

    #[test]
    fn only_what_may_have_changed_is_asked_for_again() {
        let mut known = replica(1);
        known.entries = entries(11..=40, 7);
        known.inside.as_mut().unwrap().log.committed = Some(super::super::model::Position { index: 38 });
        assert_eq!(entries_after(42, &known), Some(38));
        // It was away for long, or it forgot its log.
        assert_eq!(entries_after(500, &known), Some(470));
        assert_eq!(entries_after(3, &known), Some(3));
        // The first entry of a young log has index 0.
        known.entries.clear();
        assert_eq!((entries_after(12, &known), entries_after(42, &known)), (None, Some(12)));
    }

    #[test]
    fn an_entry_that_was_replaced_is_forgotten() {
        let mut known = entries(1..=40, 7);
        put_entries(&mut known, Some(38), entries(39..=39, 8).into_values().collect());
        assert_eq!(known.len() as u64, LANE_ENTRIES);
        assert_eq!(known.last_key_value().map(|(index, entry)| (*index, entry.term)), Some((39, 8)));
    }

    #[test]
    fn replicas_agree_only_if_all_that_answer_show_the_same_digest() {
        let with = |id, digest: Option<&str>| ReplicaLook { digest: digest.map(str::to_owned), ..replica(id) };
        let agreed = |replicas: &[ReplicaLook]| orders(replicas, 9).agreed;
        assert_eq!(agreed(&[with(1, Some("a")), with(2, Some("a"))]), Some((9, 2)));
        assert_eq!(agreed(&[with(1, Some("a")), with(2, Some("b"))]), None);
        assert_eq!(agreed(&[with(1, Some("a")), with(2, None)]), None);
        assert_eq!(agreed(&[]), None);
        let mut joining = with(3, None);
        joining.health.as_mut().unwrap().role = Role::Learner;
        assert_eq!(agreed(&[with(1, Some("a")), with(2, Some("a")), joining]), Some((9, 2)));
    }

    #[test]
    fn of_two_that_say_they_lead_the_one_of_the_newest_term_counts() {
        let leading = |id, term, held| {
            let mut look = replica(id);
            let health = look.health.as_mut().unwrap();
            (health.role, health.ready, health.term, health.orders) = (Role::Leader, true, term, held);
            look
        };
        let replicas = [leading(1, 7, 90), leading(2, 8, 100)];
        assert_eq!(newest_leader(&replicas).map(|leader| leader.id), Some(2));
        assert_eq!(orders(&replicas, 9).held, Some(100));
    }
}
