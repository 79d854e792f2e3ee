//! Errors as one line.

use std::error::Error;
use std::fmt::{self, Display};

/// An error with everything that caused it, in one line, for a log or a terminal.
pub(crate) fn chain(error: &dyn Error) -> impl Display + '_ {
    Chain(error)
}

struct Chain<'a>(&'a dyn Error);

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Some errors already print their source.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            next = error.source();
        }
        Ok(())
    }
}
