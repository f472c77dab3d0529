//! Months of the log: keys for what people write, one for each calendar month, so that it can be erased.
//!
//! From the first policy on that is about months, what people write is sealed with the key of the month in which it was
//! handed over. A month is an entity: its key is a data key, and is destroyed only as one, by the purge step of a saga.

use parking_lot::Mutex;
use retention_core::event::change::EntityChanged;
use retention_core::event::operation::MonthBegun;
use retention_core::event::{Draft, Event, Sealing};
use retention_core::id::{EntityId, Position};
use retention_core::policy::State;
use retention_core::record::Kind;
use retention_core::record::month::{self, Month};
use retention_core::view::Condition;

use super::Store;
use super::log::AppendError;
use super::open::daemon_draft;
use super::vault::{DataKey, KeyState, VaultError};

/// Held by whoever looks for the month, so that no month is begun twice.
#[derive(Default)]
pub(super) struct Beginning(Mutex<()>);

/// What of an event is sealed apart: what is left of it without its texts, and the month whose key seals it whole.
pub(super) struct Texts {
    pub(super) facts: Event,
    pub(super) month: EntityId,
    pub(super) key: DataKey,
}

impl Store {
    /// Returns what is to be sealed apart of an event; `None` when it is sealed as one piece.
    pub(super) fn texts_of(&self, event: &Event) -> Result<Option<Texts>, AppendError> {
        if event.event_type().sealing() != Sealing::House || !self.has_months() {
            return Ok(None);
        }
        let Some(facts) = event.facts_alone() else { return Ok(None) };
        let month = match self.month() {
            // A hold, a pause and a revoke wait for no key: this text lies under the house key, then.
            Err(AppendError::Vault(error)) => {
                tracing::error!(%error, "there is no key for the month; what was written is sealed with the house key");
                None
            }
            month => month?,
        };
        Ok(month.map(|(month, key)| Texts { facts, month, key }))
    }

    /// Once there is a month, there is always one: a policy that is taken away for a day leaves no gap.
    fn has_months(&self) -> bool {
        let state = self.inner.state.read();
        let is_about_months = |kinds: &std::collections::BTreeSet<Kind>| kinds.contains(&Kind::AuditMonth);
        let mut policies = state.policies().policies().iter();
        state.views.small.months.iter().next().is_some()
            || policies.any(|policy| policy.state != State::Draft && is_about_months(&policy.scope.kinds))
    }

    /// Returns the month of now, with its key; the first one who needs it begins it. `None` beyond the calendar.
    fn month(&self) -> Result<Option<(EntityId, DataKey)>, AppendError> {
        let _beginning = self.beginning.0.lock();
        // As the writer does: a clock that was set back begins no month that is long over.
        let (now, lasting) = self.view(|views| {
            let now = self.inner.clock.now().max(views.recorded_at);
            (now, views.small.months.at(now))
        });
        if let Some(entity) = lasting {
            match self.key_of(entity)? {
                KeyState::Live(key) => return Ok(Some((entity, key))),
                // It was destroyed a moment ago, or nobody can open what is sealed with it: another one is begun.
                KeyState::Destroyed | KeyState::NeverIssued | KeyState::Damaged => {}
            }
        }
        let Some(month) = Month::of(now) else { return Ok(None) };
        let record = month.record(self.layout_id(&month::layout(), Position::NONE)?);
        let (entity, key) = self.issue(1)?.pop().ok_or(VaultError::Full)?;
        let of_month = |event| Draft { stream: self.stream_of(entity), entity: Some(entity), ..daemon_draft(event) };
        let begun = MonthBegun { begins_at: month.begins_at, ends_at: month.ends_at };
        let events = vec![
            self.inner.prepare(of_month(Event::MonthBegun(begun)), None, None)?,
            self.inner.prepare(of_month(Event::EntityChanged(EntityChanged { record })), Some(&key), None)?,
        ];
        self.append(events, Condition::None)?;
        Ok(Some((entity, key)))
    }
}

#[cfg(test)]
mod tests;
