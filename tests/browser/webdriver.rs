//! A browser, by the `WebDriver` protocol: JSON over HTTP, which is little enough to need no library.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;

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

/// A browser with nothing in it. It ends with this.
pub(crate) struct Browser {
    driver: Child,
    client: Client,
    session: String,
    /// Whoever writes where nobody reads is ended.
    _output: BufReader<ChildStdout>,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("chromedriver");
        let driver = command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = driver.expect("chromedriver (Debian: chromium-driver)");
        let mut output = BufReader::new(driver.stdout.take().expect("a piped output"));
        // The first line that names a port names the one that it was told, 0.
        let port = output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let port = line.split("on port ").nth(1)?.trim_end_matches('.');
            port.parse::<u16>().ok().filter(|port| *port > 0)
        });
        let client = Client::new(port.expect("a port"));
        let profile = tempfile::Builder::new().prefix("simplejwt-browser-").tempdir().expect("a temporary directory");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let switches: Vec<&str> = SWITCHES.into_iter().chain([folder.as_str()]).collect();
        let wanted = json!({
            "goog:chromeOptions": {"args": switches},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let mut browser = Self { driver, client, session: String::new(), _output: output, _profile: profile };
        let session = browser.call("POST", "/session", &json!({"capabilities": {"alwaysMatch": wanted}}));
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        // It speaks to nobody but this machine.
        let headers = [("Content-Type", "application/json; charset=utf-8"), ("Host", "localhost")];
        let reply = self.client.request(method, path, &headers, body.as_bytes());
        let mut answer = reply.json();
        if reply.status == 200 { Ok(answer["value"].take()) } else { Err(answer.to_string()) }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn of_session(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    pub(crate) fn go(&self, url: &str) {
        self.call("POST", &self.of_session("/url"), &json!({"url": url}));
    }

    pub(crate) fn address(&self) -> String {
        self.call("GET", &self.of_session("/url"), &Value::Null).as_str().expect("an address").to_owned()
    }

    /// The first element of this CSS selector, once it is there.
    fn element(&self, selector: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wanted = json!({"using": "css selector", "value": selector});
            match self.try_call("POST", &self.of_session("/element"), &wanted) {
                Ok(found) => {
                    let id = found.as_object().and_then(|found| found.values().next()?.as_str());
                    return self.of_session(&format!("/element/{}", id.expect("an element")));
                }
                Err(error) => assert!(Instant::now() < deadline, "no {selector} at {}: {error}", self.address()),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn fill(&self, selector: &str, text: &str) {
        self.call("POST", &format!("{}/value", self.element(selector)), &json!({"text": text}));
    }

    pub(crate) fn click(&self, selector: &str) {
        self.call("POST", &format!("{}/click", self.element(selector)), &json!({}));
    }

    /// What a piece of script on the page comes to; a promise is waited for.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.call("POST", &self.of_session("/execute/sync"), &json!({"script": script, "args": []}))
    }

    /// What such a script gives to the function that is its last argument.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.call("POST", &self.of_session("/execute/async"), &json!({"script": script, "args": []}))
    }

    /// What a reader sees of the page.
    pub(crate) fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    fn tool(&self, command: &str, parameters: &Value) -> Value {
        self.call("POST", &self.of_session("/goog/cdp/execute"), &json!({"cmd": command, "params": parameters}))
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
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the browser complained of, such as something that the policy of a page forbids.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", &self.of_session("/se/log"), &json!({"type": "browser"}));
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
        if !self.session.is_empty() {
            drop(self.try_call("DELETE", &self.of_session(""), &Value::Null));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
