//! What a user does on the page of the own sessions.

use serde_json::json;

use crate::support::server::{PASSWORD, Server};
use crate::webdriver::Browser;

/// `serve` with tokens in cookies, and `ada`.
pub(crate) fn serve() -> Server {
    let transport = "{ token_location = [\"headers\", \"cookies\"], cookie_routes = true }";
    Server::new().set("transport", transport).start_with_ada()
}

/// The application's login: here a script that the page itself could not have.
pub(crate) fn log_in(browser: &Browser) {
    let login = json!({"username": "ada", "password": PASSWORD});
    browser.run(&format!(
        "return fetch('/api/token/', {{method: 'POST', headers: {{'Content-Type': 'application/json'}}, \
         body: JSON.stringify({login})}}).then(reply => reply.status)"
    ));
}

#[test]
fn a_user_signs_out_another_device_and_then_this_one() {
    let server = serve();
    let login = json!({"username": "ada", "password": PASSWORD});
    let reply = server.client().post_json("/api/token/", &login);
    let set = |cookie: &&str| cookie.starts_with("__Host-access_token_cookie=");
    let other = reply.headers_named("set-cookie").into_iter().find(set).expect("a cookie");
    let other = other.split(['=', ';']).nth(1).expect("a value").to_owned();
    let page = format!("http://127.0.0.1:{}/account/sessions", server.port());
    let browser = Browser::start();
    browser.go(&page);
    browser.wait_for("You are not signed in");
    log_in(&browser);
    browser.go(&page);
    browser.wait_for("this device");
    let signed_in = || server.client().get("/api/token/whoami/", Some(&other)).status;
    assert_eq!(signed_in(), 200);
    browser.click("button.danger");
    browser.wait_for("You are signed out everywhere else.");
    server.settle();
    assert_eq!(signed_in(), 401);
    // The page itself was an error before.
    let complaints: Vec<_> = browser.complaints().into_iter().filter(|text| !text.contains("401")).collect();
    assert_eq!(complaints, Vec::<String>::new());
    browser.click(".logins button");
    browser.wait_for("You are signed out");
    assert_eq!(browser.address(), format!("{page}/signed-out"));
    browser.go(&page);
    browser.wait_for("You are not signed in");
}
