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
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use bazaar_domain::ErrorKind;
use bazaar_service::{ApiFailure, Json};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    process::Command,
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use super::Ui;
use crate::http::{
    json as answered,
    sites::{is_loopback, origin, text},
};

const CONTROL_BODY_BYTES_MAX: usize = 1_024;
/// The file in the cluster's folder that holds the token.
const TOKEN_FILE: &str = "playground-token";
/// A shorter token could be guessed.
const TOKEN_BYTES_MIN: usize = 32;
/// How long a command may take: a restart waits until the process is ready.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(70);
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-playground-token");

/// A cluster that people may break.
#[derive(Debug, Clone)]
pub struct Playground {
    script: PathBuf,
    data: PathBuf,
    config: PathBuf,
    token: String,
    /// What the script calls this process.
    own_name: String,
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
        let own_name = "frontend".to_owned();
        Ok(Self { script: script.to_owned(), data: data.to_owned(), config, token, own_name })
    }

    /// The same, for one of several frontends of the cluster.
    #[must_use]
    pub fn of_frontend(self, instance: u16) -> Self {
        let own_name = if instance == 1 { "frontend".to_owned() } else { format!("frontend-{instance}") };
        Self { own_name, ..self }
    }

    fn is_own(&self, name: &str) -> bool {
        name == self.own_name || (name == "frontend-1" && self.own_name == "frontend")
    }

    fn command(&self, body: &ControlBody) -> Command {
        // A session of its own: what it starts must outlive this process.
        let mut command = Command::new("setsid");
        command.arg(&self.script).args([body.verb.as_str(), &body.name]);
        command.arg("--data").arg(&self.data).arg("--config").arg(&self.config);
        command.stdin(Stdio::null());
        command
    }
}

/// Runs one command at a time.
#[derive(Debug)]
pub(crate) struct Control {
    playground: Playground,
    /// Held by the task that waits for the command, and not by the request: a browser that goes away ends its request,
    /// and the command goes on.
    turn: Arc<Mutex<()>>,
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
        Ok(Json(body)) => control.run(body).await.unwrap_or_else(IntoResponse::into_response),
    }
}

fn forbidden(why: &str) -> Response {
    ApiFailure::new(ErrorKind::Forbidden, why).into_response()
}

/// Whether a request may do anything: it has the token, and comes from a page of this very listener on this machine. A
/// page from elsewhere that a browser was lured to has neither.
fn admit(headers: &HeaderMap, token: &str) -> Result<(), &'static str> {
    let host = text(headers, &header::HOST).filter(|host| is_loopback(host)).ok_or("only this machine may do that")?;
    if origin(headers) != Some(host) {
        return Err("the request comes from another page");
    }
    if !is_same(text(headers, &TOKEN_HEADER).unwrap_or_default(), token) {
        return Err("the token is missing or wrong; open the address that scripts/cluster printed");
    }
    Ok(())
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
        Self { playground, turn: Arc::default() }
    }

    async fn run(&self, body: ControlBody) -> Result<Response, ApiFailure> {
        if !is_process(&body.name) {
            return Err(ApiFailure::invalid("the name is a replica's number, leader, catalog or frontend"));
        }
        if body.is_frontend() && matches!(body.verb, Verb::Pause | Verb::Resume) {
            return Err(ApiFailure::invalid("a paused frontend could not be resumed from its own page"));
        }
        let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() else {
            return Err(ApiFailure::new(ErrorKind::Overloaded, "another command is at work; try again"));
        };
        let said = if self.playground.is_own(&body.name) {
            self.detach(&body, turn)?
        } else {
            let command = self.playground.command(&body);
            let waiting = tokio::spawn(async move {
                let _turn = turn;
                finished(command).await
            });
            waiting.await.map_err(|error| failed(&error.to_string()))??
        };
        Ok(answered(StatusCode::OK, &json!({ "data": { "output": said } })))
    }

    /// A command that ends this process cannot be waited for, and must outlive it; what it says goes to a file.
    fn detach(&self, body: &ControlBody, turn: OwnedMutexGuard<()>) -> Result<String, ApiFailure> {
        let log = self.playground.data.join("log").join("playground.log");
        let started = File::options().create(true).append(true).open(&log).and_then(|file| {
            let mut command = self.playground.command(body);
            command.stdout(file.try_clone()?).stderr(file).spawn()
        });
        let mut child = started.map_err(|error| failed(&error.to_string()))?;
        tokio::spawn(async move {
            let _turn = turn;
            let _ = timeout(COMMAND_TIMEOUT, child.wait()).await;
        });
        Ok(format!("{} {} has begun; the page goes on when the frontend is back", body.verb.as_str(), body.name))
    }
}

/// What a command says, once it has ended; one that takes too long is ended.
async fn finished(mut command: Command) -> Result<String, ApiFailure> {
    let output = timeout(COMMAND_TIMEOUT, command.kill_on_drop(true).output()).await;
    let output = output.map_err(|_| failed("it takes too long"))?.map_err(|error| failed(&error.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(failed(&text(&output.stderr))) }
}

fn failed(why: &str) -> ApiFailure {
    ApiFailure::new(ErrorKind::Internal, format!("the command failed: {why}"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn request(host: &str, origin: Option<&str>, token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        };
        put("host", host);
        put("x-playground-token", token);
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
