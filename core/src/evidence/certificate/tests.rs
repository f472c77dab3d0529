use proptest::prelude::*;

use super::super::checkpoint::{Checkpoint, keys_of};
use super::super::growth::GrowthProof;
use super::super::tree;
use super::page::page;
use super::*;
use crate::event::Actor;
use crate::event::backup::BackupMade;
use crate::event::codec::Bodies as _;
use crate::event::decision::{PlanApproved, PlanFrozen, PlanPurpose, RunEnd, RunEnded, RunRequested, RunStarted};
use crate::event::erasure::KeyDestroyed;
use crate::event::grant::{
    GrantEnd, GrantEnded, GrantPurpose, GrantReceipt, GrantRequested, GrantStep, GrantStepSucceeded, OpenSessions,
    VerifiedAs,
};
use crate::event::saga::Receipt;
use crate::event::saga::{SagaEnd, SagaEnded, SagaStarted, ScriptKind, Step, StepSucceeded};
use crate::id::{GrantId, Handle, PlanId, Position, SagaId, StreamId};

const PLAN: PlanId = PlanId(Position(1));
const RUN: RunId = RunId(Position(4));
const SAGA: SagaId = SagaId(Position(6));
const ENTITY: EntityId = EntityId(9);

mod copies;
mod request;

/// A purge of one entity, as its log tells it: the cause of each event, who, about what.
fn log() -> Vec<(Envelope, Event)> {
    let person = Actor::Person(1000);
    let done = |step, receipt| Event::StepSucceeded(StepSucceeded { saga: SAGA, step, compensation: false, receipt });
    let manifest = Digest([4; 32]);
    let events = [
        (Actor::Daemon, 0, Event::BackupMade(BackupMade { last: Position(1), manifest, keys_until: Timestamp(99) })),
        (
            Actor::Daemon,
            1,
            Event::PlanFrozen(PlanFrozen {
                plan: PLAN,
                purpose: PlanPurpose::Run,
                policy: "old <contacts>".to_owned(),
                policy_digest: Digest([2; 32]),
                log_position: Position(1),
                as_of: Timestamp(5),
                population: 10,
                items: 1,
                kept: Vec::new(),
                tripped: Vec::new(),
                needs_approval: true,
                approvals_needed: 1,
                approval_valid_ms: 1,
                digest: Digest([3; 32]),
            }),
        ),
        (
            Actor::Person(1001),
            1,
            Event::PlanApproved(PlanApproved { plan: PLAN, digest: Digest([3; 32]), comment: "seen".to_owned() }),
        ),
        (person, 1, Event::RunRequested(RunRequested { plan: PLAN, digest: Digest([3; 32]) })),
        (Actor::Daemon, 4, Event::RunStarted(RunStarted { run: RUN, plan: PLAN, items: 1 })),
        (
            Actor::Daemon,
            4,
            Event::SagaStarted(SagaStarted {
                run: RUN,
                script: ScriptKind::ExportPurge,
                script_version: 1,
                mailbox: None,
                items: Vec::new(),
            }),
        ),
        (
            Actor::Daemon,
            6,
            done(Step::Export, Receipt::Exported { manifest, exported_at: Timestamp(6), items: 1, bytes: 7 }),
        ),
        (Actor::Daemon, 6, done(Step::VerifyExport, Receipt::ExportVerified { manifest, items: 1 })),
        (Actor::Daemon, 6, Event::KeyDestroyed(KeyDestroyed { run: RUN, saga: SAGA, item: 0 })),
        (Actor::Daemon, 6, done(Step::Purge, Receipt::Purged { items: 1 })),
        (Actor::Daemon, 6, done(Step::VerifyAbsence, Receipt::Absent { items: 1 })),
        (Actor::Daemon, 6, Event::SagaEnded(SagaEnded { saga: SAGA, end: SagaEnd::Completed, purged: 1 })),
        (Actor::Daemon, 4, Event::RunEnded(RunEnded { run: RUN, end: RunEnd::Completed, purged: 1, skipped: 0 })),
    ];
    enveloped(events.into_iter().map(|(actor, cause, event)| (actor, cause, None, event)))
}

/// Puts events into a log: who, the cause, and the entity where it is not the usual one.
fn enveloped(events: impl IntoIterator<Item = (Actor, u64, Option<EntityId>, Event)>) -> Vec<(Envelope, Event)> {
    (1..)
        .zip(events)
        .map(|(position, (actor, cause, entity, event))| {
            let body = event.encode_body().unwrap();
            let is_sealed = event.event_type().sealing() != Sealing::Public;
            let envelope = Envelope {
                event_type: event.event_type() as u16,
                schema: codec::schema_of(event.event_type()),
                sealed: is_sealed,
                actor,
                position: Position(position),
                recorded_at: Timestamp(i64::try_from(position).unwrap()),
                occurred_at: Timestamp(0),
                stream: StreamId([1; 16]),
                cause: Position(cause),
                entity: entity.or(matches!(event, Event::KeyDestroyed(_)).then_some(ENTITY)),
                texts: None,
                body_len: u32::try_from(body.len()).unwrap(),
                body_digest: if is_sealed { Digest([7; 32]) } else { Digest::of(&body) },
            };
            (envelope, event)
        })
        .collect()
}

/// Makes a certificate of these events of the log.
fn certificate(subject: Subject, wanted: impl Fn(&Event) -> bool) -> Result<(String, String), CertificateError> {
    certificate_of(&log(), subject, wanted, None)
}

fn certificate_of(
    log: &[(Envelope, Event)],
    subject: Subject,
    wanted: impl Fn(&Event) -> bool,
    said: Option<Said>,
) -> Result<(String, String), CertificateError> {
    let mut stored: Vec<Digest> = Vec::new();
    for (number, (envelope, _)) in (0..).zip(log) {
        stored.extend(tree::appended(number, tree::leaf(&envelope.to_bytes()), &stored).unwrap());
    }
    let size = log.len() as u64;
    let (signer, verifier) = keys_of(&[3; 32], "log").unwrap();
    let root = tree::root(size, &stored).unwrap();
    let checkpoint = Checkpoint { origin: "log".to_owned(), size, root }.sign(&signer).unwrap();
    let (mut told, mut events) = (Vec::new(), Vec::new());
    for (envelope, event) in log.iter().filter(|(_, event)| wanted(event)) {
        let leaf = envelope.position.0 - 1;
        let path = tree::prove(size, leaf, &stored).unwrap();
        let proof = EventProof { envelope: envelope.to_bytes(), leaf, path, checkpoint: checkpoint.clone() }.text();
        let body = carries_body(subject, event).then(|| hex::encode(event.encode_body().unwrap()));
        told.push((*envelope, body.is_some().then(|| event.clone())));
        events.push(Proven { proof, body });
    }
    let certificate = Certificate::of("log".to_owned(), Timestamp(50), subject, &told, events)?;
    let certificate = said.map_or(Ok(certificate.clone()), |said| certificate.saying(said))?;
    Ok((certificate.sign(&signer).unwrap(), verifier))
}

#[test]
fn a_certificate_says_who_decided_what_was_destroyed_and_what_may_be_left() {
    for subject in [Subject::Run(RUN), Subject::Entity(ENTITY)] {
        let (text, key) = certificate(subject, |_| true).unwrap();
        let read = Certificate::verify(&text, &[&key]).unwrap();
        let statement = read.statement.run().unwrap();
        assert_eq!((statement.policy.as_str(), statement.plan, statement.run), ("old <contacts>", PLAN, RUN));
        assert_eq!(statement.approvals, [Approval { by: "uid:1001".to_owned(), at: Timestamp(3) }]);
        assert_eq!((statement.run_requested_by.as_str(), statement.purged), ("uid:1000", 1));
        assert_eq!(statement.copies_of_keys_until, Some(Timestamp(99)));
        assert_eq!(statement.destroyed_at.is_some(), subject == Subject::Entity(ENTITY));
        let saga = &statement.sagas[&SAGA];
        assert_eq!((saga.verified, saga.destroyed, saga.absent, saga.end.as_deref()), (1, 1, 1, Some("completed")));
        let page = page(&read);
        assert!(page.contains("old &lt;contacts&gt;") && !page.contains("<contacts>"), "{page}");
        assert!(page.contains("uid:1001"), "{page}");
    }
}

#[test]
fn what_is_missing_or_of_something_else_is_no_certificate() {
    let without = |kind: EventType, subject| certificate(subject, |event| event.event_type() != kind);
    let entity = Subject::Entity(ENTITY);
    for kind in [EventType::PlanFrozen, EventType::RunRequested, EventType::SagaStarted, EventType::KeyDestroyed] {
        assert_eq!(without(kind, entity), Err(CertificateError::Incomplete), "{kind:?}");
    }
    assert_eq!(certificate(Subject::Entity(EntityId(8)), |_| true), Err(CertificateError::Incomplete));
    assert_eq!(certificate(Subject::Run(RunId(Position(5))), |_| true), Err(CertificateError::Incomplete));
    // What is not in it is not stated.
    let (text, key) = without(EventType::PlanApproved, entity).unwrap();
    let read = Certificate::verify(&text, &[&key]).unwrap();
    assert!(read.statement.run().unwrap().approvals.is_empty() && page(&read).contains("none is in this certificate"));
    let other = keys_of(&[4; 32], "log").unwrap().1;
    assert_eq!(Certificate::verify(&text, &[&other]), Err(CheckpointError::UnknownKey.into()));
    let foreign = keys_of(&[3; 32], "another").unwrap().1;
    assert_eq!(Certificate::verify(&text, &[&foreign]), Err(CheckpointError::OtherLog.into()));
    // What is of another kind says so, and not that it is forged.
    let proof = Certificate::unverified(&text).unwrap().events.swap_remove(0).proof;
    assert_eq!(Certificate::verify(&proof, &[&key]), Err(CertificateError::Malformed));
    assert_eq!(EventProof::parse(&text), Err(ProofError::Malformed));
    assert_eq!(GrowthProof::parse(&proof), Err(ProofError::Malformed));
}

#[test]
fn whoever_can_sign_still_cannot_state_what_the_events_do_not_say() {
    let (text, key) = certificate(Subject::Entity(ENTITY), |_| true).unwrap();
    let signer = keys_of(&[3; 32], "log").unwrap().0;
    let forged = |change: &dyn Fn(&mut Certificate)| {
        let mut certificate = Certificate::unverified(&text).unwrap();
        change(&mut certificate);
        Certificate::verify(&certificate.sign(&signer).unwrap(), &[&key]).unwrap_err()
    };
    let state = |change: &dyn Fn(&mut RunStatement)| {
        forged(&|certificate| match &mut certificate.statement {
            Statement::Run(statement) => change(statement),
            Statement::Request(_) => unreachable!("it is of an entity"),
        })
    };
    assert_eq!(state(&|statement| statement.purged = 2), CertificateError::Statement);
    assert_eq!(state(&|statement| statement.approvals.clear()), CertificateError::Statement);
    assert_eq!(forged(&|c| c.subject = Subject::Run(RUN)), CertificateError::Statement);
    assert_eq!(forged(&|c| drop(c.events.remove(7))), CertificateError::Statement);
    assert_eq!(forged(&|c| c.events.insert(0, c.events[0].clone())), CertificateError::Malformed);
    assert_eq!(forged(&|c| c.events.swap(0, 1)), CertificateError::Malformed);
    assert_eq!(forged(&|c| c.events[1].body = c.events[3].body.clone()), CertificateError::Body);
    assert!(matches!(forged(&|c| c.events[1].proof = c.events[1].proof.replace('A', "B")), CertificateError::Proof(_)));
}

#[test]
fn a_key_that_the_log_had_replaced_certifies_nothing() {
    let (text, key) = certificate(Subject::Entity(ENTITY), |_| true).unwrap();
    let size = log().len();
    let until = |key: &str, position: usize| format!("{key}@{position}");
    assert!(Certificate::verify(&text, &[&until(&key, size + 1)]).is_ok());
    let replaced = CheckpointError::ReplacedKey;
    let by_old = Certificate::verify(&text, &[&until(&key, size)]);
    assert_eq!(by_old, Err(ProofError::from(replaced).into()), "its proofs are by that key");
    // Its own signature counts as made over the newest checkpoint in it.
    let (other_signer, other) = keys_of(&[4; 32], "log").unwrap();
    let signed = Certificate::unverified(&text).unwrap().sign(&other_signer).unwrap();
    assert!(Certificate::verify(&signed, &[&key, &until(&other, size + 1)]).is_ok());
    assert_eq!(Certificate::verify(&signed, &[&key, &until(&other, size)]), Err(replaced.into()));
}

proptest! {
    #[test]
    fn a_changed_certificate_does_not_hold(at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
        let (text, key) = certificate(Subject::Entity(ENTITY), |_| true).unwrap();
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte && bytes[at].is_ascii());
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        if let Ok(read) = Certificate::verify(&changed, &[&key]) {
            // Spaces and other spellings of the same signature are no change.
            prop_assert_eq!(read, Certificate::unverified(&text).unwrap());
        }
    }

    #[test]
    fn any_text_is_a_certificate_or_an_error(text in "(?s).{0,300}") {
        let _ = Certificate::unverified(&text);
    }
}

#[test]
fn the_page_of_a_redaction_calls_nothing_purged() {
    let (text, _) = certificate_of(&log(), Subject::Run(RUN), belongs_or_decides, None).unwrap();
    let mut read = Certificate::unverified(&text).unwrap();
    assert!(page(&read).contains("<th>Items purged</th>"));
    if let Statement::Run(statement) = &mut read.statement {
        statement.sagas.values_mut().for_each(|disposed| disposed.redacted = disposed.destroyed);
    }
    let page = page(&read);
    assert!(page.contains("<th>Items redacted</th>") && !page.contains("Items purged"), "{page}");
}

#[test]
fn a_certificate_of_a_redaction_says_that_something_is_left() {
    let mut disposed = Disposed::default();
    assert!(!serde_json::to_string(&disposed).unwrap().contains("redacted"));
    disposed.take(&Receipt::Redacted { items: 3 });
    disposed.take(&Receipt::Purged { items: 3 });
    assert_eq!((disposed.redacted, disposed.destroyed), (3, 3));
    let told = serde_json::to_string(&disposed).unwrap();
    assert_eq!(serde_json::from_str::<Disposed>(&told).unwrap(), disposed);
}

/// That a run asks for access, or somebody for something else.
fn asked_for_access() -> Event {
    Event::GrantRequested(GrantRequested {
        mailbox: EntityId(3),
        principal: Handle([1; 16]),
        identifier: "migration@example.org".to_owned(),
        purpose: GrantPurpose::Run { run: RUN },
        policy: "old <contacts>".to_owned(),
        policy_digest: Digest([2; 32]),
        duration_ms: 1,
        max_ms: 1,
        alarm_after_ms: 1,
        approvals: 0,
        approval_valid_ms: 1,
        reason: String::new(),
        ticket: None,
    })
}

#[test]
fn a_certificate_of_an_item_says_under_which_access_it_was_worked_on_also_when_another_part_asked_for_it() {
    let events = log().into_iter().map(|(envelope, event)| (envelope.actor, envelope.cause.0, envelope.entity, event));
    let saga = SagaStarted {
        run: RUN,
        script: ScriptKind::MessagePurge,
        script_version: 1,
        mailbox: Some(EntityId(3)),
        items: Vec::new(),
    };
    let end = |grant| Event::GrantEnded(GrantEnded { grant: GrantId(Position(grant)), end: GrantEnd::Revoked });
    let more = [
        (6, asked_for_access()),
        (14, end(14)),
        (4, Event::SagaStarted(saga)),
        (16, asked_for_access()),
        (17, end(17)),
        // Of no run: nothing that caused it is a part of one.
        (2, asked_for_access()),
    ];
    let log = enveloped(events.chain(more.into_iter().map(|(cause, event)| (Actor::Daemon, cause, None, event))));
    let of = |wanted: &dyn Fn(&Event) -> bool| {
        let (text, key) = certificate_of(&log, Subject::Entity(ENTITY), wanted, None).unwrap();
        let read = Certificate::verify(&text, &[&key]).unwrap();
        (page(&read), read.statement.run().unwrap().clone())
    };
    let (page, statement) = of(&|_| true);
    assert_eq!(statement.sagas.keys().collect::<Vec<_>>(), [&SAGA], "of an entity, the one saga");
    let told: Vec<_> = statement.access.iter().map(|(grant, access)| (grant.0.0, access.end.as_deref())).collect();
    assert_eq!(told, [(14, Some("revoked")), (17, Some("revoked"))]);
    assert!(page.contains("Access to mailboxes") && page.contains("<th>G17</th>"), "{page}");
    // One without any has the same statement as before there was access.
    let is_of_grants = |event: &Event| matches!(event, Event::GrantRequested(_) | Event::GrantEnded(_));
    let (page, statement) = of(&|event| !is_of_grants(event));
    assert!(statement.access.is_empty() && !page.contains("Access to mailboxes"), "{page}");
}

#[test]
fn a_certificate_of_a_run_says_which_access_it_took_and_of_no_other_grant() {
    let step =
        |grant, step, receipt| Event::GrantStepSucceeded(GrantStepSucceeded { grant: GrantId(grant), step, receipt });
    let events = log().into_iter().map(|(envelope, event)| (envelope.actor, envelope.cause.0, envelope.entity, event));
    let given = GrantReceipt::Given { folders: 4, changed: 4, parts: 1 };
    let sessions = OpenSessions::MayHaveLivedOn { until: None };
    let gone = GrantReceipt::VerifiedGone { verified_as: VerifiedAs::Grantee, folders: 4, sessions };
    let of_grants = [
        (6, asked_for_access()),
        (2, asked_for_access()),
        (14, step(Position(14), GrantStep::Give, given)),
        (14, step(Position(14), GrantStep::VerifyRevoked, gone)),
        (14, Event::GrantEnded(GrantEnded { grant: GrantId(Position(14)), end: GrantEnd::Revoked })),
        (15, Event::GrantEnded(GrantEnded { grant: GrantId(Position(15)), end: GrantEnd::Withdrawn })),
    ];
    let of_grants = of_grants.into_iter().map(|(cause, event)| (Actor::Daemon, cause, None, event));
    let log = enveloped(events.chain(of_grants));
    let (text, key) = certificate_of(&log, Subject::Run(RUN), belongs_or_decides, None).unwrap();
    let read = Certificate::verify(&text, &[&key]).unwrap();
    let access = &read.statement.run().unwrap().access;
    let expected = Accessed {
        given_at: Some(Timestamp(16)),
        folders: 4,
        gone_at: Some(Timestamp(17)),
        sessions: Some(sessions),
        end: Some("revoked".to_owned()),
    };
    assert_eq!(access.iter().collect::<Vec<_>>(), [(&GrantId(Position(14)), &expected)]);
    let page = page(&read);
    assert!(page.contains("given on 4 folders") && page.contains("until it logged out; ended: revoked"), "{page}");
    assert!(!text.contains("migration@"), "it is sealed");
    let signer = keys_of(&[3; 32], "log").unwrap().0;
    let mut forged = Certificate::unverified(&text).unwrap();
    if let Statement::Run(statement) = &mut forged.statement {
        statement.access.clear();
    }
    let forged = Certificate::verify(&forged.sign(&signer).unwrap(), &[&key]);
    assert_eq!(forged.unwrap_err(), CertificateError::Statement);
}

fn belongs_or_decides(event: &Event) -> bool {
    belongs(event) || matches!(event, Event::PlanFrozen(_) | Event::PlanApproved(_))
}

#[test]
fn an_instant_that_no_calendar_has_is_not_certified() {
    let told = |until: Timestamp| {
        let mut log: Vec<(Envelope, Option<Event>)> =
            log().into_iter().map(|(envelope, event)| (envelope, Some(event))).collect();
        if let Some((_, Some(Event::BackupMade(body)))) = log.first_mut() {
            body.keys_until = until;
        }
        Statement::of(Subject::Run(RUN), &log).map(|statement| statement.run().unwrap().copies_of_keys_until)
    };
    assert_eq!(told(Timestamp(99)), Ok(Some(Timestamp(99))));
    assert_eq!(told(Timestamp(i64::MAX)), Err(CertificateError::Untellable));
}
