//! TLS: the one place where its keys, authorities and cryptography are put together.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The beginning of every HTTP client of this project: no proxy, and TLS without the system's authorities, which a small
/// machine may not have.
///
/// # Panics
/// If ring does not support the protocol versions that rustls has by default, which no build can bring about.
pub fn http_client() -> reqwest::ClientBuilder {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config)
}
