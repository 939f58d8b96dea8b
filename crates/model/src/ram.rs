//! Who may do what: policy documents of RAM and their evaluation.
//!
//! A document is the JSON that the cloud's RAM has (version `1`): statements that allow or deny actions on resources
//! under conditions. Without a statement that allows it nothing is allowed, and one that denies wins over all that
//! allow. Evaluation is a pure function of documents, request and time.
//!
//! Format: "Policy elements" and "Policy structure and syntax" of RAM's documentation. Of the condition keys,
//! `acs:SourceIp` and `acs:CurrentTime` are known; a statement with any other is refused when the document is stored,
//! because it would not do what its author believes.

mod condition;
mod document;
mod pattern;
mod resource;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::Timestamp;

pub use document::{Document, DocumentError, Effect, Principal, Statement};
pub use resource::ResourceKind;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `hbr:DescribeBackupJobs2`; compared without regard to case.
    pub action: &'a str,
    /// What it is about, by each of its names, such as `acs:hbr:cn-hangzhou:1234567890123456:vault/v-0001`: a plan also
    /// has that of its vault. A `Resource` fits that fits one of them, a `NotResource` that fits none.
    pub resources: &'a [String],
    /// Where the request comes from.
    pub source_ip: IpAddr,
    /// When it is made.
    pub now: Timestamp,
}

/// What came of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allowed,
    /// No statement allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
}

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed)
    }
}

/// Evaluates the documents of one identity together.
pub fn evaluate<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
    request: &Request<'_>,
) -> Decision {
    let mut decision = Decision::NotAllowed;
    for statement in documents
        .into_iter()
        .flat_map(|document| &document.statements)
    {
        if !statement.applies_to(request) {
            continue;
        }
        match statement.effect {
            Effect::Deny => return Decision::Denied,
            Effect::Allow => decision = Decision::Allowed,
        }
    }
    decision
}
