//! `POST /ui/control`: kills, pauses and restarts processes of a cluster that `scripts/cluster start --playground`
//! started. There is no such route otherwise.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bazaar_domain::ErrorKind;
use bazaar_service::{ApiFailure, Json};
use serde::Deserialize;
use serde_json::json;
use tokio::{process::Command, sync::Mutex};

use super::Ui;
use crate::http::json as answered;

const CONTROL_BODY_BYTES_MAX: usize = 1_024;
/// The file in the cluster's folder that holds the token.
const TOKEN_FILE: &str = "playground-token";
/// A shorter token could be guessed.
const TOKEN_BYTES_MIN: usize = 32;
/// How long a command may take: a restart waits until the process is ready.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(70);
const TOKEN_HEADER: &str = "x-playground-token";

/// A cluster that people may break.
#[derive(Debug, Clone)]
pub struct Playground {
    script: PathBuf,
    data: PathBuf,
    config: PathBuf,
    token: String,
}

impl Playground {
    /// Reads the token from the cluster's folder.
    ///
    /// # Errors
    /// If there is none, or it is too short.
    pub fn open(script: &Path, data: &Path, config: &Path) -> Result<Self> {
        let file = data.join(TOKEN_FILE);
        let token = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let token = token.trim().to_owned();
        ensure!(token.len() >= TOKEN_BYTES_MIN, "{} has fewer than {TOKEN_BYTES_MIN} characters", file.display());
        let config = config.canonicalize().with_context(|| format!("{} cannot be found", config.display()))?;
        Ok(Self { script: script.to_owned(), data: data.to_owned(), config, token })
    }
}

/// Runs one command at a time.
#[derive(Debug)]
pub(crate) struct Control {
    playground: Playground,
    turn: Mutex<()>,
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    Kill,
    Pause,
    Resume,
    Restart,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restart => "restart",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlBody {
    verb: Verb,
    name: String,
}

impl ControlBody {
    fn is_frontend(&self) -> bool {
        self.name.starts_with("frontend")
    }
}

/// `POST /ui/control {"verb": "kill", "name": "leader"}`.
pub(super) async fn control(
    State(ui): State<Arc<Ui>>,
    headers: HeaderMap,
    body: Result<Json<ControlBody, CONTROL_BODY_BYTES_MAX>, ApiFailure>,
) -> Response {
    let Some(control) = &ui.control else { return forbidden("this cluster is no playground") };
    if let Err(why) = admit(&headers, &control.playground.token) {
        return forbidden(why);
    }
    match body {
        Err(failure) => failure.into_response(),
        Ok(Json(body)) => control.run(&body).await.unwrap_or_else(IntoResponse::into_response),
    }
}

fn forbidden(why: &str) -> Response {
    let error = json!({ "error": { "code": 403, "message": why, "kind": "forbidden" } });
    answered(StatusCode::FORBIDDEN, &error)
}

/// Whether a request may do anything: it has the token, and comes from a page of this very listener on this machine. A
/// page from elsewhere that a browser was lured to has neither.
fn admit(headers: &HeaderMap, token: &str) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST.as_str()).filter(|host| is_loopback(host)).ok_or("only this machine may do that")?;
    let origin = text(header::ORIGIN.as_str()).and_then(|origin| origin.split_once("://"));
    if !origin.is_some_and(|(scheme, from)| matches!(scheme, "http" | "https") && from == host) {
        return Err("the request comes from another page");
    }
    if !is_same(text(TOKEN_HEADER).unwrap_or_default(), token) {
        return Err("the token is missing or wrong; open the address that scripts/cluster printed");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares in a time that does not depend on where the texts differ.
fn is_same(given: &str, token: &str) -> bool {
    let differences = given.bytes().zip(token.bytes()).fold(0, |found, (one, other)| found | (one ^ other));
    given.len() == token.len() && differences == 0
}

/// Whether a name is one of the cluster's processes; the script looks again.
fn is_process(name: &str) -> bool {
    let number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(name, "leader" | "catalog" | "frontend")
        || number(name)
        || name.strip_prefix("frontend-").is_some_and(number)
}

impl Control {
    pub(crate) fn new(playground: Playground) -> Self {
        Self { playground, turn: Mutex::new(()) }
    }

    async fn run(&self, body: &ControlBody) -> Result<Response, ApiFailure> {
        if !is_process(&body.name) {
            return Err(ApiFailure::invalid("the name is a replica's number, leader, catalog or frontend"));
        }
        if body.is_frontend() && matches!(body.verb, Verb::Pause | Verb::Resume) {
            return Err(ApiFailure::invalid("a paused frontend could not be resumed from its own page"));
        }
        let Ok(_turn) = self.turn.try_lock() else {
            return Err(ApiFailure::new(ErrorKind::Overloaded, "another command is at work; try again"));
        };
        let said = if body.is_frontend() { self.detach(body)? } else { self.wait(body).await? };
        Ok(answered(StatusCode::OK, &json!({ "data": { "output": said } })))
    }

    fn command(&self, body: &ControlBody) -> Command {
        // A session of its own: what it starts must outlive this process, and it itself, too, if this process ends first.
        let mut command = Command::new("setsid");
        command.arg(&self.playground.script).args([body.verb.as_str(), &body.name]);
        command.arg("--data").arg(&self.playground.data).arg("--config").arg(&self.playground.config);
        command.stdin(Stdio::null());
        command
    }

    /// A command that ends this process cannot be waited for; what it says goes to a file.
    fn detach(&self, body: &ControlBody) -> Result<String, ApiFailure> {
        let log = self.playground.data.join("log").join("playground.log");
        let started = File::options().create(true).append(true).open(&log).and_then(|file| {
            let mut command = self.command(body);
            command.stdout(file.try_clone()?).stderr(file).spawn()
        });
        started.map_err(|error| failed(&error.to_string()))?;
        Ok(format!("{} {} has begun; the page goes on when the frontend is back", body.verb.as_str(), body.name))
    }

    async fn wait(&self, body: &ControlBody) -> Result<String, ApiFailure> {
        let output = tokio::time::timeout(COMMAND_TIMEOUT, self.command(body).output()).await;
        let output = output.map_err(|_| failed("it takes too long"))?.map_err(|error| failed(&error.to_string()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(failed(&text(&output.stderr))) }
    }
}

fn failed(why: &str) -> ApiFailure {
    ApiFailure::new(ErrorKind::Internal, format!("the command failed: {why}"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn request(host: &str, origin: Option<&str>, token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        };
        put("host", host);
        put(TOKEN_HEADER, token);
        if let Some(origin) = origin {
            put("origin", origin);
        }
        headers
    }

    #[test]
    fn only_a_page_of_this_machine_with_the_token_is_admitted() {
        let admitted = |host, origin, token| admit(&request(host, origin, token), TOKEN).is_ok();
        assert!(admitted("127.0.0.1:8080", Some("http://127.0.0.1:8080"), TOKEN));
        assert!(admitted("localhost:8080", Some("http://localhost:8080"), TOKEN));
        assert!(admitted("[::1]:8080", Some("http://[::1]:8080"), TOKEN));
        assert!(!admitted("127.0.0.1:8080", Some("http://evil.example"), TOKEN));
        assert!(!admitted("127.0.0.1:8080", Some("http://127.0.0.1:9090"), TOKEN));
        assert!(!admitted("127.0.0.1:8080", None, TOKEN));
        assert!(!admitted("bazaar.example:8080", Some("http://bazaar.example:8080"), TOKEN));
        assert!(!admitted("127.0.0.1:8080", Some("http://127.0.0.1:8080"), ""));
        assert!(!admitted("127.0.0.1:8080", Some("http://127.0.0.1:8080"), &TOKEN[1..]));
        assert!(!admitted("127.0.0.1:8080", Some("http://127.0.0.1:8080"), "0123456789abcdef0123456789abcdeX"));
    }

    #[test]
    fn only_names_of_processes_reach_the_script() {
        assert!(["1", "12", "leader", "catalog", "frontend", "frontend-2"].into_iter().all(is_process));
        assert!(
            ["", "--data", "1;ls", "frontend-", "replica-1", "999", "frontend-x"]
                .into_iter()
                .all(|name| !is_process(name))
        );
    }
}
