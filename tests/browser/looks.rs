//! How the pages look: every one of them light, dark and as wide as a phone, on a month of made-up data.
//!
//! `TEST_AXE` says where axe-core is (`scripts/axe`). With `PICTURES` there is a picture of each in that directory (`scripts/pictures`).

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::server::PASSWORD;
use crate::user;
use crate::webdriver::Browser;

/// `simplejwt serve --demo`. It ends with this.
struct Demo {
    process: Child,
    base: String,
    password: String,
    /// Whoever writes where nobody reads is ended.
    _output: BufReader<ChildStdout>,
}

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simplejwt"));
        command.args(["serve", "--demo", "--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("start the demo");
        let mut output = BufReader::new(process.stdout.take().expect("a piped output"));
        let (mut line, mut said) = (String::new(), None);
        while said.is_none() {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("what it says"), 0, "the demo does not start");
            said = line.split_once("/admin, for user admin with password ").map(|(site, password)| {
                let site = site.split_whitespace().next_back().expect("an address");
                (format!("{site}/admin"), password.trim_end().to_owned())
            });
        }
        let (base, password) = said.expect("the address of the admin");
        Self { process, base, password, _output: output }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It removes its directory when it is asked to end.
        drop(Command::new("kill").arg(self.process.id().to_string()).status());
        drop(self.process.wait());
    }
}

/// How a page is looked at: by what name, whether dark, how wide and high.
const LOOKS: [(&str, bool, u32, u32); 4] = [
    ("light", false, 1280, 800),
    ("dark", true, 1280, 800),
    ("phone", false, 380, 820),
    ("phone-dark", true, 380, 820),
];

/// What a browser may have to load for a page, with all that belongs to it.
const MOST_BYTES: u64 = 100 * 1024;

const AXE: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, {resultTypes: ['violations']}).then(
        found => done(found.violations.map(one => one.id + ' (' + one.impact + '): ' + one.nodes.map(node => node.html).join(' | '))),
        error => done([String(error)]));";

const BYTES: &str = "return performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))
    .reduce((sum, one) => sum + one.decodedBodySize, 0)";

const TOO_WIDE: &str = "return [...document.querySelectorAll('body *')]
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !one.closest('nav, .hidden, thead'))
    .map(one => one.outerHTML.slice(0, 200))";

/// Everything that can be focused and does not come after what has the focus before it, as one reads.
const DISORDER: &str =
    "const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea')]
    .filter(one => !one.disabled && !one.closest('.hidden, .skip, thead'))
    .map(one => [one, one.getClientRects()[0]])
    .filter(([, box]) => box && box.width > 0);
    return all.slice(1).filter(([, box], place) => {
        const before = all[place][1];
        const above = box.bottom <= before.top + 1;
        const beside = box.top < before.bottom && before.top < box.bottom && box.right <= before.left + 1;
        return above || beside;
    }).map(([one]) => one.outerHTML.slice(0, 200))";

/// Looks at pages, and keeps what is wrong with them.
struct Critic {
    browser: Browser,
    base: String,
    axe: String,
    pictures: Option<PathBuf>,
    named: Vec<String>,
    whole: bool,
    wrong: Vec<String>,
}

impl Critic {
    /// For the pages below an address.
    fn new(base: &str) -> Self {
        let axe = env::var("TEST_AXE").expect("TEST_AXE, the path that scripts/axe prints");
        let named = env::var("PICTURES_NAMED").unwrap_or_default();
        let pictures = env::var_os("PICTURES").map(PathBuf::from);
        if let Some(directory) = &pictures {
            std::fs::create_dir_all(directory).expect("the directory for the pictures");
        }
        Self {
            browser: Browser::start(),
            base: base.to_owned(),
            axe: std::fs::read_to_string(axe).expect("axe-core"),
            pictures,
            named: named.split_whitespace().map(str::to_owned).collect(),
            whole: env::var("PICTURES_WHOLE").is_ok_and(|whole| whole == "yes"),
            wrong: Vec::new(),
        }
    }

    /// Goes to a page, and looks at it.
    fn visit(&mut self, name: &str, path: &str) {
        self.browser.go(&format!("{}{path}", self.base));
        self.look(name);
    }

    /// Looks at the page that is there, in every way.
    fn look(&mut self, name: &str) {
        let Self { browser, wrong, .. } = self;
        let bytes = browser.run(BYTES).as_u64().unwrap_or(u64::MAX);
        if bytes > MOST_BYTES {
            wrong.push(format!("{name}: {bytes} bytes"));
        }
        for (look, dark, width, height) in LOOKS {
            let name = format!("{name}-{look}");
            browser.look_like(dark, width, height);
            // The policy of the pages lets nothing run that is not theirs: this goes in through the driver.
            browser.run(&self.axe);
            wrong.extend(texts(&browser.run_async(AXE)).map(|violation| format!("{name}: {violation}")));
            wrong
                .extend(texts(&browser.run(TOO_WIDE)).map(|element| format!("{name}: wider than the page: {element}")));
            if width < 500 {
                // Elsewhere there are columns side by side, each in its own order.
                let disorder = browser.run(DISORDER);
                wrong.extend(texts(&disorder).map(|element| format!("{name}: focused out of its order: {element}")));
            }
            let wanted = self.named.is_empty() || self.named.contains(&name);
            if let Some(directory) = self.pictures.as_ref().filter(|_| wanted) {
                std::fs::write(directory.join(format!("{name}.png")), browser.picture(self.whole)).expect("a picture");
            }
        }
        browser.look_like(false, 1280, 800);
        let others = browser.hosts().into_iter().filter(|host| !self.base.contains(host.as_str()));
        wrong.extend(others.map(|host| format!("{name}: asks {host}")));
        // A page that says why it refuses something is no fault.
        let refusal = format!("{} - Failed to load resource", browser.address());
        let complaints = browser.complaints().into_iter().filter(|complaint| !complaint.contains(&refusal));
        wrong.extend(complaints.map(|complaint| format!("{name}: {complaint}")));
    }

    /// The first link of a page to something of this kind, below the address of the admin.
    fn link(&self, page: &str, kind: &str) -> String {
        self.browser.go(&format!("{}{page}", self.base));
        let link = self.browser.run(&format!("return document.querySelector('main a[href*=\"{kind}\"]')?.href ?? ''"));
        let link = link.as_str().and_then(|link| link.strip_prefix(self.base.as_str()));
        link.unwrap_or_else(|| panic!("no {kind} on {page}")).to_owned()
    }
}

fn texts(found: &Value) -> impl Iterator<Item = &str> {
    found.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[test]
fn every_page_can_be_used_by_everybody_and_asks_no_other_host() {
    let demo = Demo::start();
    let mut critic = Critic::new(&demo.base);
    critic.visit("sign-in", "/sign-in");
    critic.browser.fill("#username", "admin");
    critic.browser.fill("#password", "not this one");
    critic.browser.click("main button");
    critic.look("sign-in-refused");
    critic.browser.fill("#username", "admin");
    critic.browser.fill("#password", &demo.password);
    critic.browser.click("main button");
    critic.browser.wait_for("Overview");

    critic.visit("overview", "/");
    critic.visit("outstanding", "/tokens");
    critic.visit("outstanding-none", "/tokens?user=nobody&state=live");
    let token = critic.link("/tokens?state=live", "/token?");
    critic.visit("token", &token);
    let token = critic.link("/blacklisted", "/token?");
    critic.visit("token-blacklisted", &token);
    let superseded = critic.link("/tokens?state=superseded", "/token?");
    critic.visit("token-superseded", &superseded);
    critic.visit("token-unknown", "/token?jti=0123456789abcdef0123456789abcdef");
    critic.visit("blacklisted", "/blacklisted");
    critic.visit("blacklisted-none", "/blacklisted?user=nobody");
    critic.visit("sessions", "/sessions");
    let session = critic.link(&superseded, "/session?");
    critic.visit("session", &session);
    let reused = critic.link("/events?action=reuse", "/token?");
    let reused = critic.link(&reused, "/session?");
    critic.visit("session-reused", &reused);
    let of_user = critic.link("/sessions", "/sessions?user=");
    critic.visit("sessions-of-user", &of_user);
    critic.visit("users", "/users");
    critic.visit("events", "/events");
    critic.visit("events-followed", "/events?follow=yes");
    critic.visit("problem", "/token");

    critic.browser.go(&format!("{}/tokens?state=live", critic.base));
    critic.browser.click("td input[name=jti]");
    critic.browser.click("button[value=these]");
    critic.browser.wait_for("They are refused from now on");
    critic.look("bulk");
    critic.browser.go(&format!("{}/tokens?user=3&kind=refresh", critic.base));
    critic.browser.click("button[value=all]");
    critic.browser.wait_for("All are meant that this finds");
    critic.look("bulk-all");

    critic.visit("flush", "/flush");
    critic.browser.click("main button");
    critic.browser.wait_for("It would delete");
    critic.look("flush-tried");
    critic.browser.click("button.danger");
    critic.browser.wait_for("done:");
    critic.look("job");
    critic.visit("flush-done", "/flush");
    assert!(critic.wrong.is_empty(), "{}", critic.wrong.join("\n"));
}

#[test]
fn the_page_of_a_user_can_be_used_by_everybody_too() {
    let server = user::serve();
    for _ in 0..3 {
        // What it gives is in cookies, and not in the body.
        let login = json!({"username": "ada", "password": PASSWORD});
        assert_eq!(server.client().post_json("/api/token/", &login).status, 200);
    }
    let mut critic = Critic::new(&format!("http://127.0.0.1:{}/account/sessions", server.port()));
    critic.visit("account-nobody", "");
    user::log_in(&critic.browser);
    critic.visit("account", "");
    critic.browser.click("button.danger");
    critic.browser.wait_for("You are signed out everywhere else.");
    critic.look("account-alone");
    critic.browser.click(".logins button");
    critic.browser.wait_for("You are signed out");
    critic.look("account-signed-out");
    assert!(critic.wrong.is_empty(), "{}", critic.wrong.join("\n"));
}
