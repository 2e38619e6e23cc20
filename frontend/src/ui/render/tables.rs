//! The table of replicas, and what their digests prove.

use maud::{Markup, html};

use super::words::{bytes, grouped, or_dash};
use crate::ui::model::{ReplicaLook, View};

/// Digits of a digest that are shown; enough to see that two are equal.
const DIGEST_CHARS_SHOWN: usize = 16;

/// The table.
pub(super) fn replicas(view: &View) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Table of replicas" {
            table {
                caption { "Role and positions of each replica. Lag is what it lacks of the leader's log." }
                thead { tr {
                    @for title in ["Replica", "Role", "Term", "Last", "Committed", "Applied", "Lag", "Lag, ms", "Quorum ack age", "Disk, log + state"] {
                        th scope="col" { (title) }
                    }
                } }
                tbody { @for look in &view.replicas { (row(look)) } }
            }
        }
    }
}

fn row(look: &ReplicaLook) -> Markup {
    let disk = look
        .inside
        .as_ref()
        .map(|inside| format!("{} + {}", bytes(inside.disk.log_bytes), bytes(inside.disk.state_bytes)));
    html! {
        tr data-replica=(look.id) class=(look.role()) {
            th scope="row" { (look.id) }
            @match &look.health {
                Err(why) => { td.bad { "unreachable" } td colspan="8" { (why) } }
                Ok(health) => {
                    td { (look.role()) @if !health.ready { " (not ready)" } }
                    td { (health.term) }
                    td { (or_dash(health.last_log_index)) }
                    td { (or_dash(health.committed)) }
                    td { (or_dash(health.applied)) }
                    td { (or_dash(look.lag.0)) }
                    td { (or_dash(look.lag.1)) }
                    td { @match health.quorum_ack_age_ms { Some(age) => { (age) " ms" } None => { "–" } } }
                    td { (or_dash(disk)) }
                }
            }
        }
    }
}

/// The digests of all replicas over the same orders.
pub(super) fn consistency(view: &View) -> Markup {
    html! {
        p { (verdict(view)) }
        div.scroll tabindex="0" role="region" aria-label="Table of digests" {
            table {
                caption { "Digest of the orders 1 to " (grouped(view.digest_number)) " on each replica" }
                thead { tr { th scope="col" { "Replica" } th scope="col" { "Orders held" } th scope="col" { "Digest" } } }
                tbody {
                    @for look in &view.replicas {
                        tr {
                            th scope="row" { (look.id) }
                            td { (or_dash(look.health.as_ref().ok().map(|health| grouped(health.orders)))) }
                            td { code { (or_dash(look.digest.as_ref().map(|digest| digest.chars().take(DIGEST_CHARS_SHOWN).collect::<String>()))) } }
                        }
                    }
                }
            }
        }
    }
}

fn verdict(view: &View) -> String {
    let digests: Vec<&String> = view.replicas.iter().filter_map(|look| look.digest.as_ref()).collect();
    let orders = format!("orders 1 to {}", grouped(view.digest_number));
    match digests.as_slice() {
        [] => "No replica shows its digest now.".into(),
        [_] => format!("One replica shows its digest of the {orders}; there is none to compare it with."),
        [first, rest @ ..] if rest.iter().all(|digest| digest == first) => {
            format!(
                "{} of {} replicas show the same digest: they hold the same {orders}.",
                digests.len(),
                view.replicas.len()
            )
        }
        _ => format!(
            "The replicas show different digests of the {orders}: they do not hold the same. See docs/operations.md."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixtures;

    #[test]
    fn a_replica_that_is_gone_keeps_its_row_and_says_why() {
        let mut view = fixtures::view();
        view.replicas[1].health = Err("refused".into());
        let html = replicas(&view).into_string();
        assert!(html.contains("<tr data-replica=\"2\" class=\"unreachable\">"), "{html}");
        assert!(html.contains("refused") && html.contains("<tr data-replica=\"3\" class=\"leader\">"));
    }

    #[test]
    fn the_verdict_says_how_many_agree_and_never_more_than_is_known() {
        let mut view = fixtures::view();
        assert_eq!(verdict(&view), "3 of 3 replicas show the same digest: they hold the same orders 1 to 38.");
        view.replicas[0].digest = None;
        assert!(verdict(&view).starts_with("2 of 3 replicas"));
        view.replicas[1].digest = Some("other".into());
        assert!(verdict(&view).starts_with("The replicas show different digests"));
        view.replicas[1].digest = None;
        assert!(verdict(&view).starts_with("One replica"));
    }
}
