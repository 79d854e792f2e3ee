//! Faults that a test asks for, to see that it finds them. Only in a build with the feature `mutants`, and there only in the
//! program, where `SIMPLEJWT_MUTANT` names one.

use std::sync::OnceLock;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// What is in memory is never too old.
    NoFencing,
    /// A revocation is acknowledged before the process that does it refuses the token.
    NoCatchUp,
    /// Requests are answered before everything is in memory.
    ServeBeforeLoad,
    /// Where it cannot be told whether a token is refused, it is not.
    ErrorsMeanNo,
    /// Who reads what was revoked goes by the keys of the rows, as if they were the order of the commits.
    IdCursor,
    /// A revocation is acknowledged when its statements are done, and committed after that.
    AnswerBeforeCommit,
    /// The flush deletes what has expired, whether or not it is still accepted somewhere.
    FlushAtExp,
}

static CHOSEN: OnceLock<Mutant> = OnceLock::new();

/// Has the fault from now on, if there is one of that name.
#[cfg(feature = "cli")]
pub(crate) fn choose(name: &str) -> bool {
    let mutant = match name {
        "no-fencing" => Mutant::NoFencing,
        "no-catch-up" => Mutant::NoCatchUp,
        "serve-before-load" => Mutant::ServeBeforeLoad,
        "errors-mean-no" => Mutant::ErrorsMeanNo,
        "id-cursor" => Mutant::IdCursor,
        "answer-before-commit" => Mutant::AnswerBeforeCommit,
        "flush-at-exp" => Mutant::FlushAtExp,
        _ => return false,
    };
    CHOSEN.set(mutant).is_ok()
}

/// Whether there is this fault. Never in a release build: whoever installs the program with all features gets none of them.
pub(crate) fn is(mutant: Mutant) -> bool {
    cfg!(debug_assertions) && CHOSEN.get() == Some(&mutant)
}
