//! libFuzzer around the checks of `bazaar_order_raft::fuzzed` and `bazaar_catalog::fuzzed`, with a bound on the memory that an input may demand.

mod memory;

use std::{env, fs, path::Path, sync::OnceLock};

use bazaar_catalog::fuzzed::{catalog_message_seeds, catalog_messages};
use bazaar_order_raft::fuzzed::{TARGETS, Target};

pub use libfuzzer_sys::fuzz_target;

/// With this variable, a target writes its seeds into that folder before it begins.
const SEEDS: &str = "BAZAAR_FUZZ_SEEDS";
/// Memory that a decoder may take whatever its input: buffers, and what serde takes in advance for lists that claim to
/// be long, up to 1 MiB for each of those within each other.
const MEMORY_BYTES: usize = 4 << 20;
/// Memory that it may take for each byte of its input. The values are larger than their records: a decision of one byte
/// takes 40, and a list that grows is there twice for a moment.
const MEMORY_PER_INPUT_BYTE: usize = 200;

const CATALOG_MESSAGES: Target =
    Target { name: "catalog_messages", decodes: true, check: catalog_messages, seeds: catalog_message_seeds };

static TARGET: OnceLock<Target> = OnceLock::new();

/// Makes the entry points of libFuzzer for the target of this name.
#[macro_export]
macro_rules! search {
    ($name:literal) => {
        $crate::fuzz_target!(init: $crate::begin($name), |bytes: &[u8]| $crate::check(bytes));
    };
}

/// Finds the target, and writes its seeds if they are wanted.
///
/// # Panics
/// If there is no such target, or the seeds cannot be written.
pub fn begin(name: &str) {
    let found = TARGET.get_or_init(|| {
        let mut all = TARGETS.into_iter().chain([CATALOG_MESSAGES]);
        all.find(|target| target.name == name).expect("every target is in the list of all")
    });
    let Some(folder) = env::var_os(SEEDS) else { return };
    fs::create_dir_all(&folder).expect("the folder for seeds can be made");
    for (number, seed) in (found.seeds)().iter().enumerate() {
        fs::write(Path::new(&folder).join(format!("seed-{number:02}")), seed).expect("a seed can be written");
    }
}

/// Runs the target's check on one input.
///
/// # Panics
/// If it finds something, or the input demanded more memory than it may.
pub fn check(bytes: &[u8]) {
    let target = TARGET.get().expect("libFuzzer begins with the beginning");
    let (_, peak) = memory::peak_of(|| (target.check)(bytes));
    let most = MEMORY_BYTES + MEMORY_PER_INPUT_BYTE * bytes.len();
    assert!(!target.decodes || peak <= most, "{} bytes of input took {peak} bytes of memory", bytes.len());
}
