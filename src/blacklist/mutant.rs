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
        _ => return false,
    };
    CHOSEN.set(mutant).is_ok()
}

/// Whether there is this fault. Never in a release build: whoever installs the program with all features gets none of them.
pub(crate) fn is(mutant: Mutant) -> bool {
    cfg!(debug_assertions) && CHOSEN.get() == Some(&mutant)
}
