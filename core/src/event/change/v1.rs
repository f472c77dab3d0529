//! The first schema of links, which did not say what sort of activity an entity is.

use bincode::{Decode, Encode};

use super::Link;
use crate::time::Timestamp;

/// Schema 1. Links of one entity, all of them as known then; replaces what was recorded before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntityLinked {
    /// The other ends.
    pub links: Vec<Link>,
    /// When the activity took place, if the entity is one.
    pub at: Option<Timestamp>,
}

/// Nobody can tell the class any more, so the activity counts under every policy.
impl From<EntityLinked> for super::EntityLinked {
    fn from(body: EntityLinked) -> Self {
        Self { links: body.links, at: body.at, class: None }
    }
}
