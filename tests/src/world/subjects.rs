//! What data subjects ask for in a world, and what is done about it.

use std::sync::Arc;

use retention_core::control::{AskForSubject, ErrorBody, IdentifySubject, Line, SoughtSubject};
use retention_core::event::Event;
use retention_core::event::restriction::{RestrictionGround, RestrictionLifted, RestrictionPlaced};
use retention_core::event::subject::{
    ErasureExcepted, ErasureException, ErasureExceptionEnded, ErasureGround, RequestEnd, RequestKind,
    SubjectIdentified, SubjectRequestCompleted, SubjectRequested,
};
use retention_core::id::{EntityId, PlanId, Position, RequestId, RestrictionId};
use retention_core::time::{Timestamp, Zone};
use retention_core::view::{Condition, RequestState};
use retentiond::clock::Clock as _;
use retentiond::connector::mail::Mailroom;
use retentiond::connector::texts;
use retentiond::control::package::{self, PackageWanted};
use retentiond::control::{Audience, subjects};

use super::{REQUESTER, World};
use crate::invariants::MARKER;
use crate::mail::MailServer;

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

    /// Takes in a request of a person with an e-mail address.
    ///
    /// # Panics
    /// When that cannot be looked for.
    pub fn ask_for(&mut self, kind: RequestKind, email: &str) -> Option<RequestId> {
        let ground = (kind == RequestKind::Erase).then_some(ErasureGround::ConsentWithdrawn);
        let subject = SoughtSubject { emails: vec![email.to_owned()], ..SoughtSubject::default() };
        let wanted = AskForSubject { kind, ground, subject, received_at: None, reference: MARKER.to_owned() };
        let terms = subjects::terms(self.store(), wanted, &Zone::utc(), self.clock.now()).expect("an address");
        self.person(REQUESTER, Position::NONE, Event::SubjectRequested(terms), Condition::None).map(RequestId)
    }

    /// Looks for a person, and returns each record with why it is there.
    ///
    /// # Errors
    /// As the search.
    pub fn look_for(&self, email: &str) -> Result<Vec<(EntityId, Vec<String>)>, ErrorBody> {
        let sought = SoughtSubject { emails: vec![email.to_owned()], ..SoughtSubject::default() };
        let mut rows = Vec::new();
        subjects::find_for(self.store(), OFFICER, &sought, &mut |line| {
            if let Line::Row(row) = line {
                rows.push((row.record, row.why));
            }
            Audience::Listening
        })?;
        Ok(rows)
    }

    /// Says that what is surely theirs and every message that they wrote or got is theirs, but for some.
    ///
    /// # Errors
    /// As it is done.
    pub fn identify_correspondence(&mut self, request: RequestId, exclude: &[EntityId]) -> Result<(), ErrorBody> {
        let (how, include, exclude) = (MARKER.to_owned(), Vec::new(), exclude.to_vec());
        let wanted = IdentifySubject { how, include, correspondence: true, exclude };
        subjects::identify(self.store(), OFFICER, request, wanted, &mut |_| Audience::Listening)
    }

    /// Hands out the plain package of a request, with the texts of its messages. Returns how that ended, and what came.
    pub fn package(&mut self, request: RequestId) -> (Result<(), ErrorBody>, Vec<u8>) {
        self.package_to(request, &[])
    }

    /// As [`Self::package`], encrypted to these public keys of age, if there are any.
    pub fn package_to(&mut self, request: RequestId, recipients: &[String]) -> (Result<(), ErrorBody>, Vec<u8>) {
        let before = self.store().view(|views| views.position);
        let (zone, now, mut came) = (Zone::utc(), self.clock.now(), Vec::new());
        let wanted = PackageWanted { uid: OFFICER, request, recipients, zone: &zone, now };
        let mail: Arc<dyn Mailroom> = match &self.outside {
            Some(outside) => Arc::clone(&outside.mailroom),
            None => Arc::<MailServer>::clone(&self.mail),
        };
        let fetch = |mailbox, messages: &[_], take: texts::Take<'_>| texts::fetch(&*mail, mailbox, messages, take);
        let made = package::make(self.store(), &wanted, &fetch, &mut |part| {
            came.extend(part);
            Audience::Listening
        });
        self.come_back(before);
        (made, came)
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
        self.person(OFFICER, request.0, event, Condition::None);
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
