//! The page as HTML. Each part is a function of a [`View`](super::model::View); the frame around them never changes.

mod charts;
mod cluster;
mod log;
mod tables;
mod timeline;
mod words;

use std::{collections::BTreeMap, sync::Arc};

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(super) use self::log::entry_page;
use super::{hub::MessageId, model::View};

/// The parts of the page, by name. Those after the first two have a section of their own.
pub(super) fn parts(view: &View) -> Vec<(&'static str, String)> {
    let parts = [
        ("state", cluster::state(view)),
        ("now", cluster::now(view)),
        ("topology", cluster::topology(view)),
        ("log", log::lanes(view)),
        ("replicas", tables::replicas(view)),
        ("failovers", timeline::failovers(view)),
        ("traffic", charts::traffic(view)),
        ("consistency", tables::consistency(view)),
    ];
    parts.map(|(name, markup)| (name, markup.into_string())).into()
}

const SECTIONS: [(&str, &str); 6] = [
    ("topology", "Who talks to whom"),
    ("failovers", "Failovers"),
    ("log", "Log"),
    ("replicas", "Replicas"),
    ("traffic", "Traffic of this frontend"),
    ("consistency", "Consistency"),
];

/// The whole page, with the parts as they were last drawn.
pub(super) fn page(parts: &BTreeMap<&'static str, Arc<str>>, newest: MessageId, is_playground: bool) -> Markup {
    let part = |name: &str| PreEscaped(parts.get(name).map_or("", |html| &**html));
    let body = html! {
        header {
            h1 { "Stock bazaar" }
            div #part-now { (part("now")) }
        }
        div #disconnected role="alert" hidden { }
        div #part-state { (part("state")) }
        div #announcements .visually-hidden role="log" aria-live="polite" { }
        main #main {
            @for (name, title) in SECTIONS {
                section id=(name) aria-labelledby={ (name) "-title" } {
                    h2 id={ (name) "-title" } { (title) }
                    div id={ "part-" (name) } { (part(name)) }
                    @if name == "log" { div #entry aria-live="polite" { } }
                }
            }
            (trade_form())
            @if is_playground { (playground()) }
        }
        footer { p { a href="/docs" { "API" } " · " a href="/leader" { "leader" } " · " a href="/readyz" { "readiness" } } }
    };
    document("Stock bazaar", &newest.to_string(), &body)
}

/// The frame of every page here.
fn document(title: &str, newest: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-newest=(newest) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/ui/page.css";
                script src="/ui/page.js" type="module" { }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
            }
        }
    }
}

/// Needs scripts, which show it.
fn trade_form() -> Markup {
    html! {
        section #trade aria-labelledby="trade-title" hidden {
            h2 #trade-title { "Try a trade" }
            p { "One trade is one entry in the log. Watch it arrive above." }
            div.controls {
                label for="stock" { "Stock" }
                select #stock { }
                button type="button" data-trade="buy" { "Buy 1" }
                button type="button" data-trade="sell" { "Sell 1" }
                button #trade-again type="button" hidden { "Send it again" }
            }
            p #trade-answer role="status" { }
        }
    }
}

fn playground() -> Markup {
    html! {
        section #playground aria-labelledby="playground-title" {
            h2 #playground-title { "Playground" }
            p #playground-hint { "Open the address that scripts/cluster printed: it holds the token." }
            div.controls {
                label for="victim" { "Process" }
                select #victim {
                    @for name in ["leader", "1", "2", "3", "catalog", "frontend"] {
                        option value=(name) { @if name.len() == 1 { "replica " } (name) }
                    }
                }
                @for (verb, title) in [("kill", "Kill"), ("pause", "Pause"), ("resume", "Resume"), ("restart", "Restart")] {
                    button type="button" data-verb=(verb) disabled { (title) }
                }
            }
            p #playground-answer role="status" { }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{fixtures, hub::Hub};

    fn drawn(view: &View) -> String {
        let hub = Hub::new(1);
        hub.publish(parts(view), vec![]);
        page(&hub.parts(), hub.newest(), true).into_string()
    }

    #[test]
    fn the_page_is_complete_without_scripts_and_holds_none() {
        let page = drawn(&fixtures::view());
        for (name, title) in SECTIONS {
            assert!(page.contains(&format!("<section id=\"{name}\"")) && page.contains(title), "{name}");
        }
        assert!(page.contains("Healthy: replica 3 leads term 7 for 3 m 12 s; can lose 1 more replica"));
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"));
        assert_eq!(page.matches("<script").count(), 1);
    }

    #[test]
    fn what_processes_say_cannot_become_markup() {
        let mut view = fixtures::view();
        view.replicas[0].health = Err("<img src=x>".into());
        view.catalog = Err("<b>".into());
        view.events[0].1.what = "<script>alert(1)</script>".into();
        let page = drawn(&view);
        assert!(!page.contains("<img") && !page.contains("<b>") && !page.contains("<script>alert"));
    }
}
