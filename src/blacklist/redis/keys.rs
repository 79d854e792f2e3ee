//! What our keys are called.
//!
//! All of them have the prefix in braces, so that they are on one node of a Cluster and one script can use them together. A letter
//! between colons tells the kinds apart: what follows it may be any text, and is no key of another kind.

use crate::token::{Jti, SessionId};

/// Names keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{{{prefix}}}") }
    }

    /// What says how far the rest is.
    pub(super) fn head(&self) -> String {
        format!("{}:head", self.prefix)
    }

    /// Where it is told that something changed.
    pub(super) fn channel(&self) -> String {
        format!("{}:changed", self.prefix)
    }

    /// Who reads everything once more.
    pub(super) fn again(&self) -> String {
        format!("{}:again", self.prefix)
    }

    pub(super) fn token(&self, jti: &Jti) -> String {
        format!("{}:t:{jti}", self.prefix)
    }

    pub(super) fn session(&self, id: SessionId) -> String {
        format!("{}:s:{id}", self.prefix)
    }

    /// The cutoff of everybody.
    pub(super) fn everybody(&self) -> String {
        format!("{}:c", self.prefix)
    }

    pub(super) fn user(&self, user: &str) -> String {
        format!("{}:u:{user}", self.prefix)
    }
}
