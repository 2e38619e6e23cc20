//! How far a run is, for those who watch. Figures go to standard output.

use std::io::{Write as _, stderr};

use crate::point::Point;

/// Says a line.
pub fn say(line: &str) {
    // Nobody who watches is no reason to stop.
    let _ = writeln!(stderr(), "{line}");
}

/// Says what a row gave.
pub fn say_point(point: &Point) {
    let noise = if point.is_noisy() { "  NOISY" } else { "" };
    let Point { name, rate_per_s, p50_ms, p99_ms, errors, others_percent, .. } = point;
    say(&format!(
        "{name}: {rate_per_s:.0}/s, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, {errors} errors, others {others_percent:.1} %{noise}"
    ));
}
