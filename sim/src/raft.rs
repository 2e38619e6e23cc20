//! An abstract Raft: terms, votes, a log of which only a prefix is on disk, replication, commitment (Ongaro and Ousterhout,
//! "In Search of an Understandable Consensus Algorithm", figure 2). The membership never changes.
//!
//! It stands in for openraft, which has tests of its own; what is tested here is everything around it.

use std::{fmt, rc::Rc, time::Duration};

use bazaar_domain::{
    Command, Moment,
    mutants::{Mutant, broken},
};

/// How many replicas there are.
pub const REPLICAS: usize = 3;
/// How many of them decide.
pub const QUORUM: usize = 2;
/// How often a leader shows that it lives.
pub const HEARTBEAT: Duration = Duration::from_millis(50);
/// Shortest silence after which a follower stands for election.
pub const ELECTION_MIN_MICROS: u64 = 300_000;
/// By how much it may be longer.
pub const ELECTION_SPREAD_MICROS: u64 = 300_000;
/// Entries in one message.
const APPEND_ENTRIES_MAX: usize = 64;

/// Term and index of an entry. Index 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of term {}", self.index, self.term)
    }
}

/// An entry; one without a command is a leader's first.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The term in which it was proposed.
    pub term: u64,
    /// What it does.
    pub command: Option<Rc<Command>>,
}

/// Between replicas.
#[derive(Debug, Clone)]
pub enum RaftMessage {
    /// A candidate asks for a vote.
    Vote {
        /// Its term.
        term: u64,
        /// The end of its log.
        last: Position,
    },
    /// The answer.
    Voted {
        /// The answering replica's term.
        term: u64,
        /// Whether it got the vote.
        granted: bool,
    },
    /// A leader's entries, or none.
    Append {
        /// Its term.
        term: u64,
        /// What comes before the entries.
        previous: Position,
        /// The entries.
        entries: Vec<LogEntry>,
        /// What the leader knows to be committed.
        committed: u64,
        /// When it was sent, by the leader's clock.
        sent: Moment,
    },
    /// The answer, once the entries are on disk.
    Appended {
        /// The answering replica's term.
        term: u64,
        /// Up to where its log is the leader's and on disk; if the entries did not fit, from where to send.
        result: Result<u64, u64>,
        /// The leader's.
        sent: Moment,
    },
}

/// What a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It follows, or waits.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// An answer that goes out once the log is on disk up to its index.
#[derive(Debug)]
struct OwedAnswer {
    to: usize,
    index: u64,
    sent: Moment,
}

/// One replica's Raft.
#[derive(Debug)]
pub struct Raft {
    own: usize,
    /// On disk as soon as it changes.
    pub term: u64,
    voted_for: Option<usize>,
    /// What it is.
    pub role: Role,
    /// Whom it follows, or itself.
    pub leader: Option<usize>,
    /// The entry before the first that is in the log.
    pub purged: Position,
    entries: Vec<LogEntry>,
    /// Everything up to here is on disk.
    durable: u64,
    /// Everything up to here is committed, as far as is known here.
    pub committed: u64,
    votes: [bool; REPLICAS],
    next: [u64; REPLICAS],
    matched: [u64; REPLICAS],
    /// When the newest message was sent that each follower answered in this term.
    acked: [Option<Moment>; REPLICAS],
    /// The leader's first entry.
    pub own_first: u64,
    owed: Vec<OwedAnswer>,
    election_at: Moment,
    heartbeat_at: Moment,
    /// Whether a sync is under way.
    is_syncing: bool,
}

/// What Raft wants to send.
#[derive(Debug)]
pub enum Outgoing {
    /// A message.
    Message(usize, RaftMessage),
    /// This follower lacks entries that are gone: it needs the state.
    Snapshot(usize),
}

impl Raft {
    /// A replica whose log is empty behind `purged`.
    pub fn new(own: usize, purged: Position) -> Self {
        Self {
            own,
            term: 0,
            voted_for: None,
            role: Role::Follower,
            leader: None,
            purged,
            entries: Vec::new(),
            durable: purged.index,
            committed: purged.index,
            votes: [false; REPLICAS],
            next: [1; REPLICAS],
            matched: [0; REPLICAS],
            acked: [None; REPLICAS],
            own_first: 0,
            owed: Vec::new(),
            election_at: Moment::ZERO,
            heartbeat_at: Moment::ZERO,
            is_syncing: false,
        }
    }

    /// What is left after a crash that keeps `kept` entries of those that were not synced, with the state at `applied` on
    /// the disk. The state may reach further than the log, which then begins behind it, as openraft's does.
    #[must_use]
    pub fn after_crash(&self, kept: u64, applied: Position) -> Self {
        let last = self.last().index.min(self.durable + kept);
        let is_ahead = applied.index > last;
        let mut raft = Self::new(self.own, if is_ahead { applied } else { self.purged });
        raft.term = self.term;
        raft.voted_for = self.voted_for;
        if !is_ahead {
            raft.entries = self.entries[..self.slot(last + 1)].to_vec();
            raft.durable = last;
        }
        raft.committed = applied.index;
        raft
    }

    fn slot(&self, index: u64) -> usize {
        usize::try_from(index - self.purged.index - 1).expect("a log is short")
    }

    /// The end of the log.
    pub fn last(&self) -> Position {
        let index = self.purged.index + self.entries.len() as u64;
        Position { term: self.entries.last().map_or(self.purged.term, |entry| entry.term), index }
    }

    /// How many entries are not synced.
    pub fn unsynced(&self) -> u64 {
        self.last().index - self.durable
    }

    /// The entry at an index that is in the log.
    pub fn entry(&self, index: u64) -> &LogEntry {
        &self.entries[self.slot(index)]
    }

    /// The position of an index, if it is in the log or the last before it.
    pub fn position(&self, index: u64) -> Option<Position> {
        if index == self.purged.index {
            return Some(self.purged);
        }
        (index > self.purged.index && index <= self.last().index)
            .then(|| Position { term: self.entry(index).term, index })
    }

    /// Whether this entry is on disk here, itself or in what was made of it.
    pub fn holds_durably(&self, position: Position) -> bool {
        position.index <= self.purged.index
            || (position.index <= self.durable && self.position(position.index) == Some(position))
    }

    /// When the newest message was sent that a quorum answered in this term.
    pub fn quorum_ack(&self) -> Option<Moment> {
        // Of three, the leader and the follower that answered last are a quorum.
        if self.role == Role::Leader { self.acked.iter().copied().flatten().max() } else { None }
    }

    /// Waits for an election, or for the next heartbeat, from now on.
    pub fn wait_from(&mut self, now: Moment, election_micros: u64) {
        self.election_at = now.plus(Duration::from_micros(election_micros));
    }

    /// When it has something to do.
    pub fn wake_at(&self) -> Moment {
        if self.role == Role::Leader { self.heartbeat_at } else { self.election_at }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Moment, election_micros: u64, out: &mut Vec<Outgoing>) {
        if self.role == Role::Leader {
            if now >= self.heartbeat_at {
                self.replicate(now, out);
            }
        } else if now >= self.election_at {
            self.stand(now, election_micros, out);
        }
    }

    fn stand(&mut self, now: Moment, election_micros: u64, out: &mut Vec<Outgoing>) {
        self.term += 1;
        self.role = Role::Candidate;
        self.leader = None;
        self.voted_for = Some(self.own);
        self.votes = [false; REPLICAS];
        self.votes[self.own] = true;
        self.wait_from(now, election_micros);
        for other in self.others() {
            out.push(Outgoing::Message(other, RaftMessage::Vote { term: self.term, last: self.last() }));
        }
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.own;
        (0..REPLICAS).filter(move |replica| *replica != own)
    }

    fn see_term(&mut self, term: u64) {
        if term > self.term {
            self.term = term;
            self.voted_for = None;
            self.role = Role::Follower;
            self.leader = None;
            self.owed.clear();
        }
    }

    /// Takes a message.
    pub fn receive(
        &mut self,
        from: usize,
        message: RaftMessage,
        now: Moment,
        election_micros: u64,
        out: &mut Vec<Outgoing>,
    ) {
        match message {
            RaftMessage::Vote { term, last } => {
                self.see_term(term);
                let is_free = self.voted_for.is_none_or(|voted| voted == from);
                let granted = term == self.term && self.role == Role::Follower && is_free && last >= self.last();
                if granted {
                    self.voted_for = Some(from);
                    self.wait_from(now, election_micros);
                }
                out.push(Outgoing::Message(from, RaftMessage::Voted { term: self.term, granted }));
            }
            RaftMessage::Voted { term, granted } => {
                self.see_term(term);
                if term == self.term && self.role == Role::Candidate && granted {
                    self.votes[from] = true;
                    if self.votes.iter().filter(|vote| **vote).count() >= QUORUM {
                        self.lead(now, out);
                    }
                }
            }
            RaftMessage::Append { term, previous, entries, committed, sent } => {
                self.see_term(term);
                if term < self.term {
                    let refusal = RaftMessage::Appended { term: self.term, result: Err(0), sent };
                    return out.push(Outgoing::Message(from, refusal));
                }
                self.role = Role::Follower;
                self.leader = Some(from);
                self.wait_from(now, election_micros);
                self.take(from, previous, entries, committed, sent, out);
            }
            RaftMessage::Appended { term, result, sent } => {
                self.see_term(term);
                if term == self.term && self.role == Role::Leader {
                    self.appended(from, result, sent, now, out);
                }
            }
        }
    }

    fn take(
        &mut self,
        from: usize,
        previous: Position,
        entries: Vec<LogEntry>,
        committed: u64,
        sent: Moment,
        out: &mut Vec<Outgoing>,
    ) {
        let fits = previous.index <= self.purged.index || self.position(previous.index) == Some(previous);
        if !fits {
            let from_here = self.last().index.min(previous.index.saturating_sub(1)).max(self.purged.index);
            let refusal = RaftMessage::Appended { term: self.term, result: Err(from_here + 1), sent };
            return out.push(Outgoing::Message(from, refusal));
        }
        let through = previous.index + entries.len() as u64;
        for (index, entry) in (previous.index + 1..).zip(entries) {
            // What is purged was committed, and so is the same.
            if index <= self.purged.index || self.position(index).is_some_and(|known| known.term == entry.term) {
                continue;
            }
            if index <= self.last().index {
                assert!(index > self.committed, "a committed entry is never replaced");
                // In the real log the removal is written before what follows, in the same write-ahead log.
                self.entries.truncate(self.slot(index));
                self.durable = self.durable.min(index - 1);
            }
            self.entries.push(entry);
        }
        self.committed = self.committed.max(committed.min(through));
        self.owed.push(OwedAnswer { to: from, index: through, sent });
        self.answer_owed(out);
    }

    /// Up to here this replica may say that it has the log.
    fn answerable(&self) -> u64 {
        if broken(Mutant::AnswerBeforeSync) { self.last().index } else { self.durable.max(self.purged.index) }
    }

    fn answer_owed(&mut self, out: &mut Vec<Outgoing>) {
        let (term, durable) = (self.term, self.answerable());
        self.owed.retain(|owed| {
            if owed.index > durable {
                return true;
            }
            let answer = RaftMessage::Appended { term, result: Ok(owed.index), sent: owed.sent };
            out.push(Outgoing::Message(owed.to, answer));
            false
        });
    }

    fn appended(&mut self, from: usize, result: Result<u64, u64>, sent: Moment, now: Moment, out: &mut Vec<Outgoing>) {
        self.acked[from] = self.acked[from].max(Some(sent));
        match result {
            Ok(matched) => {
                self.matched[from] = self.matched[from].max(matched);
                self.next[from] = self.next[from].max(matched + 1);
                self.advance();
            }
            Err(next) => {
                self.next[from] = next.max(self.matched[from] + 1);
                self.send_to(from, now, out);
            }
        }
    }

    fn advance(&mut self) {
        let mut matched = self.matched;
        matched[self.own] = self.answerable();
        matched.sort_unstable();
        let by_quorum = matched[REPLICAS - QUORUM];
        if by_quorum > self.committed && self.position(by_quorum).is_some_and(|position| position.term == self.term) {
            self.committed = by_quorum;
        }
    }

    fn lead(&mut self, now: Moment, out: &mut Vec<Outgoing>) {
        self.role = Role::Leader;
        self.leader = Some(self.own);
        self.next = [self.last().index + 1; REPLICAS];
        self.matched = [0; REPLICAS];
        self.acked = [None; REPLICAS];
        self.own_first = self.last().index + 1;
        self.entries.push(LogEntry { term: self.term, command: None });
        self.replicate(now, out);
    }

    /// Proposes an entry, and returns its position. Only a leader may.
    pub fn propose(&mut self, command: Command, now: Moment, out: &mut Vec<Outgoing>) -> Position {
        assert_eq!(self.role, Role::Leader, "only a leader proposes");
        self.entries.push(LogEntry { term: self.term, command: Some(Rc::new(command)) });
        self.replicate(now, out);
        self.last()
    }

    /// Sends to every follower what it lacks, or nothing but a sign of life.
    pub fn replicate(&mut self, now: Moment, out: &mut Vec<Outgoing>) {
        self.heartbeat_at = now.plus(HEARTBEAT);
        for follower in self.others() {
            self.send_to(follower, now, out);
        }
    }

    fn send_to(&mut self, follower: usize, now: Moment, out: &mut Vec<Outgoing>) {
        let next = self.next[follower];
        let Some(previous) = self.position(next - 1).filter(|_| next > self.purged.index) else {
            return out.push(Outgoing::Snapshot(follower));
        };
        let entries: Vec<LogEntry> = self.entries[self.slot(next)..].iter().take(APPEND_ENTRIES_MAX).cloned().collect();
        // If the message is lost, the follower's next answer says from where to send again.
        self.next[follower] = next + entries.len() as u64;
        let message = RaftMessage::Append { term: self.term, previous, entries, committed: self.committed, sent: now };
        out.push(Outgoing::Message(follower, message));
    }

    /// A message is wanted at `at` at the latest, whose answer proves that this replica still leads.
    pub fn heartbeat_now(&mut self, at: Moment) {
        self.heartbeat_at = self.heartbeat_at.min(at);
    }

    /// Whether a sync is to begin.
    pub fn begins_sync(&mut self) -> bool {
        let begins = !self.is_syncing && self.unsynced() > 0;
        self.is_syncing |= begins;
        begins
    }

    /// A sync has ended.
    pub fn synced(&mut self, out: &mut Vec<Outgoing>) {
        self.is_syncing = false;
        self.durable = self.last().index;
        self.answer_owed(out);
        if self.role == Role::Leader {
            self.advance();
        }
    }

    /// Forgets entries up to an index that is applied, and in a snapshot.
    pub fn purge(&mut self, index: u64) {
        let Some(position) = self.position(index).filter(|_| index > self.purged.index) else { return };
        self.entries.drain(..=self.slot(index));
        self.purged = position;
        self.durable = self.durable.max(index);
    }

    /// The state was replaced by one at this position.
    pub fn restored(&mut self, from: usize, term: u64, position: Position, now: Moment, election_micros: u64) -> bool {
        self.see_term(term);
        if term < self.term || position.index <= self.committed {
            return false;
        }
        self.role = Role::Follower;
        self.leader = Some(from);
        self.wait_from(now, election_micros);
        if self.position(position.index) == Some(position) {
            self.purge(position.index);
        } else {
            self.entries.clear();
            self.purged = position;
            self.durable = position.index;
        }
        self.committed = position.index;
        true
    }

    /// The answer to an installed snapshot.
    pub fn restored_answer(&self, sent: Moment) -> RaftMessage {
        RaftMessage::Appended { term: self.term, result: Ok(self.purged.index), sent }
    }
}
