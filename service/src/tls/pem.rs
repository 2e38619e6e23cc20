//! Reading PEM files, with errors that name the file.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Reads a file.
pub(super) fn read(file: &str) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{file} cannot be read"))
}

/// The certificates in a file's content, at least one.
pub(super) fn certificates(file: &str, content: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let found = found.with_context(|| format!("{file} is damaged"))?;
    ensure!(!found.is_empty(), "{file} holds no certificate");
    Ok(found)
}

/// The key in a file's content.
pub(super) fn key(file: &str, content: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(content).with_context(|| format!("{file} holds no private key"))
}

/// Says so if others on this machine may read a key.
pub(super) fn warn_if_readable(file: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(Path::new(file)).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(file, "other users may read this key; chmod 600 takes that away");
    }
}
