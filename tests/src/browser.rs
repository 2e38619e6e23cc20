//! A headless Chromium, for the stories about the page.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};

use crate::{process::Process, wait_until};

/// What Debian's packages `chromium` and `chromium-driver` install.
const BROWSER: &str = "chromium";
const DRIVER: &str = "chromedriver";
/// How long the browser may take for one command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Screenshots are as high as the page, but not higher than this.
const SCREENSHOT_HEIGHT_MAX: u64 = 4_000;

/// A browser with one page; closed when it is dropped.
#[derive(Debug)]
pub struct Browser {
    page: Client,
    /// Where the driver takes what WebDriver has no words for.
    session: String,
    http: reqwest::Client,
    /// The browser's own folder, which no other browser has.
    profile: PathBuf,
    driver: Process,
}

impl Browser {
    /// Starts a browser with its files in `folder`; `None`, with the reason printed, where there is none.
    ///
    /// # Errors
    /// If there is one, but it does not start.
    pub async fn open(folder: &Path) -> Result<Option<Self>> {
        let (Some(browser), Some(driver)) = (program(BROWSER), program(DRIVER)) else {
            println!("skipped: there is no {BROWSER} or no {DRIVER} (Debian: chromium, chromium-driver)");
            return Ok(None);
        };
        let driver = driver.to_str().context("a path that is no text")?;
        let driver = Process::start(driver, ["--port=0"], &folder.join("chromedriver.log"))?;
        let port = wait_until("the driver says its port", || async { port(&driver.output()) }).await?;
        let (url, profile) = (format!("http://127.0.0.1:{port}"), folder.join("chromium"));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let page = builder.capabilities(capabilities(&browser, &profile)).connect(&url).await?;
        let id = page.session_id().await?.context("a session has an id")?;
        let http = bazaar_service::tls::http_client().timeout(COMMAND_TIMEOUT).build()?;
        Ok(Some(Self { page, session: format!("{url}/session/{id}"), http, profile, driver }))
    }

    /// Goes to an address.
    ///
    /// # Errors
    /// If the page cannot be loaded.
    pub async fn go(&self, url: &str) -> Result<()> {
        Ok(self.page.goto(url).await?)
    }

    /// Evaluates an expression in the page.
    ///
    /// # Errors
    /// If it fails.
    pub async fn eval(&self, expression: &str) -> Result<Value> {
        let script = format!("return ({expression});");
        self.page.execute(&script, vec![]).await.with_context(|| expression.to_owned())
    }

    /// Waits until an expression is true in the page.
    ///
    /// # Errors
    /// If it does not become so; the message says what the page showed last.
    pub async fn until(&self, what: &str, expression: &str) -> Result<()> {
        let waited = wait_until(what, || async { self.eval(expression).await.ok().filter(|value| *value == true) });
        let Err(error) = waited.await else { return Ok(()) };
        let shown = self.eval("document.body.innerText").await?;
        Err(error.context(format!("the page shows:\n{}", shown.as_str().unwrap_or_default())))
    }

    /// Sends keys to an element.
    ///
    /// # Errors
    /// If there is none.
    pub async fn keys(&self, css: &str, keys: &str) -> Result<()> {
        Ok(self.page.find(Locator::Css(css)).await?.send_keys(keys).await?)
    }

    /// Clicks an element.
    ///
    /// # Errors
    /// If there is none, or something covers it.
    pub async fn click(&self, css: &str) -> Result<()> {
        Ok(self.page.find(Locator::Css(css)).await?.click().await?)
    }

    /// Gives the window a width, and the page a colour scheme (`light` or `dark`).
    ///
    /// # Errors
    /// If the browser refuses.
    pub async fn appear(&self, width: u64, scheme: &str) -> Result<()> {
        let window = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", window).await?;
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await.map(drop)
    }

    /// Writes a picture of the whole page.
    ///
    /// # Errors
    /// If it cannot be made or written.
    pub async fn screenshot(&self, width: u64, file: &Path) -> Result<()> {
        let height = self.eval("document.documentElement.scrollHeight").await?.as_u64().context("a height")?;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height.min(SCREENSHOT_HEIGHT_MAX), "scale": 1 });
        let wanted = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", wanted).await?;
        let picture = picture["data"].as_str().context("a picture")?;
        fs::write(file, decoded(picture)?).with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Errors that scripts made, and what the page's policy refused. A server that does not answer is no error here.
    ///
    /// # Errors
    /// If the browser does not tell.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let log = self.command("se/log", json!({ "type": "browser" })).await?;
        let log = log.as_array().context("a log")?;
        let severe = log.iter().filter(|line| line["level"] == "SEVERE" && line["source"] != "network");
        Ok(severe.map(|line| line["message"].to_string()).collect())
    }

    async fn devtools(&self, command: &str, params: Value) -> Result<Value> {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    async fn command(&self, path: &str, body: Value) -> Result<Value> {
        let answer = self.http.post(format!("{}/{path}", self.session)).json(&body).send().await?;
        let (status, mut body) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status.is_success(), "{path}: {status} {body}");
        Ok(body["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser outlives a driver that is killed.
        self.driver.kill();
        for process in processes_with(&self.profile) {
            let _ = Command::new("kill").args(["-KILL", &process]).status();
        }
    }
}

/// The ids of processes that were started with this path among their arguments.
fn processes_with(path: &Path) -> Vec<String> {
    let wanted = path.to_string_lossy();
    let names = |argument: &[u8]| String::from_utf8_lossy(argument).ends_with(&*wanted);
    let has_it = |id: &String| {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(names)
    };
    let all = fs::read_dir("/proc").into_iter().flatten();
    let ids = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()) && has_it(id)).collect()
}

/// Where a program of this name is.
fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The port in `ChromeDriver was started successfully on port 4711.`
fn port(output: &str) -> Option<u16> {
    let (_, rest) = output.split_once("successfully on port ")?;
    rest.split_once('.')?.0.parse().ok()
}

fn capabilities(browser: &Path, profile: &Path) -> Map<String, Value> {
    let profile = format!("--user-data-dir={}", profile.display());
    // Chromium has no sandbox for root, and none inside most containers; what it shows here is our own page.
    let arguments = json!(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", profile]);
    let mut wanted = Map::new();
    wanted.insert("goog:chromeOptions".into(), json!({ "binary": browser, "args": arguments }));
    wanted.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
    wanted
}

/// Decodes base64.
fn decoded(text: &str) -> Result<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).context("the picture is no base64")?;
        held = (held << 6) | u32::try_from(value)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_decoded_whatever_their_length() {
        let texts = ["", "TQ==", "TWE=", "TWFu", "TWFueQ=="].map(|text| decoded(text).unwrap());
        assert_eq!(texts, [&b""[..], b"M", b"Ma", b"Man", b"Many"]);
        assert!(decoded("T*").is_err());
    }

    #[test]
    fn the_driver_names_its_port() {
        assert_eq!(port("...\nChromeDriver was started successfully on port 4711.\n"), Some(4_711));
        assert_eq!(port("Starting ChromeDriver 150.0 on port 0\n"), None);
    }
}
