//! `bazaar query`: looks a stock up.

use anyhow::Result;
use bazaar_domain::{StockName, api::StockView};
use clap::Args;
use serde::Serialize;

use crate::{
    Context,
    api::{CacheUse, Lookup, explained},
    latency::Latencies,
    output::{Report, table, table_text},
    repeat::{REPEATS_MAX, Repeated, timed, with_repeats},
};

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar query GameStart
  bazaar query GameStart -n 1000        a thousand lookups, with their latencies
  bazaar query GameStart --stale        an older value will do, if the cluster cannot promise a current one
  bazaar query GameStart --output json";

/// The arguments of `bazaar query`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct QueryArgs {
    /// The stock's name, 1 to 32 of A-Z a-z 0-9 . _ -
    pub name: StockName,
    /// Look it up so many times, one after the other.
    #[arg(short = 'n', long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=REPEATS_MAX))]
    pub repeat: u64,
    /// Accept an older value from a catalog that cannot promise that its own is current; it is marked.
    #[arg(long)]
    pub stale: bool,
}

#[derive(Debug, Serialize)]
struct QueryReport {
    stock: StockView,
    cache: CacheCounts,
    /// Whether the last answer may be old.
    stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<Repeated>,
}

/// How lookups were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CacheCounts {
    /// From the frontend's cache.
    pub hit: u64,
    /// From the catalog, and kept.
    pub miss: u64,
    /// From the catalog, and not kept.
    pub bypass: u64,
}

impl CacheCounts {
    /// Counts one lookup.
    pub fn count(&mut self, cache: Option<CacheUse>) {
        match cache {
            Some(CacheUse::Hit) => self.hit += 1,
            Some(CacheUse::Miss) => self.miss += 1,
            Some(CacheUse::Bypass) => self.bypass += 1,
            None => {}
        }
    }
}

impl Report for QueryReport {
    fn to_text(&self, colour: bool) -> String {
        let mut main = table(&["NAME", "PRICE", "QUANTITY", "VOLUME", "VERSION", "HIT", "MISS", "BYPASS"], colour);
        let StockView { name, price, quantity, trade_volume, version } = &self.stock;
        let CacheCounts { hit, miss, bypass } = self.cache;
        main.add_row([
            name.to_string(),
            price.to_string(),
            quantity.to_string(),
            trade_volume.to_string(),
            version.to_string(),
            hit.to_string(),
            miss.to_string(),
            bypass.to_string(),
        ]);
        let mark = if self.stale { "\nthis value may be old" } else { "" };
        with_repeats(table_text(&main) + mark, self.repeated.as_ref(), colour)
    }
}

/// Runs the command.
///
/// # Errors
/// At the first lookup that fails.
pub async fn run(context: &Context, args: QueryArgs) -> Result<()> {
    let (mut latencies, mut cache, mut newest) = (Latencies::default(), CacheCounts::default(), None);
    for _ in 0..args.repeat {
        let answer = if args.stale {
            timed(&mut latencies, context.frontend.lookup_stale(args.name)).await
        } else {
            timed(&mut latencies, context.frontend.lookup(args.name)).await
        };
        let lookup = answer.map_err(|failure| explained(&context.frontend, &failure))?;
        cache.count(lookup.cache);
        newest = Some(lookup);
    }
    let Lookup { stock, stale, .. } = newest.expect("at least one lookup was made");
    context.printer.print(&QueryReport { stock, cache, stale, repeated: Repeated::of(&latencies) });
    Ok(())
}
