//! The description and its page.

use bazaar_tests::described::{Document, schema};
use serde_json::Value;

use crate::fakes::{Bazaar, bazaar, got};

async fn document(bazaar: &Bazaar) -> Document {
    let answer = bazaar.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    Document::new(answer.json())
}

/// A path in which every parameter has some value.
pub(crate) fn filled(template: &str) -> String {
    template.replace("{name}", "GameStart").replace("{number}", "1").replace("{key}", "a%2Fb")
}

#[tokio::test]
async fn what_is_described_is_there_and_no_other_method_is() {
    let bazaar = bazaar().await;
    let document = document(&bazaar).await;
    let described: Vec<(&str, &str)> = document.operations().map(|(method, path, _)| (method, path)).collect();
    assert!(described.len() > 10, "{described:?}");
    for (_, path) in &described {
        for method in ["get", "post", "put", "patch", "delete"] {
            if *path == "/orders/stream" && method == "get" {
                // It would not end; its own tests open it.
                continue;
            }
            let url = format!("http://{}{}", bazaar.public, filled(path));
            let answer = got(bazaar.client.request(method.to_uppercase().parse().unwrap(), url)).await;
            let refused = answer.status != 304 && answer.text.starts_with('{') && {
                let kind = answer.kind();
                kind == "not_found" || kind == "method_not_allowed"
            };
            assert_eq!(refused, !described.contains(&(method, path)), "{method} {path}: {}", answer.text);
            assert_eq!(answer.header("allow").is_empty(), !refused, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_example_is_as_its_schema_says() {
    let bazaar = bazaar().await;
    let document = document(&bazaar).await;
    let mut examples = 0;
    for (method, path, operation) in document.operations() {
        let bodies = operation["responses"].as_object().into_iter().flatten().map(|(_, response)| response);
        for body in bodies.chain([&operation["requestBody"]]) {
            for (media_type, content) in body["content"].as_object().into_iter().flatten() {
                for (name, example) in content["examples"].as_object().into_iter().flatten() {
                    let fits = schema::check(document.value(), &content["schema"], &example["value"]);
                    fits.unwrap_or_else(|error| panic!("{method} {path} {media_type} {name}: {error:#}"));
                    examples += 1;
                }
            }
        }
    }
    assert!(examples > 100, "{examples}");
}

#[tokio::test]
async fn operations_have_names_of_their_own_and_describe_the_parameters_of_their_paths() {
    let bazaar = bazaar().await;
    let document = document(&bazaar).await;
    assert_eq!(document.value()["openapi"], "3.1.0");
    let mut names = std::collections::BTreeSet::new();
    for (_, path, operation) in document.operations() {
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_path = parameters.filter(|parameter| parameter["in"] == "path");
        let described: Vec<String> =
            in_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
        let wanted: Vec<&str> = path.split('/').filter(|part| part.starts_with('{')).collect();
        assert_eq!(described, wanted, "{path}");
    }
}

#[tokio::test]
async fn the_page_comes_from_this_frontend_alone() {
    let bazaar = bazaar().await;
    let page = bazaar.get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{}", page.text);
    for link in page.text.split(['"', '\'']).filter_map(|word| word.strip_suffix(".js").or(word.strip_suffix(".css"))) {
        for ending in [".js", ".css"] {
            if page.text.contains(&format!("{link}{ending}\"")) {
                let file = bazaar.get(&format!("/docs/{}{ending}", link.trim_start_matches("./"))).await;
                assert_eq!(file.status, 200, "{link}");
            }
        }
    }
    let start = bazaar.get("/docs/swagger-initializer.js").await;
    assert!(start.text.contains("/openapi.json"), "{}", start.text);
    assert_eq!(bazaar.get("/docs/nothing").await.status, 404);
}

#[tokio::test]
async fn an_error_in_the_other_form_is_described_too() {
    let bazaar = bazaar().await;
    let request = bazaar.client.get(format!("http://{}/stocks/Nobody", bazaar.public));
    let answer = got(request.header("accept", "application/problem+json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"));
    assert_eq!(answer.json()["kind"], Value::from("stock_not_found"));
}
