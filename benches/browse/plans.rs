//! What PostgreSQL writes down of the statements that it runs: how long each took, and its plan.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The log of the server, read from where it was read last.
pub(crate) struct Log {
    path: PathBuf,
    read: u64,
}

/// What was written while a page was made.
pub(crate) struct Plans {
    name: &'static str,
    /// Of all statements: to read, plan and run them.
    pub(crate) total: Duration,
    explained: Vec<String>,
}

/// What a process does on its own, page or no page: it follows the log of revocations.
const NOT_OF_A_PAGE: [&str; 2] = ["FROM simplejwt_revocation ", "FROM \"simplejwt_revocation\" "];

impl Log {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0 }
    }

    fn rest(&mut self) -> String {
        let mut file = File::open(&self.path).expect("the log of the server");
        file.seek(SeekFrom::Start(self.read)).expect("a place in it");
        let mut text = Vec::new();
        self.read += file.read_to_end(&mut text).expect("the log of the server") as u64;
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn skip(&mut self) {
        self.rest();
    }

    /// What was written since the last time.
    pub(crate) fn read(&mut self, name: &'static str) -> Plans {
        // The last words of a statement may be later than its answer.
        std::thread::sleep(Duration::from_millis(100));
        let text = self.rest();
        let mut plans = Plans { name, total: Duration::ZERO, explained: Vec::new() };
        for entry in entries(&text) {
            let Some((_, said)) = entry.split_once("LOG:  duration: ") else { continue };
            let (millis, rest) = said.split_once(" ms").unwrap_or((said, ""));
            match rest.trim_start().strip_prefix("plan:") {
                Some(plan) if NOT_OF_A_PAGE.iter().any(|table| plan.contains(table)) => {}
                Some(plan) => plans.explained.push(format!("{millis} ms{}", shortened(plan))),
                None => plans.total += Duration::from_secs_f64(millis.parse::<f64>().unwrap_or(0.0) / 1000.0),
            }
        }
        plans
    }
}

impl Plans {
    /// Writes them down in the directory, under the name of the page.
    pub(crate) fn keep(&self, directory: &Path, address: &str) {
        let file = format!("{}.txt", self.name.replace([' ', ','], "-").replace("--", "-").replace(['(', ')'], ""));
        let total = self.total.as_secs_f64() * 1000.0;
        let plans = self.explained.join("\n\n");
        let text = format!(
            "{}: GET {address}\n{} statements, {total:.1} ms in all\n\n{plans}\n",
            self.name,
            self.explained.len()
        );
        std::fs::write(directory.join(file), text).expect("written");
    }
}

/// The entries of a log: the lines that follow the first of each begin with a tab.
fn entries(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix('\t'), entries.last_mut()) {
            (Some(more), Some(entry)) => {
                entry.push('\n');
                entry.push_str(more);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

/// Long lists say how long they are.
fn shortened(plan: &str) -> String {
    let mut short = String::new();
    let mut rest = plan;
    while let Some((before, after)) = rest.split_once("'{") {
        let Some((list, behind)) = after.split_once("}'") else { break };
        let count = list.split(',').count();
        let list = if count > 3 { format!("… {count} of them …") } else { list.to_owned() };
        short.extend([before, "'{", &list, "}'"]);
        rest = behind;
    }
    short + rest
}
