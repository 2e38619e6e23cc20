//! TLS: the one place where its keys, authorities and cryptography are put together.
//!
//! A process loads its files once ([`Tls::load`]) and hands the result on: [`Tls::internal`] and [`Tls::public`] make a
//! listener into a [`Door`], [`Tls::caller`] makes the HTTP client for calls between our processes, [`Tls::connector`]
//! is for other connections. Without `[tls]` in the configuration all of them are plain, and cost one branch each time a
//! connection is made.

mod authority;
mod client;
mod door;
pub mod expiry;
mod identity;
mod pair;
mod peer;
mod pem;
mod stream;

use std::sync::Arc;

use anyhow::{Context, Result};
use bazaar_domain::config::TlsConfig;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{NoServerSessionStorage, WantsServerCert},
};
use tokio::net::TcpListener;

use self::{authority::Authority, pair::Pair};
pub use self::{
    client::Connector,
    door::{Door, Lock, Unopened},
    identity::Identity,
    peer::Peer,
    stream::Stream,
};
use crate::{
    Caller,
    reload::{self, Reload},
};

/// The cryptography of all TLS here.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The beginning of every HTTP client of this project: no proxy, and TLS without the system's authorities, which a small
/// machine may not have.
///
/// # Panics
/// If ring does not support the protocol versions that rustls has by default, which no build can bring about.
pub fn http_client() -> reqwest::ClientBuilder {
    let config = client_config().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    http_client_with(config)
}

fn http_client_with(config: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config)
}

fn client_config() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
}

fn server_config() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
}

/// A process's TLS, or that it has none; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tls(Option<Arc<Files>>);

/// The files in use. Each is read again when it changes.
#[derive(Debug)]
struct Files {
    authority: Arc<Authority>,
    own: Arc<Pair>,
    public: Arc<Pair>,
}

impl Tls {
    /// Loads the files of a configuration, if it has any, for this process, and keeps them fresh for as long as the
    /// result lives.
    ///
    /// # Errors
    /// If a file cannot be read or does not fit the others; the message names it.
    pub fn load(config: Option<&TlsConfig>, process: Identity) -> Result<Self> {
        let Some(config) = config else { return Ok(Self::default()) };
        let file = |pattern: &str| pattern.replace("{process}", &process.to_string());
        let own = Arc::new(Pair::load(file(&config.certificate), file(&config.key), Some(process))?);
        let public = match (&config.public_certificate, &config.public_key) {
            (Some(certificate), Some(key)) => Arc::new(Pair::load(file(certificate), file(key), None)?),
            _ => Arc::clone(&own),
        };
        let files = Arc::new(Files { authority: Arc::new(Authority::load(file(&config.authority))?), own, public });
        reload::keep_fresh(&files).context("SIGHUP cannot be handled")?;
        Ok(Self(Some(files)))
    }

    /// Reads all files again now. What is wrong with one is logged, and what is in use stays.
    pub fn reload(&self) {
        if let Some(files) = &self.0 {
            files.reload();
        }
    }

    /// Whether there is any.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A door for our own processes and operators: with TLS, they must show a certificate of the authority.
    pub fn internal(&self, listener: TcpListener) -> Door {
        let Some(files) = &self.0 else { return listener.into() };
        let verifier = Arc::clone(&files.authority);
        let config = serving(server_config().with_client_cert_verifier(verifier), &files.own);
        Door::locked(listener, config, true)
    }

    /// A door for clients, who need no certificate.
    pub fn public(&self, listener: TcpListener) -> Door {
        let Some(files) = &self.0 else { return listener.into() };
        Door::locked(listener, serving(server_config().with_no_client_auth(), &files.public), false)
    }

    /// An HTTP client for calls between our processes, in whose URLs [`Caller::url`] puts the right scheme.
    pub fn caller(&self) -> Caller {
        self.connector().caller()
    }

    /// What opens connections to our own processes.
    pub fn connector(&self) -> Connector {
        let Some(files) = &self.0 else { return Connector::default() };
        Connector::of(&files.authority, Some(&files.own))
    }
}

impl Reload for Files {
    fn reload(&self) {
        self.authority.reload();
        self.own.reload();
        if !Arc::ptr_eq(&self.own, &self.public) {
            self.public.reload();
        }
    }
}

/// A server's configuration that resumes no session: every connection shows its certificate anew, so that an authority
/// that was taken away lets nobody in any more.
fn serving(config: rustls::ConfigBuilder<ServerConfig, WantsServerCert>, pair: &Arc<Pair>) -> Arc<ServerConfig> {
    let mut config = config.with_cert_resolver(Arc::clone(pair) as _);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}
