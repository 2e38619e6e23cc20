//! The replicas' and the catalog's own interfaces, as far as the client looks behind the frontend.

use std::time::Duration;

use bazaar_domain::{
    Address, Cents, ReplicaId, StockName,
    api::{Data, DigestView, FoundingStep, FoundingView, Health, MemberChange, Members, ServiceAddress, StockView},
    config::{ClusterConfig, ReplicaConfig},
    gap::Event,
};
use bazaar_order_raft::log_store::view::EntryView;
use bazaar_service::Caller;
use reqwest::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    api::{Failure, get_json, post_json, successful},
    exit::{Ending, Exit},
};

/// How long a look behind the frontend may take: short, since a paused process must not hold up the others' row.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an inventory or a digest may take; both can be large on a long-lived replica.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a replica may take to prepare a backup: it reads all of its state once.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a step of a membership change may take: longer than the replica itself waits for it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(12);

/// A stock in a replica's `GET /admin/inventory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptStock {
    /// Its name.
    pub name: StockName,
    /// Price of one.
    pub price: Cents,
    /// How many can be bought.
    pub quantity: u64,
    /// Bought and sold together.
    pub trade_volume: u64,
    /// Its version.
    pub version: u64,
    /// What was listed, and restocked later.
    pub listed: u64,
}

impl KeptStock {
    /// The part of it that everybody can see.
    pub fn view(&self) -> StockView {
        StockView {
            name: self.name,
            price: self.price,
            quantity: self.quantity,
            trade_volume: self.trade_volume,
            version: self.version,
        }
    }
}

/// A replica's `GET /admin/inventory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The log index at which it was taken.
    pub log_index: u64,
    /// The stocks.
    pub stocks: Vec<KeptStock>,
}

/// A replica of the configuration that an argument names.
///
/// # Errors
/// If it names none.
pub fn configured(config: &ClusterConfig, id: ReplicaId) -> Result<&ReplicaConfig, Ending> {
    config.replica(id).map_err(|error| Ending::new(Exit::Usage, error.to_string()))
}

#[derive(Deserialize)]
struct RaftView {
    events: Vec<Event>,
}

/// One replica, seen from outside.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Its number.
    pub id: ReplicaId,
    caller: Caller,
    service: Address,
    admin: Address,
}

impl Replica {
    /// The replica of a configuration.
    pub fn new(config: &ReplicaConfig, caller: &Caller) -> Self {
        Self { id: config.id, caller: caller.clone(), service: config.service.clone(), admin: config.admin.clone() }
    }

    /// A voter that the configuration does not name, if its address can be called. Its admin
    /// listener is not known, so what only that can tell fails.
    pub fn of_voter(voter: &ServiceAddress, caller: &Caller) -> Option<Self> {
        let service: Address = voter.service.parse().ok()?;
        Some(Self { id: voter.id, caller: caller.clone(), admin: service.clone(), service })
    }

    /// `GET /health`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn health(&self) -> Result<Health, Failure> {
        self.data(&self.service, "/health", LOOK_TIMEOUT).await
    }

    /// The events in `GET /admin/raft`, oldest first.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn events(&self) -> Result<Vec<Event>, Failure> {
        let raft: RaftView = self.data(&self.admin, "/admin/raft", CONTENT_TIMEOUT).await?;
        Ok(raft.events)
    }

    /// `POST /admin/transfer`: has this replica, which leads, hand its leadership over.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn transfer(&self, to: ReplicaId) -> Result<(), Failure> {
        let url = self.caller.url(&self.admin, "/admin/transfer");
        let _: Data<Value> = post_json(&self.caller, &url, &json!({ "to": to }), LOOK_TIMEOUT).await?;
        Ok(())
    }

    /// `GET /admin/backup`: the answer comes once the backup is prepared, its body is the backup.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn backup(&self) -> Result<Response, Failure> {
        let request = self.caller.http().get(self.caller.url(&self.admin, "/admin/backup")).send();
        let answer = timeout(BACKUP_TIMEOUT, request).await.map_err(|_| Failure::Timeout)??;
        successful(answer).await
    }

    /// `GET /admin/founding`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn founding(&self) -> Result<FoundingView, Failure> {
        self.data(&self.admin, "/admin/founding", LOOK_TIMEOUT).await
    }

    /// `POST /admin/founding`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn founding_step(&self, step: &FoundingStep) -> Result<FoundingView, Failure> {
        let url = self.caller.url(&self.admin, "/admin/founding");
        let body: Data<FoundingView> = post_json(&self.caller, &url, step, CHANGE_TIMEOUT).await?;
        Ok(body.data)
    }

    /// `GET /admin/members`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn members(&self) -> Result<Members, Failure> {
        self.data(&self.admin, "/admin/members", LOOK_TIMEOUT).await
    }

    /// `POST /admin/members`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn change_members(&self, change: &MemberChange) -> Result<Members, Failure> {
        let url = self.caller.url(&self.admin, "/admin/members");
        let body: Data<Members> = post_json(&self.caller, &url, change, CHANGE_TIMEOUT).await?;
        Ok(body.data)
    }

    /// `GET /admin/digest?number=N`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn digest(&self, number: u64) -> Result<DigestView, Failure> {
        self.data(&self.admin, &format!("/admin/digest?number={number}"), CONTENT_TIMEOUT).await
    }

    /// `GET /admin/inventory`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn inventory(&self) -> Result<Inventory, Failure> {
        self.data(&self.admin, "/admin/inventory", CONTENT_TIMEOUT).await
    }

    /// `GET /admin/log?after=&limit=`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn log(&self, after: u64, limit: u64) -> Result<Vec<EntryView>, Failure> {
        self.data(&self.admin, &format!("/admin/log?after={after}&limit={limit}"), CONTENT_TIMEOUT).await
    }

    async fn data<T>(&self, address: &Address, path: &str, timeout: Duration) -> Result<T, Failure>
    where
        Data<T>: serde::de::DeserializeOwned,
    {
        let body: Data<T> = get_json(&self.caller, &self.caller.url(address, path), timeout).await?;
        Ok(body.data)
    }
}

/// `GET /stocks` of the catalog itself.
///
/// # Errors
/// As [`Failure`] says.
pub async fn catalog_stocks(caller: &Caller, catalog: &Address) -> Result<Vec<StockView>, Failure> {
    let body: Data<Vec<StockView>> = get_json(caller, &caller.url(catalog, "/stocks"), CONTENT_TIMEOUT).await?;
    Ok(body.data)
}

/// `GET /readyz` of a process at a base URL: fine, or why not.
///
/// # Errors
/// As [`Failure`] says.
pub async fn ready(caller: &Caller, base: &str) -> Result<(), Failure> {
    let response = caller.http().get(format!("{base}/readyz")).timeout(LOOK_TIMEOUT).send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = response.text().await?;
    match serde_json::from_str::<bazaar_domain::api::ErrorBody>(&body) {
        Ok(body) => Err(Failure::Answered { error: body.error, retry_after: None }),
        Err(_) => Err(Failure::Foreign { status: status.as_u16(), text: body.trim().to_owned() }),
    }
}
