//! A world of one catalog and three order replicas behind real listeners, whose state a test can look at and change.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bazaar_domain::{
    ApiError, Cents, ErrorKind, IdempotencyKey, Order, Outcome, ReplicaId, Stock, StockName, TradeFate,
    api::{Data, Health, Role, StockView},
    config::ClusterConfig,
    internal::{
        OrderRead, OrderReadAnswer, SubmitTrades, Submitted, SubscribeReply, SubscribeRequest, UnsubscribeRequest,
        headers,
    },
    inventory::decide,
    order::{Decision, StoredOutcome},
};
use bazaar_frontend::{Listeners, Options, run_with};
use bazaar_service::{ApiFailure, Record, RequestId, http::edge};
use bazaar_tests::described;
use serde_json::Value;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the fakes share.
pub(crate) struct World {
    pub(crate) leader: Option<ReplicaId>,
    pub(crate) stocks: BTreeMap<StockName, Stock>,
    pub(crate) orders: Vec<Order>,
    pub(crate) outcomes: BTreeMap<IdempotencyKey, StoredOutcome>,
    pub(crate) log_index: u64,
    /// Length of the leases; 0 gives none.
    pub(crate) lease_millis: u64,
    pub(crate) cacheable: bool,
    pub(crate) catalog_is_current: bool,
    /// The leader takes the next so many requests of trades, and then fails to answer them.
    pub(crate) lost_answers: usize,
    pub(crate) subscribed: Option<SubscribeRequest>,
    pub(crate) unsubscribed: Option<UnsubscribeRequest>,
    /// How many trades each request carried.
    pub(crate) requests: Vec<usize>,
    /// How many order reads the leader answered.
    pub(crate) reads: usize,
    /// The request ids that the catalog saw.
    pub(crate) ids: Vec<String>,
}

pub(crate) struct Shared {
    world: Mutex<World>,
    pub(crate) fetches: AtomicUsize,
    /// While set, the catalog holds lookups until it is notified.
    pub(crate) gate: Mutex<Option<Arc<Notify>>>,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

/// A running frontend and its world.
pub(crate) struct Bazaar {
    pub(crate) shared: Arc<Shared>,
    pub(crate) public: SocketAddr,
    pub(crate) internal: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) client: reqwest::Client,
    shutdown: CancellationToken,
    frontend: JoinHandle<anyhow::Result<()>>,
}

/// A frontend with the usual settings.
pub(crate) async fn bazaar() -> Bazaar {
    bazaar_with("").await
}

/// A frontend with further settings in the part `[frontend]`.
pub(crate) async fn bazaar_with(settings: &str) -> Bazaar {
    bazaar_of(Options::default(), settings).await
}

/// The same with these options. It is leased, unless its cache is off.
pub(crate) async fn bazaar_of(options: Options, settings: &str) -> Bazaar {
    let bazaar = start_of(options, settings, 60_000).await;
    if !settings.contains("cache_size = 0") {
        bazaar.until("a lease", |world| world.subscribed.is_some()).await;
    }
    bazaar.until_ready().await;
    bazaar
}

/// Starts a frontend, without waiting for anything.
pub(crate) async fn start(settings: &str, lease_millis: u64) -> Bazaar {
    start_of(Options::default(), settings, lease_millis).await
}

async fn start_of(options: Options, settings: &str, lease_millis: u64) -> Bazaar {
    let world = World {
        leader: Some(2),
        stocks: [("GameStart", 1_599, 100), ("BoarCo", 2_375, 50), ("MenhirCo", 4_200, 0)]
            .into_iter()
            .map(|(name, price, quantity)| (StockName::new(name).unwrap(), stock(name, price, quantity)))
            .collect(),
        orders: Vec::new(),
        outcomes: BTreeMap::new(),
        log_index: 5,
        lease_millis,
        cacheable: true,
        catalog_is_current: true,
        lost_answers: 0,
        subscribed: None,
        unsubscribed: None,
        requests: Vec::new(),
        reads: 0,
        ids: Vec::new(),
    };
    let shared = Arc::new(Shared { world: Mutex::new(world), fetches: AtomicUsize::new(0), gate: Mutex::new(None) });
    let catalog = serve(catalog_routes(Arc::clone(&shared))).await;
    let mut text = format!("[frontend]\n{settings}\n[catalog]\nservice = \"{catalog}\"\n");
    for id in 1..=3 {
        let service = serve(replica_routes(id, Arc::clone(&shared))).await;
        text += &format!("[[replica]]\nid = {id}\nservice = \"{service}\"\n");
        text += "peers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    }
    let config = Arc::new(ClusterConfig::parse(&text).unwrap());
    let listeners = Listeners { public: bind().await, internal: bind().await, admin: bind().await };
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let (public, internal, admin) =
        (address(&listeners.public), address(&listeners.internal), address(&listeners.admin));
    let shutdown = CancellationToken::new();
    let frontend = tokio::spawn(run_with(options, listeners, config, shutdown.clone()));
    let client = bazaar_service::tls::http_client().build().unwrap();
    Bazaar { shared, public, internal, admin, client, shutdown, frontend }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve(routes: Router) -> SocketAddr {
    let listener = bind().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

fn stock(name: &str, price: u64, quantity: u64) -> Stock {
    Stock {
        name: StockName::new(name).unwrap(),
        price: Cents::new(price).unwrap(),
        quantity,
        trade_volume: 0,
        version: 1,
        max_quantity: None,
    }
}

/// An answer, read whole.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The kind of an error in the contract's form.
    pub(crate) fn kind(&self) -> String {
        self.json()["error"]["kind"].as_str().unwrap_or("").to_owned()
    }
}

pub(crate) async fn got(request: reqwest::RequestBuilder) -> Got {
    let response = tokio::time::timeout(PATIENCE, described::send(request)).await.expect("an answer in time").unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Got { status, headers, text: response.text().await.unwrap() }
}

impl Bazaar {
    pub(crate) async fn get(&self, path: &str) -> Got {
        got(self.client.get(format!("http://{}{path}", self.public))).await
    }

    pub(crate) fn post_to(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}{path}", self.public))
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Got {
        got(self.post_to(path).header("content-type", "application/json").body(body)).await
    }

    pub(crate) async fn post_keyed(&self, key: &str, body: &'static str) -> Got {
        let request = self.post_to("/orders").header("content-type", "application/json");
        got(request.header("idempotency-key", key).body(body)).await
    }

    /// Waits for a condition of the world.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&World) -> bool) {
        let wait = async {
            while !holds(&self.shared.world()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited too long for {what}"));
    }

    pub(crate) async fn until_ready(&self) {
        let wait = async { while self.get("/readyz").await.status != 200 {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("the frontend becomes ready");
    }

    /// Stops the frontend and waits until it has stopped.
    pub(crate) async fn stop(self) -> Arc<Shared> {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.frontend).await.expect("it stops").unwrap().unwrap();
        self.shared
    }
}

fn catalog_routes(shared: Arc<Shared>) -> Router {
    let routes = Router::new()
        .route("/stocks", get(catalog_list))
        .route("/stocks/{name}", get(catalog_stock))
        .route("/subscribe", post(subscribe))
        .route("/unsubscribe", post(unsubscribe))
        .route("/readyz", get(catalog_ready))
        .with_state(shared);
    edge(routes)
}

async fn catalog_ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.world().catalog_is_current {
        return "ready\n".into_response();
    }
    ApiFailure::new(ErrorKind::NoLeader, "no lease from an order leader").into_response()
}

async fn catalog_list(State(shared): State<Arc<Shared>>) -> Response {
    let world = shared.world();
    let views: Vec<StockView> = world.stocks.values().map(StockView::from).collect();
    ([(headers::LOG_INDEX, world.log_index.to_string())], axum::Json(Data { data: views })).into_response()
}

async fn catalog_stock(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    axum::extract::RawQuery(query): axum::extract::RawQuery,
    axum::Extension(id): axum::Extension<RequestId>,
) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let gate = shared.gate.lock().unwrap().clone();
    if let Some(gate) = gate {
        gate.notified().await;
    }
    let mut world = shared.world();
    world.ids.push(id.as_str().to_owned());
    let stale = query.as_deref() == Some("consistency=stale");
    if !world.catalog_is_current && !stale {
        return ApiFailure::new(ErrorKind::NoLeader, "no lease from an order leader").into_response();
    }
    let Some(stock) = world.stocks.get(&StockName::new(&name).unwrap()) else {
        return ApiFailure::new(ErrorKind::StockNotFound, "stock not found").into_response();
    };
    let cacheable = if world.cacheable && !stale { "yes" } else { "no" };
    let body = axum::Json(Data { data: StockView::from(stock) });
    let head = [(headers::LOG_INDEX, world.log_index.to_string()), (headers::CACHEABLE, cacheable.into())];
    let mut response = (head, body).into_response();
    if stale {
        response.headers_mut().insert(headers::CONSISTENCY, "stale".parse().unwrap());
    }
    response
}

async fn subscribe(
    State(shared): State<Arc<Shared>>,
    Record(request): Record<SubscribeRequest>,
) -> Record<SubscribeReply> {
    let mut world = shared.world();
    let reply =
        SubscribeReply { incarnation: 1, session: request.session, duration_micros: world.lease_millis * 1_000 };
    world.subscribed = Some(request);
    Record(reply)
}

async fn unsubscribe(State(shared): State<Arc<Shared>>, Record(request): Record<UnsubscribeRequest>) -> StatusCode {
    shared.world().unsubscribed = Some(request);
    StatusCode::NO_CONTENT
}

type Replica = (ReplicaId, Arc<Shared>);

fn replica_routes(id: ReplicaId, shared: Arc<Shared>) -> Router {
    let routes = Router::new()
        .route("/health", get(health))
        .route("/orders", post(submit))
        .route("/reads", post(reads))
        .with_state((id, shared));
    edge(routes)
}

async fn health(State((id, shared)): State<Replica>) -> axum::Json<Data<Health>> {
    let world = shared.world();
    let role = if world.leader == Some(id) { Role::Leader } else { Role::Follower };
    axum::Json(Data {
        data: Health {
            id,
            role,
            leader: world.leader,
            term: 5,
            ready: world.leader.is_some(),
            quorum_ack_age_ms: Some(12),
            last_log_index: Some(world.log_index),
            committed: Some(world.log_index),
            applied: Some(world.log_index),
            orders: world.orders.len() as u64,
            cluster_id: None,
            voters: Vec::new(),
        },
    })
}

fn not_leader(leader: Option<ReplicaId>) -> ApiFailure {
    ApiError::new(ErrorKind::NotLeader, "not the leader").with_leader(leader).with_outcome(TradeFate::NotApplied).into()
}

async fn submit(
    State((id, shared)): State<Replica>,
    Record(body): Record<SubmitTrades>,
) -> Result<Record<Submitted>, ApiFailure> {
    let mut world = shared.world();
    if world.leader != Some(id) {
        return Err(not_leader(world.leader));
    }
    let decisions = world.take(&body);
    if world.lost_answers > 0 {
        world.lost_answers -= 1;
        return Err(ApiError::new(ErrorKind::OutcomeUnknown, "lost").with_outcome(TradeFate::Unknown).into());
    }
    Ok(Record(Submitted { log_index: world.log_index, decisions }))
}

impl World {
    /// Decides the trades of one request.
    pub(crate) fn take(&mut self, body: &SubmitTrades) -> Vec<Decision> {
        self.requests.push(body.trades.len());
        self.log_index += 1;
        body.trades.iter().map(|trade| self.decide(trade)).collect()
    }

    fn decide(&mut self, trade: &bazaar_domain::Trade) -> Decision {
        if let Some(stored) = self.outcomes.get(&trade.key) {
            let same = stored.fingerprint == trade.fingerprint();
            return if same { Decision::Replayed(stored.outcome) } else { Decision::KeyReused };
        }
        let outcome = match decide(self.stocks.get(&trade.name), trade) {
            Err(rejection) => Outcome::Rejected(rejection),
            Ok(stock) => {
                self.stocks.insert(stock.name, stock);
                self.orders.push(Order {
                    number: self.orders.len() as u64 + 1,
                    key: trade.key.clone(),
                    name: trade.name,
                    side: trade.side,
                    quantity: trade.quantity,
                    price: stock.price,
                    stock_version: stock.version,
                    log_index: self.log_index,
                });
                Outcome::Accepted { number: self.orders.len() as u64, stock_version: stock.version }
            }
        };
        let stored = StoredOutcome { fingerprint: trade.fingerprint(), log_index: self.log_index, outcome };
        self.outcomes.insert(trade.key.clone(), stored);
        Decision::Fresh(outcome)
    }

    fn read(&self, read: &OrderRead) -> OrderReadAnswer {
        let by_number = |number: u64| self.orders.iter().find(|order| order.number == number).cloned();
        match read {
            OrderRead::ByNumber(number) => OrderReadAnswer::Order(by_number(*number)),
            OrderRead::Newest => OrderReadAnswer::Order(self.orders.last().cloned()),
            OrderRead::ByKey(key) => OrderReadAnswer::Key(self.outcomes.get(key).map(|stored| {
                let order = self.orders.iter().find(|order| order.key == *key).cloned();
                (*stored, order)
            })),
            OrderRead::After { after, limit } => {
                let rest = self.orders.iter().filter(|order| order.number > *after);
                let more = rest.clone().count() > *limit;
                let orders = rest.take(*limit).cloned().collect();
                OrderReadAnswer::Page { orders, more, log_index: self.log_index }
            }
        }
    }
}

async fn reads(
    State((id, shared)): State<Replica>,
    Record(reads): Record<Vec<OrderRead>>,
) -> Result<Record<Vec<OrderReadAnswer>>, ApiFailure> {
    let mut world = shared.world();
    if world.leader != Some(id) {
        return Err(not_leader(world.leader));
    }
    world.reads += reads.len();
    Ok(Record(reads.iter().map(|read| world.read(read)).collect()))
}
