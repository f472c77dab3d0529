//! Which activities a policy counts: `activity_events`.
//!
//! **Fails closed:** an activity of which nobody can tell the class counts, whatever the list says; so does a date that
//! a source itself tells, and one that no known activity accounts for. So a list can only ever leave out what is known
//! to be something else. What counts without a class never makes anything due earlier that has a start without it,
//! unless a filter or an override asks for `last_activity`: then it can bring something into their scope.

use std::collections::BTreeSet;

use super::{Facts, Filter, Policy};
use crate::reason::StartKind;
use crate::record::DateRole;
use crate::record::activity::{Activity, ActivityClass};
use crate::time::Timestamp;

/// The classes that count, and what has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityEvents {
    /// Never empty.
    classes: BTreeSet<ActivityClass>,
}

impl ActivityEvents {
    pub(super) fn of(classes: BTreeSet<ActivityClass>) -> Self {
        Self { classes }
    }

    /// Goes through the classes, ascending by name.
    pub fn classes(&self) -> impl Iterator<Item = &ActivityClass> {
        self.classes.iter()
    }

    /// What nobody can tell counts.
    fn counts(&self, class: Option<&ActivityClass>) -> bool {
        class.is_none_or(|class| self.classes.contains(class))
    }

    /// Returns the newest of the activities that count.
    pub(super) fn last_activity(&self, facts: &Facts<'_>) -> Option<Timestamp> {
        let accounted_for = facts.activities.iter().map(|activity| activity.at).max();
        if facts.last_activity > accounted_for {
            return facts.last_activity;
        }
        let counted = facts.activities.iter().filter(|activity| self.counts(activity.class.as_ref()));
        counted.map(|activity| activity.at).max()
    }
}

impl Policy {
    /// Says whether something under this policy counts from its last activity.
    #[must_use]
    pub fn starts_with_activity(&self) -> bool {
        let retention = &self.retention;
        retention.start == StartKind::LastActivity
            || retention.on_missing_start == super::OnMissingStart::Fallback(StartKind::LastActivity)
            || retention.overrides.iter().any(|part| part.start == StartKind::LastActivity)
    }

    /// Returns which of its filters speak of the last activity, as a policy file calls them.
    #[must_use]
    pub fn filters_on_activity(&self) -> Vec<&'static str> {
        let speaks = |filter: Option<&Filter>| filter.is_some_and(Filter::speaks_of_activity);
        let overrides = self.retention.overrides.iter().any(|part| part.filter.speaks_of_activity());
        let filters = [
            ("where", speaks(self.scope.filter.as_ref())),
            ("suspend_while", speaks(self.retention.suspend_while.as_ref())),
            ("override", overrides),
        ];
        filters.into_iter().filter(|(_, speaks)| *speaks).map(|(name, _)| name).collect()
    }

    /// Says whether an activity counts.
    #[must_use]
    pub fn counts(&self, activity: &Activity) -> bool {
        let events = self.retention.activity_events.as_ref();
        events.is_none_or(|events| events.counts(activity.class.as_ref()))
    }
}

impl Facts<'_> {
    /// Returns all activities that are known, the newest first, with the date that the source itself tells.
    #[must_use]
    pub fn all_activities(&self) -> Vec<Activity> {
        let told = self.record.date(DateRole::LastActivity);
        let told = told.map(|at| Activity { class: None, at, by: None });
        let mut all: Vec<Activity> = self.activities.iter().cloned().chain(told).collect();
        all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.cmp(b)));
        all
    }
}
