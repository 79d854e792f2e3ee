//! What feeds the log: whether it is all there, and putting back what was lost. Django makes its tables anew on SQLite when a
//! column of theirs changes, without the triggers that it does not know of; and whoever owns a table can switch them off.

use std::fmt;

use diesel::connection::SimpleConnection;

use crate::ledger::LedgerError;
use crate::ledger::connection::AnyConnection;
use crate::ledger::dialect::{self, Found};
use crate::ledger::step::steps;

/// A trigger, or a function that triggers call, that does not do what it has to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriggerFault {
    /// Its name.
    pub name: &'static str,
    /// What is wrong with it.
    pub wrong: TriggerWrong,
}

/// What is wrong with a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriggerWrong {
    /// It is not there, or this user may not see it.
    Missing,
    /// It does something else, or is on another table.
    Changed,
    /// It is switched off.
    Disabled,
    /// The account with whose rights it runs is gone, so that every statement that fires it fails.
    NoDefiner(String),
}

impl fmt::Display for TriggerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match &self.wrong {
            TriggerWrong::Missing => write!(f, "{name}, which tells every process of revocations, is missing"),
            TriggerWrong::Changed => write!(f, "{name}, which tells every process of revocations, is not ours"),
            TriggerWrong::Disabled => write!(f, "{name}, which tells every process of revocations, is switched off"),
            TriggerWrong::NoDefiner(account) => write!(
                f,
                "{name} runs with the rights of {account}, who does not exist: nothing can be blacklisted until it is made anew"
            ),
        }
    }
}

/// A part of what feeds the log, with the SQL that makes it.
#[derive(Debug)]
struct Part {
    is: Is,
    sql: &'static str,
}

/// What a part is.
#[derive(Debug, PartialEq, Eq)]
enum Is {
    /// Comes before all others and after them, whichever of them are made.
    Always,
    Function {
        name: &'static str,
    },
    Trigger {
        name: &'static str,
        table: &'static str,
        calls: Option<&'static str>,
    },
}

/// The line that begins a part.
const PART: &str = "-- part ";

/// The parts, in the order in which they are made.
fn parts(connection: &AnyConnection) -> Vec<Part> {
    let all = steps(connection).iter().flat_map(|step| step.triggers.split(PART).skip(1));
    all.map(|part| {
        let (title, sql) = part.split_once('\n').unwrap_or((part, ""));
        let words: Vec<_> = title.split_whitespace().collect();
        let is = match words.as_slice() {
            ["function", name] => Is::Function { name },
            ["trigger", name, "on", table] => Is::Trigger { name, table, calls: None },
            ["trigger", name, "on", table, "calls", function] => Is::Trigger { name, table, calls: Some(function) },
            _ => Is::Always,
        };
        Part { is, sql }
    })
    .collect()
}

impl Part {
    const fn name(&self) -> Option<&'static str> {
        match self.is {
            Is::Always => None,
            Is::Function { name } | Is::Trigger { name, .. } => Some(name),
        }
    }

    /// What the database should say that it does.
    fn does(&self) -> &'static str {
        match self.is {
            Is::Always => "",
            Is::Function { .. } => self.sql.split("$$").nth(1).unwrap_or_default(),
            Is::Trigger { calls: Some(function), .. } => function,
            // MariaDB tells only what comes after the words that every trigger of its has.
            Is::Trigger { .. } => self.sql.split_once("FOR EACH ROW").map_or(self.sql, |(_, body)| body),
        }
    }

    /// What is wrong with it, as it was found.
    fn fault(&self, connection: &mut AnyConnection, found: &[Found]) -> Option<TriggerFault> {
        let name = self.name()?;
        let wrong = match found.iter().find(|found| found.name == name) {
            None => TriggerWrong::Missing,
            Some(found) if found.does.is_empty() => TriggerWrong::Missing,
            Some(found) if !found.enabled => TriggerWrong::Disabled,
            Some(found) => {
                let elsewhere = matches!(self.is, Is::Trigger { table, .. } if table != found.place);
                if elsewhere || !is_same(&found.does, self.does()) {
                    TriggerWrong::Changed
                } else if !found.definer.is_empty() && dialect::is_nobody(connection, &found.definer) {
                    TriggerWrong::NoDefiner(found.definer.clone())
                } else {
                    return None;
                }
            }
        };
        Some(TriggerFault { name, wrong })
    }
}

/// Whether two texts of SQL are the same, but for white space and what ends them.
fn is_same(one: &str, other: &str) -> bool {
    let words =
        |sql: &str| sql.trim_end().trim_end_matches(';').split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words(one) == words(other)
}

/// What is wrong with what feeds the log.
pub(in crate::ledger) fn faults(connection: &mut AnyConnection) -> Result<Vec<TriggerFault>, LedgerError> {
    let found = dialect::triggers(connection)?;
    let parts = parts(connection);
    Ok(parts.iter().filter_map(|part| part.fault(connection, &found)).collect())
}

/// The same, but nothing where this user may not see any trigger, so that nobody knows what there is.
pub(in crate::ledger) fn visible_faults(connection: &mut AnyConnection) -> Result<Vec<TriggerFault>, LedgerError> {
    let found = dialect::triggers(connection)?;
    // MariaDB may tell their names all the same.
    if dialect::hides_triggers(connection) && found.iter().all(|found| found.does.trim().is_empty()) {
        return Ok(Vec::new());
    }
    let parts = parts(connection);
    Ok(parts.iter().filter_map(|part| part.fault(connection, &found)).collect())
}

/// Makes anew what is not as it has to be, and says what that was. The log is another one from then on: everybody who reads it has
/// to load everything, as nobody knows what was missed.
pub(in crate::ledger) fn put_back(connection: &mut AnyConnection) -> Result<Vec<TriggerFault>, LedgerError> {
    let faults = faults(connection)?;
    if faults.is_empty() {
        return Ok(faults);
    }
    let wrong = |name: &str| faults.iter().find(|fault| fault.name == name).map(|fault| &fault.wrong);
    let mut sql = String::new();
    for part in parts(connection) {
        match part.is {
            Is::Always => {}
            Is::Function { name } if wrong(name).is_some() => {}
            Is::Trigger { name, table, .. } => match wrong(name) {
                None => continue,
                Some(TriggerWrong::Missing) => {}
                Some(_) => sql.push_str(&dialect::drop_trigger(connection, name, table)),
            },
            Is::Function { .. } => continue,
        }
        sql.push_str(part.sql);
    }
    connection.batch_execute(&sql)?;
    Ok(faults)
}
