//! The chapters of the tour but the one about the quorum.

use anyhow::{Context as _, Result, bail, ensure};
use bazaar_domain::{
    IdempotencyKey, Quantity, ReplicaId, Side,
    api::{KeyAnswer, OrderView, Role},
};
use bazaar_order_raft::log_store::view::EntryView;
use futures::future::join_all;
use serde_json::Value;

use super::Tour;
use crate::{
    admin::Replica,
    api::explained,
    check::report::CheckReport,
    crowd::{Crowd, WallClock},
    output::{Report, counted},
    whole::whole,
    workload::record::{Record, RecordFile},
};

/// Clients that trade while the leader dies.
const CLIENTS: u64 = 4;
/// How many the tour buys at a time.
const BOUGHT: u64 = 3;
/// Trades that clients make before and after a leader's death, at least.
const TRADES_AROUND: usize = 200;
/// Log entries that are read at a time.
const ENTRIES_READ_MAX: u64 = 1_000;

impl Tour<'_> {
    pub(super) async fn first_trade(&mut self) -> Result<u64> {
        let what = "A trade goes through the frontend to the leader, and is answered once a majority has it on disk.\nIt \
                    has a key, so that sending it twice cannot trade twice.";
        self.stage.chapter("1 of 6: a first trade", what).await?;
        let (stock, key, quantity) = (self.stock.to_string(), self.key("first")?, BOUGHT.to_string());
        self.bazaar(&["query", &stock]).await?;
        let trade = ["trade", "buy", stock.as_str(), quantity.as_str(), "--key", key.as_str()];
        self.must_succeed(&trade).await?;
        self.must_succeed(&trade).await?;
        self.bazaar(&["query", &stock]).await?;
        let order = self.order_of(&key).await?;
        let frontend = &self.context.frontend;
        let again =
            frontend.trade(&key, self.stock, Side::Buy, Quantity::new(BOUGHT).map_err(|word| anyhow::anyhow!(word.0))?);
        let again = again.await.map_err(|failure| explained(frontend, &failure))?;
        let shown = frontend.lookup(self.stock).await.map_err(|failure| explained(frontend, &failure))?;
        let number = order.number;
        let is_same = again.replayed && again.receipt.transaction_number == number;
        self.promise("one key, one outcome", is_same, format!("key sent 3 times: order {number} each time"));
        let (version, bought_at) = (shown.stock.version, order.stock_version);
        self.promise(
            "no lookup is older than an answered trade",
            version >= bought_at,
            format!("the trade made version {bought_at}, the lookup behind it showed {version}"),
        );
        self.acknowledge(order);
        self.stage.meaning(&format!(
            "Order {number} took {BOUGHT} of {stock}. Sent again under its key, the trade got the same answer and took nothing."
        ));
        Ok(number)
    }

    pub(super) async fn log_entry(&mut self, number: u64, after: u64) -> Result<()> {
        let what = "The replicas agree on a log; whatever is committed in it has happened.\nThe trade is a part of one of \
                    its entries, and every replica has the same entry.";
        self.stage.chapter("2 of 6: the log entry that it became", what).await?;
        self.bazaar(&["order", &number.to_string()]).await?;
        let leader = whole(&self.replicas).await?;
        let entry = find_entry(self.replica(leader)?, self.key("first")?.as_str(), after).await?;
        let before = (entry.index - 1).to_string();
        for id in self.replicas.iter().map(|replica| replica.id) {
            self.bazaar(&["log", "--node", &id.to_string(), "--after", &before, "--limit", "1"]).await?;
        }
        let copies = join_all(self.replicas.iter().map(|replica| replica.log(entry.index - 1, 1))).await;
        let equal = copies.iter().flatten().filter(|copy| copy.first() == Some(&entry)).count();
        let (count, EntryView { index, term, .. }) = (self.replicas.len(), &entry);
        self.promise(
            "an answered trade is on a majority",
            equal > count / 2,
            format!("entry {index} of term {term} is the same on {equal} of {count} replicas"),
        );
        self.stage.meaning(&format!("Order {number} is in entry {index}, and {equal} of {count} replicas have it."));
        Ok(())
    }

    /// Returns who died, and how far its log reached shortly before.
    pub(super) async fn leader_dies(&mut self) -> Result<(ReplicaId, u64)> {
        let what = "Four clients trade as fast as they get answers, and the leader is killed with kill -9.\nThe others \
                    notice, elect a new leader, and the frontend sends the open trades there.";
        self.stage.chapter("3 of 6: the leader dies", what).await?;
        let leader = whole(&self.replicas).await?;
        let position = self.leader_position().await?;
        let crowd = Crowd::start(&self.context.frontend, self.stock, CLIENTS, WallClock::start());
        crowd.more_answers(TRADES_AROUND).await?;
        self.kill(leader).await?;
        crowd.more_answers(TRADES_AROUND).await?;
        let mut seen = crowd.stop().await;
        self.bazaar(&["status"]).await?;
        let (answered, failed) = (seen.orders.len(), seen.failed);
        let pause = seen.pause_ms().map_or("-".into(), |pause| format!("{pause:.0} ms"));
        let why = seen.first_failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let errors = counted(failed, "error");
        self.promise(
            "a leader's death is a pause, not an error",
            failed == 0,
            format!("{answered} trades answered, {errors}{why}; longest pause {pause}"),
        );
        self.acknowledged.append(&mut seen.orders);
        self.stage
            .meaning(&format!("{answered} trades were answered, {failed} failed; for {pause} none was answered."));
        Ok((leader, position))
    }

    pub(super) async fn catch_up(&mut self, dead: ReplicaId, position: u64) -> Result<()> {
        let what = "The killed replica starts again with its folder, and gets from the new leader what it missed.\nThen \
                    all replicas hold the same orders, which one digest for each of them shows.";
        self.stage.chapter("4 of 6: the catch-up", what).await?;
        let missed = self.leader_position().await?.saturating_sub(position);
        self.bring_back(dead).await?;
        whole(&self.replicas).await?;
        self.bazaar(&["status"]).await?;
        let healths = join_all(self.replicas.iter().map(Replica::health)).await;
        let number = healths.iter().flatten().map(|health| health.orders).min().unwrap_or(0);
        let digests = join_all(self.replicas.iter().map(|replica| replica.digest(number))).await;
        let all: Option<Vec<String>> = digests.into_iter().map(|view| view.ok().map(|view| view.digest)).collect();
        let is_equal = all.is_some_and(|all| all.windows(2).all(|pair| pair[0] == pair[1]));
        let count = self.replicas.len();
        self.promise(
            "a replica that comes back holds the same orders",
            is_equal,
            format!("equal digests over {} on {count} replicas", counted(number, "order")),
        );
        self.stage.meaning(&format!("Replica {dead} missed up to {missed} log entries, and has them now."));
        Ok(())
    }

    pub(super) async fn check(&mut self) -> Result<()> {
        let what = "Every order that this tour was told of is looked for, on every replica.\nAll keepers are compared: \
                    orders, numbers, keys, quantities.";
        self.stage.chapter("6 of 6: the final check", what).await?;
        let file = std::env::temp_dir().join(format!("bazaar-tour-{}.records", self.token));
        let report = self.checked(&file).await;
        // The orders were only there to be looked for.
        let _ = std::fs::remove_file(&file);
        let report = report?;
        self.stage.output(&report.to_text(self.context.printer.colour));
        let held = report.checks.iter().filter(|row| row.passed).count();
        let (all, orders) = (report.checks.len(), self.acknowledged.len());
        self.promise(
            "nothing is lost, doubled or made up",
            report.ok,
            format!("{held} of {all} checks hold; {orders} acknowledged orders looked for"),
        );
        self.stage.meaning(if report.ok {
            "Everything that was answered is there, once."
        } else {
            "Something is wrong."
        });
        Ok(())
    }

    async fn checked(&self, file: &std::path::Path) -> Result<CheckReport> {
        let records = RecordFile::open(file)?;
        for record in &self.acknowledged {
            records.append(record)?;
        }
        let path = file.to_str().context("the temporary folder has no name that can be shown")?;
        let words = ["check", "--records", path];
        self.stage.command(&self.typed(&words));
        let ran = self.quietly("json", &words).await?;
        // The sentence about a failed check follows the report.
        let mut documents = serde_json::Deserializer::from_str(&ran.output).into_iter();
        documents
            .next()
            .and_then(Result::ok)
            .with_context(|| format!("the check could not be made: {}", ran.output.trim()))
    }

    /// A key of this tour.
    pub(super) fn key(&self, name: &str) -> Result<IdempotencyKey> {
        IdempotencyKey::new(&format!("tour-{}-{name}", self.token)).map_err(|word| anyhow::anyhow!(word.0))
    }

    /// Runs a command that cannot go wrong unless a promise is broken.
    pub(super) async fn must_succeed(&self, words: &[&str]) -> Result<()> {
        let ran = self.bazaar(words).await?;
        ensure!(ran.code == 0, "'bazaar {}' failed: {}", words.join(" "), ran.output.trim());
        Ok(())
    }

    /// The order that a key got.
    pub(super) async fn order_of(&self, key: &IdempotencyKey) -> Result<OrderView> {
        let frontend = &self.context.frontend;
        match frontend.by_key(key).await.map_err(|failure| explained(frontend, &failure))? {
            KeyAnswer::Order(order) => Ok(order),
            other => bail!("the key {key} got no order: {other:?}"),
        }
    }

    /// Notes an order that must be found at the end.
    pub(super) fn acknowledge(&mut self, order: OrderView) {
        let OrderView { number, name, side, quantity, stock_version, key, .. } = order;
        self.acknowledged.push(Record { number, name, side, quantity, stock_version, key });
    }

    pub(super) fn replica(&self, id: ReplicaId) -> Result<&Replica> {
        self.replicas.iter().find(|replica| replica.id == id).context("a leader that the configuration does not name")
    }

    /// How far the leader's log reaches.
    pub(super) async fn leader_position(&self) -> Result<u64> {
        let healths = join_all(self.replicas.iter().map(Replica::health)).await;
        let leader = healths.into_iter().flatten().find(|health| health.role == Role::Leader);
        leader.and_then(|health| health.last_log_index).context("no replica leads; look at 'bazaar status'")
    }
}

/// The entry behind `after` that carries a trade under this key.
async fn find_entry(replica: &Replica, key: &str, mut after: u64) -> Result<EntryView> {
    loop {
        let entries = replica.log(after, ENTRIES_READ_MAX).await?;
        let last = entries.last().context("the log does not hold the trade's entry any more")?.index;
        let found = entries.into_iter().find(|entry| entry.items.iter().any(|item| is_under(&item["key"], key)));
        if let Some(entry) = found {
            return Ok(entry);
        }
        after = last;
    }
}

/// Whether the log has a trade under this key of ours: a trade that was sent with a token has the token's name before it.
fn is_under(kept: &Value, key: &str) -> bool {
    let before = kept.as_str().and_then(|kept| kept.strip_suffix(key));
    // What ends the name can stand in no key: a control character.
    before.is_some_and(|before| before.is_empty() || before.ends_with(char::is_control))
}

#[cfg(test)]
mod tests {
    use bazaar_domain::KeyScope;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_found_in_the_log_with_and_without_the_token_that_it_was_sent_with() {
        let (key, other) = (IdempotencyKey::new("tour-1-first").unwrap(), IdempotencyKey::new("1-first").unwrap());
        let till = KeyScope::new("till-1").unwrap();
        for scope in [None, Some(&till)] {
            let kept = json!(key.scoped(scope));
            assert!(is_under(&kept, key.as_str()) && !is_under(&kept, other.as_str()), "{kept}");
        }
    }
}
