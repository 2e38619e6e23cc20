//! A replica's part in the founding of its cluster: it agrees to it once, under the life of its data directory, and
//! begins when all founders have agreed (ADR 0010). So the same command starts a replica the first time and ever after.

use std::collections::BTreeMap;

use bazaar_domain::{
    ApiError, ErrorKind,
    api::{Founding, FoundingStep, FoundingView},
    config::ClusterConfig,
};

use crate::{
    identity::Identity,
    raft_types::{Member, RaftId},
    run::founding_members,
};

/// What a step asks of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// It was done before.
    Nothing,
    /// To note this founding, durably.
    Prepare(Founding),
    /// To become a member of this cluster, durably, and begin.
    Begin(String),
}

/// What a step asks of the replica of this identity.
///
/// # Errors
/// `wrong_cluster` if it belongs to another one. `membership_conflict` if it agreed to another founding, or is not the
/// life that this one names: under that life it may have voted, and lost its disk since.
pub fn due(identity: &Identity, step: &FoundingStep) -> Result<Due, ApiError> {
    let (FoundingStep::Prepare(founding) | FoundingStep::Begin(founding)) = step;
    let id = identity.replica_id;
    let conflict = |why: &str| Err(ApiError::new(ErrorKind::MembershipConflict, format!("replica {id} {why}")));
    if let Some(own) = &identity.cluster_id {
        return if *own == founding.cluster_id {
            Ok(Due::Nothing)
        } else {
            Err(ApiError::new(ErrorKind::WrongCluster, format!("replica {id} belongs to cluster {own}")))
        };
    }
    if !founding.names(id, identity.life) {
        return conflict("has another data directory than the founding names");
    }
    match (&identity.founding, step) {
        (Some(noted), _) if noted != founding => conflict("agreed to another founding"),
        (Some(_), FoundingStep::Prepare(_)) => Ok(Due::Nothing),
        (None, FoundingStep::Prepare(_)) => Ok(Due::Prepare(founding.clone())),
        (Some(_), FoundingStep::Begin(_)) => Ok(Due::Begin(founding.cluster_id.clone())),
        (None, FoundingStep::Begin(_)) => conflict("has not agreed to this founding yet"),
    }
}

/// Where a replica that waits stands.
pub fn view(identity: &Identity) -> FoundingView {
    FoundingView {
        id: identity.replica_id,
        life: identity.life,
        cluster_id: identity.cluster_id.clone(),
        prepared: identity.founding.clone().filter(|_| identity.cluster_id.is_none()),
    }
}

/// The members with whom this replica may begin a log; none for one that was taken in, whose log comes from the leader.
pub(crate) fn first_members(identity: &Identity, config: &ClusterConfig) -> Option<BTreeMap<RaftId, Member>> {
    if identity.raft_id() == RaftId::founding(identity.replica_id) {
        return Some(founding_members(config));
    }
    let own = identity.founding.as_ref().filter(|own| identity.cluster_id.as_ref() == Some(&own.cluster_id))?;
    let member = |founder: &bazaar_domain::api::Founder| {
        let id = RaftId { replica: founder.id, life: founder.life };
        let (peers, service, admin) = (founder.peers.clone(), founder.service.clone(), founder.admin.clone());
        (id, Member { peers, service, admin })
    };
    Some(own.founders.iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use bazaar_domain::api::Founder;

    use super::*;

    fn founding(cluster: &str, lives: [u64; 3]) -> Founding {
        let founder = |(id, life)| Founder {
            id,
            life,
            service: format!("s{id}:1"),
            peers: format!("p{id}:1"),
            admin: format!("a{id}:1"),
        };
        Founding { cluster_id: cluster.into(), founders: (1..).zip(lives).map(founder).collect() }
    }

    /// The identity of a replica 2 with an empty directory.
    fn new(folder: &tempfile::TempDir) -> Identity {
        Identity::establish(folder.path(), 2, None).unwrap()
    }

    fn kind(result: Result<Due, ApiError>) -> ErrorKind {
        result.unwrap_err().kind
    }

    #[test]
    fn a_replica_begins_only_what_it_agreed_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut identity = new(&folder);
        let [own, other] = ["c", "d"].map(|cluster| founding(cluster, [11, identity.life, 13]));
        let begin = FoundingStep::Begin(own.clone());
        assert_eq!(kind(due(&identity, &begin)), ErrorKind::MembershipConflict);
        let prepare = FoundingStep::Prepare(own.clone());
        assert_eq!(due(&identity, &prepare).unwrap(), Due::Prepare(own.clone()));
        identity.prepare(folder.path(), own.clone()).unwrap();

        // What it agreed to survives a restart, and keeps others out.
        let identity = new(&folder);
        assert_eq!(view(&identity).prepared, Some(own.clone()));
        assert_eq!(due(&identity, &prepare).unwrap(), Due::Nothing);
        for step in [FoundingStep::Prepare(other.clone()), FoundingStep::Begin(other)] {
            assert_eq!(kind(due(&identity, &step)), ErrorKind::MembershipConflict);
        }
        assert_eq!(due(&identity, &begin).unwrap(), Due::Begin("c".into()));
    }

    #[test]
    fn a_wiped_founder_is_no_founder_any_more() {
        let [before, after] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let own = founding("c", [11, new(&before).life, 13]);
        let wiped = new(&after);
        for step in [FoundingStep::Prepare(own.clone()), FoundingStep::Begin(own)] {
            assert_eq!(kind(due(&wiped, &step)), ErrorKind::MembershipConflict);
        }
    }

    #[test]
    fn a_member_takes_part_in_no_other_founding() {
        let folder = tempfile::tempdir().unwrap();
        let mut identity = new(&folder);
        let own = founding("c", [11, identity.life, 13]);
        identity.prepare(folder.path(), own.clone()).unwrap();
        identity.join(folder.path(), "c".into()).unwrap();
        assert_eq!(due(&identity, &FoundingStep::Begin(own)).unwrap(), Due::Nothing);
        let other = FoundingStep::Prepare(founding("d", [11, identity.life, 13]));
        assert_eq!(kind(due(&identity, &other)), ErrorKind::WrongCluster);
        assert_eq!(view(&identity).prepared, None);
    }

    #[test]
    fn only_a_founder_begins_a_log() {
        let config =
            ClusterConfig::parse("[[replica]]\nid = 2\nservice = \"s2:1\"\npeers = \"p2:1\"\nadmin = \"a2:1\"\n")
                .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut identity = new(&folder);
        let own = founding("c", [11, identity.life, 13]);
        identity.prepare(folder.path(), own).unwrap();
        identity.join(folder.path(), "c".into()).unwrap();
        let members = first_members(&identity, &config).unwrap();
        assert_eq!(members.keys().map(|id| id.life).collect::<Vec<_>>(), [11, identity.life, 13]);
        assert_eq!(members[&identity.raft_id()].peers, "p2:1");

        // It agreed to a founding, and another cluster took it in before that came about.
        identity.join(folder.path(), "d".into()).unwrap();
        assert_eq!(first_members(&identity, &config), None);
    }
}
