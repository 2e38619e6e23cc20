//! Numbers and moments as people read them.

use std::time::Duration;

/// `14:03:22.117`, in UTC.
pub(super) fn clock(unix_ms: f64) -> String {
    let ms = unix_ms.max(0.0) as u64;
    let seconds = ms / 1_000;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60, ms % 1_000)
}

/// `0.42 ms`.
pub(super) fn millis(span: Duration) -> String {
    ms(span.as_secs_f64() * 1_000.0)
}

/// `0.42 ms`, `9.1 ms`, `212 ms`.
pub(super) fn ms(value: f64) -> String {
    match value {
        0.0..1.0 => format!("{value:.2} ms"),
        1.0..10.0 => format!("{value:.1} ms"),
        _ => format!("{value:.0} ms"),
    }
}

/// `812 B`, `4.1 MB`.
pub(super) fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        0.0..1e3 => format!("{count} B"),
        1e3..1e6 => format!("{:.1} kB", count / 1e3),
        1e6..1e9 => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.1} GB", count / 1e9),
    }
}

/// A value, or a dash for none.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "–".into(), |value| value.to_string())
}

/// `8.3`, `212`, `12,345`.
pub(super) fn rate(value: f64) -> String {
    if value < 10.0 && value > 0.0 { format!("{value:.1}") } else { grouped(value.round() as u64) }
}

/// `12,345`.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes()[first..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (first > 0).then(|| digits[..first].to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(clock(50_602_117.9), "14:03:22.117");
        assert_eq!([0.421, 9.06, 212.3].map(ms), ["0.42 ms", "9.1 ms", "212 ms"]);
        assert_eq!([812, 4_100, 5_260_000].map(bytes), ["812 B", "4.1 kB", "5.3 MB"]);
        assert_eq!([7, 123, 1_234, 12_345_678].map(grouped), ["7", "123", "1,234", "12,345,678"]);
        assert_eq!([0.0, 8.34, 211.7].map(rate), ["0", "8.3", "212"]);
    }
}
