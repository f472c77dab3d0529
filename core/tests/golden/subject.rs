//! Samples of what data subjects ask for, and of restrictions.

use retention_core::event::erasure::{BundleDestroyed, BundleDestructionStarted, BundleHandedOver};
use retention_core::event::restriction::{EntitiesRestricted, RestrictionGround, RestrictionLifted, RestrictionPlaced};
use retention_core::event::subject::{
    ErasureExcepted, ErasureException, ErasureExceptionEnded, ErasureGround, ErasureKept, ErasurePlanRequested,
    KeptRecord, KeptWhy, MissingText, MissingWhy, RecipientTold, RequestEnd, RequestKind, SubjectIdentified,
    SubjectPackageMade, SubjectRequestCompleted, SubjectRequestExtended, SubjectRequested, v1,
};
use retention_core::event::{Event, EventType};
use retention_core::id::{EntityId, Handle, Position, RequestId, RestrictionId};
use retention_core::subject::{Certainty, IdentifierKind, SoughtMark};

use super::{PLAN, SAGA, at, digest};

const REQUEST: RequestId = RequestId(Position(41));

pub(super) fn events() -> Vec<Event> {
    let mut all = restriction();
    all.extend(request());
    all.extend(copies());
    all
}

/// What the first schema of a package means now.
pub(super) fn older() -> Vec<(EventType, u16, Event)> {
    let package = |recipients| {
        let body =
            v1::SubjectPackageMade { request: REQUEST, records: 3, digest: digest(7), bytes: 70_000, recipients };
        (EventType::SubjectPackageMade, 1, Event::SubjectPackageMade(body.into()))
    };
    vec![package(0), package(2)]
}

fn copies() -> Vec<Event> {
    let (request, manifest) = (REQUEST, digest(7));
    let package = |recipients, missing: Vec<MissingText>| {
        let texts = missing.len() as u64 * 1_000;
        Event::SubjectPackageMade(SubjectPackageMade {
            request,
            records: 3,
            digest: manifest,
            bytes: 70_000,
            recipients,
            texts,
            missing,
        })
    };
    let whys =
        every!(MissingWhy: NotRegistered, NotReached, FolderGone, Renumbered, Gone, CutOff, TooLarge).into_iter();
    let missing = whys.zip(1..).map(|(why, record)| MissingText { record: EntityId(record), why }).collect();
    let destroyed =
        |was_there, request| Event::BundleDestroyed(BundleDestroyed { request, saga: SAGA, manifest, was_there });
    let started = |request| Event::BundleDestructionStarted(BundleDestructionStarted { request, saga: SAGA, manifest });
    vec![
        package(0, Vec::new()),
        package(2, missing),
        started(Some(request)),
        started(None),
        destroyed(true, Some(request)),
        destroyed(false, None),
        Event::BundleHandedOver(BundleHandedOver {
            saga: SAGA,
            manifest,
            to: "tax adviser".to_owned(),
            reason: "audit".to_owned(),
        }),
        Event::RecipientTold(RecipientTold { request: REQUEST, recipient: Position(88), how: "letter".to_owned() }),
    ]
}

fn restriction() -> Vec<Event> {
    let grounds = every!(RestrictionGround: AccuracyContested, UnlawfulButKept, NeededForClaims, ObjectionPending);
    let requests = [None, Some(REQUEST), None, Some(REQUEST)];
    let placed = grounds.into_iter().zip(requests).map(|(ground, request)| {
        let (entities, reason) = (vec![EntityId(3), EntityId(70_000)], "contested".to_owned());
        Event::RestrictionPlaced(RestrictionPlaced { entities, ground, request, reason })
    });
    let restriction = RestrictionId(Position(17));
    let lifted = [Vec::new(), vec![EntityId(3), EntityId(70_000)]].map(|entities| {
        Event::RestrictionLifted(RestrictionLifted { restriction, entities, reason: "corrected".to_owned() })
    });
    let ended = Event::EntitiesRestricted(EntitiesRestricted {
        saga: SAGA,
        policy: "prospects".to_owned(),
        policy_digest: digest(7),
        entities: vec![EntityId(3), EntityId(70_000)],
    });
    placed.chain(lifted).chain([ended]).collect()
}

fn request() -> Vec<Event> {
    let kinds = every!(RequestKind: Access, Portability, Erase, Restrict, Object);
    let identifiers = every!(IdentifierKind: Email, Phone, Id);
    let certainties = every!(Certainty: Certain, Possible);
    let marks: Vec<SoughtMark> = identifiers
        .iter()
        .flat_map(|&identifier| {
            certainties.iter().map(move |&certainty| SoughtMark {
                handle: Handle([identifier as u8 + 1; 16]),
                identifier,
                certainty,
            })
        })
        .collect();
    let asked = |kind, ground| {
        Event::SubjectRequested(SubjectRequested {
            kind,
            ground,
            marks: marks.clone(),
            named: vec![EntityId(9)],
            received_at: at(1_790_000_000),
            due_at: at(1_792_600_000),
            timezone: "Europe/Prague".to_owned(),
            reference: "letter 7".to_owned(),
        })
    };
    let grounds = every!(
        ErasureGround: NoLongerNeeded,
        ConsentWithdrawn,
        Objection,
        Unlawful,
        LegalObligation,
        Child
    );
    let mut all: Vec<Event> = kinds.iter().map(|&kind| asked(kind, None)).collect();
    all.extend(grounds.into_iter().map(|ground| asked(RequestKind::Erase, Some(ground))));
    let (request, reason) = (REQUEST, "because".to_owned());
    all.push(Event::SubjectRequestExtended(SubjectRequestExtended {
        request,
        due_at: at(1_797_900_000),
        reason: reason.clone(),
    }));
    let records = vec![EntityId(3), EntityId(9), EntityId(70_000)];
    let how = "identity card".to_owned();
    all.push(Event::SubjectIdentified(SubjectIdentified { request, records: records.clone(), how }));
    let exceptions = every!(ErasureException: Expression, LegalObligation, PublicHealth, Archiving, LegalClaims);
    all.extend(exceptions.into_iter().map(|exception| {
        Event::ErasureExcepted(ErasureExcepted {
            request,
            records: records.clone(),
            exception,
            owner: "finance".to_owned(),
            review_at: at(1_850_000_000),
            reason: reason.clone(),
        })
    }));
    let ended = ErasureExceptionEnded { request, exception: Position(43), reason: reason.clone() };
    all.push(Event::ErasureExceptionEnded(ended));
    all.push(Event::ErasurePlanRequested(ErasurePlanRequested { request }));
    let whys = every!(
        KeptWhy: Held,
        Restricted,
        Until { until: at(1_900_000_000) },
        Excepted,
        Undecided,
        InAnotherRun,
        Changed,
        TakenOut
    );
    let kept = whys.into_iter().zip(1..).map(|(why, record)| KeptRecord { record: EntityId(record), why }).collect();
    all.push(Event::ErasureKept(ErasureKept { request, plan: PLAN, records: kept }));
    let ends = every!(RequestEnd: Fulfilled, RefusedInPart, Refused, Withdrawn, NothingStored);
    all.extend(
        ends.into_iter().map(|end| {
            Event::SubjectRequestCompleted(SubjectRequestCompleted { request, end, reason: reason.clone() })
        }),
    );
    all
}
