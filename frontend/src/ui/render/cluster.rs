//! The sentence about the cluster, and the picture of who talks to whom.

use bazaar_domain::condition::State;
use maud::{Markup, html};

use super::words::{clock, millis};
use crate::ui::model::{ReplicaLook, View};

/// Where things are in the picture, in its own units.
const WIDTH: u32 = 480;
const HEIGHT: u32 = 350;
const TOP_Y: u32 = 55;
const REPLICA_Y: u32 = 255;
const CLIENT_X: u32 = 60;
const FRONTEND_X: u32 = 220;
const CATALOG_X: u32 = 410;

/// What state a cluster is in, as a class of the style.
fn class(state: State) -> &'static str {
    match state {
        State::Healthy => "healthy",
        State::Degraded => "degraded",
        State::Unavailable => "unavailable",
        State::Unknown => "unknown",
    }
}

/// The banner. What is read aloud is the sentence that changes only when something happens.
pub(super) fn state(view: &View) -> Markup {
    html! {
        div #banner class={ "banner " (class(view.condition.state)) } {
            p.sentence aria-hidden="true" { (view.condition.sentence) }
            p.visually-hidden role="status" aria-live="polite" { (view.steady.sentence) }
        }
    }
}

/// As of when the page is.
pub(super) fn now(view: &View) -> Markup {
    let time = clock(view.at_unix_ms);
    html! { p.now { "as of " time { (&time[..8]) } " UTC" } }
}

/// The picture, with its content in words beside it.
pub(super) fn topology(view: &View) -> Markup {
    let spots = spots(view);
    html! {
        svg.topology viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby="topology-text" {
            title #topology-text { (in_words(view)) }
            defs {
                marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" orient="auto" {
                    path d="M0 0 L8 4 L0 8 z" { }
                }
            }
            (lines(view, &spots))
            (node(CLIENT_X, "client", "clients", "", "box"))
            (node(FRONTEND_X, "frontend", "frontend", if view.frontend.is_none() { "ready" } else { "not ready" },
                if view.frontend.is_none() { "box up" } else { "box down" }))
            (node(CATALOG_X, "catalog", "catalog", &catalog_text(view), if view.catalog.is_ok() { "box up" } else { "box down" }))
            @for (look, x) in &spots { (replica(look, *x)) }
        }
        ul.legend {
            li { span.key.leader { } "leader" }
            li { span.key.follower { } "follower" }
            li { span.key.candidate { } "candidate, learner" }
            li { span.key.gone { } "unreachable" }
            li { span.key.route { } "where trades go" }
        }
    }
}

fn catalog_text(view: &View) -> String {
    view.catalog.as_ref().map_or_else(|_| "not ready".into(), |took| millis(*took))
}

/// The replicas, spread over the width.
fn spots(view: &View) -> Vec<(&ReplicaLook, u32)> {
    let count = u32::try_from(view.replicas.len()).unwrap_or(1).max(1);
    (0..).zip(&view.replicas).map(|(place, look)| (look, WIDTH * (2 * place + 1) / (2 * count))).collect()
}

fn lines(view: &View, spots: &[(&ReplicaLook, u32)]) -> Markup {
    let leader = view.leader().map(|leader| leader.id);
    let leader_x = spots.iter().find(|(look, _)| Some(look.id) == leader).map(|(_, x)| *x);
    html! {
        (line("edge live", (CLIENT_X + 40, TOP_Y), (FRONTEND_X - 44, TOP_Y)))
        (line(if view.catalog.is_ok() { "edge live" } else { "edge broken" }, (FRONTEND_X + 44, TOP_Y), (CATALOG_X - 42, TOP_Y)))
        @for (look, x) in spots {
            @let is_route = view.route == Some(look.id);
            @let kind = match (look.is_reachable(), is_route) { (false, _) => "edge broken", (_, true) => "edge route", _ => "edge asked" };
            (line(kind, (FRONTEND_X, TOP_Y + 26), (*x, REPLICA_Y - 49)))
        }
        @if let Some(leader_x) = leader_x {
            (line("edge publish", (leader_x + 16, REPLICA_Y - 46), (CATALOG_X + 4, TOP_Y + 26)))
            @for (look, x) in spots.iter().filter(|(look, _)| Some(look.id) != leader) {
                path class=(if look.is_reachable() { "edge copies" } else { "edge broken" }) fill="none"
                    d={ "M" (leader_x) " " (REPLICA_Y + 46) " Q" ((leader_x + x) / 2) " " (HEIGHT + 20) " " (x) " " (REPLICA_Y + 49) }
                    marker-end="url(#arrow)" { }
            }
        }
    }
}

fn line(class: &str, from: (u32, u32), to: (u32, u32)) -> Markup {
    html! { line class=(class) x1=(from.0) y1=(from.1) x2=(to.0) y2=(to.1) marker-end="url(#arrow)" { } }
}

fn node(x: u32, id: &str, name: &str, note: &str, class: &str) -> Markup {
    html! {
        g #{ "node-" (id) } class={ "node " (class) } {
            rect x=(x - 42) y=(TOP_Y - 25) width="84" height="50" rx="8" { }
            text x=(x) y=(TOP_Y - if note.is_empty() { 0 } else { 3 } + 4) { (name) }
            text.note x=(x) y=(TOP_Y + 17) { (note) }
        }
    }
}

/// A leader is a hexagon, a follower a circle, a candidate or learner a diamond, one that is gone a crossed-out circle.
fn replica(look: &ReplicaLook, x: u32) -> Markup {
    let role = look.role();
    let shape = if !look.is_reachable() {
        "gone"
    } else if role == "leader" {
        "leader"
    } else if role == "follower" {
        "follower"
    } else {
        "candidate"
    };
    let note = if look.is_reachable() { millis(look.round_trip) } else { String::new() };
    html! {
        g #{ "node-replica-" (look.id) } class={ "node replica " (shape) } data-role=(role) {
            @match shape {
                "leader" => { (polygon(x, &[(-54, 0), (-34, -46), (34, -46), (54, 0), (34, 46), (-34, 46)])) }
                "candidate" => { (polygon(x, &[(-66, 0), (0, -52), (66, 0), (0, 52)])) }
                _ => { circle cx=(x) cy=(REPLICA_Y) r="46" { } }
            }
            @if shape == "gone" {
                line x1=(x - 28) y1=(REPLICA_Y + 28) x2=(x + 28) y2=(REPLICA_Y - 28) { }
            }
            text.name x=(x) y=(REPLICA_Y - 14) { "replica " (look.id) }
            text x=(x) y=(REPLICA_Y + 3) { @if shape == "gone" { "gone" } @else { (role) } }
            text.note x=(x) y=(REPLICA_Y + 18) { @if let Some(term) = look.term() { "term " (term) } }
            text.note x=(x) y=(REPLICA_Y + 32) { (note) }
        }
    }
}

fn polygon(x: u32, corners: &[(i32, i32)]) -> Markup {
    let corner = |(right, down): &(i32, i32)| format!("{},{}", x.cast_signed() + right, REPLICA_Y.cast_signed() + down);
    html! { polygon points=(corners.iter().map(corner).collect::<Vec<_>>().join(" ")) { } }
}

fn in_words(view: &View) -> String {
    let route = match view.route {
        Some(id) => format!("The frontend sends trades to replica {id}."),
        None => "The frontend has no leader to send trades to.".into(),
    };
    let replicas = view.replicas.iter().map(|look| match look.term() {
        Some(term) => format!(" Replica {}: {}, term {term}, {} away.", look.id, look.role(), millis(look.round_trip)),
        None => format!(" Replica {}: unreachable.", look.id),
    });
    let catalog = match &view.catalog {
        Ok(took) => format!(" Catalog: ready, {} away.", millis(*took)),
        Err(why) => format!(" Catalog: not ready, {why}."),
    };
    route + &replicas.collect::<String>() + &catalog
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixtures;

    #[test]
    fn the_picture_shows_roles_by_shape_and_the_way_of_trades() {
        let mut view = fixtures::view();
        view.replicas[0].health = Err("refused".into());
        let picture = topology(&view).into_string();
        assert!(picture.contains("id=\"node-replica-3\" class=\"node replica leader\""), "{picture}");
        assert!(picture.contains("id=\"node-replica-1\" class=\"node replica gone\""));
        assert_eq!(picture.matches("class=\"edge route\"").count(), 1);
        assert!(picture.contains("Replica 1: unreachable."));
    }

    #[test]
    fn what_is_read_aloud_does_not_change_with_time() {
        let banner = state(&fixtures::view()).into_string();
        assert!(banner.contains("class=\"banner healthy\""));
        let aloud = banner.split("role=\"status\"").nth(1).unwrap();
        assert!(!aloud.contains("3 m 12 s") && aloud.contains("leads term 7;"));
    }
}
