//! A listener, and what must happen before a connection from it may speak.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{Identity, Peer};

/// A connection must be encrypted after this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of every TLS connection (RFC 8446, section 5.1): a record of the handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// A listener, with or without TLS.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    lock: Option<Lock>,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self { listener, lock: None }
    }
}

impl Door {
    pub(super) fn locked(listener: TcpListener, config: Arc<ServerConfig>, asks_who: bool) -> Self {
        Self { listener, lock: Some(Lock { config, asks_who }) }
    }

    /// The next connection, not opened yet if there is a lock.
    ///
    /// # Errors
    /// If the system gives none.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// What opens its connections; none if they may speak at once.
    pub fn lock(&self) -> Option<Lock> {
        self.lock.clone()
    }
}

/// Opens connections, one by one.
#[derive(Debug, Clone)]
pub struct Lock {
    config: Arc<ServerConfig>,
    /// Whether only our own processes and operators are let in.
    asks_who: bool,
}

/// Why a connection was not opened.
#[derive(Debug)]
pub enum Unopened {
    /// The other side does not speak TLS at all; nothing of what it sent was taken.
    Plain(TcpStream),
    /// It has no certificate that is good here, or broke off, or was too slow.
    Failed(io::Error),
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Lock {
    /// Opens a connection, and says who is on the other end if that was asked.
    ///
    /// # Errors
    /// As [`Unopened`] says.
    pub async fn open(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Option<Peer>), Unopened> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time");
        timeout(HANDSHAKE_TIMEOUT, self.open_untimed(stream)).await.map_err(late)?
    }

    async fn open_untimed(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Option<Peer>), Unopened> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
            return Err(Unopened::Plain(stream));
        }
        let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await?;
        let peer = if self.asks_who { Some(Peer(named(stream.get_ref().1)?)) } else { None };
        Ok((stream.into(), peer))
    }
}

fn named(connection: &rustls::ServerConnection) -> io::Result<Identity> {
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let identity = certificate.and_then(Identity::of);
    identity.ok_or_else(|| io::Error::other("the certificate names no process of ours"))
}
