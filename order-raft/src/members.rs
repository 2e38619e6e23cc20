//! Changes of membership, as steps that an operator composes: take a replica in as a learner, give it a vote, remove a
//! member. One step at a time; each is one entry in the log, or two with a joint membership between (Raft, section 6).

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use bazaar_domain::{
    ApiError, ErrorKind, ReplicaId,
    api::{MemberChange, MemberView, Members},
    internal::{JoinReply, JoinRequest},
};
use bazaar_service::CallError;
use futures::future::join_all;
use openraft::{
    ChangeMembers,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};

use crate::{
    events::EventKind,
    handover::missing,
    node::Node,
    raft_types::{Member, RaftId, RaftMetrics, TypeConfig},
};

/// A learner that lacks more log entries than this gets no vote: entries would have to wait for it.
const PROMOTE_LAG_ENTRIES_MAX: u64 = 1_000;
/// How long a replica may take to answer an invitation.
const JOIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a voter may take to answer a heartbeat before it counts as dead: an operator can wait longer than a leadership
/// that is handed over.
const VOTER_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a step is waited for. It goes on by itself after that.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

type Change = ChangeMembers<RaftId, Member>;

impl Node {
    /// The members, as this replica knows them.
    pub fn members(&self) -> Members {
        let report = self.raft_metrics();
        let membership = report.membership_config.membership();
        let voters: BTreeSet<RaftId> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, member)| MemberView {
            id: id.replica,
            life: id.life,
            voter: voters.contains(id),
            service: member.service.clone(),
            peers: member.peers.clone(),
            admin: member.admin.clone(),
            lag: missing(&report, *id),
            lag_ms: self.lag_ms(&report, *id),
        });
        Members { leader: self.standing().leader, members: members.collect() }
    }

    fn lag_ms(&self, report: &RaftMetrics, member: RaftId) -> Option<u64> {
        let last = report.last_log_index.unwrap_or(0);
        let matched = last - missing(report, member)?.min(last);
        let followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.lag_ms(matched, last, Instant::now())
    }

    /// Carries one step out, and answers once it is committed. The step goes on if the caller gives up.
    ///
    /// # Errors
    /// `not_leader`, `no_leader`, `no_quorum`: ask the leader, or again later. `membership_busy`: likewise, while
    /// another change is under way or a replica catches up. `membership_conflict`: the step does not fit the membership
    /// now. `no_quorum` also if it is not committed in time.
    pub async fn change_members(self: &Arc<Self>, change: MemberChange) -> Result<Members, ApiError> {
        let node = Arc::clone(self);
        let step = tokio::spawn(async move { node.step(change).await });
        match tokio::time::timeout(STEP_TIMEOUT, step).await {
            Ok(done) => done.unwrap_or_else(|error| Err(ApiError::new(ErrorKind::Internal, error.to_string())))?,
            Err(_) => {
                let text = "the change is not committed yet; list the members to see whether it comes about";
                return Err(ApiError::new(ErrorKind::NoQuorum, text));
            }
        }
        Ok(self.members())
    }

    async fn step(&self, change: MemberChange) -> Result<(), ApiError> {
        self.admit().map_err(|error| ApiError { outcome: None, ..error })?;
        let _one_at_a_time = self
            .changing_members
            .try_lock()
            .map_err(|_| busy("another change of membership is under way; try again when it is done"))?;
        if is_joint(&self.raft_metrics()) {
            return Err(busy("a change of an earlier leader is being ended; try again in a moment"));
        }
        match change {
            MemberChange::Add { id, service, peers, admin } => self.add(id, Member { peers, service, admin }).await,
            MemberChange::Promote { id } => self.promote(id).await,
            MemberChange::Remove { id } => self.remove(id).await,
        }
    }

    async fn add(&self, replica: ReplicaId, member: Member) -> Result<(), ApiError> {
        let id = self.invite(replica, &member).await?;
        let report = self.raft_metrics();
        let membership = report.membership_config.membership();
        // An earlier life that never got a vote is no use to anybody, and must not be promoted by mistake.
        let left_over = membership.learner_ids().filter(|known| known.replica == replica && *known != id);
        self.forget_learners(left_over.collect()).await?;
        if membership.get_node(&id).is_some() {
            return Ok(());
        }
        let text = format!("replica {id} is to be taken in as a learner");
        self.events.note(EventKind::Membership, report.current_term, text);
        self.raft.add_learner(id, member, false).await.map(drop).map_err(|error| self.refusal(error))
    }

    /// Asks a waiting replica to join, and which life it is.
    async fn invite(&self, replica: ReplicaId, member: &Member) -> Result<RaftId, ApiError> {
        let url = self.caller.url(&member.admin, "/admin/join");
        let request = JoinRequest { cluster_id: self.cluster_id.clone() };
        let reply: JoinReply = self.caller.post(&url, &request, JOIN_TIMEOUT, None).await.map_err(|error| {
            let why = match error {
                CallError::Answered(error) => error.message,
                error => error.to_string(),
            };
            conflict(format!("replica {replica} at {} cannot be taken in: {why}", member.admin))
        })?;
        if reply.id != replica {
            return Err(conflict(format!("at {} answers replica {}, not {replica}", member.admin, reply.id)));
        }
        Ok(RaftId { replica, life: reply.life })
    }

    async fn promote(&self, replica: ReplicaId) -> Result<(), ApiError> {
        let report = self.raft_metrics();
        let membership = report.membership_config.membership();
        let learner = membership.learner_ids().filter(|id| id.replica == replica).last();
        let Some(learner) = learner else {
            if membership.voter_ids().any(|id| id.replica == replica) {
                return Ok(());
            }
            return Err(conflict(format!("replica {replica} is no member; take it in first")));
        };
        match missing(&report, learner).filter(|_| self.was_heard_lately(&report, learner)) {
            Some(lag) if lag <= PROMOTE_LAG_ENTRIES_MAX => {}
            Some(lag) => return Err(busy(format!("replica {replica} still lacks {lag} log entries; wait for it"))),
            None => return Err(busy(format!("replica {replica} does not answer the leader; wait for it"))),
        }
        let others = membership.voter_ids().filter(|id| id.replica != replica);
        let voters: BTreeSet<RaftId> = others.chain([learner]).collect();
        self.must_have_majority(&voters).await?;
        self.events.note(EventKind::Membership, report.current_term, format!("replica {learner} is to get a vote"));
        self.change(Change::ReplaceAllVoters(voters)).await
    }

    /// A membership whose voters are mostly dead could commit nothing any more, not even its own end.
    async fn must_have_majority(&self, voters: &BTreeSet<RaftId>) -> Result<(), ApiError> {
        let answers = join_all(voters.iter().map(|id| self.answers_within(VOTER_ANSWER_TIMEOUT, *id))).await;
        let count = answers.into_iter().filter(|answered| *answered).count();
        if count > voters.len() / 2 {
            return Ok(());
        }
        Err(conflict(format!(
            "of the {} voters that would be left only {count} answer; bring the others back first",
            voters.len()
        )))
    }

    async fn remove(&self, replica: ReplicaId) -> Result<(), ApiError> {
        if replica == self.id {
            self.hand_over("it is to be removed").await;
            let text = "this replica leads and hands its leadership over first; ask the new leader";
            return Err(ApiError::new(ErrorKind::NotLeader, text).with_leader(self.standing().leader));
        }
        let report = self.raft_metrics();
        let membership = report.membership_config.membership();
        let voters: BTreeSet<RaftId> = membership.voter_ids().filter(|id| id.replica == replica).collect();
        let learners: BTreeSet<RaftId> = membership.learner_ids().filter(|id| id.replica == replica).collect();
        if !voters.is_empty() {
            let left = membership.voter_ids().filter(|id| id.replica != replica).collect();
            self.must_have_majority(&left).await?;
            self.events.note(EventKind::Membership, report.current_term, format!("replica {replica} is to be removed"));
            self.change(Change::RemoveVoters(voters)).await?;
        } else if learners.is_empty() {
            return Err(conflict(format!("replica {replica} is no member")));
        }
        self.forget_learners(learners).await
    }

    async fn forget_learners(&self, learners: BTreeSet<RaftId>) -> Result<(), ApiError> {
        if learners.is_empty() { Ok(()) } else { self.change(Change::RemoveNodes(learners)).await }
    }

    /// Ends a change that an earlier leader began: its joint membership needs a majority of both sides until then.
    pub async fn finish_joint_membership(&self) {
        if is_joint(&self.raft_metrics())
            && let Ok(_one_at_a_time) = self.changing_members.try_lock()
            && let Err(error) = self.change(Change::AddVoterIds(BTreeSet::new())).await
        {
            tracing::info!(%error, "a joint membership of an earlier leader could not be ended yet");
        }
    }

    async fn change(&self, change: Change) -> Result<(), ApiError> {
        self.raft.change_membership(change, false).await.map(drop).map_err(|error| self.refusal(error))
    }

    fn refusal(&self, error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ApiError {
        match error {
            RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
                busy("another change of membership is under way; try again when it is done")
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => conflict(error.to_string()),
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
                ApiError::new(ErrorKind::NotLeader, "this replica does not lead any more")
                    .with_leader(self.standing().leader)
            }
            error => ApiError::new(ErrorKind::Internal, error.to_string()),
        }
    }
}

fn is_joint(report: &RaftMetrics) -> bool {
    report.membership_config.membership().get_joint_config().len() > 1
}

fn conflict(text: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::MembershipConflict, text)
}

fn busy(text: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::MembershipBusy, text)
}
