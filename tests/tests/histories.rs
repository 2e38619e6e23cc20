//! Clients at three frontends record all that they see while processes are killed and halted, and nothing that they saw
//! may have gone back.

use anyhow::Result;
use bazaar_tests::{
    Cluster,
    chaos::{Chaos, Kind},
};

/// What they suffer from, and how often.
const FAULTS_OF: &[Kind] = &[Kind::Kill, Kind::Freeze];
const FAULTS: u64 = 12;

async fn suffer_from(seed: u64) -> Result<()> {
    let mut chaos = Chaos::begin(Cluster::start_with_frontends(3, "").await?, seed)?;
    chaos.suffer(FAULTS_OF, FAULTS).await?;
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
