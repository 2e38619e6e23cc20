//! The charts of a sweep: for each type of request one sheet, with the mean above and the 99th percentile below. Pure.

use crate::{
    chart::{Axis, Chart, Line, sheet::sheet},
    spread::Spread,
};

use super::report::{Cache, Figures, Request, SweepReport};

/// A chart as a file.
#[derive(Debug)]
pub struct Sheet {
    /// Its name, without an extension.
    pub name: &'static str,
    /// The file.
    pub svg: String,
}

/// All sheets.
pub fn sheets(report: &SweepReport) -> Vec<Sheet> {
    Request::ALL.map(|request| Sheet { name: file_name(request), svg: of_request(report, request) }).into()
}

/// The name of a request's sheet.
pub fn file_name(request: Request) -> &'static str {
    match request {
        Request::Lookup => "lookup",
        Request::Trade => "trade",
        Request::OrderRead => "order-read",
    }
}

fn of_request(report: &SweepReport, request: Request) -> String {
    let (mean, p99) = match request {
        Request::Lookup => ("Lookup: mean", "Lookup: 99th percentile"),
        Request::Trade => ("Trade: mean", "Trade: 99th percentile"),
        Request::OrderRead => ("Reading an order back: mean", "Reading an order back: 99th percentile"),
    };
    let charts = [
        chart(report, request, mean, |figures| figures.mean_ms),
        chart(report, request, p99, |figures| figures.p99_ms),
    ];
    sheet(&format!("Latency by probability of a trade: {}", request.name()), &charts)
}

fn chart(report: &SweepReport, request: Request, title: &'static str, value: fn(&Figures) -> Spread) -> Chart {
    let line = |cache: Cache| {
        let points = report.with(cache).filter_map(|point| {
            let figures = point.latencies.get(&request)?;
            Some((f64::from(point.probability_percent), value(figures).median))
        });
        Line { name: cache.name(), points: points.collect() }
    };
    let lines: Vec<Line> =
        [Cache::On, Cache::Off].into_iter().filter(|cache| report.with(*cache).next().is_some()).map(line).collect();
    let right = report.points.iter().map(|point| point.probability_percent).max().unwrap_or_default();
    let x = Axis::linear("probability of a trade after a lookup (%)", f64::from(right));
    Chart { title, x, y: Axis::linear("latency (ms)", Chart::highest(&lines)), lines }
}
