//! Line charts as SVG: inside a page that brings the style, or as a file of their own ([`sheet`]). Pure.

pub mod png;
pub mod sheet;

use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// About so many labels on an axis.
const TICKS: f64 = 5.0;
/// Up to so many points a line marks each one, with its figures for the pointer.
const MARKED_POINTS_MAX: usize = 120;

/// An axis from the first of its ticks to the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    label: &'static str,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to a round number that is at least `max`.
    pub fn linear(label: &'static str, max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = round_step(max / TICKS);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let ticks = (0..=(max / step - 1e-9).ceil() as u32).map(|turn| f64::from(turn) * step);
        Self { label, ticks: ticks.map(|at| (at, number(at, decimals))).collect() }
    }

    /// Percentiles, with the same length for each nine: 0 %, 90 %, 99 %, to at least `max` (below 100).
    pub fn nines(label: &'static str, max: f64) -> Self {
        let count = nines(max).ceil().max(1.0) as u32;
        let text = |nine: u32| match nine {
            0 => "0 %".to_owned(),
            nine => format!("{:.*} %", nine.saturating_sub(2) as usize, 100.0 - 10_f64.powi(2 - nine as i32)),
        };
        Self { label, ticks: (0..=count).map(|nine| (f64::from(nine), text(nine))).collect() }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let (first, last) = (self.ticks[0].0, self.ticks[self.ticks.len() - 1].0);
        ((value - first) / (last - first)).clamp(0.0, 1.0)
    }
}

/// Where a percentile lies on an axis of nines: 90 is at 1, 99 at 2.
pub fn nines(percentile: f64) -> f64 {
    2.0 - (100.0 - percentile).max(1e-9).log10()
}

/// A line with its name and its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name, for the legend.
    pub name: &'static str,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// The axis below.
    pub x: Axis,
    /// The axis on the left.
    pub y: Axis,
    /// The lines; there are two colours for them.
    pub lines: Vec<Line>,
}

impl Chart {
    /// The chart with its title and legend.
    pub fn render(&self) -> Markup {
        html! {
            figure {
                figcaption {
                    (self.title)
                    @for (index, line) in self.lines.iter().enumerate() {
                        span class=(format!("key line-{index}")) { (line.name) }
                    }
                }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) { (self.plot()) }
            }
        }
    }

    /// Axes and lines, without title and legend.
    fn plot(&self) -> Markup {
        html! {
            (self.grid())
            @for (index, line) in self.lines.iter().enumerate() {
                g class=(format!("line-{index}")) { (self.line(line)) }
            }
            @if self.lines.iter().all(|line| line.points.is_empty()) {
                text class="none" x=(WIDTH / 2.0) y=(HEIGHT / 2.0) { "nothing was answered" }
            }
        }
    }

    /// The largest value of these lines; 0 if there is none.
    pub fn highest(lines: &[Line]) -> f64 {
        lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max)
    }

    fn grid(&self) -> Markup {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let middle = f64::midpoint(TOP, bottom);
        html! {
            g class="grid" {
                @for (at, text) in &self.y.ticks {
                    @let y = self.y_of(*at);
                    line x1=(LEFT) y1=(y) x2=(right) y2=(y) {}
                    text class="left" x=(LEFT - 8.0) y=(y + 4.0) { (text) }
                }
                @for (at, text) in &self.x.ticks {
                    @let x = self.x_of(*at);
                    line x1=(x) y1=(bottom) x2=(x) y2=(bottom + 5.0) {}
                    text class="below" x=(x) y=(bottom + 18.0) { (text) }
                }
                text class="below" x=(f64::midpoint(LEFT, right)) y=(HEIGHT - 8.0) { (self.x.label) }
                text class="below" transform=(format!("translate(14 {middle}) rotate(-90)")) { (self.y.label) }
            }
        }
    }

    fn line(&self, line: &Line) -> Markup {
        let places = line.points.iter().map(|(x, y)| format!("{},{}", self.x_of(*x), self.y_of(*y)));
        let places: Vec<String> = places.collect();
        html! {
            polyline points=(places.join(" ")) {}
            @if line.points.len() <= MARKED_POINTS_MAX {
                @for (x, y) in &line.points {
                    circle cx=(self.x_of(*x)) cy=(self.y_of(*y)) r="2.5" {
                        title { (format!("{}: {}", line.name, number(*y, 2))) }
                    }
                }
            }
        }
    }

    fn x_of(&self, value: f64) -> f64 {
        tenths(LEFT + self.x.place(value) * (WIDTH - RIGHT - LEFT))
    }

    fn y_of(&self, value: f64) -> f64 {
        tenths(HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - BOTTOM - TOP))
    }
}

/// The next of 1, 2 or 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A number for people: `12,345.60`.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let whole = text.split('.').next().map_or(0, str::len);
    let comma = |at: usize| at > 0 && at < whole && (whole - at).is_multiple_of(3);
    text.chars().enumerate().flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit])).collect()
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let (x, y) = (Axis::linear("seconds", 10.0), Axis::linear("<ms> & more", 50.0));
        Chart { title: "a < b", x, y, lines: vec![Line { name: "p50", points }] }
    }

    fn named<'a>(document: &'a Document, name: &'static str) -> Vec<Node<'a, 'a>> {
        document.descendants().filter(|node| node.has_tag_name(name)).collect()
    }

    #[test]
    fn axes_have_round_labels_and_reach_the_largest_value() {
        assert_eq!(labels(&Axis::linear("", 10.0)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&Axis::linear("", 83_864.4)), ["0", "20,000", "40,000", "60,000", "80,000", "100,000"]);
        assert_eq!(labels(&Axis::linear("", 0.7)), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(&Axis::linear("", 0.0)), labels(&Axis::linear("", 1.0)));
        assert_eq!(labels(&Axis::linear("", f64::NAN)), labels(&Axis::linear("", 1.0)));
        assert_eq!(labels(&Axis::nines("", 99.95)), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert_eq!(labels(&Axis::nines("", 0.0)), ["0 %", "90 %"]);
        assert!((nines(99.0) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!([number(0.5, 2), number(999.0, 0), number(1_234.5, 1)], ["0.50", "999", "1,234.5"]);
        assert_eq!([number(1e6, 0), number(123_456.0, 0)], ["1,000,000", "123,456"]);
    }

    #[test]
    fn a_chart_is_well_formed_and_its_points_lie_where_they_belong() {
        let text = chart(vec![(0.0, 0.0), (5.0, 25.0), (10.0, 50.0)]).render().into_string();
        let document = Document::parse(&text).unwrap();
        assert_eq!(named(&document, "polyline")[0].attribute("points"), Some("72,214 380,113 688,12"));
        assert_eq!(named(&document, "circle").len(), 3);
        assert_eq!(named(&document, "svg")[0].attribute("aria-label"), Some("a < b"));
        assert!(named(&document, "text").iter().any(|node| node.text() == Some("<ms> & more")));
    }

    #[test]
    fn a_chart_without_points_says_so_and_one_with_many_does_not_mark_them() {
        let text = chart(Vec::new()).render().into_string();
        let document = Document::parse(&text).unwrap();
        assert!(named(&document, "text").iter().any(|node| node.text() == Some("nothing was answered")));
        let text = chart((0..5_000).map(|turn| (f64::from(turn) / 500.0, 1.0)).collect()).render().into_string();
        let document = Document::parse(&text).unwrap();
        assert_eq!(named(&document, "circle").len(), 0);
        assert_eq!(named(&document, "polyline")[0].attribute("points").unwrap().split(' ').count(), 5_000);
    }
}
