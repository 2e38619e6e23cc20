//! Says whether what clients were answered can be explained by a service that does one thing at a time.
//!
//! A history is *linearizable* (Herlihy and Wing 1990) if its operations can be put into one order in which each was
//! answered rightly and none comes before another that was answered before it was called. An operation without an
//! answer may be in that order, anywhere after its call, or not.
//!
//! # The search
//!
//! [`check`] goes through the orders depth first (Wing and Gong 1993) and remembers every set of placed operations
//! together with the state they led to, so that it visits it once (Lowe 2017). Stocks are checked one by one ([`by_stock`]),
//! which is the same as checking all at once (Horn and Kroening 2015). What it does beyond that loses no order
//! that it would need:
//!
//! - An operation that fits here, and changes nothing here or later, gets its place here, and no other one is tried.
//! - Of unanswered operations that ask the same, the oldest goes first. One that would change nothing is left out.
//! - A stock's version never decreases. So no version is passed that an answer without a place still needs; this
//!   is what keeps unanswered operations, which stay possible for ever, from being tried in all combinations.
//!
//! With answers that show versions, the time is close to linear in a history's length. Without them, or with many
//! unanswered trades of different quantities between two lookups, it can be exponential: then a bound ([`Bounds`]) ends
//! the search, and the verdict is [`Verdict::Unknown`]. Sets of operations are told apart by 128-bit sums; the odds that
//! this hides an order, so that a good history is taken for a violation, are below 10^-24.
//!
//! A [`Verdict::Violation`] has the shortest prefix that no order explains: what was called up to some answer, with
//! everything that was not answered by then open. It is found by bisection. Where it takes much longer than the verdict
//! itself, a longer prefix is shown ([`Violation::is_shortest`]).
//!
//! A history is checked faster and more sharply the less of it is open: whoever can ask later for the outcome of a
//! trade, by its key, should do so and record the trade as answered then.
//!
//! # The file
//!
//! The command `bazaar-linear FILE...` reads one [`Recorded`] in each line:
//!
//! ```json
//! {"op":"listed","stock":"S0","answer":{"shown":{"quantity":100,"version":1}}}
//! {"op":"buy","stock":"S0","client":"a","call_us":10,"return_us":35,"quantity":3,"key":"k1","answer":{"accepted":{"version":2}}}
//! {"op":"lookup","stock":"S0","client":"b","call_us":20,"return_us":31,"answer":{"shown":{"quantity":97,"version":2}}}
//! {"op":"buy","stock":"S0","client":"a","call_us":40,"return_us":52,"quantity":98,"key":"k2","answer":{"rejected":{"quantity":97}}}
//! {"op":"sell","stock":"S0","client":"c","call_us":44,"return_us":null,"quantity":5,"key":"k3"}
//! ```
//!
//! Each stock is `listed` once: that is how it was before all operations. An answer shows the stock as it was right
//! after the operation, a quantity or a version or both or neither. Calls and returns at the same microsecond overlap.
//! A sell has the same fields as a buy. Several records can have one key, if they are the same trade: it takes effect
//! once, and all of them get the same answer.

mod chain;
mod check;
mod history;
mod prefix;
mod record;
mod report;
mod search;
mod specification;
pub mod stock;

pub use check::{Unknown, Verdict, Violation, check};
pub use history::Operation;
pub use record::{BadRecord, Fault, Op, Recorded, StockHistory, by_stock, read};
pub use report::Report;
pub use search::{Bounds, Why};
pub use specification::Specification;
