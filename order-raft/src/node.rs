//! The order node: the only owner of Raft, and the only place where trades are proposed and reads are confirmed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bazaar_domain::{
    ApiError, ErrorKind, ReplicaId, TradeFate,
    api::{Health, Role},
    config::ClusterConfig,
    internal::{LeaseGrant, OrderRead, OrderReadAnswer, Submitted},
    mutants::{Mutant, broken},
};
use bazaar_service::{Caller, Origin};
use openraft::{Raft, ReadPolicy, async_runtime::watch::WatchReceiver};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{Events, describe},
    followers::Followers,
    gate::{Gate, LeadershipLost},
    handover::Handover,
    intake_task::{Items, Submission, overloaded},
    log_store::LogStore,
    network::Sightings,
    raft_types::{RaftId, RaftMetrics, TypeConfig},
    standing::Standing,
    state_machine::{State, adapter::StateMachine, books::StoreFault},
};

/// openraft, with our state machine.
pub type OrderRaft = Raft<TypeConfig, StateMachine>;

/// A read must be confirmed and released within this time.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Single orders that are read on the runtime's thread at a time.
const INLINE_READS_MAX: usize = 64;

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
    /// The data directory.
    pub data: PathBuf,
    /// The release gate.
    pub gate: Arc<Gate>,
    /// What happened lately.
    pub events: Arc<Events>,
    /// When the other replicas were seen last.
    pub sightings: Arc<Sightings>,
    /// Requests on their way into the log.
    pub submissions: mpsc::Sender<Submission>,
    /// The life of the catalog that asked for a lease last.
    pub catalog_seen: watch::Sender<u64>,
    /// How it calls other processes.
    pub caller: Caller,
    /// Whether the leadership is being handed over.
    pub handover: Handover,
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
        if let Some(successor) = self.handover.successor() {
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
        self.submissions.try_send(Submission { items, origin: Origin::current(), reply }).map_err(
            |error| match error {
                TrySendError::Full(_) => overloaded(),
                TrySendError::Closed(_) => {
                    ApiError::new(ErrorKind::NoLeader, "this replica is stopping").with_outcome(TradeFate::NotApplied)
                }
            },
        )?;
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
            let read_index = if broken(Mutant::SkipReadIndex) {
                self.state.applied_index()
            } else {
                let confirmed = self.raft.get_read_log_id(ReadPolicy::ReadIndex).await;
                confirmed.map_err(|_| moved_on())?.0.index()
            };
            self.wait_applied(read_index).await;
            self.gate.pass(read_index).await.map_err(|LeadershipLost| moved_on())?;
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
        let reads_count = reads.len();
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
        // A few single orders come from memory or some blocks; more than that, or a page, must not hold up Raft.
        let result = if has_pages || reads_count > INLINE_READS_MAX {
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

    /// The answer of `GET /health`.
    pub fn health(&self) -> Health {
        let standing = self.standing();
        let now = Instant::now();
        let ready = match standing.role {
            Role::Leader => self.admit().is_ok(),
            Role::Follower | Role::Learner => self.hears_its_leader(),
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

    /// Whether the leader that Raft knows speaks to this replica.
    fn hears_its_leader(&self) -> bool {
        let leader = self.raft.metrics().borrow_watched().current_leader;
        leader.is_some_and(|leader| self.sightings.hears(leader))
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
    }
}
