//! A cluster in which everything goes over TLS, and who does not come in.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bazaar_service::{auth::tokens::hash, tls::Connector};
use bazaar_tests::{Cluster, Name, cluster::finished, process::binary, wait_until};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a connection that is not let in may stay open.
const CLOSED_MAX: Duration = Duration::from_secs(20);

fn address(url: &str) -> String {
    url.trim_start_matches("https://").to_owned()
}

/// The internal, peer and admin listeners.
fn inner_addresses(cluster: &Cluster) -> Result<Vec<String>> {
    let service = address(&cluster.url_of(Name::Replica(1)));
    let (host, port) = service.rsplit_once(':').context("a port")?;
    let peers = format!("{host}:{}", port.parse::<u16>()? + 1);
    let admin = address(&cluster.admin_url(1));
    let catalog = address(&cluster.url_of(Name::Catalog));
    let public = address(&cluster.url());
    let (host, port) = public.rsplit_once(':').context("a port")?;
    let internal = format!("{host}:{}", port.parse::<u16>()? + 1);
    Ok(vec![service, peers, admin, catalog, internal])
}

#[tokio::test]
async fn a_secured_cluster_trades_and_survives_its_leader_and_new_certificates() -> Result<()> {
    let mut cluster = Cluster::start_secured(2, "").await?;
    let records = cluster.folder().join("acknowledged");
    let path = records.to_str().context("a path")?;
    let workload = ["workload", "--requests", "3000", "--clients", "4", "--prob", "0.5", "--records", path];
    let trading = cluster.bazaar("workload", &workload)?;
    wait_until("some trades are acknowledged", || async {
        std::fs::read_to_string(&records).ok().filter(|text| text.lines().count() > 50)
    })
    .await?;
    let killed = cluster.leader().await?;
    cluster.kill(Name::Replica(killed));
    finished(trading).await?;
    // The authority stays, everything that it signed is replaced under the running processes.
    cluster.make_certificates("renew")?;
    for name in cluster.names().filter(|name| *name != Name::Replica(killed)) {
        cluster.signal(name, "HUP")?;
    }
    cluster.restart(Name::Replica(killed)).await?;
    let (status, body) = cluster.trade("after", "S1", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    cluster.check(Some(&records)).await?;
    cluster.bazaar_succeeds("status", &["status"]).await?;
    let backup = cluster.folder().join("orders.backup");
    cluster.bazaar_succeeds("backup", &["backup", backup.to_str().context("a path")?]).await?;
    Ok(())
}

#[tokio::test]
async fn nobody_comes_in_without_the_right_certificate() -> Result<()> {
    let cluster = Cluster::start_secured(1, "").await?;
    let authority = cluster.certificate("authority.pem");
    // Of the client's side TLS 1.3 is done before the server has refused: the refusal comes with the first read.
    let anonymous = Connector::load(authority.clone(), None)?;
    for address in inner_addresses(&cluster)? {
        let stream = TcpStream::connect(&address).await?;
        let Ok(mut stream) = anonymous.to_host(stream, "127.0.0.1").await else { continue };
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = Vec::new();
        let read = timeout(CLOSED_MAX, stream.read_to_end(&mut answer)).await.context("it stays open")?;
        ensure!(read.is_err() && answer.is_empty(), "{address}: {}", String::from_utf8_lossy(&answer));
    }
    // A frontend may look, but neither change members nor speak for a replica.
    let frontend = (cluster.certificate("frontend.pem"), cluster.certificate("frontend.key"));
    let frontend = Connector::load(authority, Some(frontend))?.client_builder().build()?;
    let transfer = frontend.post(format!("{}/admin/transfer", cluster.admin_url(1))).body("{\"to\":2}").send().await?;
    ensure!(transfer.status() == 403, "{}", transfer.status());
    let look = frontend.get(format!("{}/admin/raft", cluster.admin_url(1))).send().await?;
    ensure!(look.status() == 200, "{}", look.status());
    let publish = frontend.post(format!("{}/orders", cluster.url_of(Name::Catalog))).send().await?;
    ensure!(publish.status() == 403, "{}", publish.status());
    // Clients need no certificate, but trust nobody without the authority.
    let without = bazaar_service::tls::http_client().build()?;
    ensure!(
        without.get(format!("{}/stocks/S1", cluster.url())).send().await.is_err(),
        "an unknown authority is trusted"
    );
    let url = cluster.url();
    // Where there is no configuration that names the authority.
    let mut query = Command::new(binary("bazaar"));
    let output = query.args(["query", "S1", "--url", &url]).current_dir(cluster.data(Name::Catalog)).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("UnknownIssuer") && said.contains("--ca"), "{said}");
    Ok(())
}

/// A file of tokens that are called as they read.
fn tokens_file(folder: &TempDir) -> Result<String> {
    let entry = |(name, scope): (&str, &str)| {
        format!("[[token]]\nname = \"{name}\"\nhash = \"{}\"\nscopes = [\"{scope}\"]\n", hash(name))
    };
    let file = folder.path().join("tokens.toml");
    std::fs::write(&file, [("till", "trade"), ("shop", "trade"), ("boss", "admin")].map(entry).concat())?;
    Ok(format!("[auth]\ntokens = \"{}\"\n", file.display()))
}

#[tokio::test]
async fn tokens_are_asked_for_besides_certificates() -> Result<()> {
    let folder = TempDir::new()?;
    let cluster = Cluster::start_secured(1, &tokens_file(&folder)?).await?;
    ensure!(cluster.trade("k", "S1", "buy", 1).await?.0 == 401, "a trade without a token");
    let leader = cluster.leader().await?;
    let successor = leader % 3 + 1;
    let transfer = async |token: &str| {
        let request = cluster.client().post(format!("{}/admin/transfer", cluster.admin_url(leader)));
        request.bearer_auth(token).json(&serde_json::json!({ "to": successor })).send().await
    };
    let list = async |token: &str| {
        let body = serde_json::json!({ "action": "list", "name": "New", "price": 1.5, "quantity": 1_000_000 });
        let request = cluster.client().post(format!("{}/admin/stocks", cluster.url_of(Name::Catalog)));
        request.bearer_auth(token).json(&body).send().await
    };
    for (token, status) in [("nobody", 401), ("till", 403), ("boss", 200)] {
        let (listed, handed) = (list(token).await?.status(), transfer(token).await?.status());
        ensure!(listed == status && handed == status, "{token}: {listed} {handed}");
    }
    let records = cluster.folder().join("acknowledged");
    let path = records.to_str().context("a path")?;
    let workload =
        ["workload", "--requests", "500", "--clients", "2", "--prob", "0.5", "--records", path, "--token", "till"];
    cluster.bazaar_succeeds("workload", &workload).await?;
    // Only the sender's own token sees the keys that it is compared with.
    cluster.bazaar_succeeds("check", &["check", "--records", path, "--token", "till"]).await?;
    cluster.bazaar_succeeds("check", &["check", "--token", "shop"]).await?;
    let bench = ["bench", "--duration-s", "1", "--warm-up-s", "0", "--connections", "4", "--token", "shop"];
    cluster.bazaar_succeeds("bench", &bench).await?;
    Ok(())
}

#[tokio::test]
async fn plain_text_is_turned_away_from_every_listener() -> Result<()> {
    let cluster = Cluster::start_secured(1, "").await?;
    let public = address(&cluster.url());
    for address in inner_addresses(&cluster)?.into_iter().chain([public]) {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = String::new();
        let read = timeout(CLOSED_MAX, stream.read_to_string(&mut answer)).await.context("it stays open")?;
        let told = answer.starts_with("HTTP/1.1 400 ") && answer.contains("use https");
        // The peers' listener speaks no HTTP, and just closes.
        ensure!(
            told || (answer.is_empty() && address == inner_addresses(&cluster)?[1]),
            "{address}: {read:?} {answer}"
        );
    }
    Ok(())
}
