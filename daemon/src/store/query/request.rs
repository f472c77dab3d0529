//! Which events are about a request of a data subject: its own, those of what was decided and done for it, and whatever
//! happened to the records that are theirs.

use std::collections::BTreeSet;

use retention_core::event::hold::PauseScope;
use retention_core::event::{Event, EventType};
use retention_core::id::{EntityId, PlanId, Position, RequestId};
use retention_core::view::index::Key;
use roaring::RoaringBitmap;

use super::super::{Inner, ReadError};
use super::{NAMING_RECORDS, PLAN_TYPES, low, names, of_types, plan_of};

/// Event types that may name a request.
const NAMING_IT: [EventType; 13] = [
    EventType::SubjectRequested,
    EventType::SubjectRequestExtended,
    EventType::SubjectIdentified,
    EventType::ErasureExcepted,
    EventType::ErasureExceptionEnded,
    EventType::ErasureKept,
    EventType::SubjectRequestCompleted,
    EventType::SubjectPackageMade,
    EventType::RecipientTold,
    EventType::DisposalPaused,
    EventType::DisposalResumed,
    EventType::BundleDestructionStarted,
    EventType::BundleDestroyed,
];

/// What was answered last, and the end of the log of which it is the whole answer.
#[derive(Clone)]
pub(in crate::store) struct AboutRequest {
    id: RequestId,
    upto: Position,
    /// The plans that were made for it.
    plans: BTreeSet<PlanId>,
    /// The records that are theirs, with what they are left of and what is left of them.
    records: BTreeSet<EntityId>,
    /// The events that name it, one of the plans or one of the records.
    named: RoaringBitmap,
    all: RoaringBitmap,
}

impl Inner {
    /// Returns the positions of everything that is about a request; nothing when there is none of that number. Costs what
    /// happened to its records, and a body for each event since then that may name it. The pages of one question cost
    /// it once, as long as nothing is recorded meanwhile; and of what is, only the new events are read, as long as its
    /// records and plans stay the same.
    pub(super) fn about_request(&self, id: RequestId) -> Result<RoaringBitmap, ReadError> {
        // What is recorded while it is looked for ends this answer: no position comes again.
        let upto = self.state.read().views.position;
        let known = self.last_request.lock().as_ref().filter(|last| last.id == id).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.upto == upto) {
            return Ok(known.all.clone());
        }
        let Some(found) = self.find_about_request(id, upto, known)? else { return Ok(RoaringBitmap::new()) };
        let all = found.all.clone();
        *self.last_request.lock() = Some(found);
        Ok(all)
    }

    fn find_about_request(
        &self,
        id: RequestId,
        upto: Position,
        known: Option<AboutRequest>,
    ) -> Result<Option<AboutRequest>, ReadError> {
        let (mut all, mut candidates, plans, records) = {
            let views = &self.state.read().views;
            let Some(request) = views.small.subjects.get(id) else { return Ok(None) };
            let plans: BTreeSet<PlanId> = request.plans.iter().copied().collect();
            let mut candidates = of_types(views, NAMING_IT.iter().chain(&PLAN_TYPES));
            candidates.remove_range(..low(id.0));
            candidates |= of_types(views, &NAMING_RECORDS);
            let runs = views.small.runs.iter().filter(|(_, run)| plans.contains(&run.plan));
            let of_runs = runs.filter_map(|(run, _)| views.index.get(Key::Run(run)));
            let all = of_runs.fold(RoaringBitmap::new(), |all, set| all | set);
            let records = request.records().iter().chain(&request.named).chain(&request.erased);
            let redactions = &views.small.redactions;
            let records = records.flat_map(|record| redactions.all_around(*record)).collect::<BTreeSet<EntityId>>();
            (all, candidates, plans, records)
        };
        let mut named = RoaringBitmap::new();
        if let Some(known) = known.filter(|known| known.plans == plans && known.records == records) {
            candidates.remove_range(..=low(known.upto));
            named = known.named;
        }
        let is_about = |position: Position, event: &Event| {
            position == id.0
                || request_of(event) == Some(id)
                || plan_of(position, event).is_some_and(|plan| plans.contains(&plan))
                || names(event, &records)
        };
        self.add_naming(candidates, is_about, &mut named)?;
        all |= &named;
        self.add_concerning(&records, &[], &mut all)?;
        Ok(Some(AboutRequest { id, upto, plans, records, named, all }))
    }
}

/// Returns the request that an event names.
fn request_of(event: &Event) -> Option<RequestId> {
    match event {
        Event::SubjectRequestExtended(body) => Some(body.request),
        Event::SubjectIdentified(body) => Some(body.request),
        Event::ErasureExcepted(body) => Some(body.request),
        Event::ErasureExceptionEnded(body) => Some(body.request),
        Event::ErasurePlanRequested(body) => Some(body.request),
        Event::ErasureKept(body) => Some(body.request),
        Event::SubjectRequestCompleted(body) => Some(body.request),
        Event::SubjectPackageMade(body) => Some(body.request),
        Event::RecipientTold(body) => Some(body.request),
        Event::RestrictionPlaced(body) => body.request,
        Event::BundleDestructionStarted(body) => body.request,
        Event::BundleDestroyed(body) => body.request,
        Event::DisposalPaused(body) => of_scope(&body.scope),
        Event::DisposalResumed(body) => of_scope(&body.scope),
        _ => None,
    }
}

fn of_scope(scope: &PauseScope) -> Option<RequestId> {
    match scope {
        PauseScope::Request(request) => Some(*request),
        PauseScope::All | PauseScope::Policy(_) | PauseScope::Mailbox(_) => None,
    }
}
