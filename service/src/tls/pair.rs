//! A certificate and its key, replaced when their files change.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Identity, expiry, pem, provider};
use crate::{meters::CERTIFICATE_NOT_AFTER, reload::Complaint};

/// From so long before a certificate's end its process says so.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Shown by a server to its clients, and by a client to servers that ask.
#[derive(Debug)]
pub(super) struct Pair {
    files: Files,
    taken: Mutex<Taken>,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Where a pair is, and what it must be.
#[derive(Debug)]
struct Files {
    certificate: String,
    key: String,
    /// Whom the certificate must name, now and after each change; none if it is for clients, who do not ask.
    process: Option<Identity>,
}

/// What was read last.
#[derive(Debug)]
struct Taken {
    /// Of both files, as it is in use.
    content: [Vec<u8>; 2],
    complaint: Complaint,
}

impl Pair {
    /// Reads a pair. If it is a process's own, its certificate must name this process and no other.
    pub(super) fn load(certificate: String, key: String, process: Option<Identity>) -> Result<Self> {
        let files = Files { certificate, key, process };
        let content = files.read()?;
        pem::warn_if_readable(&files.key);
        let current = RwLock::new(Arc::new(files.pair(&content)?));
        Ok(Self { files, taken: Mutex::new(Taken { content, complaint: Complaint::default() }), current })
    }

    /// Reads the files again. What is wrong with them is logged, and the pair in use stays: between the writing of one
    /// file and of the other they do not fit.
    pub(super) fn reload(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.files.read().and_then(|content| {
            let is_new = content != taken.content;
            let pair = is_new.then(|| self.files.pair(&content)).transpose()?;
            Ok(pair.map(|pair| (content, pair)))
        });
        match found {
            Ok(None) => taken.complaint.is_settled(),
            Ok(Some((content, pair))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                *taken = Taken { content, complaint: Complaint::default() };
                tracing::info!(file = self.files.certificate, "the certificate was replaced");
            }
            Err(error) => taken.complaint.about("the old certificate stays", &error),
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Files {
    fn read(&self) -> Result<[Vec<u8>; 2]> {
        Ok([pem::read(&self.certificate)?, pem::read(&self.key)?])
    }

    /// The pair in these contents, which is taken into use next.
    fn pair(&self, [chain, key]: &[Vec<u8>; 2]) -> Result<CertifiedKey> {
        let Self { certificate, key: key_file, .. } = self;
        let (chain, private) = (pem::certificates(certificate, chain)?, pem::key(key_file, key)?);
        let not_after = expiry::not_after(&chain[0]).with_context(|| format!("{certificate} is damaged"))?;
        self.require_identity(&chain[0])?;
        let pair = CertifiedKey::from_der(chain, private, &provider())
            .with_context(|| format!("the certificate {certificate} and the key {key_file} do not belong together"))?;
        self.note_end(not_after);
        Ok(pair)
    }

    /// Fails unless the certificate names this process: with another's, the others would turn it away.
    fn require_identity(&self, found: &CertificateDer<'_>) -> Result<()> {
        let Some(process) = self.process else { return Ok(()) };
        ensure!(
            Identity::of(found) == Some(process),
            "the certificate {} does not name this process ({}); 'bazaar certs init' makes one that does",
            self.certificate,
            process.dns_name()
        );
        Ok(())
    }

    fn note_end(&self, not_after: SystemTime) {
        let file = self.certificate.as_str();
        let since_1970 = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        CERTIFICATE_NOT_AFTER.gauge_of(&[file]).set(since_1970.as_secs_f64());
        if not_after < SystemTime::now() + EXPIRY_WARNING {
            tracing::warn!(file, "this certificate expires within 30 days or has expired; see: bazaar certs show");
        }
    }
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
