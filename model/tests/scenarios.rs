//! With all rules in place the search finds nothing, and sees everything happen that should.
#![cfg(not(feature = "mutants"))]

use bazaar_domain::mutants::{Mutant, broken};
use bazaar_model::{
    bounds::Bounds,
    scenarios::{all, named},
    search::{Order, search},
};

/// More than any of them needs.
const STATES_MAX: usize = 5_000_000;

fn holds(name: &str) {
    let scenario = named(name).unwrap();
    let report = search(&scenario.bounds, Order::Depth, STATES_MAX);
    println!("{name}: {} states, {} steps, {:?}", report.states, report.steps, report.elapsed);
    if let Some((violation, trace)) = report.violation {
        panic!("{trace}{violation}");
    }
    assert!(report.is_complete, "more than {STATES_MAX} states");
    let missing: Vec<_> = scenario.goals.iter().filter(|goal| !report.goals.has(**goal)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

macro_rules! hold {
    ($($test:ident: $name:literal,)+) => {
        $(
            #[test]
            fn $test() {
                holds($name);
            }
        )+

        #[test]
        fn every_scenario_has_its_test() {
            let tested = [$($name,)+];
            assert!(all().iter().all(|scenario| tested.contains(&scenario.name)));
        }
    };
}

hold! {
    nothing_goes_back_with_one_leader: "one-leader",
    nothing_goes_back_with_late_messages: "late-messages",
    nothing_goes_back_with_two_leaders: "two-leaders",
    nothing_goes_back_with_two_leaders_a_cache_and_a_crash: "leader-and-cache",
    nothing_goes_back_when_the_catalog_crashes: "catalog-crash",
    nothing_goes_back_with_two_leaders_and_crashes_of_the_catalog: "leader-and-crashes",
    nothing_goes_back_with_two_frontends: "two-frontends",
    nothing_goes_back_with_late_lease_requests: "sessions",
    nothing_goes_back_when_entries_are_evicted: "eviction",
    nothing_goes_back_with_inventories: "inventories",
    nothing_goes_back_when_a_divergence_is_healed: "divergence",
    nothing_goes_back_with_shared_fetches: "shared-fetches",
    nothing_goes_back_with_late_grants: "late-grants",
    nothing_goes_back_with_a_slow_clock: "slow-clock",
    nothing_goes_back_with_two_leaders_of_which_one_has_a_slow_clock: "slow-clock-of-leaders",
}

/// The margin is one tick: it covers one that a clock misses, and no more.
#[test]
fn a_clock_that_is_slower_than_the_margin_is_found() {
    for name in ["slow-clock", "slow-clock-of-leaders"] {
        let bounds = Bounds { missed_ticks: 2, ..named(name).unwrap().bounds };
        let (violation, trace) = search(&bounds, Order::Breadth, STATES_MAX).violation.unwrap();
        println!("{name}\n{trace}{violation}");
    }
}

#[test]
fn no_rule_can_be_broken_in_a_default_build() {
    // A constant: the feature would make this line an error, and the environment cannot matter.
    const BROKEN: bool = broken(Mutant::GrantFromNow);
    assert!(!BROKEN && Mutant::ALL.iter().all(|mutant| !broken(*mutant)));
}
