//! The log lanes, and one entry decoded.

use bazaar_domain::condition::counted;
use maud::{Markup, html};
use serde_json::Value;

use super::words::{grouped, or_dash};
use crate::ui::{
    lanes::{Cell, Lane, Lanes, Progress, align},
    log_entry::LogEntry,
    model::View,
};

/// Colours for terms; they repeat after so many.
const TERM_COLOURS: u64 = 6;
/// Items shown of one entry.
const ITEMS_SHOWN: usize = 20;

/// The lanes.
pub(super) fn lanes(view: &View) -> Markup {
    let Lanes { first, last, lanes, terms } = align(&view.replicas);
    html! {
        p { "Entries " (first) " to " (last) ", the newest on the right. Choose one to see what it holds; the arrow keys move along." }
        @for lane in &lanes { (lane_of(lane)) }
        ul.legend {
            @for term in terms { li { span class={ "key " (colour(term)) } { } "term " (term) } }
            li { span.key.logged { } "in the log" }
            li { span.key.committed { } "committed" }
            li { span.key.applied { } "applied" }
            li { span.key.snapshot { } "snapshot" }
        }
    }
}

fn colour(term: u64) -> String {
    format!("t{}", term % TERM_COLOURS)
}

fn lane_of(lane: &Lane) -> Markup {
    // One stop for the Tab key in each lane: its newest entry.
    let newest = lane.cells.iter().flatten().next_back().map(|cell| cell.entry.index);
    html! {
        div.lane.old[!lane.is_current] data-replica=(lane.replica) {
            h3 { "Replica " (lane.replica) @if !lane.is_current { " (as last seen)" } }
            p.marks {
                "last " (or_dash(lane.last)) " · committed " (or_dash(lane.committed)) " · applied " (or_dash(lane.applied))
                " · snapshot " (or_dash(lane.snapshot))
            }
            div.cells role="group" aria-label={ "Log of replica " (lane.replica) } {
                @for cell in &lane.cells {
                    @match cell {
                        Some(cell) => { (link(lane, cell, newest == Some(cell.entry.index))) }
                        None => { span.cell.none { } }
                    }
                }
            }
        }
    }
}

fn link(lane: &Lane, cell: &Cell, is_stop: bool) -> Markup {
    let entry = &cell.entry;
    let progress = match cell.progress {
        Progress::Logged => "logged",
        Progress::Committed => "committed",
        Progress::Applied => "applied",
    };
    let snapshot = if cell.is_snapshot { " snapshot" } else { "" };
    let begins = if cell.begins_term { " begins" } else { "" };
    let kind = match entry.kind.strip_suffix('s') {
        Some(item) => counted(entry.count, item),
        None => entry.kind.clone(),
    };
    let words = format!(
        "entry {}, term {}, {kind}, {progress}{}",
        entry.index,
        entry.term,
        if cell.is_snapshot { ", a snapshot covers the log up to here" } else { "" }
    );
    html! {
        a href={ "/ui/log/" (lane.replica) "/" (entry.index) } data-key={ (lane.replica) "-" (entry.index) }
            class={ "cell " (colour(entry.term)) " " (progress) (snapshot) (begins) " " (entry.kind) }
            tabindex=(if is_stop { "0" } else { "-1" }) aria-label=(words) title=(words) { }
    }
}

/// One entry, as a page of its own; the script takes the article out of it.
pub(in crate::ui) fn entry_page(replica: u64, index: u64, entry: Result<&LogEntry, &String>) -> Markup {
    let title = format!("Entry {index} of replica {replica}");
    let body = html! {
        main #main {
            article {
                h3 { (title) }
                @match entry {
                    Ok(entry) => { (decoded(entry)) }
                    Err(why) => { p { (why) } }
                }
            }
            p { a href="/ui" { "Back to the page" } }
        }
    };
    super::document(&title, "", &body)
}

fn decoded(entry: &LogEntry) -> Markup {
    let more = entry.items.len().saturating_sub(ITEMS_SHOWN);
    html! {
        p { "Term " (entry.term) ", " (entry.kind) ", " (counted(entry.items.len() as u64, "item")) "." }
        @if entry.items.is_empty() { p { "It carries nothing: a new leader commits such an entry to learn what is committed." } }
        @else {
            ol.items { @for item in entry.items.iter().take(ITEMS_SHOWN) { li { code { (item_text(item)) } } } }
        }
        @if more > 0 { p { "and " (grouped(more as u64)) " more" } }
    }
}

/// `key: …, name: …, side: …`: the fields of an item in a line.
fn item_text(item: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match item {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect::<Vec<_>>().join(", ")
        }
        other => text(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ui::fixtures;

    #[test]
    fn every_lane_has_one_stop_for_the_tab_key_and_says_each_entry_in_words() {
        let html = lanes(&fixtures::view()).into_string();
        assert_eq!(html.matches("tabindex=\"0\"").count(), 3);
        assert_eq!(html.matches("tabindex=\"-1\"").count(), 3 * 29);
        assert!(html.contains("aria-label=\"entry 40, term 7, 1 trade, applied\""), "{html}");
        assert!(html.contains("href=\"/ui/log/3/40\""));
    }

    #[test]
    fn an_entry_shows_its_first_items_and_how_many_more_there_are() {
        let items = (0..23).map(|number| json!({ "key": format!("k{number}"), "name": "<b>" })).collect();
        let entry = LogEntry { index: 5, term: 7, kind: "trades".into(), items };
        let html = entry_page(3, 5, Ok(&entry)).into_string();
        assert!(
            html.contains("key: k19, name: &lt;b&gt;") && !html.contains("k20") && html.contains("and 3 more"),
            "{html}"
        );
        let gone = entry_page(3, 5, Err(&"the replica cannot be asked: refused".to_owned())).into_string();
        assert!(gone.contains("cannot be asked"));
    }
}
