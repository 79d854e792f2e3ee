//! A server that runs elsewhere, and what it says of itself at `/health/ready`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::chain::chain;
use crate::fetch;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What it says is small; more than this is something else.
const MOST_BYTES: u64 = 64 * 1024;

/// An address of a server, as it is given on the command line.
pub(super) fn address(text: &str) -> Result<String, String> {
    let plain = text.trim_end_matches('/');
    let rest = plain.strip_prefix("http://").or_else(|| plain.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', '@']) => Ok(plain.to_owned()),
        _ => Err("write http://HOST:PORT or https://HOST".into()),
    }
}

/// What came of asking.
pub(super) struct Server {
    url: String,
    /// What it says, or why it says nothing.
    answer: Result<Value, String>,
}

impl Server {
    /// Asks; what it returns waits for the answer.
    pub(super) fn ask(url: String) -> impl Future<Output = Self> {
        let address = format!("{url}/health/ready");
        let asked = tokio::task::spawn_blocking(move || fetch(&address));
        async {
            let answer = asked.await.unwrap_or_else(|_| Err("the question was given up".into()));
            Self { url, answer }
        }
    }

    /// `ready`, `degraded`, `unready` or `unreachable`.
    fn status(&self) -> &str {
        let said = self.answer.as_ref().ok().and_then(|answer| answer["status"].as_str());
        said.unwrap_or("unreachable")
    }

    /// Whether it answers requests.
    pub(super) fn is_ready(&self) -> bool {
        ["ready", "degraded"].contains(&self.status())
    }

    pub(super) fn record(&self) -> Value {
        let blacklist = self.answer.as_ref().ok().and_then(|answer| answer.get("blacklist"));
        json!({
            "url": self.url,
            "status": self.status(),
            "blacklist": blacklist,
            "error": self.answer.as_ref().err(),
        })
    }

    pub(super) fn sentence(&self) -> String {
        let (url, status) = (&self.url, self.status());
        let answer = match &self.answer {
            Ok(answer) => answer,
            Err(error) => return format!("{url}: {status}: {error}"),
        };
        let Some(blacklist) = answer.get("blacklist") else {
            return format!("{url}: {status}, nothing in memory");
        };
        let number = |name: &str| blacklist[name].as_i64().map_or_else(|| "?".to_owned(), |number| number.to_string());
        let (entries, bytes, lag, sequence) =
            (number("entries"), number("bytes"), number("lag_ms"), number("sequence"));
        let pulled = blacklist["last_pull"].as_str().unwrap_or("never");
        let faults = match blacklist["trigger_faults"].as_u64() {
            None | Some(0) => String::new(),
            Some(faults) => format!(", {faults} triggers that feed it are wrong"),
        };
        format!(
            "{url}: {status}, {entries} entries in {bytes} bytes, {lag} ms old, the log read up to {sequence}, last at {pulled}{faults}"
        )
    }
}

fn fetch(address: &str) -> Result<Value, String> {
    let answer = fetch::get(address, "application/json", PATIENCE);
    let mut answer = answer.map_err(|error| chain(&error).to_string())?;
    let status = answer.status();
    let body =
        answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec().map_err(|error| chain(&error).to_string())?;
    let said = serde_json::from_slice::<Value>(&body).ok().filter(|said| said["status"].is_string());
    said.ok_or_else(|| format!("no answer of ours ({status})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_host() {
        assert_eq!(address("http://127.0.0.1:8000/"), Ok("http://127.0.0.1:8000".into()));
        assert_eq!(address("https://id.example.org/behind"), Ok("https://id.example.org/behind".into()));
        for bad in ["", "127.0.0.1:8000", "http://", "ftp://x", "http://user:password@x", "http://x/?y"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
