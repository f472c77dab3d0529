//! Beginning a saga: which items it takes, and which of them are left alone because something changed.

use std::sync::Arc;

use retention_core::event::decision::{ITEMS_PER_CHUNK, PlanItem};
use retention_core::event::saga::{ITEMS_PER_SAGA, ItemsSkipped, SagaItem, SagaStarted, ScriptKind, SkipReason};
use retention_core::event::{Event, EventType};
use retention_core::id::{EntityId, PlanId, RequestId, RunId, SagaId};
use retention_core::plan;
use retention_core::policy::{Action, Policy, Rate, Standing, State};
use retention_core::record::Kind;
use retention_core::saga::{EXPORT_PURGE_VERSION, EXPORT_REDACT_VERSION, MESSAGE_PURGE_VERSION, RESTRICT_VERSION};
use retention_core::time::Timestamp;
use retention_core::view::index::Key;
use retention_core::view::{Condition, EntityState, RunState, Views};
use roaring::RoaringBitmap;

use super::super::{StageError, Step};
use super::Run;
use crate::store::{AppendError, Subject};

/// What the next saga takes: items of one mailbox and one kind.
pub(super) struct Upcoming {
    pub(super) mailbox: Option<EntityId>,
    /// Ascending by entity.
    items: Vec<SagaItem>,
}

impl Upcoming {
    /// Returns one of the items.
    pub(super) fn first(&self) -> Option<EntityId> {
        self.items.first().map(|item| item.entity)
    }
}

impl Run {
    /// Takes the next items of the plan: up to 10,000 of one mailbox.
    pub(super) fn begin_next(&self, run: RunId, taken: u64) -> Result<Step, StageError> {
        let Some(plan) = self.store.view(|views| views.small.runs.run(run).map(|run| run.plan)) else {
            return Ok(Step::Idle);
        };
        let upcoming = self.upcoming(plan, taken)?;
        self.begin_saga(run, plan, upcoming)?;
        Ok(Step::Worked)
    }

    pub(super) fn begin_saga(&self, run: RunId, plan: PlanId, upcoming: Upcoming) -> Result<(), StageError> {
        let (script, script_version) = self.script_of(plan, upcoming.first());
        let Upcoming { mailbox, items } = upcoming;
        let body = SagaStarted { run, script, script_version, mailbox, items: items.clone() };
        let condition = Condition::RunIn(run, vec![RunState::Running]);
        let saga = match self.append(run.0, vec![Event::SagaStarted(body)], condition) {
            Ok(position) => SagaId(position),
            Err(StageError::Append(AppendError::Conflict(_))) => return Ok(()),
            Err(error) => return Err(error),
        };
        let drifted = self.drifted(saga, &items)?;
        self.skip(saga, drifted)
    }

    /// Returns what the next saga takes. Of the plan no more is read than that.
    pub(super) fn upcoming(&self, plan: PlanId, taken: u64) -> Result<Upcoming, StageError> {
        let together = self.rate_of(plan).map_or(ITEMS_PER_SAGA, |rate| rate.together().min(ITEMS_PER_SAGA));
        let per_chunk = ITEMS_PER_CHUNK as u64;
        let mut chunk = usize::try_from(taken / per_chunk).unwrap_or(usize::MAX);
        let mut skip = usize::try_from(taken % per_chunk).unwrap_or(0);
        let mut upcoming = Upcoming { mailbox: None, items: Vec::new() };
        let mut place: Option<(Option<EntityId>, bool)> = None;
        let mut numbers = taken..;
        while upcoming.items.len() < together {
            let more: Vec<PlanItem> = self.store.plan_items(plan, chunk)?.into_iter().skip(skip).collect();
            let count = self.store.view(|views| {
                let place_of = |item: &PlanItem| {
                    let mailbox = views.entities.row(item.entity).and_then(|row| row.mailbox);
                    (mailbox, is_message(views, Some(item.entity)))
                };
                let is_same = |item: &&PlanItem| {
                    let own = place_of(item);
                    *place.get_or_insert(own) == own
                };
                more.iter().take(together - upcoming.items.len()).take_while(is_same).count()
            });
            let items = more.iter().take(count).zip(&mut numbers).map(|(item, number)| SagaItem {
                item: u32::try_from(number).unwrap_or(u32::MAX),
                entity: item.entity,
                version: item.version,
            });
            upcoming.items.extend(items);
            if more.is_empty() || count < more.len() {
                break;
            }
            (chunk, skip) = (chunk + 1, 0);
        }
        upcoming.mailbox = place.and_then(|(mailbox, _)| mailbox);
        upcoming.items.sort_unstable_by_key(|item| item.entity);
        Ok(upcoming)
    }

    /// A saga is about one kind of thing: messages, or anything else. Policies about messages are about nothing else,
    /// and the plan of an erasure is about everything.
    pub(super) fn script_of(&self, plan: PlanId, first: Option<EntityId>) -> (ScriptKind, u16) {
        // If the policy was edited since, the first step of the saga refuses.
        match self.policy_of(plan).map(|policy| policy.action.clone()) {
            Some(Action::Redact { .. }) => (ScriptKind::ExportRedact, EXPORT_REDACT_VERSION),
            Some(Action::Restrict) => (ScriptKind::Restrict, RESTRICT_VERSION),
            Some(Action::Purge { .. } | Action::Review { .. }) | None => {
                match self.store.view(|views| is_message(views, first)) {
                    true => (ScriptKind::MessagePurge, MESSAGE_PURGE_VERSION),
                    false => (ScriptKind::ExportPurge, EXPORT_PURGE_VERSION),
                }
            }
        }
    }

    /// Returns the policy that a plan is for, as it is now; `None` for an erasure, and for one that is not active any
    /// more.
    fn policy_of(&self, plan: PlanId) -> Option<Arc<Policy>> {
        let policy = self.store.view(|views| {
            let plan = views.small.plans.get(plan).filter(|plan| plan.erases.is_none())?;
            plan.frozen.as_ref().map(|frozen| frozen.policy.clone())
        });
        self.store.policy_of_plans(&policy?)
    }

    fn rate_of(&self, plan: PlanId) -> Option<Rate> {
        self.policy_of(plan).and_then(|policy| policy.limits.rate)
    }

    /// Judges items anew and returns those that must be left alone.
    pub(super) fn drifted(&self, saga: SagaId, items: &[SagaItem]) -> Result<Vec<(EntityId, SkipReason)>, StageError> {
        let now = self.clock.now();
        let basis = self.store.view(|views| Basis::of(views, saga, now, self.store.holds_at(views)));
        let Some(basis) = basis else { return Ok(Vec::new()) };
        if !basis.same_policies && basis.erases.is_none() && !self.still_does(saga, &basis.policy) {
            return Ok(items.iter().map(|item| (item.entity, SkipReason::NotDue)).collect());
        }
        let mut drifted = Vec::new();
        for part in items.chunks(1_000) {
            let entities: Vec<EntityId> = part.iter().map(|item| item.entity).collect();
            let (elsewhere, linked) = self.store.view(|views| {
                let is_linked = |entity: &EntityId| views.links.neighbours(*entity).next().is_some();
                (elsewhere(views, saga, &entities), entities.iter().map(is_linked).collect::<Vec<_>>())
            });
            let mut doubtful = Vec::new();
            for ((item, subject), is_linked) in part.iter().zip(self.store.subjects(&entities)).zip(linked) {
                let subject = subject.out_of_own_quarantine();
                let reason = if elsewhere.contains(&item.entity) {
                    Some(SkipReason::InAnotherRun)
                } else if subject.row.state == EntityState::Purged {
                    Some(SkipReason::Gone)
                } else if subject.row.version != item.version {
                    Some(SkipReason::Changed)
                } else {
                    if !basis.still_stands(&subject, is_linked) {
                        doubtful.push(subject);
                    }
                    None
                };
                drifted.extend(reason.map(|reason| (item.entity, reason)));
            }
            let decisions = match basis.erases {
                Some(request) => self.store.decide_all_asked(request, &doubtful, now)?,
                None => self.store.decide_all_for(&basis.policy, &doubtful, now)?,
            };
            for (subject, decision) in doubtful.iter().zip(decisions) {
                let reason = decision.as_ref().map_or(Some(SkipReason::Gone), plan::drift);
                drifted.extend(reason.map(|reason| (subject.entity, reason)));
            }
        }
        drifted.sort_unstable_by_key(|(entity, _)| *entity);
        Ok(drifted)
    }

    /// Says whether a policy, as it is now, does what the saga was begun for. Under one that only ends the use, takes
    /// fields out, is simulated or is gone, nothing is purged, however due it is: nobody wants any more what was
    /// approved.
    fn still_does(&self, saga: SagaId, policy: &str) -> bool {
        let script = self.store.view(|views| views.small.runs.saga(saga).map(|saga| saga.started.script));
        let (Some(script), Some(policy)) = (script, self.store.policy_of_plans(policy)) else { return false };
        let does = match policy.action {
            Action::Purge { .. } | Action::Review { .. } => {
                matches!(script, ScriptKind::ExportPurge | ScriptKind::MessagePurge)
            }
            Action::Redact { .. } => script == ScriptKind::ExportRedact,
            Action::Restrict => script == ScriptKind::Restrict,
        };
        does && policy.state == State::Enforce
    }

    /// Returns what the judgement of items rests on beside their versions: that it is still so is a condition of the
    /// intent. None of it changes the version of an item.
    ///
    /// **Order:** before they are judged, so that whatever moves during the judgement is found, too.
    pub(super) fn grounds(&self, items: &[SagaItem]) -> Condition {
        let policies = Condition::PoliciesAre(self.store.policies().digest());
        let (activities, deals): (Vec<_>, Vec<_>) = self.store.view(|views| {
            let known = |item: &SagaItem| {
                let entity = item.entity;
                ((entity, views.activities_of(entity)), (entity, views.open_deals(entity)))
            };
            items.iter().map(known).unzip()
        });
        Condition::All(vec![policies, Condition::SameActivities(activities), Condition::SameDeals(deals)])
    }

    /// Records that items are left alone.
    pub(super) fn skip(&self, saga: SagaId, items: Vec<(EntityId, SkipReason)>) -> Result<(), StageError> {
        if !items.is_empty() {
            self.append(saga.0, vec![Event::ItemsSkipped(ItemsSkipped { saga, items })], Condition::None)?;
        }
        Ok(())
    }
}

fn is_message(views: &Views, entity: Option<EntityId>) -> bool {
    let row = entity.and_then(|entity| views.entities.row(entity));
    row.and_then(|row| views.small.layouts.get(row.layout)).is_some_and(|layout| layout.kind == Kind::Message)
}

/// What a saga's items were judged by when they were planned.
struct Basis {
    policy: String,
    /// The request, for an erasure.
    erases: Option<RequestId>,
    same_policies: bool,
    /// Whether the clock is at or after the instant that the plan was made for: it may have been ahead then.
    is_later: bool,
    /// Whether a hold is on the policy, which no item shows.
    is_policy_held: bool,
}

impl Basis {
    /// With the same record, the same policies and nothing derived from others, the judgement of the plan stands: what
    /// was due then is due now.
    fn still_stands(&self, subject: &Subject, is_linked: bool) -> bool {
        // What a request asks for may change at any time.
        self.erases.is_none()
            && self.same_policies
            && self.is_later
            && !self.is_policy_held
            && !is_linked
            && subject.row.last_activity.is_none()
            && subject.standing == Standing::FREE
    }

    fn of(views: &Views, saga: SagaId, now: Timestamp, holds_at: Timestamp) -> Option<Self> {
        let run = views.small.runs.saga(saga)?.started.run;
        let plan_id = views.small.runs.run(run)?.plan;
        let plan = views.small.plans.get(plan_id)?;
        let frozen = plan.frozen.as_ref()?;
        // By position: while the clock is behind what it once showed, many events bear the same instant.
        let activated = views.index.get(Key::Type(EventType::PolicySetActivated as u16)).and_then(RoaringBitmap::max);
        let same_policies = activated.is_some_and(|position| u64::from(position) < plan_id.0.0);
        let (policy, erases) = (frozen.policy.clone(), plan.erases);
        let is_policy_held = !views.holds_of_policy_at(&policy, holds_at).is_empty();
        Some(Self { policy, erases, same_policies, is_later: frozen.as_of <= now, is_policy_held })
    }
}

/// Returns those of the entities that another open saga works on.
fn elsewhere(views: &Views, own: SagaId, entities: &[EntityId]) -> Vec<EntityId> {
    let others: Vec<_> =
        views.small.runs.sagas().filter(|(id, saga)| *id < own && saga.end.is_none()).map(|(_, saga)| saga).collect();
    let is_taken = |entity: &EntityId| {
        others.iter().any(|saga| {
            saga.started.items.binary_search_by_key(entity, |item| item.entity).is_ok()
                && !saga.skipped.contains_key(entity)
        })
    };
    entities.iter().copied().filter(is_taken).collect()
}
