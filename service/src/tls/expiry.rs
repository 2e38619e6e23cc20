//! When a certificate ends.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::pem;

/// A time after the end of every certificate: the year 9999 is the last that one can name.
const AFTER_ALL_SECS: u64 = 1 << 38;

/// The last moment at which the first certificate of a file is valid.
///
/// # Errors
/// If the file cannot be read, or holds none.
pub fn of_file(file: &Path) -> Result<SystemTime> {
    let name = file.to_string_lossy();
    let chain = pem::certificates(&name, &pem::read(&name)?)?;
    not_after(&chain[0]).with_context(|| format!("{name} is damaged"))
}

/// The last moment at which a certificate is valid.
///
/// # Errors
/// If it is damaged.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|error| anyhow!("{error}"))?;
    // The library shows a certificate's end only in the refusal of one that has expired.
    let late = UnixTime::since_unix_epoch(Duration::from_secs(AFTER_ALL_SECS));
    match parsed.verify_for_usage(&[], &[], &[], late, KeyUsage::server_auth(), None, None) {
        Err(Error::CertExpired { not_after, .. }) => {
            Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs()))
        }
        Err(error) => Err(anyhow!("{error}")),
        Ok(_) => Err(anyhow!("it never ends")),
    }
}
