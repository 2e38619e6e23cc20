//! A description, and whether an answer is as it says.

use anyhow::{Context, Result, bail, ensure};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::schema;

/// Headers that HTTP itself has; every other one must be described.
const HEADERS_OF_HTTP: [&str; 6] =
    ["content-type", "content-length", "date", "connection", "transfer-encoding", "x-content-type-options"];
/// Pages for people: they are not described.
const PAGES: [&str; 2] = ["/docs", "/ui"];

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

/// A description.
#[derive(Debug)]
pub struct Document(Value);

impl Document {
    /// Takes a parsed description.
    pub fn new(document: Value) -> Self {
        Self(document)
    }

    /// Everything that it says.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The methods, in lower case, and the paths of all operations.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.paths().flat_map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            operations.map(move |(method, operation)| (method.as_str(), path, operation))
        })
    }

    fn paths(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0["paths"].as_object().into_iter().flatten().map(|(path, item)| (path.as_str(), item))
    }

    /// Checks that an answer is described.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self, method: &str, path: &str, answer: &Answer<'_>) -> Result<()> {
        if PAGES.iter().any(|page| path.starts_with(page)) {
            return Ok(());
        }
        let Some(item) = self.item(path) else { return refused(answer, 404, "not_found") };
        let is_head = method.eq_ignore_ascii_case("head");
        let described = if is_head { &item["get"] } else { &item[method.to_ascii_lowercase()] };
        if described.is_null() {
            return refused(answer, 405, "method_not_allowed");
        }
        let response = &described["responses"][answer.status.to_string()];
        ensure!(response.is_object(), "the status is not described");
        self.check_headers(response, answer.headers)?;
        if is_head { Ok(()) } else { self.check_body(&response["content"], answer) }
    }

    /// What is said of a path: as it stands, or else as one with parameters.
    fn item(&self, path: &str) -> Option<&Value> {
        let exact = self.paths().find(|(template, _)| *template == path);
        let fitting = || self.paths().find(|(template, item)| self.fits(template, item, path));
        exact.or_else(fitting).map(|(_, item)| item)
    }

    fn fits(&self, template: &str, item: &Value, path: &str) -> bool {
        let Some((before, parameter)) = template.split_once('{') else { return template == path };
        let Some(text) = path.strip_prefix(before).filter(|text| !text.is_empty()) else { return false };
        !text.contains('/') || self.takes_slashes(item, parameter.trim_end_matches('}'))
    }

    fn takes_slashes(&self, item: &Value, parameter: &str) -> bool {
        let parameters =
            item.as_object().into_iter().flatten().flat_map(|(_, operation)| operation["parameters"].as_array());
        let named = parameters.flatten().find(|described| described["name"] == parameter);
        named.is_some_and(|described| schema::check(&self.0, &described["schema"], &json!("a/b")).is_ok())
    }

    fn check_headers(&self, response: &Value, headers: &HeaderMap) -> Result<()> {
        ensure!(headers.contains_key("x-request-id"), "there is no request id");
        for (name, value) in headers {
            if HEADERS_OF_HTTP.contains(&name.as_str()) {
                continue;
            }
            let described = response["headers"].as_object().into_iter().flatten();
            let mut described = described.filter(|(described, _)| described.eq_ignore_ascii_case(name.as_str()));
            let (_, header) = described.next().with_context(|| format!("the header {name} is not described"))?;
            let header = schema::resolved(&self.0, header)?;
            let text = value.to_str()?;
            let value = match header["schema"]["type"].as_str() {
                Some("integer") => serde_json::from_str(text)?,
                _ => json!(text),
            };
            schema::check(&self.0, &header["schema"], &value).with_context(|| format!("the header {name}"))?;
        }
        Ok(())
    }

    fn check_body(&self, content: &Value, answer: &Answer<'_>) -> Result<()> {
        let Some(described) = content.as_object() else {
            ensure!(answer.body.is_empty(), "a body is not described");
            return Ok(());
        };
        let found = answer.headers.get("content-type").context("there is no media type")?.to_str()?;
        let content = described.get(found).with_context(|| format!("{found} is not described"))?;
        let value = match found {
            "application/json" | "application/problem+json" => serde_json::from_slice(answer.body)?,
            _ if found.starts_with("text/") => json!(std::str::from_utf8(answer.body)?),
            _ => return Ok(()),
        };
        schema::check(&self.0, &content["schema"], &value)
    }
}

/// Checks the answer to a request for what is not there.
fn refused(answer: &Answer<'_>, status: u16, kind: &str) -> Result<()> {
    if answer.status != status {
        bail!("nothing is described there, so the answer is {status} {kind}");
    }
    if answer.body.is_empty() {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(answer.body)?;
    ensure!(body["error"]["kind"] == kind || body["kind"] == kind, "an error of the kind {kind} was expected");
    Ok(())
}
