//! The authority that our processes trust, replaced when its file changes.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, Result};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{pem, provider};
use crate::reload::Complaint;

/// Both directions of trust in one file's certificates. It only delegates.
#[derive(Debug)]
pub(super) struct Authority {
    file: String,
    taken: Mutex<Taken>,
    current: RwLock<Verifiers>,
}

/// What was read last.
#[derive(Debug)]
struct Taken {
    content: Vec<u8>,
    complaint: Complaint,
}

#[derive(Debug, Clone)]
struct Verifiers {
    of_servers: Arc<dyn ServerCertVerifier>,
    of_clients: Arc<dyn ClientCertVerifier>,
}

impl Verifiers {
    fn read(file: &str, content: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(file, content)? {
            roots.add(certificate).with_context(|| format!("{file} holds what is no authority's certificate"))?;
        }
        let roots = Arc::new(roots);
        let of_servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider()).build();
        let of_clients = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        Ok(Self { of_servers: of_servers.context(file.to_owned())?, of_clients: of_clients.context(file.to_owned())? })
    }
}

impl Authority {
    pub(super) fn load(file: String) -> Result<Self> {
        let content = pem::read(&file)?;
        let current = RwLock::new(Verifiers::read(&file, &content)?);
        Ok(Self { file, taken: Mutex::new(Taken { content, complaint: Complaint::default() }), current })
    }

    /// Reads the file again. What is wrong with it is logged, and the certificates in use stay.
    pub(super) fn reload(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.file.as_str();
        let found = pem::read(file).and_then(|content| {
            let is_new = content != taken.content;
            let verifiers = is_new.then(|| Verifiers::read(file, &content)).transpose()?;
            Ok(verifiers.map(|verifiers| (content, verifiers)))
        });
        match found {
            Ok(None) => taken.complaint.is_settled(),
            Ok(Some((content, verifiers))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = verifiers;
                *taken = Taken { content, complaint: Complaint::default() };
                tracing::info!(file, "the authority's certificates were replaced");
            }
            Err(error) => taken.complaint.about("the old authority's certificates stay", &error),
        }
    }

    fn current(&self) -> Verifiers {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The methods that both directions share by name, of the verifier of one of them.
macro_rules! delegate_signatures {
    ($direction:ident) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.current().$direction.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.current().$direction.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.current().$direction.supported_verify_schemes()
        }
    };
}

impl ServerCertVerifier for Authority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.current().of_servers.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    delegate_signatures!(of_servers);
}

impl ClientCertVerifier for Authority {
    /// None: a hint only helps a client that has several certificates, and it could not be replaced.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.current().of_clients.verify_client_cert(end_entity, intermediates, now)
    }

    delegate_signatures!(of_clients);
}
