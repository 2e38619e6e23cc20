//! The catalog's description of itself.

#[path = "support/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use bazaar_service::Caller;
use bazaar_tests::described::{Document, send};
use support::Cluster;

#[tokio::test]
async fn what_is_described_is_there_and_no_other_method_is() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;
    let document = Document::new(catalog.get("/openapi.json").await.json().await.unwrap());
    let described: Vec<(&str, &str)> = document.operations().map(|(method, path, _)| (method, path)).collect();
    assert!(described.len() > 10, "{described:?}");
    for (_, path) in &described {
        for method in ["get", "post", "put", "delete"] {
            let url = format!("{}{}", catalog.url, path.replace("{name}", "GameStart"));
            let request = Caller::new().http().request(method.to_uppercase().parse().unwrap(), url);
            // What is sent is no good, but it is refused for that, and not for the method.
            let status = send(request).await.unwrap().status();
            assert_eq!(status == 405, !described.contains(&(method, path)), "{method} {path}: {status}");
        }
    }
    catalog.stop().await;
}
