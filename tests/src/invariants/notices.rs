//! What must be true of notices at any time.

use std::collections::{BTreeMap, BTreeSet};

use retention_core::event::notice::{DeclaredChannel, Notice, NoticeOn};
use retention_core::event::saga::Step;
use retention_core::event::{Event, Recorded};
use retention_core::id::{EntityId, Position, SagaId};
use retentiond::store::Store;

use super::Violation;

/// Looks at the whole log: a channel is declared before it is told anything, is told what it wants to know, and nothing
/// twice; a recipient is told only of what is in the copy they got, and of what was erased or restricted before; and a
/// person acknowledges nothing but what was given up.
pub fn check(store: &Store) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut channels: BTreeMap<String, DeclaredChannel> = BTreeMap::new();
    let mut told: BTreeMap<String, BTreeSet<Notice>> = BTreeMap::new();
    let mut given_up = BTreeSet::new();
    let mut copies = Copies::default();
    let newest = store.view(|views| views.position);
    for position in (1..=newest.0).map(Position) {
        let Ok(Some(recorded)) = store.read(position) else { continue };
        copies.saw(&recorded);
        let (channel, notice) = match recorded.event() {
            Some(Event::NoticeChannelsDeclared(body)) => {
                channels = body.channels.iter().map(|channel| (channel.name.clone(), channel.clone())).collect();
                told.retain(|channel, _| channels.contains_key(channel));
                continue;
            }
            Some(Event::NoticeSent(body)) => (&body.channel, &body.notice),
            Some(Event::NoticeFailed(body)) => {
                given_up.insert((body.channel.clone(), body.notice.clone()));
                (&body.channel, &body.notice)
            }
            Some(Event::NoticeAcknowledged(body)) => {
                let unknown = |on: &&NoticeOn| !given_up.contains(&(on.channel.clone(), on.notice.clone()));
                let unknown = body.notices.iter().filter(unknown);
                violations.extend(unknown.map(|NoticeOn { channel, notice }| {
                    Violation::of("notice_acknowledged_early", None, &format!("{notice} on {channel}"))
                }));
                continue;
            }
            _ => continue,
        };
        if !channels.get(channel).is_some_and(|channel| channel.things.contains(&notice.thing())) {
            violations.push(Violation::of("notice_unwanted", None, &format!("{notice} on {channel}")));
        }
        if let Some(wrong) = copies.wrong(notice) {
            violations.push(Violation::of("recipient_told_wrongly", Some(wrong), &format!("{notice} on {channel}")));
        }
        if !told.entry(channel.clone()).or_default().insert(notice.clone()) {
            violations.push(Violation::of("notice_repeated", None, &format!("{notice} on {channel}")));
        }
    }
    violations
}

/// What copies people got, and what became of entities, by the log alone.
#[derive(Default)]
struct Copies {
    /// What each saga has in its hands, and what of it is in the bundle that it began to write last.
    sagas: BTreeMap<SagaId, (BTreeSet<EntityId>, BTreeSet<EntityId>)>,
    handed_over: BTreeMap<Position, SagaId>,
    gone: BTreeSet<EntityId>,
    restricted: BTreeSet<EntityId>,
    /// What is left of an entity.
    rests: BTreeMap<EntityId, EntityId>,
}

impl Copies {
    fn saw(&mut self, recorded: &Recorded) {
        let (position, entity) = (recorded.envelope.position, recorded.envelope.entity);
        match recorded.event() {
            Some(Event::SagaStarted(body)) => {
                let items = body.items.iter().map(|item| item.entity).collect();
                self.sagas.insert(SagaId(position), (items, BTreeSet::new()));
            }
            Some(Event::ItemsSkipped(body)) => {
                if let Some((items, _)) = self.sagas.get_mut(&body.saga) {
                    items.retain(|item| body.items.iter().all(|(skipped, _)| skipped != item));
                }
            }
            Some(Event::StepStarted(body)) if body.step == Step::Export => {
                if let Some((items, exported)) = self.sagas.get_mut(&body.saga) {
                    exported.clone_from(items);
                }
            }
            Some(Event::BundleHandedOver(body)) => {
                self.handed_over.insert(position, body.saga);
            }
            Some(Event::KeyDestroyed(_) | Event::KeyDestroyedAgain(_)) => self.gone.extend(entity),
            Some(Event::EntitySucceeded(body)) => {
                self.rests.extend(entity.map(|rest| (body.of, rest)));
            }
            Some(Event::RestrictionPlaced(body)) => self.restricted.extend(body.entities.iter().copied()),
            _ => {}
        }
    }

    /// Returns an item that a notice names and should not.
    fn wrong(&self, notice: &Notice) -> Option<EntityId> {
        let Notice::RecipientToTell { recipient, erased, restricted, .. } = notice else { return None };
        let exported = self.handed_over.get(recipient).and_then(|saga| self.sagas.get(saga));
        let is_in_it = |item: &EntityId| exported.is_some_and(|(_, exported)| exported.contains(item));
        let was_restricted = |item: &EntityId| {
            let mut all = std::iter::successors(Some(*item), |one| self.rests.get(one).copied());
            all.any(|one| self.restricted.contains(&one))
        };
        let is_wrong_erased = |item: &&EntityId| !is_in_it(item) || !self.gone.contains(*item);
        let is_wrong_restricted = |item: &&EntityId| !is_in_it(item) || !was_restricted(item);
        erased.iter().find(is_wrong_erased).or_else(|| restricted.iter().find(is_wrong_restricted)).copied()
    }
}
