//! Calls over one HTTP/2 connection, in the way of gRPC: one message there, one message back.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request};
use tokio::{net::TcpStream, task::AbortHandle};

/// A message is preceded by a byte for compression, and its length in four.
const PREFIX_BYTES: usize = 5;

/// One connection, shared by any number of calls. It ends when it is dropped.
#[derive(Debug)]
pub struct Connection {
    authority: String,
    sender: SendRequest<Bytes>,
    driver: AbortHandle,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(authority: &str) -> Result<Self> {
        let stream = TcpStream::connect(authority).await.with_context(|| format!("{authority} does not listen"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        // What ends the connection shows in the calls that it ends.
        let driver = tokio::spawn(async { drop(connection.await) }).abort_handle();
        Ok(Self { authority: authority.to_owned(), sender, driver })
    }

    /// Calls a method such as `etcdserverpb.KV/Put`.
    ///
    /// # Errors
    /// If the connection breaks, or the other side answers with an error.
    pub async fn call(&self, method: &str, message: impl AsRef<[u8]>) -> Result<Bytes> {
        let request = Request::post(format!("http://{}/{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut stream) = sender.send_request(request, false)?;
        stream.send_data(framed(message.as_ref())?, true)?;
        let (head, mut body) = answer.await?.into_parts();
        ensure!(head.status.is_success(), "{method}: status {}", head.status);
        // An error without a message comes in the headers.
        check(method, &head.headers)?;
        let message = read(&mut body).await?;
        check(method, &body.trailers().await?.unwrap_or_default())?;
        ensure!(message.len() >= PREFIX_BYTES, "{method}: an answer without a message");
        Ok(message.slice(PREFIX_BYTES..))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn framed(message: &[u8]) -> Result<Bytes> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok(Bytes::from([&[0], &length[..], message].concat()))
}

async fn read(body: &mut RecvStream) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn check(method: &str, headers: &HeaderMap) -> Result<()> {
    match headers.get("grpc-status").map(|status| status.as_bytes()) {
        None | Some(b"0") => Ok(()),
        Some(status) => {
            let message = headers.get("grpc-message").map_or(&b""[..], |message| message.as_bytes());
            bail!("{method}: code {}: {}", String::from_utf8_lossy(status), String::from_utf8_lossy(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_with_its_length() {
        assert_eq!(framed(b"abc").unwrap(), &b"\0\0\0\0\x03abc"[..]);
    }

    #[test]
    fn a_status_other_than_0_is_an_error() {
        let mut headers = HeaderMap::new();
        assert!(check("m", &headers).is_ok());
        headers.insert("grpc-status", "0".parse().unwrap());
        assert!(check("m", &headers).is_ok());
        headers.insert("grpc-status", "14".parse().unwrap());
        headers.insert("grpc-message", "no leader".parse().unwrap());
        assert_eq!(check("m", &headers).unwrap_err().to_string(), "m: code 14: no leader");
    }
}
