//! What the system knows of this process, in the form of Prometheus. Read when somebody asks, so that it costs nothing
//! otherwise. Where there is no `/proc`, the lines are left out.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::meters::{
    CPU_SECONDS, DATA_FREE, DATA_SIZE, MAX_FDS, Metric, OPEN_FDS, RESIDENT_MEMORY, START_TIME, THREADS,
};

/// The unit in which Linux tells CPU time to programs, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

static STARTED: OnceLock<SystemTime> = OnceLock::new();

/// Notes when the process began. The first call counts.
pub(crate) fn note_start() {
    STARTED.get_or_init(SystemTime::now);
}

/// Appends the process's metrics.
pub(crate) fn render(out: &mut String) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    line(out, &CPU_SECONDS, cpu_seconds(&fs::read_to_string("/proc/self/stat").unwrap_or_default()));
    line(out, &RESIDENT_MEMORY, number_after(&status, "VmRSS:").map(|kib| kib * 1024.0));
    line(out, &THREADS, number_after(&status, "Threads:"));
    line(out, &OPEN_FDS, fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64));
    line(out, &MAX_FDS, rlimit::Resource::NOFILE.get_soft().ok().map(|limit| limit as f64));
    let started = STARTED.get().and_then(|started| started.duration_since(UNIX_EPOCH).ok());
    line(out, &START_TIME, started.map(|since| since.as_secs_f64()));
}

/// Notes how much room there is on the disk of a data directory.
pub fn note_disk(data: &Path) {
    if let Ok(disk) = rustix::fs::statvfs(data) {
        DATA_FREE.gauge().set((disk.f_bavail * disk.f_frsize) as f64);
        DATA_SIZE.gauge().set((disk.f_blocks * disk.f_frsize) as f64);
    }
}

fn line(out: &mut String, metric: &Metric, value: Option<f64>) {
    let Some(value) = value else { return };
    let Metric { name, kind, help, .. } = metric;
    // Writing to a string cannot fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {}\n{name} {value}\n\n", kind.as_str());
}

/// User and system time, of a line of `/proc/self/stat`. The name in parentheses may hold anything, so the fields count
/// from behind it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) / TICKS_PER_SECOND)
}

fn number_after(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, note_start, number_after, render};

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("42 (short) S 1"), None);
    }

    #[test]
    fn a_number_of_the_status_is_read() {
        assert_eq!(number_after("Name:\tx\nVmRSS:\t   120 kB\n", "VmRSS:"), Some(120.0));
        assert_eq!(number_after("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory_threads_and_open_files() {
        note_start();
        let mut out = String::new();
        render(&mut out);
        let metrics =
            ["process_resident_memory_bytes", "process_threads", "process_open_fds", "process_start_time_seconds"];
        for name in metrics {
            assert!(number_after(&out, &format!("{name} ")).is_some_and(|value| value > 0.0), "{name} in {out}");
        }
    }
}
