//! Permissions of mailboxes: who may do what in those that are registered, looked at now and then and when somebody
//! asks.
//!
//! What was seen is recorded when it differs from what was seen before. A policy with `standing` then asks that
//! FullAccess which nobody was granted through it, and which has stood for longer, be taken away; the run stage does
//! that.

use std::collections::BTreeMap;
use std::sync::Arc;

use retention_core::event::change::ScanEnd;
use retention_core::event::grant::{GrantPurpose, GrantRequested};
use retention_core::event::permission::{
    Holder, ObservedPermission, PERMISSIONS_PER_EVENT, PermissionObserved, PermissionsScanned,
};
use retention_core::event::{Actor, Draft, Event, stream_of_daemon};
use retention_core::id::{EntityId, Handle, Position};
use retention_core::mailbox::Rights;
use retention_core::policy::{Access, Approval, Policy, StandingAccess, State};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, Grant};

use super::super::{StageError, Step, is_over, look_due, sooner};
use crate::clock::Clock;
use crate::connector::access::{PermissionEntry, PermissionReader};
use crate::connector::outcome::{Refusal, Retry};
use crate::store::{AppendError, Store};

/// How often a mailbox is looked at, in microseconds: six hours. A change in between shows at the next look.
pub const PERMISSIONS_EVERY_US: i64 = 6 * 3_600_000_000;

/// How soon after a look that failed for a moment another one is made, in microseconds: a quarter of an hour.
const AGAIN_AFTER_US: i64 = 15 * 60_000_000;

/// The most entries of one mailbox that are recorded: a hundred thousand folders with some entries each. A server that
/// tells of more is not believed.
const ENTRIES_MAX: usize = 1_000_000;

/// How long somebody waits who refused that standing access be taken away, in microseconds: thirty days.
const ASK_AGAIN_US: i64 = 30 * 86_400_000_000;

const TOO_MANY: Refusal = Refusal { code: "permissions-too-many", retry: Retry::Operator };

/// The stage.
pub struct PermissionIntake {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    reader: Arc<dyn PermissionReader>,
    /// When a mailbox whose look failed for a moment is looked at again.
    again: BTreeMap<EntityId, Timestamp>,
    /// When each mailbox was looked at last, by the clock.
    looked_at: BTreeMap<EntityId, Timestamp>,
}

impl PermissionIntake {
    /// Looks at the registered mailboxes through a reader.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, reader: Arc<dyn PermissionReader>) -> Self {
        Self { store, clock, reader, again: BTreeMap::new(), looked_at: BTreeMap::new() }
    }

    /// Looks at one mailbox, or asks that what has stood too long in one be taken away.
    ///
    /// # Errors
    /// When the log or the store fail. What a server does not tell is no error: it is recorded.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let now = self.clock.now();
        let (wanted, next) = self.wanted(now);
        if let Some((mailbox, cause)) = wanted {
            self.look(mailbox, cause, now)?;
            return Ok(Step::Worked);
        }
        if self.ask_removal(now)? {
            return Ok(Step::Worked);
        }
        Ok(next.map_or(Step::Idle, Step::IdleUntil))
    }

    /// Returns the mailbox that is to be looked at now with the event that wants it, and when the next one is.
    fn wanted(&self, now: Timestamp) -> (Option<(EntityId, Position)>, Option<Timestamp>) {
        self.store.view(|views| {
            let mut next: Option<Timestamp> = None;
            for (mailbox, _) in views.small.registry.iter() {
                let Some(known) = views.small.permissions.get(mailbox) else {
                    return (Some((mailbox, Position::NONE)), None);
                };
                if known.requested > known.tried {
                    return (Some((mailbox, known.requested)), None);
                }
                let looked = self.looked_at.get(&mailbox).copied();
                let usual = look_due(known.tried_at, looked, now, PERMISSIONS_EVERY_US);
                let at = self.again.get(&mailbox).copied().unwrap_or(usual);
                if known.tried == Position::NONE || is_over(at, now, PERMISSIONS_EVERY_US) {
                    return (Some((mailbox, Position::NONE)), None);
                }
                next = Some(sooner(next, at));
            }
            (None, next)
        })
    }

    fn look(&mut self, mailbox: EntityId, cause: Position, now: Timestamp) -> Result<(), StageError> {
        let read = self
            .reader
            .permissions(mailbox)
            .and_then(|entries| if entries.len() > ENTRIES_MAX { Err(TOO_MANY) } else { Ok(entries) });
        let mut drafts = Vec::new();
        let scanned = match read {
            Ok(entries) => {
                self.again.remove(&mailbox);
                let entries = self.observed(entries);
                let full = entries.iter().filter(|entry| is_full(entry)).map(|entry| entry.principal);
                let full_access = full.collect::<std::collections::BTreeSet<Handle>>().len() as u64;
                let body = PermissionObserved { entries };
                let digest = self.store.digest_of(&retention_core::event::codec::encode(&body)?);
                let before = self
                    .store
                    .view(|views| views.small.permissions.get(mailbox)?.done.as_ref().map(|(_, done)| done.digest));
                let count = body.entries.len() as u64;
                if before != Some(digest) {
                    let parts = body.entries.chunks(PERMISSIONS_PER_EVENT);
                    drafts.extend(parts.map(|part| {
                        let body = PermissionObserved { entries: part.to_vec() };
                        self.draft(mailbox, cause, Event::PermissionObserved(body))
                    }));
                }
                let parts = u32::try_from(drafts.len()).unwrap_or(u32::MAX);
                let (end, code) = (ScanEnd::Done, String::new());
                PermissionsScanned { end, code, digest, parts, entries: count, full_access }
            }
            Err(refusal) => {
                match refusal.retry {
                    Retry::After(_) | Retry::AfterProbe => {
                        self.again.insert(mailbox, Timestamp(now.0.saturating_add(AGAIN_AFTER_US)));
                    }
                    Retry::Never | Retry::Operator => drop(self.again.remove(&mailbox)),
                }
                tracing::warn!(%mailbox, code = refusal.code, "the permissions of a mailbox could not be looked at");
                let (end, code) = (ScanEnd::Failed, refusal.code.to_owned());
                PermissionsScanned { end, code, digest: 0, parts: 0, entries: 0, full_access: 0 }
            }
        };
        drafts.push(self.draft(mailbox, cause, Event::PermissionsScanned(scanned)));
        self.store.append_drafts(drafts, Condition::None)?;
        self.looked_at.insert(mailbox, now);
        Ok(())
    }

    fn observed(&self, entries: Vec<PermissionEntry>) -> Vec<ObservedPermission> {
        let mut observed: Vec<ObservedPermission> = entries
            .into_iter()
            .map(|entry| ObservedPermission {
                principal: self.store.principal(&entry.identifier),
                folder: entry.folder,
                identifier: entry.identifier,
                holder: entry.holder,
                rights: entry.rights,
            })
            .collect();
        observed.sort();
        observed
    }

    fn draft(&self, mailbox: EntityId, cause: Position, event: Event) -> Draft {
        Draft {
            stream: self.store.stream_of(mailbox),
            entity: Some(mailbox),
            actor: Actor::Daemon,
            cause,
            occurred_at: None,
            event,
        }
    }

    /// Asks that what one person has had for too long be taken away. Returns whether it did. How long that is, the
    /// clock tells: while it is not believed, nothing is asked for.
    fn ask_removal(&self, now: Timestamp) -> Result<bool, StageError> {
        if self.store.view(|views| views.small.clock.doubt().is_some()) {
            return Ok(false);
        }
        let policies = self.store.policies();
        let enforced = policies.policies().iter().filter(|policy| policy.state == State::Enforce);
        for (policy, access, standing) in enforced.filter_map(|policy| {
            let access = policy.access.as_ref()?;
            Some((policy, access, access.standing.as_ref()?))
        }) {
            for Overdue { mailbox, principal, readings, full, grants } in self.overdue(standing, now) {
                let Some(identifier) = self.identifier(&readings, principal)? else { continue };
                // Servers differ in which letters they tell apart; who may be meant is kept.
                if standing.keep.iter().any(|kept| kept.to_lowercase() == identifier.to_lowercase()) {
                    continue;
                }
                if !is_too_long(self.without_grants(full, grants)?, standing, now) {
                    continue;
                }
                let draft = Draft {
                    stream: stream_of_daemon(),
                    entity: None,
                    actor: Actor::Daemon,
                    cause: readings.last().copied().unwrap_or(Position::NONE),
                    occurred_at: None,
                    event: Event::GrantRequested(request(policy, access, mailbox, principal, identifier)),
                };
                let condition = Condition::All(vec![Condition::MailboxRegistered(mailbox), Condition::ClockBelieved]);
                return match self.store.append_drafts(vec![draft], condition) {
                    Ok(_) => Ok(true),
                    // Removed, or doubted, in this very moment.
                    Err(AppendError::Conflict(_)) => Ok(false),
                    Err(error) => Err(error.into()),
                };
            }
        }
        Ok(false)
    }

    /// Returns the persons whose FullAccess has been seen for longer than it may stand, and for whom nobody asked yet.
    fn overdue(&self, standing: &StandingAccess, now: Timestamp) -> Vec<Overdue> {
        self.store.view(|views| {
            let mut overdue = Vec::new();
            for (mailbox, _) in views.small.registry.iter() {
                let Some(known) = views.small.permissions.get(mailbox) else { continue };
                let seen_at = known.done.as_ref().map_or(Timestamp(0), |(at, _)| *at);
                for (principal, since) in &known.full_since {
                    let full = Full { since: *since, seen_at };
                    if !is_too_long(full, standing, now) {
                        continue;
                    }
                    let grants = views.small.grants.iter();
                    let theirs: Vec<&Grant> = grants
                        .map(|(_, grant)| grant)
                        .filter(|grant| grant.mailbox == mailbox && grant.principal == *principal)
                        .collect();
                    let asked = theirs.iter().any(|grant| {
                        let refused_lately = grant.purpose == GrantPurpose::Standing
                            && grant.requested_at.0.saturating_add(ASK_AGAIN_US) > now.0;
                        grant.end.is_none() || refused_lately
                    });
                    if !asked {
                        let begun = theirs.iter().filter(|grant| grant.begun_at.is_some());
                        let grants =
                            begun.filter_map(|grant| Some((grant.ended_at?, grant.readings.clone()))).collect();
                        let (principal, readings) = (*principal, known.readings.clone());
                        overdue.push(Overdue { mailbox, principal, readings, full, grants });
                    }
                }
            }
            overdue
        })
    }

    /// Returns since when somebody has had FullAccess that no grant of ours gave: where a grant found none, what was
    /// seen until its end was its own.
    fn without_grants(&self, full: Full, mut grants: Vec<(Timestamp, Vec<Position>)>) -> Result<Full, StageError> {
        grants.retain(|(ended_at, _)| *ended_at > full.since);
        grants.sort_unstable_by_key(|(ended_at, _)| std::cmp::Reverse(*ended_at));
        for (ended_at, readings) in grants {
            if !self.has_full(&readings)? {
                // A look in the very moment of its end may have seen what it gave.
                return Ok(Full { since: Timestamp(ended_at.0.saturating_add(1)), ..full });
            }
        }
        Ok(full)
    }

    /// Says whether FullAccess stood on some folder when a grant read what was there without it.
    fn has_full(&self, readings: &[Position]) -> Result<bool, StageError> {
        for position in readings {
            if let Some(recorded) = self.store.read(*position)?
                && let Some(Event::GrantFoldersRead(body)) = recorded.event()
                && body.folders.iter().any(|folder| folder.after.covers(Rights::FULL_ACCESS))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn identifier(&self, readings: &[Position], principal: Handle) -> Result<Option<String>, StageError> {
        for position in readings {
            if let Some(recorded) = self.store.read(*position)?
                && let Some(Event::PermissionObserved(body)) = recorded.event()
                && let Some(entry) = body.entries.iter().find(|entry| entry.principal == principal)
            {
                return Ok(Some(entry.identifier.clone()));
            }
        }
        Ok(None)
    }
}

/// FullAccess of one person to a mailbox, as it was seen.
#[derive(Clone, Copy)]
struct Full {
    /// Since when it stands.
    since: Timestamp,
    /// When it was looked at last.
    seen_at: Timestamp,
}

/// Somebody whose FullAccess has been seen for too long.
struct Overdue {
    mailbox: EntityId,
    principal: Handle,
    /// Where the entries stand in the log.
    readings: Vec<Position>,
    full: Full,
    /// The grants that are over: when that was, and where it is said what stood before.
    grants: Vec<(Timestamp, Vec<Position>)>,
}

/// Says whether it has stood for longer than it may. What was last seen before it is said to begin was not seen at all.
fn is_too_long(full: Full, standing: &StandingAccess, now: Timestamp) -> bool {
    let longest_us = i64::try_from(standing.longest_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
    full.since <= full.seen_at && full.since.0.saturating_add(longest_us) <= now.0
}

fn is_full(entry: &ObservedPermission) -> bool {
    entry.holder == Holder::Person && entry.rights.covers(Rights::FULL_ACCESS)
}

fn request(
    policy: &Policy,
    access: &Access,
    mailbox: EntityId,
    principal: Handle,
    identifier: String,
) -> GrantRequested {
    let (approvals, approval_valid_ms) = match policy.approval {
        Approval::NotRequired => (0, access.max_ms),
        Approval::Required { count, valid_for_ms, .. } => (count, valid_for_ms),
    };
    GrantRequested {
        mailbox,
        principal,
        identifier,
        purpose: GrantPurpose::Standing,
        policy: policy.id.clone(),
        policy_digest: policy.digest(),
        duration_ms: 0,
        max_ms: access.max_ms,
        alarm_after_ms: access.alarm_after_ms,
        approvals,
        approval_valid_ms,
        reason: "FullAccess has stood for longer than the policy allows".to_owned(),
        ticket: None,
    }
}
