//! The page `/ui` in a real browser: it shows what the cluster goes through, and survives it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster, Name,
    browser::Browser,
    cluster::REPLICAS,
    traffic::{Trades, Traffic},
};

/// Where pictures of the page go, if somebody wants them.
const SCREENSHOTS: &str = "BAZAAR_SCREENSHOTS";
const WIDE: u64 = 1_280;
const NARROW: u64 = 400;
const PARTS: [&str; 7] = [
    "#banner .sentence",
    "#topology svg .node.replica",
    "#log .lane a.cell",
    "#replicas tbody tr",
    "#failovers .failover",
    "#traffic svg.chart",
    "#consistency tbody tr",
];

/// A cluster and a browser that looks at it.
struct Story {
    // Before the cluster, whose folder holds its files.
    browser: Browser,
    cluster: Cluster,
}

impl Story {
    /// `None`, with the reason printed, where there is no browser.
    async fn begin() -> Result<Option<Self>> {
        let cluster = Cluster::start().await?;
        let Some(browser) = Browser::open(cluster.folder()).await? else { return Ok(None) };
        browser.appear(WIDE, "light").await?;
        browser.go(&format!("{}/ui", cluster.url())).await?;
        Ok(Some(Self { cluster, browser }))
    }

    async fn until_healthy(&self) -> Result<()> {
        self.browser.until("the banner is green", "!!document.querySelector('#banner.healthy')").await?;
        let agree = "document.querySelector('#consistency').innerText.includes('3 of 3 replicas show the same digest')";
        self.browser.until("all digests are equal", agree).await
    }

    async fn picture(&self, name: &str, width: u64, scheme: &str) -> Result<()> {
        self.browser.appear(width, scheme).await?;
        let Some(folder) = env::var_os(SCREENSHOTS).map(PathBuf::from) else { return Ok(()) };
        fs::create_dir_all(&folder)?;
        self.browser.screenshot(width, &folder.join(Path::new(name).with_extension("png"))).await
    }

    /// Nothing reaches out of the window sideways.
    async fn fits(&self) -> Result<()> {
        let widths = self.browser.eval("[document.documentElement.scrollWidth, window.innerWidth]").await?;
        ensure!(widths[0].as_u64() <= widths[1].as_u64(), "the page is wider than its window: {widths}");
        Ok(())
    }

    async fn all_is_well(&self) -> Result<()> {
        let complaints = self.browser.complaints().await?;
        ensure!(complaints.is_empty(), "the browser complains: {complaints:?}");
        Ok(())
    }

    /// Everything about the loss of a replica that led.
    async fn shows_the_loss_of(&self, lost: u64) -> Result<()> {
        let page = &self.browser;
        page.until("the banner says what is lost", "!!document.querySelector('#banner.degraded')").await?;
        let named = format!("document.querySelector('.sentence').innerText.includes('{lost}: refused')");
        page.until("the banner names the replica", &named).await?;
        let gone = format!("document.querySelector('#node-replica-{lost}').classList.contains('gone')");
        page.until("the topology shows it", &gone).await?;
        let old = format!("document.querySelector('.lane[data-replica=\"{lost}\"]').classList.contains('old')");
        page.until("its lane is marked as old", &old).await?;
        let row = format!(
            "document.querySelector('#replicas tr[data-replica=\"{lost}\"]').innerText.includes('unreachable')"
        );
        page.until("the table says so", &row).await?;
        let first = "document.querySelector('#failovers .failover').innerText";
        for part in ["write gap", "suspected", "was elected", "first commit", "first acknowledgement by the new leader"]
        {
            page.until(part, &format!("{first}.includes('{part}')")).await?;
        }
        let cause = format!("{first}.includes('replica {lost} is lost, its process is gone')");
        page.until("the timeline tells the cause", &cause).await
    }
}

#[tokio::test]
async fn the_page_shows_a_failover_and_survives_a_restart_of_the_frontend() -> Result<()> {
    let Some(mut story) = Story::begin().await? else { return Ok(()) };
    for part in PARTS {
        story.browser.until(part, &format!("!!document.querySelector('{part}')")).await?;
    }
    story.until_healthy().await?;
    // The page that is looked at all the time must never have been loaded again.
    story.browser.eval("window.isTheSame = true").await?;

    let mut traffic = Traffic::new()?;
    traffic.trade("frontend", story.cluster.url(), Trades::Succeed);
    traffic.trades_go_on().await?;
    // Not all 90: a follower may be an entry behind at any moment.
    let full = "document.querySelectorAll('#log .lane a.cell').length >= 75";
    story.browser.until("the lanes are full", full).await?;
    let lost = story.cluster.leader().await?;
    story.cluster.kill(Name::Replica(lost));
    traffic.trades_go_on().await?;
    story.shows_the_loss_of(lost).await?;
    story.picture("ui-failover", WIDE, "light").await?;

    story.cluster.restart(Name::Replica(lost)).await?;
    traffic.end(&story.cluster).await?;
    story.until_healthy().await?;
    let none = "document.querySelector('#failovers .failover').innerText.includes('Orders lost: 0')";
    story.browser.until("no order was lost", none).await?;
    for (name, width, scheme) in
        [("ui-dark", WIDE, "dark"), ("ui-narrow", NARROW, "light"), ("ui-light", WIDE, "light")]
    {
        story.picture(name, width, scheme).await?;
        story.fits().await?;
    }
    story.all_is_well().await?;

    story.cluster.kill(Name::Frontend(1));
    story.browser.until("the page says that it is cut off", "document.body.classList.contains('old')").await?;
    let said = "document.querySelector('#disconnected').innerText.startsWith('Unknown')";
    story.browser.until("in words, too", said).await?;
    story.cluster.restart(Name::Frontend(1)).await?;
    let back = "!document.body.classList.contains('old') && document.querySelector('#disconnected').hidden";
    story.browser.until("the page goes on by itself", back).await?;
    let told = format!("document.querySelector('#failovers').innerText.includes('replica {lost} is lost')");
    story.browser.until("the failover is still told", &told).await?;
    story.until_healthy().await?;
    ensure!(story.browser.eval("window.isTheSame").await? == true, "the page was loaded again");
    story.all_is_well().await
}

#[tokio::test]
async fn a_log_entry_is_decoded_by_key_and_by_click() -> Result<()> {
    let Some(story) = Story::begin().await? else { return Ok(()) };
    let (status, body) = story.cluster.trade("seen-on-the-page", "S1", "buy", 3).await?;
    ensure!(status == 200, "{status} {body}");
    let page = &story.browser;
    let arrived = "document.querySelectorAll('#log .lane a.cell.trades.applied').length === 3";
    page.until("the trade is in all three lanes", arrived).await?;
    let lane = format!(".lane[data-replica=\"{}\"]", REPLICAS[0]);
    page.keys(&format!("{lane} a.cell.trades"), "\u{e007}").await?;
    page.until("Enter decodes it", "document.querySelector('#entry').innerText.includes('seen-on-the-page')").await?;
    page.keys(&format!("{lane} a.cell.trades"), "\u{e012}").await?;
    let before =
        "document.activeElement.classList.contains('cell') && !document.activeElement.classList.contains('trades')";
    page.until("the arrow key moves along the lane", before).await?;
    page.click(".lane[data-replica=\"2\"] a.cell.membership").await?;
    page.until("a click decodes another", "document.querySelector('#entry').innerText.includes('membership')").await?;
    let path = page.eval("location.pathname").await?;
    ensure!(path == "/ui", "the page was left for {path}");
    story.all_is_well().await
}

#[tokio::test]
async fn a_visitor_trades_from_the_page() -> Result<()> {
    let Some(story) = Story::begin().await? else { return Ok(()) };
    let page = &story.browser;
    page.until("the form is there", "!document.querySelector('#trade').hidden").await?;
    page.click("[data-trade=buy]").await?;
    page.until("the answer", "document.querySelector('#trade-answer').innerText.startsWith('Order 1: buy 1')").await?;
    let stock = page.eval("document.querySelector('#stock').value").await?;
    let stock = story.cluster.stock(stock.as_str().context("a name")?).await?;
    ensure!(stock["trade_volume"] == 1, "{stock}");
    // Nothing may be killed from a page of a cluster that is no playground.
    ensure!(page.eval("document.querySelector('#playground')").await?.is_null(), "there is a playground");
    story.all_is_well().await
}
