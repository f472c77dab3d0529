//! The effect of a restriction: one event ends the use of all items of a saga, or, if what keeps them came in between,
//! of those that are left.

use retention_core::event::Event;
use retention_core::event::restriction::EntitiesRestricted;
use retention_core::event::saga::Receipt;
use retention_core::id::SagaId;
use retention_core::view::{Condition, Conflict, Saga};

use super::super::StageError;
use super::Run;
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};
use crate::store::AppendError;

impl Run {
    /// Restricts the items that the durable intent names, once: that it is in the log already is looked up first. What
    /// changed, or came under a hold, after the intent is left alone.
    pub(super) fn restrict(&self, id: SagaId, saga: &Saga) -> Result<Outcome<Receipt>, StageError> {
        let named = saga.purging();
        let mut left = saga.started.items.clone();
        left.retain(|item| named.binary_search(&item.entity).is_ok());
        let is_done = self.store.view(|views| views.small.restrictions.has_saga(id));
        while !is_done && !left.is_empty() {
            let Some(frozen) = self.plan_of(saga) else {
                return Ok(Outcome::Refused(Refusal { code: "no_plan", retry: Retry::Operator }));
            };
            let (policy, policy_digest) = (frozen.policy, frozen.policy_digest);
            let entities = left.iter().map(|item| item.entity).collect();
            let event = Event::EntitiesRestricted(EntitiesRestricted { saga: id, policy, policy_digest, entities });
            let items = left.iter().map(|item| (item.entity, item.version)).collect();
            match self.append(id.0, vec![event], Condition::MayPurge { saga: id, items }) {
                Ok(_) => break,
                Err(StageError::Append(AppendError::Conflict(Conflict::Entities(kept)))) => {
                    left.retain(|item| !kept.iter().any(|(entity, _)| *entity == item.entity));
                    self.skip(id, kept)?;
                }
                Err(StageError::Append(AppendError::Conflict(_))) => {
                    return Ok(Outcome::Unknown(Cause { code: "waits" }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::Applied(Receipt::Restricted { items: left.len() as u64 }))
    }
}
