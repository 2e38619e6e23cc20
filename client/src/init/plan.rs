//! What is to be done about a founding, decided from what the replicas say.

use bazaar_domain::{
    ReplicaId,
    api::{Founder, Founding, FoundingView},
    config::ReplicaConfig,
};

use crate::api::Failure;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// All replicas wait: they are to agree to this, then to begin.
    Found(Founding),
    /// At least one replica is a member of a cluster.
    Exists {
        /// The cluster.
        cluster_id: String,
        /// Those who agreed to its founding and have not begun.
        late: Option<Late>,
        /// Those who wait and did not agree to it: their data directories are newer than it.
        outsiders: Vec<ReplicaId>,
    },
    /// Nobody is a member, and not everybody answers. One that is silent may be the only one that remembers a cluster.
    Wait(String),
    /// A person has to decide.
    Refuse(String),
}

/// Founders that are still to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Late {
    /// What they agreed to.
    pub(super) founding: Founding,
    /// Who they are.
    pub(super) ids: Vec<ReplicaId>,
}

/// Decides from the answers of the configured replicas, in the configuration's order.
pub(super) fn plan(replicas: &[ReplicaConfig], views: &[Result<FoundingView, Failure>]) -> Plan {
    let answered: Vec<&FoundingView> = views.iter().flatten().collect();
    for (replica, view) in replicas.iter().zip(views) {
        if let Ok(view) = view
            && view.id != replica.id
        {
            return Plan::Refuse(format!("at {} answers replica {}, not {}", replica.admin, view.id, replica.id));
        }
    }
    if let Some(cluster_id) = answered.iter().find_map(|view| view.cluster_id.as_ref()) {
        return existing(cluster_id, &answered);
    }
    for (replica, view) in replicas.iter().zip(views) {
        if let Err(failure) = view {
            return Plan::Wait(format!("replica {} does not answer at {}: {failure}", replica.id, replica.admin));
        }
    }
    match answered.iter().find_map(|view| view.prepared.as_ref()) {
        Some(founding) => resumed(founding, &answered),
        None => Plan::Found(new(replicas, &answered)),
    }
}

fn existing(cluster_id: &str, answered: &[&FoundingView]) -> Plan {
    let other = answered.iter().find_map(|view| view.cluster_id.as_ref().filter(|other| *other != cluster_id));
    if let Some(other) = other {
        return Plan::Refuse(format!(
            "the replicas belong to different clusters, {cluster_id} and {other}; give each replica its own data directory"
        ));
    }
    let agreed = |view: &FoundingView| view.prepared.clone().filter(|founding| founding.cluster_id == cluster_id);
    let waiting = || answered.iter().filter(|view| view.cluster_id.is_none());
    let late = waiting().find_map(|view| agreed(view)).map(|founding| Late {
        ids: waiting().filter(|view| view.prepared.as_ref() == Some(&founding)).map(|view| view.id).collect(),
        founding,
    });
    let outsiders = waiting().filter(|view| agreed(view).is_none()).map(|view| view.id).collect();
    Plan::Exists { cluster_id: cluster_id.to_owned(), late, outsiders }
}

/// A founding that was cut off before anybody began. It goes on only with the very directories that it names.
fn resumed(founding: &Founding, answered: &[&FoundingView]) -> Plan {
    let fits = |view: &&&FoundingView| {
        founding.names(view.id, view.life) && view.prepared.as_ref().is_none_or(|noted| noted == founding)
    };
    match answered.iter().find(|view| !fits(view)) {
        None => Plan::Found(founding.clone()),
        Some(view) => Plan::Refuse(format!(
            "replica {} does not fit the founding of {} that was begun: its data directory was changed since. No replica \
             has begun, so nothing is lost: empty the data directories of all of them, and repeat the command",
            view.id, founding.cluster_id
        )),
    }
}

/// The name of a new cluster is made of its founders' lives, which are random: two calls at once name the same one.
fn new(replicas: &[ReplicaConfig], answered: &[&FoundingView]) -> Founding {
    let name = answered.iter().fold(0_u64, |name, view| name.rotate_left(16) ^ view.life);
    let founder = |(replica, view): (&ReplicaConfig, &&FoundingView)| Founder {
        id: replica.id,
        life: view.life,
        service: replica.service.to_string(),
        peers: replica.peers.to_string(),
        admin: replica.admin.to_string(),
    };
    Founding {
        cluster_id: format!("bazaar-{name:016x}"),
        founders: replicas.iter().zip(answered).map(founder).collect(),
    }
}

#[cfg(test)]
mod tests {
    use bazaar_domain::config::ClusterConfig;

    use super::*;

    fn replicas() -> Vec<ReplicaConfig> {
        let replica =
            |id| format!("[[replica]]\nid = {id}\nservice = \"o{id}:1\"\npeers = \"o{id}:2\"\nadmin = \"o{id}:3\"\n");
        ClusterConfig::parse(&[1, 2, 3].map(replica).concat()).unwrap().replicas
    }

    fn waiting(id: ReplicaId) -> FoundingView {
        FoundingView { id, life: 100 + id, cluster_id: None, prepared: None }
    }

    fn member(id: ReplicaId, cluster: &str) -> FoundingView {
        FoundingView { cluster_id: Some(cluster.into()), ..waiting(id) }
    }

    fn decide(views: [Result<FoundingView, Failure>; 3]) -> Plan {
        plan(&replicas(), &views)
    }

    /// The founding of three new replicas.
    fn founding() -> Founding {
        match decide([1, 2, 3].map(|id| Ok(waiting(id)))) {
            Plan::Found(founding) => founding,
            other => panic!("{other:?}"),
        }
    }

    fn agreed(id: ReplicaId) -> FoundingView {
        FoundingView { prepared: Some(founding()), ..waiting(id) }
    }

    #[test]
    fn three_new_replicas_found_a_cluster_under_their_lives() {
        let founding = founding();
        assert_eq!(founding.cluster_id, self::founding().cluster_id, "two calls at once agree");
        assert_eq!(
            founding.founders.iter().map(|founder| (founder.id, founder.life)).collect::<Vec<_>>(),
            [(1, 101), (2, 102), (3, 103)]
        );
        assert_eq!(founding.founders[1].peers, "o2:2");
    }

    #[test]
    fn nothing_is_founded_while_a_replica_is_silent() {
        let plan = decide([Ok(waiting(1)), Ok(waiting(2)), Err(Failure::Refused)]);
        assert!(matches!(&plan, Plan::Wait(why) if why.contains("replica 3 does not answer at o3:3")), "{plan:?}");
    }

    #[test]
    fn a_founding_that_was_cut_off_goes_on_with_the_same_directories_only() {
        assert_eq!(decide([Ok(agreed(1)), Ok(waiting(2)), Ok(waiting(3))]), Plan::Found(founding()));
        assert_eq!(decide([1, 2, 3].map(|id| Ok(agreed(id)))), Plan::Found(founding()));
        let wiped = FoundingView { life: 7, ..waiting(2) };
        assert!(matches!(decide([Ok(agreed(1)), Ok(wiped), Ok(agreed(3))]), Plan::Refuse(_)));
        let other = Founding { cluster_id: "other".into(), ..founding() };
        let of_another = FoundingView { prepared: Some(other), ..waiting(3) };
        assert!(matches!(decide([Ok(agreed(1)), Ok(waiting(2)), Ok(of_another)]), Plan::Refuse(_)));
    }

    #[test]
    fn founders_that_have_not_begun_are_told_to() {
        let cluster_id = founding().cluster_id;
        let plan = decide([Ok(member(1, &cluster_id)), Ok(agreed(2)), Err(Failure::Timeout)]);
        let late = Some(Late { founding: founding(), ids: vec![2] });
        assert_eq!(plan, Plan::Exists { cluster_id, late, outsiders: vec![] });
    }

    #[test]
    fn a_wiped_member_stays_outside() {
        let plan = decide([Ok(member(1, "c")), Ok(waiting(2)), Ok(member(3, "c"))]);
        assert_eq!(plan, Plan::Exists { cluster_id: "c".into(), late: None, outsiders: vec![2] });
        // It had agreed to an earlier founding, which came to nothing.
        let plan = decide([Ok(member(1, "c")), Ok(agreed(2)), Err(Failure::Refused)]);
        assert_eq!(plan, Plan::Exists { cluster_id: "c".into(), late: None, outsiders: vec![2] });
    }

    #[test]
    fn replicas_of_two_clusters_or_at_wrong_addresses_are_refused() {
        assert!(matches!(decide([Ok(member(1, "c")), Ok(member(2, "d")), Ok(member(3, "c"))]), Plan::Refuse(_)));
        assert!(matches!(decide([Ok(waiting(1)), Ok(waiting(3)), Ok(waiting(2))]), Plan::Refuse(_)));
    }
}
