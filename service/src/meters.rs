//! Metrics that are declared once: each crate has one table with the name, type, labels and meaning of what it measures.
//! The descriptions that a process shows and `docs/metrics.md` are made from the tables, so neither can lag behind.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Unit, with_recorder};

use crate::http::metrics_handle;

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The types of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until the process starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl MetricKind {
    /// As Prometheus calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One row of a table of metrics, and the way to what it counts.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    /// A static key hashes its name only once.
    key: Key,
}

impl Metric {
    const fn new(kind: MetricKind, name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind, labels, help, key: Key::from_static_name(name) }
    }

    /// A counter; see [`crate::metric_table`].
    pub const fn counter_named(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(MetricKind::Counter, name, labels, help)
    }

    /// A gauge; see [`crate::metric_table`].
    pub const fn gauge_named(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(MetricKind::Gauge, name, labels, help)
    }

    /// A histogram; see [`crate::metric_table`].
    pub const fn histogram_named(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(MetricKind::Histogram, name, labels, help)
    }

    /// The unit that the end of its name says.
    pub fn unit(&self) -> Option<&'static str> {
        let stem = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"].into_iter().find(|unit| stem.rsplit('_').next() == Some(*unit))
    }

    /// The counter without labels.
    pub fn counter(&self) -> Counter {
        self.counter_of(&[])
    }

    /// The counter with these values of its labels.
    pub fn counter_of(&self, values: &[&str]) -> Counter {
        self.require(MetricKind::Counter, values);
        self.with_key(values, |key| with_recorder(|recorder| recorder.register_counter(key, &METADATA)))
    }

    /// The gauge without labels.
    pub fn gauge(&self) -> Gauge {
        self.gauge_of(&[])
    }

    /// The gauge with these values of its labels.
    pub fn gauge_of(&self, values: &[&str]) -> Gauge {
        self.require(MetricKind::Gauge, values);
        self.with_key(values, |key| with_recorder(|recorder| recorder.register_gauge(key, &METADATA)))
    }

    /// The histogram without labels.
    pub fn histogram(&self) -> Histogram {
        self.histogram_of(&[])
    }

    /// The histogram with these values of its labels.
    pub fn histogram_of(&self, values: &[&str]) -> Histogram {
        self.require(MetricKind::Histogram, values);
        self.with_key(values, |key| with_recorder(|recorder| recorder.register_histogram(key, &METADATA)))
    }

    fn require(&self, kind: MetricKind, values: &[&str]) {
        assert_eq!((self.kind, self.labels.len()), (kind, values.len()), "{} is used as it is declared", self.name);
    }

    fn with_key<T>(&self, values: &[&str], register: impl FnOnce(&Key) -> T) -> T {
        if values.is_empty() {
            return register(&self.key);
        }
        let labels = self.labels.iter().zip(values).map(|(label, value)| Label::new(*label, (*value).to_owned()));
        register(&Key::from_parts(self.name, labels.collect::<Vec<_>>()))
    }

    fn describe(&self) {
        let name = KeyName::from_const_str(self.name);
        let unit = self.unit().and_then(Unit::from_string);
        with_recorder(|recorder| match self.kind {
            MetricKind::Counter => recorder.describe_counter(name, unit, self.help.into()),
            MetricKind::Gauge => recorder.describe_gauge(name, unit, self.help.into()),
            MetricKind::Histogram => recorder.describe_histogram(name, unit, self.help.into()),
        });
    }

    /// Makes it visible with nothing counted yet: a rate over a counter that appears only when it first counts would
    /// miss that first time.
    fn show(&self) {
        match self.kind {
            MetricKind::Counter => drop(self.counter()),
            MetricKind::Gauge => drop(self.gauge()),
            MetricKind::Histogram => drop(self.histogram()),
        }
    }
}

/// Begins to measure: whatever is registered before the first call counts nowhere. Each process says once what it
/// measures beside [`PROCESS`].
pub fn begin(tables: &[&[&'static Metric]]) {
    metrics_handle();
    for metric in tables.iter().copied().chain([SERVICE]).flatten() {
        metric.describe();
        if metric.labels.is_empty() {
            metric.show();
        }
    }
    BUILD_INFO.gauge_of(&[env!("CARGO_PKG_VERSION")]).set(1.0);
}

/// Declares a table of metrics: a static [`Metric`] for each row, and the table of all of them.
///
/// ```
/// bazaar_service::metric_table! {
///     /// What the shop measures.
///     METRICS {
///         SALES: counter_named "shop_sales_total" ["kind"] "Things sold, by kind.";
///         QUEUE: gauge_named "shop_queue" "People that wait.";
///     }
/// }
/// assert_eq!(METRICS.len(), 2);
/// assert_eq!(SALES.labels, ["kind"]);
/// assert!(QUEUE.labels.is_empty());
/// ```
#[macro_export]
macro_rules! metric_table {
    ($(#[$about:meta])* $table:ident {
        $($row:ident: $kind:ident $name:literal $([$($label:literal),+])? $help:literal;)*
    }) => {
        $(
            #[doc = $help]
            pub static $row: $crate::meters::Metric = $crate::meters::Metric::$kind($name, &[$($($label),+)?], $help);
        )*
        $(#[$about])*
        pub static $table: &[&$crate::meters::Metric] = &[$(&$row),*];
    };
}

metric_table! {
    /// What every process measures by itself.
    SERVICE {
        BUILD_INFO: gauge_named "bazaar_build_info" ["version"] "Always 1; the label says which version runs.";
        CONNECTIONS: gauge_named "bazaar_http_connections" "Open HTTP connections, over all listeners of the process.";
        REFUSED_CONNECTIONS: counter_named "bazaar_http_refused_connections_total"
            "Connections refused because a listener has as many as it may.";
        AUTH_REFUSALS: counter_named "bazaar_auth_refusals_total" ["kind"]
            "Requests refused for their token: unauthenticated, forbidden.";
        CERTIFICATE_NOT_AFTER: gauge_named "bazaar_tls_certificate_not_after_seconds" ["file"]
            "When a certificate in use expires, in seconds since 1970.";
        EXPRESS_REQUESTS: counter_named "bazaar_express_requests_total"
            "Requests answered on the express way (ADR 0009); 0 where there is none. The others went through the HTTP server, as all do at log level debug.";
        SUPPRESSED_LOG_LINES: counter_named "bazaar_suppressed_log_lines_total"
            "Lines about slow and failed requests that were not written because too many were due in the same second.";
        TRACE_EXPORT_FAILURES: counter_named "bazaar_trace_export_failures_total"
            "Batches of spans that the OpenTelemetry collector did not take.";
    }
}

metric_table! {
    /// What every process reads from the system when it is asked; see [`crate::process`].
    PROCESS {
        CPU_SECONDS: counter_named "process_cpu_seconds_total" "CPU time used, in user and system mode.";
        RESIDENT_MEMORY: gauge_named "process_resident_memory_bytes" "Memory in use.";
        OPEN_FDS: gauge_named "process_open_fds" "Open files and sockets.";
        MAX_FDS: gauge_named "process_max_fds" "Files and sockets that may be open.";
        THREADS: gauge_named "process_threads" "Threads.";
        START_TIME: gauge_named "process_start_time_seconds" "When the process began, in seconds since 1970. The time since is its uptime.";
    }
}

metric_table! {
    /// What the processes with a data directory measure beside that.
    DATA {
        DATA_FREE: gauge_named "bazaar_data_free_bytes" "Room left on the disk of the data directory.";
        DATA_SIZE: gauge_named "bazaar_data_size_bytes" "Size of the disk of the data directory.";
    }
}

#[cfg(test)]
mod tests {
    use super::{DATA, MetricKind, PROCESS, SERVICE};

    #[test]
    fn a_unit_is_read_from_the_end_of_a_name() {
        let unit = |name: &str| PROCESS.iter().find(|metric| metric.name == name).unwrap().unit();
        assert_eq!(unit("process_cpu_seconds_total"), Some("seconds"));
        assert_eq!(unit("process_resident_memory_bytes"), Some("bytes"));
        assert_eq!(unit("process_open_fds"), None);
    }

    #[test]
    #[should_panic(expected = "is used as it is declared")]
    fn a_metric_is_never_used_as_another_type() {
        let counter = SERVICE.iter().find(|metric| metric.kind == MetricKind::Counter).unwrap();
        drop(counter.gauge());
    }

    #[test]
    fn no_name_stands_in_two_tables() {
        let mut names: Vec<&str> = [SERVICE, PROCESS, DATA].into_iter().flatten().map(|metric| metric.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
