//! Clients at three frontends record all that they see while processes are killed and halted, and nothing that they saw
//! may have gone back.

use anyhow::Result;
use bazaar_tests::{
    Cluster,
    chaos::{Chaos, Draw},
};

/// How many faults a story suffers.
const FAULTS: u64 = 12;

async fn suffer_from(seed: u64) -> Result<()> {
    let mut chaos = Chaos::begin(Cluster::start_with_frontends(3, "").await?)?;
    let mut draw = Draw::new(seed);
    chaos.trades_go_on().await?;
    for number in 1..=FAULTS {
        let fault = chaos.draw(&mut draw).await?;
        println!("seed {seed}, fault {number}: {fault:?}");
        chaos.suffer(fault).await?;
    }
    chaos.end().await
}

#[tokio::test]
async fn nothing_goes_back_while_frontends_catalog_and_leaders_die_and_freeze() -> Result<()> {
    suffer_from(1).await
}

#[tokio::test]
async fn nothing_goes_back_with_other_faults() -> Result<()> {
    suffer_from(2).await
}
