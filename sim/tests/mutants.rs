//! Each rule is broken once, and some seed shows what goes wrong.
#![cfg(feature = "mutants")]

use bazaar_domain::mutants::{Mutant, break_only};
use sim::{
    plan::{Length, Plan},
    world,
};

/// Seeds after which a mutant counts as one that the simulation does not find.
const SEEDS_MAX: u64 = 20_000;

#[test]
fn survey() {
    let only = std::env::var("ONLY").unwrap_or_default();
    for mutant in Mutant::ALL.iter().copied().filter(|m| only.is_empty() || only.split(' ').any(|o| o == m.name())) {
        break_only(Some(mutant));
        let found = (0..SEEDS_MAX).find_map(|seed| {
            let violation = world::run(&Plan::draw(seed, Length::SHORT), None).err()?;
            Some((seed, violation))
        });
        break_only(None);
        match found {
            Some((seed, violation)) => {
                println!("{:<28} {seed:>6}  {}", mutant.name(), violation.0.lines().next().unwrap_or_default())
            }
            None => println!("{:<28}   none", mutant.name()),
        }
    }
}
