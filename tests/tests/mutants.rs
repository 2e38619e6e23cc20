//! The checks of chaos are worth something only if they fail when a rule is broken: here processes break one, and a check
//! must notice it. Those rules are here for which that takes seconds; `scripts/mutants` breaks all.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    chaos::{BROKEN, Caught},
    process::binary,
};
use tokio::sync::Mutex;

/// What is not noticed in this time is held to be something that the checks cannot find.
const LIMIT: Duration = Duration::from_secs(600);
const SEED: u64 = 1;
/// The variable that names the rule to break.
const SWITCH: &str = "BAZAAR_MUTANT";

/// One at a time, as each has a whole cluster.
static MACHINE: Mutex<()> = Mutex::const_new(());

async fn is_noticed(mutant: &str) -> Result<()> {
    let _alone = MACHINE.lock().await;
    let broken = BROKEN.iter().find(|broken| broken.mutant == mutant).context("a mutant")?;
    let Some(Caught { check, after, .. }) = broken.caught_within(LIMIT, SEED).await? else { return Ok(()) };
    println!("'{mutant}' was caught by {check} after {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_a_replica_answers_before_its_log_is_on_disk() -> Result<()> {
    is_noticed("answer-before-sync").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_trades_are_answered_before_the_catalogs_ack() -> Result<()> {
    is_noticed("release-despite-grants").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_some_invalidations_are_not_sent() -> Result<()> {
    is_noticed("drop-some-invalidations").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_acks_of_invalidations_are_ignored() -> Result<()> {
    is_noticed("ignore-acks").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_frontends_ignore_the_end_of_their_lease() -> Result<()> {
    is_noticed("hit-without-lease").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_fills_are_not_compared_with_invalidations() -> Result<()> {
    is_noticed("fill-below-floor").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_order_numbers_come_from_the_log_index() -> Result<()> {
    is_noticed("number-from-log-index").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_a_batch_is_applied_in_any_order() -> Result<()> {
    is_noticed("unordered-apply").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_a_failed_sync_is_tried_again() -> Result<()> {
    is_noticed("retry-failed-sync").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_noticed_when_apply_is_two_writes() -> Result<()> {
    is_noticed("apply-in-two-writes").await
}

/// A check that fails of itself would notice everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_noticed_when_leaders_refuse_late_and_no_rule_is_broken() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let broken = BROKEN.iter().find(|broken| broken.mutant == "skip-read-index").context("a mutant")?;
    broken.is_borne_unbroken(SEED).await.map(drop)
}

/// Whether a rule of this program can be broken.
fn can_be_broken(program: &str) -> Result<bool> {
    let bytes = fs::read(binary(program)).with_context(|| format!("{program} has not been built"))?;
    Ok(bytes.windows(SWITCH.len()).any(|window| window == SWITCH.as_bytes()))
}

#[test]
fn no_rule_of_the_programs_that_people_use_can_be_broken() -> Result<()> {
    for part in ["order-raft", "catalog", "frontend"] {
        ensure!(!can_be_broken(&format!("bazaar-{part}"))?, "bazaar-{part} can be broken");
        ensure!(can_be_broken(&format!("mutant-{part}"))?, "mutant-{part} cannot be broken");
    }
    ensure!(!can_be_broken("bazaar")?, "bazaar can be broken");
    Ok(())
}
