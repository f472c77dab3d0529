//! The access that a run takes to a mailbox: when a saga may ask for it, has to wait for it, or goes without.
//!
//! Each grant is one lease, which the daemon never makes longer. It is there while a saga works in the mailbox and not
//! in between: neither in quarantine nor while somebody paused. So one saga takes two at most, to export and to purge,
//! and one more for each time that people paused it.
//!
//! **Invariant:** what a person ended, what could not be given, and what the time ended is not asked for again in the
//! same phase: its items are left alone. Past the pivot nothing waits, for there is no way back.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::grant::{GrantEnd, GrantStep};
use crate::event::saga::{ScriptKind, Step};
use crate::id::{EntityId, GrantId, RunId};
use crate::saga::{self, Wish};
use crate::time::Timestamp;
use crate::view::{Grant, Grants, Run, Saga};

/// How a saga stands that begins a step in a mailbox to which its run takes access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is to be asked for.
    Ask,
    /// It is being given, or others of the run have to end first.
    Wait,
    /// It is verified to be there.
    Stands(GrantId),
    /// It could not be given, a person ended it, or its time is over.
    Over,
}

/// Says whether the next step of a saga waits for the access: it works in the mailbox and is not past the pivot.
#[must_use]
pub fn waits(saga: &Saga, next: saga::Next) -> bool {
    let works_there = match next {
        saga::Next::Start { step, .. } => matches!(step, Step::Export | Step::Expunge),
        saga::Next::Probe { .. }
        | saga::Next::Compensate { .. }
        | saga::Next::WaitUntil(_)
        | saga::Next::WaitForOperator
        | saga::Next::End(_) => false,
    };
    works_there && saga.started.script == ScriptKind::MessagePurge && !saga.is_past_pivot()
}

/// Returns how a saga stands that works in a mailbox. At the same time a run takes access to no more mailboxes than
/// `at_once`, so that no lease runs before anybody works.
#[must_use]
pub fn access(grants: &Grants, saga: &Saga, mailbox: EntityId, at_once: usize, now: Timestamp) -> Access {
    let run = saga.started.run;
    let newest = grants.of_run(run).rev().find(|(_, grant)| grant.mailbox == mailbox);
    match newest {
        Some((id, grant)) if grant.is_on(now) => match grant.receipt(GrantStep::Give) {
            Some(_) => return Access::Stands(id),
            None => return Access::Wait,
        },
        Some((_, grant)) if !grant.is_unneeded && !is_of_before(grant, saga, now) => return Access::Over,
        Some(_) | None => {}
    }
    if grants.taken_now(run, now) < at_once { Access::Ask } else { Access::Wait }
}

/// Says whether a grant that nobody revoked was over before the quarantine was: it says nothing about the time after.
fn is_of_before(grant: &Grant, saga: &Saga, now: Timestamp) -> bool {
    let over_since = grant.ended_at.or(grant.ends_since(now));
    grant.revoke_requested_at.is_none()
        && saga.quarantine_until().is_some_and(|until| over_since.is_some_and(|since| since <= until))
}

/// Says whether a saga needs the access to its mailbox at an instant.
#[must_use]
pub fn is_needed(saga: &Saga, wish: Wish, now: Timestamp) -> bool {
    if saga.end.is_some() {
        return false;
    }
    match saga::next(saga, wish, now) {
        saga::Next::Start { .. } | saga::Next::Probe { .. } => true,
        // A step is tried again, but before the pivot not while it is paused; or nothing comes before the end of the
        // quarantine.
        saga::Next::WaitUntil(_) => saga.is_past_pivot() || (wish == Wish::GoOn && saga.quarantine_until().is_none()),
        // What is undone is undone here.
        saga::Next::Compensate { .. } | saga::Next::WaitForOperator | saga::Next::End(_) => false,
    }
}

/// How often access is followed from one grant to the next: a log that is damaged must not lead in circles.
const HANDED_OVER_MAX: usize = 100;

/// What became of the access to one mailbox.
///
/// **Order:** what is worse for whoever asks whether it is gone comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Became {
    NotGiven,
    GivenBack,
    HandedOver,
    Ending,
    Open,
}

/// What became of the access that a run took: to how many mailboxes, and which grants say so of those where it is not gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken(BTreeMap<Became, (u64, Vec<GrantId>)>);

impl Taken {
    /// Says it of a run at an instant; `None` if it took none.
    #[must_use]
    pub fn of(grants: &Grants, id: RunId, run: &Run, now: Timestamp) -> Option<Self> {
        let mut mailboxes: BTreeMap<EntityId, Became> = BTreeMap::new();
        let mut taken: BTreeMap<Became, (u64, Vec<GrantId>)> = BTreeMap::new();
        for (grant, body) in grants.of_run(id) {
            let became = became(grants, body, run, now);
            let worst = mailboxes.entry(body.mailbox).or_insert(became);
            *worst = became.max(*worst);
            taken.entry(became).or_default().1.push(grant);
        }
        for worst in mailboxes.into_values() {
            taken.entry(worst).or_default().0 += 1;
        }
        taken.retain(|_, (mailboxes, _)| *mailboxes > 0);
        (!taken.is_empty()).then_some(Self(taken))
    }
}

/// The last one of those that were handed over to each other takes everything away.
fn last_end(grants: &Grants, grant: &Grant) -> Option<GrantEnd> {
    let mut last = grant.end;
    for _ in 0..HANDED_OVER_MAX {
        let Some(GrantEnd::HandedOver { to }) = last else { break };
        match grants.get(to).and_then(|next| next.end) {
            Some(end) => last = Some(end),
            None => break,
        }
    }
    last
}

/// A run that is over has no use for its access: until people are alarmed, what is left of it is on its way out.
fn became(grants: &Grants, grant: &Grant, run: &Run, now: Timestamp) -> Became {
    match last_end(grants, grant) {
        Some(GrantEnd::Revoked) => Became::GivenBack,
        Some(GrantEnd::HandedOver { .. }) => Became::HandedOver,
        Some(GrantEnd::NotGiven | GrantEnd::Rejected | GrantEnd::Withdrawn | GrantEnd::Expired) => Became::NotGiven,
        None if grant.is_alarming(now) => Became::Open,
        None if grant.ends_since(now).is_some() || run.ended_at.is_some() => Became::Ending,
        None => Became::Open,
    }
}

/// Names grants where the access is not gone, the mailboxes only by their number: whoever reads it asks about those.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (became, (mailboxes, grants))) in self.0.iter().rev().enumerate() {
            let (how, is_gone) = match became {
                Became::Open => ("still open", false),
                Became::Ending => ("being given back", false),
                Became::HandedOver => ("handed over to another grant", false),
                Became::GivenBack => ("given back", true),
                Became::NotGiven => ("never given", true),
            };
            let noun = if *mailboxes == 1 { "mailbox" } else { "mailboxes" };
            write!(f, "{}{how} on {mailboxes} {noun}", if number == 0 { "" } else { ", " })?;
            if !is_gone {
                let names: Vec<String> = grants.iter().map(ToString::to_string).collect();
                write!(f, " ({})", names.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
