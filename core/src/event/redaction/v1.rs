//! The first schema of what is left of a redaction, which knew one last activity of no class.

use bincode::{Decode, Encode};

use crate::event::change::Link;
use crate::id::{EntityId, SagaId};
use crate::record::activity::Activity;
use crate::time::Timestamp;

/// Schema 1. The envelope's entity will be what is left of another one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntitySucceeded {
    /// The saga.
    pub saga: SagaId,
    /// The number of the item in the run's plan.
    pub item: u32,
    /// Which entity it follows.
    pub of: EntityId,
    /// When that one was first seen.
    pub first_seen: Timestamp,
    /// Its last activity.
    pub last_activity: Option<Timestamp>,
    /// Whether its source no longer held it.
    pub absent: bool,
    /// What it named.
    pub links: Vec<Link>,
}

/// Nobody can tell the class any more, so the activity counts under every policy.
impl From<EntitySucceeded> for super::EntitySucceeded {
    fn from(body: EntitySucceeded) -> Self {
        let EntitySucceeded { saga, item, of, first_seen, last_activity, absent, links } = body;
        let activities = last_activity.map(|at| Activity { class: None, at, by: None }).into_iter().collect();
        Self { saga, item, of, first_seen, last_activity, activities, absent, links }
    }
}
