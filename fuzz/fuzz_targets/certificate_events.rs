//! A certificate over events of any content, all truly in a log: what can be certified verifies, and not when a byte is another.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::event::{Actor, Envelope, Event, codec};
use retention_core::evidence::certificate::{Certificate, Proven, Statement, Subject, page::page};
use retention_core::evidence::checkpoint::{Checkpoint, keys_of};
use retention_core::evidence::proof::EventProof;
use retention_core::evidence::tree::{self, StoredHashes};
use retention_core::id::{Digest, EntityId, Position, RequestId, RunId, StreamId};
use retention_core::time::Timestamp;
use retention_fuzz::Input;

const LOG: &str = "log.example/fuzz";
const EVENTS_MAX: usize = 40;

struct Stored(Vec<Digest>);

impl StoredHashes for Stored {
    fn read(&self, numbers: &[u64]) -> Option<Vec<Digest>> {
        numbers.iter().map(|number| self.0.get(usize::try_from(*number).ok()?).copied()).collect()
    }
}

fn told_by(input: &mut Input<'_>) -> Vec<(Envelope, Option<Event>, Vec<u8>)> {
    let mut told = Vec::new();
    while !input.0.is_empty() && told.len() < EVENTS_MAX {
        let (event_type, schema, cause, flags) = (input.number(), input.byte(), input.byte(), input.byte());
        let length = usize::from(input.number());
        let body = input.take(length).to_vec();
        let position = told.len() as u64 + 1;
        let sealed = flags & 1 != 0;
        let envelope = Envelope {
            event_type,
            schema: u16::from(schema),
            sealed,
            position: Position(position),
            recorded_at: Timestamp(position as i64),
            occurred_at: Timestamp(0),
            stream: StreamId([1; 16]),
            actor: if flags & 2 != 0 { Actor::Person(u32::from(cause)) } else { Actor::Daemon },
            cause: Position(u64::from(cause)),
            entity: (flags & 4 != 0).then_some(EntityId(9)),
            texts: None,
            body_len: body.len() as u32,
            body_digest: Digest::of(&body),
        };
        let event = (!sealed).then(|| codec::read(event_type, u16::from(schema), &body).ok()).flatten();
        told.push((envelope, event, body));
    }
    told
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let subject = match input.byte() {
        number if number % 2 == 0 => Subject::Run(RunId(Position(u64::from(number / 2)))),
        number if number % 4 == 3 => Subject::Request(RequestId(Position(u64::from(number / 4)))),
        _ => Subject::Entity(EntityId(9)),
    };
    let damaged_at = usize::from(input.number());
    let log = told_by(&mut input);
    let told: Vec<(Envelope, Option<Event>)> =
        log.iter().map(|(envelope, event, _)| (*envelope, event.clone())).collect();
    if Statement::of(subject, &told).is_err() {
        return;
    }
    let (signer, verifier) = keys_of(&[7; 32], LOG).expect("keys");
    let mut stored = Stored(Vec::new());
    let leaves = told.iter().map(|(envelope, _)| tree::leaf(&envelope.to_bytes()));
    for (number, leaf) in (0..).zip(leaves) {
        stored.0.extend(tree::appended(number, leaf, &stored).expect("a leaf"));
    }
    let size = told.len() as u64;
    let root = tree::root(size, &stored).expect("a root");
    let checkpoint = Checkpoint { origin: LOG.to_owned(), size, root }.sign(&signer).expect("a signature");
    let prove = |(envelope, event, body): &(Envelope, Option<Event>, Vec<u8>)| {
        let leaf = envelope.position.0 - 1;
        let path = tree::prove(size, leaf, &stored).expect("a path");
        let proof = EventProof { envelope: envelope.to_bytes(), leaf, path, checkpoint: checkpoint.clone() }.text();
        Proven { proof, body: event.as_ref().map(|_| hex::encode(body)) }
    };
    let certificate = Certificate::of(LOG.to_owned(), Timestamp(5), subject, &told, log.iter().map(prove).collect())
        .expect("its statement was made a moment ago");
    let text = certificate.sign(&signer).expect("a signature");
    assert_eq!(Certificate::verify(&text, &[&verifier]), Ok(certificate.clone()));
    assert!(page(&certificate).starts_with("<!doctype html>"));
    // What is not ASCII stays: half a character would not be a text.
    let mut damaged = text.into_bytes();
    let at = damaged_at % damaged.len();
    if damaged[at].is_ascii_alphanumeric() {
        damaged[at] ^= 1;
        let damaged = String::from_utf8(damaged).expect("one ASCII character for another");
        assert!(Certificate::verify(&damaged, &[&verifier]).is_err());
    }
});
