//! A report as one HTML page that needs nothing else: style and charts are in it, and it has no scripts. Pure.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    chart::{Axis, Chart, Line, nines, number},
    latency::ms,
};

use super::{report::BenchReport, series::Point};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2329; --dim: #5c6670; --rule: #d9dee3; --page: #fff;
        --line-0: #1f6fb2; --line-1: #c2571a; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --dim: #98a3ad; --rule: #343b42; --page: #14181c;
          --line-0: #6cb2ec; --line-1: #f09a5e; --bad: #ff8a80; }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--page); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: .25rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
.dim { color: var(--dim); }
.bad { color: var(--bad); font-weight: 600; }
.tables { display: flex; flex-wrap: wrap; gap: 0 3rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--rule); text-align: left; font-weight: 400; }
th { color: var(--dim); }
td { font-variant-numeric: tabular-nums; }
figure { margin: 2rem 0; }
figcaption { font-weight: 600; }
.key { margin-left: 1rem; font-weight: 400; color: var(--colour); }
.key::before { content: '\\2014\\00a0'; }
.line-0 { --colour: var(--line-0); }
.line-1 { --colour: var(--line-1); }
svg { width: 100%; height: auto; font-size: 12px; }
polyline { fill: none; stroke: var(--colour); stroke-width: 1.8; stroke-linejoin: round; }
circle { fill: var(--colour); }
.grid line { stroke: var(--rule); }
svg text { fill: var(--dim); }
text.left { text-anchor: end; }
text.below, text.none { text-anchor: middle; }
";

/// The page.
pub fn page(report: &BenchReport) -> String {
    let title = format!("bazaar bench: {}, {} connections", report.kind_text(), report.connections);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p class="dim" { (report.url) }
                @for (index, line) in report.load_text().iter().enumerate() {
                    p class=[(index > 0).then_some("bad")] { (line) }
                }
                div class="tables" {
                    (rows("Figures", &figures(report)))
                    (rows("Parameters", &parameters(report)))
                    (rows("Errors", &errors(report)))
                }
                (rate_chart(report).render())
                (latency_chart(report).render())
                (percentile_chart(report).render())
            }
        }
    };
    page.into_string()
}

type Row = (String, String);

fn rows(title: &str, rows: &[Row]) -> Markup {
    html! {
        section {
            h2 { (title) }
            table {
                @for (name, value) in rows {
                    tr { th scope="row" { (name) } td { (value) } }
                }
            }
        }
    }
}

fn row(name: &str, value: impl ToString) -> Row {
    (name.to_owned(), value.to_string())
}

fn figures(report: &BenchReport) -> Vec<Row> {
    let latency = report.latency;
    let quantiles = [
        ("p50", latency.p50_ms),
        ("p90", latency.p90_ms),
        ("p99", latency.p99_ms),
        ("p99.9", latency.p999_ms),
        ("slowest", latency.max_ms),
    ];
    let mut rows = vec![
        row("operations", number(report.operations as f64, 0)),
        row("operations a second", number(report.rate_per_s, 0)),
        row("answered requests", number(report.requests as f64, 0)),
        row("answered requests a second", number(report.requests_per_s, 0)),
    ];
    rows.extend(report.unanswered.map(|count| row("not answered in time", number(count as f64, 0))));
    rows.extend(quantiles.map(|(name, value)| row(name, format!("{} ms", ms(value)))));
    rows.push(row("CPU of the client a request", format!("{:.1} us", report.client_cpu_us_per_request)));
    rows
}

fn parameters(report: &BenchReport) -> Vec<Row> {
    let wanted = report.wanted_requests_per_s;
    let load = wanted.map_or("closed".into(), |rate| format!("open, {} requests/s", number(rate as f64, 0)));
    vec![
        row("kind", report.kind_text()),
        row("loop", load),
        row("connections", report.connections),
        row("duration", format!("{} s", report.duration_s)),
        row("warm-up", format!("{} s", report.warm_up_s)),
        row("threads of the client", report.threads),
        row("version of the client", env!("CARGO_PKG_VERSION")),
    ]
}

fn errors(report: &BenchReport) -> Vec<Row> {
    let kinds = report.errors.iter().map(|(kind, count)| row(kind, number(*count as f64, 0)));
    std::iter::once(row("all", number(report.errors_total() as f64, 0))).chain(kinds).collect()
}

fn over_time(report: &BenchReport, name: &'static str, value: impl Fn(&Point) -> f64) -> Line {
    Line { name, points: report.series.iter().map(|point| (point.second as f64, value(point))).collect() }
}

fn time_chart(report: &BenchReport, title: &'static str, label: &'static str, lines: Vec<Line>) -> Chart {
    let x = Axis::linear("seconds", report.duration_s as f64);
    Chart { title, x, y: Axis::linear(label, Chart::highest(&lines)), lines }
}

fn rate_chart(report: &BenchReport) -> Chart {
    let lines = vec![
        over_time(report, "operations/s", |point| point.rate_per_s),
        over_time(report, "errors", |point| point.errors as f64),
    ];
    time_chart(report, "Rate", "a second", lines)
}

fn latency_chart(report: &BenchReport) -> Chart {
    let lines = vec![over_time(report, "p50", |point| point.p50_ms), over_time(report, "p99", |point| point.p99_ms)];
    time_chart(report, "Latency", "ms", lines)
}

fn percentile_chart(report: &BenchReport) -> Chart {
    let points = report.percentiles.iter().map(|point| (nines(point.percentile), point.ms));
    let lines = vec![Line { name: "latency", points: points.collect() }];
    let last = report.percentiles.last().map_or(0.0, |point| point.percentile);
    let y = Axis::linear("ms", Chart::highest(&lines));
    Chart { title: "Latency by percentile", x: Axis::nines("percentile", last), y, lines }
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;
    use crate::bench::report::tests::report;

    /// The body is XML too; the head, with its void elements, is not.
    fn body(page: &str) -> &str {
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
        let (from, to) = (page.find("<body>").unwrap(), page.find("</body>").unwrap());
        &page[from..to + "</body>".len()]
    }

    fn texts(body: &str) -> Vec<String> {
        let document = Document::parse(body).unwrap();
        document.descendants().filter(|node| node.is_text()).map(|node| node.text().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_page_is_well_formed_and_has_the_figures_and_three_charts() {
        let page = page(&report(&["--kind", "batch", "--batch-size", "7", "--rate", "5000"], 2_000));
        let texts = texts(body(&page));
        for wanted in ["batch of 7", "4,000", "open, 5,000 requests/s", "not answered in time", "6,000", "1980.41 ms"] {
            assert!(texts.iter().any(|text| text == wanted), "{wanted} is not in {texts:?}");
        }
        assert!(texts.iter().any(|text| text.starts_with("THE WANTED RATE WAS NOT REACHED")), "{texts:?}");
        let document = Document::parse(body(&page)).unwrap();
        assert_eq!(document.descendants().filter(|node| node.has_tag_name("svg")).count(), 3);
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("), "{page}");
    }

    #[test]
    fn words_from_outside_stay_words() {
        let mut report = report(&[], 5);
        report.url = "http://x/?a=<script>alert(1)</script>&b=\"".into();
        report.errors.insert("</td><b>status 500".into(), 3);
        let page = page(&report);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        let texts = texts(body(&page));
        assert!(texts.contains(&report.url) && texts.contains(&"</td><b>status 500".to_owned()), "{texts:?}");
    }

    #[test]
    fn a_run_without_answers_is_a_page_without_lines() {
        let mut report = report(&[], 0);
        let with_seconds = page(&report);
        texts(body(&with_seconds));
        report.series.clear();
        let texts = texts(body(&page(&report)));
        assert_eq!(texts.iter().filter(|text| *text == "nothing was answered").count(), 3);
        assert!(!with_seconds.contains("NaN") && !with_seconds.contains("inf,"), "{with_seconds}");
    }
}
