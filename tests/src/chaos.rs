//! Clients at every frontend, and faults that are drawn from a seed.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    Cluster, Name,
    traffic::{Trades, Traffic},
};

/// How long faults last: below and above the length of a lease.
const LASTS_MS: [u64; 4] = [50, 300, 800, 1_500];
/// After so many faults, lookups have to go on everywhere too, and not only trades.
const LOOKUPS_EVERY: u64 = 3;

/// A small generator: the same seed gives the same faults (Knuth's MMIX constants).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// Draws from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let place = self.below(all.len() as u64);
        &all[usize::try_from(place).expect("it is below the length")]
    }
}

/// Something done to a process, and undone after a while.
#[derive(Debug, Clone, Copy)]
struct Fault {
    victim: Name,
    /// Killed (kill -9), or only halted.
    killed: bool,
    lasts: Duration,
}

/// A cluster whose processes die and freeze under traffic.
#[derive(Debug)]
pub struct Chaos {
    cluster: Cluster,
    /// Clients at every frontend.
    pub traffic: Traffic,
    draw: Draw,
}

impl Chaos {
    /// Puts clients at every frontend.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn begin(cluster: Cluster, seed: u64) -> Result<Self> {
        let mut traffic = Traffic::new()?;
        for name in cluster.names() {
            if let Name::Frontend(number) = name {
                traffic.trade(format!("frontend {number}"), cluster.url_of(name), Trades::MayGetLost);
            }
        }
        Ok(Self { cluster, traffic, draw: Draw::new(seed) })
    }

    /// Suffers so many faults, one after the other; before and after each, trades go on at every frontend.
    ///
    /// # Errors
    /// If they do not, or clients find anything wrong.
    pub async fn suffer(&mut self, faults: u64) -> Result<()> {
        self.traffic.trades_go_on().await?;
        for number in 1..=faults {
            let fault = self.draw().await?;
            println!("fault {number}: {fault:?}");
            self.carry_out(fault).await.with_context(|| format!("after fault {number}, {fault:?}"))?;
            if number.is_multiple_of(LOOKUPS_EVERY) {
                self.traffic.all_goes_on().await?;
            }
        }
        Ok(())
    }

    /// Draws a fault: mostly of frontends and the catalog, now and then of the leader.
    async fn draw(&mut self) -> Result<Fault> {
        let frontends: Vec<Name> = self.cluster.names().filter(|name| matches!(name, Name::Frontend(_))).collect();
        let victim = match self.draw.below(6) {
            0 => Name::Replica(self.traffic.unless_faulty(self.cluster.leader()).await?),
            1 | 2 => Name::Catalog,
            _ => *self.draw.one_of(&frontends),
        };
        Ok(Fault {
            victim,
            killed: self.draw.below(3) == 0,
            lasts: Duration::from_millis(*self.draw.one_of(&LASTS_MS)),
        })
    }

    async fn carry_out(&mut self, Fault { victim, killed, lasts }: Fault) -> Result<()> {
        if killed {
            self.cluster.kill(victim);
            tokio::time::sleep(lasts).await;
            self.traffic.unless_faulty(self.cluster.restart(victim)).await?;
        } else {
            self.cluster.signal(victim, "STOP")?;
            tokio::time::sleep(lasts).await;
            self.cluster.signal(victim, "CONT")?;
        }
        self.traffic.trades_go_on().await
    }

    /// Ends the clients, and checks what they saw, see [`Traffic::end`].
    ///
    /// # Errors
    /// What is wrong.
    pub async fn end(self) -> Result<()> {
        self.traffic.end(&self.cluster).await
    }
}
