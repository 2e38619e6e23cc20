//! Charts below each other in one SVG file that needs nothing else. Pure.

use maud::{Markup, PreEscaped, html};

use super::{BOTTOM, Chart, HEIGHT, LEFT, RIGHT, WIDTH};

/// Room above each chart for its title and legend.
const HEAD: f64 = 34.0;
/// Where both stand in it.
const HEAD_LINE: f64 = 22.0;
/// Room for one name in the legend.
const NAME_WIDTH: f64 = 96.0;
/// Length of the line before a name.
const SAMPLE: f64 = 24.0;

/// Light first, since a renderer without `@media` (that of the PNG) skips the dark part. Plain colours, because it has
/// no variables either. The second line is dashed for those who cannot tell the colours apart.
const STYLE: &str = "
.page { fill: #ffffff }
text { fill: #4a545e; font-size: 12px }
.title { fill: #1d2329; font-size: 14px; font-weight: bold }
.left { text-anchor: end }
.below, .none { text-anchor: middle }
.grid line { stroke: #d9dee3 }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
.line-0 polyline { stroke: #1f6fb2 }
.line-0 circle { fill: #1f6fb2 }
.line-1 polyline { stroke: #c2571a; stroke-dasharray: 7 4 }
.line-1 circle { fill: #c2571a }
@media (prefers-color-scheme: dark) {
  .page { fill: #14181c }
  text { fill: #a9b3bd }
  .title { fill: #e4e8ec }
  .grid line { stroke: #343b42 }
  .line-0 polyline { stroke: #6cb2ec }
  .line-0 circle { fill: #6cb2ec }
  .line-1 polyline { stroke: #f09a5e }
  .line-1 circle { fill: #f09a5e }
}
";

/// The file: a title, and the charts below each other.
pub fn sheet(title: &str, charts: &[Chart]) -> String {
    let each = HEAD + HEIGHT;
    let height = each * charts.len() as f64 + BOTTOM / 4.0;
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height)
            role="img" aria-label=(title) font-family="system-ui, DejaVu Sans, sans-serif" {
            title { (title) }
            style { (PreEscaped(STYLE)) }
            rect class="page" width=(WIDTH) height=(height) {}
            @for (index, chart) in charts.iter().enumerate() {
                g transform=(format!("translate(0 {})", each * index as f64)) {
                    (head(chart))
                    g transform=(format!("translate(0 {HEAD})")) { (chart.plot()) }
                }
            }
        }
    };
    svg.into_string()
}

fn head(chart: &Chart) -> Markup {
    let legend = WIDTH - RIGHT - NAME_WIDTH * chart.lines.len() as f64;
    let (line_y, after_sample) = (HEAD_LINE - 4.0, SAMPLE + 6.0);
    html! {
        text class="title" x=(LEFT) y=(HEAD_LINE) { (chart.title) }
        @for (index, line) in chart.lines.iter().enumerate() {
            @let x = legend + NAME_WIDTH * index as f64;
            g class=(format!("line-{index}")) {
                polyline points=(format!("{x},{line_y} {},{line_y}", x + SAMPLE)) {}
                text x=(x + after_sample) y=(HEAD_LINE) { (line.name) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;
    use crate::chart::{Axis, Line};

    fn chart(title: &'static str) -> Chart {
        let lines = ["cache on", "cache off"].map(|name| Line { name, points: vec![(0.0, 1.0), (80.0, 2.0)] });
        Chart { title, x: Axis::linear("trades (%)", 80.0), y: Axis::linear("mean (ms)", 2.0), lines: lines.into() }
    }

    #[test]
    fn a_sheet_is_one_svg_with_every_chart_its_title_axes_and_legend() {
        let text = sheet("a < b", &[chart("above"), chart("below")]);
        let document = Document::parse(&text).unwrap();
        assert_eq!(document.root_element().tag_name().name(), "svg");
        assert_eq!(document.root_element().attribute("aria-label"), Some("a < b"));
        let count = |wanted: &str| document.descendants().filter(|node| node.text() == Some(wanted)).count();
        for (wanted, times) in [("above", 2), ("below", 2), ("cache off", 4), ("trades (%)", 4), ("mean (ms)", 4)] {
            // An element and the text in it both have the text.
            assert_eq!(count(wanted), times, "{wanted}");
        }
        // Two lines in each chart, and two in each legend.
        assert_eq!(document.descendants().filter(|node| node.has_tag_name("polyline")).count(), 8);
    }

    #[test]
    fn what_is_dark_comes_after_what_is_light() {
        let (light, dark) = STYLE.split_once("@media (prefers-color-scheme: dark)").unwrap();
        for selector in [".page", ".title", ".line-0 polyline", ".line-1 circle"] {
            assert!(light.contains(selector) && dark.contains(selector), "{selector}");
        }
    }
}
