//! Views: what is true now, folded from events. Each can be thrown away and made again.
//!
//! **Invariant:** in entities, links, activities, due index and index, folding is assignment, never counting: folding
//! the same events once more, in order, ends in the same state. So their blocks may be written out a little ahead of
//! the recorded position and still come out right. The small views count, and are written out whole, at one position.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use crate::event::change::Link;
use crate::event::decision::PlanFrozen;
use crate::event::redaction::EntitySucceeded;
use crate::event::{Envelope, Event, EventType, Recorded};
use crate::id::{Digest, EntityId, Handle, HoldId, Position, SagaId};
use crate::record::activity::Activity;
use crate::record::{DateRole, EntityRecord, Kind, Relation};
use crate::time::Timestamp;

pub mod activities;
mod beside;
mod bundles;
mod chunked;
pub mod clock;
pub mod condition;
pub mod coverage;
pub mod due;
pub mod entities;
mod entity_set;
pub mod grants;
pub mod holds;
pub mod index;
pub mod intakes;
pub mod keys;
pub mod links;
mod marks;
pub mod migrations;
pub mod months;
pub mod notices;
pub mod pauses;
pub mod permissions;
pub mod plans;
pub mod recipients;
pub mod redactions;
pub mod registry;
pub mod restored;
pub mod restrictions;
pub mod reviews;
pub mod runs;
pub mod scans;
pub mod small;
pub mod snapshot;
pub mod subjects;

pub use activities::Activities;
pub use bundles::Bundle;
pub use clock::ClockTrust;
pub use condition::{Condition, Conflict};
pub use coverage::{Coverage, Covered};
pub use due::Due;
pub use entities::{DealState, Entities, EntityState, Row};
pub use grants::{Grant, GrantState, Grants};
pub use holds::{ByFilter, Filtered, Hold, Holds, ReadFilter};
pub use index::Index;
pub use intakes::{Intake, Intakes};
pub use keys::Keys;
pub use links::Links;
pub use months::{AuditMonth, AuditMonths};
pub use notices::Notices;
pub use pauses::Pauses;
pub use permissions::{AllPermissions, Permissions};
pub use plans::{Plan, PlanState, Plans};
pub use redactions::Redactions;
pub use registry::{RegisteredMailbox, Registry};
pub use restrictions::Restrictions;
pub use reviews::Reviews;
pub use runs::{BundleState, Drift, Run, RunState, Runs, Saga, StepEvent, StepStanding};
pub use scans::{Scan, Scans};
pub use small::{Layouts, PolicyVersions, Schedules, Small};
pub use subjects::{ErasurePlan, Look, NotComplete, RequestState, SubjectRequest, SubjectRequests};

/// What only the holder of the index key can tell about a changed entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keyed {
    /// The handle of its external id.
    pub handle: Handle,
    /// The handles of its other ids.
    pub others: Vec<Handle>,
    /// A keyed digest of its state: equal exactly when nothing changed.
    pub digest: u64,
}

/// All views.
#[derive(Debug, Default)]
pub struct Views {
    /// Everything up to here is folded.
    pub position: Position,
    /// When the newest event was recorded.
    pub recorded_at: Timestamp,
    /// One row per entity, in columns.
    pub entities: Entities,
    /// Who is tied to whom.
    pub links: Links,
    /// The newest activity of each class that a record had.
    pub activities: Activities,
    /// When what falls due, per policy.
    pub due: Due,
    /// Positions by type, actor and run.
    pub index: Index,
    /// The small views, each a plain map.
    pub small: Small,
    /// What a stage read of the filters of holds. It is in memory alone: their texts are in no view, and may be erased
    /// when these are made again.
    pub filters: BTreeMap<HoldId, ReadFilter>,
}

/// What of the views was changed by folding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changed {
    /// Blocks of entities.
    pub entities: RoaringBitmap,
    /// Blocks of the due index: policy, its digest, blocks.
    pub due: Vec<(String, Digest, RoaringBitmap)>,
    /// Entities whose own links changed.
    pub links: BTreeSet<EntityId>,
    /// Records whose newest activities changed.
    pub activities: BTreeSet<EntityId>,
}

impl Views {
    /// Folds one event. `keyed` is there when the event is an `EntityChanged` that can be read.
    ///
    /// **Order:** events come in the order of their positions, without gaps.
    pub fn fold(&mut self, recorded: &Recorded, keyed: Option<&Keyed>) {
        let envelope = &recorded.envelope;
        self.index_alike(envelope, envelope.position);
        if let Some(entity) = self.fold_unindexed(envelope, recorded.event(), keyed) {
            self.due.mark(entity);
        }
    }

    /// Puts events of one type and actor into the index, all at once: `first` and those that follow it up to `last`.
    ///
    /// **Order:** with [`Self::fold_unindexed`] for each of them, before anybody looks.
    pub fn index_alike(&mut self, first: &Envelope, last: Position) {
        self.index.add_alike(first, last);
    }

    /// Folds one event into everything but what [`Self::index_alike`] does. Returns the entity that it changed: the
    /// caller either judges it at once or marks it as unjudged.
    #[must_use]
    pub fn fold_unindexed(
        &mut self,
        envelope: &Envelope,
        event: Option<&Event>,
        keyed: Option<&Keyed>,
    ) -> Option<EntityId> {
        self.position = envelope.position;
        self.recorded_at = envelope.recorded_at;
        if let Some(entity) = envelope.entity {
            self.entities.saw_event(entity, envelope.position);
        }
        if let Some(month) = envelope.texts {
            self.small.months.written(month, envelope.position);
        }
        let Some(event) = event else {
            self.fold_unreadable(envelope);
            return None;
        };
        if let (Event::EntityChanged(body), Some(entity)) = (event, envelope.entity) {
            let none = Keyed::default();
            let left_of = self.hand_over(entity);
            self.entities.changed(entity, envelope, &body.record, keyed.unwrap_or(&none));
            if let Some(left_of) = left_of {
                self.inherit(entity, &left_of);
            }
            self.fold_deal(entity, &body.record);
            return Some(entity);
        }
        self.fold_entities(envelope, event);
        self.small.fold(envelope, event);
        if let Some(run) = self.small.run_of(envelope.position, event) {
            self.index.add_run(run, envelope.position);
        }
        None
    }

    fn fold_unreadable(&mut self, envelope: &Envelope) {
        if envelope.event_type == EventType::EntityChanged as u16
            && let Some(entity) = envelope.entity
        {
            // Its key is gone with it, so nothing is left to inherit; the ids are taken from the other one all the
            // same, and the links are its own until it goes, so that what is tied to it knows when it went.
            let left_of = self.hand_over(entity);
            self.entities.unreadable_change(entity, envelope.position, envelope.recorded_at);
            if let Some(left_of) = left_of {
                self.inherit_links(entity, &left_of);
            }
        }
    }

    /// Takes the ids from the entity that another one follows, if that one's first state is being folded.
    fn hand_over(&mut self, to: EntityId) -> Option<EntitySucceeded> {
        let body = self.small.redactions.take_pending(to)?;
        self.entities.hand_over(body.of);
        Some(body)
    }

    /// Gives an entity what the one that it follows had. From the event, not from the rows: those may be ahead.
    fn inherit(&mut self, entity: EntityId, body: &EntitySucceeded) {
        self.entities.inherit(entity, body.first_seen, body.last_activity);
        if body.absent {
            self.entities.set_absent(entity);
        }
        for activity in &body.activities {
            self.note_activity(entity, activity);
        }
        self.inherit_links(entity, body);
    }

    fn inherit_links(&mut self, entity: EntityId, body: &EntitySucceeded) {
        // What it names may have been redacted since that was read, by another saga or in the same piece.
        let now = |link: &Link| Link { to: self.small.redactions.newest(link.to), ..*link };
        let links: Vec<Link> = body.links.iter().map(now).collect();
        // What loses a tie, and the other one that loses all, changed too: once what they were tied to is purged, its
        // older changes cannot be read, so a rebuild would know nothing of them.
        let before = self.links.neighbours(body.of);
        self.links.redirect(body.of, entity, &links);
        let after = self.links.neighbours(entity);
        self.change_beside(before.chain(after).chain([body.of]));
    }

    /// Notes that something beside the records of entities changed: policies and holds judge them again.
    fn change_beside(&mut self, entities: impl IntoIterator<Item = EntityId>) {
        for entity in entities {
            self.due.mark(entity);
            self.entities.change_beside(entity, self.position);
        }
    }

    fn fold_entities(&mut self, envelope: &Envelope, event: &Event) {
        match (event, envelope.entity) {
            (Event::EntityAbsent(_), Some(entity)) => self.entities.set_absent(entity),
            (Event::EntityLinked(body), Some(entity)) => {
                let named_before: Vec<EntityId> = self.links.of(entity).map(|link| link.to).collect();
                self.links.replace(entity, &body.links);
                if let Some(at) = body.at {
                    let activity = Activity { class: body.class.clone(), at, by: Some(entity) };
                    for link in body.links.iter().filter(|link| link.relation == Relation::About) {
                        self.entities.active(link.to, at);
                        self.note_activity(link.to, &activity);
                    }
                }
                let named_now = body.links.iter().map(|link| link.to);
                self.change_beside(named_now.chain(named_before).chain([entity]));
            }
            (Event::KeyDestroyed(_) | Event::KeyDestroyedAgain(_), Some(entity)) => {
                self.change_beside(self.links.neighbours(entity));
                self.links.forget(entity);
                self.entities.purged(entity);
                self.activities.forget(entity);
                self.due.forget(entity);
            }
            (Event::EntityRestored(body), Some(entity)) => self.show(entity, body.saga),
            (Event::StepSucceeded(body), _) => self.fold_quarantine(body),
            (Event::ItemsSkipped(body), _) => {
                for (entity, _) in &body.items {
                    self.show(*entity, body.saga);
                }
            }
            (Event::PolicySetActivated(body), _) => self.due.activate(&body.policies),
            _ => {}
        }
    }

    /// A deal is open until its source says when it was closed; opening or closing it changes its neighbours' facts.
    fn fold_deal(&mut self, entity: EntityId, record: &EntityRecord) {
        if self.small.layouts.get(record.layout).is_none_or(|layout| layout.kind != Kind::Deal) {
            return;
        }
        let state = match record.date(DateRole::Closed) {
            Some(_) => DealState::NotOpen,
            None => DealState::Open,
        };
        self.entities.set_open_deal(entity, state);
        self.change_beside(self.links.neighbours(entity));
    }

    fn fold_quarantine(&mut self, body: &crate::event::saga::StepSucceeded) {
        use crate::event::saga::Step;
        if body.step != Step::Quarantine {
            return;
        }
        let Some(saga) = self.small.runs.saga(body.saga) else { return };
        let entities: Vec<EntityId> = saga.open_items().map(|item| item.entity).collect();
        for entity in entities {
            if body.compensation {
                self.show(entity, body.saga);
            } else {
                self.entities.set_quarantined(entity, EntityState::Quarantined);
            }
        }
    }

    /// Lets an entity be seen again that a saga leaves alone, unless another saga hides it.
    fn show(&mut self, entity: EntityId, left_by: SagaId) {
        if !self.small.runs.is_hidden_by_another(entity, left_by) {
            self.entities.set_quarantined(entity, EntityState::Visible);
        }
    }

    /// Returns what changed since this was last asked, and forgets it.
    pub fn take_changed(&mut self) -> Changed {
        let due = self.due.policies_mut();
        Changed {
            entities: self.entities.take_dirty(),
            due: due.map(|(id, column)| (id.to_owned(), column.digest(), column.take_dirty())).collect(),
            links: self.links.take_changed().collect(),
            activities: self.activities.take_changed(),
        }
    }

    /// Marks it as changed again, when writing it out failed. Columns of policies that are gone need no writing.
    pub fn mark_changed(&mut self, changed: Changed) {
        self.entities.mark_dirty(&changed.entities);
        for (id, column) in self.due.policies_mut() {
            let same = changed.due.iter().find(|(policy, digest, _)| *policy == id && *digest == column.digest());
            if let Some((_, _, blocks)) = same {
                column.mark_dirty(blocks);
            }
        }
        self.links.mark_changed(changed.links);
        self.activities.mark_changed(changed.activities);
    }

    /// Returns the holds that cover an entity now, as the newest event tells the time.
    #[must_use]
    pub fn holds_of(&self, entity: EntityId) -> Vec<HoldId> {
        self.holds_of_at(entity, self.recorded_at)
    }

    /// Returns the instant by which holds count for whoever has a clock, which shows `now`: that of the clock where it is
    /// behind the log. Then the log is at a day that has not come, since a clock was once ahead, and what protects until a
    /// day before that would be over.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> Timestamp {
        now.min(self.recorded_at)
    }

    /// Returns the holds that cover an entity at an instant.
    #[must_use]
    pub fn holds_of_at(&self, entity: EntityId, now: Timestamp) -> Vec<HoldId> {
        let Some(row) = self.entities.row(entity) else { return Vec::new() };
        self.small.holds.of(&self.hold_subject(entity, &row), now)
    }

    /// Returns the holds under which a policy may dispose of nothing now.
    #[must_use]
    pub fn holds_of_policy(&self, policy: &str) -> Vec<HoldId> {
        self.holds_of_policy_at(policy, self.recorded_at)
    }

    /// Returns the holds under which a policy may dispose of nothing at an instant.
    #[must_use]
    pub fn holds_of_policy_at(&self, policy: &str, now: Timestamp) -> Vec<HoldId> {
        self.small.holds.of_policy(policy, now).collect()
    }

    /// Returns where a plan stands at an instant, by the policies that are active: a run of one that was made under
    /// another version of its policy would be refused.
    #[must_use]
    pub fn state_of_plan(&self, plan: &Plan, now: Timestamp) -> PlanState {
        let is_active = |frozen: &PlanFrozen| {
            let active = self.small.policies.policies.iter();
            active.filter(|version| version.id == frozen.policy).any(|version| version.digest == frozen.policy_digest)
        };
        let is_current = plan.erases.is_some() || plan.frozen.as_ref().is_none_or(is_active);
        match plan.state(now) {
            PlanState::AwaitingApproval | PlanState::Ready if !is_current => PlanState::Stale,
            state => state,
        }
    }

    /// Returns how many entities were purged. Of what was redacted the old key is gone, and it is there under another.
    #[must_use]
    pub fn purged(&self) -> u64 {
        let redacted = self.small.runs.sagas().map(|(_, saga)| saga.redacted()).sum();
        self.entities.purged_count().saturating_sub(redacted)
    }

    /// Returns how many live deals that are not closed an entity is tied to.
    #[must_use]
    pub fn open_deals(&self, entity: EntityId) -> u32 {
        if self.links.is_empty() {
            return 0;
        }
        let named = self.links.of(entity).map(|link| link.to);
        let all = named.chain(self.links.to(entity).map(|(_, from)| from));
        // A company can be tied to a million activities and to few deals.
        let mut open: Vec<EntityId> = all.filter(|other| self.entities.is_open_deal(*other)).collect();
        open.sort_unstable();
        open.dedup();
        u32::try_from(open.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::decision::PolicyVersion;

    #[test]
    fn what_could_not_be_written_out_is_written_out_the_next_time() {
        let mut views = Views::default();
        let digest = Digest([7; 32]);
        views.due.activate(&[PolicyVersion { id: "p".into(), digest }]);
        views.due.set("p", digest, EntityId(5_000), due::Standing::NeverDue);
        views.entities.saw_event(EntityId(250), Position(1));
        views.links.replace(EntityId(3), &[Link { relation: Relation::About, to: EntityId(9) }]);
        views.links.replace(EntityId(3), &[]);
        let activity = Activity { class: None, at: Timestamp(5), by: None };
        views.note_activity(EntityId(4), &activity);
        let changed = views.take_changed();
        assert_eq!(changed.entities.iter().collect::<Vec<_>>(), [2]);
        assert_eq!(changed.due, [("p".to_owned(), digest, std::iter::once(2).collect())]);
        assert_eq!(changed.links, BTreeSet::from([EntityId(3)]));
        assert_eq!(changed.activities, BTreeSet::from([EntityId(4)]));
        views.mark_changed(changed.clone());
        assert_eq!(views.take_changed(), changed);
        // The same once more moves nothing.
        views.note_activity(EntityId(4), &activity);
        let nothing = views.take_changed();
        assert!(nothing.entities.is_empty() && nothing.links.is_empty() && nothing.due[0].2.is_empty());
        assert!(nothing.activities.is_empty());
    }
}
