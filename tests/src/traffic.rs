//! Clients that trade and look without a pause, and what must be true of all that they were shown.

mod clients;
mod door;

use std::{
    fs,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use bazaar_linear::{Bounds, Recorded, Report, Verdict, by_stock};
use tokio::{task::JoinSet, time::timeout};

use self::door::{Count, Faults, GOES_ON_AFTER, Shared};
pub use self::door::{Door, Trades};
use crate::{
    Cluster,
    chaos::Check,
    cluster::{LISTED_QUANTITY, STOCKS as LISTED},
    history::Violation,
    quantities::{self, LISTED_VERSION},
    recorder::Recorder,
    wait::WAIT_MAX,
};

/// Answers of each kind without which a story has not tried what it is about.
const SHARE_MIN: u64 = 20;
/// The clients of a story. They end when this is dropped.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    doors: Vec<Arc<Door>>,
    clients: JoinSet<()>,
}

impl Traffic {
    /// No clients yet.
    ///
    /// # Errors
    /// If there can be no HTTP client.
    pub fn new() -> Result<Self> {
        let shared = Shared { recorder: Recorder::new()?, faults: Faults::default(), over: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared), doors: Vec::new(), clients: JoinSet::new() })
    }

    /// Clients of all kinds at a frontend.
    pub fn trade(&mut self, name: impl Into<String>, url: String, trades: Trades) -> Arc<Door> {
        let door = self.open(name.into(), url, trades, Count::FRONTEND);
        clients::trade_at(&door, &mut self.clients);
        door
    }

    /// Clients that only look stocks up and list them, straight at the catalog.
    pub fn watch(&mut self, name: impl Into<String>, url: String, trades: Trades) -> Arc<Door> {
        self.open(name.into(), url, trades, Count::CATALOG)
    }

    fn open(&mut self, name: String, url: String, trades: Trades, offers: &'static [Count]) -> Arc<Door> {
        let recorder = self.shared.recorder.at(name, url);
        let door = Arc::new(Door::new(recorder, trades, offers, Arc::clone(&self.shared)));
        clients::look_at(&door, &mut self.clients);
        self.doors.push(Arc::clone(&door));
        door
    }

    /// Waits until a trade that began after this call has been answered at every frontend.
    ///
    /// # Errors
    /// If none is, or anything went wrong meanwhile.
    pub async fn a_trade_goes_through(&self) -> Result<()> {
        let now = self.shared.recorder.history().now();
        for door in self.doors.iter().filter(|door| door.offers.contains(&Count::Trades)) {
            door.trades_since(now).await?;
        }
        Ok(())
    }

    /// Waits until trades that began after this call have been answered at every frontend, many of them.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn trades_go_on(&self) -> Result<()> {
        self.go_on(Count::Trades).await
    }

    /// Waits for lookups too, at every door.
    ///
    /// # Errors
    /// If they are not answered, or anything went wrong meanwhile.
    pub async fn all_goes_on(&self) -> Result<()> {
        self.trades_go_on().await?;
        self.go_on(Count::Lookups).await
    }

    async fn go_on(&self, count: Count) -> Result<()> {
        let doors = self.doors.iter().filter(|door| door.offers.contains(&count));
        let wanted: Vec<_> = doors.map(|door| (door, door.count(count) + GOES_ON_AFTER)).collect();
        for (door, wanted) in wanted {
            door.reaches(count, wanted).await?;
        }
        Ok(())
    }

    /// Waits for something; a fault that a client finds ends it.
    ///
    /// # Errors
    /// The fault that a client has found, or else the one that ends the wait.
    pub async fn unless_faulty<T>(&self, something: impl Future<Output = Result<T>>) -> Result<T> {
        self.shared.unless_faulty(something).await
    }

    /// How many things clients have seen.
    pub fn seen(&self) -> usize {
        self.shared.recorder.history().len()
    }

    /// What all clients share: the history, and the orders that were accepted.
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Checks that nothing that clients were shown so far went back in time. They wait meanwhile.
    ///
    /// # Errors
    /// If something did.
    pub fn is_consistent(&self) -> Result<()> {
        Ok(self.shared.recorder.history().check()?)
    }

    /// The stocks as they were listed, and what clients did with them.
    pub fn operations(&self) -> Vec<Recorded> {
        let listed = LISTED.iter().map(|stock| Recorded::listed(stock, LISTED_QUANTITY, LISTED_VERSION));
        listed.chain(self.shared.recorder.operations()).collect()
    }

    /// Checks that one order of all operations explains what became of every stock. Nobody else may have traded.
    ///
    /// # Errors
    /// If none does, or that was not found out, which is no pass.
    pub fn is_linearizable(&self) -> Result<()> {
        for history in by_stock(&self.operations())? {
            let report = Report::on(history, &Bounds::default());
            match report.verdict {
                Verdict::Ok => println!("{report}"),
                Verdict::Violation(_) => {
                    return Err(anyhow::Error::from(Violation(report.to_string())).context(Check::Linearizability));
                }
                Verdict::Unknown(_) => bail!("{report}"),
            }
        }
        Ok(())
    }

    /// The number of the order that was accepted last.
    ///
    /// # Errors
    /// If there is none.
    pub fn last_order(&self) -> Result<u64> {
        let newest = self.shared.recorder.newest_order().context("an accepted order")?;
        newest["number"].as_u64().context("a number")
    }

    /// Ends the clients after all has gone on and each has done its share, and checks what they saw: nothing went back,
    /// each version had the quantity that the orders give it, all accepted orders are there, and all keepers agree.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn end(&mut self, cluster: &Cluster) -> Result<()> {
        self.all_goes_on().await?;
        for door in &self.doors {
            for count in door.offers {
                door.reaches(*count, SHARE_MIN).await?;
            }
        }
        self.shared.over.store(true, Ordering::Relaxed);
        let ending = timeout(WAIT_MAX, async {
            while let Some(ended) = self.clients.join_next().await {
                ended?;
            }
            anyhow::Ok(())
        });
        self.shared.unless_faulty(async { ending.await.context("a client does not end")? }).await?;
        self.is_consistent()?;
        for door in &self.doors {
            println!("{}", door.summary());
        }
        quantities::check(self.shared.recorder.history(), cluster).await.context(Check::Quantities)?;
        let records = cluster.folder().join("accepted");
        fs::write(&records, self.shared.recorder.records())?;
        cluster.check(Some(&records)).await.context(Check::Orders).map(drop)
    }
}
