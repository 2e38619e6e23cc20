//! `bazaar certs`: a development authority, certificates for the processes of a configuration, and when they end.

mod files;
mod issue;
mod names;
mod show;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use bazaar_domain::{Address, config::ClusterConfig};
use bazaar_service::tls::Identity;
use clap::{Args, Subcommand};
use serde::Serialize;

use self::issue::Issuer;
use crate::{Context, output::Report};

/// The authority's certificate in a folder.
const AUTHORITY: &str = "authority.pem";
/// Its key.
const AUTHORITY_KEY: &str = "authority.key";

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar certs init --dir certs                     for the addresses in config/cluster.toml
  bazaar certs init --host shop.example             clients use this name besides
  bazaar certs show
  bazaar certs renew                                new keys and certificates of the same authority, for all processes

Copy to each machine the authority's certificate and what its own processes need, never authority.key.";

/// Shown below those of `bazaar certs init`.
const INIT_EXAMPLES: &str = "\
Examples:
  bazaar certs init
  bazaar certs init --dir certs --host shop.example --days 90";

/// Shown below those of `bazaar certs renew`.
const RENEW_EXAMPLES: &str = "\
Examples:
  bazaar certs renew --dir certs
  bazaar certs renew --dir certs --host 10.0.0.4    for this address too

Certificates keep the hosts of the old ones. To drop one, remove the process's .pem before.";

/// Shown below those of `bazaar certs show`.
const SHOW_EXAMPLES: &str = "\
Examples:
  bazaar certs show --dir certs";

/// The arguments of `bazaar certs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct CertsArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: CertsAction,
}

/// What to do about certificates.
#[derive(Debug, Clone, Subcommand)]
pub enum CertsAction {
    /// Make an authority, and a key and a certificate for each process of the configuration and for operators.
    #[command(after_help = INIT_EXAMPLES)]
    Init(IssueArgs),
    /// Make new keys and certificates under the same authority, over the old ones and for the same hosts.
    #[command(after_help = RENEW_EXAMPLES)]
    Renew(IssueArgs),
    /// Show what is in a folder, and until when it is valid.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(FolderArgs),
}

/// Where the files are.
#[derive(Debug, Clone, Args)]
pub struct FolderArgs {
    /// The folder of keys and certificates.
    #[arg(long, env = "BAZAAR_CERTS_DIR", default_value = "certs", value_name = "DIR")]
    pub dir: PathBuf,
}

/// What is put into certificates.
#[derive(Debug, Clone, Args)]
pub struct IssueArgs {
    /// Where they go.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// A further name or IP address under which the processes are reached; can be given several times.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// For how long the processes' certificates are valid; the authority's is for ten years.
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
}

/// A process that gets a certificate, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    identity: Identity,
    hosts: BTreeSet<String>,
}

impl Subject {
    /// Adds the hosts of the certificate that it has, if it has one: nobody may be left who knows with which flags that
    /// was made, and a process that is reached by a name which is missing would be trusted by nobody.
    fn keep_hosts(&mut self, certificate: &Path) -> Result<()> {
        if certificate.exists() {
            let own = self.identity.dns_name();
            self.hosts.extend(names::of_file(certificate)?.into_iter().filter(|name| *name != own));
        }
        Ok(())
    }
}

/// Runs the command.
///
/// # Errors
/// If a file cannot be read or written, or there is something already where a new authority was asked for.
pub fn run(context: &Context, args: &CertsArgs) -> Result<()> {
    match &args.action {
        CertsAction::Init(args) => context.printer.print(&init(&context.cluster()?, args)?),
        CertsAction::Renew(args) => context.printer.print(&renew(&context.cluster()?, args)?),
        CertsAction::Show(args) => show::run(context, &args.dir)?,
    }
    Ok(())
}

fn init(config: &ClusterConfig, args: &IssueArgs) -> Result<Issued> {
    let dir = &args.folder.dir;
    let subjects = subjects(config, &args.hosts);
    if dir.join(AUTHORITY_KEY).exists() {
        bail!("{} holds an authority already: 'bazaar certs renew' makes new certificates of it", dir.display());
    }
    files::make_folder(dir)?;
    let issuer = Issuer::new()?;
    // The first file of all, so that of two who begin at the same time one is refused before anything is written.
    files::write_new(&dir.join(AUTHORITY_KEY), &issuer.key_pem(), files::PRIVATE)
        .with_context(|| format!("{} holds an authority already, or cannot be written", dir.display()))?;
    files::write_new(&dir.join(AUTHORITY), &issuer.certificate_pem()?, files::PUBLIC)?;
    issue_all(&issuer, dir, &subjects, args.days)?;
    Ok(Issued::new(dir, &subjects, true))
}

fn renew(config: &ClusterConfig, args: &IssueArgs) -> Result<Issued> {
    let dir = &args.folder.dir;
    let key = dir.join(AUTHORITY_KEY);
    let Ok(pem) = std::fs::read_to_string(&key) else {
        bail!("{} cannot be read; only who has the authority's key can renew, 'certs init' makes one", key.display());
    };
    let mut subjects = subjects(config, &args.hosts);
    for subject in &mut subjects {
        subject.keep_hosts(&certificate_of(dir, subject.identity))?;
    }
    issue_all(&Issuer::of_key(&pem)?, dir, &subjects, args.days)?;
    Ok(Issued::new(dir, &subjects, false))
}

fn issue_all(issuer: &Issuer, dir: &Path, subjects: &[Subject], days: u32) -> Result<()> {
    for subject in subjects {
        let (certificate, key) = issuer.issue(subject, days)?;
        files::replace(&dir.join(format!("{}.key", subject.identity)), &key, files::PRIVATE)?;
        files::replace(&certificate_of(dir, subject.identity), &certificate, files::PUBLIC)?;
    }
    Ok(())
}

fn certificate_of(dir: &Path, identity: Identity) -> PathBuf {
    dir.join(format!("{identity}.pem"))
}

/// All processes of a configuration, and operators. An address that stands for all of a machine's is no way to reach it.
fn subjects(config: &ClusterConfig, more_hosts: &[String]) -> Vec<Subject> {
    let subject = |identity, addresses: &[Address]| {
        let mut hosts: BTreeSet<String> = more_hosts.iter().cloned().collect();
        let reachable = addresses.iter().filter(|address| !address.ip().is_some_and(|ip| ip.is_unspecified()));
        hosts.extend(reachable.map(|address| address.host().to_owned()));
        if addresses.iter().any(|address| address.ip().is_some_and(|ip| ip.is_loopback())) {
            hosts.insert("localhost".to_owned());
        }
        Subject { identity, hosts }
    };
    let frontend = &config.frontend;
    let advertised = frontend.internal_advertised.as_ref().and_then(|address| address.parse().ok());
    let listeners = [frontend.public, frontend.internal, frontend.admin].map(Address::from);
    let of_frontend: Vec<Address> = listeners.into_iter().chain(advertised).collect();
    let of_catalog = [config.catalog.service.clone()];
    let mut all = vec![subject(Identity::Frontend, &of_frontend), subject(Identity::Catalog, &of_catalog)];
    all.extend(config.replicas.iter().map(|replica| {
        let addresses = [&replica.service, &replica.peers, &replica.admin].map(Clone::clone);
        subject(Identity::Replica(replica.id), &addresses)
    }));
    all.push(Subject { identity: Identity::Operator, hosts: BTreeSet::new() });
    all
}

/// What was made.
#[derive(Debug, Serialize)]
struct Issued {
    dir: PathBuf,
    processes: Vec<String>,
    #[serde(skip)]
    is_new: bool,
}

impl Issued {
    fn new(dir: &Path, subjects: &[Subject], is_new: bool) -> Self {
        let processes = subjects.iter().map(|subject| subject.identity.to_string()).collect();
        Self { dir: std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()), processes, is_new }
    }
}

impl Report for Issued {
    fn to_text(&self, _colour: bool) -> String {
        let (dir, processes) = (self.dir.display(), self.processes.join(", "));
        if !self.is_new {
            return format!(
                "new keys and certificates for {processes} in {dir}\nrunning processes take them within seconds"
            );
        }
        format!(
            "an authority, and keys and certificates for {processes}, in {dir}\n\n\
             Put this into cluster.toml, and start everything anew:\n\n\
             [tls]\nauthority = \"{dir}/{AUTHORITY}\"\ncertificate = \"{dir}/{{process}}.pem\"\nkey = \"{dir}/{{process}}.key\"\n\n\
             Who has {dir}/{AUTHORITY_KEY} can let anybody in: keep it where no process runs."
        )
    }
}

#[cfg(test)]
mod tests;
