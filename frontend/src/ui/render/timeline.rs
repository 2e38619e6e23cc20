//! The changes of leader, step by step, and what the replicas wrote down.

use bazaar_domain::{condition::counted, gap::Gap};
use maud::{Markup, html};

use super::words::{clock, ms};
use crate::ui::{
    history::{Failover, Lost, Seen},
    model::View,
};

/// The failovers and the events.
pub(super) fn failovers(view: &View) -> Markup {
    html! {
        @if view.failovers.is_empty() { p { "No replica remembers an election." } }
        @for (number, failover) in view.failovers.iter().enumerate() { (one(failover, number == 0)) }
        @if !view.events.is_empty() {
            details data-key="events" {
                summary { "What the replicas wrote down" }
                ol.events reversed {
                    @for (id, event) in &view.events {
                        li { time { (clock(event.unix_ms as f64)) } " replica " (id) ", term " (event.term) ": " (event.what) }
                    }
                }
            }
        }
    }
}

fn one(failover: &Failover, is_newest: bool) -> Markup {
    html! {
        details.failover data-key={ "term-" (failover.term) } open[is_newest] {
            summary {
                "Term " (failover.term) ": replica " (failover.leader) " was elected at " time { (clock(failover.elected)) }
                @if let Some(gap) = failover.gap { ", write gap " strong { (ms(gap.total_ms)) } }
            }
            @if let Some(cause) = &failover.cause { p { "Cause: " (cause) "." } }
            ol.steps {
                @for (what, at) in steps(failover) { li { time { (clock(at)) } " " (what) } }
            }
            @if let Some(gap) = &failover.gap { (parts(gap)) }
            @if let Some(seen) = &failover.seen { (counts(seen)) }
            @else { p { "This frontend did not see it: it was not running, or trades did not go to the old leader." } }
            p { (lost(&failover.lost)) }
        }
    }
}

/// What happened, in the order of time, as far as it was noted.
fn steps(failover: &Failover) -> Vec<(String, f64)> {
    let seen = failover.seen;
    let lost = seen.map_or(0, |seen| seen.lost);
    let all = [
        (seen.and_then(|seen| seen.last_answer), format!("last acknowledgement by replica {lost}")),
        (seen.map(|seen| seen.noticed), format!("this frontend gave replica {lost} up")),
        (failover.suspected, "a replica suspected the leader".into()),
        (failover.voted, format!("replica {} stood for election", failover.leader)),
        (Some(failover.elected), format!("replica {} was elected", failover.leader)),
        (failover.first_commit, format!("first commit of term {}", failover.term)),
        (seen.and_then(|seen| seen.found), "this frontend found the new leader".into()),
        (seen.and_then(|seen| seen.first_answer), "first acknowledgement by the new leader".into()),
    ];
    let mut steps: Vec<(String, f64)> = all.into_iter().filter_map(|(at, what)| Some((what, at?))).collect();
    steps.sort_by(|one, other| one.1.total_cmp(&other.1));
    steps
}

/// The gap as a bar and in words.
fn parts(gap: &Gap) -> Markup {
    let parts = [
        ("detect", gap.detect_ms),
        ("elect", gap.elect_ms),
        ("first commit", gap.first_commit_ms),
        ("re-route", gap.re_route_ms),
    ];
    let known: Vec<(&str, f64)> = parts.into_iter().filter_map(|(name, ms)| Some((name, ms?))).collect();
    let words = known.iter().map(|(name, part)| format!("{name} {}", ms(*part))).collect::<Vec<_>>().join(" + ");
    let sum: f64 = known.iter().map(|(_, part)| part).sum();
    let mut x = 0.0;
    let bars: Vec<(usize, f64, f64)> = known
        .iter()
        .enumerate()
        .map(|(number, (_, part))| {
            let width = if sum > 0.0 { 100.0 * part / sum } else { 0.0 };
            x += width;
            (number, x - width, width)
        })
        .collect();
    html! {
        svg.gap viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label={ "Parts of the gap: " (words) } {
            @for (number, x, width) in bars {
                rect class={ "part" (number) } x=(format!("{x:.2}")) y="0" width=(format!("{width:.2}")) height="4" { }
            }
        }
        p { "Write gap " (ms(gap.total_ms)) @if !words.is_empty() { " = " (words) } }
    }
}

fn counts(seen: &Seen) -> Markup {
    let texts = [
        counted(seen.resent, "trade") + " sent again",
        counted(seen.replayed, "duplicate") + " suppressed",
        counted(seen.expired, "trade") + " answered with an error at the deadline",
    ];
    html! {
        p { (texts.join(", ")) "." @if seen.gap.is_none() { " No trade waited meanwhile, so there is no gap to measure." } }
    }
}

fn lost(lost: &Lost) -> String {
    match lost {
        Lost::Known { orders, newest, digest_number, replicas } => format!(
            "Orders lost: {orders}. Order {newest} was the newest acknowledged before; {} have the same digest at order {digest_number}.",
            counted(*replicas as u64, "replica"),
        ),
        Lost::Unknown(why) => format!("Orders lost: not determined ({why})."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixtures;

    fn failover() -> Failover {
        Failover {
            term: 8,
            leader: 2,
            cause: None,
            suspected: Some(1_035.0),
            voted: None,
            elected: 1_040.0,
            first_commit: Some(1_048.0),
            seen: None,
            gap: None,
            lost: Lost::Unknown("this frontend did not see it"),
        }
    }

    #[test]
    fn steps_are_in_the_order_of_time_and_none_is_made_up() {
        let names: Vec<String> = steps(&failover()).into_iter().map(|(what, _)| what).collect();
        assert_eq!(names, ["a replica suspected the leader", "replica 2 was elected", "first commit of term 8"]);
    }

    #[test]
    fn what_was_not_seen_has_no_number() {
        let view = View { failovers: vec![failover()], ..fixtures::view() };
        let html = failovers(&view).into_string();
        assert!(
            html.contains("not determined") && !html.contains("Write gap") && !html.contains("suppressed"),
            "{html}"
        );
    }

    #[test]
    fn the_gap_is_the_sum_of_its_parts() {
        let gap = Gap {
            total_ms: 24.0,
            detect_ms: Some(6.0),
            elect_ms: Some(5.0),
            first_commit_ms: Some(8.0),
            re_route_ms: Some(5.0),
        };
        let html = parts(&gap).into_string();
        assert!(
            html.contains("Write gap 24 ms = detect 6.0 ms + elect 5.0 ms + first commit 8.0 ms + re-route 5.0 ms"),
            "{html}"
        );
        assert!(html.contains("x=\"25.00\" y=\"0\" width=\"20.83\""), "{html}");
    }
}
