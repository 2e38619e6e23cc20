//! Log entries in words.

use bazaar_domain::command::ListingChange;
use bazaar_order_raft::log_store::view::EntryView;
use serde_json::Value;

use crate::output::{counted, table, table_text};

/// Items of an entry that are shown one by one.
const ITEMS_SHOWN_MAX: usize = 3;
/// Most characters of an item of an unknown form.
const ITEM_CHARS_MAX: usize = 80;

/// Rows of a table of entries: index, term, kind, content.
pub(super) fn entries_table(rows: impl IntoIterator<Item = [String; 4]>, colour: bool) -> String {
    let mut lines = table(&["INDEX", "TERM", "KIND", "CONTENT"], colour);
    for row in rows {
        lines.add_row(row);
    }
    table_text(&lines)
}

/// An entry's row.
pub(super) fn row(entry: &EntryView) -> [String; 4] {
    let EntryView { index, term, kind, items } = entry;
    [index.to_string(), term.to_string(), kind.clone(), summary(items)]
}

/// An entry as a line of its own, for those that come one after the other.
pub(super) fn line(entry: &EntryView) -> String {
    let [index, term, kind, content] = row(entry);
    format!("{index:>9}  {term:>4}  {kind:<10}  {content}")
}

/// An entry's items in one line.
fn summary(items: &[Value]) -> String {
    match items {
        [] => return "-".into(),
        [membership] if membership.get("voters").is_some() => return item_text(membership),
        _ => {}
    }
    let mut shown: Vec<String> = items.iter().take(ITEMS_SHOWN_MAX).map(item_text).collect();
    if items.len() > ITEMS_SHOWN_MAX {
        shown.push(format!("and {} more", items.len() - ITEMS_SHOWN_MAX));
    }
    format!("{}: {}", counted(items.len() as u64, "item"), shown.join(", "))
}

/// One item: a trade as `buy 3 GameStart`, a listing change as `list GameStart: 100 at 15.99`, a membership as its voters,
/// and what a newer version wrote as its JSON, cut short.
fn item_text(item: &Value) -> String {
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    if let Some(words) = membership_text(item).or_else(|| listing_text(text("name")?, item.get("change")?)) {
        return words;
    }
    match (text("side").or(text("type")), item.get("quantity").and_then(Value::as_u64), text("name")) {
        (Some(side), Some(quantity), Some(name)) => format!("{side} {quantity} {name}"),
        _ => item.to_string().chars().take(ITEM_CHARS_MAX).collect(),
    }
}

fn membership_text(item: &Value) -> Option<String> {
    let voters: Vec<String> = item.get("voters")?.as_array()?.iter().map(ToString::to_string).collect();
    Some(format!("voters {}", voters.join(", ")))
}

fn listing_text(name: &str, change: &Value) -> Option<String> {
    Some(match serde_json::from_value(change.clone()).ok()? {
        ListingChange::List { price, quantity, max_quantity } => {
            let most = max_quantity.map(|most| format!(", at most {most}")).unwrap_or_default();
            format!("list {name}: {quantity} at {price}{most}")
        }
        ListingChange::Reprice { price } => format!("reprice {name} to {price}"),
        ListingChange::Restock { quantity } => format!("restock {name} by {quantity}"),
    })
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{Cents, IdempotencyKey, StockName, command::Listing};
    use serde_json::json;

    use super::*;

    #[test]
    fn trades_are_summed_up_in_words_and_long_entries_are_cut() {
        let trade = json!({"key": "k", "name": "BoarCo", "side": "buy", "quantity": 3});
        assert_eq!(summary(&[]), "-");
        assert_eq!(summary(std::slice::from_ref(&trade)), "1 item: buy 3 BoarCo");
        let many = vec![trade; 5];
        assert_eq!(summary(&many), "5 items: buy 3 BoarCo, buy 3 BoarCo, buy 3 BoarCo, and 2 more");
    }

    #[test]
    fn listing_changes_and_memberships_are_told_in_words() {
        let name = StockName::new("BoarCo").unwrap();
        let text = |change| {
            let listing = Listing { key: IdempotencyKey::new("k").unwrap(), name, change };
            item_text(&json!(listing))
        };
        let price = Cents::new(1_599).unwrap();
        assert_eq!(text(ListingChange::List { price, quantity: 5, max_quantity: None }), "list BoarCo: 5 at 15.99");
        let bounded = ListingChange::List { price, quantity: 5, max_quantity: Some(9) };
        assert_eq!(text(bounded), "list BoarCo: 5 at 15.99, at most 9");
        assert_eq!(text(ListingChange::Reprice { price }), "reprice BoarCo to 15.99");
        assert_eq!(text(ListingChange::Restock { quantity: 7 }), "restock BoarCo by 7");
        assert_eq!(summary(&[json!({ "voters": [1, 2, 3] })]), "voters 1, 2, 3");
    }

    #[test]
    fn an_item_of_another_form_is_shown_as_its_json() {
        let listing = json!({"name": "BoarCo", "change": "x".repeat(200)});
        let text = item_text(&listing);
        assert!(text.starts_with("{\"change\":\"xxx"), "{text}");
        assert_eq!(text.chars().count(), ITEM_CHARS_MAX);
    }
}
