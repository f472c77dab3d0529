//! The certificate of a request: a person asked for the erasure of five records, one of which a policy had exported before.

use std::collections::BTreeMap;

use super::*;
use crate::event::erasure::{BundleDestroyed, BundleHandedOver};
use crate::event::notice::{Notice, NoticeSent};
use crate::event::operation::StoreCompacted;
use crate::event::redaction::EntitySucceeded;
use crate::event::saga::{ItemsSkipped, SagaItem, SkipReason};
use crate::event::subject::{
    ErasureExcepted, ErasureException, ErasureGround, ErasureKept, ErasurePlanRequested, KeptRecord, KeptWhy,
    RecipientTold, RequestEnd, RequestKind, SubjectIdentified, SubjectRequestCompleted, SubjectRequested,
};
use crate::id::RequestId;

const OLD_SAGA: SagaId = SagaId(Position(1));
const REQUEST: RequestId = RequestId(Position(4));
const PLAN: PlanId = PlanId(Position(7));
const RUN: RunId = RunId(Position(11));
const SAGA: SagaId = SagaId(Position(12));
const RECIPIENT: Position = Position(20);

/// What a policy redacted before it became [`REDACTED`], the number by which the request knows it.
const WHOLE: EntityId = EntityId(3);
const REDACTED: EntityId = EntityId(20);
const ERASED: EntityId = EntityId(21);
const HELD_LATE: EntityId = EntityId(22);
const EXCEPTED: EntityId = EntityId(23);
const DUE_LATER: EntityId = EntityId(24);

fn items(entities: &[EntityId]) -> Vec<SagaItem> {
    let item = |entity: &EntityId| SagaItem { item: 0, entity: *entity, version: Position(1) };
    entities.iter().map(item).collect()
}

fn started(run: RunId, entities: &[EntityId]) -> Event {
    Event::SagaStarted(SagaStarted {
        run,
        script: ScriptKind::ExportPurge,
        script_version: 1,
        mailbox: None,
        items: items(entities),
    })
}

fn done(saga: SagaId, step: Step, receipt: Receipt) -> Event {
    Event::StepSucceeded(StepSucceeded { saga, step, compensation: false, receipt })
}

fn exported(saga: SagaId, byte: u8, at: i64) -> Event {
    let manifest = Digest([byte; 32]);
    done(saga, Step::Export, Receipt::Exported { manifest, exported_at: Timestamp(at), items: 2, bytes: 7 })
}

fn asked() -> Vec<(Envelope, Event)> {
    let person = Actor::Person(1000);
    let other = Actor::Person(1001);
    let keeps = |record, why| KeptRecord { record, why };
    let destroyed = |entity| (Actor::Daemon, 12, Some(entity), KeyDestroyed { run: RUN, saga: SAGA, item: 0 });
    let [first, second] = [REDACTED, ERASED].map(|entity| {
        let (actor, cause, entity, body) = destroyed(entity);
        (actor, cause, entity, Event::KeyDestroyed(body))
    });
    let frozen = PlanFrozen {
        plan: PLAN,
        purpose: PlanPurpose::Run,
        policy: "subject-request".to_owned(),
        policy_digest: Digest([2; 32]),
        log_position: Position(6),
        as_of: Timestamp(8),
        population: 5,
        items: 3,
        kept: Vec::new(),
        tripped: Vec::new(),
        needs_approval: true,
        approvals_needed: 1,
        approval_valid_ms: 1,
        digest: Digest([3; 32]),
    };
    let request = SubjectRequested {
        kind: RequestKind::Erase,
        ground: Some(ErasureGround::Objection),
        marks: Vec::new(),
        named: vec![ERASED],
        received_at: Timestamp(1),
        due_at: Timestamp(99),
        timezone: "UTC".to_owned(),
        reference: "a name".to_owned(),
    };
    let identified =
        SubjectIdentified { request: REQUEST, records: vec![REDACTED, ERASED], how: "a name again".to_owned() };
    let except = ErasureExcepted {
        request: REQUEST,
        records: vec![EXCEPTED],
        exception: ErasureException::LegalClaims,
        owner: "legal".to_owned(),
        review_at: Timestamp(50),
        reason: "lawsuit".to_owned(),
    };
    let succeeded = EntitySucceeded {
        saga: OLD_SAGA,
        item: 0,
        of: WHOLE,
        first_seen: Timestamp(1),
        last_activity: None,
        activities: Vec::new(),
        absent: false,
        links: Vec::new(),
    };
    let kept = ErasureKept {
        request: REQUEST,
        plan: PLAN,
        records: vec![keeps(EXCEPTED, KeptWhy::Excepted), keeps(DUE_LATER, KeptWhy::Until { until: Timestamp(77) })],
    };
    let hand_over =
        BundleHandedOver { saga: SAGA, manifest: Digest([5; 32]), to: "a name".to_owned(), reason: String::new() };
    let notice = Notice::RecipientToTell {
        request: REQUEST,
        recipient: RECIPIENT,
        erased: vec![ERASED],
        restricted: Vec::new(),
    };
    let gone = BundleDestroyed { request: Some(REQUEST), saga: SAGA, manifest: Digest([5; 32]), was_there: true };
    let answer =
        SubjectRequestCompleted { request: REQUEST, end: RequestEnd::RefusedInPart, reason: "a letter".to_owned() };
    enveloped([
        (Actor::Daemon, 0, None, started(RunId(Position(1)), &[WHOLE])),
        (Actor::Daemon, 1, None, exported(OLD_SAGA, 4, 2)),
        (Actor::Daemon, 1, Some(REDACTED), Event::EntitySucceeded(succeeded)),
        (person, 0, None, Event::SubjectRequested(request)),
        (person, 4, None, Event::SubjectIdentified(identified)),
        (person, 4, None, Event::ErasureExcepted(except)),
        (Actor::Schedule, 4, None, Event::ErasurePlanRequested(ErasurePlanRequested { request: REQUEST })),
        (Actor::Daemon, 7, None, Event::ErasureKept(kept)),
        (Actor::Daemon, 7, None, Event::PlanFrozen(frozen)),
        (
            other,
            7,
            None,
            Event::PlanApproved(PlanApproved { plan: PLAN, digest: Digest([3; 32]), comment: String::new() }),
        ),
        (Actor::Schedule, 7, None, Event::RunRequested(RunRequested { plan: PLAN, digest: Digest([3; 32]) })),
        (Actor::Daemon, 11, None, started(RUN, &[REDACTED, ERASED, HELD_LATE])),
        (
            Actor::Daemon,
            12,
            None,
            Event::ItemsSkipped(ItemsSkipped { saga: SAGA, items: vec![(HELD_LATE, SkipReason::Held)] }),
        ),
        (Actor::Daemon, 12, None, exported(SAGA, 5, 13)),
        first,
        second,
        (Actor::Daemon, 12, None, done(SAGA, Step::Purge, Receipt::Purged { items: 2 })),
        (Actor::Daemon, 12, None, Event::SagaEnded(SagaEnded { saga: SAGA, end: SagaEnd::Completed, purged: 2 })),
        (
            Actor::Daemon,
            11,
            None,
            Event::RunEnded(RunEnded { run: RUN, end: RunEnd::Completed, purged: 2, skipped: 1 }),
        ),
        (other, 12, None, Event::BundleHandedOver(hand_over)),
        (Actor::Daemon, 0, None, Event::NoticeSent(NoticeSent { channel: "mail".to_owned(), notice })),
        (
            person,
            4,
            None,
            Event::RecipientTold(RecipientTold { request: REQUEST, recipient: RECIPIENT, how: "letter".to_owned() }),
        ),
        (person, 4, None, Event::SubjectRequestCompleted(answer)),
        (Actor::Daemon, 4, None, Event::BundleDestroyed(gone)),
        (Actor::Daemon, 0, None, Event::StoreCompacted(StoreCompacted { segments: 1, bodies: 2, bytes: 3 })),
    ])
}

fn said() -> SaidOfRequest {
    SaidOfRequest {
        ground: Some(ErasureGround::Objection),
        received_at: Timestamp(1),
        due_at: Timestamp(99),
        end: Some(RequestEnd::RefusedInPart),
        exceptions: vec![SaidException {
            exception: Position(6),
            ground: ErasureException::LegalClaims,
            records: 1,
            review_at: Timestamp(50),
            ended_at: None,
        }],
        told_by_hand: vec![SaidTold { event: Position(22), recipient: RECIPIENT }],
        copies: vec![SaidCopies { saga: OLD_SAGA, kept_until: Some(Timestamp(66)) }],
        deliveries: Vec::new(),
    }
}

fn written() -> (String, String) {
    certificate_of(&asked(), Subject::Request(REQUEST), |_| true, Some(Said::Request(Box::new(said())))).unwrap()
}

#[test]
fn a_certificate_of_a_request_says_what_was_found_erased_kept_and_copied() {
    let (text, key) = written();
    let read = Certificate::verify(&text, &[&key]).unwrap();
    let statement = read.statement.request().unwrap();
    assert_eq!(statement.entered, Approval { by: "uid:1000".to_owned(), at: Timestamp(4) });
    assert_eq!((statement.identified.len(), statement.records, statement.runs.len()), (1, 5, 1));
    assert_eq!((statement.plans[0].items, statement.plans[0].kept, statement.plans[0].approvals.len()), (3, 2, 1));
    assert_eq!(statement.destroyed, BTreeMap::from([(REDACTED, Timestamp(15)), (ERASED, Timestamp(16))]));
    let until = KeptWhy::Until { until: Timestamp(77) };
    assert_eq!(statement.kept, BTreeMap::from([(EXCEPTED, KeptWhy::Excepted), (DUE_LATER, until)]));
    assert_eq!(statement.left_alone, BTreeMap::from([(HELD_LATE, SkipReason::Held)]));
    assert_eq!(statement.excepted[0].event, Position(6));
    // The older bundle has the whole record under the number it had then; what was left alone early is in neither.
    let copies: Vec<_> = statement.copies.values().map(|copy| (copy.records, copy.goes_with_the_answer)).collect();
    assert_eq!(copies, [(1, false), (2, true)]);
    assert_eq!(statement.copies[&SAGA].destroyed_at, Some(Timestamp(24)));
    assert_eq!(statement.recipients[0].told_at, Some(Timestamp(21)));
    assert_eq!((statement.told_by_hand.len(), statement.compacted_at), (1, Some(Timestamp(25))));
    let page = page(&read);
    for words in
        ["uid:1001", "E20, E21", "legal_claims", "E24", "told through a channel", "refused_in_part", "destroyed on"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn the_page_says_of_a_bundle_what_the_answer_to_its_request_does_to_it() {
    let (text, _) = written();
    let told = |written_at: i64, end| {
        let mut read = Certificate::unverified(&text).unwrap();
        if let Statement::Request(statement) = &mut read.statement {
            statement.answered = Some(Approval { by: "uid:1000".to_owned(), at: Timestamp(23) });
            let copies = statement.copies.get_mut(&SAGA).unwrap();
            (copies.exported_at, copies.destroyed_at) = (Timestamp(written_at), None);
        }
        read.said = Some(Said::Request(Box::new(SaidOfRequest { end: Some(end), ..said() })));
        page(&read)
    };
    let whole = told(22, RequestEnd::Fulfilled);
    assert!(whole.contains("is destroyed with the answer, unless a hold covers it"), "{whole}");
    let later = told(24, RequestEnd::RefusedInPart);
    assert!(
        later.contains("is destroyed 30 days after it was written") && !later.contains("with the answer"),
        "{later}"
    );
    let back = told(22, RequestEnd::Withdrawn);
    assert!(back.contains("stays, since the request was taken back") && !back.contains("with the answer"), "{back}");
}

#[test]
fn the_page_misses_no_approval_of_a_plan_that_erases_nothing() {
    let (text, _) = written();
    let mut read = Certificate::unverified(&text).unwrap();
    let mut told = |items| {
        if let Statement::Request(statement) = &mut read.statement {
            statement.runs.clear();
            (statement.plans[0].items, statement.plans[0].approvals) = (items, Vec::new());
        }
        page(&read)
    };
    assert!(told(3).contains("no approval is in this certificate"));
    let nothing = told(0);
    assert!(nothing.contains("nothing to approve") && !nothing.contains("no approval"), "{nothing}");
    assert!(nothing.contains("<th>Runs</th><td>none</td>"), "{nothing}");
}

#[test]
fn nothing_that_a_person_wrote_is_in_a_certificate_of_a_request() {
    let (text, key) = written();
    let page = page(&Certificate::verify(&text, &[&key]).unwrap());
    for words in ["a name", "lawsuit", "letter", "legal\""] {
        let sealed = hex::encode(words);
        assert!(!text.contains(words) && !text.contains(&sealed) && !page.contains(words), "{words}");
    }
}

#[test]
fn what_is_left_out_is_not_stated_and_without_a_plan_there_is_nothing_to_certify() {
    let without = |kind: EventType| {
        let wanted = |event: &Event| event.event_type() != kind;
        certificate_of(&asked(), Subject::Request(REQUEST), wanted, None)
            .map(|(text, key)| Certificate::verify(&text, &[&key]).unwrap().statement.request().unwrap().clone())
    };
    for kind in [EventType::SubjectRequested, EventType::ErasurePlanRequested, EventType::PlanFrozen] {
        assert_eq!(without(kind), Err(CertificateError::Incomplete), "{kind:?}");
    }
    assert!(without(EventType::KeyDestroyed).unwrap().destroyed.is_empty());
    assert_eq!(without(EventType::EntitySucceeded).unwrap().copies.len(), 1);
    assert!(without(EventType::RunRequested).unwrap().runs.is_empty());
    assert_eq!(without(EventType::StoreCompacted).unwrap().compacted_at, None);
    assert_eq!(without(EventType::BundleDestroyed).unwrap().copies[&SAGA].destroyed_at, None);
}

#[test]
fn whoever_can_sign_says_only_of_what_the_events_tell() {
    let (text, key) = written();
    let signer = keys_of(&[3; 32], "log").unwrap().0;
    let forged = |change: &dyn Fn(&mut RequestStatement, &mut SaidOfRequest)| {
        let mut certificate = Certificate::unverified(&text).unwrap();
        let (Statement::Request(statement), Some(Said::Request(said))) =
            (&mut certificate.statement, &mut certificate.said)
        else {
            unreachable!("it is of a request")
        };
        change(statement, said);
        Certificate::verify(&certificate.sign(&signer).unwrap(), &[&key]).unwrap_err()
    };
    let is_stated: [fn(&mut RequestStatement); 5] = [
        |statement| statement.records = 4,
        |statement| _ = statement.destroyed.insert(EXCEPTED, Timestamp(15)),
        |statement| statement.kept.clear(),
        |statement| statement.copies.clear(),
        |statement| statement.answered = None,
    ];
    for change in is_stated {
        assert_eq!(forged(&|statement, _| change(statement)), CertificateError::Statement);
    }
    let is_said: [fn(&mut SaidOfRequest); 3] = [
        |said| said.exceptions[0].exception = Position(5),
        |said| said.told_by_hand[0].event = Position(6),
        |said| said.copies[0].saga = RUN.0.0.checked_add(9).map(Position).map(SagaId).unwrap(),
    ];
    for change in is_said {
        assert_eq!(forged(&|_, said| change(said)), CertificateError::Said);
    }
    // Of a run nothing is said that is about a request.
    let (text, key) = certificate(Subject::Run(super::RUN), |_| true).unwrap();
    let mut of_run = Certificate::unverified(&text).unwrap();
    of_run.said = Some(Said::Request(Box::new(said())));
    assert_eq!(Certificate::verify(&of_run.sign(&signer).unwrap(), &[&key]), Err(CertificateError::Said));
}

/// What was once given away is checked for ever. A file that is here is never changed.
#[test]
fn certificates_that_were_given_away_still_hold() {
    let key = keys_of(&[3; 32], "log").unwrap().1;
    let kept = [
        include_str!("../golden/run.certificate"),
        include_str!("../golden/entity.certificate"),
        include_str!("../golden/request.certificate"),
    ];
    let of_run = certificate(Subject::Run(super::RUN), |_| true).unwrap();
    let made = [of_run, certificate(Subject::Entity(ENTITY), |_| true).unwrap(), written()].map(|(text, _)| text);
    assert_eq!(made, kept, "one is written otherwise now");
    for kept in kept {
        assert!(Certificate::verify(kept, &[&key]).is_ok());
    }
}
