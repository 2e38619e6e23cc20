//! The same process, in which the rule that the environment's `BAZAAR_MUTANT` names is broken: for checks that must
//! notice. It is built only on demand, with the feature `mutants`.

use std::process::ExitCode;

use bazaar_domain::mutants::{Mutant, broken};

#[path = "main.rs"]
mod process;

fn main() -> ExitCode {
    // Reads the name: one that is misspelt must end the process here, and not break nothing.
    let _ = broken(Mutant::IgnoreAcks);
    process::main()
}
