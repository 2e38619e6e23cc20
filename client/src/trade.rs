//! `bazaar trade`: buys or sells.

use anyhow::Result;
use bazaar_domain::{IdempotencyKey, Quantity, Side, StockName, api::TradeReceipt};
use clap::Args;
use serde::Serialize;

use crate::{
    Context,
    api::{Accepted, Failure, explained, said},
    cli::parse_quantity,
    exit::{Ending, Exit},
    latency::Latencies,
    output::{Report, table, table_text},
    repeat::{REPEATS_MAX, Repeated, timed, with_repeats},
};

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar trade buy GameStart 3
  bazaar trade sell GameStart 3 --key my-sale-7      send it again with the same key: nothing happens twice
  bazaar trade buy GameStart 1 -n 100 --output json";

/// The arguments of `bazaar trade`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TradeArgs {
    /// What to do: buy or sell.
    pub side: Side,
    /// The stock's name, 1 to 32 of A-Z a-z 0-9 . _ -
    pub name: StockName,
    /// How many, 1 to 1000000000.
    #[arg(value_parser = parse_quantity, allow_negative_numbers = true)]
    pub quantity: Quantity,
    /// Trade so many times, one after the other.
    #[arg(short = 'n', long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=REPEATS_MAX))]
    pub repeat: u64,
    /// The idempotency key, 1 to 255 printable ASCII characters; with -n every repetition uses it, so that all but the
    /// first are replays [default: a new one for each trade].
    #[arg(long)]
    pub key: Option<IdempotencyKey>,
}

#[derive(Debug, Serialize)]
struct TradeReport {
    first: TradeReceipt,
    last: TradeReceipt,
    accepted: u64,
    replayed: u64,
    /// The key of the last trade.
    key: IdempotencyKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<Repeated>,
}

impl Report for TradeReport {
    fn to_text(&self, colour: bool) -> String {
        let mut main = table(&["ORDER", "STOCK VERSION", "ACCEPTED", "REPLAYED", "KEY"], colour);
        let range = |first: u64, last: u64| if first == last { first.to_string() } else { format!("{first}..{last}") };
        main.add_row([
            range(self.first.transaction_number, self.last.transaction_number),
            range(self.first.stock_version, self.last.stock_version),
            self.accepted.to_string(),
            self.replayed.to_string(),
            self.key.to_string(),
        ]);
        with_repeats(table_text(&main), self.repeated.as_ref(), colour)
    }
}

/// A new key that nobody else uses.
pub fn fresh_key() -> IdempotencyKey {
    IdempotencyKey::new(&format!("bazaar-{:032x}", rand::random::<u128>())).expect("a short ASCII text")
}

/// Runs the command.
///
/// # Errors
/// At the first trade that does not happen, or whose outcome is not known.
pub async fn run(context: &Context, args: TradeArgs) -> Result<()> {
    let mut latencies = Latencies::default();
    let (mut accepted, mut replayed, mut first) = (0, 0, None);
    let mut newest = None;
    for _ in 0..args.repeat {
        let key = args.key.clone().unwrap_or_else(fresh_key);
        let sent = context.frontend.trade(&key, args.name, args.side, args.quantity);
        let answer =
            timed(&mut latencies, sent).await.map_err(|failure| not_traded(context, &failure, &key, accepted))?;
        let Accepted { receipt, replayed: was_replay } = answer;
        replayed += u64::from(was_replay);
        accepted += u64::from(!was_replay);
        first.get_or_insert(receipt);
        newest = Some((receipt, key));
    }
    let (last, key) = newest.expect("at least one trade was made");
    let first = first.expect("at least one trade was made");
    let repeated = Repeated::of(&latencies);
    context.printer.print(&TradeReport { first, last, accepted, replayed, key, repeated });
    Ok(())
}

/// Says what became of a trade, and how it can be sent again without happening twice.
fn not_traded(context: &Context, failure: &Failure, key: &IdempotencyKey, accepted: u64) -> anyhow::Error {
    let before = if accepted > 0 { format!("after {accepted} accepted trades: ") } else { String::new() };
    if !failure.leaves_trade_unknown() {
        let sentence = format!("{:#}", explained(&context.frontend, failure));
        return Ending::new(Exit::from(failure), before + &sentence).into();
    }
    let said = match failure {
        Failure::Answered { error, .. } => said(error),
        _ => failure.to_string(),
    };
    let sentence =
        format!("it is not known whether the trade happened ({said}); send it again safely with --key '{key}'");
    Ending::new(Exit::Unknown, before + &sentence).into()
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{ApiError, ErrorKind, TradeFate};

    use super::*;

    #[test]
    fn only_what_certainly_did_not_happen_is_called_failed() {
        let answered = |kind, outcome| {
            let error = ApiError { outcome, ..ApiError::new(kind, "for a test") };
            Failure::Answered { error, retry_after: None }.leaves_trade_unknown()
        };
        assert!(answered(ErrorKind::OutcomeUnknown, Some(TradeFate::Unknown)));
        for kind in [ErrorKind::NoLeader, ErrorKind::Internal] {
            assert!(answered(kind, None) && !answered(kind, Some(TradeFate::NotApplied)), "{kind:?}");
        }
        assert!(!answered(ErrorKind::InsufficientQuantity, None));
        for status in [404, 502] {
            assert!(Failure::Foreign { status, text: "of a proxy".into() }.leaves_trade_unknown());
        }
        assert!(Failure::Timeout.leaves_trade_unknown() && Failure::Broken("reset".into()).leaves_trade_unknown());
        assert!(!Failure::Refused.leaves_trade_unknown());
        assert!(!Failure::Untrusted("UnknownIssuer".into()).leaves_trade_unknown());
    }
}
