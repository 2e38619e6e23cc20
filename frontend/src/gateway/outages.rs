//! What this frontend saw of each change of leader: when answers stopped and came again, and what was sent twice. Pure.

use std::{collections::VecDeque, time::Duration};

use bazaar_domain::{Moment, ReplicaId};

/// Changes of leader that are remembered.
pub const OUTAGES_MAX: usize = 16;
/// So long after the next leader was found, trades that are sent again belong to the change.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// What happened to trades on their way, counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trades that were put back because the request that carried them failed.
    pub resent: u64,
    /// Of those, the ones that had been decided the first time: their second decision was a replay.
    pub replayed: u64,
    /// Trades that were answered with an error at their deadline.
    pub expired: u64,
    /// The highest number of an order that was answered.
    pub newest_order: u64,
}

/// A change of leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Where trades went before.
    pub lost: ReplicaId,
    /// When it last answered anything.
    pub last_contact: Moment,
    /// When it last answered trades.
    pub last_answer: Option<Moment>,
    /// When this frontend gave it up.
    pub noticed: Moment,
    /// Since when a trade had been waiting that was not answered before the next leader was found.
    pub waited_from: Option<Moment>,
    /// Where trades go next.
    pub successor: Option<ReplicaId>,
    /// When it was found.
    pub found: Option<Moment>,
    /// When it first answered trades.
    pub first_answer: Option<Moment>,
    /// What was counted meanwhile; `newest_order` as it was before.
    pub tally: Tally,
}

impl Outage {
    /// The time in which trades waited and none was answered, if any did and one was.
    pub fn gap(&self) -> Option<(Moment, Moment)> {
        let waited_from = self.waited_from?;
        Some((self.last_answer.map_or(waited_from, |last| last.max(waited_from)), self.first_answer?))
    }

    fn is_settled(&self, now: Moment) -> bool {
        self.found.is_some_and(|found| now.since(found) > SETTLED_AFTER)
    }

    fn count(&mut self, now: Tally, before: Tally) {
        self.tally.resent += now.resent - before.resent;
        self.tally.replayed += now.replayed - before.replayed;
        self.tally.expired += now.expired - before.expired;
    }
}

/// What an event tells about the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing.
    Nothing,
    /// The leader answered a question.
    Contact,
    /// A leader answered trades.
    Answer,
}

/// Watches the way to the leader.
#[derive(Debug, Default)]
pub struct Outages {
    newest: VecDeque<Outage>,
    leader: Option<ReplicaId>,
    last_contact: Moment,
    last_answer: Option<Moment>,
    tally: Tally,
}

impl Outages {
    /// The changes of leader, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Outage> {
        self.newest.iter()
    }

    /// Takes what is so after an event: where trades go now, since when the oldest unanswered one has waited (asked only
    /// when that matters), and what was counted. Returns whether there is anything new to tell.
    pub fn observe(
        &mut self,
        now: Moment,
        sight: Sight,
        leader: Option<ReplicaId>,
        waiting_since: impl FnOnce() -> Option<Moment>,
        tally: Tally,
    ) -> bool {
        let is_change = leader != self.leader;
        if let Some(lost) = self.leader.filter(|_| is_change) {
            self.begin(lost, now);
        }
        let before = self.tally;
        let is_news = match self.newest.back_mut().filter(|newest| !newest.is_settled(now)) {
            None => false,
            Some(newest) => follow(newest, now, sight, leader, waiting_since, (before, tally)),
        };
        if sight != Sight::Nothing {
            self.last_contact = now;
        }
        if sight == Sight::Answer {
            self.last_answer = Some(now);
        }
        (self.leader, self.tally) = (leader, tally);
        is_change || is_news
    }

    fn begin(&mut self, lost: ReplicaId, now: Moment) {
        if self.newest.len() == OUTAGES_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(Outage {
            lost,
            last_contact: self.last_contact,
            last_answer: self.last_answer,
            noticed: now,
            waited_from: None,
            successor: None,
            found: None,
            first_answer: None,
            tally: Tally { newest_order: self.tally.newest_order, ..Tally::default() },
        });
    }
}

fn follow(
    outage: &mut Outage,
    now: Moment,
    sight: Sight,
    leader: Option<ReplicaId>,
    waiting_since: impl FnOnce() -> Option<Moment>,
    (before, tally): (Tally, Tally),
) -> bool {
    let known = *outage;
    outage.count(tally, before);
    if outage.found.is_none() && outage.waited_from.is_none() {
        outage.waited_from = waiting_since();
    }
    if outage.found.is_none() && leader.is_some() {
        (outage.successor, outage.found) = (leader, Some(now));
    }
    if sight == Sight::Answer {
        match outage.found {
            Some(_) => outage.first_answer = outage.first_answer.or(Some(now)),
            // A late word of the leader that was given up.
            None => outage.last_answer = Some(now),
        }
    }
    *outage != known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn counted(resent: u64, replayed: u64, newest_order: u64) -> Tally {
        Tally { resent, replayed, expired: 0, newest_order }
    }

    #[test]
    fn a_change_of_leader_under_load_is_told_from_the_last_answer_to_the_first() {
        let mut outages = Outages::default();
        outages.observe(at(10), Sight::Contact, Some(3), || None, counted(0, 0, 0));
        outages.observe(at(90), Sight::Answer, Some(3), || None, counted(0, 0, 41));
        assert!(outages.observe(at(110), Sight::Nothing, None, || Some(at(89)), counted(5, 0, 41)));
        assert!(outages.observe(at(140), Sight::Contact, Some(2), || None, counted(5, 0, 41)));
        assert!(outages.observe(at(150), Sight::Answer, Some(2), || None, counted(5, 2, 46)));
        assert!(!outages.observe(at(160), Sight::Answer, Some(2), || None, counted(5, 2, 50)));
        let found = *outages.all().next().unwrap();
        assert_eq!((found.lost, found.successor), (3, Some(2)));
        assert_eq!((found.noticed, found.found), (at(110), Some(at(140))));
        assert_eq!(found.gap(), Some((at(90), at(150))));
        assert_eq!(found.tally, counted(5, 2, 41));
    }

    #[test]
    fn without_a_trade_there_is_no_gap() {
        let mut outages = Outages::default();
        outages.observe(at(10), Sight::Answer, Some(3), || None, Tally::default());
        outages.observe(at(500), Sight::Nothing, None, || None, Tally::default());
        outages.observe(at(510), Sight::Contact, Some(2), || None, Tally::default());
        assert_eq!(outages.all().next().unwrap().gap(), None);
        // Trades that come later wait for nothing that this change brought about.
        outages.observe(at(600), Sight::Nothing, Some(2), || Some(at(599)), Tally::default());
        outages.observe(at(601), Sight::Answer, Some(2), || None, Tally::default());
        assert_eq!(outages.all().next().unwrap().gap(), None);
    }

    #[test]
    fn a_trade_long_after_is_no_part_of_it() {
        let mut outages = Outages::default();
        outages.observe(at(10), Sight::Answer, Some(3), || None, Tally::default());
        outages.observe(at(500), Sight::Nothing, None, || None, Tally::default());
        outages.observe(at(510), Sight::Contact, Some(2), || None, Tally::default());
        outages.observe(at(9_000), Sight::Answer, Some(2), || Some(at(8_999)), Tally::default());
        assert_eq!(outages.all().next().unwrap().first_answer, None);
    }

    #[test]
    fn a_trade_that_came_after_the_last_answer_counts_from_its_arrival() {
        let mut outages = Outages::default();
        outages.observe(at(10), Sight::Answer, Some(3), || None, Tally::default());
        outages.observe(at(500), Sight::Nothing, None, || Some(at(480)), Tally::default());
        outages.observe(at(510), Sight::Contact, Some(2), || None, Tally::default());
        outages.observe(at(520), Sight::Answer, Some(2), || None, Tally::default());
        assert_eq!(outages.all().next().unwrap().gap(), Some((at(480), at(520))));
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut outages = Outages::default();
        for number in 0..3 * OUTAGES_MAX as u64 {
            let leader = (number % 2 == 0).then_some(1);
            outages.observe(at(number), Sight::Contact, leader, || None, Tally::default());
        }
        assert_eq!(outages.all().count(), OUTAGES_MAX);
    }
}
