//! Who is killed in which round. Pure: all follows from the seed.

use bazaar_domain::ReplicaId;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::index::sample};

/// In so many rounds, if there are as many, the victim is whoever leads then.
const LEADER_ROUNDS_MIN: usize = 2;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// Whoever leads.
    Leader,
    /// This replica, which may lead too.
    Replica(ReplicaId),
}

/// The victims of all rounds.
pub fn victims(seed: u64, rounds: usize, replicas: &[ReplicaId]) -> Vec<Victim> {
    let mut random = StdRng::seed_from_u64(seed);
    let leader_rounds = sample(&mut random, rounds, LEADER_ROUNDS_MIN.min(rounds)).into_vec();
    let mut draw = |round| {
        if leader_rounds.contains(&round) {
            Victim::Leader
        } else {
            Victim::Replica(replicas[random.random_range(0..replicas.len())])
        }
    };
    (0..rounds).map(&mut draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> [ReplicaId; 3] {
        [1, 2, 3].map(|id: u64| id.to_string().parse().unwrap())
    }

    #[test]
    fn every_seed_kills_the_leader_at_least_twice_and_each_replica_is_somebodys_victim() {
        let plans: Vec<Vec<Victim>> = (0..50).map(|seed| victims(seed, 5, &three())).collect();
        let leaders = |plan: &Vec<Victim>| plan.iter().filter(|victim| **victim == Victim::Leader).count();
        assert!(plans.iter().all(|plan| plan.len() == 5 && leaders(plan) == 2), "{plans:?}");
        for id in three() {
            assert!(plans.iter().any(|plan| plan.contains(&Victim::Replica(id))), "{id}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_plan_again_and_another_one_another() {
        assert_eq!(victims(7, 5, &three()), victims(7, 5, &three()));
        assert!((8..20).any(|seed| victims(seed, 5, &three()) != victims(7, 5, &three())));
        assert_eq!(victims(1, 1, &three()), [Victim::Leader]);
    }
}
