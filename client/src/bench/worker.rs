//! One thread of the load: its connections, its tally, and a runtime of its own, so that it shares nothing with other
//! threads until it hands a second's tally over.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task::spawn_local,
    time::{sleep, sleep_until},
};

use super::{
    generator::{Generator, Scene},
    pace::{Pace, Schedule},
    series::Handover,
    tally::Tally,
    wire::{self, Connection, Target},
};

/// Pause after an error, so that a refusing server is not asked in a tight loop.
const ERROR_PAUSE: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

/// What a thread has to do.
#[derive(Debug)]
pub struct Work {
    /// Where requests go.
    pub target: Arc<Target>,
    /// What they are made of.
    pub scene: Arc<Scene>,
    /// The numbers of its connections.
    pub connections: Vec<u64>,
    /// When they send, if not at once.
    pub schedule: Option<Schedule>,
    /// When the warm-up ends.
    pub start: Instant,
    /// How many seconds are measured.
    pub duration_s: u64,
    /// Who gets the tally of each second.
    pub taker: mpsc::Sender<Handover>,
}

impl Work {
    /// Does it all, in this thread.
    ///
    /// # Errors
    /// If the operating system refuses a runtime or a timer.
    pub fn run(self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        // Whatever is still under way at the end is dropped with the runtime.
        runtime.block_on(self.measure())
    }

    async fn measure(self) -> io::Result<()> {
        let pace = Rc::new(Pace::new(self.schedule)?);
        let tally = Rc::new(RefCell::new(Tally::default()));
        for number in &self.connections {
            let client = Client {
                target: Arc::clone(&self.target),
                generator: Generator::new(Arc::clone(&self.scene), *number),
                pace: Rc::clone(&pace),
                tally: Rc::clone(&tally),
                connection: None,
            };
            spawn_local(client.drive());
        }
        self.hand_over(&tally).await;
        Ok(())
    }

    async fn hand_over(&self, tally: &RefCell<Tally>) {
        if self.start > Instant::now() {
            sleep_until(self.start.into()).await;
            // What was answered in the warm-up does not count. Requests that it left behind do, late as they are.
            tally.take();
        }
        let mut last = Instant::now();
        for second in 1..=self.duration_s {
            sleep_until((self.start + SECOND * u32::try_from(second).expect("a day has fewer")).into()).await;
            let lasted = last.elapsed();
            last += lasted;
            let part = Handover { second, lasted, tally: tally.take() };
            if self.taker.send(part).await.is_err() {
                return;
            }
        }
    }
}

/// One connection, opened again when it breaks.
#[derive(Debug)]
struct Client {
    target: Arc<Target>,
    generator: Generator,
    pace: Rc<Pace>,
    tally: Rc<RefCell<Tally>>,
    connection: Option<Connection>,
}

impl Client {
    /// One request after the other; ends only by being dropped.
    async fn drive(mut self) {
        loop {
            match self.connection.take() {
                Some(open) => self.ask(open).await,
                None => self.connect().await,
            }
        }
    }

    async fn connect(&mut self) {
        match Connection::open(&self.target).await {
            Ok(open) => self.connection = Some(open),
            Err(error) => {
                self.fail(&error);
                sleep(ERROR_PAUSE).await;
            }
        }
    }

    async fn ask(&mut self, mut open: Connection) {
        let intended = self.pace.turn().await;
        let well = match open.exchange(self.generator.next_request()).await {
            Ok(answer) => {
                let latency = intended.elapsed();
                let outcome = self.generator.judge(answer.status, answer.body);
                let (well, keep_alive) = (outcome.error.is_none(), answer.keep_alive);
                self.tally.borrow_mut().count(outcome, latency);
                self.connection = keep_alive.then_some(open);
                well
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        };
        if !well && self.pace.pauses_after_errors() {
            sleep(ERROR_PAUSE).await;
        }
    }

    fn fail(&self, error: &io::Error) {
        self.tally.borrow_mut().error(wire::error_kind(error), 1);
    }
}
