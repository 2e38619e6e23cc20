//! The two configuration files, `cluster.toml` and `stocks.toml`. Reading them from disk is the caller's part.

use std::{collections::HashMap, net::SocketAddr, str::FromStr, time::Duration};

use serde::Deserialize;

use crate::{
    address::Address,
    command::{Listing, ListingChange},
    limits::STOCK_QUANTITY_MAX,
    moment::with_margin,
    words::{Cents, IdempotencyKey, ReplicaId, StockName},
};

/// What is wrong with a configuration, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// `config/cluster.toml`: the addresses and settings of all processes. Three machines need three copies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// The frontend's part.
    #[serde(default)]
    pub frontend: FrontendConfig,
    /// The catalog's part.
    #[serde(default)]
    pub catalog: CatalogConfig,
    /// Timing of the leases.
    #[serde(default)]
    pub leases: LeaseConfig,
    /// Timing and sizes of Raft.
    #[serde(default)]
    pub raft: RaftTuning,
    /// TLS on all listeners, and certificates between the processes; off without it.
    pub tls: Option<TlsConfig>,
    /// Who may do what; without it, whoever reaches a listener.
    pub auth: Option<AuthConfig>,
    /// Allows listeners that others than this machine can reach, although nothing protects them.
    #[serde(default)]
    pub insecure: bool,
    /// The order replicas.
    #[serde(rename = "replica")]
    pub replicas: Vec<ReplicaConfig>,
}

/// The frontend.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontendConfig {
    /// Where clients come.
    pub public: SocketAddr,
    /// Where the catalog pushes invalidations.
    pub internal: SocketAddr,
    /// How the catalog reaches the internal listener, as `host:port`; needed if that is bound to all addresses.
    pub internal_advertised: Option<String>,
    /// Metrics.
    pub admin: SocketAddr,
    /// Stocks kept in the cache; 0 switches it off.
    pub cache_size: usize,
    /// If set, the cache's content is appended to this file after each change.
    pub cache_log: Option<String>,
    /// How often the leader is checked, in milliseconds.
    pub health_check_interval_ms: u64,
    /// How long a trade is held and retried, in milliseconds.
    pub trade_deadline_ms: u64,
    /// Whether a lookup may be answered with what the catalog has while that cannot promise to be current.
    pub read_consistency: ReadConsistency,
    /// Most trades and order reads that wait at a time; more are refused as overload.
    pub queued_trades_max: usize,
    /// Most connections at a time.
    pub connections_max: usize,
    /// Whether the page `/ui` is served.
    pub ui: bool,
    /// The host by which browsers call this frontend, if a proxy on the same machine stands before it.
    pub public_name: Option<String>,
}

impl Default for FrontendConfig {
    fn default() -> Self {
        Self {
            public: local(8080),
            internal: local(8081),
            internal_advertised: None,
            admin: local(8082),
            cache_size: 5,
            cache_log: None,
            health_check_interval_ms: 500,
            trade_deadline_ms: 10_000,
            read_consistency: ReadConsistency::Strong,
            queued_trades_max: 65_536,
            connections_max: 20_000,
            ui: true,
            public_name: None,
        }
    }
}

/// What a frontend does with a lookup for which no current answer can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadConsistency {
    /// It refuses it; only a client that says `consistency=stale` gets an old answer.
    #[default]
    Strong,
    /// It answers with what the catalog has, marked as stale.
    StaleOk,
}

impl FromStr for ReadConsistency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "strong" => Ok(Self::Strong),
            "stale-ok" => Ok(Self::StaleOk),
            _ => Err("it is 'strong' or 'stale-ok'".into()),
        }
    }
}

/// The catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogConfig {
    /// How others reach its one listener, and where it listens unless a flag says otherwise.
    pub service: Address,
    /// The stocks of the first start; a relative path is meant from the configuration file's folder.
    pub stocks: String,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self { service: local(8087).into(), stocks: "stocks.toml".into() }
    }
}

/// Timing of the leases (rules R1 to R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseConfig {
    /// How long a lease lasts, in milliseconds.
    pub ttl_ms: u64,
    /// How often it is renewed, in milliseconds.
    pub renew_ms: u64,
    /// By how much clocks may run at different speeds, in percent.
    pub margin_percent: u32,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self { ttl_ms: 1_000, renew_ms: 200, margin_percent: 10 }
    }
}

impl LeaseConfig {
    /// How long a lease lasts.
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// How often it is renewed.
    pub fn renew_every(&self) -> Duration {
        Duration::from_millis(self.renew_ms)
    }

    /// A span as its granter must count it.
    pub fn granted(&self, span: Duration) -> Duration {
        with_margin(span, self.margin_percent)
    }
}

/// Who should lead, if there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaderPreference {
    /// Whoever was elected.
    None,
    /// The replica with the highest id that is well; leadership is handed to it after a quiet time.
    HighestId,
}

impl LeaderPreference {
    /// Whether the highest id is preferred.
    pub fn is_highest(self) -> bool {
        self == Self::HighestId
    }
}

/// Timing and sizes of Raft.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftTuning {
    /// How often a leader shows that it lives, in milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest silence after which a follower stands for election, in milliseconds.
    pub election_min_ms: u64,
    /// Longest one, in milliseconds.
    pub election_max_ms: u64,
    /// A leader of which nothing was heard for so long is replaced, if a majority says the same, in milliseconds.
    pub leader_silence_ms: u64,
    /// A leader whose newest quorum-acknowledged message is older takes no trades, in milliseconds.
    pub quorum_ack_age_max_ms: u64,
    /// Who should lead, if there is a choice.
    pub leader_preference: LeaderPreference,
    /// Log entries between two snapshots.
    pub snapshot_every_entries: u64,
    /// Log entries kept behind a snapshot for followers that lag.
    pub log_kept_entries: u64,
    /// A log whose files take more bytes loses its older half, however few entries those are.
    pub log_bytes_max: u64,
}

impl Default for RaftTuning {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_min_ms: 300,
            election_max_ms: 600,
            leader_silence_ms: 350,
            quorum_ack_age_max_ms: 600,
            leader_preference: LeaderPreference::None,
            snapshot_every_entries: 200_000,
            log_kept_entries: 100_000,
            log_bytes_max: 1 << 30,
        }
    }
}

/// The files of TLS. In each, `{process}` stands for the process's name: `frontend`, `catalog`, `replica-2`, and
/// `operator` for the client, so that one configuration serves all. A relative path is meant from the configuration
/// file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificates of those who may sign the processes' certificates.
    pub authority: String,
    /// The process's own certificate, and those between it and the authority.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// What the public listener shows instead, e.g. a certificate that browsers know.
    pub public_certificate: Option<String>,
    /// Its key.
    pub public_key: Option<String>,
}

impl TlsConfig {
    /// All files.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let own = [&mut self.authority, &mut self.certificate, &mut self.key];
        own.into_iter().chain(&mut self.public_certificate).chain(&mut self.public_key)
    }
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// The file of tokens; a relative path is meant from the configuration file's folder.
    pub tokens: String,
    /// Whether lookups and order reads need no token.
    #[serde(default)]
    pub anonymous_reads: bool,
}

/// One order replica.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaConfig {
    /// Its number.
    pub id: ReplicaId,
    /// How others reach it for trades, reads and health.
    pub service: Address,
    /// How the other replicas reach it, for Raft.
    pub peers: Address,
    /// How it is reached by those who look inside, and for metrics.
    pub admin: Address,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl ClusterConfig {
    /// Reads and checks `cluster.toml`.
    ///
    /// # Errors
    /// If it does not parse, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| unreadable(text, &error))?;
        config.replicas.sort_by_key(|replica| replica.id);
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let fail = |text: String| Err(ConfigError(text));
        if self.replicas.is_empty() {
            return fail("no [[replica]] is given; a cluster has at least one, usually three".into());
        }
        if let Some(pair) = self.replicas.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return fail(format!("replica id {} is given twice", pair[0].id));
        }
        if self.replicas[0].id == 0 {
            return fail("replica ids start at 1".into());
        }
        let mut users: HashMap<Address, String> = HashMap::new();
        for (address, user) in self.addresses() {
            if address.port() == 0 {
                continue;
            }
            if let Some(other) = users.insert(address.clone(), user.clone()) {
                return fail(format!("{address} is given to both {other} and {user}"));
            }
        }
        if self.leases.ttl_ms < 3 * self.leases.renew_ms || self.leases.renew_ms == 0 {
            return fail("leases: ttl_ms must be at least three times renew_ms, and renew_ms above 0".into());
        }
        let raft = &self.raft;
        if raft.heartbeat_ms == 0 || raft.election_min_ms < 2 * raft.heartbeat_ms {
            return fail("raft: election_min_ms must be at least twice heartbeat_ms, and heartbeat_ms above 0".into());
        }
        if raft.leader_silence_ms < 3 * raft.heartbeat_ms {
            return fail("raft: leader_silence_ms must be at least three times heartbeat_ms".into());
        }
        if raft.election_max_ms <= raft.election_min_ms {
            return fail("raft: election_max_ms must be above election_min_ms".into());
        }
        if self.tls.as_ref().is_some_and(|tls| tls.public_certificate.is_some() != tls.public_key.is_some()) {
            return fail("tls: public_certificate and public_key go together".into());
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<(Address, String)> {
        let mut all = vec![
            (self.frontend.public.into(), "frontend.public".to_owned()),
            (self.frontend.internal.into(), "frontend.internal".to_owned()),
            (self.frontend.admin.into(), "frontend.admin".to_owned()),
            (self.catalog.service.clone(), "catalog.service".to_owned()),
        ];
        for replica in &self.replicas {
            all.push((replica.service.clone(), format!("replica {} service", replica.id)));
            all.push((replica.peers.clone(), format!("replica {} peers", replica.id)));
            all.push((replica.admin.clone(), format!("replica {} admin", replica.id)));
        }
        all
    }

    /// A replica's part.
    ///
    /// # Errors
    /// If there is no replica of that number.
    pub fn replica(&self, id: ReplicaId) -> Result<&ReplicaConfig, ConfigError> {
        self.replicas.iter().find(|replica| replica.id == id).ok_or_else(|| {
            let known: Vec<String> = self.replicas.iter().map(|replica| replica.id.to_string()).collect();
            ConfigError(format!("there is no replica {id}; the configuration names {}", known.join(", ")))
        })
    }

    /// How many replicas a decision needs.
    pub fn quorum(&self) -> usize {
        self.replicas.len() / 2 + 1
    }
}

/// What is wrong and where, in one line: the drawing that TOML makes of it needs several.
fn unreadable(text: &str, error: &toml::de::Error) -> ConfigError {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return ConfigError(error.message().to_owned());
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
    ConfigError(format!("line {line}, column {column}: {}", error.message()))
}

/// `config/stocks.toml`: the stocks of the first start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StocksFile {
    #[serde(rename = "stock")]
    stocks: Vec<StockEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StockEntry {
    name: StockName,
    price: Cents,
    quantity: u64,
    #[serde(default)]
    max_quantity: Option<u64>,
}

/// Reads and checks `stocks.toml`: the listing changes that put these stocks on offer. Their keys depend on the names
/// alone, so a second catalog that starts empty lists nothing twice.
///
/// # Errors
/// If it does not parse, or contradicts itself.
pub fn parse_stocks(text: &str) -> Result<Vec<Listing>, ConfigError> {
    let file: StocksFile = toml::from_str(text).map_err(|error| unreadable(text, &error))?;
    if file.stocks.is_empty() {
        return Err(ConfigError("no [[stock]] is given".into()));
    }
    let mut names = std::collections::HashSet::new();
    file.stocks
        .into_iter()
        .map(|stock| {
            if !names.insert(stock.name) {
                return Err(ConfigError(format!("stock {} is given twice", stock.name)));
            }
            if stock.quantity > stock.max_quantity.unwrap_or(STOCK_QUANTITY_MAX).min(STOCK_QUANTITY_MAX) {
                return Err(ConfigError(format!("stock {}: quantity is above its maximum", stock.name)));
            }
            let key = IdempotencyKey::new(&format!("initial-listing:{}", stock.name)).expect("a short ASCII text");
            let change =
                ListingChange::List { price: stock.price, quantity: stock.quantity, max_quantity: stock.max_quantity };
            Ok(Listing { key, name: stock.name, change })
        })
        .collect()
}
