//! The traffic of this frontend, as lines and as numbers.

use maud::{Markup, html};

use super::words::{grouped, ms, or_dash, rate};
use crate::ui::{
    model::View,
    traffic::{Pace, SAMPLES_MAX},
};

/// The chart's height in its own units; its width is one unit for each look.
const CHART_HEIGHT: f64 = 40.0;

/// The part about traffic.
pub(super) fn traffic(view: &View) -> Markup {
    let traffic = &view.traffic;
    let [trades, lookups]: [Vec<f64>; 2] = [
        traffic.samples.iter().map(|sample| sample.0).collect(),
        traffic.samples.iter().map(|sample| sample.1).collect(),
    ];
    html! {
        div.charts {
            (chart("Trades a second", &trades))
            (chart("Lookups a second", &lookups))
        }
        div.scroll tabindex="0" role="region" aria-label="Table of requests" {
            table {
                caption { "Requests since the last look; percentiles are read from the histogram's buckets" }
                thead { tr { @for title in ["Request", "A second", "p50", "p99"] { th scope="col" { (title) } } } }
                tbody { (pace("trades", &traffic.trades)) (pace("lookups", &traffic.lookups)) }
            }
        }
        dl.counts {
            @let [hits, misses, bypasses] = traffic.cache;
            @for (name, count) in [("cache hits", hits), ("cache misses", misses), ("past the cache", bypasses), ("invalidations", traffic.invalidations)] {
                div { dt { (name) } dd { (grouped(count)) } }
            }
        }
        h3 { "Errors answered since the start, by kind" }
        @if traffic.errors.is_empty() { p { "None." } }
        @else {
            dl.counts { @for (kind, count) in &traffic.errors { div { dt { code { (kind) } } dd { (grouped(*count)) } } } }
        }
    }
}

fn pace(name: &str, pace: &Pace) -> Markup {
    html! {
        tr {
            th scope="row" { (name) }
            td { (rate(pace.per_second)) }
            td { (or_dash(pace.p50_ms.map(ms))) }
            td { (or_dash(pace.p99_ms.map(ms))) }
        }
    }
}

fn chart(title: &str, values: &[f64]) -> Markup {
    let highest = values.iter().copied().fold(0.0, f64::max);
    let newest = values.last().copied().unwrap_or(0.0);
    html! {
        figure {
            figcaption { (title) ": " strong { (rate(newest)) } ", at most " (rate(highest)) }
            svg.chart viewBox={ "0 0 " (SAMPLES_MAX) " " (CHART_HEIGHT) } preserveAspectRatio="none" role="img"
                aria-label={ (title) " at the last " (values.len()) " looks: now " (rate(newest)) ", at most " (rate(highest)) } {
                polyline fill="none" points=(points(values, highest)) { }
            }
        }
    }
}

/// The newest value is at the right edge.
fn points(values: &[f64], highest: f64) -> String {
    let scale = if highest > 0.0 { (CHART_HEIGHT - 2.0) / highest } else { 0.0 };
    let first_x = SAMPLES_MAX - values.len().min(SAMPLES_MAX);
    let point =
        |(number, value): (usize, &f64)| format!("{},{:.1}", first_x + number, CHART_HEIGHT - 1.0 - value * scale);
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_touches_the_top_and_the_newest_the_right_edge() {
        assert_eq!(points(&[0.0, 50.0, 100.0], 100.0), "117,39.0 118,20.0 119,1.0");
        assert_eq!(points(&[], 0.0), "");
        assert_eq!(points(&[0.0], 0.0), "119,39.0");
    }
}
