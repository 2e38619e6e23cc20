//! How our processes are reached: whom to trust, which certificate to show, which token to send.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bazaar_domain::config::{ClusterConfig, TlsConfig};
use bazaar_service::{
    Caller,
    tls::{Connector, Identity},
};
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::{
    cli::GLOBAL,
    exit::{Ending, Exit},
};

/// TLS and tokens. Where nothing is given, the files are those of `[tls]` in the configuration, for the operator.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessArgs {
    /// The certificates of the authority to trust [default: that of the configuration's [tls]].
    #[arg(long, global = true, help_heading = GLOBAL, env = "BAZAAR_CA", value_name = "FILE")]
    pub ca: Option<String>,
    /// The certificate to show to internal listeners [default: the operator's].
    #[arg(long, global = true, help_heading = GLOBAL, env = "BAZAAR_CERTIFICATE", value_name = "FILE")]
    pub certificate: Option<String>,
    /// The key of that certificate.
    #[arg(long, global = true, help_heading = GLOBAL, env = "BAZAAR_CERTIFICATE_KEY", value_name = "FILE")]
    pub certificate_key: Option<String>,
    /// A token that permits to trade, to read or to administrate ('bazaar tokens new' makes one); better in the variable
    /// than here, where other users of this machine see it.
    #[arg(long, global = true, help_heading = GLOBAL, env = "BAZAAR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// What every call needs; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Access {
    connector: Connector,
    caller: Caller,
    authorization: Option<String>,
    /// What was given, as the variables that stand for it.
    variables: Vec<(&'static str, String)>,
}

impl AccessArgs {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read, or does not fit the others.
    pub fn resolve(self, config: &Path) -> Result<Access> {
        let connector = self.connector(tls_of(config))?;
        let variables = self.variables();
        let mut headers = HeaderMap::new();
        let authorization = self.token.map(|token| format!("Bearer {token}"));
        if let Some(text) = &authorization {
            let damaged = || Ending::new(Exit::Usage, "the token is damaged; check --token");
            let mut value = HeaderValue::from_str(text).with_context(damaged)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Access { caller: connector.caller_with(headers), connector, authorization, variables })
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("BAZAAR_CA", &self.ca),
            ("BAZAAR_CERTIFICATE", &self.certificate),
            ("BAZAAR_CERTIFICATE_KEY", &self.certificate_key),
            ("BAZAAR_TOKEN", &self.token),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    fn connector(&self, in_config: Option<TlsConfig>) -> Result<Connector> {
        let pair = match (&self.certificate, &self.certificate_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => in_config.as_ref().and_then(operators_pair),
            _ => bail!(Ending::new(Exit::Usage, "--certificate and --certificate-key go together")),
        };
        match self.ca.clone().or(in_config.map(|tls| tls.authority)) {
            Some(authority) => Connector::load(authority, pair),
            None if pair.is_some() => {
                bail!(Ending::new(Exit::Usage, "a certificate is shown only to whom is trusted: give --ca too"))
            }
            None => Ok(Connector::default()),
        }
    }
}

/// The files of a configuration; without a readable one there are none.
fn tls_of(path: &Path) -> Option<TlsConfig> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut tls = ClusterConfig::parse(&text).ok()?.tls?;
    let folder = path.parent().unwrap_or(Path::new("."));
    for file in tls.files_mut() {
        *file = folder.join(&*file).to_string_lossy().replace("{process}", &Identity::Operator.to_string());
    }
    Some(tls)
}

/// Whoever may not read the operator's key can trade all the same.
fn operators_pair(tls: &TlsConfig) -> Option<(String, String)> {
    std::fs::File::open(&tls.key).ok().map(|_| (tls.certificate.clone(), tls.key.clone()))
}

impl Access {
    /// The HTTP client.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What opens other connections.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// What the header `Authorization` says, if there is a token.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// The same access for a child that is this program. Arguments would show the token to other users.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str()))
    }
}
