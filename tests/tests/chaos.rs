//! Three minutes of what `scripts/chaos` does for hours.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bazaar_tests::chaos::{Chaos, Kind, prepared};
use tokio::sync::Mutex;

const FRONTENDS: u16 = 2;
const LASTS: Duration = Duration::from_secs(60);

/// One at a time: what a whole machine bears, three clusters at once might not bear in time.
static MACHINE: Mutex<()> = Mutex::const_new(());

async fn is_borne(seed: u64) -> Result<()> {
    let _alone = MACHINE.lock().await;
    let Some(mut chaos) = Chaos::begin_with_everything(prepared(FRONTENDS)?, seed).await? else { return Ok(()) };
    let suffered = chaos.suffer_until(Kind::ALL, Instant::now() + LASTS).await;
    if suffered.is_err() {
        let folder = chaos.keep()?;
        return suffered.with_context(|| format!("what is left of it is in {}", folder.display()));
    }
    println!("{}", chaos.report());
    suffered
}

#[tokio::test]
async fn a_first_minute_of_chaos_is_borne() -> Result<()> {
    is_borne(1).await
}

#[tokio::test]
async fn a_second_minute_of_chaos_is_borne() -> Result<()> {
    is_borne(2).await
}

#[tokio::test]
async fn a_third_minute_of_chaos_is_borne() -> Result<()> {
    is_borne(3).await
}
