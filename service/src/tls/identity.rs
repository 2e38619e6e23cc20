//! Which process a certificate belongs to.

use std::{fmt, str::FromStr};

use bazaar_domain::ReplicaId;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Ends the names by which certificates tell processes apart; nobody looks them up.
const DOMAIN: &str = ".bazaar.internal";

/// A process, as its certificate names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Any of the frontends.
    Frontend,
    /// The catalog.
    Catalog,
    /// An order replica.
    Replica(ReplicaId),
    /// A person, or a program that watches: the client `bazaar`.
    Operator,
}

impl Identity {
    /// The name that stands in its certificate, e.g. `replica-2.bazaar.internal`.
    pub fn dns_name(self) -> String {
        format!("{self}{DOMAIN}")
    }

    /// The process that a certificate names; none if it names none, or several.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = EndEntityCert::try_from(certificate).ok()?;
        let mut named = parsed.valid_dns_names().filter_map(|name| name.strip_suffix(DOMAIN)?.parse().ok());
        named.next().filter(|_| named.next().is_none())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frontend => f.write_str("frontend"),
            Self::Catalog => f.write_str("catalog"),
            Self::Replica(id) => write!(f, "replica-{id}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no process; it is frontend, catalog, operator, or replica-1 and so on");
        match text {
            "frontend" => Ok(Self::Frontend),
            "catalog" => Ok(Self::Catalog),
            "operator" => Ok(Self::Operator),
            _ => {
                let id: ReplicaId = text.strip_prefix("replica-").and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
                // One way of writing each: replica-01 and replica-+1 would be other names of the same.
                Some(Self::Replica(id)).filter(|parsed| parsed.to_string() == text).ok_or_else(wrong)
            }
        }
    }
}
