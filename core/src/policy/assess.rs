//! One policy against one entity, without asking for the time.

use std::sync::Arc;

use super::cell::{self, Found};
use super::filter::{BoundDate, BoundSubject, Leaf, Truth, date_field, last_activity};
use super::{Action, Audience, Filter, OnMissingStart, Policy, start_name};
use crate::reason::{Reason, StartKind};
use crate::record::activity::Activity;
use crate::record::field::CUSTOM_PREFIX;
use crate::record::{Column, DateRole, EntityRecord, FieldType, Layout, Visibility};
use crate::time::{Align, Period, Timestamp};

/// What is known of an entity when it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// How its cells are arranged; must be the layout of the record.
    pub layout: &'a Layout,
    /// Its row, dates and links.
    pub record: &'a EntityRecord,
    /// When the daemon first saw it.
    pub first_seen: Timestamp,
    /// The latest linked activity, post or task.
    pub last_activity: Option<Timestamp>,
    /// The newest of each class of them. A policy that counts them all needs none of it.
    pub activities: &'a [Activity],
    /// How many linked deals are open.
    pub open_deals: u32,
}

/// What a policy says of an entity, whatever the time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assessment<'a> {
    /// The policy is about other entities.
    OutOfScope,
    /// It is in scope, without the date that the period counts from.
    NoStart {
        /// Which date.
        start: &'a StartKind,
    },
    /// A field that decides cannot be read.
    CannotEvaluate {
        /// Which field.
        field: &'a str,
    },
    /// `suspend_while` holds.
    Suspended,
    /// It is due from an instant on.
    Due {
        /// Where the period starts.
        start: &'a StartKind,
        /// That instant, not aligned.
        start_at: Timestamp,
        /// The first instant at which it is due: never before `keep_until`.
        due_at: Timestamp,
        /// Until when `min_keep` protects it, also from other policies.
        keep_until: Option<Timestamp>,
        /// Whether `start` is the fallback.
        is_fallback: bool,
    },
    /// It is in scope of a redaction that leaves it as it is, for now or for good.
    NotRedacted {
        /// The field that cannot be taken out; `None`: nothing is there that would be.
        field: Option<&'a str>,
        /// Until when `min_keep` protects it, also from other policies.
        keep_until: Option<Timestamp>,
    },
}

impl Assessment<'_> {
    /// Returns until when the policy's `min_keep` protects the entity, also from other policies.
    #[must_use]
    pub fn keep_until(&self) -> Option<Timestamp> {
        match self {
            Self::Due { keep_until, .. } | Self::NotRedacted { keep_until, .. } => *keep_until,
            Self::OutOfScope | Self::NoStart { .. } | Self::CannotEvaluate { .. } | Self::Suspended => None,
        }
    }

    /// Returns the reason that this is at an instant.
    #[must_use]
    pub fn reason(&self, now: Timestamp) -> Reason {
        match *self {
            Self::OutOfScope => Reason::OutOfScope,
            Self::NoStart { start } => Reason::NoStart { start: start.clone() },
            Self::CannotEvaluate { field } => Reason::CannotEvaluate { field: field.to_owned() },
            Self::Suspended => Reason::Suspended,
            Self::NotRedacted { field: None, .. } => Reason::NothingToRedact,
            Self::NotRedacted { field: Some(field), .. } => Reason::CannotRedact { field: field.to_owned() },
            Self::Due { start, start_at, due_at, .. } if due_at <= now => {
                Reason::PeriodOver { start: start.clone(), start_at, due_at }
            }
            Self::Due { start, start_at, due_at, .. } => {
                Reason::PeriodRunning { start: start.clone(), start_at, due_at }
            }
        }
    }
}

/// When to look at an entity under a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueDay {
    /// Never: the policy is not about it.
    OutOfScope,
    /// Never, as it is.
    Never,
    /// From this instant on.
    At(Timestamp),
}

/// A policy with its fields resolved to the columns of one layout. Made once per layout and policy.
#[derive(Debug, Clone)]
pub struct BoundPolicy {
    policy: Arc<Policy>,
    applies: Applies,
    subjects: Vec<BoundSubject>,
    start: BoundStart,
    fallback: Option<BoundStart>,
    /// The starts of the overrides, in their order.
    overrides: Vec<BoundStart>,
    /// From when `max_keep` counts.
    made: BoundStart,
    /// The columns of the source's own dates, each with the number of the named date that was read from it, where that
    /// is known. Which of them a mapping reads as which date is not recorded.
    own_dates: Vec<(usize, Option<u16>)>,
}

/// The part of a policy that says when one entity is due.
struct Rule<'a> {
    period: Period,
    align: Align,
    start: &'a StartKind,
    bound: &'a BoundStart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applies {
    ToNothingHere,
    ToSomeHere,
}

/// Where a start date comes from in one layout.
#[derive(Debug, Clone)]
enum BoundStart {
    Date(BoundDate, String),
    LastActivity,
    FirstSeen,
    /// The layout has no such date.
    Nowhere,
}

impl BoundStart {
    fn of(start: &StartKind, layout: &Layout) -> Self {
        let name = start_name(start);
        match start {
            StartKind::LastActivity => Self::LastActivity,
            StartKind::FirstSeen => Self::FirstSeen,
            StartKind::Event(event) => {
                let index = layout.named_dates.iter().position(|named| named == event);
                match index.and_then(|index| u16::try_from(index).ok()) {
                    Some(index) => Self::Date(BoundDate { role: DateRole::Named(index), column: None }, name),
                    None => Self::Nowhere,
                }
            }
            StartKind::Requested | StartKind::Reviewed => Self::Nowhere,
            StartKind::Created
            | StartKind::Modified
            | StartKind::Closed
            | StartKind::ContractEnd
            | StartKind::Received
            | StartKind::Occurred
            | StartKind::Granted => match date_field(&name) {
                Some((role, column)) => Self::Date(BoundDate::of(role, column, layout), name),
                None => Self::Nowhere,
            },
        }
    }

    /// Says whether it is a date that no standard field holds, so that a mapping alone can tell it.
    fn is_mapped(&self) -> bool {
        matches!(self, Self::Date(date, _) if date.column.is_none())
    }

    /// Returns the start; the error is the field that cannot be read.
    fn read(&self, facts: &Facts<'_>) -> Result<Option<Timestamp>, &str> {
        match self {
            Self::Date(date, name) => match date.read(facts.record) {
                Found::Value(at) => Ok(Some(at)),
                Found::Nothing => Ok(None),
                Found::Unreadable => Err(name),
            },
            Self::LastActivity => Ok(last_activity(facts)),
            Self::FirstSeen => Ok(Some(facts.first_seen)),
            Self::Nowhere => Ok(None),
        }
    }
}

impl Policy {
    /// Resolves the policy's fields to the columns of a layout.
    #[must_use]
    pub fn bind(self: &Arc<Self>, layout: &Layout) -> BoundPolicy {
        let scope = &self.scope;
        let applies =
            scope.kinds.contains(&layout.kind) && (scope.sources.is_empty() || scope.sources.contains(&layout.source));
        let mut subjects = Vec::new();
        let mut bind_leaf = |leaf: &Leaf| subjects.push(leaf.subject.bind(&leaf.field, layout));
        // The order in which leaves were numbered: first the scope, then the suspension, then the overrides.
        let overrides = &self.retention.overrides;
        let filters = [&scope.filter, &self.retention.suspend_while].into_iter().flatten();
        for filter in filters.chain(overrides.iter().map(|part| &part.filter)) {
            filter.for_each_leaf(&mut bind_leaf);
        }
        let fallback = match &self.retention.on_missing_start {
            OnMissingStart::Keep | OnMissingStart::Review => None,
            OnMissingStart::Fallback(start) => Some(BoundStart::of(start, layout)),
        };
        BoundPolicy {
            policy: Arc::clone(self),
            applies: if applies { Applies::ToSomeHere } else { Applies::ToNothingHere },
            subjects,
            start: BoundStart::of(&self.retention.start, layout),
            fallback,
            overrides: overrides.iter().map(|part| BoundStart::of(&part.start, layout)).collect(),
            made: BoundStart::of(&StartKind::Created, layout),
            own_dates: own_dates(layout),
        }
    }
}

/// An export calls each of its own dates as the column is called. A mapping may call one so by chance, so all have to
/// agree.
fn own_dates(layout: &Layout) -> Vec<(usize, Option<u16>)> {
    let is_own = |column: &Column| column.field_type == FieldType::Date && column.field.starts_with(CUSTOM_PREFIX);
    let named = |column: &Column| {
        let number = layout.named_dates.iter().position(|named| *named == column.name)?;
        u16::try_from(number).ok()
    };
    let own = layout.columns.iter().enumerate().filter(|(_, column)| is_own(column));
    let mut own: Vec<(usize, Option<u16>)> = own.map(|(number, column)| (number, named(column))).collect();
    if own.len() != layout.named_dates.len() || own.iter().any(|(_, named)| named.is_none()) {
        own.iter_mut().for_each(|(_, named)| *named = None);
    }
    own
}

impl BoundPolicy {
    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Says whether no entity of the layout is in scope, so that none needs to be assessed.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.applies == Applies::ToNothingHere
    }

    /// Returns the day on which to look at what was assessed, for the due index: its due date, or, for what a person
    /// has to decide about because there is no date to count from, when it was first seen.
    #[must_use]
    pub fn day(&self, assessment: &Assessment<'_>, facts: &Facts<'_>) -> DueDay {
        match assessment {
            Assessment::OutOfScope => DueDay::OutOfScope,
            Assessment::NoStart { .. } if self.policy.retention.on_missing_start == OnMissingStart::Review => {
                DueDay::At(facts.first_seen)
            }
            Assessment::NoStart { .. }
            | Assessment::CannotEvaluate { .. }
            | Assessment::NotRedacted { .. }
            | Assessment::Suspended => DueDay::Never,
            Assessment::Due { due_at, .. } => DueDay::At(*due_at),
        }
    }

    /// Judges one entity of the layout that the policy was bound to. Allocates nothing.
    #[must_use]
    pub fn assess<'a>(&'a self, facts: &Facts<'a>) -> Assessment<'a> {
        // A policy that gives access disposes of nothing.
        if self.policy.access.is_some() || self.is_elsewhere() {
            return Assessment::OutOfScope;
        }
        let facts = &self.counted(facts);
        match audience_matches(self.policy.scope.audience, facts.record.visibility) {
            Truth::Yes => {}
            Truth::No => return Assessment::OutOfScope,
            Truth::Unreadable(field) => return Assessment::CannotEvaluate { field },
        }
        if let Some(filter) = &self.policy.scope.filter {
            match self.judge(filter, facts) {
                Truth::Yes => {}
                Truth::No => return Assessment::OutOfScope,
                Truth::Unreadable(field) => return Assessment::CannotEvaluate { field },
            }
        }
        if let Some(filter) = &self.policy.retention.suspend_while {
            match self.judge(filter, facts) {
                Truth::Yes => return Assessment::Suspended,
                Truth::No => {}
                Truth::Unreadable(field) => return Assessment::CannotEvaluate { field },
            }
        }
        self.assess_start(facts)
    }

    /// Returns what is known, as far as the policy counts it: whatever it says of the last activity, it says of those
    /// that count.
    fn counted<'a>(&self, facts: &Facts<'a>) -> Facts<'a> {
        match &self.policy.retention.activity_events {
            None => *facts,
            Some(events) => Facts { last_activity: events.last_activity(facts), ..*facts },
        }
    }

    fn judge<'a>(&'a self, filter: &'a Filter, facts: &Facts<'_>) -> Truth<'a> {
        filter.judge(&self.subjects, facts, &self.policy.retention.zone)
    }

    /// Returns what holds for one entity: the first override that matches, or the policy itself. The error is the
    /// field that cannot be read.
    fn rule(&self, facts: &Facts<'_>) -> Result<Rule<'_>, &str> {
        let retention = &self.policy.retention;
        for (part, bound) in retention.overrides.iter().zip(&self.overrides) {
            match self.judge(&part.filter, facts) {
                Truth::Yes => return Ok(Rule { period: part.period, align: part.align, start: &part.start, bound }),
                Truth::No => {}
                Truth::Unreadable(field) => return Err(field),
            }
        }
        let (period, align, start) = (retention.period, retention.align, &retention.start);
        Ok(Rule { period, align, start, bound: &self.start })
    }

    fn assess_start<'a>(&'a self, facts: &Facts<'a>) -> Assessment<'a> {
        let retention = &self.policy.retention;
        let rule = match self.rule(facts) {
            Ok(rule) => rule,
            Err(field) => return Assessment::CannotEvaluate { field },
        };
        match rule.bound.read(facts) {
            Err(field) => return Assessment::CannotEvaluate { field },
            Ok(Some(at)) => return self.due(&rule, rule.start, at, false, facts),
            Ok(None) => {}
        }
        match (&retention.on_missing_start, &self.fallback) {
            // What a mapping could not read as a date may be the one: it is there, so nothing stands in for it.
            (OnMissingStart::Fallback(_), Some(_)) if rule.bound.is_mapped() && self.has_unread_date(facts) => {
                Assessment::NoStart { start: rule.start }
            }
            (OnMissingStart::Fallback(start), Some(bound)) => match bound.read(facts) {
                Err(field) => Assessment::CannotEvaluate { field },
                Ok(Some(at)) => self.due(&rule, start, at, true, facts),
                Ok(None) => Assessment::NoStart { start: rule.start },
            },
            (OnMissingStart::Keep | OnMissingStart::Review | OnMissingStart::Fallback(_), _) => {
                Assessment::NoStart { start: rule.start }
            }
        }
    }

    fn has_unread_date(&self, facts: &Facts<'_>) -> bool {
        self.own_dates.iter().any(|(column, named)| {
            // An export's own words stay in the cell, also where they were read: `31. 12. 2020`.
            let was_read = named.is_some_and(|number| facts.record.date(DateRole::Named(number)).is_some());
            !was_read && cell::is_unread_date(facts.record.cells.get(*column))
        })
    }

    fn due<'a>(
        &'a self,
        rule: &Rule<'a>,
        start: &'a StartKind,
        start_at: Timestamp,
        is_fallback: bool,
        facts: &Facts<'a>,
    ) -> Assessment<'a> {
        let retention = &self.policy.retention;
        if retention.applies_from.is_some_and(|from| start_at < from) {
            return Assessment::OutOfScope;
        }
        let keep_until = retention.min_keep.map(|keep| keep.due_at(start_at, rule.align, &retention.zone));
        let due_at = rule.period.due_at(start_at, rule.align, &retention.zone);
        let due_at = self.latest(facts).map_or(due_at, |latest| due_at.min(latest));
        let due_at = keep_until.map_or(due_at, |keep| keep.max(due_at));
        match self.unredacted(facts) {
            Some(field) => Assessment::NotRedacted { field, keep_until },
            None => Assessment::Due { start, start_at, due_at, keep_until, is_fallback },
        }
    }

    /// Returns why a redaction would leave an entity as it is: the field that it cannot take out, or that nothing is
    /// left to take out. `None` when it would change the entity, and for every other action.
    fn unredacted<'a>(&'a self, facts: &Facts<'a>) -> Option<Option<&'a str>> {
        let Action::Redact { fields, .. } = &self.policy.action else { return None };
        let layout = facts.layout;
        let in_the_way = fields.unfit(layout).or_else(|| fields.identifying(layout, facts.record));
        match in_the_way.and_then(|column| layout.columns.get(column)) {
            Some(column) => Some(Some(&column.field)),
            None => (!fields.changes(layout, &facts.record.cells)).then_some(None),
        }
    }
}

impl BoundPolicy {
    /// Returns the end of `max_keep`: counted from when the entity was made, or, where nobody knows that, from when it
    /// was first seen, which is later. A date that cannot be read ends nothing.
    fn latest(&self, facts: &Facts<'_>) -> Option<Timestamp> {
        let max_keep = self.policy.retention.max_keep?;
        let made = match self.made.read(facts) {
            Ok(Some(at)) => at,
            Ok(None) => facts.first_seen,
            Err(_) => return None,
        };
        Some(max_keep.due_at(made, Align::None, &self.policy.retention.zone))
    }
}

fn audience_matches(audience: Audience, visibility: Visibility) -> Truth<'static> {
    match (audience, visibility) {
        (Audience::All, _) | (Audience::Private, Visibility::Private) | (Audience::Shared, Visibility::Shared) => {
            Truth::Yes
        }
        (Audience::Private, Visibility::Shared) | (Audience::Shared, Visibility::Private) => Truth::No,
        (Audience::Private | Audience::Shared, Visibility::Unknown) => Truth::Unreadable("visibility"),
    }
}
