//! Log entries in words.

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
    if items.is_empty() {
        return "-".into();
    }
    let mut shown: Vec<String> = items.iter().take(ITEMS_SHOWN_MAX).map(item_text).collect();
    if items.len() > ITEMS_SHOWN_MAX {
        shown.push(format!("and {} more", items.len() - ITEMS_SHOWN_MAX));
    }
    format!("{}: {}", counted(items.len() as u64, "item"), shown.join(", "))
}

/// One item: a trade as `buy 3 GameStart`, anything else as its JSON, cut short.
fn item_text(item: &Value) -> String {
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    match (text("side").or(text("type")), item.get("quantity").and_then(Value::as_u64), text("name")) {
        (Some(side), Some(quantity), Some(name)) => format!("{side} {quantity} {name}"),
        _ => item.to_string().chars().take(ITEM_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
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
    fn an_item_of_another_form_is_shown_as_its_json() {
        let listing = json!({"name": "BoarCo", "change": "x".repeat(200)});
        let text = item_text(&listing);
        assert!(text.starts_with("{\"change\":\"xxx"), "{text}");
        assert_eq!(text.chars().count(), ITEM_CHARS_MAX);
    }
}
