//! The check of recorded histories is worth something only if it fails when a rule is broken: here the catalog or the
//! frontends break one, and the history must show it.

use anyhow::{Result, bail};
use bazaar_tests::{
    Cluster,
    chaos::{Chaos, Draw},
};

/// Faults after which a mutant that was not found out is held to be one that the check cannot find.
const FAULTS_MAX: u64 = 60;

async fn is_found_out(mutant: &'static str) -> Result<()> {
    let mut chaos = Chaos::begin(Cluster::start_mutant(3, mutant).await?)?;
    let mut draw = Draw::new(7);
    for faults in 0..FAULTS_MAX {
        chaos.trades_go_on().await?;
        if let Err(found) = chaos.recorder.history().check() {
            println!(
                "'{mutant}' was found out after {faults} faults, in {} answers: {found}",
                chaos.recorder.history().len()
            );
            return Ok(());
        }
        let fault = chaos.draw(&mut draw).await?;
        chaos.suffer(fault).await?;
    }
    bail!("'{mutant}' was not found out")
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
