//! What an event does: the real decisions, called as their shells call them.

use std::{rc::Rc, sync::Arc, time::Duration};

use bazaar_catalog::{
    decide::{decide_entries, entries_after, names},
    ledger::{Advance, Change, InventoryCopy, Ledger, Next, Serving},
};
use bazaar_domain::{
    api::StockView,
    internal::{InvalidationAck, SubscribeReply, SubscribeRequest},
};
use bazaar_frontend::cache::{Lookup, Sharing, StockAnswer};

use crate::{
    action::Action,
    bounds::Bounds,
    goals::Goal,
    log::{CLUSTER, Content, name, wrong_price},
    network::Message,
    part::Part,
    properties::{Record, end_lookup, observe},
    replica::Deposed,
    state::{CatalogSide, Flight, Owner, State, Waiter},
    trace::frontend_name,
};

/// Where the catalog would push to; the model knows frontends by their numbers.
const ADDRESS: &str = "f";

impl State {
    /// The state after an event, with all that can be answered then; `None` if it changes nothing.
    pub fn after(&self, action: Action, bounds: &Bounds, record: &mut Record) -> Option<Self> {
        let mut next = self.clone();
        next.act(action, bounds, record)?;
        if !bounds.has_stale_messages {
            next.drop_stale();
        }
        observe(&mut next, self, record);
        Some(next)
    }

    fn act(&mut self, action: Action, bounds: &Bounds, record: &mut Record) -> Option<()> {
        match action {
            Action::Tick { missed_by } => self.tick(missed_by, bounds, record),
            Action::Commit => self.commit(bounds),
            Action::Apply(replica) => self.apply(replica),
            Action::Elect(replica) => self.elect(replica),
            Action::Grant(replica) => self.grant(replica, bounds, record),
            Action::Publish { through, diverges } => self.publish(through, diverges),
            Action::Inventory { index, heals } => self.take_inventory(index, heals, bounds),
            Action::Expose => self.expose(record),
            Action::Restart { copy } => self.restart(copy, bounds),
            Action::Ask(frontend) => self.ask(frontend, bounds),
            Action::Deliver { position, stays } => self.deliver(position, stays, record),
            Action::Lookup { frontend, stock } => self.look_up(frontend, stock, bounds),
            Action::AnswerFetch { frontend, flight } => self.answer_fetch(frontend, flight),
            Action::Land { frontend, flight } => self.land(frontend, flight, bounds, record),
            Action::GoOn { frontend, waiter } => self.go_on(frontend, waiter, record),
        }
    }

    fn drop_stale(&mut self) {
        if self.network.messages().is_empty() {
            return;
        }
        let (life, pending) = (self.catalog.ledger.incarnation(), self.catalog.ledger.pending());
        self.network().drop_stale(life, pending.as_ref());
    }

    fn tick(&mut self, missed_by: Option<Owner>, bounds: &Bounds, record: &mut Record) -> Option<()> {
        self.spent.ticks += 1;
        if let Some(owner) = missed_by {
            self.spent.missed_ticks += 1;
            let missed = self.slow.map_or(0, |(_, missed)| missed);
            self.slow = Some((owner, missed + 1));
        }
        let was_held_up = self.is_held_up();
        self.forget_past(bounds);
        if was_held_up && !self.is_held_up() {
            record.goals.add(Goal::FreedByLeaseEnd);
        }
        Some(())
    }

    /// Whether a batch waits for an ack.
    fn is_held_up(&self) -> bool {
        self.catalog.ledger.pending().is_some_and(|(_, waiting)| !waiting.is_empty())
    }

    /// States that differ only in what is over become equal.
    fn forget_past(&mut self, bounds: &Bounds) {
        for replica in 0..self.replicas.len() {
            let now = self.now(Owner::Replica(replica));
            self.replica(replica).release.forget_past(now);
        }
        let now = self.now(Owner::Catalog);
        self.catalog().ledger.forget_past(now);
        let mut network = (*self.network).clone();
        network.forget_past(bounds.ttl_ticks, |asker| self.now(asker.map_or(Owner::Catalog, Owner::Frontend)));
        self.network = Part::new(network);
    }

    fn commit(&mut self, bounds: &Bounds) -> Option<()> {
        let leader = &self.replicas[self.votes];
        let term = leader.release.term().filter(|_| leader.admits(self.now(Owner::Replica(self.votes))))?;
        let stock = bounds.trades[self.log.trades()];
        self.log.change().append(term, Content::Trade(stock));
        Some(())
    }

    fn apply(&mut self, replica: usize) -> Option<()> {
        let deposed = self.replicas[replica].deposed;
        let committed = deposed.map_or(self.log.last_index(), |deposed| deposed.last_index);
        if self.replicas[replica].applied >= committed {
            return None;
        }
        self.replica(replica).applied = committed;
        Some(())
    }

    fn elect(&mut self, replica: usize) -> Option<()> {
        self.spent.elections += 1;
        let deposed = Deposed { last_index: self.log.last_index(), at: self.now(Owner::Replica(self.votes)) };
        let before = self.votes;
        self.replica(before).deposed = Some(deposed);
        self.term += 1;
        self.votes = replica;
        let own_first = self.log.change().append(self.term, Content::Blank);
        let (term, now) = (self.term, self.now(Owner::Replica(replica)));
        self.replica(replica).elected(term, own_first, now);
        Some(())
    }

    fn grant(&mut self, replica: usize, bounds: &Bounds, record: &mut Record) -> Option<()> {
        let now = self.now(Owner::Replica(replica));
        if !self.replicas[replica].admits(now) {
            return None;
        }
        let granted = self.replica(replica).grant(now)?;
        self.replica(replica).release.forget_past(now);
        if self.replicas[replica].deposed.is_some() {
            record.goals.add(Goal::DeposedGranted);
        }
        let asked_at = self.now(Owner::Catalog);
        record.note(|| format!("it lasts {:?} and has floor {}", granted.duration, granted.floor));
        let duration_micros = u64::try_from(granted.duration.as_micros()).ok()?;
        let message = Message::Grant { asked_at, duration_micros, floor: granted.floor };
        if bounds.has_late_grants {
            self.network().send(message);
            return Some(());
        }
        self.take_message(message, record)
    }

    fn publish(&mut self, through: u64, diverges: bool) -> Option<()> {
        let now = self.now(Owner::Catalog);
        let ledger = &self.catalog.ledger;
        let batch = self.log.batch(ledger.applied(), through);
        ledger.takes_batch(&batch).ok().filter(|is_taken| *is_taken)?;
        let fresh = entries_after(&batch.entries, ledger.applied());
        let mut changed = decide_entries(ledger.base(names(fresh)), fresh).changed;
        if diverges {
            changed.iter_mut().for_each(|stock| stock.price = wrong_price());
            self.spent.divergences += 1;
            self.catalog().is_diverged |= !changed.is_empty();
        }
        self.begin(Change { cluster_id: batch.cluster_id, through, next: Next::Changed(changed) }, now)
    }

    fn take_inventory(&mut self, index: u64, heals: bool, bounds: &Bounds) -> Option<()> {
        let now = self.now(Owner::Catalog);
        let snapshot = self.log.snapshot(bounds.stocks, index, heals);
        self.catalog.ledger.takes_snapshot(&snapshot).ok().filter(|is_taken| *is_taken)?;
        let stocks = snapshot.stocks.into_iter().map(|stock| (stock.name, stock)).collect();
        self.begin(Change { cluster_id: snapshot.cluster_id, through: index, next: Next::Whole(stocks) }, now)
    }

    /// Stores a change, begins its exposure, and sends the invalidations.
    fn begin(&mut self, change: Change, now: bazaar_domain::Moment) -> Option<()> {
        let catalog = self.catalog();
        store(Rc::make_mut(&mut catalog.disk), &change);
        let sends = catalog.ledger.begin(change, now);
        for send in sends {
            let frontend = usize::try_from(send.frontend).ok()?;
            self.network().send(Message::Invalidation { frontend, batch: send.batch });
        }
        Some(())
    }

    fn expose(&mut self, record: &mut Record) -> Option<()> {
        let now = self.now(Owner::Catalog);
        let Advance::Exposed(replaced) = self.catalog().ledger.advance(now) else { return None };
        if replaced.is_some() {
            record.goals.add(Goal::InventoryExposed);
            if self.catalog.is_diverged {
                self.catalog().is_diverged = false;
                self.shown.is_healed = true;
                record.goals.add(Goal::Healed);
            }
        }
        Some(())
    }

    fn restart(&mut self, copy: Option<u64>, bounds: &Bounds) -> Option<()> {
        self.spent.crashes += 1;
        let disk = copy.map(|index| Rc::new(self.log.copy(bounds.stocks, index)));
        let is_diverged = self.catalog.is_diverged && disk.is_none();
        let disk = disk.unwrap_or_else(|| Rc::clone(&self.catalog.disk));
        let life = self.catalog.ledger.incarnation() + 1;
        let ledger = Ledger::new(life, bounds.leases(), (*disk).clone(), self.now(Owner::Catalog));
        let exposed = ledger.exposed();
        self.catalog = Part::new(CatalogSide { ledger, disk, exposed, is_diverged });
        self.network().drop_grants();
        Some(())
    }

    fn ask(&mut self, frontend: usize, bounds: &Bounds) -> Option<()> {
        let asked_at = self.now(Owner::Frontend(frontend));
        let cache = &mut self.frontend(frontend).cache;
        let best = asked_at.plus(Duration::from_millis(bounds.ttl_ticks));
        // Asking again at the same time brings nothing that it has not.
        if cache.leased_until(asked_at).is_some_and(|end| end >= best) {
            return None;
        }
        let session = cache.lease_request(asked_at);
        self.network().send(Message::Request { frontend, session, asked_at });
        Some(())
    }

    fn deliver(&mut self, position: usize, stays: bool, record: &mut Record) -> Option<()> {
        self.spent.repeats += u32::from(stays);
        let message = self.network().take(position, stays);
        self.take_message(message, record)
    }

    fn take_message(&mut self, message: Message, record: &mut Record) -> Option<()> {
        match message {
            Message::Grant { asked_at, duration_micros, floor } => {
                let (duration, now) = (Duration::from_micros(duration_micros), self.now(Owner::Catalog));
                let ledger = &mut self.catalog().ledger;
                ledger.lease_granted(CLUSTER, asked_at, duration, floor, now);
                ledger.forget_past(now);
            }
            Message::Request { frontend, session, asked_at } => self.subscribe(frontend, session, asked_at, record),
            Message::Reply { frontend, asked_at, reply } => self.take_lease(frontend, asked_at, &reply, record),
            Message::Invalidation { frontend, batch } => {
                let now = self.now(Owner::Frontend(frontend));
                let ack = self.frontend(frontend).cache.invalidate(frontend as u128, &batch, now);
                self.network().send(Message::Ack(ack));
            }
            Message::Ack(ack) => self.take_ack(ack, record),
        }
        Some(())
    }

    fn subscribe(&mut self, frontend: usize, session: u64, asked_at: bazaar_domain::Moment, record: &mut Record) {
        let now = self.now(Owner::Catalog);
        let request = SubscribeRequest { frontend: frontend as u128, session, internal_address: ADDRESS.into() };
        let reply = self.catalog().ledger.subscribe(&request, now);
        record.note(|| format!("the catalog gives it {} µs", reply.duration_micros));
        if reply.duration_micros > 0 {
            self.network().send(Message::Reply { frontend, asked_at, reply });
        }
    }

    fn take_lease(
        &mut self,
        frontend: usize,
        asked_at: bazaar_domain::Moment,
        reply: &SubscribeReply,
        record: &mut Record,
    ) {
        let now = self.now(Owner::Frontend(frontend));
        let cache = &mut self.frontend(frontend).cache;
        cache.lease_answer(reply, asked_at, now);
        if cache.lease_request(now) > 1 && cache.leased_until(now).is_some() {
            record.goals.add(Goal::LeasedAgain);
        }
    }

    fn take_ack(&mut self, ack: InvalidationAck, record: &mut Record) {
        let now = self.now(Owner::Catalog);
        let counts = self.catalog().ledger.acknowledge(ack, now);
        record.goals.add(if counts { Goal::AckCounted } else { Goal::AckIgnored });
        record.note(|| if counts { "it counts".into() } else { "it does not count".into() });
    }

    /// A lookup that does not hit. Without a lease it asks the catalog, which is watched anyway.
    fn look_up(&mut self, frontend: usize, stock: usize, bounds: &Bounds) -> Option<()> {
        let now = self.now(Owner::Frontend(frontend));
        let must_see = self.shown.versions[stock];
        let known = self.frontend(frontend);
        let Lookup::Miss(ticket) = known.cache.lookup(&name(stock), now) else { return None };
        if known.flights.iter().any(|flight| flight.stock == stock) {
            if !bounds.has_joins || !known.waiters.is_empty() {
                return None;
            }
            known.waiters.push(Waiter { stock, must_see, sharing: Sharing::default(), is_waiting: true });
            return Some(());
        }
        known.flights.push(Flight { stock, ticket, must_see, answer: None });
        if bounds.has_slow_fetches {
            return Some(());
        }
        let flight = known.flights.len() - 1;
        self.answer_fetch(frontend, flight)
    }

    fn answer_fetch(&mut self, frontend: usize, flight: usize) -> Option<()> {
        let now = self.now(Owner::Catalog);
        let stock = self.frontends[frontend].flights[flight].stock;
        let reading = self.catalog.ledger.lookup(name(stock), now);
        let read = reading.value.filter(|_| reading.serving == Serving::Yes)?;
        let answer = StockAnswer::new(StockView::from(&read), reading.index);
        let flight = &mut self.frontend(frontend).flights[flight];
        if read.version >= flight.must_see {
            // Nothing more can be asked of the lookup that sent it.
            flight.must_see = 0;
        }
        flight.answer = Some((Arc::new(answer), reading.cacheable));
        Some(())
    }

    fn land(&mut self, frontend: usize, flight: usize, bounds: &Bounds, record: &mut Record) -> Option<()> {
        let now = self.now(Owner::Frontend(frontend));
        let known = self.frontend(frontend);
        let landed = known.flights.remove(flight);
        let (answer, cacheable) = landed.answer?;
        let is_full = known.cache.names().len() == bounds.cache_size;
        let is_new = !known.cache.names().contains(&answer.stock.name);
        let kept = known.cache.fill(landed.ticket, &answer, cacheable, now);
        record.note(|| format!("version {} is {}", answer.stock.version, if kept { "kept" } else { "not kept" }));
        match kept {
            true if is_full && is_new => record.goals.add(Goal::Evicted),
            true => {}
            false => record.goals.add(Goal::FillRefused),
        }
        let version = answer.stock.version;
        end_lookup(self, &frontend_name(frontend), landed.stock, landed.must_see, version, record);
        self.wake_waiters(frontend, landed.stock, version, record);
        Some(())
    }

    fn wake_waiters(&mut self, frontend: usize, stock: usize, version: u64, record: &mut Record) {
        if self.frontends[frontend].waiters.is_empty() {
            return;
        }
        let (ended, waiting): (Vec<Waiter>, Vec<Waiter>) = self.frontends[frontend]
            .waiters
            .iter()
            .partition(|waiter| waiter.stock == stock && waiter.is_waiting && waiter.sharing.is_allowed());
        let known = self.frontend(frontend);
        known.waiters = waiting;
        for waiter in known.waiters.iter_mut().filter(|waiter| waiter.stock == stock && waiter.is_waiting) {
            waiter.sharing.waited();
            waiter.is_waiting = false;
        }
        for waiter in ended {
            record.goals.add(Goal::Shared);
            record.note(|| "a lookup that met the fetch takes its answer".into());
            end_lookup(self, &frontend_name(frontend), stock, waiter.must_see, version, record);
        }
    }

    fn go_on(&mut self, frontend: usize, waiter: usize, record: &mut Record) -> Option<()> {
        let now = self.now(Owner::Frontend(frontend));
        let known = self.frontend(frontend);
        let Waiter { stock, must_see, .. } = known.waiters[waiter];
        match known.cache.lookup(&name(stock), now) {
            Lookup::Miss(_) if known.flights.iter().any(|flight| flight.stock == stock) => {
                known.waiters[waiter].is_waiting = true;
            }
            // It fetches itself, as any new lookup does.
            Lookup::Miss(_) | Lookup::Bypass(_) => drop(known.waiters.remove(waiter)),
            Lookup::Hit(answer) => {
                known.waiters.remove(waiter);
                end_lookup(self, &frontend_name(frontend), stock, must_see, answer.stock.version, record);
            }
        }
        Some(())
    }
}

/// What the catalog's store does.
fn store(disk: &mut InventoryCopy, change: &Change) {
    disk.applied = change.through;
    match &change.next {
        Next::Changed(stocks) => disk.stocks.extend(stocks.iter().map(|stock| (stock.name, *stock))),
        Next::Whole(stocks) => disk.stocks.clone_from(stocks),
    }
}
