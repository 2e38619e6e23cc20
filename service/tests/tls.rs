//! Doors with locks: who comes in, whom our processes take for what, and files that are replaced.

use std::{fs, time::Duration};

use axum::{Router, routing::get};
use bazaar_domain::{TradeFate, config::TlsConfig};
use bazaar_service::{
    CallError, HttpLimits, Tls, serve,
    tls::{Connector, Identity},
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

/// An authority, and a folder of what it signed.
struct Folder {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Folder {
    fn new() -> Self {
        let (dir, key) = (TempDir::new().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.path().join("authority.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// Makes the certificate and key of this name, for these names; returns the files.
    fn sign(&self, file: &str, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let pair = (self.file(&format!("{file}.pem")), self.file(&format!("{file}.key")));
        fs::write(&pair.0, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&pair.1, key.serialize_pem()).unwrap();
        pair
    }

    fn sign_catalog(&self) {
        self.sign("catalog", &["catalog.bazaar.internal", "127.0.0.1"]);
    }

    fn config(&self) -> TlsConfig {
        TlsConfig {
            authority: self.file("authority.pem"),
            certificate: self.file("{process}.pem"),
            key: self.file("{process}.key"),
            public_certificate: None,
            public_key: None,
        }
    }

    fn connector(&self, pair: Option<(String, String)>) -> Connector {
        Connector::load(self.file("authority.pem"), pair).unwrap()
    }
}

/// A catalog's internal listener with a path for replicas only.
struct Served {
    tls: Tls,
    address: String,
    _stop: tokio_util::sync::DropGuard,
}

async fn served(folder: &Folder) -> Served {
    let tls = Tls::load(Some(&folder.config()), Identity::Catalog).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let replicas_only = Router::new().route("/publish", get(|| async { "published" }).post(|| async { "published" }));
    let routes = Router::new()
        .route("/look", get(|| async { "seen" }))
        .merge(tls.only(|who| matches!(who, Identity::Replica(_)), replicas_only));
    let stop = CancellationToken::new();
    tokio::spawn(serve(tls.internal(listener), routes, HttpLimits::default(), stop.clone()));
    Served { tls, address, _stop: stop.drop_guard() }
}

async fn asked(connector: &Connector, served: &Served, path: &str) -> Result<(u16, String), reqwest::Error> {
    let caller = connector.caller();
    let answer = caller.http().get(caller.url(&served.address, path)).timeout(PATIENCE).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

#[tokio::test]
async fn a_certificate_opens_what_it_is_for_and_nothing_else() {
    let folder = Folder::new();
    folder.sign_catalog();
    let served = served(&folder).await;
    let of = |name: &str| folder.connector(Some(folder.sign("peer", &[name])));
    let replica = of("replica-2.bazaar.internal");
    assert_eq!(asked(&replica, &served, "/publish").await.unwrap(), (200, "published".into()));
    let frontend = of("frontend.bazaar.internal");
    assert_eq!(asked(&frontend, &served, "/look").await.unwrap(), (200, "seen".into()));
    let (status, body) = asked(&frontend, &served, "/publish").await.unwrap();
    assert!(status == 403 && body.contains("\"kind\":\"forbidden\""), "{status} {body}");
    // Whoever sends a change again until it is done must learn that it was not begun.
    let caller = frontend.caller();
    let refused = caller.post::<_, ()>(&caller.url(&served.address, "/publish"), &(), PATIENCE, None).await;
    assert!(matches!(refused, Err(CallError::Answered(error)) if error.outcome == Some(TradeFate::NotApplied)));
    for stranger in ["shop.example", "replica-01.bazaar.internal", "replica-1.bazaar.internal.shop.example"] {
        assert!(asked(&of(stranger), &served, "/look").await.is_err(), "{stranger}");
    }
}

#[tokio::test]
async fn without_a_certificate_of_the_authority_nobody_comes_in() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.sign_catalog();
    let served = served(&folder).await;
    assert!(asked(&folder.connector(None), &served, "/look").await.is_err());
    let forged = other.sign("replica-1", &["replica-1.bazaar.internal"]);
    assert!(asked(&folder.connector(Some(forged.clone())), &served, "/look").await.is_err());
    // Nor does anybody who is careful talk to a process of another authority.
    let error = asked(&other.connector(Some(forged)), &served, "/look").await.unwrap_err();
    assert!(matches!(CallError::from(error), CallError::Untrusted(_)));
}

#[tokio::test]
async fn a_process_is_not_taken_for_another() {
    let folder = Folder::new();
    folder.sign_catalog();
    let served = served(&folder).await;
    let connector = folder.connector(Some(folder.sign("replica-1", &["replica-1.bazaar.internal"])));
    let connect = async || TcpStream::connect(&served.address).await.unwrap();
    assert!(connector.to_process(connect().await, Identity::Catalog).await.is_ok());
    assert!(connector.to_process(connect().await, Identity::Replica(2)).await.is_err());
    assert!(connector.to_host(connect().await, "127.0.0.2").await.is_err());
}

#[tokio::test]
async fn plain_http_at_a_locked_door_is_told_so_and_closed() {
    let folder = Folder::new();
    folder.sign_catalog();
    let served = served(&folder).await;
    let mut stream = TcpStream::connect(&served.address).await.unwrap();
    stream.write_all(b"GET /look HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it closes").unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("use https"), "{answer}");
}

#[tokio::test]
async fn who_begins_no_handshake_or_half_of_one_is_cut_off() {
    let folder = Folder::new();
    folder.sign_catalog();
    let served = served(&folder).await;
    let closed = async |start: &[u8]| {
        let mut stream = TcpStream::connect(&served.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        assert!(answer.is_empty(), "{answer:?}");
    };
    tokio::join!(closed(b""), closed(&HANDSHAKE_START[..1]), closed(HANDSHAKE_START));
}

/// The head of a record of 512 bytes that never come.
const HANDSHAKE_START: &[u8] = &[0x16, 3, 1, 2, 0];

#[tokio::test]
async fn a_public_door_asks_for_no_certificate_and_may_show_another() {
    let folder = Folder::new();
    folder.sign("frontend", &["frontend.bazaar.internal"]);
    let (certificate, key) = folder.sign("public", &["shop.example"]);
    let config = TlsConfig { public_certificate: Some(certificate), public_key: Some(key), ..folder.config() };
    let tls = Tls::load(Some(&config), Identity::Frontend).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let door = tls.public(listener);
    let opening = async { door.lock().unwrap().open(door.accept().await.unwrap()).await };
    let connector = folder.connector(None);
    let (opened, connected) = tokio::join!(opening, connector.to_host(stream, "shop.example"));
    assert_eq!(opened.unwrap().1, None);
    connected.unwrap();
}

#[tokio::test]
async fn what_is_for_some_processes_only_is_shut_where_nobody_is_asked_who_he_is() {
    let folder = Folder::new();
    folder.sign_catalog();
    let tls = Tls::load(Some(&folder.config()), Identity::Catalog).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = tls.only(|_| true, Router::new().route("/publish", get(|| async { "published" })));
    let stop = CancellationToken::new();
    tokio::spawn(serve(tls.public(listener), routes, HttpLimits::default(), stop.clone()));
    let _stop = stop.drop_guard();
    let caller = folder.connector(Some(folder.sign("replica-1", &["replica-1.bazaar.internal"]))).caller();
    let answer = caller.http().get(caller.url(address, "/publish")).timeout(PATIENCE).send().await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn files_are_replaced_under_open_connections_and_broken_ones_are_not_taken() {
    let folder = Folder::new();
    folder.sign_catalog();
    let served = served(&folder).await;
    let connector = folder.connector(Some(folder.sign("operator", &["operator.bazaar.internal"])));
    let caller = connector.caller();
    let look = async || caller.http().get(caller.url(&served.address, "/look")).send().await.unwrap().status();
    assert_eq!(look().await, 200);
    // Certificate and key are written one after the other: between the two they do not fit.
    fs::write(folder.file("catalog.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    served.tls.reload();
    assert!(asked(&connector, &served, "/look").await.is_ok(), "the old pair is in use");
    folder.sign("catalog", &["catalog.bazaar.internal", "127.0.0.2"]);
    served.tls.reload();
    assert_eq!(look().await, 200, "an open connection stays");
    assert!(asked(&connector, &served, "/look").await.is_err(), "a new one sees the new certificate");
    // A pair that is whole, but another process's.
    let (certificate, key) = folder.sign("frontend", &["frontend.bazaar.internal", "127.0.0.1"]);
    fs::copy(certificate, folder.file("catalog.pem")).unwrap();
    fs::copy(key, folder.file("catalog.key")).unwrap();
    served.tls.reload();
    assert!(asked(&connector, &served, "/look").await.is_err(), "the pair from before stays");
    folder.sign_catalog();
    served.tls.reload();
    assert!(asked(&connector, &served, "/look").await.is_ok(), "what is good again is taken");
    // With the authority goes whoever it signed.
    let other = Folder::new();
    fs::copy(other.file("authority.pem"), folder.file("authority.pem")).unwrap();
    served.tls.reload();
    assert!(asked(&connector, &served, "/look").await.is_err());
}

#[tokio::test]
async fn a_start_with_wrong_files_names_them() {
    let folder = Folder::new();
    let refused = |process| format!("{:#}", Tls::load(Some(&folder.config()), process).unwrap_err());
    assert!(refused(Identity::Catalog).contains("catalog.pem cannot be read"));
    folder.sign("catalog", &["frontend.bazaar.internal"]);
    assert!(refused(Identity::Catalog).contains("does not name this process (catalog.bazaar.internal)"));
    folder.sign("replica-1", &["replica-1.bazaar.internal", "replica-2.bazaar.internal"]);
    assert!(refused(Identity::Replica(1)).contains("does not name this process"), "one process, one name");
    fs::write(folder.file("authority.pem"), "").unwrap();
    folder.sign_catalog();
    assert!(refused(Identity::Catalog).contains("authority.pem holds no certificate"));
}
