//! The arguments of security, and the refusal to be reached by others without it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bazaar_domain::config::{AuthConfig, ClusterConfig, TlsConfig};
use clap::Args;
use tokio::net::TcpListener;

/// Each wins over what the file says. A relative path is meant from the current folder; `{process}` in a path of TLS
/// stands for the process's name.
#[derive(Debug, Clone, Default, Args)]
pub struct SecurityArgs {
    /// The certificates of the authority that all processes trust; switches TLS on, together with the next two.
    #[arg(long, env = "BAZAAR_TLS_AUTHORITY", value_name = "FILE")]
    pub tls_authority: Option<String>,
    /// This process's certificate.
    #[arg(long, env = "BAZAAR_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<String>,
    /// Its key.
    #[arg(long, env = "BAZAAR_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<String>,
    /// What the public listener shows instead of the certificate.
    #[arg(long, env = "BAZAAR_TLS_PUBLIC_CERTIFICATE", value_name = "FILE", requires = "tls_public_key")]
    pub tls_public_certificate: Option<String>,
    /// Its key.
    #[arg(long, env = "BAZAAR_TLS_PUBLIC_KEY", value_name = "FILE", requires = "tls_public_certificate")]
    pub tls_public_key: Option<String>,
    /// The file of tokens: who may trade, read and administrate.
    #[arg(long, env = "BAZAAR_TOKENS", value_name = "FILE")]
    pub tokens: Option<String>,
    /// Listens also where others than this machine can reach it, although nothing is encrypted or checked.
    #[arg(long, env = "BAZAAR_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure: bool,
}

impl SecurityArgs {
    /// Puts these arguments over a configuration, whose paths come to be meant from the current folder.
    ///
    /// # Errors
    /// If TLS is given by halves.
    pub(crate) fn apply(&self, config: &mut ClusterConfig, beside_config: impl Fn(&str) -> PathBuf) -> Result<()> {
        let from_here = |file: &mut String| *file = beside_config(file).to_string_lossy().into_owned();
        config.tls.iter_mut().flat_map(TlsConfig::files_mut).for_each(from_here);
        config.auth.iter_mut().map(|auth| &mut auth.tokens).for_each(from_here);
        config.insecure |= self.insecure;
        if let Some(tokens) = self.tokens.clone() {
            let anonymous_reads = config.auth.as_ref().is_some_and(|auth| auth.anonymous_reads);
            config.auth = Some(AuthConfig { tokens, anonymous_reads });
        }
        config.tls = self.tls_over(config.tls.take())?;
        Ok(())
    }

    fn tls_over(&self, in_file: Option<TlsConfig>) -> Result<Option<TlsConfig>> {
        let (authority, certificate, key, public) = match in_file {
            Some(tls) => {
                let public = tls.public_certificate.zip(tls.public_key);
                (Some(tls.authority), Some(tls.certificate), Some(tls.key), public)
            }
            None => (None, None, None, None),
        };
        let over = |given: &Option<String>, in_file| given.clone().or(in_file);
        let public = self.tls_public_certificate.clone().zip(self.tls_public_key.clone()).or(public);
        let files =
            (over(&self.tls_authority, authority), over(&self.tls_certificate, certificate), over(&self.tls_key, key));
        let (public_certificate, public_key) = public.unzip();
        match files {
            (Some(authority), Some(certificate), Some(key)) => {
                Ok(Some(TlsConfig { authority, certificate, key, public_certificate, public_key }))
            }
            (None, None, None) => Ok(None),
            _ => bail!("TLS needs an authority, a certificate and a key; give all three, in [tls] or by flags"),
        }
    }
}

/// Refuses a listener that others than this machine can reach, if nothing protects it and nobody said that this is meant.
///
/// # Errors
/// If so; the message says what to do.
pub(crate) fn check_exposure(listener: &TcpListener, what: &str, config: &ClusterConfig) -> Result<()> {
    let address = listener.local_addr().with_context(|| format!("{what} has no address"))?;
    if address.ip().is_loopback() || config.tls.is_some() {
        return Ok(());
    }
    if !config.insecure {
        bail!(
            "{what} would listen on {address}, where others can reach it, without TLS: give [tls] in the configuration \
             ('bazaar certs init' makes what it needs), or say --insecure if something else protects it"
        );
    }
    tracing::warn!(%address, "{what} can be reached by others, and speaks in the clear (--insecure)");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> ClusterConfig {
        let replica = "[[replica]]\nid = 1\nservice = \"h:1\"\npeers = \"h:2\"\nadmin = \"h:3\"\n";
        ClusterConfig::parse(&format!("{more}\n{replica}")).unwrap()
    }

    fn applied(arguments: &SecurityArgs, more: &str) -> Result<ClusterConfig> {
        let mut config = config(more);
        arguments.apply(&mut config, |file| PathBuf::from("/etc/bazaar").join(file))?;
        Ok(config)
    }

    const TLS: &str = "[tls]\nauthority = \"a.pem\"\ncertificate = \"/c.pem\"\nkey = \"{process}.key\"";

    #[test]
    fn paths_of_the_file_are_meant_from_its_folder_and_arguments_win() {
        let more = format!("{TLS}\n[auth]\ntokens = \"tokens.toml\"\nanonymous_reads = true");
        let given = SecurityArgs { tls_key: Some("own.key".into()), ..SecurityArgs::default() };
        let config = applied(&given, &more).unwrap();
        let tls = config.tls.unwrap();
        assert_eq!((tls.authority.as_str(), tls.certificate.as_str()), ("/etc/bazaar/a.pem", "/c.pem"));
        assert_eq!((tls.key.as_str(), tls.public_certificate), ("own.key", None));
        assert_eq!(config.auth.unwrap().tokens, "/etc/bazaar/tokens.toml");
        let given = SecurityArgs { tokens: Some("t.toml".into()), ..SecurityArgs::default() };
        let auth = applied(&given, &more).unwrap().auth.unwrap();
        assert_eq!((auth.tokens.as_str(), auth.anonymous_reads), ("t.toml", true));
    }

    #[test]
    fn tls_comes_from_arguments_alone_but_not_by_halves() {
        let file = |name: &str| Some(name.to_owned());
        let half = SecurityArgs { tls_authority: file("a"), tls_key: file("k"), ..SecurityArgs::default() };
        assert!(applied(&half, "").unwrap_err().to_string().contains("all three"));
        let whole = SecurityArgs { tls_certificate: file("c"), ..half };
        assert_eq!(applied(&whole, "").unwrap().tls.unwrap().certificate, "c");
        assert_eq!(applied(&SecurityArgs::default(), "").unwrap().tls, None);
    }

    #[tokio::test]
    async fn what_others_can_reach_needs_tls_or_an_explicit_word() {
        let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
        check_exposure(&here, "it", &config("")).unwrap();
        let refused = check_exposure(&everywhere, "the door", &config("")).unwrap_err().to_string();
        assert!(refused.contains("the door would listen on 0.0.0.0:") && refused.contains("--insecure"), "{refused}");
        check_exposure(&everywhere, "it", &config("insecure = true")).unwrap();
        check_exposure(&everywhere, "it", &config(TLS)).unwrap();
    }
}
