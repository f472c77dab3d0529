//! What people wrote in an event, and whom they named, apart from its facts.
//!
//! The log is never changed, and what it says of its own work must be readable for ever: when which hold was placed on
//! what, and by which user id. The **texts** in it need not be: reasons, comments, tickets, names. So the body of such
//! an event is stored twice: its **facts**, with [`ERASED`] in the place of every text, under the house key; and whole,
//! under the key of the month of the log in which it was written. When that key is destroyed, the facts are left.
//!
//! **Invariant:** no view and no decision is made from a text, so an event folds the same whole and by its facts. What
//! the daemon itself works with is a fact, whoever it names: handles of data subjects, folders of a migration, to whom
//! a copy was given. Two exceptions are needed until that is over which they began, and their month waits: who gets a
//! grant, and the filter of a hold. What a filter catches is recorded as numbers, so no view is made from it either.
//!
//! A stored body of this form is `length of the facts (4) ‖ facts ‖ texts`, both sealed. The envelope holds the SHA-256
//! of `length of the facts ‖ facts ‖ SHA-256(texts)`, so that it can be checked also without the texts.

use super::Event;
use crate::id::Digest;

/// What stands in the facts in the place of a text.
pub const ERASED: &str = "(text erased)";

const LENGTH_BYTES: usize = 4;

impl Event {
    /// Returns the event with [`ERASED`] in the place of what people wrote; `None` when there is nothing of that in it.
    #[must_use]
    pub fn facts_alone(&self) -> Option<Self> {
        let mut event = self.clone();
        let mut is_written = false;
        for text in event.texts_mut() {
            // What was left empty says nothing, and stays so.
            if !text.is_empty() {
                ERASED.clone_into(text);
                is_written = true;
            }
        }
        is_written.then_some(event)
    }

    /// Returns what people wrote. A type that is sealed with the house key and is not named here has no texts; a test
    /// asks of each.
    fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::HoldPlaced(b) => {
                vec![&mut b.name, &mut b.reason, &mut b.owner, &mut b.reference, &mut b.filter]
            }
            Self::GrantRequested(b) => {
                [&mut b.identifier, &mut b.reason].into_iter().chain(b.ticket.as_mut()).collect()
            }
            Self::ErasureExcepted(b) => vec![&mut b.owner, &mut b.reason],
            Self::SubjectRequested(b) => vec![&mut b.reference],
            Self::SubjectIdentified(b) => vec![&mut b.how],
            Self::RecipientTold(b) => vec![&mut b.how],
            Self::PlanApproved(b) => vec![&mut b.comment],
            Self::PlanRejected(b) => vec![&mut b.comment],
            Self::GrantApproved(b) => vec![&mut b.comment],
            Self::GrantRejected(b) => vec![&mut b.comment],
            Self::MailboxRemoved(b) => vec![&mut b.reason],
            Self::HoldReleased(b) => vec![&mut b.reason],
            Self::DisposalPaused(b) => vec![&mut b.reason],
            Self::DisposalResumed(b) => vec![&mut b.reason],
            Self::RestrictionPlaced(b) => vec![&mut b.reason],
            Self::RestrictionLifted(b) => vec![&mut b.reason],
            Self::RunPaused(b) => vec![&mut b.reason],
            Self::RunResumed(b) => vec![&mut b.reason],
            Self::RunCancelled(b) => vec![&mut b.reason],
            Self::ReviewDecided(b) => vec![&mut b.reason],
            Self::GrantRenewed(b) => vec![&mut b.reason],
            Self::GrantRevokeRequested(b) => vec![&mut b.reason],
            Self::SubjectRequestExtended(b) => vec![&mut b.reason],
            Self::ErasureExceptionEnded(b) => vec![&mut b.reason],
            Self::SubjectRequestCompleted(b) => vec![&mut b.reason],
            Self::EntityRestored(b) => vec![&mut b.reason],
            Self::BundleHandedOver(b) => vec![&mut b.reason],
            Self::MigrationStopRequested(b) => vec![&mut b.reason],
            Self::KeyRotationRequested(b) => vec![&mut b.reason],
            Self::ClockConfirmed(b) => vec![&mut b.reason],
            Self::RestoreConfirmed(b) => vec![&mut b.reason],
            Self::NoticeAcknowledged(b) => vec![&mut b.reason],
            _ => Vec::new(),
        }
    }
}

/// Puts the two sealed parts together as they are stored.
#[must_use]
pub fn join(facts: &[u8], texts: &[u8]) -> Vec<u8> {
    // A body is at most 16 MiB.
    let length = u32::try_from(facts.len()).unwrap_or(u32::MAX);
    [length.to_le_bytes().as_slice(), facts, texts].concat()
}

/// Takes a stored body apart into its facts and its texts; `None` when it is no such body.
#[must_use]
pub fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, parts) = body.split_first_chunk::<LENGTH_BYTES>()?;
    parts.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Returns the digest under which the envelope names a stored body; `None` when it is no such body.
#[must_use]
pub fn digest(body: &[u8]) -> Option<Digest> {
    let (facts, texts) = split(body)?;
    Some(Digest::of(&join(facts, &Digest::of(texts).0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_joined_is_taken_apart_and_any_bytes_are_a_body_or_none(
            facts in prop::collection::vec(any::<u8>(), 0..100),
            texts in prop::collection::vec(any::<u8>(), 0..100),
            other in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let body = join(&facts, &texts);
            prop_assert_eq!(split(&body), Some((facts.as_slice(), texts.as_slice())));
            if let Some((facts, texts)) = split(&other) {
                prop_assert_eq!(join(facts, texts), other);
            }
        }

        #[test]
        fn a_changed_byte_of_either_part_is_another_digest(
            facts in prop::collection::vec(any::<u8>(), 1..100),
            texts in prop::collection::vec(any::<u8>(), 1..100),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let mut body = join(&facts, &texts);
            let before = digest(&body);
            let at = at.index(body.len());
            body[at] ^= flip;
            prop_assert_ne!(digest(&body), before);
        }
    }
}
