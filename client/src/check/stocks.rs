//! Conservation, and that every keeper shows the same stocks. Pure.

use std::collections::BTreeMap;

use bazaar_domain::{ReplicaId, StockName, api::StockView};

use crate::admin::{Inventory, KeptStock};

use super::{audit::Sums, report::Row};

/// What the keepers show at about one time; an error says why a keeper showed nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Each reachable replica's inventory.
    pub replicas: Vec<(ReplicaId, Result<Inventory, String>)>,
    /// The catalog's stocks.
    pub catalog: Result<Vec<StockView>, String>,
    /// The stocks through the frontend.
    pub frontend: Result<Vec<StockView>, String>,
}

/// Checks the keepers against what the orders add up to, and against each other.
pub fn rows(shown: &Shown, sums: &BTreeMap<StockName, Sums>) -> Vec<Row> {
    vec![conservation(shown, sums), agreement(shown)]
}

fn conservation(shown: &Shown, sums: &BTreeMap<StockName, Sums>) -> Row {
    const NAME: &str = "listed + sold - bought = quantity";
    let mut complaints = Vec::new();
    for (id, inventory) in &shown.replicas {
        match inventory {
            Ok(inventory) => {
                let found = unconserved(inventory, sums);
                complaints.extend(found.into_iter().map(|complaint| format!("replica {id}: {complaint}")));
            }
            Err(reason) => complaints.push(format!("replica {id} shows no inventory: {reason}")),
        }
    }
    if shown.replicas.is_empty() {
        complaints.push("no replica shows its inventory".into());
    }
    let stocks = shown.replicas.iter().find_map(|(_, inventory)| inventory.as_ref().ok()).map_or(0, |i| i.stocks.len());
    Row::of(NAME, &complaints, format!("{stocks} stocks on {} replicas", shown.replicas.len()))
}

/// The stocks of one replica that are not what was listed and the orders make of it.
fn unconserved(inventory: &Inventory, sums: &BTreeMap<StockName, Sums>) -> Vec<String> {
    let known: BTreeMap<StockName, &KeptStock> = inventory.stocks.iter().map(|stock| (stock.name, stock)).collect();
    let unlisted =
        sums.keys().filter(|name| !known.contains_key(name)).map(|name| format!("{name} has orders but no stock"));
    let wrong = known.values().filter_map(|stock| {
        let Sums { orders, bought, sold, version } = sums.get(&stock.name).copied().unwrap_or_default();
        let KeptStock { name, quantity, trade_volume, listed, version: found_version, .. } = stock;
        // In 128 bits nothing here can overflow, whatever a broken replica answers.
        let expected = i128::from(*listed) + i128::from(sold) - i128::from(bought);
        let volume = u128::from(bought) + u128::from(sold);
        if i128::from(*quantity) != expected {
            Some(format!(
                "{name}: {listed} listed + {sold} sold - {bought} bought is {expected}, but quantity is {quantity}"
            ))
        } else if u128::from(*trade_volume) != volume {
            Some(format!("{name}: orders add up to a volume of {volume}, but trade_volume is {trade_volume}"))
        } else if *found_version < version.max(orders + 1) {
            Some(format!("{name}: {orders} orders up to version {version}, but version is {found_version}"))
        } else {
            None
        }
    });
    wrong.chain(unlisted).collect()
}

fn agreement(shown: &Shown) -> Row {
    let replicas = shown.replicas.iter().map(|(id, inventory)| {
        let views = inventory.as_ref().map(|inventory| inventory.stocks.iter().map(KeptStock::view).collect());
        (format!("replica {id}"), views.map_err(Clone::clone))
    });
    let others =
        [("the catalog".to_owned(), shown.catalog.clone()), ("the frontend".to_owned(), shown.frontend.clone())];
    let mut complaints = Vec::new();
    let mut first: Option<(String, BTreeMap<StockName, StockView>)> = None;
    let mut keepers = 0;
    for (keeper, stocks) in replicas.chain(others) {
        let stocks: BTreeMap<_, _> = match stocks {
            Ok(stocks) => stocks.into_iter().map(|stock| (stock.name, stock)).collect(),
            Err(reason) => {
                complaints.push(format!("{keeper} shows no stocks: {reason}"));
                continue;
            }
        };
        keepers += 1;
        match &first {
            None => first = Some((keeper, stocks)),
            Some((other, expected)) if *expected != stocks => {
                complaints.push(difference(other, expected, &keeper, &stocks));
            }
            Some(_) => {}
        }
    }
    Row::of("all keepers show the same stocks", &complaints, format!("{keepers} keepers"))
}

type Stocks = BTreeMap<StockName, StockView>;

fn difference(one: &str, left: &Stocks, other: &str, right: &Stocks) -> String {
    let names = left.keys().chain(right.keys());
    let name = names.into_iter().find(|name| left.get(name) != right.get(name)).expect("the two are known to differ");
    let text = |stock: Option<&StockView>| {
        stock.map_or("no such stock".into(), |stock| format!("{} at version {}", stock.quantity, stock.version))
    };
    format!("{name}: {one} has {}, {other} has {}", text(left.get(name)), text(right.get(name)))
}

#[cfg(test)]
mod tests {
    use bazaar_domain::Cents;

    use super::*;

    fn name() -> StockName {
        StockName::new("BoarCo").unwrap()
    }

    /// 100 listed, 10 bought, 4 sold in three orders, and one listing change.
    fn stock() -> KeptStock {
        KeptStock {
            name: name(),
            price: Cents::new(1).unwrap(),
            quantity: 94,
            trade_volume: 14,
            version: 5,
            listed: 100,
        }
    }

    fn sums() -> BTreeMap<StockName, Sums> {
        [(name(), Sums { orders: 3, bought: 10, sold: 4, version: 5 })].into()
    }

    fn shown(stock: &KeptStock) -> Shown {
        let inventory = Inventory { log_index: 9, stocks: vec![stock.clone()] };
        Shown {
            replicas: vec![(1, Ok(inventory.clone())), (2, Ok(inventory))],
            catalog: Ok(vec![stock.view()]),
            frontend: Ok(vec![stock.view()]),
        }
    }

    fn failed(shown: &Shown, sums: &BTreeMap<StockName, Sums>) -> Vec<String> {
        rows(shown, sums).into_iter().filter(|row| !row.passed).map(|row| row.name).collect()
    }

    #[test]
    fn stocks_that_are_what_the_orders_make_of_them_pass() {
        assert!(failed(&shown(&stock()), &sums()).is_empty());
    }

    #[test]
    fn a_wrong_quantity_volume_or_version_breaks_conservation_even_if_all_agree() {
        for wrong in [
            KeptStock { quantity: 93, ..stock() },
            KeptStock { trade_volume: 13, ..stock() },
            KeptStock { version: 4, ..stock() },
            KeptStock { listed: u64::MAX, ..stock() },
        ] {
            assert_eq!(failed(&shown(&wrong), &sums()), ["listed + sold - bought = quantity"], "{wrong:?}");
        }
    }

    #[test]
    fn orders_of_a_stock_that_is_not_there_are_found() {
        let mut more = sums();
        more.insert(StockName::new("Ghost").unwrap(), Sums { orders: 1, ..Sums::default() });
        assert_eq!(failed(&shown(&stock()), &more).len(), 1);
    }

    #[test]
    fn each_keeper_that_shows_something_else_is_named() {
        let old = KeptStock { version: 4, ..stock() };
        let mut wrong = shown(&stock());
        wrong.catalog = Ok(vec![old.view()]);
        let row = agreement(&wrong);
        assert_eq!(row.details, "BoarCo: replica 1 has 94 at version 5, the catalog has 94 at version 4");
        wrong.frontend = Err("timeout".into());
        assert!(agreement(&wrong).details.contains("the frontend shows no stocks: timeout"));
        let mut replica = shown(&stock());
        replica.replicas[1].1 = Ok(Inventory { log_index: 9, stocks: vec![] });
        assert!(agreement(&replica).details.contains("replica 2 has no such stock"));
    }

    #[test]
    fn without_any_replica_conservation_is_not_shown() {
        let nobody = Shown { replicas: vec![], ..shown(&stock()) };
        assert_eq!(failed(&nobody, &sums()), ["listed + sold - bought = quantity"]);
    }
}
