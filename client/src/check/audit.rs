//! All orders, one after the other: no gap, no key twice, versions that only grow, nothing of the records lost. Pure,
//! and in one pass, so that the number of orders is bounded by patience and not by memory for whole orders.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use bazaar_domain::{Side, StockName, api::OrderView};

use crate::workload::record::Records;

use super::report::Row;

/// Most complaints kept for each check.
const COMPLAINTS_MAX: usize = 100;

/// What the orders of one stock add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// How many orders.
    pub orders: u64,
    /// Bought from us.
    pub bought: u64,
    /// Sold to us.
    pub sold: u64,
    /// The version after the newest of them.
    pub version: u64,
}

/// The running audit.
#[derive(Debug, Default)]
pub struct OrderAudit {
    /// The number of the newest order that was looked at.
    last_number: u64,
    count: u64,
    sums: BTreeMap<StockName, Sums>,
    keys: KeySet,
    records: Records,
    records_count: usize,
    gaps: Vec<String>,
    doubles: Vec<String>,
    versions: Vec<String>,
    differences: Vec<String>,
}

impl OrderAudit {
    /// An audit that also looks for these acknowledged orders.
    pub fn new(records: Records) -> Self {
        Self { records_count: records.len(), records, ..Self::default() }
    }

    /// The number of the newest order that was looked at; the next page starts behind it.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// What the orders add up to, by stock.
    pub fn sums(&self) -> &BTreeMap<StockName, Sums> {
        &self.sums
    }

    /// Takes the next order.
    pub fn take(&mut self, order: &OrderView) {
        self.count += 1;
        if order.number != self.last_number + 1 {
            keep(&mut self.gaps, || format!("order {} follows order {}", order.number, self.last_number));
        }
        self.last_number = order.number.max(self.last_number);
        if !self.keys.insert(order.key.as_str()) {
            keep(&mut self.doubles, || format!("the key {} of order {} was used before", order.key, order.number));
        }
        self.add_up(order);
        if let Some(record) = self.records.remove(&order.number)
            && let Some(difference) = record.difference(order)
        {
            keep(&mut self.differences, || difference);
        }
    }

    fn add_up(&mut self, order: &OrderView) {
        let sums = self.sums.entry(order.name).or_default();
        sums.orders += 1;
        match order.side {
            Side::Buy => sums.bought += order.quantity.get(),
            Side::Sell => sums.sold += order.quantity.get(),
        }
        // Numbers and versions are given in the same step, so they grow together; 1 is the listing itself.
        if order.stock_version <= sums.version.max(1) {
            let (number, name, version) = (order.number, order.name, order.stock_version);
            keep(&mut self.versions, || {
                format!("order {number} left {name} at version {version}, an earlier one at {}", sums.version)
            });
        }
        sums.version = order.stock_version.max(sums.version);
    }

    /// The checks, when every order has been taken; `wanted` orders are held by the replicas.
    pub fn rows(&self, wanted: u64) -> Vec<Row> {
        let mut gaps = self.gaps.clone();
        if self.last_number < wanted {
            gaps.push(format!("the replicas hold {wanted} orders, the frontend shows only {}", self.last_number));
        }
        let mut rows = vec![
            Row::of("order numbers without gaps", &gaps, format!("1..{}", self.last_number)),
            Row::of("keys are unique", &self.doubles, format!("{} keys", self.count)),
            Row::of("versions grow with every order", &self.versions, format!("{} stocks", self.sums.len())),
        ];
        if self.records_count > 0 {
            let missing = self.records.values().map(|record| format!("missing: {record}"));
            let complaints: Vec<String> = self.differences.iter().cloned().chain(missing).collect();
            let passed = format!("all {} found, same fields", self.records_count);
            rows.push(Row::of("acknowledged orders are kept", &complaints, passed));
        }
        rows
    }
}

fn keep(complaints: &mut Vec<String>, complaint: impl FnOnce() -> String) {
    if complaints.len() < COMPLAINTS_MAX {
        complaints.push(complaint());
    }
}

/// A set of keys by 128-bit hashes: a key can have 255 bytes, and there can be many millions of them.
#[derive(Debug, Default)]
struct KeySet {
    hashes: HashSet<(u64, u64)>,
    first: RandomState,
    second: RandomState,
}

impl KeySet {
    /// False if it was there already.
    fn insert(&mut self, key: &str) -> bool {
        self.hashes.insert((self.first.hash_one(key), self.second.hash_one(key)))
    }
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{Cents, IdempotencyKey, Quantity};

    use crate::workload::record::Record;

    use super::*;

    fn order(number: u64, side: Side, stock_version: u64) -> OrderView {
        OrderView {
            number,
            name: StockName::new("BoarCo").unwrap(),
            side,
            quantity: Quantity::new(3).unwrap(),
            price: Cents::new(100).unwrap(),
            stock_version,
            key: IdempotencyKey::new(&format!("k{number}")).unwrap(),
        }
    }

    fn record(order: &OrderView) -> Record {
        let OrderView { number, name, side, quantity, stock_version, key, .. } = order.clone();
        Record { number, name, side, quantity, stock_version, key }
    }

    fn failed(audit: &OrderAudit, wanted: u64) -> Vec<String> {
        audit.rows(wanted).into_iter().filter(|row| !row.passed).map(|row| row.name).collect()
    }

    fn audit_of(orders: &[OrderView]) -> OrderAudit {
        let mut audit = OrderAudit::default();
        orders.iter().for_each(|order| audit.take(order));
        audit
    }

    #[test]
    fn gapless_orders_pass_and_add_up() {
        let audit = audit_of(&[order(1, Side::Buy, 2), order(2, Side::Sell, 3), order(3, Side::Sell, 5)]);
        assert_eq!(failed(&audit, 3), Vec::<String>::new());
        let sums = audit.sums()[&StockName::new("BoarCo").unwrap()];
        assert_eq!(sums, Sums { orders: 3, bought: 3, sold: 6, version: 5 });
    }

    #[test]
    fn a_gap_at_the_start_in_the_middle_or_at_the_end_is_found() {
        assert_eq!(failed(&audit_of(&[order(2, Side::Buy, 2)]), 2), ["order numbers without gaps"]);
        let middle = audit_of(&[order(1, Side::Buy, 2), order(3, Side::Buy, 3)]);
        assert_eq!(failed(&middle, 3), ["order numbers without gaps"]);
        assert_eq!(failed(&audit_of(&[order(1, Side::Buy, 2)]), 2), ["order numbers without gaps"]);
    }

    #[test]
    fn a_key_used_twice_and_a_version_given_twice_are_found() {
        let double = OrderView { key: IdempotencyKey::new("k1").unwrap(), ..order(2, Side::Buy, 3) };
        assert_eq!(failed(&audit_of(&[order(1, Side::Buy, 2), double]), 2), ["keys are unique"]);
        let same = audit_of(&[order(1, Side::Buy, 2), order(2, Side::Buy, 2)]);
        assert_eq!(failed(&same, 2), ["versions grow with every order"]);
    }

    #[test]
    fn an_acknowledged_order_that_is_missing_or_differs_is_found() {
        let orders = [order(1, Side::Buy, 2), order(2, Side::Buy, 3)];
        let audit = |records: &[Record]| {
            let records = records.iter().map(|record| (record.number, record.clone())).collect();
            let mut audit = OrderAudit::new(records);
            orders.iter().for_each(|order| audit.take(order));
            failed(&audit, 2)
        };
        assert!(audit(&[record(&orders[0]), record(&orders[1])]).is_empty());
        assert_eq!(audit(&[record(&order(3, Side::Buy, 4))]), ["acknowledged orders are kept"]);
        assert_eq!(audit(&[record(&order(2, Side::Sell, 3))]), ["acknowledged orders are kept"]);
    }
}
