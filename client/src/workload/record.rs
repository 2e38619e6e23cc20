//! Acknowledged orders: what a client must find again, in memory and as lines of a file.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Mutex,
};

use anyhow::{Context, Result, bail};
use bazaar_domain::{IdempotencyKey, Quantity, Side, StockName, api::OrderView};
use serde::{Deserialize, Serialize};

/// An order that was acknowledged to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// The stock.
    pub name: StockName,
    /// Buy or sell.
    #[serde(rename = "type")]
    pub side: Side,
    /// How many.
    pub quantity: Quantity,
    /// The stock's version after it.
    pub stock_version: u64,
    /// The key it was sent under.
    pub key: IdempotencyKey,
}

impl Record {
    /// What of the order differs from what was acknowledged, in one sentence; nothing if it is the same.
    pub fn difference(&self, order: &OrderView) -> Option<String> {
        let found = Self {
            number: order.number,
            name: order.name,
            side: order.side,
            quantity: order.quantity,
            stock_version: order.stock_version,
            key: order.key.clone(),
        };
        (found != *self).then(|| format!("order {} was acknowledged as {self}, but is {found}", self.number))
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, name, side, quantity, stock_version, key } = self;
        write!(f, "number {number}: {side} {quantity} {name} at version {stock_version} under key {key}")
    }
}

/// A file that records are appended to, each a JSON line written at once: what a killed client was told stays known.
#[derive(Debug)]
pub struct RecordFile(Mutex<File>);

impl RecordFile {
    /// Opens, or makes, the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map(|file| Self(Mutex::new(file)))
            .with_context(|| format!("{} cannot be written, name another file with --records", path.display()))
    }

    /// Appends a record with one write, so that lines of several clients or processes never mix.
    ///
    /// # Errors
    /// If the file cannot be written (disk full).
    pub fn append(&self, record: &Record) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.0.lock().expect("no writer panics with the lock").write_all(&line)
    }
}

/// Records by number.
pub type Records = BTreeMap<u64, Record>;

/// Reads a file of records. A last line without its end is what a killed client had not finished writing, and is left
/// out; any other damage is an error.
///
/// # Errors
/// If a line is no record, or two lines give one number to two orders.
pub fn parse_records(text: &str) -> Result<Records> {
    let mut records = Records::new();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (at, line) in whole.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let record: Record = serde_json::from_str(line).with_context(|| format!("line {} is no record", at + 1))?;
        if let Some(other) = records.get(&record.number)
            && *other != record
        {
            bail!("two acknowledged orders have one number: {other}, and {record}");
        }
        records.insert(record.number, record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use bazaar_domain::Cents;

    use super::*;

    fn record(number: u64) -> Record {
        Record {
            number,
            name: StockName::new("BoarCo").unwrap(),
            side: Side::Buy,
            quantity: Quantity::new(3).unwrap(),
            stock_version: 12,
            key: IdempotencyKey::new("k-1").unwrap(),
        }
    }

    fn order(number: u64) -> OrderView {
        let Record { name, side, quantity, stock_version, key, .. } = record(number);
        OrderView { number, name, side, quantity, price: Cents::new(100).unwrap(), stock_version, key }
    }

    #[test]
    fn every_field_of_an_acknowledged_order_counts() {
        assert_eq!(record(7).difference(&order(7)), None);
        let changed = [
            OrderView { name: StockName::new("X").unwrap(), ..order(7) },
            OrderView { side: Side::Sell, ..order(7) },
            OrderView { quantity: Quantity::new(4).unwrap(), ..order(7) },
            OrderView { stock_version: 13, ..order(7) },
            OrderView { key: IdempotencyKey::new("k-2").unwrap(), ..order(7) },
            order(8),
        ];
        for other in changed {
            assert!(record(7).difference(&other).is_some(), "{other:?}");
        }
    }

    #[test]
    fn records_are_read_back_as_they_were_written_but_for_an_unfinished_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let file = RecordFile::open(&path).unwrap();
        file.append(&record(2)).unwrap();
        file.append(&record(1)).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"number\":3,\"na");
        let records = parse_records(&text).unwrap();
        assert_eq!(records.into_values().collect::<Vec<_>>(), [record(1), record(2)]);
    }

    #[test]
    fn a_damaged_line_and_a_number_given_twice_are_errors() {
        assert!(parse_records("nonsense\n").is_err());
        let one = serde_json::to_string(&record(1)).unwrap();
        let other = serde_json::to_string(&Record { stock_version: 99, ..record(1) }).unwrap();
        assert!(parse_records(&format!("{one}\n{one}\n")).is_ok());
        assert!(parse_records(&format!("{one}\n{other}\n")).is_err());
    }
}
