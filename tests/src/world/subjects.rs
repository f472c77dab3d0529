//! What data subjects ask for in a world, and what is done about it.

use retention_core::event::Event;
use retention_core::event::restriction::{RestrictionGround, RestrictionLifted, RestrictionPlaced};
use retention_core::event::subject::{
    ErasureExcepted, ErasureException, ErasureExceptionEnded, ErasureGround, RequestEnd, RequestKind,
    SubjectIdentified, SubjectRequestCompleted, SubjectRequested,
};
use retention_core::id::{EntityId, PlanId, Position, RequestId, RestrictionId};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, RequestState};
use retentiond::clock::Clock as _;

use super::{REQUESTER, World};
use crate::invariants::MARKER;

/// The person who says which records an erasure is about.
pub const OFFICER: u32 = 1002;

/// A month that is long enough for everybody, in microseconds.
const MONTH_US: i64 = 30 * 24 * 60 * 60 * 1_000_000;

impl World {
    /// Takes in a request for erasure.
    pub fn ask_for_erasure(&mut self) -> Option<RequestId> {
        let received_at = self.clock.now();
        let event = Event::SubjectRequested(SubjectRequested {
            kind: RequestKind::Erase,
            ground: Some(ErasureGround::ConsentWithdrawn),
            marks: Vec::new(),
            named: Vec::new(),
            received_at,
            due_at: Timestamp(received_at.0 + MONTH_US),
            timezone: "Etc/UTC".to_owned(),
            reference: MARKER.to_owned(),
        });
        self.person(REQUESTER, Position::NONE, event, Condition::None).map(RequestId)
    }

    /// Says which records a request is about.
    pub fn identify(&mut self, request: RequestId, records: &[EntityId]) -> Option<Position> {
        self.identify_as(OFFICER, request, records)
    }

    /// Says as somebody which records a request is about.
    pub fn identify_as(&mut self, uid: u32, request: RequestId, records: &[EntityId]) -> Option<Position> {
        let (records, how) = (records.to_vec(), MARKER.to_owned());
        let event = Event::SubjectIdentified(SubjectIdentified { request, records, how });
        self.person(uid, request.0, event, Condition::RequestLive(request))
    }

    /// Excepts records from an erasure; returns where that stands.
    pub fn except(&mut self, request: RequestId, records: &[EntityId]) -> Option<Position> {
        let event = Event::ErasureExcepted(ErasureExcepted {
            request,
            records: records.to_vec(),
            exception: ErasureException::LegalClaims,
            owner: MARKER.to_owned(),
            review_at: Timestamp(self.clock.now().0 + MONTH_US),
            reason: MARKER.to_owned(),
        });
        self.person(OFFICER, request.0, event, Condition::RequestLive(request))
    }

    /// Ends an exception.
    pub fn end_exception(&mut self, request: RequestId, exception: Position) {
        let event =
            Event::ErasureExceptionEnded(ErasureExceptionEnded { request, exception, reason: MARKER.to_owned() });
        self.person(OFFICER, request.0, event, Condition::RequestLive(request));
    }

    /// Completes a request.
    pub fn complete(&mut self, request: RequestId, end: RequestEnd) {
        let event = Event::SubjectRequestCompleted(SubjectRequestCompleted { request, end, reason: MARKER.to_owned() });
        self.person(OFFICER, request.0, event, Condition::RequestOpen(request));
    }

    /// Restricts the use of entities.
    pub fn restrict(&mut self, entities: &[EntityId]) -> Option<RestrictionId> {
        let (entities, reason) = (entities.to_vec(), MARKER.to_owned());
        let ground = RestrictionGround::AccuracyContested;
        let event = Event::RestrictionPlaced(RestrictionPlaced { entities, ground, request: None, reason });
        self.person(OFFICER, Position::NONE, event, Condition::None).map(RestrictionId)
    }

    /// Lifts a restriction, for some entities or, when none are named, for all.
    pub fn lift(&mut self, restriction: RestrictionId, entities: &[EntityId]) {
        let (entities, reason) = (entities.to_vec(), MARKER.to_owned());
        let event = Event::RestrictionLifted(RestrictionLifted { restriction, entities, reason });
        self.person(OFFICER, restriction.0, event, Condition::RestrictionInForce(restriction));
    }

    /// Where a request stands.
    ///
    /// # Panics
    /// When there is no such request.
    #[must_use]
    pub fn request_state(&self, request: RequestId) -> RequestState {
        self.store().view(|views| views.state_of_request(views.small.subjects.get(request).expect("a request")))
    }

    /// The plans of a request, in order.
    ///
    /// # Panics
    /// When there is no such request.
    #[must_use]
    pub fn plans_of(&self, request: RequestId) -> Vec<PlanId> {
        self.store().view(|views| views.small.subjects.get(request).expect("a request").plans.clone())
    }
}
