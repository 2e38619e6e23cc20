//! The same load several times, and what everything took meanwhile.

use anyhow::Result;
use serde::Serialize;

use crate::{
    answer::Answer,
    usage::{Group, Snapshot, Usage},
};

/// How long and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// Load before anything counts.
    pub warm_up_s: u64,
    /// One repeat.
    pub duration_s: u64,
    /// Repeats.
    pub repeats: usize,
}

impl Timing {
    /// For figures.
    pub const FULL: Self = Self { warm_up_s: 2, duration_s: 8, repeats: 3 };
    /// To see that everything works.
    pub const QUICK: Self = Self { warm_up_s: 1, duration_s: 1, repeats: 1 };
}

/// One run of a load, and what was taken meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repeat {
    /// What the load generator said.
    #[serde(flatten)]
    pub answer: Answer,
    /// What was taken.
    #[serde(flatten)]
    pub usage: Usage,
}

/// Runs a load once and looks before and after.
///
/// # Errors
/// If the load or a look fails.
pub async fn repeat(groups: &[Group], load: impl Future<Output = Result<Answer>>) -> Result<Repeat> {
    let before = Snapshot::take(groups)?;
    let answer = load.await?;
    Ok(Repeat { answer, usage: Snapshot::take(groups)?.since(&before) })
}

/// Warms up, then runs a load as often as wanted.
///
/// # Errors
/// If the load or a look fails.
pub async fn repeats(
    groups: &[Group],
    timing: Timing,
    mut load: impl AsyncFnMut(u64) -> Result<Answer>,
) -> Result<Vec<Repeat>> {
    load(timing.warm_up_s).await?;
    let mut repeats = Vec::new();
    for _ in 0..timing.repeats {
        repeats.push(repeat(groups, load(timing.duration_s)).await?);
    }
    Ok(repeats)
}
