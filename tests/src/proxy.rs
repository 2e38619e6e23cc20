//! A proxy that stands between two processes and treats their connections badly: it delays, cuts, half-closes, repeats
//! or holds what goes through. It knows nothing of the bytes, so every protocol on the way gets the same.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

/// Bytes of a connection that are kept to be sent again.
const KEPT_MAX: usize = 256 * 1024;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks that are on their way through a slow line.
const CHUNKS_ON_THE_WAY: usize = 256;
/// A client that is silent for so long waits for an answer: what it has sent is a whole request.
const REQUEST_IS_WHOLE_AFTER: Duration = Duration::from_millis(20);
/// How long the answers to repeated requests are read.
const ANSWERS_READ_FOR: Duration = Duration::from_secs(1);

/// How long a request may take that comes late, from the moment at which its client was cut off.
const DELIVERED_WITHIN: Duration = Duration::from_secs(5);

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// All bytes take so much longer, in both directions.
    Delay(Duration),
    /// It is reset after so long.
    Reset(Duration),
    /// After so long nothing comes back any more, and the client is told that no more will; what it sends still arrives.
    HalfClose(Duration),
    /// After so long, all that the client has sent is sent once more over a new connection.
    Replay(Duration),
    /// Once the server has answered something, what the client sends is taken, and the client is cut off; after so long it
    /// arrives, over the connection for which it was meant.
    Hold(Duration),
}

/// What is still to be delivered by proxies that are gone already: requests that come late, to whoever listens by then.
#[derive(Debug, Clone, Default)]
pub struct Late(TaskTracker);

impl Late {
    /// Delivers something, or gives up after some seconds: its receiver may be cut off, or gone.
    fn deliver(&self, delivery: impl Future<Output = Result<()>> + Send + 'static) {
        self.0.spawn(timeout(DELIVERED_WITHIN, delivery));
    }

    /// Waits until nothing is on its way any more, which takes no longer than that.
    pub async fn arrived(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// A proxy in front of one listener. When it is dropped its connections end, but for what is delivered [`Late`].
#[derive(Debug)]
pub struct Proxy {
    /// The listener that it stands before.
    pub to: SocketAddr,
    /// Where it listens itself.
    pub address: SocketAddr,
    treated: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Begins to listen, on a port of the system's choice.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn open(on: IpAddr, to: SocketAddr, treatment: Treatment, late: &Late) -> Result<Self> {
        let listener = TcpListener::bind((on, 0)).await.context("a proxy cannot listen")?;
        let (address, treated) = (listener.local_addr()?, Arc::<AtomicU64>::default());
        let way = Way { to, treatment, treated: Arc::clone(&treated), late: late.clone() };
        Ok(Self { to, address, treated, task: tokio::spawn(accept(listener, way)) })
    }

    /// How often it did what it is there for: connections that were cut or repeated, chunks that came late.
    pub fn treated(&self) -> u64 {
        self.treated.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, way: Way) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // One that fails has lost its client or its server, as they do.
            Ok((client, _)) = listener.accept() => drop(connections.spawn(way.clone().carry(client))),
            Some(_) = connections.join_next() => {}
            else => return,
        }
    }
}

#[derive(Debug, Clone)]
struct Way {
    to: SocketAddr,
    treatment: Treatment,
    treated: Arc<AtomicU64>,
    late: Late,
}

impl Way {
    fn count(&self) {
        self.treated.fetch_add(1, Ordering::Relaxed);
    }

    async fn carry(self, client: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        match self.treatment {
            Treatment::Delay(delay) => self.delayed(client, delay).await,
            Treatment::Reset(after) => self.reset(client, after).await,
            Treatment::HalfClose(after) => self.half_closed(client, after).await,
            Treatment::Replay(after) => self.replayed(client, after).await,
            Treatment::Hold(time) => self.held(client, time).await,
        }
    }

    async fn server(&self) -> Result<TcpStream> {
        let server = TcpStream::connect(self.to).await?;
        server.set_nodelay(true)?;
        Ok(server)
    }

    async fn delayed(self, client: TcpStream, delay: Duration) -> Result<()> {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = self.server().await?.into_split();
        let (there, back) =
            tokio::join!(self.late(from_client, to_server, delay), self.late(from_server, to_client, delay));
        there.and(back)
    }

    /// Carries one direction; what comes while something is on its way is not held up by it.
    async fn late(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        delay: Duration,
    ) -> Result<()> {
        let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_ON_THE_WAY);
        let read = async move {
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let length = from.read(&mut chunk).await?;
                if length == 0 || sender.send((Instant::now() + delay, chunk[..length].to_vec())).await.is_err() {
                    return anyhow::Ok(());
                }
            }
        };
        let write = async {
            while let Some((due, chunk)) = receiver.recv().await {
                sleep_until(due).await;
                to.write_all(&chunk).await?;
                self.count();
            }
            Ok(to.shutdown().await?)
        };
        let (read, written) = tokio::join!(read, write);
        read.and(written)
    }

    async fn reset(self, mut client: TcpStream, after: Duration) -> Result<()> {
        let mut server = self.server().await?;
        // An error means that time is up, and one of the connection that it ended by itself.
        if timeout(after, copy_bidirectional(&mut client, &mut server)).await.is_err() {
            self.count();
        }
        cut_off(client)?;
        cut_off(server)
    }

    async fn half_closed(self, client: TcpStream, after: Duration) -> Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = self.server().await?.into_split();
        let there = async { anyhow::Ok(copy(&mut from_client, &mut to_server).await?) };
        let back = async {
            if timeout(after, copy(&mut from_server, &mut to_client)).await.is_err() {
                self.count();
            }
            Ok(to_client.shutdown().await?)
        };
        let (there, back) = tokio::join!(there, back);
        there.map(drop).and(back)
    }

    async fn replayed(self, client: TcpStream, after: Duration) -> Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = self.server().await?.into_split();
        let (mut kept, mut fits) = (Vec::new(), true);
        let there = async {
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let length = from_client.read(&mut chunk).await?;
                if length == 0 {
                    return anyhow::Ok(to_server.shutdown().await?);
                }
                // A beginning of what was sent, without holes.
                fits &= kept.len() + length <= KEPT_MAX;
                if fits {
                    kept.extend_from_slice(&chunk[..length]);
                }
                to_server.write_all(&chunk[..length]).await?;
            }
        };
        let both = async { tokio::join!(there, copy(&mut from_server, &mut to_client)) };
        // Whether it ended or goes on: what was sent so far is sent again.
        let _ = timeout(after, both).await;
        let again = self.clone();
        self.late.deliver(async move { again.send(again.server().await?, &kept).await });
        Ok(())
    }

    async fn held(self, mut client: TcpStream, time: Duration) -> Result<()> {
        let mut server = self.server().await?;
        self.pass_until_answered(&mut client, &mut server).await?;
        let mut kept = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut patience = ANSWERS_READ_FOR;
        while let Ok(Ok(length @ 1..)) = timeout(patience, client.read(&mut chunk)).await {
            kept.extend_from_slice(&chunk[..length]);
            if kept.len() > KEPT_MAX {
                break;
            }
            patience = REQUEST_IS_WHOLE_AFTER;
        }
        cut_off(client)?;
        let later = self.clone();
        self.late.deliver(async move {
            sleep(time).await;
            later.send(server, &kept).await
        });
        Ok(())
    }

    /// Carries both directions until the server has said something: a greeting, without which it would take no request, or
    /// the answer to a first one.
    async fn pass_until_answered(&self, client: &mut TcpStream, server: &mut TcpStream) -> Result<()> {
        let (mut asked, mut answered) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        loop {
            tokio::select! {
                length = client.read(&mut asked) => match length? {
                    0 => bail!("the client has gone"),
                    length => server.write_all(&asked[..length]).await?,
                },
                length = server.read(&mut answered) => match length? {
                    0 => bail!("the server has gone"),
                    length => return Ok(client.write_all(&answered[..length]).await?),
                },
            }
        }
    }

    /// Sends this, and reads what comes back.
    async fn send(&self, mut server: TcpStream, kept: &[u8]) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        server.write_all(kept).await?;
        self.count();
        // Whatever it answers, nobody waits for it.
        let _ = timeout(ANSWERS_READ_FOR, tokio::io::copy(&mut server, &mut tokio::io::sink())).await;
        cut_off(server)
    }
}

/// Ends a connection by a reset.
fn cut_off(stream: TcpStream) -> Result<()> {
    stream.set_zero_linger()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use anyhow::{Result, ensure};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        sync::mpsc,
        time::Instant,
    };

    use super::{Late, Proxy, Treatment};

    const SOON: Duration = Duration::from_millis(50);

    /// A proxy before a server that answers every byte with itself, and tells all that came over each connection when that
    /// ends.
    async fn behind(treatment: Treatment) -> Result<(Proxy, mpsc::UnboundedReceiver<Vec<u8>>)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let proxy =
            Proxy::open(Ipv4Addr::LOCALHOST.into(), listener.local_addr()?, treatment, &Late::default()).await?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let (mut all, mut byte) = (Vec::new(), [0]);
                    while stream.read_exact(&mut byte).await.is_ok() {
                        all.push(byte[0]);
                        let _ = stream.write_all(&byte).await;
                    }
                    let _ = sender.send(all);
                });
            }
        });
        Ok((proxy, receiver))
    }

    #[tokio::test]
    async fn late_bytes_arrive_in_order() -> Result<()> {
        let (proxy, _received) = behind(Treatment::Delay(SOON)).await?;
        let mut client = TcpStream::connect(proxy.address).await?;
        let began = Instant::now();
        client.write_all(b"abc").await?;
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await?;
        ensure!(answer == *b"abc" && began.elapsed() >= 2 * SOON && proxy.treated() >= 2);
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_is_reset() -> Result<()> {
        let (proxy, mut received) = behind(Treatment::Reset(SOON)).await?;
        let mut client = TcpStream::connect(proxy.address).await?;
        client.write_all(b"a").await?;
        let mut answer = Vec::new();
        ensure!(client.read_to_end(&mut answer).await.is_err() && answer == b"a", "{answer:?}");
        ensure!(received.recv().await.as_deref() == Some(&b"a"[..]) && proxy.treated() == 1);
        Ok(())
    }

    #[tokio::test]
    async fn after_a_half_close_requests_arrive_and_answers_do_not() -> Result<()> {
        let (proxy, mut received) = behind(Treatment::HalfClose(SOON)).await?;
        let mut client = TcpStream::connect(proxy.address).await?;
        client.write_all(b"a").await?;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await?;
        client.write_all(b"b").await?;
        client.shutdown().await?;
        ensure!(answer == b"a" && received.recv().await.as_deref() == Some(&b"ab"[..]) && proxy.treated() == 1);
        Ok(())
    }

    #[tokio::test]
    async fn requests_arrive_again() -> Result<()> {
        let (proxy, mut received) = behind(Treatment::Replay(SOON)).await?;
        let mut client = TcpStream::connect(proxy.address).await?;
        client.write_all(b"abc").await?;
        for _ in 0..2 {
            ensure!(received.recv().await.as_deref() == Some(&b"abc"[..]));
        }
        ensure!(proxy.treated() == 1);
        Ok(())
    }

    #[tokio::test]
    async fn a_request_arrives_after_its_client_was_cut_off_and_the_proxy_is_gone() -> Result<()> {
        let (proxy, mut received) = behind(Treatment::Hold(SOON)).await?;
        let mut client = TcpStream::connect(proxy.address).await?;
        client.write_all(b"a").await?;
        ensure!(client.read_u8().await? == b'a', "the first answer comes");
        client.write_all(b"bc").await?;
        ensure!(client.read_u8().await.is_err() && received.try_recv().is_err());
        drop(proxy);
        ensure!(received.recv().await.as_deref() == Some(&b"abc"[..]));
        Ok(())
    }
}
