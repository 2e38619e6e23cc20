//! The end of a run: everything is made well again, and must then be well.

use bazaar_domain::Side;

use crate::{
    clock::{MILLI, Micros, SECOND},
    message::{Process, Reply},
    plan::{Action, FRONTENDS, Op, PROCESSES, stocks, trade},
    seen::Seen,
    slot::{Running, Slot},
    truth::{Before, Violation},
    world::{Event, Verdict, World},
};

/// After the faults there is a leader within this time.
const LEADER_WITHIN: Micros = 5 * SECOND;
/// And each frontend takes a trade within this one.
const TRADE_WITHIN: Micros = 10 * SECOND;
/// Then all have the same within this one.
const AGREE_WITHIN: Micros = 5 * SECOND;
/// How often it is looked whether that is so.
const LOOK_EVERY: Micros = 50 * MILLI;

impl World<'_> {
    /// Makes everything well, and looks whether it is.
    pub(crate) fn end(&mut self) -> Verdict {
        self.heal();
        self.recovers()?;
        if self.plan.catalog_comes_last {
            self.tally.count(Seen::TradedWithoutCatalog);
            self.catalog_stays_away = false;
            self.start(Process::Catalog);
        }
        self.agrees()?;
        self.frontends_show_the_newest()?;
        self.truth.refused_trades_did_not_happen(&self.ops, &self.replies)?;
        self.count();
        Ok(())
    }

    /// Within bounds there is a leader, and each frontend takes a trade.
    fn recovers(&mut self) -> Verdict {
        let pauses_end = self.slots.iter().map(|slot| slot.paused_until).max().unwrap_or(0).max(self.now);
        self.wait_for(pauses_end + LEADER_WITHIN, "no replica leads", |world| {
            let is_ready = |slot: &Slot| {
                let now = slot.clock.read(world.now);
                slot.replica().is_some_and(|replica| replica.is_ready(now))
            };
            world.slots.iter().any(is_ready)
        })?;
        let until = pauses_end + TRADE_WITHIN;
        for frontend in 0..FRONTENDS {
            let stock = stocks().next().expect("there are stocks");
            let action = Action::Trade(trade(&format!("last-{frontend}"), stock, Side::Sell, 1));
            self.done(frontend, &action, until)?;
        }
        Ok(())
    }

    /// Has a client do something, again and again until it is done.
    fn done(&mut self, frontend: usize, action: &Action, until: Micros) -> Result<Reply, Violation> {
        loop {
            let op = Op { at: self.now, frontend, action: action.clone() };
            self.truth.expect(&op);
            let id = self.ops.len();
            self.ops.push(op);
            self.before.push(Before::default());
            self.replies.push(None);
            self.schedule(self.now, Event::Ask(id));
            self.wait_for(until, &format!("frontend {} does not {action}", frontend + 1), |world| {
                world.replies[id].is_some()
            })?;
            match &self.replies[id] {
                Some(Reply::Failed(_)) | None => {}
                Some(reply) => return Ok(reply.clone()),
            }
        }
    }

    fn wait_for(&mut self, until: Micros, otherwise: &str, is_so: impl Fn(&Self) -> bool) -> Verdict {
        while !is_so(self) {
            if self.now >= until {
                let summary = self.summary();
                return Err(Violation(format!("{otherwise}, although all faults have been over for long\n{summary}")));
            }
            self.run_until(self.now + LOOK_EVERY)?;
        }
        Ok(())
    }

    /// In the end all replicas and the catalog have the same.
    fn agrees(&mut self) -> Verdict {
        self.wait_for(self.now + AGREE_WITHIN, "replicas and catalog differ", |world| {
            let exposed = world.slots[Process::Catalog.place()].catalog().map(|catalog| catalog.exposed());
            let mut applied = world.slots.iter().filter_map(Slot::replica).map(|replica| {
                let state = replica.state();
                (state.last.index, state.totals())
            });
            let first = applied.next();
            applied.all(|other| Some(other) == first) && first.map(|(index, _)| index) == exposed
        })
    }

    /// In the end every lookup is answered with the newest version.
    fn frontends_show_the_newest(&mut self) -> Verdict {
        // A trade that was held on its way may still come and be taken.
        let newest: Vec<_> = stocks().map(|stock| (stock, self.truth.newest(stock))).collect();
        let until = self.now + TRADE_WITHIN;
        for frontend in 0..FRONTENDS {
            for (stock, version) in &newest {
                let shown = self.done(frontend, &Action::Lookup { stock: *stock }, until)?;
                if !matches!(&shown, Reply::Stock(Some(view)) if view.version >= *version) {
                    return Err(Violation(format!("in the end frontend {} shows {shown:?} for {stock}", frontend + 1)));
                }
            }
        }
        Ok(())
    }

    /// Counts what was answered.
    fn count(&mut self) {
        for reply in &self.replies {
            self.tally.count(match reply {
                Some(Reply::Decided(_)) => Seen::TradeAnswered,
                Some(Reply::Stock(_)) => Seen::LookupAnswered,
                Some(Reply::Read(_)) => Seen::ReadAnswered,
                Some(Reply::Failed(_)) | None => Seen::Unanswered,
            });
        }
        self.tally.add(Seen::Order, self.truth.orders());
        self.tally.add(Seen::SharedEntry, self.truth.shared_entries());
        let lapses = self.slots.iter().filter_map(Slot::frontend).map(|frontend| frontend.lapses());
        self.tally.add(Seen::Lapse, lapses.sum());
    }

    /// How every process is, for people.
    fn summary(&self) -> String {
        let line = |(process, slot): (Process, &Slot)| match &slot.running {
            Ok(Running::Replica(replica)) => format!("{process}: {}", replica.summary()),
            Ok(Running::Catalog(catalog)) => {
                let ready = catalog.is_ready(slot.clock.read(self.now));
                format!("{process}: exposed {}, {}", catalog.exposed(), if ready { "ready" } else { "not ready" })
            }
            Ok(Running::Frontend(_)) => format!("{process}: runs"),
            Err(_) => format!("{process}: dead"),
        };
        PROCESSES.into_iter().zip(&self.slots).map(line).collect::<Vec<_>>().join("\n")
    }
}
