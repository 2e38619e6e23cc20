//! What no cache may do, and what trading survives: the catalog and frontends are killed, frozen and set back while
//! clients trade and look without a pause. No lookup ever falls behind, and in the end all keepers agree.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use bazaar_catalog::{
    ledger::{Change, Next},
    store::{RocksStore, Store},
};
use bazaar_tests::{
    Cluster, Name,
    cluster::{LISTED_QUANTITY, REPLICAS},
    traffic::{Door, Trades, Traffic},
    wait_until,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

const FIRST: Name = Name::Frontend(1);
const SECOND: Name = Name::Frontend(2);

/// Two frontends under traffic.
struct Story {
    cluster: Cluster,
    traffic: Traffic,
    first: Arc<Door>,
    second: Arc<Door>,
}

impl Story {
    /// Trades through the first frontend must succeed; `second` says it of the other one.
    async fn begin(second: Trades) -> Result<Self> {
        let cluster = Cluster::start_with_frontends(2, "").await?;
        let mut traffic = Traffic::new()?;
        let first = traffic.trade("first frontend", cluster.url_of(FIRST), Trades::Succeed);
        let second = traffic.trade("second frontend", cluster.url_of(SECOND), second);
        traffic.all_goes_on().await?;
        Ok(Self { cluster, traffic, first, second })
    }

    /// Starts the catalog again, and waits until it is of use.
    async fn restart_catalog(&mut self) -> Result<()> {
        self.traffic.unless_faulty(self.cluster.restart(Name::Catalog)).await?;
        self.traffic.all_goes_on().await
    }

    async fn end(mut self) -> Result<()> {
        self.traffic.end(&self.cluster).await
    }
}

async fn lookup(cluster: &Cluster, path: &str) -> Result<(StatusCode, Value, Option<String>)> {
    let answer = cluster.client().get(format!("{}{path}", cluster.url())).send().await?;
    let consistency = answer.headers().get("x-consistency").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok((answer.status(), answer.json().await?, consistency))
}

#[tokio::test]
async fn trading_outlives_the_catalog_and_lookups_say_that_it_is_gone() -> Result<()> {
    let mut story = Story::begin(Trades::Succeed).await?;
    story.cluster.kill(Name::Catalog);
    story.first.trades_go_on().await?;
    story.first.lookups_are_refused().await?;
    let (status, body, _) = lookup(&story.cluster, "/stocks/S1").await?;
    ensure!(status == 503 && body["error"]["kind"] == "catalog_unavailable", "{status} {body}");
    story.second.trades_go_on().await?;
    story.restart_catalog().await?;
    story.end().await
}

#[tokio::test]
async fn a_catalog_that_was_frozen_past_its_lease_shows_nothing_old() -> Result<()> {
    let story = Story::begin(Trades::Succeed).await?;
    for _ in 0..2 {
        story.cluster.signal(Name::Catalog, "STOP")?;
        // No lease lasts any more when trades are answered again.
        story.first.trades_go_on().await?;
        story.first.lookups_are_refused().await?;
        story.cluster.signal(Name::Catalog, "CONT")?;
        story.traffic.all_goes_on().await?;
    }
    story.end().await
}

#[tokio::test]
async fn a_frontend_that_was_frozen_past_its_lease_delays_trades_once_and_shows_nothing_old() -> Result<()> {
    // A request to the frozen one may get no answer before its client gives up.
    let story = Story::begin(Trades::MayGetLost).await?;
    for _ in 0..2 {
        story.cluster.signal(SECOND, "STOP")?;
        // The first one waits for the lease of the frozen one, and no later one does.
        story.first.trades_go_on().await?;
        story.first.trades_are_not_held_up().await?;
        story.first.lookups_go_on().await?;
        story.cluster.signal(SECOND, "CONT")?;
        story.traffic.all_goes_on().await?;
    }
    story.end().await
}

#[tokio::test]
async fn the_death_of_one_frontend_is_nothing_to_the_clients_of_another() -> Result<()> {
    let mut cluster = Cluster::start_with_frontends(3, "").await?;
    let mut traffic = Traffic::new()?;
    let first = traffic.trade("first frontend", cluster.url_of(FIRST), Trades::Succeed);
    let third = traffic.trade("third frontend", cluster.url_of(Name::Frontend(3)), Trades::Succeed);
    for _ in 0..2 {
        traffic.all_goes_on().await?;
        cluster.kill(SECOND);
        traffic.all_goes_on().await?;
        third.trades_are_not_held_up().await?;
        traffic.unless_faulty(cluster.restart(SECOND)).await?;
    }
    ensure!(first.refused() + third.refused() == 0, "lookups were refused");
    traffic.end(&cluster).await
}

#[tokio::test]
async fn a_catalog_set_back_to_an_older_copy_or_to_none_is_right_to_the_unit_again() -> Result<()> {
    let mut story = Story::begin(Trades::Succeed).await?;
    let copy = story.cluster.data(Name::Catalog);
    let older = copy.with_extension("older");
    story.cluster.kill(Name::Catalog);
    copy_folder(&copy, &older)?;
    story.restart_catalog().await?;
    story.cluster.kill(Name::Catalog);
    fs::remove_dir_all(&copy)?;
    fs::rename(&older, &copy)?;
    story.restart_catalog().await?;
    story.cluster.kill(Name::Catalog);
    fs::remove_dir_all(&copy)?;
    story.restart_catalog().await?;
    story.end().await
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?
        } else {
            fs::copy(entry.path(), to).map(drop)?
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_catalog_that_lost_a_hundred_thousand_stocks_gets_them_back() -> Result<()> {
    const LISTED: u64 = 100_000;
    let mut cluster = Cluster::prepare("")?;
    let stock = |number| format!("[[stock]]\nname = \"S{number}\"\nprice = 1.5\nquantity = {LISTED_QUANTITY}\n");
    fs::write(cluster.folder().join("stocks.toml"), (0..LISTED).map(stock).collect::<String>())?;
    for name in cluster.names() {
        cluster.launch(name, true)?;
    }
    cluster.wait_all_ready().await?;
    let (status, body) = cluster.trade("before", "S99999", "buy", 7).await?;
    ensure!(status == StatusCode::OK, "{status} {body}");
    cluster.kill(Name::Catalog);
    fs::remove_dir_all(cluster.data(Name::Catalog))?;
    let started = Instant::now();
    cluster.restart(Name::Catalog).await?;
    println!("ready again after {} ms, the silence of 1,100 ms included", started.elapsed().as_millis());
    ensure!(cluster.stock("S99999").await?["quantity"] == LISTED_QUANTITY - 7);
    cluster.check(None).await.map(drop)
}

#[tokio::test]
async fn without_a_quorum_only_those_who_accept_old_values_get_any() -> Result<()> {
    let mut cluster = Cluster::start_with_frontends(1, "").await?;
    let (status, _) = cluster.trade("before", "S1", "buy", 7).await?;
    ensure!(status == StatusCode::OK);
    let leader = cluster.leader().await?;
    for id in REPLICAS.into_iter().filter(|id| *id != leader) {
        cluster.kill(Name::Replica(id));
    }
    wait_until("lookups are refused", || async {
        let (status, body, _) = lookup(&cluster, "/stocks/S1").await.ok()?;
        (status == 503 && body["error"]["kind"] == "no_leader").then_some(())
    })
    .await?;
    let quantity = LISTED_QUANTITY - 7;
    let (status, body, consistency) = lookup(&cluster, "/stocks/S1?consistency=stale").await?;
    ensure!(status == StatusCode::OK && body["data"]["quantity"] == quantity, "{status} {body}");
    ensure!(consistency.as_deref() == Some("stale"), "{consistency:?}");
    let (status, _, consistency) = lookup(&cluster, "/stocks?consistency=stale").await?;
    ensure!(status == StatusCode::OK && consistency.as_deref() == Some("stale"));

    cluster.kill(FIRST);
    let (binary_arguments, log) = (cluster.arguments(FIRST, false).1, cluster.folder().join("stale-ok.log"));
    let lenient = bazaar_tests::process::Process::start_under(
        &["env", "BAZAAR_FRONTEND_READ_CONSISTENCY=stale-ok"],
        "bazaar-frontend",
        binary_arguments,
        &log,
    )?;
    let (body, consistency) = wait_until("a lenient frontend answers", || async {
        let (status, body, consistency) = lookup(&cluster, "/stocks/S1").await.ok()?;
        (status == StatusCode::OK).then_some((body, consistency))
    })
    .await?;
    ensure!(body["data"]["quantity"] == quantity && consistency.as_deref() == Some("stale"), "{body} {consistency:?}");
    drop(lenient);
    Ok(())
}

#[tokio::test]
async fn a_catalog_whose_copy_is_wrong_is_found_out_at_the_next_trade_and_healed() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    cluster.stop(Name::Catalog).await?;
    lose_five_of_s1(&cluster.data(Name::Catalog).join("copy"))?;
    cluster.restart(Name::Catalog).await?;
    ensure!(cluster.stock("S1").await?["quantity"] == LISTED_QUANTITY - 5, "the catalog knows no better");

    let (status, body) = cluster.trade("finds-it", "S1", "buy", 1).await?;
    ensure!(status == StatusCode::OK, "{status} {body}");
    wait_until("the catalog is healed", || async {
        (cluster.stock("S1").await.ok()?["quantity"] == LISTED_QUANTITY - 1).then_some(())
    })
    .await?;
    let leader = Name::Replica(cluster.leader().await?);
    let metrics = cluster.client().get(cluster.metrics_url(leader)).send().await?.text().await?;
    ensure!(metrics.contains("bazaar_order_divergences_total 1"), "{metrics}");
    cluster.check(None).await.map(drop)
}

/// Changes a catalog's copy as no trade did.
fn lose_five_of_s1(copy: &Path) -> Result<()> {
    let (store, kept) = RocksStore::open(copy)?;
    let mut stock = *kept.stocks.values().find(|stock| stock.name.as_str() == "S1").context("S1")?;
    stock.quantity -= 5;
    let cluster_id = kept.cluster_id.context("a copy of a cluster")?;
    store.write(&Change { cluster_id, through: kept.applied, next: Next::Changed(vec![stock]) })?;
    Ok(())
}

#[tokio::test]
async fn listing_changes_reach_every_cache_before_they_are_answered() -> Result<()> {
    let cluster = Cluster::start_with_frontends(3, "").await?;
    let admin = format!("{}/admin/stocks", cluster.url_of(Name::Catalog));
    let change = async |body: Value| -> Result<Value> {
        let answer = cluster.client().post(&admin).json(&body).send().await?;
        let (status, body) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status == StatusCode::OK, "{status} {body}");
        Ok(body["data"].clone())
    };
    let everywhere = async || -> Result<Vec<Value>> {
        let mut shown = Vec::new();
        for frontend in 1..=3 {
            let (_, body) = cluster.get(&format!("{}/stocks/S1", cluster.url_of(Name::Frontend(frontend)))).await?;
            shown.push(body["data"].clone());
        }
        Ok(shown)
    };
    for step in 1..=20_u64 {
        // In every cache before, so that the change has something to drop.
        everywhere().await?;
        let (body, quantity) = match step % 2 {
            0 => (
                json!({ "name": "S1", "action": "restock", "quantity": 5, "key": format!("restock-{step}") }),
                step / 2,
            ),
            _ => (
                json!({ "name": "S1", "action": "reprice", "price": step, "key": format!("reprice-{step}") }),
                step / 2,
            ),
        };
        let receipt = change(body.clone()).await?;
        ensure!(receipt["stock_version"] == step + 1, "{receipt}");
        for stock in everywhere().await? {
            ensure!(stock["version"] == step + 1 && stock["quantity"] == LISTED_QUANTITY + 5 * quantity, "{stock}");
        }
        ensure!(change(body).await? == receipt, "the same key gets the same answer");
    }
    cluster.check(None).await.map(drop)
}
