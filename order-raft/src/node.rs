//! The order node: the only owner of Raft, and the only place where trades are proposed and reads are confirmed.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bazaar_domain::{
    ApiError, ErrorKind, ReplicaId, TradeFate,
    api::{Health, Role},
    config::ClusterConfig,
    internal::{LeaseGrant, OrderRead, OrderReadAnswer, Submitted},
};
use bazaar_service::Caller;
use openraft::{Instant as _, Raft, ReadPolicy, async_runtime::watch::WatchReceiver};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{EventKind, Events, describe},
    followers::Followers,
    gate::{Gate, LeadershipLost},
    intake_task::{Items, Submission, overloaded},
    log_store::LogStore,
    raft_types::{RaftId, RaftMetrics, TypeConfig},
    standing::Standing,
    state_machine::{State, adapter::StateMachine, books::StoreFault},
};

/// openraft, with our state machine.
pub type OrderRaft = Raft<TypeConfig, StateMachine>;

/// How far a follower may lag to be handed the leadership, in log entries.
const HAND_OVER_LAG_ENTRIES_MAX: u64 = 1_000;
/// How long a replica that stops waits for another one to take over.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits before that for the other one to have its whole log.
const HAND_OVER_IN_STEP_TIMEOUT: Duration = Duration::from_millis(300);
/// No replica has this number.
const NOBODY: ReplicaId = 0;
/// A read must be confirmed and released within this time.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// One replica's node.
pub struct Node {
    /// Its number.
    pub id: ReplicaId,
    /// Its Raft id: the number and the life.
    pub raft_id: RaftId,
    /// Its cluster.
    pub cluster_id: String,
    /// The configuration.
    pub config: Arc<ClusterConfig>,
    /// Raft.
    pub raft: OrderRaft,
    /// The applied state.
    pub state: Arc<State>,
    /// The log.
    pub log: LogStore,
    /// The release gate.
    pub gate: Arc<Gate>,
    /// What happened lately.
    pub events: Arc<Events>,
    /// Requests on their way into the log.
    pub submissions: mpsc::Sender<Submission>,
    /// The life of the catalog that asked for a lease last.
    pub catalog_seen: watch::Sender<u64>,
    /// How it calls other processes.
    pub caller: Caller,
    /// To whom the leadership is being handed; 0 for nobody. Nothing is admitted meanwhile.
    pub handing_over_to: AtomicU64,
    /// How far the followers are, if this replica leads.
    pub followers: Mutex<Followers>,
    /// Held while the membership is changed.
    pub changing_members: tokio::sync::Mutex<()>,
    /// The standing as of Raft's last report.
    pub standing: RwLock<Standing>,
}

impl Node {
    /// The standing now.
    pub fn standing(&self) -> Standing {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Raft's own metrics, cloned at once: holding the borrow would stop Raft.
    pub fn raft_metrics(&self) -> RaftMetrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// What this replica is, if it may take trades and reads now.
    ///
    /// # Errors
    /// `not_leader`, `no_leader`, `no_quorum`; nothing was proposed.
    pub(crate) fn admit(&self) -> Result<Standing, ApiError> {
        let standing = self.standing();
        let successor = self.handing_over_to.load(Ordering::Acquire);
        if successor != NOBODY {
            return Err(ApiError::new(ErrorKind::NoLeader, format!("leadership is handed to replica {successor}"))
                .with_outcome(TradeFate::NotApplied)
                .with_leader(Some(successor)));
        }
        standing.admit(self.config.raft.quorum_ack_age_max_ms, Instant::now())?;
        Ok(standing)
    }

    /// Brings trades or listing changes through the log; answers once they are committed, applied and released.
    ///
    /// # Errors
    /// `not_leader`, `no_leader`, `no_quorum`, `overloaded`: not proposed. `outcome_unknown`: send the same keys again.
    pub async fn submit(&self, items: Items) -> Result<Submitted, ApiError> {
        self.admit()?;
        let (reply, answer) = oneshot::channel();
        self.submissions.try_send(Submission { items, reply }).map_err(|error| match error {
            TrySendError::Full(_) => overloaded(),
            TrySendError::Closed(_) => {
                ApiError::new(ErrorKind::NoLeader, "this replica is stopping").with_outcome(TradeFate::NotApplied)
            }
        })?;
        answer.await.map_err(|_| {
            ApiError::new(ErrorKind::OutcomeUnknown, "the replica is stopping; send it again with the same key")
                .with_outcome(TradeFate::Unknown)
        })?
    }

    /// Answers order reads (R5): takes the commit index, confirms the leadership by a quorum round that began after the
    /// read arrived, and waits until everything the answers show is released.
    ///
    /// # Errors
    /// As [`Self::submit`], without a trade's fate; `internal` if the store fails.
    pub async fn read(&self, reads: &[OrderRead]) -> Result<Vec<OrderReadAnswer>, ApiError> {
        let standing = self.admit().map_err(|error| ApiError { outcome: None, ..error })?;
        let moved_on = || {
            ApiError::new(ErrorKind::NoLeader, "the leadership changed while the read was confirmed")
                .with_leader(self.standing().leader)
        };
        let confirmed = async {
            let (read_index, _) = self.raft.get_read_log_id(ReadPolicy::ReadIndex).await.map_err(|_| moved_on())?;
            self.wait_applied(read_index.index()).await;
            self.gate.pass(read_index.index()).await.map_err(|LeadershipLost| moved_on())?;
            self.read_released(reads, &moved_on).await
        };
        match tokio::time::timeout(READ_TIMEOUT, confirmed).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::new(ErrorKind::NoQuorum, "no quorum confirmed the leadership in time")
                .with_leader(standing.leader)),
        }
    }

    /// Reads the applied state; what it shows beyond the read index must be released too, or an order would be seen
    /// before the quantity that it changed.
    async fn read_released(
        &self,
        reads: &[OrderRead],
        moved_on: &impl Fn() -> ApiError,
    ) -> Result<Vec<OrderReadAnswer>, ApiError> {
        let has_pages = reads.iter().any(|read| matches!(read, OrderRead::After { .. }));
        let state = Arc::clone(&self.state);
        let reads = reads.to_vec();
        let read = move || -> Result<_, StoreFault> {
            let mut shown = 0;
            let mut answers = Vec::with_capacity(reads.len());
            for read in &reads {
                let (answer, index) = state.read(read)?;
                shown = shown.max(index);
                answers.push(answer);
            }
            Ok((answers, shown))
        };
        // Single orders come from memory or one block; pages may read a lot, and must not hold up Raft.
        let result = if has_pages {
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(StoreFault(error.to_string())))
        } else {
            read()
        };
        let (answers, shown) = result.map_err(|StoreFault(fault)| {
            tracing::error!(fault, "orders could not be read");
            ApiError::new(ErrorKind::Internal, "the order store failed; the replica's log says more")
        })?;
        self.gate.pass(shown).await.map_err(|LeadershipLost| moved_on())?;
        Ok(answers)
    }

    async fn wait_applied(&self, index: u64) {
        let mut applied = self.state.watch_applied();
        // The sender lives as long as the state that we hold.
        let _ = applied.wait_for(|id| crate::state_machine::index_of(*id) >= index).await;
    }

    /// Grants the catalog a lease (R1, R2), if this replica leads and a quorum has answered it lately, and notes which
    /// life of the catalog asks: a new one has to be told what it misses.
    ///
    /// # Errors
    /// `not_leader`, `no_leader` or `no_quorum`.
    pub fn grant(&self, incarnation: u64) -> Result<LeaseGrant, ApiError> {
        let standing = self.admit().map_err(|error| ApiError { outcome: None, ..error })?;
        self.catalog_seen.send_if_modified(|seen| std::mem::replace(seen, incarnation) != incarnation);
        let refuse = || ApiError::new(ErrorKind::NoLeader, "no lease can be given now").with_leader(standing.leader);
        let ack = standing.quorum_ack_at(Instant::now()).ok_or_else(refuse)?;
        let committed = standing.committed.map_or(0, |id| id.index);
        let granted = self.gate.grant(standing.term, ack, committed).ok_or_else(refuse)?;
        Ok(LeaseGrant {
            cluster_id: self.cluster_id.clone(),
            leader: self.id,
            term: standing.term,
            duration_micros: u64::try_from(granted.duration.as_micros()).unwrap_or(u64::MAX),
            floor: granted.floor,
            voters: standing.voters.clone(),
        })
    }

    /// Hands the leadership, if this replica has it, to the follower that lacks least, and waits a moment for it to take
    /// over. A replica that is going to stop does this first, so that nobody waits for an election timeout.
    pub async fn hand_over(&self, why: &str) {
        let report = self.raft_metrics();
        let voters: Vec<RaftId> = report.membership_config.voter_ids().collect();
        let followers = report.replication.iter().flatten();
        let followers = followers.filter(|(id, _)| **id != self.raft_id && voters.contains(id));
        let best = followers
            .filter(|(id, _)| self.was_heard_lately(&report, **id))
            .filter_map(|(id, matched)| Some((matched.as_ref()?.index, *id)))
            .max();
        let Some((matched, to)) = best.filter(|_| report.state.is_leader()) else { return };
        // openraft has no way to call a transfer off, so a follower that lags far behind is not asked.
        if report.last_log_index.unwrap_or(0).saturating_sub(matched) <= HAND_OVER_LAG_ENTRIES_MAX {
            self.hand_over_to(to, why).await;
        }
    }

    /// Hands the leadership to a voter: takes nothing new, waits until the voter has everything, has it elected, and
    /// waits until it leads. If it does not in time, this replica takes trades again.
    pub async fn hand_over_to(&self, to: RaftId, why: &str) {
        let term = self.standing().term;
        self.events.note(EventKind::Transfer, term, format!("leadership is handed to replica {to}: {why}"));
        self.handing_over_to.store(to.replica, Ordering::Release);
        let mut metrics = self.raft.metrics();
        let in_step = async {
            loop {
                let report = metrics.borrow_watched().clone();
                let matched = report.replication.as_ref().and_then(|known| known.get(&to)?.as_ref());
                if !report.state.is_leader() || matched.map(|id| id.index) >= report.last_log_index {
                    return;
                }
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Entries that the voter lacks would make it refuse; a few milliseconds under load.
        let _ = tokio::time::timeout(HAND_OVER_IN_STEP_TIMEOUT, in_step).await;
        if self.raft.trigger().transfer_leader(to).await.is_ok() {
            let handed_over = async {
                while metrics.borrow_watched().current_leader == Some(self.raft_id) && metrics.changed().await.is_ok() {
                }
            };
            let _ = tokio::time::timeout(HAND_OVER_TIMEOUT, handed_over).await;
        }
        self.handing_over_to.store(NOBODY, Ordering::Release);
    }

    /// Whether a follower has answered the leader within the time after which a leader's own silence would be noticed.
    pub(crate) fn was_heard_lately(&self, report: &RaftMetrics, follower: RaftId) -> bool {
        let heard = report.heartbeat.as_ref().and_then(|heard| heard.get(&follower)).and_then(|at| *at);
        heard.is_some_and(|at| at.into_inner().elapsed().as_millis() <= u128::from(self.config.raft.leader_silence_ms))
    }

    /// The answer of `GET /health`.
    pub fn health(&self) -> Health {
        let standing = self.standing();
        let now = Instant::now();
        let ready = match standing.role {
            Role::Leader => self.admit().is_ok(),
            Role::Follower | Role::Learner => standing.leader.is_some(),
            Role::Candidate | Role::Joining => false,
        };
        Health {
            id: self.id,
            role: standing.role,
            leader: standing.leader,
            term: standing.term,
            ready,
            quorum_ack_age_ms: standing.quorum_ack_age_ms(now),
            last_log_index: standing.last_log_index,
            committed: standing.committed.map(|id| id.index),
            applied: standing.applied.map(|id| id.index),
            orders: self.state.totals().orders,
            cluster_id: Some(self.cluster_id.clone()),
            voters: standing.voters,
        }
    }

    /// Follows Raft's reports until `shutdown`, and keeps the standing, the gate and the events up to date.
    ///
    /// # Errors
    /// If Raft stopped because its storage failed: the process must end.
    pub async fn follow_raft(&self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut metrics = self.raft.metrics();
        loop {
            let report = metrics.borrow_watched().clone();
            if let Err(fatal) = &report.running_state {
                anyhow::bail!("the replica cannot go on: {fatal}");
            }
            self.take_report(&report);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = metrics.changed() => {
                    anyhow::ensure!(changed.is_ok() || shutdown.is_cancelled(), "Raft stopped by itself");
                    if changed.is_err() { return Ok(()) }
                }
            }
        }
    }

    fn take_report(&self, report: &RaftMetrics) {
        let after = Standing::of(report);
        let before =
            std::mem::replace(&mut *self.standing.write().unwrap_or_else(PoisonError::into_inner), after.clone());
        let leads = (after.role == Role::Leader).then_some(after.term);
        if self.gate.term() != leads {
            self.gate.set_term(leads);
        }
        for (kind, what) in describe(&before, &after) {
            self.events.note(kind, after.term, what);
        }
        metrics::gauge!("bazaar_order_is_leader").set(if leads.is_some() { 1.0 } else { 0.0 });
        metrics::gauge!("bazaar_order_term").set(after.term as f64);
        metrics::gauge!("bazaar_order_applied_index").set(after.applied.map_or(0, |id| id.index) as f64);
    }
}
