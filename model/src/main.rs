//! Searches the leases for a way to an older value.

use std::process::ExitCode;

use bazaar_model::{
    bounds::Bounds,
    goals::Goal,
    scenarios::{Scenario, all, named},
    search::{Order, Report, search},
    trace::tell_bounds,
};
use clap::{Parser, ValueEnum};

/// Searches the leases for a way to an older value, in every order of events within the bounds.
///
/// The bounds are those of a scenario; options change them.
#[derive(Debug, Parser)]
#[command(name = "bazaar-model", version)]
struct Args {
    /// The scenario to begin with.
    #[arg(long, default_value = "one-leader", value_name = "NAME")]
    scenario: String,
    /// List the scenarios and end.
    #[arg(long)]
    list: bool,
    /// Trades, all of the first stock.
    #[arg(long, value_name = "COUNT")]
    trades: Option<usize>,
    /// Replicas that can lead.
    #[arg(long, value_name = "COUNT")]
    leaders: Option<usize>,
    /// How often the votes go to another replica.
    #[arg(long, value_name = "COUNT")]
    elections: Option<u32>,
    /// Crashes of the catalog.
    #[arg(long, value_name = "COUNT")]
    crashes: Option<u32>,
    /// Frontends with a cache.
    #[arg(long, value_name = "COUNT")]
    frontends: Option<usize>,
    /// Stocks, at most two.
    #[arg(long, value_name = "COUNT")]
    stocks: Option<usize>,
    /// How often time passes.
    #[arg(long, value_name = "COUNT")]
    ticks: Option<u64>,
    /// How long a lease lasts, in ticks.
    #[arg(long, value_name = "TICKS")]
    ttl: Option<u64>,
    /// The granter's margin, in percent.
    #[arg(long, value_name = "PERCENT")]
    margin: Option<u32>,
    /// Ticks that one clock misses.
    #[arg(long, value_name = "COUNT")]
    missed_ticks: Option<u32>,
    /// Messages that are delivered and stay under way.
    #[arg(long, value_name = "COUNT")]
    repeats: Option<u32>,
    /// Lease requests of a frontend under way at a time.
    #[arg(long, value_name = "COUNT")]
    requests: Option<usize>,
    /// Which state is expanded next.
    #[arg(long, value_enum, default_value_t = Expand::Nearest)]
    expand: Expand,
    /// End after so many states; each takes some 30 bytes, and a waiting one about a kilobyte.
    #[arg(long, default_value_t = 50_000_000, value_name = "COUNT")]
    states_max: usize,
    /// Break this rule.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Expand {
    /// The one nearest to the start: the trace of a violation is a shortest one.
    Nearest,
    /// The newest one: needs little memory for those that wait.
    Newest,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for scenario in all() {
            println!("{:<20} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    let Some(scenario) = named(&args.scenario) else {
        println!("there is no scenario '{}'; --list names them", args.scenario);
        return ExitCode::FAILURE;
    };
    if let Err(text) = break_rule(&args) {
        println!("{text}");
        return ExitCode::FAILURE;
    }
    let bounds = bounds(&args, &scenario);
    println!("{}", tell_bounds(&bounds));
    let order = match args.expand {
        Expand::Nearest => Order::Breadth,
        Expand::Newest => Order::Depth,
    };
    tell(&search(&bounds, order, args.states_max))
}

#[cfg(feature = "mutants")]
fn break_rule(args: &Args) -> Result<(), String> {
    use bazaar_domain::mutants::{Mutant, break_only};
    let Some(name) = &args.mutant else { return Ok(()) };
    let found = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
    let names = || Mutant::ALL.iter().map(|mutant| mutant.name()).collect::<Vec<_>>().join(", ");
    break_only(Some(found.ok_or_else(|| format!("there is no mutant '{name}'; there are: {}", names()))?));
    Ok(())
}

#[cfg(not(feature = "mutants"))]
fn break_rule(_args: &Args) -> Result<(), String> {
    Ok(())
}

fn bounds(args: &Args, scenario: &Scenario) -> Bounds {
    let mut bounds = scenario.bounds.clone();
    let set = |value: &mut u32, given: Option<u32>| *value = given.unwrap_or(*value);
    set(&mut bounds.elections, args.elections);
    set(&mut bounds.crashes, args.crashes);
    set(&mut bounds.repeats, args.repeats);
    set(&mut bounds.missed_ticks, args.missed_ticks);
    set(&mut bounds.margin_percent, args.margin);
    bounds.ticks = args.ticks.unwrap_or(bounds.ticks);
    bounds.ttl_ticks = args.ttl.unwrap_or(bounds.ttl_ticks);
    bounds.stocks = args.stocks.unwrap_or(bounds.stocks).clamp(1, 2);
    bounds.replicas = args.leaders.unwrap_or(bounds.replicas).max(1);
    bounds.frontends = args.frontends.unwrap_or(bounds.frontends).min(3);
    bounds.requests = args.requests.unwrap_or(bounds.requests);
    bounds.trades = args.trades.map_or(bounds.trades, |trades| vec![0; trades]);
    bounds
}

fn tell(report: &Report) -> ExitCode {
    println!(
        "{} states, {} steps, {} events at most in a row, {} states waiting at most, {:.1} s",
        report.states,
        report.steps,
        report.depth,
        report.waiting_max,
        report.elapsed.as_secs_f64()
    );
    for goal in Goal::ALL.iter().filter(|goal| report.goals.has(**goal)) {
        println!("  seen:{}", goal.words());
    }
    match &report.violation {
        Some((violation, trace)) => {
            println!("{trace}\nVIOLATION: {violation}");
            ExitCode::FAILURE
        }
        None if report.is_complete => {
            println!("nothing is wrong within these bounds");
            ExitCode::SUCCESS
        }
        None => {
            println!("nothing is wrong so far; the search was ended by --states-max");
            ExitCode::SUCCESS
        }
    }
}
