//! The calling side: HTTP clients, and other connections.

use std::{io, sync::Arc};

use anyhow::Result;
use axum::http::HeaderMap;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Identity, Stream, authority::Authority, client_config, http_client, http_client_with, pair::Pair};
use crate::Caller;

/// Makes connections to our processes, with TLS if there is any; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Connector(Option<Arc<ClientConfig>>);

impl Connector {
    pub(super) fn of(authority: &Arc<Authority>, own: Option<&Arc<Pair>>) -> Self {
        let config = client_config().dangerous().with_custom_certificate_verifier(Arc::clone(authority) as _);
        Self(Some(Arc::new(match own {
            Some(pair) => config.with_client_cert_resolver(Arc::clone(pair) as _),
            None => config.with_no_client_auth(),
        })))
    }

    /// What a program needs that only calls: an authority, and a certificate with its key if it is to be let in where
    /// clients must show one.
    ///
    /// # Errors
    /// If a file cannot be read or does not fit the others; the message names it.
    pub fn load(authority: String, pair: Option<(String, String)>) -> Result<Self> {
        let pair = pair.map(|(certificate, key)| Pair::load(certificate, key, None)).transpose()?.map(Arc::new);
        Ok(Self::of(&Arc::new(Authority::load(authority)?), pair.as_ref()))
    }

    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// An HTTP client, whose URLs [`Caller::url`] gives the right scheme.
    pub fn caller(&self) -> Caller {
        self.caller_with(HeaderMap::new())
    }

    /// The same, which sends these headers with each request.
    pub fn caller_with(&self, headers: HeaderMap) -> Caller {
        Caller::over(self.client_builder().default_headers(headers), if self.is_on() { "https" } else { "http" })
    }

    /// The beginning of an HTTP client of another kind.
    pub fn client_builder(&self) -> reqwest::ClientBuilder {
        match &self.0 {
            None => http_client(),
            Some(config) => http_client_with(ClientConfig::clone(config)),
        }
    }

    /// Makes a fresh connection one to this very process of ours, and to nobody else.
    ///
    /// # Errors
    /// If the other side does not speak TLS, or is not that process.
    pub async fn to_process(&self, stream: TcpStream, process: Identity) -> io::Result<Stream> {
        self.to_host(stream, &process.dns_name()).await
    }

    /// Makes a fresh connection one to whoever has a certificate for this host.
    ///
    /// # Errors
    /// If the other side does not speak TLS, or has no such certificate.
    pub async fn to_host(&self, stream: TcpStream, host: &str) -> io::Result<Stream> {
        let Some(config) = &self.0 else { return Ok(Stream::Plain(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let secured = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(secured.into())))
    }
}
