//! The tables of a sweep for a document. Pure.

use crate::spread::Spread;

use super::report::{Cache, Figures, Point, Request, SweepReport};

/// How it was measured, and a table for each type of request.
pub fn markdown(report: &SweepReport) -> String {
    let tables = Request::ALL.map(|request| table(report, request));
    format!("{}.\n\n{}", report.setup(), tables.join("\n"))
}

fn table(report: &SweepReport, request: Request) -> String {
    let hits = if request == Request::Lookup { " from the cache |" } else { "" };
    let line = if request == Request::Lookup { "---|" } else { "" };
    let mut text = format!(
        "| {}: trades |{hits} mean ms, cache on | cache off | off / on | p99 ms, cache on | cache off | off / on |\n\
         |---|{line}---|---|---|---|---|---|\n",
        request.name()
    );
    for on in report.with(Cache::On) {
        let off = report.with(Cache::Off).find(|off| off.probability_percent == on.probability_percent);
        text += &row(request, on, off);
    }
    text
}

/// Nothing if there was no such request.
fn row(request: Request, on: &Point, off: Option<&Point>) -> String {
    let Some(with_cache) = on.latencies.get(&request) else { return String::new() };
    let without = off.and_then(|off| off.latencies.get(&request));
    let hits = if request == Request::Lookup { format!(" {:.1} % |", on.hits_percent.median) } else { String::new() };
    let pair = |value: fn(&Figures) -> Spread| {
        let (on, off) = (value(with_cache), without.map(value));
        let ratio = off.map(|off| off.median / on.median).filter(|ratio| ratio.is_finite());
        let shown = off.map_or_else(|| "-".to_owned(), |off| format!("{off:.2}"));
        format!("{on:.2} | {shown} | {}", ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")))
    };
    let (mean, p99) = (pair(|figures| figures.mean_ms), pair(|figures| figures.p99_ms));
    format!("| {} % |{hits} {mean} | {p99} |\n", on.probability_percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::report::tests::report;

    #[test]
    fn a_row_says_how_many_times_as_long_it_takes_without_the_cache() {
        let text = markdown(&report());
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let lookup = rows.iter().find(|row| row[1] == "20 %" && row[2] == "50.0 %").unwrap();
        assert_eq!((lookup[5], lookup[8]), ("2.00", "2.00"), "{text}");
        let trades: Vec<_> = rows.iter().skip_while(|row| !row[1].starts_with("trade:")).skip(2).take(1).collect();
        assert_eq!((trades[0][1], trades[0][4]), ("20 %", "1.00"), "no trades at 0 %: {text}");
        // A table's header, its line and its rows have the same number of cells.
        let widths: Vec<usize> = rows.iter().map(Vec::len).collect();
        assert_eq!(widths, [10, 10, 10, 10, 9, 9, 9, 9, 9], "{text}");
    }

    #[test]
    fn without_a_second_frontend_there_is_nothing_to_compare() {
        let mut report = report();
        report.points.retain(|point| point.cache == Cache::On);
        assert!(markdown(&report).lines().any(|line| line.starts_with("| 20 % |") && line.contains("| - | - |")));
    }
}
