//! The arguments.

use std::path::PathBuf;

use clap::Parser;

/// Most orders that a store is filled with: more would fill the disk first.
const ORDERS_MAX: u64 = 1_000_000_000;
/// Longest soak: a week.
const SOAK_MINUTES_MAX: u64 = 7 * 24 * 60;

/// Measures the service on this machine: a fresh cluster with ten stocks, loaded by 'bazaar bench', everything on the
/// same cores. Data goes to the temporary folder (TMPDIR), which must be on a disk.
#[derive(Debug, Clone, Parser)]
#[command(name = "scripts/bench")]
pub struct Args {
    /// Also start and measure PostgreSQL and etcd, with the same guarantee on the same machine.
    #[arg(long)]
    pub peers: bool,
    /// One short repeat of each row: shows that everything works, but no figures worth keeping.
    #[arg(long)]
    pub quick: bool,
    /// Only rows with these names, or whose names begin with them ("trades", "batch-64"); a wrong name lists all.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Fill the store with so many orders first.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=ORDERS_MAX))]
    pub orders: u64,
    /// Instead of the table: trades at 64 connections for so long, with a line a minute.
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["peers", "only", "quick"],
          value_parser = clap::value_parser!(u64).range(1..=SOAK_MINUTES_MAX))]
    pub soak: Option<u64>,
    /// Where the figures go as JSON [default: docs/bench/latest.json for a whole run; nowhere with --quick, --only,
    /// --orders or --soak].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl Args {
    /// Where the figures go.
    pub fn out(&self) -> Option<PathBuf> {
        let whole = !self.quick && self.only.is_empty() && self.orders == 0 && self.soak.is_none();
        self.out.clone().or_else(|| whole.then(|| "docs/bench/latest.json".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["scripts/bench"], words].concat())
    }

    #[test]
    fn only_a_whole_run_replaces_the_kept_figures() {
        assert_eq!(parsed(&["--peers"]).unwrap().out(), Some("docs/bench/latest.json".into()));
        for part in [&["--quick"][..], &["--only", "trades"], &["--orders", "5"], &["--soak", "60"]] {
            assert_eq!(parsed(part).unwrap().out(), None, "{part:?}");
        }
        assert_eq!(parsed(&["--quick", "--out", "x.json"]).unwrap().out(), Some("x.json".into()));
    }

    #[test]
    fn names_are_split_at_commas_and_a_soak_stands_alone() {
        assert_eq!(parsed(&["--only", "trades-1,reads"]).unwrap().only, ["trades-1", "reads"]);
        assert!(parsed(&["--soak", "60", "--peers"]).is_err());
        assert!(parsed(&["--soak", "0"]).is_err());
    }
}
