//! Grants: what comes next, for normal driving and for recovery alike.
//!
//! read → give → (lease) → revoke → verify. [`next`] looks at what the log says of a grant and answers with one thing
//! to do. After a crash the very same function is asked; there is no second engine.
//!
//! **Invariant:** once the intent to give is recorded there are two ways out only: a verified revoke, or another grant
//! of the same principal that stands and has the same two ways out. Revoking is tried for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::grant::{FolderRights, GrantEnd, GrantStep};
use crate::event::saga::Failure;
use crate::id::GrantId;
use crate::mailbox::Rights;
use crate::saga;
use crate::time::Timestamp;
use crate::view::{Grant, StepStanding};

// The access that runs take.
pub mod run;

/// How often reading and giving are tried before the grant ends without having been given.
const ATTEMPTS_BEFORE_GIVEN_MAX: u32 = 5;

/// The longest pause between two attempts to revoke: one minute. Whatever keeps access open is tried again soon.
const REVOKE_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The one thing to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Record the intent of this attempt, then apply the effect.
    Start {
        /// The step.
        step: GrantStep,
        /// Which attempt.
        attempt: u32,
    },
    /// Read back whether the effect of the step happened.
    Probe {
        /// The step.
        step: GrantStep,
        /// Which attempt.
        attempt: u32,
    },
    /// Nothing before then, unless somebody says something.
    WaitUntil(Timestamp),
    /// Record the end.
    End(GrantEnd),
    /// It is over.
    Nothing,
}

/// Returns the one thing to do next with a grant. `beside` is another grant of the same principal and mailbox that
/// stands at this instant. `now` never goes back, so that no lease becomes longer by a clock that was set back; `clock`
/// is what the clock says, by which it is waited between two attempts.
#[must_use]
pub fn next(grant: &Grant, beside: Option<GrantId>, now: Timestamp, clock: Timestamp) -> Next {
    if grant.end.is_some() {
        return Next::Nothing;
    }
    match (grant.begun_at, grant.ends_since(now)) {
        (None, _) => before_it_is_given(grant, beside, now, clock),
        (Some(_), None) => {
            forward(grant, GrantStep::Give, clock).unwrap_or_else(|| match grant.lease_ends_at() {
                Some(at) => Next::WaitUntil(at),
                // Begun, so there is an end; should that ever be wrong, it ends now.
                None => Next::Start { step: GrantStep::Revoke, attempt: 1 },
            })
        }
        (Some(_), Some(_)) => take_back(grant, beside, clock),
    }
}

fn before_it_is_given(grant: &Grant, beside: Option<GrantId>, now: Timestamp, clock: Timestamp) -> Next {
    let is_removal = grant.purpose.is_removal();
    if grant.rejected_by.is_some() {
        return Next::End(GrantEnd::Rejected);
    }
    // What a grant that stands gave is no standing access; a later plan sees what is left when it is over.
    if grant.revoke_requested_at.is_some() || (is_removal && beside.is_some()) {
        return Next::End(GrantEnd::Withdrawn);
    }
    if !grant.is_approved(now) {
        let until = grant.waits_until();
        return if now < until { Next::WaitUntil(until) } else { Next::End(GrantEnd::Expired) };
    }
    match forward(grant, GrantStep::Read, clock) {
        // Nothing was given, and it was tried often enough.
        Some(Next::Start { attempt, .. }) if attempt > ATTEMPTS_BEFORE_GIVEN_MAX => Next::End(GrantEnd::NotGiven),
        Some(next) => next,
        None if is_removal => Next::Start { step: GrantStep::Revoke, attempt: 1 },
        None => Next::Start { step: GrantStep::Give, attempt: 1 },
    }
}

fn take_back(grant: &Grant, beside: Option<GrantId>, clock: Timestamp) -> Next {
    if let Some(to) = beside {
        return Next::End(GrantEnd::HandedOver { to });
    }
    for step in [GrantStep::Revoke, GrantStep::VerifyRevoked] {
        if let Some(next) = forward(grant, step, clock) {
            return next;
        }
    }
    Next::End(if grant.gave_up_at.is_none() { GrantEnd::Revoked } else { GrantEnd::NotGiven })
}

/// What a step itself asks for; `None` when it is done.
fn forward(grant: &Grant, step: GrantStep, clock: Timestamp) -> Option<Next> {
    match grant.step(step) {
        None => Some(Next::Start { step, attempt: 1 }),
        Some(StepStanding::Done(_)) => None,
        Some(StepStanding::Started { attempt }) => Some(Next::Probe { step, attempt: *attempt }),
        Some(StepStanding::Failed { retry_at: Some(at), .. }) if waits(step, *at, clock) => Some(Next::WaitUntil(*at)),
        Some(StepStanding::Failed { attempt, failure: Failure::Unknown, .. }) => {
            Some(Next::Probe { step, attempt: *attempt })
        }
        Some(StepStanding::Failed { attempt, failure: Failure::Refused, .. }) => {
            Some(Next::Start { step, attempt: attempt.saturating_add(1) })
        }
        // Nothing of a grant is ever recorded as undone; if it were, doing it again is harmless.
        Some(StepStanding::Undone) => Some(Next::Probe { step, attempt: 1 }),
    }
}

/// Says whether a step has to wait for its next attempt. What is taken back never waits longer than it does at most: a
/// later instant is that of a clock that was ahead.
fn waits(step: GrantStep, retry_at: Timestamp, clock: Timestamp) -> bool {
    match step {
        GrantStep::Read | GrantStep::Give => clock < retry_at,
        GrantStep::Revoke | GrantStep::VerifyRevoked => retry_at > clock && retry_at <= clock.after(REVOKE_BACKOFF_MAX),
    }
}

/// Returns when to try again after a refusal; `None` when it is not given any more. Revoking always has a next time.
#[must_use]
pub fn retry_at(step: GrantStep, attempt: u32, now: Timestamp) -> Option<Timestamp> {
    let wait = saga::backoff(attempt);
    let wait = match step {
        GrantStep::Give if attempt >= ATTEMPTS_BEFORE_GIVEN_MAX => return None,
        GrantStep::Read | GrantStep::Give => wait,
        GrantStep::Revoke | GrantStep::VerifyRevoked => wait.min(REVOKE_BACKOFF_MAX),
    };
    Some(now.after(wait))
}

/// What stood on the folders of a mailbox, for one principal, before any grant of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    folders: BTreeMap<String, Rights>,
}

impl Standing {
    /// Takes what was recorded before a grant.
    #[must_use]
    pub fn of(folders: impl IntoIterator<Item = FolderRights>) -> Self {
        Self { folders: folders.into_iter().map(|folder| (folder.folder, folder.after)).collect() }
    }

    /// Returns what stood on a folder.
    ///
    /// A folder that was made during the grant inherited from the one above it (servers copy the permissions of the
    /// parent), so what stood there is what stood above it. It may also be one that was renamed meanwhile: what
    /// stood on folders that are `gone` is not taken away from it either.
    #[must_use]
    pub fn on(&self, folder: &str, delimiter: Option<char>, gone: Rights) -> Rights {
        if let Some(known) = self.folders.get(folder) {
            return *known;
        }
        let above = delimiter.and_then(|delimiter| {
            let mut name = folder;
            loop {
                name = name.rsplit_once(delimiter)?.0;
                if let Some(known) = self.folders.get(name) {
                    return Some(*known);
                }
            }
        });
        let inbox = || self.folders.iter().find(|(name, _)| name.eq_ignore_ascii_case("INBOX")).map(|(_, set)| *set);
        above.or_else(inbox).unwrap_or(Rights::NONE).and(gone)
    }

    /// Returns what stood on folders that are no longer there.
    #[must_use]
    pub fn gone<'a>(&self, present: impl IntoIterator<Item = &'a str>) -> Rights {
        let present: std::collections::BTreeSet<&str> = present.into_iter().collect();
        let gone = self.folders.iter().filter(|(name, _)| !present.contains(name.as_str()));
        gone.fold(Rights::NONE, |all, (_, rights)| all.and(*rights))
    }
}

#[cfg(test)]
mod tests;
