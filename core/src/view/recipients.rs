//! Recipients of copies, and what they have to be told (GDPR Art. 19).
//!
//! Who they are is in sealed events, and which items a copy has stays in the log alone once its saga is over: so both are handed in.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::{SubjectRequest, Views};
use crate::event::subject::RequestKind;
use crate::id::{Digest, EntityId, Position, RequestId, SagaId};
use crate::time::Timestamp;

/// That a recipient was told.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// Through which channel; `None`: a person says so, and so of everything.
    pub through: Option<Through>,
}

/// What a channel told a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Through {
    /// The name of the channel in the configuration.
    pub channel: String,
    /// How many items of the copy were erased.
    pub erased: u32,
    /// How many others were restricted.
    pub restricted: u32,
}

impl Told {
    /// Says whether nothing more became of the copy's items since: a restriction that was lifted is nothing more.
    #[must_use]
    pub fn covers(&self, erased: u32, restricted: u32) -> bool {
        self.through.as_ref().is_none_or(|through| {
            let all = |erased: u32, restricted: u32| u64::from(erased) + u64::from(restricted);
            through.erased >= erased && all(through.erased, through.restricted) >= all(erased, restricted)
        })
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
    /// Those that were erased, ascending.
    pub erased: Vec<EntityId>,
    /// The others whose use is restricted, ascending.
    pub restricted: Vec<EntityId>,
    /// How many are as they were.
    pub untouched: usize,
}

impl Concerned {
    /// Returns how many are erased, and how many others restricted.
    #[must_use]
    pub fn counts(&self) -> (u32, u32) {
        let of = |items: &[EntityId]| u32::try_from(items.len()).unwrap_or(u32::MAX);
        (of(&self.erased), of(&self.restricted))
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
    /// Returns the copies that somebody got: who, of which saga's bundle, and its manifest.
    pub fn handed_over(&self) -> impl Iterator<Item = (Position, SagaId, Digest)> {
        use crate::event::saga::{Receipt, Step};
        self.small.runs.sagas().flat_map(|(id, saga)| {
            let manifest = match saga.receipt(Step::Export) {
                Some(Receipt::Exported { manifest, .. }) => Some(*manifest),
                _ => None,
            };
            saga.handed_over.iter().filter_map(move |recipient| Some((*recipient, id, manifest?)))
        })
    }

    /// Returns what became of the records of a request in a copy by its being asked: what is disposed of later for another reason
    /// is nobody's business, and whoever was told of it might destroy what they may keep.
    #[must_use]
    pub fn concerned(&self, id: RequestId, request: &SubjectRequest, copy: &HandedOver) -> Concerned {
        let (records, items) = (request.records(), &*copy.items);
        let (fewer, more) = if records.len() < items.len() { (records, items) } else { (items, records) };
        let mut concerned = Concerned::default();
        for record in fewer.iter().copied().filter(|record| more.binary_search(record).is_ok()) {
            if self.is_gone(record) {
                let was_asked = || request.is_live() || self.entities.last_event(record) < request.answered;
                if request.kind == RequestKind::Erase && was_asked() {
                    concerned.erased.push(record);
                }
            } else if self.is_restricted_for(id, request.kind, record) {
                concerned.restricted.push(record);
            } else {
                concerned.untouched += 1;
            }
        }
        concerned
    }

    /// Who asks for erasure hears of restrictions only where one answers that request.
    fn is_restricted_for(&self, id: RequestId, kind: RequestKind, record: EntityId) -> bool {
        let restrictions = &self.small.restrictions;
        let answers = |restriction| restrictions.get(restriction).is_some_and(|one| one.request() == Some(id));
        match kind {
            RequestKind::Restrict | RequestKind::Object => restrictions.keeps(record),
            RequestKind::Erase => restrictions.of(record).into_iter().any(answers),
            RequestKind::Access | RequestKind::Portability => false,
        }
    }

    /// Returns what recipients have to be told now, by request and copy. A request speaks once it is decided what becomes of
    /// every record in the copy: so nobody is told in pieces while a run is under way.
    pub fn to_tell<'a>(&'a self, copies: &'a [HandedOver], now: Timestamp) -> impl Iterator<Item = ToTell<'a>> {
        let requests = self.small.subjects.iter().filter(|(_, request)| changes_data(request.kind));
        requests.flat_map(move |(id, request)| {
            let of = move |copy: &'a HandedOver| {
                let concerned = self.concerned(id, request, copy);
                let (erased, restricted) = concerned.counts();
                let is_told = || request.told.get(&copy.recipient).is_some_and(|told| told.covers(erased, restricted));
                let is_decided = || {
                    (request.ended.is_some() || concerned.untouched == 0)
                        && !request.plans.iter().any(|plan| self.is_open(*plan, now))
                };
                let is_owed = (erased, restricted) != (0, 0) && !is_told() && is_decided();
                is_owed.then_some(ToTell { request: id, copy, concerned })
            };
            copies.iter().filter_map(of)
        })
    }
}

/// Says whether a request of a kind can change anything of which recipients have to be told.
fn changes_data(kind: RequestKind) -> bool {
    match kind {
        RequestKind::Erase | RequestKind::Restrict | RequestKind::Object => true,
        RequestKind::Access | RequestKind::Portability => false,
    }
}
