//! Finding the order leader, and asking it: for a lease, or to propose listing changes.

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bazaar_domain::{
    ApiError, ErrorKind, ReplicaId, TradeFate,
    api::{Data, Health, ServiceAddress},
    config::ClusterConfig,
    internal::{LeaseGrant, LeaseRequest, SubmitListings, Submitted},
};
use bazaar_service::{CallError, Caller, RequestId};
use futures::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use tokio_util::sync::CancellationToken;

/// How long a replica may take to grant a lease: a third of the default lease.
const LEASE_TIMEOUT: Duration = Duration::from_millis(300);
/// Pause between two attempts to have a listing change proposed.
const SUBMIT_PAUSE: Duration = Duration::from_millis(100);
/// No replica has this number.
const NOBODY: ReplicaId = 0;

/// A grant, and when it was asked for.
pub(crate) struct Granted {
    pub(crate) asked_at: Instant,
    pub(crate) grant: LeaseGrant,
}

/// The order replicas, and which of them is believed to lead.
pub(crate) struct Leader {
    /// Service addresses, highest id first: those of the configuration until a leader says who votes.
    replicas: RwLock<Vec<ServiceAddress>>,
    caller: Caller,
    known: AtomicU64,
}

impl Leader {
    pub(crate) fn new(config: &ClusterConfig, caller: Caller) -> Self {
        let replicas = config.replicas.iter();
        let replicas = replicas.map(|r| ServiceAddress { id: r.id, service: r.service.to_string() }).collect();
        Self { replicas: RwLock::new(highest_first(replicas)), caller, known: AtomicU64::new(NOBODY) }
    }

    fn replicas(&self) -> Vec<ServiceAddress> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, voters: &[ServiceAddress]) {
        let voters = highest_first(voters.to_vec());
        if !voters.is_empty() && voters != self.replicas() {
            *self.replicas.write().unwrap_or_else(PoisonError::into_inner) = voters;
        }
    }

    /// The replica that is believed to lead.
    pub(crate) fn known(&self) -> Option<ReplicaId> {
        Some(self.known.load(Ordering::Relaxed)).filter(|id| *id != NOBODY)
    }

    fn believe(&self, leader: Option<ReplicaId>) {
        let before = self.known.swap(leader.unwrap_or(NOBODY), Ordering::Relaxed);
        if let Some(leader) = leader.filter(|leader| *leader != before) {
            tracing::info!(leader, "the order leader is known");
        }
    }

    /// Asks the known leader for a lease; if it gives none, all others at the same time, highest id first.
    pub(crate) async fn ask_lease(&self, incarnation: u64) -> Option<Granted> {
        let known = self.known();
        if let Some(id) = known
            && let Some(granted) = self.ask_replica(id, incarnation).await
        {
            return Some(granted);
        }
        let replicas = self.replicas();
        let others = replicas.iter().map(|replica| replica.id).filter(|id| Some(*id) != known);
        let mut answers: FuturesUnordered<_> = others.map(|id| self.ask_replica(id, incarnation)).collect();
        while let Some(answer) = answers.next().await {
            if let Some(granted) = answer {
                self.believe(Some(granted.grant.leader));
                return Some(granted);
            }
        }
        self.believe(None);
        self.look_for_unknown_leader().await;
        None
    }

    /// Followers may name a leader that joined after the configuration was written: it is asked next time.
    async fn look_for_unknown_leader(&self) {
        let mut replicas = self.replicas();
        let healths = replicas.iter().map(async |replica| {
            let url = self.caller.url(&replica.service, "/health");
            self.caller.get_json::<Data<Health>>(&url, LEASE_TIMEOUT).await.ok()
        });
        for Data { data: health } in join_all(healths).await.into_iter().flatten() {
            let named = health.voters.into_iter().find(|voter| Some(voter.id) == health.leader);
            if let Some(leader) = named {
                replicas.retain(|known| known.id != leader.id);
                replicas.push(leader);
            }
        }
        self.learn(&replicas);
    }

    async fn ask_replica(&self, id: ReplicaId, incarnation: u64) -> Option<Granted> {
        let url = self.url(id, "lease")?;
        // The lease counts from here: whatever the grant's way back takes must not lengthen it.
        let asked_at = Instant::now();
        match self.caller.post(&url, &LeaseRequest { incarnation }, LEASE_TIMEOUT, None).await {
            Ok(grant) => {
                let grant: LeaseGrant = grant;
                self.learn(&grant.voters);
                Some(Granted { asked_at, grant })
            }
            Err(error) => {
                tracing::debug!(replica = id, %error, "no lease");
                None
            }
        }
    }

    fn url(&self, id: ReplicaId, path: &str) -> Option<String> {
        let replicas = self.replicas();
        let replica = replicas.iter().find(|replica| replica.id == id)?;
        Some(self.caller.url(&replica.service, &format!("/{path}")))
    }

    /// Has listing changes proposed, over elections and lost answers: their keys make that safe.
    ///
    /// # Errors
    /// What the leader says against them, or, past the deadline, that there is no leader or the outcome is not known.
    pub(crate) async fn submit_within(
        &self,
        request: &SubmitListings,
        deadline: Duration,
        shutdown: &CancellationToken,
    ) -> Result<Submitted, ApiError> {
        let end = Instant::now() + deadline;
        let mut maybe_sent = false;
        loop {
            match self.submit(request, end.saturating_duration_since(Instant::now())).await {
                Ok(submitted) => return Ok(submitted),
                Err(CallError::Answered(error)) if !passes_by_itself(&error) => return Err(error),
                Err(CallError::Answered(error)) => maybe_sent |= error.outcome == Some(TradeFate::Unknown),
                Err(CallError::Refused | CallError::Untrusted(_)) => {}
                Err(CallError::Timeout | CallError::Broken(_)) => maybe_sent = true,
            }
            if Instant::now() + SUBMIT_PAUSE >= end || shutdown.is_cancelled() {
                return Err(if maybe_sent { unknown() } else { no_leader() });
            }
            tokio::time::sleep(SUBMIT_PAUSE).await;
        }
    }

    async fn submit(&self, request: &SubmitListings, timeout: Duration) -> Result<Submitted, CallError> {
        let url = self.known().and_then(|id| self.url(id, "listings"));
        let url = url.ok_or_else(|| CallError::Answered(no_leader()))?;
        let answer = self.caller.post(&url, request, timeout, RequestId::current().as_ref()).await;
        if let Err(CallError::Answered(ApiError { leader: Some(leader), .. })) = &answer {
            self.believe(Some(*leader));
        }
        answer
    }
}

fn highest_first(mut replicas: Vec<ServiceAddress>) -> Vec<ServiceAddress> {
    replicas.sort_by_key(|replica| std::cmp::Reverse(replica.id));
    replicas
}

fn passes_by_itself(error: &ApiError) -> bool {
    error.outcome == Some(TradeFate::Unknown)
        || matches!(
            error.kind,
            ErrorKind::NotLeader | ErrorKind::NoLeader | ErrorKind::NoQuorum | ErrorKind::Overloaded
        )
}

fn no_leader() -> ApiError {
    ApiError::new(ErrorKind::NoLeader, "no order leader takes the change now; send it again with the same key")
        .with_outcome(TradeFate::NotApplied)
}

fn unknown() -> ApiError {
    ApiError::new(
        ErrorKind::OutcomeUnknown,
        "it is not known whether the change happened; send it again with the same key",
    )
    .with_outcome(TradeFate::Unknown)
}
