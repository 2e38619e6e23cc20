use std::os::unix::fs::PermissionsExt as _;

use anyhow::anyhow;
use bazaar_domain::config::TlsConfig;
use bazaar_service::{
    Tls,
    tls::{Connector, Peer},
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const CONFIG: &str = r#"
[frontend]
internal_advertised = "shop.example:8081"
[[replica]]
id = 1
service = "10.0.0.1:1"
peers = "peers.example:2"
admin = "0.0.0.0:3"
"#;

fn subject_of(identity: Identity) -> Subject {
    let all = subjects(&ClusterConfig::parse(CONFIG).unwrap(), &["more.example".into()]);
    all.into_iter().find(|subject| subject.identity == identity).unwrap()
}

#[test]
fn every_process_is_named_by_all_that_others_call_it() {
    let hosts = |identity| subject_of(identity).hosts.into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(hosts(Identity::Frontend), "127.0.0.1 localhost more.example shop.example");
    assert_eq!(hosts(Identity::Replica(1)), "10.0.0.1 more.example peers.example");
    assert_eq!(hosts(Identity::Operator), "", "nobody calls an operator");
}

fn arguments(dir: &Path) -> IssueArgs {
    IssueArgs { folder: FolderArgs { dir: dir.join("certs") }, hosts: Vec::new(), days: 90 }
}

fn initialised(dir: &Path) -> Result<Issued> {
    init(&ClusterConfig::parse(CONFIG)?, &arguments(dir))
}

#[test]
fn keys_are_private_and_nothing_is_overwritten() {
    let dir = TempDir::new().unwrap();
    initialised(dir.path()).unwrap();
    let certs = dir.path().join("certs");
    let mode = |name: &str| std::fs::metadata(certs.join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["authority.key", "frontend.key", "catalog.key", "replica-1.key", "operator.key"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let before = std::fs::read(certs.join("replica-1.key")).unwrap();
    let refused = format!("{:#}", initialised(dir.path()).unwrap_err());
    assert!(refused.contains("holds an authority already"), "{refused}");
    assert_eq!(std::fs::read(certs.join("replica-1.key")).unwrap(), before);
}

#[test]
fn what_is_made_can_be_loaded_and_tells_its_end() {
    let dir = TempDir::new().unwrap();
    initialised(dir.path()).unwrap();
    let certs = dir.path().join("certs");
    let shown = show::look(&certs, std::time::SystemTime::now()).unwrap();
    let days = |name: &str| shown.certificates.iter().find(|row| row.file == name).unwrap().days_left;
    assert_eq!((days("operator.pem"), days("authority.pem")), (89, 3_649), "the last day has begun");
    assert!(shown.has_authority_key);
    let file = |name: &str| certs.join(name).to_string_lossy().into_owned();
    let pair = |certificate, key| Some((file(certificate), file(key)));
    Connector::load(file("authority.pem"), pair("operator.pem", "operator.key")).unwrap();
    let mixed = Connector::load(file("authority.pem"), pair("operator.pem", "catalog.key")).unwrap_err();
    assert!(format!("{mixed:#}").contains("do not belong together"), "{mixed:#}");
}

#[tokio::test]
async fn who_keeps_the_authority_trusts_renewed_certificates_and_no_others() {
    let dir = TempDir::new().unwrap();
    initialised(dir.path()).unwrap();
    let file = |name: &str| dir.path().join("certs").join(name).to_string_lossy().into_owned();
    let pair = (file("operator.pem"), file("operator.key"));
    let connector = Connector::load(file("authority.pem"), Some(pair)).unwrap();
    let config = TlsConfig {
        authority: file("authority.pem"),
        certificate: file("{process}.pem"),
        key: file("{process}.key"),
        public_certificate: None,
        public_key: None,
    };
    renew(&ClusterConfig::parse(CONFIG).unwrap(), &arguments(dir.path())).unwrap();
    assert_eq!(greeting(&connector, &config).await.unwrap(), Some(Peer(Identity::Operator)));
    let other = TempDir::new().unwrap();
    initialised(other.path()).unwrap();
    let foreign = other.path().join("certs").join("authority.pem").to_string_lossy().into_owned();
    let stranger = Connector::load(foreign, None).unwrap();
    assert!(greeting(&stranger, &config).await.is_err());
}

#[test]
fn renewed_certificates_keep_the_hosts_of_the_old_ones_and_get_those_that_are_new() {
    let dir = TempDir::new().unwrap();
    let config = ClusterConfig::parse(CONFIG).unwrap();
    let with = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        IssueArgs { hosts, ..arguments(dir.path()) }
    };
    let certs = dir.path().join("certs");
    let names = |process: &str| {
        let names = names::of_file(&certs.join(format!("{process}.pem"))).unwrap();
        names.into_iter().collect::<Vec<_>>().join(" ")
    };
    init(&config, &with(&["more.example", "192.0.2.7", "2001:db8::7"])).unwrap();
    let before = "10.0.0.1 192.0.2.7 2001:db8::7 more.example peers.example replica-1.bazaar.internal";
    assert_eq!(names("replica-1"), before);
    renew(&config, &with(&[])).unwrap();
    assert_eq!(names("replica-1"), before);
    assert_eq!(names("operator"), "operator.bazaar.internal");
    renew(&config, &with(&["shop.example"])).unwrap();
    assert_eq!(names("replica-1"), format!("{before} shop.example"));
    std::fs::write(certs.join("catalog.pem"), "no certificate").unwrap();
    let damaged = renew(&config, &with(&[])).unwrap_err();
    assert!(format!("{damaged:#}").contains("catalog.pem holds no certificate"), "{damaged:#}");
}

/// Connects to a catalog with these files; returns whom it sees.
async fn greeting(connector: &Connector, config: &TlsConfig) -> Result<Option<Peer>> {
    let tls = Tls::load(Some(config), Identity::Catalog)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    let door = tls.internal(listener);
    let opening =
        async { door.lock().context("a lock")?.open(door.accept().await?).await.map_err(|_| anyhow!("shut")) };
    let (opened, connected) = tokio::join!(opening, connector.to_process(stream, Identity::Catalog));
    connected?;
    Ok(opened?.1)
}
