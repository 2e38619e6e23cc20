//! A catalog in this process, between a fake leader and fake frontends.

use std::{
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::post};
use bazaar_catalog::{Options, run};
use bazaar_domain::{
    ApiError, ErrorKind, Outcome,
    config::{ClusterConfig, parse_stocks},
    internal::{
        InvalidationAck, InvalidationBatch, LeaseGrant, LeaseRequest, PublishBatch, PublishReply, PublishedEntry,
        PublishedItem, SubmitListings, Submitted,
    },
    order::Decision,
};
use bazaar_service::{ApiFailure, Caller, Record};
use bazaar_tests::described;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Lease times of these tests: short, but long against a scheduling pause.
pub(crate) const TTL_MS: u64 = 800;
/// How long a condition is waited for.
const WAIT_MAX: Duration = Duration::from_secs(20);

const STOCKS: &str = r#"
[[stock]]
name = "GameStart"
price = 15.99
quantity = 100
[[stock]]
name = "BoarCo"
price = 8.5
quantity = 10
"#;

/// Waits until `probe` gives a value.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let end = Instant::now() + WAIT_MAX;
    while Instant::now() < end {
        if let Some(value) = probe().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within {WAIT_MAX:?}: {what}");
}

async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// What the fake leader knows.
pub(crate) struct FakeLeader {
    pub(crate) grants: AtomicBool,
    pub(crate) committed: AtomicU64,
    catalog: watch::Sender<String>,
    caller: Caller,
}

impl FakeLeader {
    /// Commits items as one entry and publishes it.
    pub(crate) async fn publish(&self, items: Vec<PublishedItem>) -> PublishReply {
        let index = self.committed.fetch_add(1, Ordering::SeqCst) + 1;
        let entries = vec![PublishedEntry { index, items }];
        self.send(&PublishBatch { cluster_id: "c1".into(), previous: index - 1, through: index, entries })
            .await
            .unwrap()
    }

    pub(crate) async fn send(&self, batch: &PublishBatch) -> Result<PublishReply, bazaar_service::CallError> {
        let url = format!("{}/orders", *self.catalog.borrow());
        self.caller.post(&url, batch, WAIT_MAX, None).await
    }
}

async fn grant(
    State(leader): State<Arc<FakeLeader>>,
    Record(_): Record<LeaseRequest>,
) -> Result<Record<LeaseGrant>, ApiFailure> {
    if !leader.grants.load(Ordering::SeqCst) {
        return Err(ApiFailure::new(ErrorKind::NoLeader, "no leader"));
    }
    let floor = leader.committed.load(Ordering::SeqCst);
    Ok(Record(LeaseGrant {
        cluster_id: "c1".into(),
        leader: 3,
        term: 1,
        duration_micros: TTL_MS * 1_000,
        floor,
        voters: Vec::new(),
    }))
}

async fn take_listings(
    State(leader): State<Arc<FakeLeader>>,
    Record(request): Record<SubmitListings>,
) -> Record<Submitted> {
    let reply = leader.publish(request.listings.into_iter().map(PublishedItem::Listing).collect()).await;
    let statuses = reply.statuses.into_iter().flat_map(|(_, statuses)| statuses);
    let decisions = statuses.map(|status| match status.status {
        200 => Decision::Fresh(Outcome::Listed { stock_version: status.stock_version }),
        404 => Decision::Fresh(Outcome::Rejected(bazaar_domain::Rejection::StockNotFound)),
        _ => Decision::Fresh(Outcome::Rejected(bazaar_domain::Rejection::AlreadyListed)),
    });
    Record(Submitted { log_index: reply.applied, decisions: decisions.collect() })
}

async fn not_leader() -> ApiFailure {
    ApiError::new(ErrorKind::NotLeader, "replica 3 leads").with_leader(Some(3)).into()
}

/// A catalog that runs.
pub(crate) struct RunningCatalog {
    pub(crate) url: String,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl RunningCatalog {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        described::send(Caller::new().http().get(format!("{}{path}", self.url))).await.unwrap()
    }

    pub(crate) async fn post_json(&self, path: &str, body: &str) -> reqwest::Response {
        let request = Caller::new().http().post(format!("{}{path}", self.url));
        described::send(request.header("content-type", "application/json").body(body.to_owned())).await.unwrap()
    }

    pub(crate) async fn until_ready(&self) {
        eventually("lookups are answered", || async { (self.get("/readyz").await.status() == 200).then_some(()) })
            .await;
    }

    pub(crate) async fn until_listed(&self) {
        self.until_ready().await;
        let listed = || async { (self.get("/stocks/BoarCo").await.status() == 200).then_some(()) };
        eventually("the first stocks are listed", listed).await;
    }
}

/// A leader, a follower, and the configuration that names them.
pub(crate) struct Cluster {
    pub leader: Arc<FakeLeader>,
    config: Arc<ClusterConfig>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let (catalog, _) = watch::channel(String::new());
        let leader = Arc::new(FakeLeader {
            grants: AtomicBool::new(true),
            committed: AtomicU64::new(0),
            catalog,
            caller: Caller::new(),
        });
        let routes = Router::new().route("/lease", post(grant)).route("/listings", post(take_listings));
        let leads = serve(routes.with_state(Arc::clone(&leader))).await;
        let follows = serve(Router::new().fallback(not_leader)).await;
        let replica = |id, service| {
            format!(
                "[[replica]]\nid = {id}\nservice = \"{service}\"\npeers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n"
            )
        };
        let leases = format!("[leases]\nttl_ms = {TTL_MS}\nrenew_ms = 50\n");
        let text = leases + &replica(3, leads) + &replica(1, follows);
        Self { leader, config: Arc::new(ClusterConfig::parse(&text).unwrap()) }
    }

    pub(crate) async fn catalog(&self, data: &Path) -> RunningCatalog {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        self.leader.catalog.send_replace(url.clone());
        let shutdown = CancellationToken::new();
        let options = Options { data: data.to_owned(), stocks: parse_stocks(STOCKS).unwrap() };
        let task = tokio::spawn(run(listener, Arc::clone(&self.config), options, shutdown.clone()));
        RunningCatalog { url, shutdown, task }
    }
}

/// A frontend that acks invalidations once it is told to.
pub(crate) struct FakeFrontend {
    pub(crate) address: String,
    pub(crate) id: u128,
    pub(crate) invalidated: watch::Receiver<Vec<InvalidationBatch>>,
    pub(crate) may_ack: watch::Sender<bool>,
}

struct FrontendState {
    id: u128,
    invalidated: watch::Sender<Vec<InvalidationBatch>>,
    may_ack: watch::Receiver<bool>,
}

impl FakeFrontend {
    pub(crate) async fn start(id: u128) -> Self {
        let (sender, invalidated) = watch::channel(Vec::new());
        let (may_ack, acks) = watch::channel(false);
        let state = Arc::new(FrontendState { id, invalidated: sender, may_ack: acks });
        let routes = Router::new().route("/invalidation", post(invalidate)).with_state(state);
        Self { address: serve(routes).await, id, invalidated, may_ack }
    }
}

async fn invalidate(
    State(state): State<Arc<FrontendState>>,
    Record(batch): Record<InvalidationBatch>,
) -> Record<InvalidationAck> {
    let InvalidationBatch { incarnation, session, batch: number, .. } = batch;
    state.invalidated.send_modify(|all| all.push(batch));
    state.may_ack.clone().wait_for(|may| *may).await.unwrap();
    Record(InvalidationAck { frontend: state.id, incarnation, session, batch: number })
}
