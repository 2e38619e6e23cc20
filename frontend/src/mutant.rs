//! The same process, in which the rule that the environment's `BAZAAR_MUTANT` names is broken: for checks that must
//! notice. It is built only on demand, with the feature `mutants`.

use std::process::ExitCode;

#[path = "main.rs"]
mod process;

fn main() -> ExitCode {
    process::main()
}
