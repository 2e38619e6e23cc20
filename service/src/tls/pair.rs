//! A certificate and its key, replaced when their files change.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Identity, expiry, pem, provider};
use crate::meters::CERTIFICATE_NOT_AFTER;

/// From so long before a certificate's end its process says so.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Shown by a server to its clients, and by a client to servers that ask.
#[derive(Debug)]
pub(super) struct Pair {
    certificate: String,
    key: String,
    /// Of both files, as they were last seen.
    content: Mutex<[Vec<u8>; 2]>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Pair {
    pub(super) fn load(certificate: String, key: String) -> Result<Self> {
        let content = [pem::read(&certificate)?, pem::read(&key)?];
        pem::warn_if_readable(&key);
        let current = RwLock::new(Arc::new(certified(&certificate, &key, &content)?));
        Ok(Self { certificate, key, content: Mutex::new(content), current })
    }

    /// Fails unless the certificate names this process: with another's, the others would turn it away.
    pub(super) fn require_identity(&self, process: Identity) -> Result<()> {
        let found = Identity::of(&self.current().cert[0]);
        let name = process.dns_name();
        ensure!(
            found == Some(process),
            "the certificate {} does not name this process ({name}); 'bazaar certs init' makes one that does",
            self.certificate
        );
        Ok(())
    }

    /// Reads the files again. What is wrong with them is logged, and the pair in use stays: between the writing of one
    /// file and of the other they do not fit.
    pub(super) fn reload(&self) {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.certificate.as_str();
        match pem::read(file).and_then(|certificate| Ok([certificate, pem::read(&self.key)?])) {
            Ok(found) if found == *content => return,
            Ok(found) => *content = found,
            Err(error) => return tracing::warn!(%error, "a certificate's file is gone; it stays in use"),
        }
        match certified(file, &self.key, &content) {
            Ok(pair) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                tracing::info!(file, "the certificate was replaced");
            }
            Err(error) => tracing::error!("the old certificate stays in use: {error:#}"),
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn certified(certificate: &str, key: &str, [chain, key_content]: &[Vec<u8>; 2]) -> Result<CertifiedKey> {
    let (chain, private) = (pem::certificates(certificate, chain)?, pem::key(key, key_content)?);
    let not_after = expiry::not_after(&chain[0]).with_context(|| format!("{certificate} is damaged"))?;
    CERTIFICATE_NOT_AFTER
        .gauge_of(&[certificate])
        .set(not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    if not_after < SystemTime::now() + EXPIRY_WARNING {
        tracing::warn!(certificate, "this certificate expires within 30 days or has expired; see: bazaar certs show");
    }
    CertifiedKey::from_der(chain, private, &provider())
        .with_context(|| format!("the certificate {certificate} and the key {key} do not belong together"))
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Pair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
