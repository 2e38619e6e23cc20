//! Each rule is broken once, and the search finds what goes wrong.
#![cfg(feature = "mutants")]

use bazaar_domain::mutants::{Mutant, break_only};
use bazaar_model::{
    goals::Goal,
    scenarios::{named, of_mutant},
    search::{Order, Report, search},
};

/// More than any of them needs.
const STATES_MAX: usize = 3_000_000;

fn search_with(mutant: Mutant) -> Report {
    break_only(Some(mutant));
    let scenario = of_mutant(mutant).and_then(named).unwrap();
    let report = search(&scenario.bounds, Order::Breadth, STATES_MAX);
    break_only(None);
    println!("{} in {}: {} states, {:?}", mutant.name(), scenario.name, report.states, report.elapsed);
    report
}

fn is_found(mutant: Mutant) {
    let report = search_with(mutant);
    let (violation, trace) = report.violation.expect("the search finds nothing wrong although a rule is broken");
    println!("{} events\n{trace}{violation}", trace.steps.len());
}

macro_rules! found {
    ($($test:ident: $mutant:ident,)+) => {
        $(
            #[test]
            fn $test() {
                is_found(Mutant::$mutant);
            }
        )+

        #[test]
        fn every_mutant_has_its_test() {
            let tested = [$(Mutant::$mutant,)+ Mutant::ReleaseOnlyByAck];
            let is_missing = |mutant: &&Mutant| of_mutant(**mutant).is_some() && !tested.contains(mutant);
            let untested: Vec<&Mutant> = Mutant::ALL.iter().filter(is_missing).collect();
            assert!(untested.is_empty(), "{untested:?}");
        }
    };
}

found! {
    a_lease_that_counts_from_the_answer_is_found: LeaseFromAnswer,
    a_grant_that_counts_from_now_is_found: GrantFromNow,
    a_grant_before_an_entry_of_the_own_term_is_found: GrantBeforeOwnTerm,
    a_floor_that_is_ignored_is_found: IgnoreFloor,
    a_frontends_lease_that_outlasts_the_catalogs_is_found: FrontendLeaseNotNested,
    a_release_despite_grants_is_found: ReleaseDespiteGrants,
    a_new_leader_that_does_not_wait_is_found: NoWaitForPredecessors,
    reads_that_skip_the_gate_are_found: ReadsSkipTheGate,
    a_catalog_that_is_not_silent_after_its_start_is_found: NoSilenceAfterStart,
    a_report_of_what_is_only_applied_is_found: ReportApplied,
    an_ack_that_counts_for_any_batch_is_found: AnyAckCounts,
    acks_that_are_not_waited_for_are_found: IgnoreAcks,
    an_older_session_that_replaces_a_newer_one_is_found: OlderSessionReplaces,
    a_session_that_takes_anothers_answer_is_found: AnySessionsAnswer,
    a_session_that_outlives_its_lapse_is_found: SessionOutlivesLapse,
    a_fill_of_an_earlier_session_is_found: FillOfEarlierSession,
    a_fill_without_a_lease_is_found: FillWithoutLease,
    a_fill_below_the_floor_is_found: FillBelowFloor,
    a_fill_of_a_pending_stock_is_found: FillPending,
    a_fill_from_before_a_healing_is_found: FillFromBeforeHealing,
    an_old_inventory_that_is_taken_is_found: OldSnapshotTaken,
    an_inventory_without_invalidations_is_found: SnapshotNotInvalidated,
    a_hit_without_a_lease_is_found: HitWithoutLease,
    a_lookup_that_joins_an_earlier_fetch_is_found: JoinEarlierFetch,
}

/// Nothing wrong is shown, but answers stop: the trace would be endless, so what is missing is shown instead.
#[test]
fn a_leader_that_releases_by_acks_alone_answers_nothing_while_the_catalog_takes_nothing() {
    let report = search_with(Mutant::ReleaseOnlyByAck);
    assert!(report.is_complete && report.violation.is_none());
    assert!(report.goals.has(Goal::AnsweredByAck) && !report.goals.has(Goal::AnsweredWithoutAck));
}
