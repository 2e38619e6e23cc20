//! The list of metrics: what the documents say is what the processes show, and what alerts and dashboard look at is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use bazaar_service::meters::{DATA, Metric, MetricKind, PROCESS, SERVICE};
use bazaar_tests::{cluster::Cluster, cluster::Name};

type Table = &'static [&'static Metric];

/// The document's sections: whose metrics, and which.
fn sections() -> [(&'static str, &'static str, Vec<Table>); 5] {
    [
        ("Every process", "Shown by all five.", vec![SERVICE, PROCESS]),
        ("Processes with a data directory", "Shown by the catalog and the replicas.", vec![DATA]),
        ("Frontend", "Shown by `bazaar-frontend`, on its admin listener.", vec![bazaar_frontend::meters::METRICS]),
        ("Catalog", "Shown by `bazaar-catalog`, on its one listener.", vec![bazaar_catalog::meters::METRICS]),
        (
            "Order replica",
            "Shown by `bazaar-order-raft`, on its admin listener.",
            vec![bazaar_order_raft::meters::METRICS],
        ),
    ]
}

fn listed() -> BTreeMap<&'static str, &'static Metric> {
    sections().into_iter().flat_map(|(_, _, tables)| tables).flatten().map(|metric| (metric.name, *metric)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project").to_owned()
}

fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Every process shows these at `GET /metrics`, in the form of Prometheus. Counters and gauges without labels are there from the start, also with the value 0.\n\
         This file is made from the tables in the code (`UPDATE_DOCS=1 cargo test --release -p bazaar-tests --test metrics`), and a test compares it with running processes. [operations.md](operations.md) says what to watch first.\n",
    );
    for (title, whose, tables) in sections() {
        let _ = write!(
            text,
            "\n## {title}\n\n{whose}\n\n| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n"
        );
        for Metric { name, kind, labels, help, .. } in tables.iter().copied().flatten() {
            let unit = listed()[name].unit().unwrap_or("-");
            let labels = if labels.is_empty() { "-".to_owned() } else { format!("`{}`", labels.join("`, `")) };
            let _ = writeln!(text, "| `{name}` | {} | {labels} | {unit} | {help} |", kind.as_str());
        }
    }
    text
}

#[test]
fn the_document_lists_what_the_code_declares() -> Result<()> {
    let path = root().join("docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, document())?;
    }
    ensure!(
        fs::read_to_string(&path)? == document(),
        "docs/metrics.md is old; make it anew as its second paragraph says"
    );
    Ok(())
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let mut seen = BTreeSet::new();
    for metric in sections().iter().flat_map(|(_, _, tables)| tables.iter().copied().flatten()) {
        let name = metric.name;
        assert!(seen.insert(name), "{name} is declared twice");
        assert!(name.starts_with("bazaar_") || name.starts_with("process_"), "{name}: whose is it?");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(
            metric.kind == MetricKind::Counter,
            name.ends_with("_total"),
            "{name} is a {}",
            metric.kind.as_str()
        );
        for reserved in ["_count", "_sum", "_bucket", "_ms", "_millis", "_micros", "_kb", "_mb", "_percent"] {
            assert!(!name.ends_with(reserved), "{name} ends like another type or in a unit that is not a base unit");
        }
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '|']), "{name}: {}", metric.help);
    }
}

/// All files below a folder, hidden ones and build products left out.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "data" {
            continue;
        }
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

#[test]
fn nothing_is_measured_that_no_table_declares() -> Result<()> {
    let mut sources = Vec::new();
    files(&root(), &mut sources)?;
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    ensure!(sources.len() > 100, "the sources were not found");
    for path in sources {
        let text = fs::read_to_string(&path)?;
        for kind in ["counter", "gauge", "histogram"] {
            let is_used = text.contains(&format!("{kind}!("));
            ensure!(!is_used, "{} measures beside the tables: declare it with metric_table!", path.display());
        }
    }
    Ok(())
}

/// The metrics that a text of rules or panels names.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("bazaar_") || word.starts_with("process_")).collect()
}

fn require_listed(what: &str, names: &BTreeSet<&str>) -> Result<()> {
    let listed = listed();
    for name in names {
        let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
        let is_listed = listed.contains_key(name)
            || of_histogram
                .and_then(|stem| listed.get(stem))
                .is_some_and(|metric| metric.kind == MetricKind::Histogram);
        ensure!(is_listed, "{what} looks at {name}, which no process shows");
    }
    Ok(())
}

#[test]
fn alerts_look_only_at_what_is_there() -> Result<()> {
    let operations = fs::read_to_string(root().join("docs/operations.md"))?;
    let sections: BTreeSet<String> = operations
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
        .map(|title| title.to_lowercase().replace(' ', "-"))
        .collect();
    for file in ["docs/alerts.yml", "docs/alerts_test.yml"] {
        require_listed(file, &names_in(&fs::read_to_string(root().join(file))?))?;
    }
    let alerts = fs::read_to_string(root().join("docs/alerts.yml"))?;
    let count = |what: &str| alerts.lines().filter(|line| line.trim_start().starts_with(what)).count();
    ensure!(count("- alert:") >= 12, "there are {} alerts", count("- alert:"));
    for part in ["expr:", "summary:", "description:", "runbook_url:"] {
        ensure!(count(part) == count("- alert:"), "an alert lacks its {part}");
    }
    for line in alerts.lines().filter(|line| line.contains("runbook_url:")) {
        let (_, section) = line.split_once("docs/operations.md#").with_context(|| format!("no section in {line}"))?;
        ensure!(sections.contains(section), "docs/operations.md has no section {section}");
    }
    Ok(())
}

#[test]
fn the_dashboard_looks_only_at_what_is_there() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/grafana.json"))?;
    let dashboard: serde_json::Value = serde_json::from_str(&text)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let rows: Vec<_> = panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str()).collect();
    assert_eq!(
        rows,
        ["Overview", "Trades", "Raft", "Catalog and caches", "Storage", "Processes"].map(Some),
        "the rows of the dashboard"
    );
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    let mut ids = BTreeSet::new();
    for panel in panels {
        ensure!(ids.insert(panel["id"].as_u64().context("a panel has no id")?), "two panels have one id");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("a target has no expression")?;
            let names = names_in(expression);
            ensure!(!names.is_empty(), "{expression} looks at nothing");
            require_listed("docs/grafana.json", &names)?;
        }
    }
    Ok(())
}

/// Name, type and help of each metric that a process shows.
fn shown(text: &str) -> BTreeMap<&str, (&str, &str)> {
    let mut helps = BTreeMap::new();
    let mut shown = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name, help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            shown.insert(name, (kind, helps.get(name).copied().unwrap_or("")));
        }
    }
    shown
}

/// What a cluster without tokens and certificates does not show: its values come with the first refusal and the first
/// certificate.
const SHOWN_WITH_SECURITY: [&str; 2] = ["bazaar_auth_refusals_total", "bazaar_tls_certificate_not_after_seconds"];

/// Asks a process, and checks that it shows what its tables say, and nothing else.
async fn require_tables(cluster: &Cluster, name: Name, tables: &[Table]) -> Result<()> {
    let answer = cluster.client().get(cluster.metrics_url(name)).send().await?.error_for_status()?;
    let text = answer.text().await?;
    let mut shown = shown(&text);
    let expected = tables.iter().copied().flatten().filter(|metric| !SHOWN_WITH_SECURITY.contains(&metric.name));
    for metric in expected {
        let found = shown.remove(metric.name).with_context(|| format!("{name:?} does not show {}", metric.name))?;
        assert_eq!(found, (metric.kind.as_str(), metric.help), "{name:?}: {}", metric.name);
        for label in metric.labels {
            let has = text.lines().any(|line| line.starts_with(metric.name) && line.contains(&format!("{label}=\"")));
            ensure!(has, "{name:?} shows {} without {label}", metric.name);
        }
    }
    ensure!(shown.is_empty(), "{name:?} shows what is not documented: {:?}", shown.keys());
    Ok(())
}

#[tokio::test]
async fn running_processes_show_what_is_documented_and_nothing_else() -> Result<()> {
    let cluster = Cluster::start().await?;
    // A kind of error is there once there was one.
    let client = cluster.client();
    let missing = client.get(format!("{}/stocks/NotListed", cluster.url())).send().await?;
    assert_eq!(missing.status(), 404);
    require_tables(&cluster, Name::Frontend(1), &[SERVICE, PROCESS, bazaar_frontend::meters::METRICS]).await?;
    require_tables(&cluster, Name::Catalog, &[SERVICE, PROCESS, DATA, bazaar_catalog::meters::METRICS]).await?;
    for id in bazaar_tests::cluster::REPLICAS {
        let tables = [SERVICE, PROCESS, DATA, bazaar_order_raft::meters::METRICS];
        require_tables(&cluster, Name::Replica(id), &tables).await?;
    }
    Ok(())
}
