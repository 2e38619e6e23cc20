//! What clients do, as SQL.

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Take from the stock if there is enough, and write the order: two statements in one transaction.
    Trade,
    /// The same in one statement.
    Statement,
    /// Only write the order: no rule.
    Insert,
    /// Read an order by its number.
    Read,
}

/// The tables, with ten stocks and some orders to read.
pub const SCHEMA: &str = include_str!("../../sql/schema.sql");
/// Says `t` if the stocks lost what was sold.
pub const BOOKS: &str = include_str!("../../sql/books.sql");

impl Script {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Statement => "statement",
            Self::Insert => "insert",
            Self::Read => "read",
        }
    }

    /// Its text for pgbench.
    pub fn text(self) -> &'static str {
        match self {
            Self::Trade => include_str!("../../sql/trade.sql"),
            Self::Statement => include_str!("../../sql/statement.sql"),
            Self::Insert => include_str!("../../sql/insert.sql"),
            Self::Read => include_str!("../../sql/read.sql"),
        }
    }
}
