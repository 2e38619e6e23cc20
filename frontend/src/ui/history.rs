//! The changes of leader, put together from what the replicas wrote down and what this frontend saw. Pure.

use bazaar_domain::{
    ReplicaId,
    gap::{Event, Gap, Milestones, UnixMs, split},
};

use super::model::ReplicaLook;

/// Changes of leader shown.
pub(crate) const FAILOVERS_MAX: usize = 5;
/// Events shown.
pub(crate) const EVENTS_MAX: usize = 30;
/// A leader was found lost at most so long before its successor's election.
const CAUSE_BEFORE_MS: f64 = 60_000.0;

/// What this frontend saw of a change of leader, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub(crate) lost: ReplicaId,
    pub(crate) last_contact: UnixMs,
    pub(crate) last_answer: Option<UnixMs>,
    pub(crate) noticed: UnixMs,
    pub(crate) successor: Option<ReplicaId>,
    pub(crate) found: Option<UnixMs>,
    pub(crate) first_answer: Option<UnixMs>,
    /// In which trades waited and none was answered.
    pub(crate) gap: Option<(UnixMs, UnixMs)>,
    pub(crate) resent: u64,
    pub(crate) replayed: u64,
    pub(crate) expired: u64,
    /// The newest order that was answered before.
    pub(crate) newest_order: u64,
}

/// What can be said about orders that were acknowledged before a change of leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// So many are missing; 0 is known because orders have no gap and all reachable replicas have the same digest.
    Known { orders: u64, newest: u64, digest_number: u64, replicas: usize },
    /// Nothing can be said, and why.
    Unknown(&'static str),
}

/// A change of leader.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failover {
    pub(crate) term: u64,
    pub(crate) leader: ReplicaId,
    /// Why the leader was replaced, in the words of the replica that found it so.
    pub(crate) cause: Option<String>,
    /// A replica found the leader lost.
    pub(crate) suspected: Option<UnixMs>,
    /// A replica asked for votes.
    pub(crate) voted: Option<UnixMs>,
    pub(crate) elected: UnixMs,
    /// The first entry of the new term was committed and applied.
    pub(crate) first_commit: Option<UnixMs>,
    /// What this frontend saw; nothing if it did not run or was not concerned.
    pub(crate) seen: Option<Seen>,
    pub(crate) gap: Option<Gap>,
    pub(crate) lost: Lost,
}

/// What is known of the orders now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    /// How many the leader holds.
    pub(crate) held: Option<u64>,
    /// How many replicas showed their digest at that number, if all showed the same.
    pub(crate) agreed: Option<(u64, usize)>,
}

/// All events with who wrote them down, the newest first.
pub(crate) fn events(replicas: &[ReplicaLook]) -> Vec<(ReplicaId, Event)> {
    let mut all: Vec<(ReplicaId, Event)> =
        replicas.iter().flat_map(|look| look.events().iter().map(|event| (look.id, event.clone()))).collect();
    all.sort_by_key(|(id, event)| (std::cmp::Reverse(event.unix_ms), *id));
    all
}

/// The last changes of leader, the newest first, from all events (the newest first).
pub(crate) fn failovers(events: &[(ReplicaId, Event)], seen: &[Seen], orders: Orders) -> Vec<Failover> {
    let elections = events.iter().filter(|(_, event)| event.is_election());
    elections.take(FAILOVERS_MAX).map(|(leader, election)| failover(*leader, election, events, seen, orders)).collect()
}

fn failover(
    leader: ReplicaId,
    election: &Event,
    events: &[(ReplicaId, Event)],
    seen: &[Seen],
    orders: Orders,
) -> Failover {
    let elected = election.unix_ms as UnixMs;
    let before = |event: &&(ReplicaId, Event)| {
        let at = event.1.unix_ms as UnixMs;
        event.1.term < election.term && at <= elected && elected - at <= CAUSE_BEFORE_MS
    };
    // The previous election ends the search: what was written down before belongs to an earlier change.
    let older = events.iter().filter(before).take_while(|(_, event)| !event.is_election());
    let cause = older.clone().filter(|(_, event)| event.is_cause()).last();
    let own = |is_it: fn(&Event) -> bool| {
        let found = events.iter().find(|(id, event)| *id == leader && event.term == election.term && is_it(event));
        found.map(|(_, event)| event.unix_ms as UnixMs)
    };
    let seen = seen.iter().rfind(|seen| belongs(seen, elected)).copied();
    let suspected = cause.map(|(_, event)| event.unix_ms as UnixMs);
    let voted = own(Event::is_candidacy);
    let first_commit = own(Event::is_readiness);
    let milestones = Milestones { stood: suspected.or(voted), elected: Some(elected), ready: first_commit };
    Failover {
        term: election.term,
        leader,
        cause: cause.map(|(_, event)| event.what.clone()),
        suspected,
        voted,
        elected,
        first_commit,
        gap: seen.and_then(|seen| Some(split(seen.gap?, milestones))),
        lost: lost(seen, orders),
        seen,
    }
}

/// Whether an election lies between the last word of the old leader and the discovery of the new one. Events have whole
/// milliseconds, cut off.
fn belongs(seen: &Seen, elected: UnixMs) -> bool {
    elected >= seen.last_contact - 1.0 && seen.found.is_none_or(|found| elected <= found)
}

fn lost(seen: Option<Seen>, orders: Orders) -> Lost {
    let Some(seen) = seen else { return Lost::Unknown("this frontend did not see it") };
    if seen.newest_order == 0 {
        return Lost::Unknown("no order had been acknowledged by this frontend before");
    }
    let (Some(held), Some((digest_number, replicas))) = (orders.held, orders.agreed) else {
        return Lost::Unknown("no leader, or replicas that differ or do not answer");
    };
    // An order below the digest's number would be in the digest; one above it is not proven yet.
    if digest_number < seen.newest_order && held >= seen.newest_order {
        return Lost::Unknown("not all replicas that answer have reached the newest acknowledged order");
    }
    Lost::Known { orders: seen.newest_order.saturating_sub(held), newest: seen.newest_order, digest_number, replicas }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: ReplicaId, unix_ms: u64, term: u64, what: &str) -> (ReplicaId, Event) {
        (id, Event { unix_ms, term, what: what.into() })
    }

    /// Of two elections, the newest event first.
    fn story() -> Vec<(ReplicaId, Event)> {
        vec![
            event(2, 1_048, 8, "takes trades: an entry of its own term is applied"),
            event(1, 1_041, 8, "follows replica 2"),
            event(2, 1_040, 8, "elected leader"),
            event(2, 1_037, 8, "stands for election"),
            event(2, 1_035, 7, "replica 3 is lost, its process is gone: stands for election"),
            event(3, 110, 7, "takes trades: an entry of its own term is applied"),
            event(3, 100, 7, "elected leader"),
            event(1, 90, 6, "replica 1 is lost, it is silent: stands for election"),
        ]
    }

    fn seen() -> Seen {
        Seen {
            lost: 3,
            last_contact: 1_029.5,
            last_answer: Some(1_029.5),
            noticed: 1_031.0,
            successor: Some(2),
            found: Some(1_050.0),
            first_answer: Some(1_053.5),
            gap: Some((1_029.5, 1_053.5)),
            resent: 12,
            replayed: 2,
            expired: 0,
            newest_order: 500,
        }
    }

    const AGREED: Orders = Orders { held: Some(510), agreed: Some((505, 3)) };

    #[test]
    fn a_failover_is_told_from_the_last_answer_to_the_first() {
        let found = failovers(&story(), &[seen()], AGREED);
        assert_eq!(found.iter().map(|one| (one.term, one.leader)).collect::<Vec<_>>(), [(8, 2), (7, 3)]);
        let newest = &found[0];
        assert_eq!(
            (newest.suspected, newest.voted, newest.first_commit),
            (Some(1_035.0), Some(1_037.0), Some(1_048.0))
        );
        let gap = newest.gap.unwrap();
        let parts = [gap.detect_ms, gap.elect_ms, gap.first_commit_ms, gap.re_route_ms];
        assert_eq!((gap.total_ms, parts), (24.0, [Some(5.5), Some(5.0), Some(8.0), Some(5.5)]));
        assert!(newest.cause.as_deref().unwrap().starts_with("replica 3 is lost"));
        assert_eq!(newest.lost, Lost::Known { orders: 0, newest: 500, digest_number: 505, replicas: 3 });
    }

    #[test]
    fn what_this_frontend_did_not_see_it_does_not_tell() {
        let found = failovers(&story(), &[seen()], AGREED);
        assert_eq!((found[1].seen, found[1].gap), (None, None));
        assert!(matches!(found[1].lost, Lost::Unknown(_)));
        assert_eq!(found[1].suspected, Some(90.0));
    }

    #[test]
    fn lost_orders_are_counted_only_when_they_can_be_known() {
        let told = |orders| lost(Some(seen()), orders);
        assert!(matches!(told(Orders { held: None, agreed: Some((505, 3)) }), Lost::Unknown(_)));
        assert!(matches!(told(Orders { held: Some(510), agreed: None }), Lost::Unknown(_)));
        assert!(matches!(told(Orders { held: Some(510), agreed: Some((490, 3)) }), Lost::Unknown(_)));
        let missing = told(Orders { held: Some(498), agreed: Some((498, 2)) });
        assert_eq!(missing, Lost::Known { orders: 2, newest: 500, digest_number: 498, replicas: 2 });
    }

    #[test]
    fn an_election_after_the_next_leader_was_found_belongs_to_another_change() {
        let later = Seen { last_contact: 1_200.0, found: Some(1_300.0), ..seen() };
        assert_eq!(failovers(&story(), &[later], AGREED)[0].seen, None);
    }
}
