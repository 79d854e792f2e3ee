//! A browser, by the `WebDriver` protocol.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fantoccini::elements::Element;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use url::{ParseError, Url};

const SWITCHES: [&str; 9] = [
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked for.
const PERIOD: Duration = Duration::from_millis(50);

/// How long the driver may take to answer. It gives up a script after 30 seconds.
const ANSWER: Duration = Duration::from_secs(60);

/// `chromedriver`. It ends with this.
struct Driver {
    process: Child,
    /// Whoever writes where nobody reads is ended.
    output: BufReader<ChildStdout>,
}

impl Driver {
    fn start() -> Self {
        let mut command = Command::new("chromedriver");
        let process = command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = process.expect("chromedriver (Debian: chromium-driver)");
        let output = BufReader::new(process.stdout.take().expect("a piped output"));
        Self { process, output }
    }

    /// Where it listens, which it says.
    fn address(&mut self) -> String {
        // The first line that names a port names the one that it was told, 0.
        let port = self.output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let port = line.split("on port ").nth(1)?.trim_end_matches('.');
            port.parse::<u16>().ok().filter(|port| *port > 0)
        });
        format!("http://127.0.0.1:{}", port.expect("a port"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A command that the standard leaves to the drivers: one of chromedriver's own.
#[derive(Debug)]
struct ExtensionCommand {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for ExtensionCommand {
    fn endpoint(&self, base_url: &Url, session_id: Option<&str>) -> Result<Url, ParseError> {
        base_url.join(&format!("session/{}/{}", session_id.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A browser with nothing in it. It ends with this.
pub(crate) struct Browser {
    client: Client,
    runtime: Runtime,
    _driver: Driver,
    _profile: TempDir,
}

/// What a command comes to. A driver that fails, or does not answer, fails the test.
#[track_caller]
fn answer<T, E: Display>(runtime: &Runtime, command: impl Future<Output = Result<T, E>>) -> T {
    let answer = runtime.block_on(async { timeout(ANSWER, command).await }).expect("an answer of the driver");
    // No closure: it would hide whose line it was.
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("{error}"),
    }
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut driver = Driver::start();
        let address = driver.address();
        let profile = tempfile::Builder::new().prefix("simplejwt-browser-").tempdir().expect("a temporary directory");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let switches: Vec<&str> = SWITCHES.into_iter().chain([folder.as_str()]).collect();
        let wanted = Capabilities::from_iter([
            ("goog:chromeOptions".to_owned(), json!({"args": switches})),
            ("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"})),
        ]);
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = answer(&runtime, ClientBuilder::new(HttpConnector::new()).capabilities(wanted).connect(&address));
        Self { client, runtime, _driver: driver, _profile: profile }
    }

    #[track_caller]
    fn answer<T, E: Display>(&self, command: impl Future<Output = Result<T, E>>) -> T {
        answer(&self.runtime, command)
    }

    fn extension(&self, path: &'static str, body: Value) -> Value {
        self.answer(self.client.issue_cmd(ExtensionCommand { path, body }))
    }

    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.answer(self.client.goto(url));
    }

    #[track_caller]
    pub(crate) fn address(&self) -> String {
        self.answer(self.client.current_url()).into()
    }

    /// The first element of this CSS selector, once it is there.
    #[track_caller]
    fn element(&self, selector: &str) -> Element {
        let wait = self.client.wait().at_most(PATIENCE).every(PERIOD);
        self.answer(async {
            match wait.for_element(Locator::Css(selector)).await {
                Ok(found) => Ok(found),
                Err(error) => {
                    let address = self.client.current_url().await.map_or_else(|error| error.to_string(), String::from);
                    Err(format!("no {selector} at {address}: {error}"))
                }
            }
        })
    }

    #[track_caller]
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        self.answer(self.element(selector).send_keys(text));
    }

    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.answer(self.element(selector).click());
    }

    /// What a piece of script on the page comes to; a promise is waited for.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.answer(self.client.execute(script, Vec::new()))
    }

    /// What such a script gives to the function that is its last argument.
    #[track_caller]
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.answer(self.client.execute_async(script, Vec::new()))
    }

    /// What a reader sees of the page.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// What a command of the browser's own tools for developers comes to.
    fn tool(&self, command: &str, parameters: &Value) -> Value {
        self.extension("goog/cdp/execute", json!({"cmd": command, "params": parameters}))
    }

    /// Shows pages on a screen of this size, to somebody who likes it dark or does not.
    pub(crate) fn look_like(&self, dark: bool, width: u32, height: u32) {
        let scheme = json!({"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }});
        self.tool("Emulation.setEmulatedMedia", &json!({"features": [scheme]}));
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.tool("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// A picture of what is on the screen, or of the whole page, as PNG.
    pub(crate) fn picture(&self, whole: bool) -> Vec<u8> {
        let shot = self.tool("Page.captureScreenshot", &json!({"captureBeyondViewport": whole}));
        BASE64_STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64")
    }

    /// Waits until this can be read on the page.
    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE * 3;
        while !self.text().contains(wanted) {
            assert!(Instant::now() < deadline, "no {wanted:?} at {}: {}", self.address(), self.text());
            std::thread::sleep(PERIOD);
        }
    }

    /// What the browser complained of, such as something that the policy of a page forbids.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.extension("se/log", json!({"type": "browser"}));
        let lines = log.as_array().into_iter().flatten().filter(|line| line["level"] == "SEVERE");
        lines.map(|line| line["message"].to_string()).collect()
    }

    /// Every host from which the page loaded something.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let script = "return [...new Set(performance.getEntriesByType('resource').map(one => new URL(one.name).host))]";
        self.run(script).as_array().into_iter().flatten().filter_map(|host| Some(host.as_str()?.to_owned())).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser; the driver alone would leave it.
        drop(self.runtime.block_on(async { timeout(ANSWER, self.client.clone().close()).await }));
    }
}
