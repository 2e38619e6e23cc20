//! What happened to this replica lately: elections, step-downs, changes of leader, snapshots, members. Kept in memory
//! for those who ask, and in a file that survives the process.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use bazaar_domain::{
    api::{Role, ServiceAddress},
    gap::{ELECTED, STANDS, TAKES_TRADES},
};
use bazaar_service::data_dir::write_durably;
use serde::{Deserialize, Serialize};

use crate::standing::Standing;

const FILE: &str = "events.jsonl";
/// Events kept at most; older ones are forgotten.
const EVENTS_MAX: usize = 1_000;
/// Lines after which the file is written anew with the newest [`EVENTS_MAX`].
const FILE_LINES_MAX: usize = 2 * EVENTS_MAX;
/// Events on their way to the file. More than so many within a disk's slowest moment are a storm.
const UNWRITTEN_MAX: usize = 256;

/// What sort of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The process started or stops.
    Process,
    /// This replica stands for election, or was elected.
    Election,
    /// It led, and does not any more.
    StepDown,
    /// It follows another leader, or none.
    Leader,
    /// The leadership is handed over on purpose.
    Transfer,
    /// A snapshot was built, sent or installed.
    Snapshot,
    /// The members changed, or are about to.
    Membership,
    /// A follower that lagged has everything again.
    CatchUp,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// In which term.
    pub term: u64,
    /// What sort of thing.
    pub kind: EventKind,
    /// What, in words.
    pub what: String,
}

/// The newest events.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<VecDeque<Event>>,
    writer: SyncSender<Event>,
}

impl Events {
    /// Reads the events of earlier starts from a replica's data directory, and goes on writing there.
    ///
    /// # Errors
    /// If the file cannot be read or written. A line that a crash tore is left out.
    pub fn open(data: &Path) -> Result<Self> {
        let path = data.join(FILE);
        let ring = read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let file = EventFile::begin(path.clone(), &ring);
        let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        let (writer, unwritten) = sync_channel(UNWRITTEN_MAX);
        // A thread, because a slow disk must not hold up an election that is worth an event.
        std::thread::Builder::new().name("events".into()).spawn(move || file.run(&unwritten))?;
        Ok(Self { ring: Mutex::new(ring), writer })
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an event, and logs it.
    pub fn note(&self, kind: EventKind, term: u64, what: impl Into<String>) {
        let what = what.into();
        tracing::info!(term, "{what}");
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = Event { unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX), term, kind, what };
        push(&mut self.ring(), event.clone());
        if self.writer.try_send(event).is_err() {
            tracing::warn!("an event could not be written down");
        }
    }

    /// The events, oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.ring().iter().cloned().collect()
    }
}

fn push(ring: &mut VecDeque<Event>, event: Event) {
    if ring.len() == EVENTS_MAX {
        ring.pop_front();
    }
    ring.push_back(event);
}

fn read(path: &Path) -> io::Result<VecDeque<Event>> {
    let mut ring = VecDeque::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ring),
        file => file?,
    };
    for line in BufReader::new(file).split(b'\n') {
        if let Ok(event) = serde_json::from_slice(&line?) {
            push(&mut ring, event);
        }
    }
    Ok(ring)
}

fn line(event: &Event) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).expect("an event is plain JSON");
    line.push(b'\n');
    line
}

/// The file, with a copy of what is worth keeping of it.
struct EventFile {
    path: PathBuf,
    file: File,
    lines: usize,
    /// The last line may have no end: a write of it failed.
    torn: bool,
    newest: VecDeque<Event>,
}

impl EventFile {
    /// Writes the file anew, which also takes a torn last line away.
    fn begin(path: PathBuf, events: &VecDeque<Event>) -> io::Result<Self> {
        write_durably(&path, &events.iter().flat_map(line).collect::<Vec<u8>>())?;
        let file = fs::OpenOptions::new().append(true).open(&path)?;
        Ok(Self { path, file, lines: events.len(), torn: false, newest: events.clone() })
    }

    fn run(mut self, unwritten: &Receiver<Event>) {
        while let Ok(event) = unwritten.recv() {
            if let Err(error) = self.write(event) {
                tracing::warn!(%error, path = %self.path.display(), "an event could not be written down");
            }
        }
    }

    fn write(&mut self, event: Event) -> io::Result<()> {
        if std::mem::replace(&mut self.torn, true) {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(&line(&event))?;
        self.torn = false;
        self.file.sync_data()?;
        self.lines += 1;
        push(&mut self.newest, event);
        if self.lines >= FILE_LINES_MAX {
            *self = Self::begin(self.path.clone(), &self.newest)?;
        }
        Ok(())
    }
}

/// What a change of standing means, in words.
pub fn describe(before: &Standing, after: &Standing) -> Vec<(EventKind, String)> {
    let mut events: Vec<(EventKind, String)> = change_of_role(before, after).into_iter().collect();
    if after.own_term_applied && !before.own_term_applied {
        events.push((EventKind::Election, format!("{TAKES_TRADES}: an entry of its own term is applied")));
    }
    if let Some(covers) = after.snapshot.filter(|_| before.snapshot != after.snapshot) {
        events.push((EventKind::Snapshot, format!("has a snapshot that covers the log up to index {}", covers.index)));
    }
    if before.voters != after.voters {
        events.push((EventKind::Membership, format!("the voters are {}", numbers(&after.voters))));
    }
    events
}

fn numbers(voters: &[ServiceAddress]) -> String {
    voters.iter().map(|voter| voter.id.to_string()).collect::<Vec<_>>().join(", ")
}

fn change_of_role(before: &Standing, after: &Standing) -> Option<(EventKind, String)> {
    let follows = match after.leader {
        Some(leader) => format!("follows replica {leader}"),
        None => "follows, no leader is known".into(),
    };
    if before.role != after.role {
        return Some(match (before.role, after.role) {
            (_, Role::Leader) => (EventKind::Election, ELECTED.into()),
            (_, Role::Candidate) => (EventKind::Election, STANDS.into()),
            (Role::Leader, _) => match after.leader {
                Some(leader) => (EventKind::StepDown, format!("stepped down: replica {leader} leads")),
                None => (EventKind::StepDown, "stepped down: it leads no more, and no successor is known yet".into()),
            },
            (_, Role::Follower) => (EventKind::Leader, follows),
            (_, Role::Learner | Role::Joining) => (EventKind::Membership, "has no vote".into()),
        });
    }
    if before.leader != after.leader && after.role != Role::Leader {
        let what = if after.leader.is_some() { follows } else { "lost its leader".into() };
        return Some((EventKind::Leader, what));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{EVENTS_MAX, EventKind, Events, FILE, FILE_LINES_MAX};

    /// Waits for the writing thread.
    fn wait_for_lines(folder: &std::path::Path, holds: impl Fn(usize) -> bool) {
        for _ in 0..1_000 {
            if holds(fs::read_to_string(folder.join(FILE)).unwrap_or_default().lines().count()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the events were not written");
    }

    #[test]
    fn events_survive_the_process_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::open(folder.path()).unwrap();
        events.note(EventKind::Election, 3, "elected leader");
        wait_for_lines(folder.path(), |lines| lines == 1);
        drop(events);
        let mut torn = fs::read(folder.path().join(FILE)).unwrap();
        torn.extend_from_slice(b"{\"unix_ms\":17");
        fs::write(folder.path().join(FILE), torn).unwrap();
        let events = Events::open(folder.path()).unwrap();
        assert_eq!(events.all().len(), 1);
        events.note(EventKind::StepDown, 4, "stepped down");
        assert_eq!(events.all()[1].kind, EventKind::StepDown);
        wait_for_lines(folder.path(), |lines| lines == 2);
    }

    #[test]
    fn only_the_newest_are_kept_in_memory_and_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::open(folder.path()).unwrap();
        for number in 0..FILE_LINES_MAX {
            events.note(EventKind::Leader, 1, number.to_string());
            wait_for_lines(folder.path(), |lines| lines > number || number + 1 == FILE_LINES_MAX);
        }
        wait_for_lines(folder.path(), |lines| lines == EVENTS_MAX);
        let again = Events::open(folder.path()).unwrap();
        assert_eq!(again.all(), events.all());
        assert_eq!(again.all().first().unwrap().what, EVENTS_MAX.to_string());
    }
}
