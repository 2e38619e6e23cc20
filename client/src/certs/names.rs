//! The names and addresses that a certificate gives its process, so that a renewed one can have them too.

use std::{collections::BTreeSet, net::IpAddr, path::Path};

use anyhow::{Context as _, Result};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, Tag, models::TaggedDerValue, parse_der};

/// `subjectAltName` (2.5.29.17), as it stands in a certificate.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The tag of a certificate's extensions among its fields, and those of the two kinds of names that we use (RFC 5280).
const EXTENSIONS: u64 = 3;
const DNS_NAME: u64 = 2;
const IP_ADDRESS: u64 = 7;

/// The names in the first certificate of a file.
///
/// # Errors
/// If there is none, or it is damaged.
pub(super) fn of_file(file: &Path) -> Result<BTreeSet<String>> {
    let shown = file.display();
    let text = std::fs::read(file).with_context(|| format!("{shown} cannot be read"))?;
    let certificate = pem::parse(text).with_context(|| format!("{shown} holds no certificate"))?;
    of_certificate(certificate.contents()).with_context(|| format!("{shown} is damaged"))
}

fn of_certificate(certificate: &[u8]) -> ASN1Result<BTreeSet<String>> {
    let parts = parse_der(certificate, |reader| reader.collect_sequence_of(|part| part.read_der()))?;
    let signed = parts.first().ok_or(ASN1Error::new(ASN1ErrorKind::Eof))?;
    let Some(extensions) = list(signed)?.into_iter().find(|field| field.tag() == Tag::context(EXTENSIONS)) else {
        return Ok(BTreeSet::new());
    };
    let each = |reader: yasna::BERReader<'_, '_>| reader.collect_sequence_of(|part| part.read_tagged_der());
    let extensions = parse_der(extensions.value(), |reader| reader.collect_sequence_of(each))?;
    // Between the kind of an extension and its content may stand whether it is critical.
    let wanted = extensions.iter().find(|parts| parts.first().is_some_and(|kind| kind.value() == SUBJECT_ALT_NAME));
    let Some(names) = wanted.and_then(|parts| parts.last()) else { return Ok(BTreeSet::new()) };
    Ok(list(names.value())?.iter().filter_map(text).collect())
}

/// The parts of a sequence.
fn list(bytes: &[u8]) -> ASN1Result<Vec<TaggedDerValue>> {
    parse_der(bytes, |reader| reader.collect_sequence_of(|part| part.read_tagged_der()))
}

fn text(name: &TaggedDerValue) -> Option<String> {
    if name.tag() == Tag::context(DNS_NAME) {
        return String::from_utf8(name.value().to_vec()).ok();
    }
    let bytes = Some(name.value()).filter(|_| name.tag() == Tag::context(IP_ADDRESS))?;
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
}
