//! Append conditions: "fail if something happened that would have changed the decision".
//!
//! They are asked by the one writer of the log, right before the append, so nothing can come in between. This is how
//! a hold that is placed after planning stops a purge.

use super::grants::GrantStage;
use super::{EntityState, GrantState, RunState, Views};
use crate::event::hold::PauseScope;
use crate::event::key::StoreKeys;
use crate::event::saga::{ScriptKind, SkipReason};
use crate::event::subject::RequestEnd;
use crate::id::{Digest, EntityId, GrantId, LayoutId, PlanId, Position, RequestId, RestrictionId, RunId, SagaId};
use crate::record::activity::Activity;
use crate::time::Timestamp;

/// What must be true for an append to happen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The entities are live and still in these versions. For changes: a body must never be sealed with a key that
    /// was destroyed in the meantime.
    Versions(Vec<(EntityId, Position)>),
    /// The pivot may begin: each entity is in the version that was planned, exported and verified, no hold covers it,
    /// its use is not restricted by a person, no exception from an erasure keeps it, an erasure still asks for it if
    /// the plan is for one, no review keeps it from the policy, it was not restored, the clock is believed, the
    /// store does not only observe, and the run goes on.
    MayPurge {
        /// The saga.
        saga: SagaId,
        /// The entities, with their planned versions.
        items: Vec<(EntityId, Position)>,
    },
    /// No activity moved what is known of the entities since it was copied: it changes no version, and what takes over
    /// the copy would be due too early without it. The date of the last activity moves only together with one of these.
    SameActivities(Vec<(EntityId, Vec<Activity>)>),
    /// The entities are tied to so many open deals, as when they were judged: that changes no version either.
    SameDeals(Vec<(EntityId, u32)>),
    /// These policies are active, if any are: by others it may have been judged otherwise.
    PoliciesAre(Digest),
    /// The plan can be taken by a run that nobody else has.
    PlanUnused(PlanId),
    /// The plan is open for approval or refusal.
    PlanOpen(PlanId),
    /// The person has not accepted the plan before, as far as that counts at an instant.
    NotAccepted {
        /// The plan.
        plan: PlanId,
        /// The person.
        uid: u32,
        /// When.
        at: Timestamp,
    },
    /// The run is in one of these states.
    RunIn(RunId, Vec<RunState>),
    /// The saga has hidden the entity and has not begun to purge it.
    CanRestore {
        /// The saga.
        saga: SagaId,
        /// The entity.
        entity: EntityId,
    },
    /// The use of none of the entities is restricted by a person.
    NotRestricted(Vec<EntityId>),
    /// The restriction is in force.
    RestrictionInForce(RestrictionId),
    /// The request of a data subject is not completed.
    RequestOpen(RequestId),
    /// The request of a data subject is not completed, and nothing of it has changed since a position.
    RequestUnchanged(RequestId, Position),
    /// The request of a data subject may be completed so.
    RequestCompletes(RequestId, RequestEnd),
    /// The request of a data subject is open, or was refused in part: what keeps the rest may go away.
    RequestLive(RequestId),
    /// A bundle may be destroyed: nobody waits for an answer, and no hold covers what it holds copies of.
    MayDestroyBundle {
        /// The saga that wrote it.
        saga: SagaId,
        /// What it holds copies of.
        copies_of: Vec<EntityId>,
    },
    /// The hold is active.
    HoldActive(crate::id::HoldId),
    /// Exactly this is paused.
    Paused(PauseScope),
    /// Exactly this is not paused.
    NotPaused(PauseScope),
    /// The clock is believed.
    ClockBelieved,
    /// This is the doubt about the clock that nobody has answered.
    ClockDoubted(Position),
    /// The store was not restored, or a person has confirmed it.
    NotObserving,
    /// This is the restore that nobody has confirmed.
    RestoreWaits(Position),
    /// The number is the next one for a layout.
    NextLayout(LayoutId),
    /// The grant is at this stage.
    GrantIs(GrantId, GrantStage),
    /// The grant is verified to be there, and does not end yet.
    GrantActive(GrantId),
    /// The run takes access to fewer mailboxes than this now.
    FewerTaken(RunId, usize),
    /// No grant of ours gives access to the mailbox, or may give it soon.
    NoGrantOn(EntityId),
    /// The mailbox is registered.
    MailboxRegistered(EntityId),
    /// No migration that is not over reads or writes the mailbox.
    NotMigrating(EntityId),
    /// No saga that is not over works on messages in the mailbox.
    NoSagaOn(EntityId),
    /// No such saga is past its pivot.
    NotPurging(EntityId),
    /// New keys of this kind are not asked for.
    KeysNotAsked(StoreKeys),
    /// All of them.
    All(Vec<Condition>),
}

/// Why an append did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Some entities are no longer as they were judged.
    #[error("{} entities changed, are held, or are gone since they were judged", .0.len())]
    Entities(Vec<(EntityId, SkipReason)>),
    /// The run was paused, cancelled or ended.
    #[error("the run is not in a state that allows this")]
    Run,
    /// The plan was used, refused, accepted by the same person, or is not frozen.
    #[error("the plan is not in a state that allows this")]
    Plan,
    /// The saga has begun to purge, or is over.
    #[error("it is too late: the purge has begun, or the saga is over")]
    TooLate,
    /// Another layout took the number.
    #[error("the number of the layout was taken in the meantime")]
    Layout,
    /// Other policies became active.
    #[error("other policies are active than those by which it was judged")]
    Policies,
    /// The hold is not there.
    #[error("the hold is not active")]
    Hold,
    /// The restriction is not there.
    #[error("the restriction is not in force")]
    Restriction,
    /// The bundle has to stay.
    #[error("the bundle has to stay: its data subject has no answer yet, or a hold covers what it holds")]
    Bundle,
    /// The request is not there, or completed, or has changed.
    #[error("the request is not open, or it has changed in the meantime")]
    Request,
    /// It is paused, or it is not.
    #[error("it is paused, or it is not paused any more")]
    Paused,
    /// The clock is not believed, or not for this reason any more.
    #[error("the clock is not in a state that allows this")]
    Clock,
    /// The store was restored and nobody has confirmed it, or somebody has.
    #[error("the store was restored from a backup, and that is not confirmed; or it is, by now")]
    Observing,
    /// The mailbox was removed.
    #[error("the mailbox is not registered any more")]
    Mailbox,
    /// A migration has the mailbox.
    #[error("a migration with this mailbox is not over")]
    Migration,
    /// New keys are asked for.
    #[error("new keys are asked for already")]
    Keys,
    /// The grant is further than this allows, or over.
    #[error("the grant is not in a state that allows this")]
    Grant,
}

impl Condition {
    /// Returns what asks for both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, Self::None) | (Self::None, one) => one,
            (one, other) => Self::All(vec![one, other]),
        }
    }

    /// Asks the views.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn check(&self, views: &Views) -> Result<(), Conflict> {
        match self {
            Self::None => Ok(()),
            Self::Versions(items) => entities(
                items
                    .iter()
                    .filter_map(|(entity, version)| changed(views, *entity, *version).map(|reason| (*entity, reason))),
            ),
            Self::MayPurge { saga, items } => may_purge(views, *saga, items),
            Self::SameActivities(known) => {
                let moved = known.iter().filter(|(entity, activities)| views.activities_of(*entity) != *activities);
                entities(moved.map(|(entity, _)| (*entity, SkipReason::Changed)))
            }
            Self::SameDeals(known) => {
                let moved = known.iter().filter(|(entity, deals)| views.open_deals(*entity) != *deals);
                entities(moved.map(|(entity, _)| (*entity, SkipReason::Changed)))
            }
            Self::PoliciesAre(digest) => match views.small.policies.digest {
                Some(active) if active != *digest => Err(Conflict::Policies),
                Some(_) | None => Ok(()),
            },
            Self::PlanUnused(plan) | Self::PlanOpen(plan) => match views.small.plans.get(*plan) {
                Some(plan) if plan.is_open() => Ok(()),
                _ => Err(Conflict::Plan),
            },
            Self::NotAccepted { plan, uid, at } => match views.small.plans.get(*plan) {
                Some(plan) if plan.is_accepted_by(*uid, *at) => Err(Conflict::Plan),
                _ => Ok(()),
            },
            Self::RunIn(run, states) => match views.small.runs.run(*run) {
                Some(run) if states.contains(&run.state) => Ok(()),
                _ => Err(Conflict::Run),
            },
            Self::CanRestore { saga, entity } => can_restore(views, *saga, *entity),
            Self::NotRestricted(items) => {
                let is_restricted = |entity: &&EntityId| views.small.restrictions.keeps(**entity);
                entities(items.iter().filter(is_restricted).map(|entity| (*entity, SkipReason::Restricted)))
            }
            Self::RestrictionInForce(id) => views.small.restrictions.get(*id).map(|_| ()).ok_or(Conflict::Restriction),
            Self::RequestOpen(id) => match views.small.subjects.get(*id) {
                Some(request) if request.ended.is_none() => Ok(()),
                _ => Err(Conflict::Request),
            },
            Self::RequestUnchanged(id, since) => match views.small.subjects.get(*id) {
                Some(request) if request.ended.is_none() && request.changed <= *since => Ok(()),
                _ => Err(Conflict::Request),
            },
            Self::RequestCompletes(id, end) => match views.small.subjects.get(*id) {
                Some(request)
                    if request.ended.is_none() && views.may_complete(request, *end, views.recorded_at).is_ok() =>
                {
                    Ok(())
                }
                _ => Err(Conflict::Request),
            },
            Self::RequestLive(id) => match views.small.subjects.get(*id) {
                Some(request) if request.is_live() => Ok(()),
                _ => Err(Conflict::Request),
            },
            Self::MayDestroyBundle { saga, copies_of } => views.may_destroy_bundle(*saga, copies_of),
            Self::HoldActive(hold) => views.small.holds.get(*hold).map(|_| ()).ok_or(Conflict::Hold),
            Self::Paused(scope) => views.small.pauses.has(scope).then_some(()).ok_or(Conflict::Paused),
            Self::NotPaused(scope) => (!views.small.pauses.has(scope)).then_some(()).ok_or(Conflict::Paused),
            Self::ClockBelieved => views.small.clock.doubt().is_none().then_some(()).ok_or(Conflict::Clock),
            Self::ClockDoubted(position) => match views.small.clock.doubt() {
                Some((doubted, _)) if doubted == position => Ok(()),
                _ => Err(Conflict::Clock),
            },
            Self::NotObserving => views.small.restored.waits().is_none().then_some(()).ok_or(Conflict::Observing),
            Self::RestoreWaits(position) => match views.small.restored.waits() {
                Some((restored, _)) if restored == position => Ok(()),
                _ => Err(Conflict::Observing),
            },
            Self::NextLayout(id) => (views.small.layouts.next() == *id).then_some(()).ok_or(Conflict::Layout),
            Self::GrantIs(grant, stage) => match views.small.grants.get(*grant) {
                Some(grant) if grant.is_at(*stage) => Ok(()),
                _ => Err(Conflict::Grant),
            },
            Self::GrantActive(grant) => {
                match views.small.grants.get(*grant).map(|grant| grant.state(views.recorded_at)) {
                    Some(GrantState::Active) => Ok(()),
                    _ => Err(Conflict::Grant),
                }
            }
            Self::FewerTaken(run, most) => match views.small.grants.taken_now(*run, views.recorded_at) < *most {
                true => Ok(()),
                false => Err(Conflict::Grant),
            },
            Self::NoGrantOn(mailbox) => match views.small.grants.open().any(|(_, grant)| grant.mailbox == *mailbox) {
                true => Err(Conflict::Grant),
                false => Ok(()),
            },
            Self::MailboxRegistered(mailbox) => views.small.registry.get(*mailbox).map(|_| ()).ok_or(Conflict::Mailbox),
            Self::NotMigrating(mailbox) => match views.small.migrations.using(*mailbox) {
                Some(_) => Err(Conflict::Migration),
                None => Ok(()),
            },
            Self::NoSagaOn(mailbox) => match views.small.runs.open_in(*mailbox).next() {
                Some(_) => Err(Conflict::Run),
                None => Ok(()),
            },
            Self::NotPurging(mailbox) => match views.small.runs.open_in(*mailbox).find(|saga| saga.is_past_pivot()) {
                Some(_) => Err(Conflict::Run),
                None => Ok(()),
            },
            Self::KeysNotAsked(keys) => views.small.keys.asked(*keys).is_none().then_some(()).ok_or(Conflict::Keys),
            Self::All(conditions) => conditions.iter().try_for_each(|condition| condition.check(views)),
        }
    }
}

fn entities(found: impl Iterator<Item = (EntityId, SkipReason)>) -> Result<(), Conflict> {
    let conflicts: Vec<_> = found.collect();
    if conflicts.is_empty() { Ok(()) } else { Err(Conflict::Entities(conflicts)) }
}

fn changed(views: &Views, entity: EntityId, version: Position) -> Option<SkipReason> {
    match views.entities.row(entity) {
        None => Some(SkipReason::Gone),
        Some(row) if row.state == EntityState::Purged => Some(SkipReason::Gone),
        // What is left of it is recorded, and what comes now belongs there.
        Some(_) if views.small.redactions.is_recorded(entity) => Some(SkipReason::Gone),
        Some(row) if row.version != version => Some(SkipReason::Changed),
        Some(_) => None,
    }
}

fn may_purge(views: &Views, saga: SagaId, items: &[(EntityId, Position)]) -> Result<(), Conflict> {
    let Some(open) = views.small.runs.saga(saga).filter(|saga| saga.end.is_none()) else {
        return Err(Conflict::TooLate);
    };
    match views.small.runs.run(open.started.run) {
        Some(run) if run.state == RunState::Running => {}
        // Past the pivot a pause or an early end no longer counts; holds and changes do, for what is still there.
        Some(_) if open.is_past_pivot() => {}
        _ => return Err(Conflict::Run),
    }
    Condition::NotObserving.check(views)?;
    // What is due was told by this clock. It holds past the pivot too, for what is still there.
    if views.small.clock.doubt().is_some() {
        return Err(Conflict::Clock);
    }
    let plan = views.small.runs.run(open.started.run).and_then(|run| views.small.plans.get(run.plan));
    let policy = plan.map(|plan| plan.request.policy.as_str());
    let erasure = plan.and_then(|plan| plan.erases).map(|request| views.small.subjects.get(request));
    // Without the request that a plan is for, nothing may go.
    let is_unasked = |entity: EntityId| erasure.is_some_and(|asked| asked.is_none_or(|asked| !asked.erases(entity)));
    let pauses = &views.small.pauses;
    let is_paused = policy.is_none_or(|policy| pauses.covers_policy(policy))
        || open
            .started
            .mailbox
            .is_some_and(|mailbox| pauses.covers_mailbox(mailbox) || views.small.migrations.using(mailbox).is_some())
        || plan.and_then(|plan| plan.erases).is_some_and(|request| pauses.covers_request(request))
        || views.waits_for_data_subject(open);
    if is_paused && !open.is_past_pivot() {
        return Err(Conflict::Paused);
    }
    // An erasure is judged by the holds on all policies when its saga begins; one that came later may be about its
    // items.
    let is_policy_held = match erasure {
        None => policy.is_some_and(|policy| !views.holds_of_policy(policy).is_empty()),
        Some(_) => views.small.holds.has_policy_hold_after(saga.0, views.recorded_at),
    };
    let is_redaction = open.started.script == ScriptKind::ExportRedact;
    let is_kept = |entity| policy.is_some_and(|policy| views.small.reviews.keeps(entity, policy, views.recorded_at));
    entities(items.iter().filter_map(|(entity, version)| {
        let reason = if is_policy_held || !views.holds_of(*entity).is_empty() {
            Some(SkipReason::Held)
        } else if views.small.restrictions.keeps(*entity) {
            Some(SkipReason::Restricted)
        } else if is_redaction
            && views
                .small
                .subjects
                .iter()
                .any(|(_, request)| request.is_live() && request.records().binary_search(entity).is_ok())
        {
            // Whoever asks is answered about what was found then, and not about what is left of it.
            Some(SkipReason::NotDue)
        } else if is_unasked(*entity)
            || views.small.subjects.excepting(*entity).is_some()
            || views.month_needed(*entity).is_some()
            || is_kept(*entity)
        {
            Some(SkipReason::NotDue)
        } else if let Some(reason) = open.skipped.get(entity) {
            Some(*reason)
        } else {
            changed(views, *entity, *version)
        };
        reason.map(|reason| (*entity, reason))
    }))
}

fn can_restore(views: &Views, saga: SagaId, entity: EntityId) -> Result<(), Conflict> {
    let Some(open) = views.small.runs.saga(saga).filter(|saga| saga.end.is_none()) else {
        return Err(Conflict::TooLate);
    };
    let is_ours = open.open_items().any(|item| item.entity == entity);
    if is_ours && !open.is_past_pivot() && views.entities.is_quarantined(entity) {
        Ok(())
    } else {
        Err(Conflict::TooLate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::change::Link;
    use crate::record::Relation;
    use crate::record::activity::ActivityClass;

    #[test]
    fn an_activity_that_moved_what_was_copied_is_in_the_way_of_that_entity_alone() {
        let mut views = Views::default();
        let activity = |at, name: &str| {
            let class = ActivityClass::from_name(name);
            Activity { class, at: Timestamp(at), by: Some(EntityId(9)) }
        };
        let [moved, still, never] = [1, 2, 3].map(EntityId);
        views.note_activity(moved, &activity(5, "call_logged"));
        views.note_activity(still, &activity(5, "call_logged"));
        let known = [moved, still, never].map(|entity| (entity, views.activities_of(entity)));
        let condition = Condition::SameActivities(known.to_vec());
        assert_eq!(condition.check(&views), Ok(()));
        // An older one tells nothing new; one of another class does, however old it is.
        views.note_activity(still, &activity(4, "call_logged"));
        assert_eq!(condition.check(&views), Ok(()));
        views.note_activity(moved, &activity(6, "call_logged"));
        views.note_activity(never, &activity(1, "newsletter_sent"));
        let conflicts = vec![(moved, SkipReason::Changed), (never, SkipReason::Changed)];
        assert_eq!(condition.check(&views), Err(Conflict::Entities(conflicts)));
        views.note_activity(still, &activity(1, "unclassified"));
        let Err(Conflict::Entities(conflicts)) = condition.check(&views) else { panic!("three moved") };
        assert_eq!(conflicts.len(), 3);
    }

    #[test]
    fn other_policies_than_those_of_the_judgement_are_in_the_way() {
        let [judged, other] = [1, 2].map(|byte| Digest([byte; 32]));
        let mut views = Views::default();
        let condition = Condition::PoliciesAre(judged);
        assert_eq!(condition.check(&views), Ok(()), "the log has none yet");
        views.small.policies.digest = Some(judged);
        assert_eq!(condition.check(&views), Ok(()));
        views.small.policies.digest = Some(other);
        assert_eq!(condition.check(&views), Err(Conflict::Policies));
    }

    #[test]
    fn an_entity_is_in_the_way_that_was_judged_with_another_number_of_open_deals() {
        let mut views = Views::default();
        let [tied, free] = [1, 2].map(EntityId);
        // As it was judged, one of them was tied to an open deal that it is not tied to now.
        views.links.replace(EntityId(3), &[Link { relation: Relation::About, to: tied }]);
        let known = [tied, free].map(|entity| (entity, views.open_deals(entity)));
        assert_eq!(Condition::SameDeals(known.to_vec()).check(&views), Ok(()));
        let before = vec![(tied, 1), (free, 0)];
        let conflicts = vec![(tied, SkipReason::Changed)];
        assert_eq!(Condition::SameDeals(before).check(&views), Err(Conflict::Entities(conflicts)));
    }
}
