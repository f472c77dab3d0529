//! Where copies are of what a run purged, and until when.

use super::*;
use crate::event::erasure::{BundleDestroyed, BundleHandedOver};
use crate::event::subject::ErasurePlanRequested;
use crate::id::RequestId;

const SUBJECTS: [Subject; 2] = [Subject::Run(RUN), Subject::Entity(ENTITY)];

/// The purge, and what happened to its bundle later.
fn log_with(later: impl IntoIterator<Item = (Actor, u64, Event)>) -> Vec<(Envelope, Event)> {
    let events = log().into_iter().map(|(envelope, event)| (envelope.actor, envelope.cause.0, envelope.entity, event));
    enveloped(events.chain(later.into_iter().map(|(actor, cause, event)| (actor, cause, None, event))))
}

fn destroyed(was_there: bool) -> Event {
    Event::BundleDestroyed(BundleDestroyed { request: None, saga: SAGA, manifest: Digest([4; 32]), was_there })
}

fn handed_over() -> Event {
    let (to, reason) = ("a name".to_owned(), "a reason".to_owned());
    Event::BundleHandedOver(BundleHandedOver { saga: SAGA, manifest: Digest([4; 32]), to, reason })
}

fn kept_until(kept_until: Option<Timestamp>) -> SaidOfRun {
    SaidOfRun {
        copies: vec![SaidCopies { saga: SAGA, kept_until }],
        deliveries: vec![
            SaidDeliveries { source: "crm <1>".to_owned(), kept_until: Some(Timestamp(77)) },
            SaidDeliveries { source: "people".to_owned(), kept_until: None },
        ],
    }
}

fn written(log: &[(Envelope, Event)], subject: Subject, said: Option<SaidOfRun>) -> (String, Certificate) {
    let (text, key) = certificate_of(log, subject, |_| true, said.map(Said::Run)).unwrap();
    let read = Certificate::verify(&text, &[&key]).unwrap();
    (page(&read), read)
}

#[test]
fn a_certificate_of_a_run_says_until_when_its_bundles_and_the_deliveries_are_kept() {
    for subject in SUBJECTS {
        let said = kept_until(Some(Timestamp(66)));
        let (page, read) = written(&log(), subject, Some(said.clone()));
        assert_eq!(read.said.as_ref().and_then(Said::run), Some(&said));
        assert!(read.statement.run().unwrap().copies.is_empty(), "no event says more than that it was written");
        for words in [
            "Bundle of S6",
            "with 1 of the records: its policy keeps it until 1970-01-01T00:00:00.000066Z, as the daemon says",
            "Deliveries of the source crm &lt;1&gt; that were taken in before are kept until 1970-01-01T00:00:00.000077Z",
            "Deliveries of the source people that were taken in before are kept until somebody removes them",
            "Copies of the keys that the daemon made before are kept until 1970-01-01T00:00:00.000099Z",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let (page, _) = written(&log(), subject, Some(kept_until(None)));
        assert!(page.contains("its policy sets no end, as the daemon says"), "{page}");
        // One from before there was any of this.
        let (page, _) = written(&log(), subject, None);
        assert!(page.contains("its policy says how long it stays") && !page.contains("Deliveries"), "{page}");
    }
}

#[test]
fn a_certificate_of_a_run_says_which_bundles_are_destroyed_and_who_got_a_copy() {
    let later =
        |was_there| log_with([(Actor::Person(1001), 6, handed_over()), (Actor::Daemon, 6, destroyed(was_there))]);
    for subject in SUBJECTS {
        let (page, read) = written(&later(true), subject, Some(SaidOfRun::default()));
        let statement = read.statement.run().unwrap();
        let copies = &statement.copies[&SAGA];
        assert_eq!((copies.manifest, copies.records, copies.goes_with_the_answer), (Digest([4; 32]), 1, false));
        assert_eq!((copies.destroyed_at, copies.was_there), (Some(Timestamp(15)), Some(true)));
        let recipient = &statement.recipients[0];
        assert_eq!((recipient.recipient, recipient.by.as_str()), (Position(14), "uid:1001"));
        assert!(page.contains("destroyed on 1970-01-01T00:00:00.000015Z"), "{page}");
        assert!(page.contains("Recipient 14 got a copy of the bundle of S6 from uid:1001"), "{page}");
        assert!(!page.contains("a name") && !page.contains("a reason"), "it is sealed");
        let (page, _) = written(&later(false), subject, None);
        assert!(page.contains("was not where it should have been on"), "{page}");
    }
    // One that was given away is there still.
    let (page, read) = written(&log_with([(Actor::Person(1001), 6, handed_over())]), SUBJECTS[0], None);
    assert_eq!(read.statement.run().unwrap().copies[&SAGA].destroyed_at, None);
    assert!(page.contains("its policy says how long it stays"), "{page}");
}

#[test]
fn who_got_a_copy_of_a_bundle_that_its_saga_took_back_has_it_still() {
    let taken_back = || {
        let (step, receipt) = (Step::Export, Receipt::Undone);
        (Actor::Daemon, 6, Event::StepSucceeded(StepSucceeded { saga: SAGA, step, compensation: true, receipt }))
    };
    let log = log_with([(Actor::Person(1001), 6, handed_over()), taken_back()]);
    let (page, read) = written(&log, SUBJECTS[0], None);
    let statement = read.statement.run().unwrap();
    assert_eq!(statement.copies[&SAGA].destroyed_at, Some(Timestamp(15)));
    assert_eq!(statement.recipients[0].recipient, Position(14));
    assert!(page.contains("Recipient 14 got a copy of the bundle of S6 from uid:1001"), "{page}");
    let (_, read) = written(&log_with([taken_back()]), SUBJECTS[0], None);
    assert!(read.statement.run().unwrap().copies.is_empty(), "nobody got one, and it is gone");
}

#[test]
fn the_bundle_of_a_run_for_a_request_goes_with_the_answer_and_no_policy_keeps_it() {
    // The plan of the purge is what was asked for with its first event.
    let mut log: Vec<_> =
        log().into_iter().map(|(envelope, event)| (envelope.actor, envelope.cause.0, envelope.entity, event)).collect();
    log[0].3 = Event::ErasurePlanRequested(ErasurePlanRequested { request: RequestId(Position(1)) });
    let log = enveloped(log);
    for subject in SUBJECTS {
        let (page, read) = written(&log, subject, Some(SaidOfRun::default()));
        assert!(read.statement.run().unwrap().copies[&SAGA].goes_with_the_answer);
        assert!(page.contains("is destroyed with the answer, unless a hold covers it"), "{page}");
        let kept = certificate_of(&log, subject, |_| true, Some(Said::Run(kept_until(None))));
        assert_eq!(kept, Err(CertificateError::Said), "no policy keeps it");
    }
}

#[test]
fn what_is_said_of_copies_is_about_bundles_that_the_run_wrote_and_nobody_destroyed() {
    let (text, key) = certificate_of(&log(), SUBJECTS[0], |_| true, Some(Said::Run(kept_until(None)))).unwrap();
    let signer = keys_of(&[3; 32], "log").unwrap().0;
    let mut forged = Certificate::unverified(&text).unwrap();
    if let Some(Said::Run(said)) = &mut forged.said {
        said.copies[0].saga = SagaId(Position(7));
    }
    assert_eq!(Certificate::verify(&forged.sign(&signer).unwrap(), &[&key]), Err(CertificateError::Said));
    let gone = log_with([(Actor::Daemon, 6, destroyed(true))]);
    let said = certificate_of(&gone, SUBJECTS[0], |_| true, Some(Said::Run(kept_until(None))));
    assert_eq!(said, Err(CertificateError::Said));
    // Who can sign cannot leave out of the statement what the events say.
    let (text, key) = certificate_of(&gone, SUBJECTS[0], |_| true, None).unwrap();
    let mut forged = Certificate::unverified(&text).unwrap();
    if let Statement::Run(statement) = &mut forged.statement {
        statement.copies.clear();
    }
    assert_eq!(Certificate::verify(&forged.sign(&signer).unwrap(), &[&key]), Err(CertificateError::Statement));
    // Of a request other things are said.
    let (text, key) = certificate_of(&log(), SUBJECTS[0], |_| true, None).unwrap();
    let mut other = Certificate::unverified(&text).unwrap();
    other.said = Some(Said::Run(SaidOfRun::default()));
    assert!(Certificate::verify(&other.sign(&signer).unwrap(), &[&key]).is_ok());
}
