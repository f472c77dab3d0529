//! Documents that a compliance officer needs, made from a policy set: the record of processing activities (GDPR
//! Art. 30(1)), the deletion concept (DIN 66398), and the paragraphs about storage in a privacy notice (Art. 13, 14).
//!
//! **They say what the policies say, and nothing else.** What a policy does not say is left open in plain sight, for
//! the controller to fill in. What is not enforced is marked as not in force, or kept out of sight of readers outside.
//!
//! **Who may read them.** The record and the concept show the filters of the policies, which may name persons: they
//! are for inside. The privacy notice shows neither filters nor owners nor principals.
//!
//! The same set always gives the same text. The digest of the set stands at the foot of Markdown, and in every row of
//! CSV, so that a document can be matched to the policies that it was made from.

use std::collections::BTreeMap;

use super::{Policy, PolicySet, State};

mod concept;
mod filter;
mod notice;
mod ropa;
mod rule;
mod words;
mod write;

/// Which document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The record of processing activities of GDPR Art. 30(1), as far as policies tell it.
    Ropa,
    /// The deletion concept after DIN 66398.
    DeletionConcept,
    /// What a privacy notice says about storage (GDPR Art. 13(2)(a), 14(2)(a)), in plain words.
    PrivacyNotice,
}

/// In which form a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentForm {
    /// For people: CommonMark with the tables of GitHub. Texts of policies cannot become markup.
    Markdown,
    /// For programs: RFC 4180, safe to open in a spreadsheet. An empty set has a header and no row.
    Csv,
}

impl Policy {
    /// Returns the period and what it counts from, in words.
    #[must_use]
    pub fn period_in_words(&self) -> String {
        rule::standard(self)
    }
}

impl Document {
    /// Writes the document of a policy set. Every line of it is free of control characters and of characters that turn
    /// the direction of writing.
    #[must_use]
    pub fn of(self, set: &PolicySet, form: DocumentForm) -> String {
        match (self, form) {
            (Self::Ropa, DocumentForm::Markdown) => ropa::markdown(set),
            (Self::Ropa, DocumentForm::Csv) => ropa::csv(set),
            (Self::DeletionConcept, DocumentForm::Markdown) => concept::markdown(set),
            (Self::DeletionConcept, DocumentForm::Csv) => concept::csv(set),
            (Self::PrivacyNotice, DocumentForm::Markdown) => notice::markdown(set),
            (Self::PrivacyNotice, DocumentForm::Csv) => notice::csv(set),
        }
    }
}

/// What stands where a policy says nothing.
const TO_FILL_IN: &str = "(to be filled in by the controller)";

/// Returns a text of a policy, or that it is to be filled in.
fn said(text: &str) -> &str {
    if text.trim().is_empty() { TO_FILL_IN } else { text }
}

/// Returns the policies that dispose of something by their data class, in its order; within a class by id.
fn by_class(set: &PolicySet) -> BTreeMap<&str, Vec<&Policy>> {
    let mut classes: BTreeMap<&str, Vec<&Policy>> = BTreeMap::new();
    for policy in set.policies().iter().filter(|policy| policy.access.is_none()) {
        classes.entry(policy.data_class.trim()).or_default().push(policy);
    }
    classes
}

fn is_in_force(policy: &Policy) -> bool {
    policy.state == State::Enforce
}

#[cfg(test)]
mod tests;
