//! Each rule is broken once, and some seed shows what goes wrong.
#![cfg(feature = "mutants")]

use bazaar_domain::mutants::{Mutant, break_only};
use sim::{
    plan::{Length, Plan},
    shrink::shrink,
    truth::Violation,
    world,
};

/// Several times as many as any of them needs.
const SEEDS_MAX: u64 = 50_000;
/// A shrunk run has so few operations and faults together.
const SHRUNK_MAX: usize = 12;

/// Mutants that break nothing here, and why.
const OUT_OF_REACH: &[(Mutant, &str)] = &[
    (Mutant::ReportApplied, "a publish is answered after its exposure, when applied and exposed are the same"),
    (Mutant::FillFromBeforeHealing, "catalog and replicas decide by the same function, so nothing diverges here"),
    (
        Mutant::RetryFailedSync,
        "a disk that fails to sync ends the replica here; files that lose what a failed sync was for are real",
    ),
];

fn first_violation(mutant: Mutant) -> Option<(Plan, Violation)> {
    break_only(Some(mutant));
    let found = (0..SEEDS_MAX).find_map(|seed| {
        let plan = Plan::draw(seed, Length::SHORT);
        let violation = world::run(&plan, None).err()?;
        Some((plan, violation))
    });
    break_only(None);
    found
}

fn is_caught(mutant: Mutant) {
    let (plan, violation) = first_violation(mutant).expect("no seed shows that a rule is broken");
    println!("{} after {} seeds: {}", mutant.name(), plan.seed + 1, violation.0);
}

macro_rules! caught {
    ($($test:ident: $mutant:ident,)+) => {
        $(
            #[test]
            fn $test() {
                is_caught(Mutant::$mutant);
            }
        )+

        #[test]
        fn every_mutant_is_tested_or_out_of_reach() {
            let tested = [$(Mutant::$mutant,)+];
            let is_missing = |mutant: &&Mutant| {
                !tested.contains(mutant) && !OUT_OF_REACH.iter().any(|(beyond, _)| beyond == *mutant)
            };
            let missing: Vec<&Mutant> = Mutant::ALL.iter().filter(is_missing).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

caught! {
    a_lease_that_counts_from_the_answer_is_caught: LeaseFromAnswer,
    a_grant_that_counts_from_now_is_caught: GrantFromNow,
    a_grant_before_an_entry_of_the_own_term_is_caught: GrantBeforeOwnTerm,
    a_floor_that_is_ignored_is_caught: IgnoreFloor,
    a_frontends_lease_that_outlasts_the_catalogs_is_caught: FrontendLeaseNotNested,
    a_release_despite_grants_is_caught: ReleaseDespiteGrants,
    a_release_by_acks_alone_is_caught: ReleaseOnlyByAck,
    a_new_leader_that_does_not_wait_is_caught: NoWaitForPredecessors,
    reads_that_skip_the_gate_are_caught: ReadsSkipTheGate,
    a_catalog_that_is_not_silent_after_its_start_is_caught: NoSilenceAfterStart,
    an_ack_that_counts_for_any_batch_is_caught: AnyAckCounts,
    acks_that_are_not_waited_for_are_caught: IgnoreAcks,
    an_older_session_that_replaces_a_newer_one_is_caught: OlderSessionReplaces,
    a_session_that_takes_anothers_answer_is_caught: AnySessionsAnswer,
    a_session_that_outlives_its_lapse_is_caught: SessionOutlivesLapse,
    a_fill_of_an_earlier_session_is_caught: FillOfEarlierSession,
    a_fill_without_a_lease_is_caught: FillWithoutLease,
    a_fill_below_the_floor_is_caught: FillBelowFloor,
    a_fill_of_a_pending_stock_is_caught: FillPending,
    an_old_inventory_that_is_taken_is_caught: OldSnapshotTaken,
    an_inventory_without_invalidations_is_caught: SnapshotNotInvalidated,
    a_hit_without_a_lease_is_caught: HitWithoutLease,
    a_lookup_that_joins_an_earlier_fetch_is_caught: JoinEarlierFetch,
    one_invalidation_in_a_hundred_that_is_dropped_is_caught: DropSomeInvalidations,
    an_answer_before_the_sync_is_caught: AnswerBeforeSync,
    a_read_without_a_quorum_is_caught: SkipReadIndex,
    a_number_from_the_log_index_is_caught: NumberFromLogIndex,
    an_unordered_apply_is_caught: UnorderedApply,
    an_apply_in_two_writes_is_caught: ApplyInTwoWrites,
    a_snapshot_without_outcomes_is_caught: SnapshotWithoutOutcomes,
}

#[test]
fn a_failing_run_is_made_small() {
    let (plan, _) = first_violation(Mutant::HitWithoutLease).unwrap();
    break_only(Some(Mutant::HitWithoutLease));
    let (smallest, _) = shrink(&plan).unwrap();
    let fails_again = world::run(&smallest, None).is_err();
    break_only(None);
    assert!(fails_again);
    let (before, after) = (plan.ops.len() + plan.faults.len(), smallest.ops.len() + smallest.faults.len());
    assert!(after <= SHRUNK_MAX, "{before} operations and faults became {after}");
}
