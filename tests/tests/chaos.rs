//! Everything that happens to clusters, drawn from three seeds, a minute each; `scripts/chaos` goes on for longer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bazaar_tests::chaos::{Chaos, Kind, prepared};

/// How long a run is. It ends with the fault that it is at then.
const LASTS: Duration = Duration::from_secs(60);
const FRONTENDS: u16 = 2;

async fn suffer_from(seed: u64) -> Result<()> {
    let Some(mut chaos) = Chaos::begin_with_everything(prepared(FRONTENDS)?, seed).await? else { return Ok(()) };
    let end = Instant::now() + LASTS;
    let suffered = match chaos.suffer_while(Kind::ALL, |_| Instant::now() < end).await {
        Ok(()) => chaos.end().await,
        error => error,
    };
    println!("{}", chaos.report());
    suffered.with_context(|| format!("scripts/chaos --minutes 1 --seed {seed} suffers the same faults again"))
}

#[tokio::test]
async fn nothing_is_wrong_after_a_minute_of_faults() -> Result<()> {
    suffer_from(1).await
}

#[tokio::test]
async fn nothing_is_wrong_after_another_minute_of_faults() -> Result<()> {
    suffer_from(2).await
}

#[tokio::test]
async fn nothing_is_wrong_after_a_third_minute_of_faults() -> Result<()> {
    suffer_from(3).await
}
