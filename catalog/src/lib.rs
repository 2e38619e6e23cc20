//! The catalog: price, quantity and trading volume of every stock.
