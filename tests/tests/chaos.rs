//! Some minutes of what `scripts/chaos` does for hours: every kind of fault at least once, and others for a while.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bazaar_tests::chaos::{Chaos, Draw, Kind, prepared};
use tokio::sync::Mutex;

const FRONTENDS: u16 = 2;
/// The runs share out all kinds of faults.
const RUNS: usize = 3;
/// What draws who gets which.
const SEED_OF_SHARES: u64 = 1;
const LASTS: Duration = Duration::from_secs(60);

/// One at a time: what a whole machine bears, three clusters at once might not bear in time.
static MACHINE: Mutex<()> = Mutex::const_new(());

async fn is_borne(run: u64) -> Result<()> {
    let _alone = MACHINE.lock().await;
    let Some(mut chaos) = Chaos::begin_with_everything(prepared(FRONTENDS)?, run).await? else { return Ok(()) };
    let suffered = suffer(&mut chaos, run).await;
    if suffered.is_err() {
        return suffered.with_context(|| chaos.keep());
    }
    println!("{}", chaos.report());
    Ok(())
}

async fn suffer(chaos: &mut Chaos, run: u64) -> Result<()> {
    let end = Instant::now() + LASTS;
    let mut all = Kind::ALL.to_vec();
    Draw::new(SEED_OF_SHARES).shuffle(&mut all);
    let share: Vec<Kind> = all.into_iter().skip(usize::try_from(run)? - 1).step_by(RUNS).collect();
    chaos.suffer(&share, u64::try_from(share.len())?).await?;
    chaos.suffer_until(Kind::ALL, end).await
}

// With threads of their own for the clients: commands that cut ways and start processes block the one that runs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_first_minute_of_chaos_is_borne() -> Result<()> {
    is_borne(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_minute_of_chaos_is_borne() -> Result<()> {
    is_borne(2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_third_minute_of_chaos_is_borne() -> Result<()> {
    is_borne(3).await
}
