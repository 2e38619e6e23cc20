//! What the page was last told, for those who look at it: each part's newest form, and the last announcements, numbered
//! so that a page that was away can ask for what it missed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

/// Announcements that are kept for pages that were away.
pub(crate) const ANNOUNCEMENTS_MAX: usize = 256;

/// Names a message: which process made it, and which one it was. Written `<process>-<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageId {
    pub(crate) process: u64,
    pub(crate) number: u64,
}

impl MessageId {
    /// Reads what `Last-Event-ID` says.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (process, number) = text.split_once('-')?;
        Some(Self { process: u64::from_str_radix(process, 16).ok()?, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.process, self.number)
    }
}

/// Something to tell the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Message {
    /// What follows is the whole state, not a continuation of what the page has.
    Reset,
    /// A part of the page looks like this now.
    Part { name: &'static str, html: Arc<str> },
    /// Something happened that is worth saying aloud.
    Announcement { text: Arc<str> },
}

#[derive(Debug, Default)]
struct State {
    newest: u64,
    parts: BTreeMap<&'static str, (u64, Arc<str>)>,
    announcements: VecDeque<(u64, Arc<str>)>,
}

/// Owns it.
#[derive(Debug)]
pub(crate) struct Hub {
    process: u64,
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

impl Hub {
    /// A hub of a process with this number, which no earlier one had.
    pub(crate) fn new(process: u64) -> Self {
        Self { process, state: Mutex::default(), news: watch::Sender::new(0) }
    }

    /// Tells those who look that parts of the page have this form. Parts that did not change are left out.
    pub(crate) fn publish(&self, parts: Vec<(&'static str, String)>, announcements: Vec<String>) {
        let mut state = self.state();
        for (name, html) in parts {
            if state.parts.get(name).is_none_or(|(_, known)| **known != *html) {
                state.newest += 1;
                let entry = (state.newest, html.into());
                state.parts.insert(name, entry);
            }
        }
        for text in announcements {
            state.newest += 1;
            let entry = (state.newest, text.into());
            if state.announcements.len() == ANNOUNCEMENTS_MAX {
                state.announcements.pop_front();
            }
            state.announcements.push_back(entry);
        }
        self.news.send_replace(state.newest);
    }

    /// Learns of new messages.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The parts as they are now.
    pub(crate) fn parts(&self) -> BTreeMap<&'static str, Arc<str>> {
        self.state().parts.iter().map(|(name, (_, html))| (*name, Arc::clone(html))).collect()
    }

    /// The newest message.
    pub(crate) fn newest(&self) -> MessageId {
        MessageId { process: self.process, number: self.state().newest }
    }

    /// What a page lacks that saw everything up to `seen`, in order. A page of an earlier process, or one that was away
    /// for longer than announcements are kept, gets everything anew.
    pub(crate) fn since(&self, seen: Option<MessageId>) -> Vec<(MessageId, Message)> {
        let state = self.state();
        let oldest = state.announcements.front().map_or(0, |(number, _)| number - 1);
        let is_full = state.announcements.len() == ANNOUNCEMENTS_MAX;
        let seen = seen.filter(|seen| seen.process == self.process && seen.number <= state.newest);
        let seen = seen.filter(|seen| !is_full || seen.number >= oldest).map(|seen| seen.number);
        let after = seen.unwrap_or(0);
        let parts =
            state.parts.iter().map(|(name, (number, html))| (*number, Message::Part { name, html: Arc::clone(html) }));
        let announcements = state.announcements.iter().filter(|_| seen.is_some());
        let announcements =
            announcements.map(|(number, text)| (*number, Message::Announcement { text: Arc::clone(text) }));
        let mut missed: Vec<(u64, Message)> =
            parts.chain(announcements).filter(|(number, _)| *number > after).collect();
        missed.sort_by_key(|(number, _)| *number);
        if seen.is_none() {
            // With the number before all others: a page that hears only this one must ask for everything again.
            missed.insert(0, (0, Message::Reset));
        }
        missed.into_iter().map(|(number, message)| (MessageId { process: self.process, number }, message)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(messages: &[(MessageId, Message)]) -> Vec<String> {
        let text = |message: &Message| match message {
            Message::Reset => "reset".into(),
            Message::Part { name, html } => format!("{name}: {html}"),
            Message::Announcement { text } => text.to_string(),
        };
        messages.iter().map(|(_, message)| text(message)).collect()
    }

    fn hub() -> Hub {
        let hub = Hub::new(7);
        hub.publish(vec![("a", "1".into()), ("b", "1".into())], vec!["began".into()]);
        hub
    }

    #[test]
    fn a_new_page_gets_every_part_and_no_old_announcement() {
        assert_eq!(told(&hub().since(None)), ["reset", "a: 1", "b: 1"]);
    }

    #[test]
    fn a_page_that_was_away_gets_what_it_missed_in_order_and_parts_in_their_newest_form_only() {
        let hub = hub();
        let seen = hub.newest();
        hub.publish(vec![("a", "2".into()), ("b", "1".into())], vec!["lost".into()]);
        hub.publish(vec![("a", "3".into())], vec!["found".into()]);
        let missed = hub.since(Some(seen));
        assert_eq!(told(&missed), ["lost", "a: 3", "found"]);
        assert_eq!(missed.last().unwrap().0, hub.newest());
        assert_eq!(hub.since(Some(hub.newest())), []);
    }

    #[test]
    fn a_page_of_an_earlier_process_gets_everything_anew() {
        let other = MessageId { process: 8, number: 1 };
        assert_eq!(told(&hub().since(Some(other))), ["reset", "a: 1", "b: 1"]);
    }

    #[test]
    fn so_does_one_that_was_away_for_too_long() {
        let hub = hub();
        let seen = hub.newest();
        for number in 0..=ANNOUNCEMENTS_MAX {
            hub.publish(vec![], vec![number.to_string()]);
        }
        assert_eq!(told(&hub.since(Some(seen)))[0], "reset");
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let id = MessageId { process: 0xabc, number: 12 };
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        assert_eq!(MessageId::parse("12"), None);
    }
}
