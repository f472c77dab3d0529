//! What must be true of grants, whatever happens: read from the log, and compared with the mailboxes themselves.

use std::collections::BTreeMap;

use retention_core::event::Event;
use retention_core::event::grant::{GrantEnd, GrantReceipt, GrantStep};
use retention_core::id::{GrantId, Position};
use retention_core::view::Views;
use retentiond::store::Store;

use super::Violation;
use crate::mailboxes::Mailboxes;

#[derive(Default)]
struct Seen {
    requested_by: Option<u32>,
    needed: u32,
    is_removal: bool,
    approvers: std::collections::BTreeSet<u32>,
    has_read: bool,
    begun: bool,
    revoked: bool,
    verified: bool,
    end: Option<GrantEnd>,
}

/// Looks at every grant of the log, and at the mailboxes.
#[must_use]
pub fn check(store: &Store, mailboxes: &Mailboxes) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut blame = |invariant: &'static str, position: Position, detail: &str| {
        violations.push(Violation { position: Some(position), ..Violation::of(invariant, None, detail) });
    };
    let last = store.view(|views| views.position);
    let mut grants: BTreeMap<GrantId, Seen> = BTreeMap::new();
    for position in (1..=last.0).map(Position) {
        let Ok(Some(recorded)) = store.read(position) else { continue };
        let person = match recorded.envelope.actor {
            retention_core::event::Actor::Person(uid) => Some(uid),
            retention_core::event::Actor::Daemon | retention_core::event::Actor::Schedule => None,
        };
        match recorded.event() {
            Some(Event::GrantRequested(body)) => {
                let (needed, is_removal) = (body.approvals, body.purpose.is_removal());
                let seen = Seen { requested_by: person, needed, is_removal, ..Seen::default() };
                grants.insert(GrantId(position), seen);
            }
            Some(Event::GrantApproved(body)) => {
                let grant = grants.entry(body.grant).or_default();
                if let Some(uid) = person
                    && Some(uid) != grant.requested_by
                {
                    grant.approvers.insert(uid);
                }
            }
            Some(Event::GrantStepStarted(body)) => {
                let grant = grants.entry(body.grant).or_default();
                if body.step == GrantStep::Give {
                    if !grant.has_read {
                        blame("grant_without_a_reading", position, "nobody knows what stood there");
                    }
                    if grant.approvers.len() < grant.needed as usize {
                        blame("grant_without_approval", position, "too few persons accepted it");
                    }
                    if grant.revoked || grant.end.is_some() {
                        blame("grant_given_after_its_end", position, "it was taken back before");
                    }
                }
                let takes = grant.is_removal && body.step == GrantStep::Revoke;
                if takes && grant.approvers.len() < grant.needed as usize {
                    blame("removal_without_approval", position, "too few persons accepted it");
                }
                if grant.is_removal && body.step == GrantStep::Give {
                    blame("removal_that_gives", position, "nothing may be given");
                }
                grant.begun |= matches!(body.step, GrantStep::Give | GrantStep::Revoke);
            }
            Some(Event::GrantStepSucceeded(body)) => {
                let grant = grants.entry(body.grant).or_default();
                match body.receipt {
                    GrantReceipt::Read { .. } => grant.has_read = true,
                    GrantReceipt::Given { .. } => {}
                    GrantReceipt::Revoked { .. } => grant.revoked = true,
                    GrantReceipt::VerifiedGone { .. } => grant.verified = true,
                }
            }
            Some(Event::GrantEnded(body)) => {
                let is_handed_over = match body.end {
                    GrantEnd::HandedOver { to } => grants.get(&to).is_some_and(|to| to.begun && to.end.is_none()),
                    _ => false,
                };
                let grant = grants.entry(body.grant).or_default();
                if grant.end.is_some() {
                    blame("grant_ended_twice", position, "it was over");
                }
                if grant.begun && !(grant.revoked && grant.verified) && !is_handed_over {
                    blame("grant_ended_without_verified_revoke", position, "it may still be there");
                }
                grant.end = Some(body.end);
            }
            _ => {}
        }
    }
    let at_work = |views: &Views| views.small.grants.open().any(|(_, grant)| grant.may_be_there());
    if !store.view(at_work) {
        violations.extend(mailboxes.left_behind().iter().map(|left| Violation::of("access_left_behind", None, left)));
    }
    violations.extend(mailboxes.taken_away().iter().map(|lost| Violation::of("standing_access_lost", None, lost)));
    violations
}
