//! The small views, each a plain map, written out together.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::notices::DAY_US;
use super::{
    AllPermissions, AuditMonths, ClockTrust, Grants, Holds, Intakes, Keys, Notices, Pauses, Plans, Registry,
    Restrictions, Reviews, Runs, Scans, SubjectRequests,
};
use crate::event::decision::{PolicyVersion, RunRefused, ScheduleFired, ScheduleMissed};
use crate::event::review::PlanReviewed;
use crate::event::saga::SkipReason;
use crate::event::{Envelope, Event};
use crate::id::{Digest, EntityId, HoldId, LayoutId, PlanId, Position, RestrictionId, RunId, SagaId};
use crate::record::Layout;
use crate::time::Timestamp;

/// All small views.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Small {
    /// The random name of the store.
    pub store: [u8; 16],
    /// The layouts by number.
    pub layouts: Layouts,
    /// What was taken in.
    pub intakes: Intakes,
    /// Legal holds.
    pub holds: Holds,
    /// What is paused.
    pub pauses: Pauses,
    /// The active policy set.
    pub policies: PolicyVersions,
    /// Plans.
    pub plans: Plans,
    /// Runs and sagas.
    pub runs: Runs,
    /// When each schedule last fired.
    pub schedules: Schedules,
    /// When mailboxes were looked at.
    pub scans: Scans,
    /// Grants.
    pub grants: Grants,
    /// The keys that sign checkpoints, the newest last.
    pub signing_keys: Vec<SigningKey>,
    /// When the keys of the store were changed, and what is asked for.
    pub keys: Keys,
    /// Registered mailboxes.
    pub registry: Registry,
    /// Who may do what in them.
    pub permissions: AllPermissions,
    /// Migrations of mailboxes.
    pub migrations: super::migrations::Migrations,
    /// Whether the clock is believed.
    pub clock: ClockTrust,
    /// Whether it was restored and nobody has confirmed it.
    pub restored: super::restored::Restored,
    /// Restrictions of use.
    pub restrictions: Restrictions,
    /// What people decided of items that wait for it.
    pub reviews: Reviews,
    /// Requests of data subjects.
    pub subjects: SubjectRequests,
    /// Which channel was told what.
    pub notices: Notices,
    /// Which entity is what is left of which.
    pub redactions: super::redactions::Redactions,
    /// The months of the log that have a key of their own.
    pub months: AuditMonths,
    /// The classes of activities that were recorded.
    pub activity_classes: super::activities::ActivityClasses,
}

impl Small {
    /// Returns the run that an event is part of.
    #[must_use]
    pub fn run_of(&self, position: Position, event: &Event) -> Option<RunId> {
        self.runs.run_of(position, event).or_else(|| self.grants.run_of(position, event))
    }

    pub(super) fn fold(&mut self, envelope: &Envelope, event: &Event) {
        let at = envelope.recorded_at;
        match event {
            Event::StoreInitialised(body) => {
                self.store = body.store;
                self.keys.wrapped(at);
            }
            Event::StoreCompacted(_) | Event::WrappingKeysRotated(_) => self.keys.wrapped(at),
            Event::KeyRotationRequested(body) => self.keys.ask(envelope.position, body.keys),
            Event::SigningKeyAdopted(body) => {
                let (verifier_key, adopted) = (body.verifier_key.clone(), envelope.position);
                self.signing_keys.push(SigningKey { verifier_key, adopted_at: at, adopted });
                self.keys.adopted();
            }
            Event::LayoutRecorded(body) => self.layouts.add(body.id, body.layout.clone()),
            Event::IntakeStarted(body) => {
                if let Some(entity) = envelope.entity {
                    self.intakes.started(entity, at, body);
                }
            }
            Event::IntakeCompleted(body) => {
                if let Some(entity) = envelope.entity {
                    self.intakes.ended(entity, at, body);
                }
            }
            Event::MailboxScanRequested(_) => {
                if let Some(mailbox) = envelope.entity {
                    self.scans.requested(mailbox, envelope.position);
                }
            }
            Event::MailboxScanned(body) => {
                if let Some(mailbox) = envelope.entity {
                    self.scans.scanned(mailbox, envelope.position, at, body);
                }
            }
            Event::RedactionBegan(body) => self.redactions.began(body),
            Event::EntitySucceeded(body) => {
                if let Some(entity) = envelope.entity {
                    self.redactions.succeeded(entity, body);
                    self.holds.follow(body.of, entity);
                    self.reviews.follow(body.of, entity);
                    self.restrictions.follow(body.of, entity);
                }
            }
            Event::RestrictionPlaced(body) => {
                let left = |entity| self.redactions.successor(entity);
                self.restrictions.place(RestrictionId(envelope.position), at, body, left);
            }
            Event::EntitiesRestricted(body) => self.restrictions.end_use(RestrictionId(envelope.position), at, body),
            Event::RestrictionLifted(body) => {
                let left = |entity| self.redactions.successor(entity);
                self.restrictions.lift(envelope.position, at, body, left);
            }
            Event::ErasurePlanRequested(body) => {
                let identified = self.subjects.get(body.request).and_then(|request| request.identified.as_ref());
                self.plans.requested_for(envelope, body.request, identified.and_then(|identified| identified.by));
            }
            Event::ItemsSkipped(body) => self.left_alone(body.saga, &body.items),
            Event::EntityRestored(body) => {
                let restored = envelope.entity.map(|entity| (entity, SkipReason::Restored));
                self.left_alone(body.saga, restored.as_slice());
            }
            Event::HoldPlaced(body) => {
                let left = |entity| self.redactions.successor(entity);
                self.holds.place(HoldId(envelope.position), at, body, left);
            }
            Event::HoldsJudged(body) => self.holds.judged(body, |entity| self.redactions.successor(entity)),
            Event::HoldReleased(body) => self.holds.release(at, body),
            Event::DisposalPaused(body) => self.pauses.paused(body),
            Event::DisposalResumed(body) => self.pauses.resumed(body),
            Event::PolicySetActivated(body) => self.policies.activate(body.digest, &body.policies, envelope),
            Event::PolicyRecorded(body) => {
                self.policies.texts.insert((body.id.clone(), body.digest), envelope.position);
            }
            Event::PlanRequested(body) => self.plans.requested(envelope, body),
            Event::PlanItems(body) => self.with_plan(body.plan, |plan| {
                // A planner that crashed begins again at the first chunk.
                if body.chunk == 0 {
                    plan.chunks.clear();
                }
                if !plan.chunks.contains(&envelope.position) {
                    plan.chunks.push(envelope.position);
                }
            }),
            Event::PlanFrozen(body) => self.with_plan(body.plan, |plan| plan.frozen = Some(body.clone())),
            Event::PlanRefused(body) => self.with_plan(body.plan, |plan| plan.refused = Some(body.code.clone())),
            Event::PlanApproved(body) => self.approve(envelope, body.plan, body.digest),
            Event::PlanRejected(body) => {
                if let crate::event::Actor::Person(uid) = envelope.actor {
                    self.with_plan(body.plan, |plan| plan.rejected_by = Some(uid));
                }
            }
            Event::ReviewDecided(body) => self.reviews.decided(envelope, body),
            Event::PlanReviewed(body) => self.reviewed(body),
            Event::KeyDestroyed(_) | Event::KeyDestroyedAgain(_) => {
                if let Some(entity) = envelope.entity {
                    self.reviews.forget(entity);
                    self.restrictions.forget(entity, at);
                    self.erased(entity, event);
                    let by = if let Event::KeyDestroyed(body) = event { Some(body) } else { None };
                    self.months.destroyed(entity, at, by);
                }
            }
            Event::MonthBegun(body) => {
                if let Some(month) = envelope.entity {
                    self.months.begun(month, envelope, body);
                }
            }
            Event::RunStarted(body) => self.with_plan(body.plan, |plan| plan.run = Some(body.run)),
            Event::RunRefused(body) if body.code == RunRefused::STALE => {
                self.with_plan(body.plan, |plan| plan.is_stale = true);
            }
            Event::ScheduleFired(body) => self.schedules.fired(body),
            Event::ClockDoubted(body) => self.clock.doubted(envelope.position, body),
            Event::ClockConfirmed(body) => self.clock.confirmed(body),
            Event::StoreRestored(body) => {
                self.restored.restored(envelope.position, body);
                self.keys.wrapped(at);
            }
            Event::RestoreConfirmed(body) => self.restored.confirmed(body),
            Event::ScheduleMissed(body) => self.schedules.missed(envelope, body),
            _ => {}
        }
        let is_as_planned = self.lacks_access(event, at);
        self.runs.fold(envelope, event, is_as_planned);
        self.grants.fold(envelope, event);
        self.registry.fold(envelope, event);
        self.permissions.fold(envelope, event);
        self.migrations.fold(envelope, event);
        self.subjects.fold(envelope, event);
        self.fold_told(envelope, event);
        self.fold_notice(envelope, event);
    }

    fn erased(&mut self, entity: EntityId, event: &Event) {
        let Event::KeyDestroyed(body) = event else { return };
        if let Some(request) = self.request_of_saga(body.saga) {
            self.subjects.with(request, |request| {
                request.erased.insert(entity);
            });
        }
    }

    /// What a run leaves alone is kept of the request that it is for.
    fn left_alone(&mut self, saga: SagaId, items: &[(EntityId, SkipReason)]) {
        if let Some(request) = self.request_of_saga(saga) {
            self.subjects.left_alone(request, items);
        }
    }

    fn reviewed(&mut self, body: &PlanReviewed) {
        let reviews = body.reviews.iter().filter_map(|id| {
            let review = self.reviews.get(*id)?;
            Some(super::plans::PlanReview { review: *id, uid: review.by, at: review.at })
        });
        let reviews = reviews.collect();
        self.with_plan(body.plan, |plan| plan.reviews = reviews);
    }

    fn with_plan(&mut self, id: PlanId, change: impl FnOnce(&mut super::Plan)) {
        if let Some(plan) = self.plans.get_mut(id) {
            change(plan);
        }
    }

    /// An approval counts only for the digest it names, and only from a person.
    fn approve(&mut self, envelope: &Envelope, plan: PlanId, digest: Digest) {
        let crate::event::Actor::Person(uid) = envelope.actor else { return };
        let at = envelope.recorded_at;
        self.with_plan(plan, |plan| {
            if plan.digest() == Some(digest) && !plan.approvals.iter().any(|a| a.uid == uid && a.at == at) {
                plan.approvals.push(super::plans::Approval { uid, at });
            }
        });
    }
}

/// A key that signs checkpoints, or did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SigningKey {
    /// The verifier key (C2SP signed-note).
    pub verifier_key: String,
    /// From when on it signs.
    pub adopted_at: Timestamp,
    /// Where that stands in the log.
    pub adopted: Position,
}

/// The layouts by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Layouts {
    all: BTreeMap<LayoutId, Layout>,
}

impl Layouts {
    /// Returns a layout.
    #[must_use]
    pub fn get(&self, id: LayoutId) -> Option<&Layout> {
        self.all.get(&id)
    }

    /// Returns the number of a layout that was recorded before.
    #[must_use]
    pub fn find(&self, layout: &Layout) -> Option<LayoutId> {
        self.all.iter().find(|(_, known)| *known == layout).map(|(id, _)| *id)
    }

    /// Returns the number for the next layout.
    #[must_use]
    pub fn next(&self) -> LayoutId {
        LayoutId(self.all.last_key_value().map_or(1, |(id, _)| id.0 + 1))
    }

    /// Goes through all layouts.
    pub fn iter(&self) -> impl Iterator<Item = (LayoutId, &Layout)> {
        self.all.iter().map(|(id, layout)| (*id, layout))
    }

    fn add(&mut self, id: LayoutId, layout: Layout) {
        self.all.insert(id, layout);
    }
}

/// For how many days a version of a policy counts after it was replaced: so long its successor is told to people as one
/// that disposes of more, if it does.
pub const COOLING_OFF_DAYS: u64 = 7;

/// Returns how many whole days passed; none where the clock was set back.
fn days_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.0.saturating_sub(from.0) / DAY_US).unwrap_or(0)
}

/// The active policy set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct PolicyVersions {
    /// SHA-256 of the set; `None` before the first.
    pub digest: Option<Digest>,
    /// When it became active.
    pub activated_at: Timestamp,
    /// Where that stands in the log.
    pub activated: Position,
    /// The policies, by id.
    pub policies: Vec<PolicyVersion>,
    /// Where the text of each version stands in the log.
    pub texts: BTreeMap<(String, Digest), Position>,
    /// Until when versions were active that were replaced or removed, as long as that counts.
    pub replaced: BTreeMap<(String, Digest), Timestamp>,
}

impl PolicyVersions {
    /// Goes through the versions of policies that were replaced or removed and still count: the policy, the version, and how
    /// many days ago that was.
    pub fn replaced_lately(&self, now: Timestamp) -> impl Iterator<Item = (&str, Digest, u64)> {
        let ago =
            self.replaced.iter().map(move |((id, digest), until)| (id.as_str(), *digest, days_between(*until, now)));
        ago.filter(|(_, _, days)| *days < COOLING_OFF_DAYS)
    }

    fn activate(&mut self, digest: Digest, policies: &[PolicyVersion], envelope: &Envelope) {
        let at = envelope.recorded_at;
        self.replaced.retain(|_, until| days_between(*until, at) < COOLING_OFF_DAYS);
        for old in self.policies.iter().filter(|old| !policies.contains(old)) {
            self.replaced.insert((old.id.clone(), old.digest), at);
        }
        self.digest = Some(digest);
        self.activated_at = envelope.recorded_at;
        self.activated = envelope.position;
        self.policies = policies.to_vec();
    }
}

/// When each schedule last fired, or was given up as missed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Schedules {
    last: BTreeMap<String, Timestamp>,
    /// The latest of them, also when it was not the last.
    latest: BTreeMap<String, Timestamp>,
    missed: BTreeMap<String, Missed>,
}

/// The newest times of a schedule that were missed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Missed {
    /// Where that stands in the log.
    pub position: Position,
    /// When it was recorded.
    pub at: Timestamp,
    /// The first missed instant.
    pub first_at: Timestamp,
    /// The last missed instant.
    pub last_at: Timestamp,
    /// How many.
    pub count: u64,
}

impl Schedules {
    /// Returns the last nominal instant of a policy's schedule that was dealt with.
    #[must_use]
    pub fn last(&self, policy: &str) -> Option<Timestamp> {
        self.last.get(policy).copied()
    }

    /// Returns the nominal instant from which on a policy's schedule counts by a clock that shows `now`: the latest that was dealt
    /// with, so that a clock that was behind leaves nothing behind it that was missed; and while that is still to come, because
    /// a clock was ahead then or this one is behind, the last.
    #[must_use]
    pub fn dealt_with_until(&self, policy: &str, now: Timestamp) -> Option<Timestamp> {
        let latest = self.latest.get(policy).copied().filter(|latest| *latest <= now);
        latest.or_else(|| self.last(policy))
    }

    /// Goes through the newest missed times of each policy, by its id.
    pub fn newest_missed(&self) -> impl Iterator<Item = (&str, &Missed)> {
        self.missed.iter().map(|(policy, missed)| (policy.as_str(), missed))
    }

    fn fired(&mut self, body: &ScheduleFired) {
        self.dealt_with(&body.policy, body.nominal_at);
    }

    fn missed(&mut self, envelope: &Envelope, body: &ScheduleMissed) {
        self.dealt_with(&body.policy, body.last_at);
        let missed = Missed {
            position: envelope.position,
            at: envelope.recorded_at,
            first_at: body.first_at,
            last_at: body.last_at,
            count: body.count,
        };
        self.missed.insert(body.policy.clone(), missed);
    }

    /// The newest counts, also when it is earlier: then the one before was dealt with by a clock that was ahead.
    fn dealt_with(&mut self, policy: &str, at: Timestamp) {
        self.last.insert(policy.to_owned(), at);
        let latest = self.latest.entry(policy.to_owned()).or_insert(at);
        *latest = at.max(*latest);
    }
}
