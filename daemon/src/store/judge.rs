//! What core decides, on what the store remembers: one judgement, used to plan, to run and to explain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::decision::{ITEMS_PER_CHUNK, PlanItem};
use retention_core::event::subject::ERASURE_POLICY;
use retention_core::id::{Digest, EntityId, HoldId, PlanId, Position, RequestId};
use retention_core::policy::{
    Asked, BoundSet, Claim, Decision, Facts, Place, Policy, PolicyFile, PolicySet, Restriction, Standing,
};
use retention_core::reason::Reason;
use retention_core::record::activity::Activity;
use retention_core::time::Timestamp;
use retention_core::view::{EntityState, Row, Views};

use super::{Inner, ReadError, Store, state};

/// An entity with everything that is looked at to judge it, but its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The entity.
    pub entity: EntityId,
    /// What the view knows of it.
    pub row: Row,
    /// How many open deals it is tied to.
    pub open_deals: u32,
    /// The newest activity of each class that it had.
    pub activities: Vec<Activity>,
    /// Where it stands apart from policies.
    pub standing: Standing,
}

impl Subject {
    fn of(views: &Views, entity: EntityId, holds_at: Timestamp) -> Option<Self> {
        let row = views.entities.row(entity)?;
        let standing = Standing {
            holds: views.holds_of_at(entity, holds_at),
            restriction: restriction(views, entity, row.version),
            needed: views.month_needed_at(entity, holds_at),
            excepted: views.small.subjects.excepting(entity),
            reviews: views.small.reviews.of(entity, row.version),
            place: match row.state {
                EntityState::Visible => Place::Live,
                EntityState::Quarantined => Place::Quarantined,
                EntityState::Purged => Place::Gone,
            },
        };
        let (open_deals, activities) = (views.open_deals(entity), views.activities_of(entity));
        Some(Self { entity, row, open_deals, activities, standing })
    }

    /// The same entity, seen by the run that hid it itself.
    #[must_use]
    pub fn out_of_own_quarantine(mut self) -> Self {
        if self.standing.place == Place::Quarantined {
            self.standing.place = Place::Live;
        }
        self
    }
}

/// Says whether the use of an entity in this version is restricted, or was.
#[must_use]
pub fn restriction(views: &Views, entity: EntityId, version: Position) -> Restriction {
    let all = &views.small.restrictions;
    if all.keeps(entity) {
        return Restriction::Restricted;
    }
    let by_policy = all.by_policy(entity).map(Restriction::ByPolicy);
    by_policy.or_else(|| all.lifted(entity, version).map(Restriction::Lifted)).unwrap_or(Restriction::None)
}

/// Where the log says which policies are active.
pub(super) struct ActivePolicies {
    digest: Option<Digest>,
    texts: Vec<Position>,
}

impl ActivePolicies {
    /// Looks it up.
    pub(super) fn of(views: &Views) -> Self {
        let known = &views.small.policies;
        let text = |id: &str, digest| known.texts.get(&(id.to_owned(), digest)).copied();
        let texts = known.policies.iter().filter_map(|version| text(&version.id, version.digest)).collect();
        Self { digest: known.digest, texts }
    }
}

impl Inner {
    /// Takes the active policies out of the log; `None` when none are, or when this program reads their texts
    /// differently.
    pub(super) fn policies_of_log(&self, active: &ActivePolicies) -> Result<Option<PolicySet>, ReadError> {
        let mut texts = BTreeMap::new();
        for position in &active.texts {
            if let Some(recorded) = self.read(*position)?
                && let Some(Event::PolicyRecorded(body)) = recorded.event()
            {
                texts.insert(body.id.clone(), body.text.clone());
            }
        }
        let files: Vec<PolicyFile<'_>> = texts.iter().map(|(stem, text)| PolicyFile { stem, text }).collect();
        Ok(PolicySet::check(&files).ok().filter(|set| Some(set.digest()) == active.digest))
    }
}

impl Store {
    /// Takes the active policies out of the log, also when their files are gone; `None` when none are active.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn policies_of_log(&self) -> Result<Option<PolicySet>, ReadError> {
        let active = self.view(ActivePolicies::of);
        self.inner.policies_of_log(&active)
    }

    /// Returns a version of a policy as the log recorded it, whatever is active now; `None` when its text cannot be read
    /// as that version.
    ///
    /// # Errors
    /// When the journal or sled cannot be read there.
    pub fn policy_version(&self, digest: Digest) -> Result<Option<Arc<Policy>>, ReadError> {
        let text: Option<Position> = self.view(|views| {
            let mut texts = views.small.policies.texts.iter();
            texts.find(|((_, known), _)| *known == digest).map(|(_, position)| *position)
        });
        let recorded = text.map(|position| self.read(position)).transpose()?.flatten();
        let Some(Event::PolicyRecorded(body)) = recorded.as_ref().and_then(|recorded| recorded.event()) else {
            return Ok(None);
        };
        let set = PolicySet::check(&[PolicyFile { stem: &body.id, text: &body.text }]).ok();
        let policy = set.as_ref().and_then(|set| set.get(&body.id)).filter(|policy| policy.digest() == digest);
        Ok(policy.cloned())
    }

    /// Returns the policy under which a plan is carried out, or what stands in its place for an erasure.
    #[must_use]
    pub fn policy_of_plans(&self, id: &str) -> Option<Arc<Policy>> {
        if id == ERASURE_POLICY { Policy::of_erasures().map(Arc::new) } else { self.policies().get(id).cloned() }
    }

    /// Returns the instant by which holds count, by the clock of the store.
    #[must_use]
    pub fn holds_at(&self, views: &Views) -> Timestamp {
        views.holds_at(self.inner.clock.now())
    }

    /// Looks entities up, all at one position. Numbers that were never used are left out.
    #[must_use]
    pub fn subjects(&self, entities: &[EntityId]) -> Vec<Subject> {
        self.view(|views| {
            let holds_at = self.holds_at(views);
            let mut subjects = Vec::with_capacity(entities.len());
            subjects.extend(entities.iter().filter_map(|entity| Subject::of(views, *entity, holds_at)));
            subjects
        })
    }

    /// Decides whether one policy would dispose of entities at an instant, in their order; `None` where the record is
    /// gone, or the policy is not active. Their records are read together.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn decide_all_for(
        &self,
        policy: &str,
        subjects: &[Subject],
        now: Timestamp,
    ) -> Result<Vec<Option<Decision>>, ReadError> {
        let held = self.view(|views| views.holds_of_policy_at(policy, self.holds_at(views)));
        self.judge_all(subjects, |set, facts, subject| {
            if held.is_empty() {
                return set.decide_for(policy, facts, &subject.standing, now);
            }
            let mut standing = subject.standing.clone();
            standing.holds.extend(&held);
            set.decide_for(policy, facts, &standing, now)
        })
    }

    /// Decides whether a request for erasure disposes of subjects at an instant, in their order; `None` where a record
    /// is gone.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn decide_all_asked(
        &self,
        id: RequestId,
        subjects: &[Subject],
        now: Timestamp,
    ) -> Result<Vec<Option<Decision>>, ReadError> {
        let (request, held) = self.view(|views| {
            let holds = views.small.holds.in_force(self.holds_at(views));
            let held: Vec<(HoldId, BTreeSet<String>)> = holds
                .filter(|(_, hold)| !hold.policies.is_empty())
                .map(|(hold, body)| (hold, body.policies.clone()))
                .collect();
            (views.small.subjects.get(id).cloned(), held)
        });
        self.judge_all(subjects, |set, facts, subject| {
            let request = request.as_ref()?;
            let claim = if request.erases(subject.entity) {
                Claim::Erase
            } else if request.excepts(subject.entity) {
                Claim::Excepted
            } else {
                Claim::None
            };
            let asked = Asked { request: id, received_at: request.received_at, claim };
            let decision = set.decide_asked(&asked, facts, &subject.standing, now);
            // A hold on a policy holds what that policy is about, whoever wants it gone.
            let is_about = |policies: &BTreeSet<String>| {
                let mut about = decision.policies.iter().filter(|assessed| assessed.reason != Reason::OutOfScope);
                about.any(|assessed| policies.contains(&assessed.policy))
            };
            let holds: Vec<HoldId> =
                held.iter().filter(|(_, policies)| is_about(policies)).map(|(id, _)| *id).collect();
            if holds.is_empty() {
                return Some(decision);
            }
            let mut standing = subject.standing.clone();
            standing.holds.extend(holds);
            Some(set.decide_asked(&asked, facts, &standing, now))
        })
    }

    /// Reads the records of subjects, in pieces, and judges each.
    fn judge_all(
        &self,
        subjects: &[Subject],
        judge: impl Fn(&BoundSet, &Facts<'_>, &Subject) -> Option<Decision>,
    ) -> Result<Vec<Option<Decision>>, ReadError> {
        let mut decisions = Vec::with_capacity(subjects.len());
        for piece in self.pieces(subjects, |subject| subject.row.version, subjects.len())? {
            let judged = self.map_records(&piece, |subject, record| {
                let bound = self.bound(record.layout)?;
                let facts = state::facts(&bound.layout, &record, &subject.row, subject.open_deals, &subject.activities);
                judge(&bound.set, &facts, subject)
            });
            decisions.extend(judged?.into_iter().map(Option::flatten));
        }
        Ok(decisions)
    }

    /// Decides about an entity under all active policies at an instant; `None` if its record is gone.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn decide(&self, subject: &Subject, now: Timestamp) -> Result<Option<Decision>, ReadError> {
        let Some(record) = self.record_at(subject.row.version)? else { return Ok(None) };
        let Some(bound) = self.bound(record.layout) else { return Ok(None) };
        let facts = state::facts(&bound.layout, &record, &subject.row, subject.open_deals, &subject.activities);
        Ok(Some(bound.set.decide(&facts, &subject.standing, now)))
    }

    /// Reads items of a plan, in plan order: those of one chunk. An empty answer is the end.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn plan_items(&self, plan: PlanId, chunk: usize) -> Result<Vec<PlanItem>, ReadError> {
        let position = self.view(|views| views.small.plans.get(plan).and_then(|plan| plan.chunks.get(chunk).copied()));
        let Some(position) = position else { return Ok(Vec::new()) };
        Ok(self
            .read(position)?
            .as_ref()
            .and_then(|recorded| match recorded.event() {
                Some(Event::PlanItems(body)) => Some(body.items.clone()),
                _ => None,
            })
            .unwrap_or_default())
    }

    /// Returns an item of a plan by its number; `None` if there is none.
    ///
    /// # Errors
    /// When the journal or sled cannot be read there.
    pub fn plan_item(&self, plan: PlanId, number: u64) -> Result<Option<PlanItem>, ReadError> {
        let (chunk, at) = (number / ITEMS_PER_CHUNK as u64, number % ITEMS_PER_CHUNK as u64);
        let (Ok(chunk), Ok(at)) = (usize::try_from(chunk), usize::try_from(at)) else { return Ok(None) };
        Ok(self.plan_items(plan, chunk)?.get(at).copied())
    }
}
