//! A minimal HTTP/1.1 client for one connection: writes a whole request, reads a whole answer, copies nothing.

use std::{io, mem::MaybeUninit, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use bazaar_service::tls::{Connector, Stream};
use httparse::ParserConfig;
use reqwest::Url;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::api::Frontend;

/// Most headers of an answer.
const HEADERS_MAX: usize = 64;
/// Largest answer that is read: a full batch of the longest errors fits.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Room that a new connection has for an answer; it grows when one needs more.
const BUFFER_BYTES_START: usize = 16 * 1024;
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where requests go.
#[derive(Debug)]
pub struct Target {
    /// Host and port, as the `Host` header names them: without the user that a URL may name too.
    pub authority: String,
    host: String,
    address: SocketAddr,
    connector: Connector,
}

impl Target {
    /// Looks the frontend's address up, once for all connections.
    ///
    /// # Errors
    /// If the host has no address, or TLS is wanted and nobody is to be trusted.
    pub async fn resolve(frontend: &Frontend) -> Result<Self> {
        let url = frontend.url();
        let parsed = Url::parse(url)?;
        let host = parsed.host_str().ok_or_else(|| anyhow!("'{url}' names no host; check --url"))?;
        // A bracketed IPv6 address is written without brackets here.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = parsed.port_or_known_default().unwrap_or(80);
        let mut found =
            lookup_host((host, port)).await.with_context(|| format!("{host} has no address; check --url"))?;
        let address = found.next().ok_or_else(|| anyhow!("{host} has no address; check --url"))?;
        let is_tls = parsed.scheme() == "https";
        let connector = if is_tls { frontend.access().connector().clone() } else { Connector::default() };
        ensure!(is_tls == connector.is_on(), "{url} speaks TLS; give the authority to trust with --ca");
        Ok(Self { authority: host_and_port(&parsed).to_owned(), host: host.to_owned(), address, connector })
    }
}

/// What a `Host` header takes of a URL: it may not name the user.
fn host_and_port(url: &Url) -> &str {
    let authority = url.authority();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// An answer, read whole; the body lies in the connection's buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: &'a [u8],
    /// Whether another request may follow on this connection.
    pub keep_alive: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Connection<S = Stream> {
    stream: S,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    /// If the other side refuses or does not answer.
    pub async fn open(target: &Target) -> io::Result<Self> {
        let opening = async {
            let stream = TcpStream::connect(target.address).await?;
            stream.set_nodelay(true)?;
            target.connector.to_host(stream, &target.host).await
        };
        Ok(Self::over(timeout(CONNECT_TIMEOUT, opening).await??))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over an open stream.
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::with_capacity(BUFFER_BYTES_START) }
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// If the connection breaks, or the answer is none that is understood; the connection is then of no more use.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        // With TLS, what was written may still be on its way to the socket.
        self.stream.flush().await?;
        self.buffer.clear();
        let head = loop {
            self.read_more(1).await?;
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < head.end {
            self.read_more(head.end - self.buffer.len()).await?;
        }
        let body = &self.buffer[head.body_start..head.end];
        Ok(Answer { status: head.status, body, keep_alive: head.keep_alive })
    }

    /// One read, with room for at least so many bytes.
    async fn read_more(&mut self, room: usize) -> io::Result<()> {
        self.buffer.reserve(room);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The head of an answer, and where its parts lie in the buffer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body_start: usize,
    end: usize,
    keep_alive: bool,
}

/// Reads an answer's head; nothing if it has not arrived whole.
fn parse_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    // Not initialised: that would write 2 KiB for each answer.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, buffer, &mut headers);
    let body_start = match parsed.map_err(invalid)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if buffer.len() > ANSWER_BYTES_MAX => return Err(invalid("an endless head")),
        httparse::Status::Partial => return Ok(None),
    };
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let length: usize = match header("content-length") {
        Some(text) => text.trim().parse().map_err(invalid)?,
        None => return Err(invalid("an answer without content-length")),
    };
    if length > ANSWER_BYTES_MAX {
        return Err(invalid("an answer that is too large"));
    }
    let status = response.code.expect("a complete head has a status");
    let keep_alive = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Head { status, body_start, end: body_start + length, keep_alive }))
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// The name under which an error is counted.
pub fn error_kind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => "connection timeout".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "connection broke".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"data\":[]}";

    /// Answers one request with these pieces, each of which the client reads alone.
    async fn answer_in(mut server: DuplexStream, pieces: Vec<Vec<u8>>) {
        let mut request = [0; 4];
        server.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"ping");
        for piece in pieces {
            server.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_answer_split_at_any_byte_is_read_whole() {
        for at in 1..ANSWER.len() {
            let (client, server) = duplex(1_024);
            let pieces = vec![ANSWER[..at].to_vec(), ANSWER[at..].to_vec()];
            let served = tokio::spawn(answer_in(server, pieces));
            let mut connection = Connection::over(client);
            let answer = connection.exchange(b"ping").await.unwrap();
            assert_eq!(answer, Answer { status: 200, body: b"{\"data\":[]}", keep_alive: true }, "split at {at}");
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_larger_than_the_buffer_arrives_byte_by_byte() {
        let body = vec![b'x'; BUFFER_BYTES_START * 2];
        let mut whole =
            format!("HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        whole.extend(&body);
        let (client, server) = duplex(7);
        let served = tokio::spawn(answer_in(server, whole.chunks(5).map(<[u8]>::to_vec).collect()));
        let mut connection = Connection::over(client);
        let answer = connection.exchange(b"ping").await.unwrap();
        assert_eq!((answer.status, answer.keep_alive, answer.body), (503, false, &body[..]));
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_an_error() {
        let (client, server) = duplex(1_024);
        let served = tokio::spawn(answer_in(server, vec![ANSWER[..ANSWER.len() - 1].to_vec()]));
        let error = Connection::over(client).exchange(b"ping").await.unwrap_err();
        assert_eq!(error_kind(&error), "connection broke");
        served.await.unwrap();
    }

    #[tokio::test]
    async fn the_host_header_names_no_user() {
        for (url, wanted) in [
            ("http://user:p%40ss@127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://user@127.0.0.1", "127.0.0.1"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://user:pw@[::1]:8080", "[::1]:8080"),
        ] {
            let target = Target::resolve(&Frontend::new(url).unwrap()).await.unwrap();
            assert_eq!(target.authority, wanted, "{url}");
        }
    }

    #[test]
    fn an_answer_without_a_length_or_with_an_absurd_one_is_refused() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").is_err());
        assert!(parse_head(b"nonsense\r\n\r\n").is_err());
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
    }
}
