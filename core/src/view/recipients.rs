//! Recipients of copies, and what they have to be told (GDPR Art. 19).
//!
//! Who they are is in sealed events, and which items a copy has stays in the log alone once its saga is over: so both
//! are handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::index::Key;
use super::{Small, SubjectRequest, Views};
use crate::event::notice::Notice;
use crate::event::subject::{RequestEnd, RequestKind};
use crate::event::{Envelope, Event, EventType};
use crate::id::{Digest, EntityId, Position, RequestId, SagaId};
use crate::time::Timestamp;

/// What a recipient was told for one request. It only grows: whoever knows of something knows it for ever.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Told {
    /// When they were last told something that they did not know.
    pub at: Timestamp,
    /// The channel that told them then; `None`: a person says so.
    pub through: Option<String>,
    /// The items of the copy of which they know by notice that they are erased.
    pub erased: BTreeSet<EntityId>,
    /// Those of which they know, however, that they were restricted.
    pub restricted: BTreeSet<EntityId>,
    /// Where it stands in the log that a person last told them: of what was erased before that they know.
    pub by_hand: Position,
}

impl Told {
    /// Says whether nothing more became of the copy's items since: a restriction that was lifted is nothing more.
    #[must_use]
    pub fn covers(&self, concerned: &Concerned) -> bool {
        let knows_erased = |(item, at): (&EntityId, &Position)| *at < self.by_hand || self.erased.contains(item);
        concerned.erased.iter().all(knows_erased) && self.know_restricted(&concerned.restricted)
    }

    /// Says the same of what a notice says that was given up or sent at a position: what is in it was so before.
    pub(super) fn covers_notice(&self, position: Position, erased: &[EntityId], restricted: &[EntityId]) -> bool {
        let know_erased = position < self.by_hand || erased.iter().all(|item| self.erased.contains(item));
        know_erased && (position < self.by_hand || self.know_restricted(restricted))
    }

    fn know_restricted(&self, items: &[EntityId]) -> bool {
        items.iter().all(|item| self.restricted.contains(item) || self.erased.contains(item))
    }
}

/// A copy of a bundle that somebody got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// The recipient: where it stands in the log that they got it.
    pub recipient: Position,
    /// The saga that wrote the bundle.
    pub saga: SagaId,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// What is in it, ascending.
    pub items: Arc<[EntityId]>,
}

/// What became of the records of a request in one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concerned {
    /// Those that were erased, and where it stands in the log that their key was destroyed.
    pub erased: BTreeMap<EntityId, Position>,
    /// The others whose use is restricted, ascending.
    pub restricted: Vec<EntityId>,
    /// How many are as they were.
    pub untouched: usize,
}

impl Concerned {
    /// Says whether nothing became of any of them.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.erased.is_empty() && self.restricted.is_empty()
    }
}

/// Something that a recipient has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToTell<'a> {
    /// For which request.
    pub request: RequestId,
    /// What they have.
    pub copy: &'a HandedOver,
    /// What became of it.
    pub concerned: Concerned,
}

impl Views {
    /// Returns the copies that somebody got: who, and of which saga's bundle. Whoever got one has it still when the saga took
    /// its bundle back.
    pub fn handed_over(&self) -> impl Iterator<Item = (Position, SagaId)> {
        self.small.runs.sagas().flat_map(|(id, saga)| saga.handed_over.iter().map(move |recipient| (*recipient, id)))
    }

    /// Returns what became of the records of a request in a copy by its being asked: what is disposed of later for
    /// another reason is nobody's business, and whoever was told of it might destroy what they may keep.
    #[must_use]
    pub fn concerned(&self, id: RequestId, request: &SubjectRequest, copy: &HandedOver) -> Concerned {
        let mut concerned = Concerned::default();
        for (item, records) in self.found_in(request, &copy.items) {
            let mut erased = None;
            let (mut is_restricted, mut is_untouched) = (false, false);
            for record in records {
                if let Some(at) = self.destroyed_at(record) {
                    if request.kind == RequestKind::Erase && was_asked(request, record, at) {
                        erased = erased.max(Some(at));
                    }
                } else if self.small.is_restricted_for(id, request.kind, record) {
                    is_restricted = true;
                } else {
                    is_untouched = true;
                }
            }
            // Of an item that was redacted the rest is a record too, and it is erased only when that is.
            match (is_untouched, is_restricted, erased) {
                (true, ..) => concerned.untouched += 1,
                (false, true, _) => concerned.restricted.push(item),
                (false, false, Some(at)) => {
                    concerned.erased.insert(item, at);
                }
                (false, false, None) => {}
            }
        }
        concerned
    }

    /// Returns where it stands in the log that the key of a record was destroyed. Views that were made again may know
    /// that it is gone before that is recorded: then nobody hears of it yet.
    fn destroyed_at(&self, record: EntityId) -> Option<Position> {
        let at = self.entities.last_event(record);
        let low = u32::try_from(at.0).ok().filter(|_| self.is_gone(record))?;
        let is_there = |kind: &EventType| self.index.get(Key::Type(*kind as u16)).is_some_and(|set| set.contains(low));
        EventType::DESTRUCTIONS.iter().any(is_there).then_some(at)
    }

    /// Returns the items of a bundle, ascending, that are records of a request or of which records of it are what a
    /// redaction left: the bundle may be older than that, and has them whole.
    #[must_use]
    pub fn items_of(&self, request: &SubjectRequest, items: &[EntityId]) -> Vec<EntityId> {
        self.found_in(request, items).into_keys().collect()
    }

    fn found_in(&self, request: &SubjectRequest, items: &[EntityId]) -> BTreeMap<EntityId, Vec<EntityId>> {
        let mut found: BTreeMap<EntityId, Vec<EntityId>> = BTreeMap::new();
        let records = request.records();
        if self.small.redactions.is_empty() && items.len() < records.len() {
            let is_record = |item: &&EntityId| records.binary_search(item).is_ok();
            return items.iter().filter(is_record).map(|item| (*item, vec![*item])).collect();
        }
        for record in records.iter().copied() {
            for item in self.small.redactions.all_of(record).filter(|item| items.binary_search(item).is_ok()) {
                found.entry(item).or_default().push(record);
            }
        }
        found
    }

    /// Returns what recipients have to be told now, by request and copy. A request speaks once it is decided what
    /// becomes of every record in the copy: so nobody is told in pieces while a run is under way.
    pub fn to_tell<'a>(&'a self, copies: &'a [HandedOver], now: Timestamp) -> impl Iterator<Item = ToTell<'a>> {
        self.small.subjects.iter().flat_map(move |(id, request)| self.to_tell_of(id, request, copies, now))
    }

    /// Returns what recipients have to be told now for one request, as [`Self::to_tell`] does for all.
    pub fn to_tell_of<'a>(
        &'a self,
        id: RequestId,
        request: &'a SubjectRequest,
        copies: &'a [HandedOver],
        now: Timestamp,
    ) -> impl Iterator<Item = ToTell<'a>> {
        let copies = if changes_data(request.kind) { copies } else { &[] };
        copies.iter().filter_map(move |copy| {
            let concerned = self.concerned(id, request, copy);
            let is_told = || request.told.get(&copy.recipient).is_some_and(|told| told.covers(&concerned));
            let is_decided = || {
                (request.ended.is_some() || concerned.untouched == 0)
                    && !request.plans.iter().any(|plan| self.is_open(*plan, now))
            };
            let is_owed = !concerned.is_nothing() && !is_told() && is_decided();
            is_owed.then_some(ToTell { request: id, copy, concerned })
        })
    }
}

impl Small {
    /// Who asks for erasure hears of restrictions only where one answers that request.
    fn is_restricted_for(&self, id: RequestId, kind: RequestKind, record: EntityId) -> bool {
        let restrictions = &self.restrictions;
        let answers = |restriction| restrictions.get(restriction).is_some_and(|one| one.request() == Some(id));
        match kind {
            RequestKind::Restrict | RequestKind::Object => restrictions.keeps(record),
            RequestKind::Erase => restrictions.of(record).into_iter().any(answers),
            RequestKind::Access | RequestKind::Portability => false,
        }
    }

    pub(super) fn fold_told(&mut self, envelope: &Envelope, event: &Event) {
        match event {
            Event::RecipientTold(body) => self.told_by_hand(envelope, body.request, body.recipient, None),
            Event::NoticeSent(body) => {
                let Notice::RecipientToTell { request, recipient, erased, restricted } = &body.notice else { return };
                let through = Some(body.channel.clone());
                if erased.is_empty() && restricted.is_empty() {
                    // It was written before a notice said which items it is about.
                    return self.told_by_hand(envelope, *request, *recipient, through);
                }
                let of = |items: &[EntityId]| items.iter().copied().collect();
                self.told(
                    *request,
                    *recipient,
                    Told {
                        at: envelope.recorded_at,
                        through,
                        erased: of(erased),
                        restricted: of(restricted),
                        by_hand: Position::NONE,
                    },
                );
            }
            _ => {}
        }
    }

    /// Whoever says so without naming items says it of what had become of them by then. What is restricted is written
    /// down, since it may be lifted; where a key was destroyed stays known, and rows of entities may be ahead of
    /// this event.
    fn told_by_hand(&mut self, envelope: &Envelope, id: RequestId, recipient: Position, through: Option<String>) {
        let Some(request) = self.subjects.get(id) else { return };
        let is_restricted = |record: &EntityId| self.is_restricted_for(id, request.kind, *record);
        let restricted = request.records().iter().copied().filter(is_restricted);
        let restricted = restricted.flat_map(|record| self.redactions.all_of(record)).collect();
        let (at, by_hand) = (envelope.recorded_at, envelope.position);
        self.told(id, recipient, Told { at, through, erased: BTreeSet::new(), restricted, by_hand });
    }

    fn told(&mut self, request: RequestId, recipient: Position, now: Told) {
        self.subjects.with(request, |request| {
            let told = request.told.entry(recipient).or_insert_with(|| now.clone());
            (told.at, told.through) = (now.at, now.through);
            told.erased.extend(now.erased);
            told.restricted.extend(now.restricted);
            told.by_hand = told.by_hand.max(now.by_hand);
        });
    }
}

/// Says whether a record whose key was destroyed at a position is gone by a request. Whoever took it back asks for
/// nothing: then only what a run for it had erased counts, and not what a policy disposed of meanwhile.
fn was_asked(request: &SubjectRequest, record: EntityId, at: Position) -> bool {
    match request.ended {
        None | Some((_, RequestEnd::RefusedInPart)) => true,
        Some((_, RequestEnd::Withdrawn)) => request.erased.contains(&record),
        Some((_, RequestEnd::Fulfilled | RequestEnd::Refused | RequestEnd::NothingStored)) => at < request.answered,
    }
}

/// Says whether a request of a kind can change anything of which recipients have to be told.
fn changes_data(kind: RequestKind) -> bool {
    match kind {
        RequestKind::Erase | RequestKind::Restrict | RequestKind::Object => true,
        RequestKind::Access | RequestKind::Portability => false,
    }
}
