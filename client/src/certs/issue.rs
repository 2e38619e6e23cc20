//! An authority that signs certificates.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::Subject;

/// What the authority calls itself. Two authorities are told apart by their keys.
const NAME: &str = "stock bazaar authority";
/// How long the authority's own certificate is valid.
const AUTHORITY_DAYS: u32 = 3_650;
/// Certificates are valid from a little before now, for machines whose clocks are behind.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The authority, with its key.
pub(super) struct Issuer {
    params: CertificateParams,
    key: KeyPair,
}

impl Issuer {
    /// A new authority.
    pub(super) fn new() -> Result<Self> {
        Self::of(KeyPair::generate().context("no key can be made")?)
    }

    /// The authority of a key that was made here before: its name is always the same.
    pub(super) fn of_key(pem: &str) -> Result<Self> {
        Self::of(KeyPair::from_pem(pem).context("the authority's key is damaged")?)
    }

    fn of(key: KeyPair) -> Result<Self> {
        let mut params = params(NAME, Vec::new(), AUTHORITY_DAYS)?;
        // No authority below this one.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { params, key })
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn certificate_pem(&self) -> Result<String> {
        Ok(self.params.self_signed(&self.key).context("the authority cannot sign")?.pem())
    }

    /// A certificate and its key.
    pub(super) fn issue(&self, subject: &Subject, days: u32) -> Result<(String, String)> {
        let key = KeyPair::generate().context("no key can be made")?;
        Ok((self.sign(subject, days, &key)?.pem(), key.serialize_pem()))
    }

    fn sign(&self, subject: &Subject, days: u32, key: &KeyPair) -> Result<Certificate> {
        let names = std::iter::once(subject.identity.dns_name()).chain(subject.hosts.iter().cloned()).collect();
        let mut params = params(&subject.identity.to_string(), names, days)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Each of our processes calls others, and is called by them.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).with_context(|| format!("no certificate for {}", subject.identity))
    }
}

fn params(name: &str, names: Vec<String>, days: u32) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("a host is no name and no address; check --host")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("a clock before 1970")?;
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCKS_DIFFER_MAX);
    params.not_after = epoch + now + DAY * days;
    Ok(params)
}
