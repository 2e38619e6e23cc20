//! The way to one peer for one purpose: a connection that is opened when it is needed and again after it broke.

use std::{sync::Arc, time::Duration};

use bazaar_service::tls::Connector;
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{
    connection::{CallError, Connection},
    frame::{Answer, Call, Channel, Hello},
};
use crate::raft_types::RaftId;

/// Shared by all clients of one peer and purpose.
pub(super) struct Link {
    address: String,
    hello: Hello,
    connector: Connector,
    slot: Mutex<Slot>,
}

enum Slot {
    Empty,
    /// In a task of its own: callers give up sooner than a slow connection comes about, and the next finds it ready.
    Opening(JoinHandle<Result<Connection, CallError>>),
    Open(Arc<Connection>),
}

/// A connection, and whether it was there before it was asked for.
struct Found {
    connection: Arc<Connection>,
    reused: bool,
}

impl Link {
    /// A link to `address` (`host:port`); nothing is opened yet.
    pub(super) fn new(address: String, hello: Hello, connector: Connector) -> Self {
        Self { address, hello, connector, slot: Mutex::new(Slot::Empty) }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn target(&self) -> RaftId {
        self.hello.to
    }

    /// A connection that nobody else uses.
    ///
    /// # Errors
    /// [`CallError::Unreachable`].
    pub(super) async fn own_connection(&self) -> Result<Connection, CallError> {
        debug_assert_eq!(self.hello.channel, Channel::Snapshot, "calls share their connection");
        Connection::open(&self.address, &self.hello, &self.connector).await
    }

    /// The connection, opened if need be within `limit`.
    ///
    /// # Errors
    /// [`CallError::Unreachable`].
    pub(super) async fn connection(&self, limit: Duration) -> Result<Arc<Connection>, CallError> {
        Ok(self.find(Instant::now() + limit).await?.connection)
    }

    async fn find(&self, deadline: Instant) -> Result<Found, CallError> {
        let late =
            || CallError::Unreachable(format!("replica {} at {} cannot be reached yet", self.target(), self.address));
        timeout_at(deadline, self.find_untimed()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn find_untimed(&self) -> Result<Found, CallError> {
        let mut slot = self.slot.lock().await;
        if let Slot::Open(connection) = &*slot
            && !connection.is_over()
        {
            return Ok(Found { connection: Arc::clone(connection), reused: true });
        }
        if !matches!(*slot, Slot::Opening(_)) {
            let (address, hello, connector) = (self.address.clone(), self.hello.clone(), self.connector.clone());
            let opening = async move { Connection::open(&address, &hello, &connector).await };
            *slot = Slot::Opening(tokio::spawn(opening));
        }
        let Slot::Opening(task) = &mut *slot else { unreachable!("set just above") };
        let opened = task.await;
        *slot = Slot::Empty;
        let connection = opened.map_err(|error| CallError::Unreachable(error.to_string()))??;
        let connection = Arc::new(connection);
        *slot = Slot::Open(Arc::clone(&connection));
        Ok(Found { connection, reused: false })
    }

    /// Makes a call that may safely be carried out twice.
    ///
    /// # Errors
    /// If there is no answer within `limit`, connecting included.
    pub(super) async fn call(&self, call: Call, limit: Duration) -> Result<Answer, CallError> {
        let deadline = Instant::now() + limit;
        let Found { connection, reused } = self.find(deadline).await?;
        match call_on(&connection, call.clone(), deadline, limit).await {
            // A connection from earlier may be to a process that has since been replaced by another.
            Err(CallError::Broken(_)) if reused => {
                let Found { connection, .. } = self.find(deadline).await?;
                call_on(&connection, call, deadline, limit).await
            }
            result => result,
        }
    }
}

async fn call_on(connection: &Connection, call: Call, deadline: Instant, limit: Duration) -> Result<Answer, CallError> {
    let in_flight = timeout_at(deadline, connection.start(call)).await.unwrap_or(Err(CallError::Timeout(limit)))?;
    in_flight.answer(deadline.saturating_duration_since(Instant::now())).await
}
