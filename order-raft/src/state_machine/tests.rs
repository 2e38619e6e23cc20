//! Properties of the whole state: determinism, exactly once, gapless numbers, conservation, the digest, snapshots.

use std::collections::BTreeMap;

use bazaar_domain::{
    Cents, Command, IdempotencyKey, Listing, ListingChange, Quantity, Side, StockName, Trade,
    digest::Digest,
    internal::{OrderRead, OrderReadAnswer},
    order::{Decision, Outcome},
};
use openraft::{EntryPayload, vote::RaftLeaderId};
use proptest::prelude::*;

use super::*;
use crate::raft_types::{LogCommand, LogId};

type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;

fn log_id(index: u64) -> LogId {
    LogId { leader_id: LeaderId::new(1, 1).to_committed(), index }
}

fn entry(index: u64, command: &Command) -> Entry {
    Entry { log_id: log_id(index), payload: EntryPayload::Normal(LogCommand::encode(command)) }
}

fn name(text: &str) -> StockName {
    text.parse().unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn listing(stock: &str, quantity: u64) -> Listing {
    let change = ListingChange::List { price: Cents::new(1_599).unwrap(), quantity, max_quantity: Some(200) };
    Listing { key: key(&format!("list-{stock}")), name: name(stock), change }
}

fn trade(key_text: &str, stock: &str, side: Side, quantity: u64) -> Trade {
    Trade { key: key(key_text), name: name(stock), side, quantity: Quantity::new(quantity).unwrap() }
}

fn listed() -> Command {
    Command::Listings(vec![listing("A", 100), listing("B", 50)])
}

fn open() -> (tempfile::TempDir, Arc<State>) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    (folder, state)
}

fn apply(state: &State, index: u64, command: &Command) -> Vec<Decision> {
    state.apply(&[&entry(index, command)]).unwrap().remove(0).decisions
}

#[test]
fn a_key_has_one_outcome_and_a_replay_changes_nothing() {
    let (_folder, state) = open();
    apply(&state, 1, &listed());
    let buy = Command::Trades(vec![trade("k", "A", Side::Buy, 30)]);
    let accepted = Outcome::Accepted { number: 1, stock_version: 2 };
    assert_eq!(apply(&state, 2, &buy), [Decision::Fresh(accepted)]);
    let before = state.inventory().1;
    assert_eq!(apply(&state, 3, &buy), [Decision::Replayed(accepted)]);
    let other = Command::Trades(vec![trade("k", "A", Side::Buy, 31)]);
    assert_eq!(apply(&state, 4, &other), [Decision::KeyReused]);
    assert_eq!(state.inventory().1, before);
    assert_eq!(state.totals().orders, 1);
}

#[test]
fn a_key_repeated_within_one_entry_is_decided_once() {
    let (_folder, state) = open();
    apply(&state, 1, &listed());
    let buy = trade("k", "A", Side::Buy, 1);
    let accepted = Outcome::Accepted { number: 1, stock_version: 2 };
    let decisions = apply(&state, 2, &Command::Trades(vec![buy.clone(), buy]));
    assert_eq!(decisions, [Decision::Fresh(accepted), Decision::Replayed(accepted)]);
}

#[test]
fn a_rejection_is_sticky_even_when_it_would_be_accepted_later() {
    let (_folder, state) = open();
    apply(&state, 1, &listed());
    let much = Command::Trades(vec![trade("k", "B", Side::Buy, 60)]);
    let first = apply(&state, 2, &much);
    apply(&state, 3, &Command::Trades(vec![trade("more", "B", Side::Sell, 100)]));
    let Decision::Fresh(outcome @ Outcome::Rejected(_)) = first[0] else { panic!("{first:?}") };
    assert_eq!(apply(&state, 4, &much), [Decision::Replayed(outcome)]);
}

#[test]
fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (inventory, totals) = {
        let state = State::open(folder.path()).unwrap();
        apply(&state, 1, &listed());
        apply(&state, 2, &Command::Trades(vec![trade("k", "A", Side::Buy, 30)]));
        (state.inventory(), state.totals())
    };
    let state = State::open(folder.path()).unwrap();
    assert_eq!((state.inventory(), state.totals()), (inventory, totals));
    assert_eq!(state.applied_index(), 2);
    let (answer, shows) = state.read(&OrderRead::ByKey(key("k"))).unwrap();
    let OrderReadAnswer::Key(Some((_, Some(order)))) = answer else { panic!("{answer:?}") };
    assert_eq!((order.number, order.stock_version, shows), (1, 2, 2));
    assert_eq!(state.read(&OrderRead::Newest).unwrap(), (OrderReadAnswer::Order(Some(order)), 2));
}

#[test]
fn a_snapshot_carries_orders_outcomes_and_the_digest_to_another_replica() {
    let (_folder, state) = open();
    apply(&state, 1, &listed());
    for index in 2..40 {
        apply(&state, index, &Command::Trades(vec![trade(&format!("k{index}"), "A", Side::Buy, 1)]));
    }
    let (position, path) = state.generations.make_checkpoint(&state.db()).unwrap();
    let (other_folder, other) = open();
    apply(&other, 1, &Command::Listings(vec![listing("OLD", 1)]));
    let received = other_folder.path().join("received");
    copy_folder(&path, &received);
    other.install(&received, position.last_applied).unwrap();
    assert_eq!(other.db().dump().unwrap(), state.db().dump().unwrap());
    assert_eq!(other.totals(), state.totals());
    let replay = Command::Trades(vec![trade("k5", "A", Side::Buy, 1)]);
    assert!(matches!(apply(&other, 40, &replay)[0], Decision::Replayed(_)), "dedupe state travels with the snapshot");
    drop(other);
    assert_eq!(State::open(other_folder.path()).unwrap().applied_index(), 40, "the switch is durable");
}

#[test]
fn a_snapshot_that_ends_elsewhere_than_it_says_is_refused() {
    let (folder, state) = open();
    apply(&state, 1, &listed());
    let (_, path) = state.generations.make_checkpoint(&state.db()).unwrap();
    let received = folder.path().join("received");
    copy_folder(&path, &received);
    let before = state.inventory();
    assert!(state.install(&received, Some(log_id(9))).is_err());
    assert_eq!(state.inventory(), before);
}

#[test]
fn a_damaged_checkpoint_is_found_before_it_is_sent() {
    let (_folder, state) = open();
    apply(&state, 1, &listed());
    for index in 2..600 {
        apply(&state, index, &Command::Trades(vec![trade(&format!("k{index}"), "A", Side::Sell, 1)]));
    }
    let (_, path) = state.generations.make_checkpoint(&state.db()).unwrap();
    StateDb::verify(&path).unwrap();
    let files = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let largest = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "sst"))
        .max_by_key(|file| file.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let among_the_rows = bytes.len() / 4;
    bytes[among_the_rows] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    let damage = StateDb::verify(&path).unwrap_err();
    assert!(damage.contains("is damaged") && damage.ends_with(crate::disk::REPLACE), "{damage}");
    std::fs::remove_dir_all(&path).unwrap();
    StateDb::verify(&path).unwrap();
}

#[test]
fn a_checkpoint_that_was_cut_off_while_it_was_made_or_removed_is_removed() {
    let (folder, state) = open();
    apply(&state, 1, &listed());
    drop(state);
    for unfinished in ["draft", "draft.tmp", "removed"] {
        let unfinished = folder.path().join("snapshots").join(unfinished);
        std::fs::create_dir(&unfinished).unwrap();
        std::fs::write(unfinished.join("000004.sst"), "half").unwrap();
        let state = State::open(folder.path()).unwrap();
        assert!(!unfinished.exists() && state.generations.newest_checkpoint().is_none());
    }
}

#[test]
fn a_checkpoint_is_not_removed_under_its_own_name() {
    let (folder, state) = open();
    apply(&state, 1, &listed());
    let checkpoint = |index| {
        apply(&state, index, &Command::Trades(vec![trade(&format!("k{index}"), "A", Side::Buy, 1)]));
        state.generations.make_checkpoint(&state.db())
    };
    let (_, oldest) = checkpoint(2).unwrap();
    checkpoint(3).unwrap();
    // Where it is to be set aside there is something: nothing of it may be gone then.
    let obstacle = folder.path().join("snapshots/removed/obstacle");
    std::fs::create_dir_all(&obstacle).unwrap();
    let refused = checkpoint(4).unwrap_err().to_string();
    assert!(refused.contains("cannot be moved"), "{refused}");
    StateDb::position_in(&oldest).unwrap();
    std::fs::remove_dir(&obstacle).unwrap();
    checkpoint(5).unwrap();
    assert!(!oldest.exists());
}

#[test]
fn a_damaged_name_of_the_generation_does_not_cost_the_state() {
    let (folder, state) = open();
    apply(&state, 1, &listed());
    drop(state);
    let current = folder.path().join("state/CURRENT");
    let path = folder.path().join("state/generation-1");
    let path = path.to_str().unwrap();
    for name in ["generation-2", "gener\u{1}tion-1", "", "generation-", "./generation-1", "generation-1/", path] {
        std::fs::write(&current, name).unwrap();
        let refused = State::open(folder.path()).unwrap_err().to_string();
        assert!(refused.ends_with(crate::disk::REPLACE) && refused.contains("CURRENT"), "{refused}");
    }
    std::fs::write(&current, "generation-1").unwrap();
    assert_eq!(State::open(folder.path()).unwrap().applied_index(), 1);
}

#[test]
fn the_first_fault_of_the_store_is_told_to_whoever_waits_for_it() {
    let (_folder, state) = open();
    apply(&state, 1, &listed());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let failed = state.failed();
        tokio::pin!(failed);
        assert!(futures::poll!(failed.as_mut()).is_pending());
        state.faults.send_replace(Some("first".into()));
        assert_eq!(failed.await, "first");
    });
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

prop_compose! {
    fn any_trade()(key in 0..60_u32, stock in prop::sample::select(vec!["A", "B", "NONE"]), buy: bool, quantity in 1..40_u64)
        -> Trade {
        trade(&format!("k{key}"), stock, if buy { Side::Buy } else { Side::Sell }, quantity)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The same log in entries of different sizes is another log; the same log in apply batches of different sizes is not.
    #[test]
    fn two_replicas_fed_the_same_log_in_different_batches_have_the_same_bytes(
        trades in prop::collection::vec(any_trade(), 1..120),
        entry_size in 1..5_usize,
        batch in 1..9_usize,
    ) {
        let mut entries = vec![entry(1, &listed())];
        for (index, chunk) in (2..).zip(trades.chunks(entry_size)) {
            entries.push(entry(index, &Command::Trades(chunk.to_vec())));
        }
        let (_one_folder, one) = open();
        for entry in &entries {
            one.apply(&[entry]).unwrap();
        }
        let (_many_folder, many) = open();
        for chunk in entries.chunks(batch) {
            many.apply(&chunk.iter().collect::<Vec<_>>()).unwrap();
        }
        prop_assert_eq!(one.db().dump().unwrap(), many.db().dump().unwrap());
        check_books(&one);
    }
}

/// Numbers 1..N, conservation of every stock, versions, and the digest at every number.
fn check_books(state: &State) {
    let db = state.db();
    let orders = db.orders_after(0, usize::MAX).unwrap();
    let totals = state.totals();
    assert_eq!(orders.len() as u64, totals.orders);
    let mut digest = Digest::default();
    let mut traded: BTreeMap<StockName, (i128, u64, u64)> = BTreeMap::new();
    for (order, number) in orders.iter().zip(1..) {
        assert_eq!(order.number, number);
        digest = digest.extended(order);
        assert_eq!(db.digest_at(number).unwrap(), Some(digest));
        let (net, volume, version) = traded.entry(order.name).or_insert((0, 0, 1));
        let quantity = order.quantity.get();
        *net += if order.side == Side::Sell { i128::from(quantity) } else { -i128::from(quantity) };
        *volume += quantity;
        *version += 1;
        assert_eq!(order.stock_version, *version);
    }
    assert_eq!(digest, totals.digest);
    assert_eq!(db.digest_at(totals.orders + 1).unwrap(), None);
    for StockRecord { stock, listed } in state.inventory().1 {
        let (net, volume, version) = traded.get(&stock.name).copied().unwrap_or((0, 0, 1));
        assert_eq!(i128::from(stock.quantity), i128::from(listed) + net);
        assert_eq!((stock.trade_volume, stock.version), (volume, version));
    }
}

mod openraft_suite {
    use openraft::{
        StorageError,
        testing::log::{StoreBuilder, Suite},
    };

    use crate::{
        log_store::LogStore,
        raft_types::TypeConfig,
        state_machine::{State, adapter::StateMachine},
    };

    struct Builder;

    impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Builder {
        async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
            let folder = tempfile::tempdir().unwrap();
            let log = LogStore::open(&folder.path().join("raft"), |fault: String| panic!("{fault}")).unwrap();
            let state = State::open(folder.path()).unwrap();
            Ok((folder, log, StateMachine::new(state)))
        }
    }

    #[tokio::test]
    async fn our_storage_passes_openrafts_own_suite() {
        Suite::test_all(Builder).await.unwrap();
    }
}
