//! Legal holds: what they cover, until when, and when somebody should look at them.
//!
//! Only numbers and names of policies and sources: the name and reason of a hold are in its sealed event. Which time it
//! is, is told by the newest event: a hold that is about to end never ends early by that.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};

use super::entities::Row;
use crate::event::hold::{HoldPlaced, HoldReleased, StandingQuery};
use crate::id::{EntityId, HoldId, Position, in_order};
use crate::record::Layout;
use crate::time::Timestamp;

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hold {
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The entities that it covers, ascending.
    pub entities: Vec<EntityId>,
    /// The mailboxes of which it covers everything.
    pub mailboxes: BTreeSet<EntityId>,
    /// The policies under which nothing is disposed of.
    pub policies: BTreeSet<String>,
    /// What else it covers, also what arrives later.
    pub standing: Option<StandingQuery>,
    /// When somebody should look whether it is still needed.
    pub review_at: Option<Timestamp>,
    /// When it was released, and until when it still protects.
    pub released: Option<(Timestamp, Timestamp)>,
}

impl Hold {
    /// Says whether it protects at an instant.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.released.is_none_or(|(_, until)| now < until)
    }

    /// Says whether somebody should look whether it is still needed.
    #[must_use]
    pub fn is_due_for_review(&self, now: Timestamp) -> bool {
        self.released.is_none() && self.review_at.is_some_and(|at| at <= now)
    }

    fn covers_more_than_entities(&self) -> bool {
        !self.mailboxes.is_empty() || self.standing.is_some()
    }

    /// Says whether it covers what is not named by its number.
    fn covers(&self, entity: EntityId, row: &Row, layout: Option<&Layout>) -> bool {
        let in_mailbox = |mailbox: &EntityId| *mailbox == entity || row.mailbox == Some(*mailbox);
        self.mailboxes.iter().any(in_mailbox)
            || self.standing.as_ref().is_some_and(|standing| fits(standing, row, layout))
    }
}

/// What is not known of an entity fits: a hold that is in doubt keeps.
fn fits(standing: &StandingQuery, row: &Row, layout: Option<&Layout>) -> bool {
    let kind = layout.is_none_or(|layout| standing.kinds.is_empty() || standing.kinds.contains(&layout.kind));
    let source = layout.is_none_or(|layout| standing.sources.is_empty() || standing.sources.contains(&layout.source));
    kind && source
        && standing.seen_from.is_none_or(|from| row.first_seen >= from)
        && standing.seen_until.is_none_or(|until| row.first_seen < until)
}

/// All holds, also those that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Holds {
    all: BTreeMap<HoldId, Hold>,
    /// Which holds name an entity, also those that are over.
    by_entity: BTreeMap<EntityId, Vec<HoldId>>,
    /// The holds that cover more than what they name.
    wide: BTreeSet<HoldId>,
}

impl Holds {
    /// Returns a hold that was not released.
    #[must_use]
    pub fn get(&self, id: HoldId) -> Option<&Hold> {
        self.all.get(&id).filter(|hold| hold.released.is_none())
    }

    /// Goes through all holds, also those that are over.
    pub fn all(&self) -> impl Iterator<Item = (HoldId, &Hold)> {
        self.all.iter().map(|(id, hold)| (*id, hold))
    }

    /// Goes through the holds that protect at an instant.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = (HoldId, &Hold)> {
        self.all().filter(move |(_, hold)| hold.is_in_force(now))
    }

    /// Returns the holds that cover an entity at an instant, as they were placed.
    pub(super) fn of(&self, entity: EntityId, row: &Row, layout: Option<&Layout>, now: Timestamp) -> Vec<HoldId> {
        let mut holds: Vec<HoldId> = self.by_entity.get(&entity).cloned().unwrap_or_default();
        let wide = self.wide.iter().filter(|id| self.all.get(id).is_some_and(|hold| hold.covers(entity, row, layout)));
        holds.extend(wide);
        holds.retain(|id| self.all.get(id).is_some_and(|hold| hold.is_in_force(now)));
        holds.sort_unstable();
        holds.dedup();
        holds
    }

    /// Returns the holds that cover a policy at an instant.
    pub(super) fn of_policy<'a>(&'a self, policy: &'a str, now: Timestamp) -> impl Iterator<Item = HoldId> + 'a {
        self.in_force(now).filter(move |(_, hold)| hold.policies.contains(policy)).map(|(id, _)| id)
    }

    /// Says whether a hold covers copies of entities that are gone. What is gone is known by its number alone, so a
    /// hold on whatever of some kinds or sources there is, keeps: it may have been meant.
    pub(super) fn covers_copies(
        &self,
        of: &[EntityId],
        mailbox: Option<EntityId>,
        policy: &str,
        now: Timestamp,
    ) -> bool {
        let covers = |hold: &Hold| {
            hold.standing.is_some()
                || hold.policies.contains(policy)
                || mailbox.is_some_and(|mailbox| hold.mailboxes.contains(&mailbox))
                || of.iter().any(|entity| hold.entities.binary_search(entity).is_ok())
        };
        self.in_force(now).any(|(_, hold)| covers(hold))
    }

    /// Says whether a hold on a policy was placed after a position and protects at an instant.
    pub(super) fn has_policy_hold_after(&self, position: Position, now: Timestamp) -> bool {
        self.in_force(now).any(|(id, hold)| id.0 > position && !hold.policies.is_empty())
    }

    pub(super) fn place(&mut self, id: HoldId, at: Timestamp, body: &HoldPlaced) {
        let entities = in_order(body.entities.clone());
        for &entity in &entities {
            let holds = self.by_entity.entry(entity).or_default();
            if !holds.contains(&id) {
                holds.push(id);
            }
        }
        let hold = Hold {
            placed_at: at,
            entities,
            mailboxes: body.mailboxes.iter().copied().collect(),
            policies: body.policies.iter().cloned().collect(),
            standing: body.standing.clone(),
            review_at: body.review_at,
            released: None,
        };
        if hold.covers_more_than_entities() {
            self.wide.insert(id);
        }
        self.all.insert(id, hold);
    }

    /// The first release counts: a second one could only shorten the time for whoever disagrees.
    pub(super) fn release(&mut self, at: Timestamp, body: &HoldReleased) {
        if let Some(hold) = self.all.get_mut(&body.hold)
            && hold.released.is_none()
        {
            hold.released = Some((at, body.until));
        }
    }
}
