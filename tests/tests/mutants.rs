//! The check of recorded histories is worth something only if it fails when a rule is broken: here the catalog or the
//! frontends break one, and the history must show it.

use anyhow::{Result, bail};
use bazaar_tests::{
    Cluster,
    chaos::{Chaos, Kind},
    history::Violation,
};

/// Faults after which a mutant that was not found out is held to be one that the check cannot find.
const FAULTS_MAX: u64 = 60;
/// Faults that make caches and leases wrong, if anything does.
const FAULTS_OF: &[Kind] = &[Kind::Kill, Kind::Freeze];
/// What draws the faults.
const SEED: u64 = 7;

async fn is_found_out(mutant: &'static str) -> Result<()> {
    let mut chaos = Chaos::begin(Cluster::start_mutant(3, mutant).await?, SEED)?;
    match chaos.suffer(FAULTS_OF, FAULTS_MAX).await {
        Ok(()) => bail!("'{mutant}' was not found out"),
        Err(error) if error.is::<Violation>() => {
            println!("'{mutant}' was found out, when {} things had been seen: {error:#}", chaos.traffic.seen());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn it_is_found_out_when_acks_of_invalidations_are_ignored() -> Result<()> {
    is_found_out("ignore-acks").await
}

#[tokio::test]
async fn it_is_found_out_when_frontends_ignore_the_end_of_their_lease() -> Result<()> {
    is_found_out("hit-without-lease").await
}

#[tokio::test]
async fn it_is_found_out_when_fills_are_not_compared_with_invalidations() -> Result<()> {
    is_found_out("fill-below-floor").await
}
