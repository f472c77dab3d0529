//! The bytes on disk, held fast: what was ever written stays readable, and today's program writes the same bytes.
//!
//! To add vectors for a **new** event type or schema version, run once with `RETENTION_WRITE_GOLDEN=1`; the run fails
//! on purpose, so that no automatic run can pass by writing its own expectations. A vector that exists is never
//! changed.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that reads its vectors from disk, asks another program to read them, and fails at once"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use retention_core::event::change::{EntityChanged, EntityLinked, Link};
use retention_core::event::codec::{self, Bodies, CodecError};
use retention_core::event::saga::{ItemsSkipped, SkipReason};
use retention_core::event::{Envelope, Event, EventType, Readable, Recorded, Sealing};
use retention_core::id::{EntityId, LayoutId, Position, SagaId};
use retention_core::record::activity::ActivityClass;
use retention_core::record::{Cells, DateRole, EntityRecord, Kind, Relation, SourceLink, Visibility};
use retention_core::time::Timestamp;
use retention_core::view::Views;
use retention_core::view::snapshot::Snapshot;
use serde_json::{Value, json};

#[path = "golden/samples.rs"]
mod samples;

const WRITE: &str = "RETENTION_WRITE_GOLDEN";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file_of(event_type: EventType) -> String {
    format!("{:03}_{}_v{}.hex", event_type as u16, event_type.name(), codec::schema_of(event_type))
}

/// Returns the envelopes whose texts are sealed apart.
fn apart() -> Vec<Envelope> {
    samples::envelopes().into_iter().filter(|one| one.sealed).take(1).flat_map(samples::month::envelopes).collect()
}

/// Returns the file of each type with its lines: one vector a line.
fn written_today() -> Vec<(String, String)> {
    let samples = samples::events();
    let mut files: Vec<_> = EventType::ALL
        .iter()
        .map(|&event_type| {
            let mut lines = String::new();
            for event in samples.iter().filter(|event| event.event_type() == event_type) {
                writeln!(lines, "{}", hex::encode(event.encode_body().unwrap())).unwrap();
            }
            (file_of(event_type), lines)
        })
        .collect();
    let envelopes: Vec<_> =
        samples::envelopes().iter().map(|envelope| hex::encode(envelope.to_bytes()) + "\n").collect();
    files.push(("envelope_v1.hex".to_owned(), envelopes.concat()));
    let apart: Vec<_> = apart().iter().map(|envelope| hex::encode(envelope.to_bytes()) + "\n").collect();
    files.push(("envelope_v2.hex".to_owned(), apart.concat()));
    files
}

#[test]
fn every_event_type_and_the_envelope_are_written_as_they_always_were() {
    let writing = std::env::var_os(WRITE).is_some();
    for (name, lines) in written_today() {
        assert!(!lines.is_empty(), "{name}: there is no sample of this type");
        let path = directory().join(&name);
        if writing {
            std::fs::write(&path, &lines).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name}: there is no golden vector"));
        assert_eq!(lines, kept, "{name}: the bytes changed; a change of shape is a new schema version");
    }
    assert!(!writing, "the golden vectors were written anew: look at the difference, and run again without {WRITE}");
}

#[test]
fn every_golden_vector_reads_as_its_sample_and_nothing_else_lies_there() {
    let samples = samples::events();
    let mut known = vec!["envelope_v1.hex".to_owned(), "envelope_v2.hex".to_owned()];
    for &event_type in EventType::ALL {
        let text = std::fs::read_to_string(directory().join(file_of(event_type))).unwrap();
        let read: Vec<_> = text
            .lines()
            .map(|line| {
                let bytes = hex::decode(line).unwrap();
                assert_eq!(
                    Event::decode_body(event_type, &[bytes.as_slice(), &[0]].concat()),
                    Err(CodecError::Trailing)
                );
                codec::read(event_type as u16, codec::schema_of(event_type), &bytes).unwrap()
            })
            .collect();
        let expected: Vec<_> = samples.iter().filter(|event| event.event_type() == event_type).cloned().collect();
        assert!(read == expected, "{}", event_type.name());
        known.push(file_of(event_type));
    }
    let mut older: BTreeMap<(EventType, u16), Vec<Event>> = BTreeMap::new();
    for (event_type, schema, expected) in samples::older() {
        older.entry((event_type, schema)).or_default().push(expected);
    }
    for ((event_type, schema), expected) in older {
        let name = format!("{:03}_{}_v{schema}.hex", event_type as u16, event_type.name());
        let text = std::fs::read_to_string(directory().join(&name)).unwrap();
        let read_line = |line| codec::read(event_type as u16, schema, &hex::decode(line).unwrap()).unwrap();
        let read: Vec<Event> = text.lines().map(read_line).collect();
        assert!(read == expected, "{name}");
        known.push(name);
    }
    for entry in std::fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".hex") || known.contains(&name), "{name}: vectors that no test reads");
    }
    for (name, expected) in [("envelope_v1.hex", samples::envelopes()), ("envelope_v2.hex", apart())] {
        let text = std::fs::read_to_string(directory().join(name)).unwrap();
        let read: Vec<_> = text.lines().map(|line| Envelope::parse(&hex::decode(line).unwrap()).unwrap()).collect();
        assert_eq!(read, expected, "{name}");
    }
}

/// What `decode_golden.py` must say of an event; `None` for types that it does not know.
fn told(event: &Event) -> Option<Value> {
    Some(match event {
        Event::EntityChanged(body) => {
            let record = &body.record;
            json!({
                "layout": record.layout.0,
                "mailbox": record.mailbox.map(|mailbox| mailbox.0),
                "visibility": format!("{:?}", record.visibility),
                "external_id": record.external_id,
                "other_ids": record.other_ids,
                "dates": record.dates.iter().map(|(role, at)| json!([format!("{role:?}"), at.0])).collect::<Vec<_>>(),
                "links": record.links.iter().map(|link| json!([
                    format!("{:?}", link.relation), format!("{:?}", link.kind), link.external_id])).collect::<Vec<_>>(),
                "cells": record.cells.iter().collect::<Vec<_>>(),
            })
        }
        Event::PlanFrozen(body) => json!({
            "plan": body.plan.0.0, "purpose": format!("{:?}", body.purpose), "policy": body.policy,
            "policy_digest": body.policy_digest, "log_position": body.log_position.0, "as_of": body.as_of.0,
            "population": body.population, "items": body.items,
            "kept": body.kept.iter().map(|kept| json!([kept.reason, kept.count])).collect::<Vec<_>>(),
            "tripped": body.tripped.iter().map(|t| json!([t.guard, t.limit, t.actual])).collect::<Vec<_>>(),
            "needs_approval": body.needs_approval, "approvals_needed": body.approvals_needed,
            "approval_valid_ms": body.approval_valid_ms, "digest": body.digest,
        }),
        Event::KeyDestroyed(body) => json!({"run": body.run.0.0, "saga": body.saga.0.0, "item": body.item}),
        Event::StepSucceeded(body) => json!({
            "saga": body.saga.0.0, "step": format!("{:?}", body.step), "compensation": body.compensation,
            "receipt": format!("{:?}", body.receipt).split_whitespace().next(),
        }),
        _ => return None,
    })
}

fn told_envelope(envelope: &Envelope) -> Value {
    json!({
        "event_type": envelope.event_type,
        "schema": envelope.schema,
        "sealed": envelope.sealed,
        "position": envelope.position.0,
        "recorded_at": envelope.recorded_at.0,
        "occurred_at": envelope.occurred_at.0,
        "stream": hex::encode(envelope.stream.0),
        "actor": envelope.actor.to_string(),
        "cause": envelope.cause.0,
        "entity": envelope.entity.map(|entity| entity.0),
        "texts": envelope.texts.map(|month| month.0),
        "body_len": envelope.body_len,
        "body_digest": envelope.body_digest,
    })
}

/// The documentation of the formats.
const DOCUMENT: &str = include_str!("../../docs/formats.md");

/// Returns name, bytes and meaning of every example that the documentation gives.
fn examples() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let mut found = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("example ") else { continue };
        let mut digits = String::new();
        let meaning = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the example {name} has no end"));
            match line.strip_prefix('=') {
                Some(meaning) => break meaning.trim(),
                None => digits.extend(line.split('|').next().unwrap().split_whitespace()),
            }
        };
        found.push((name, hex::decode(digits).unwrap(), meaning));
    }
    found
}

#[test]
fn the_examples_of_the_documentation_are_what_they_say() {
    let mut names = Vec::new();
    for (name, bytes, meaning) in examples() {
        names.push(name);
        let said = match name {
            // The journal's own tests compare this one.
            "group frame" => continue,
            "envelope" => told_envelope(&Envelope::parse(&bytes).unwrap()),
            _ => {
                let event_type = EventType::from_name(name).unwrap();
                told(&codec::read(event_type as u16, 1, &bytes).unwrap()).unwrap()
            }
        };
        assert_eq!(said, serde_json::from_str::<Value>(meaning).unwrap(), "{name}");
    }
    names.sort_unstable();
    assert_eq!(names, ["EntityChanged", "KeyDestroyed", "PlanFrozen", "StepSucceeded", "envelope", "group frame"]);
}

#[test]
fn the_documentation_has_every_event_type_and_its_numbers_are_encoded_as_it_says() {
    for &event_type in EventType::ALL {
        let title =
            format!("#### {} {}, schema {}\n", event_type as u16, event_type.name(), codec::schema_of(event_type));
        assert!(DOCUMENT.contains(&title), "{title}");
    }
    let rows = DOCUMENT.lines().skip_while(|line| *line != "| number | bytes | | instant | bytes |").skip(2);
    let mut checked = 0;
    for row in rows.take_while(|row| row.starts_with('|')) {
        let cells: Vec<_> =
            row.split('|').map(|cell| cell.replace(['`', ' ', ','], "").replace('\u{2212}', "-")).collect();
        let [_, number, bytes, _, instant, instant_bytes, _] = cells.as_slice() else { panic!("{row}") };
        assert_eq!(&hex::encode(codec::encode(&number.parse::<u64>().unwrap()).unwrap()), bytes);
        let instant = if instant == "thelastthereis" { i64::MAX } else { instant.parse().unwrap() };
        assert_eq!(&hex::encode(codec::encode(&Timestamp(instant)).unwrap()), instant_bytes);
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn another_reader_that_knows_only_the_documentation_reads_the_same() {
    let output = Command::new("python3")
        .arg(directory().with_file_name("decode_golden.py"))
        .arg(directory())
        .output()
        .expect("python3 is needed by this test: install it, or run the tests through ./test.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let envelopes = [samples::envelopes(), apart()].concat();
    let events = samples::events();
    let expected: Vec<Value> = envelopes.iter().map(told_envelope).chain(events.iter().filter_map(told)).collect();
    assert_eq!(said, expected);
}

/// What has no texts although it is sealed with the house key: the daemon itself works with all of it.
const WITHOUT_TEXTS: [EventType; 3] =
    [EventType::PolicyRecorded, EventType::RedactionBegan, EventType::MigrationRequested];

#[test]
fn whatever_the_house_key_seals_has_texts_apart_or_is_known_to_have_none_and_nothing_else_has() {
    for &event_type in EventType::ALL {
        let samples = samples::events().into_iter().filter(|event| event.event_type() == event_type);
        let has_texts = samples.into_iter().any(|event| event.facts_alone().is_some());
        let expected = event_type.sealing() == Sealing::House && !WITHOUT_TEXTS.contains(&event_type);
        assert_eq!(has_texts, expected, "{}", event_type.name());
    }
}

#[test]
fn no_view_is_made_of_a_text() {
    let fold = |facts_alone: bool| {
        let mut views = Views::default();
        for (event, position) in samples::events().into_iter().zip(1u64..) {
            let envelope = Envelope {
                event_type: event.event_type() as u16,
                position: Position(position),
                entity: Some(EntityId(41)),
                ..samples::envelopes()[0]
            };
            let event = event.facts_alone().filter(|_| facts_alone).unwrap_or(event);
            views.fold(&Recorded { envelope, event: Readable::Event(Box::new(event)) }, None);
        }
        (Snapshot::of(&views).to_bytes().unwrap(), views.entities.row(EntityId(41)))
    };
    assert!(fold(true) == fold(false), "a view holds a text, and would differ once that is erased");
}

#[test]
fn cells_that_contradict_themselves_are_malformed_and_never_a_panic() {
    let good = Event::decode_body(EventType::EntityChanged, &record_bytes(b"\x02ab", b"\x02\x01\x02", b"\x01\x00"));
    assert!(good.is_ok());
    let broken: [(&[u8], &[u8], &[u8]); 7] = [
        (b"\x02ab", b"\x02\x02\x01", b"\x00"),          // an end before the one before it
        (b"\x02ab", b"\x01\x01", b"\x00"),              // text that belongs to no cell
        (b"\x02ab", b"\x01\x03", b"\x00"),              // an end behind the text
        ("\x02é".as_bytes(), b"\x02\x01\x02", b"\x00"), // an end inside a character
        (b"\x02ab", b"\x01\x02", b"\x01\x01"),          // a null that is no cell
        (b"\x02ab", b"\x02\x01\x02", b"\x02\x01\x00"),  // nulls that do not ascend
        (b"\x02ab", b"\x02\x01\x02", b"\x02\x01\x01"),  // a null that is named twice
    ];
    for (text, ends, nulls) in broken {
        let bytes = record_bytes(text, ends, nulls);
        assert_eq!(codec::read(2, 1, &bytes), Err(CodecError::Malformed), "{ends:?} {nulls:?}");
        let Ok(Event::EntityChanged(body)) = Event::decode_body(EventType::EntityChanged, &bytes) else { panic!() };
        for number in 0..5 {
            let _ = body.record.cells.get(number);
        }
    }
}

/// An `EntityChanged` with nothing but cells.
fn record_bytes(text: &[u8], ends: &[u8], nulls: &[u8]) -> Vec<u8> {
    [&[1, 0, 0, 0, 0, 0, 0], text, ends, nulls].concat()
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let skipped = |count: u32| {
        Event::ItemsSkipped(ItemsSkipped {
            saga: SagaId(Position(1)),
            items: (0..count).map(|number| (EntityId(number % 200), SkipReason::Held)).collect(),
        })
    };
    // Eight bytes of memory each, so three million of them are beyond the decoder's limit, though two bytes each on
    // disk.
    assert_eq!(skipped(3_000_000).encode_body(), Err(CodecError::TooLarge));
    let most = skipped(1_000_000);
    assert!(Event::decode_body(EventType::ItemsSkipped, &most.encode_body().unwrap()).unwrap() == most);
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn any_link() -> impl Strategy<Value = SourceLink> {
    (prop::bool::ANY, any_kind(), any::<String>()).prop_map(|(about, kind, external_id)| SourceLink {
        relation: if about { Relation::About } else { Relation::Associated },
        kind,
        external_id,
    })
}

prop_compose! {
    fn any_record()(
        layout: u32,
        mailbox in prop::option::of(any::<u32>()),
        visibility in prop::sample::select(vec![Visibility::Unknown, Visibility::Private, Visibility::Shared]),
        external_id: String,
        other_ids in prop::collection::vec(any::<String>(), 0..4),
        named in prop::collection::vec((any::<u16>(), any::<i64>()), 0..4),
        links in prop::collection::vec(any_link(), 0..4),
        cells in prop::collection::vec(prop::option::of(any::<String>()), 0..12),
    ) -> EntityRecord {
        EntityRecord {
            layout: LayoutId(layout),
            mailbox: mailbox.map(EntityId),
            visibility,
            external_id,
            other_ids,
            dates: named.into_iter().map(|(number, at)| (DateRole::Named(number), Timestamp(at))).collect(),
            links,
            cells: cells.iter().map(Option::as_deref).collect::<Cells>(),
        }
    }
}

fn any_body() -> impl Strategy<Value = Event> {
    prop_oneof![
        any_record().prop_map(|record| Event::EntityChanged(EntityChanged { record })),
        (
            prop::collection::vec((any::<bool>(), any::<u32>()), 0..20),
            prop::option::of(any::<i64>()),
            prop::option::of("custom:[a-z0-9_]{1,64}"),
        )
            .prop_map(|(links, at, class)| {
                let relation = |about| if about { Relation::About } else { Relation::Associated };
                let links =
                    links.into_iter().map(|(about, to)| Link { relation: relation(about), to: EntityId(to) }).collect();
                let class = class.and_then(|name| ActivityClass::from_name(&name));
                Event::EntityLinked(EntityLinked { links, at: at.map(Timestamp), class })
            }),
        prop::sample::select(samples::events()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back_and_no_byte_may_be_missing_or_left_over(
        event in any_body(), cut in any::<prop::sample::Index>(), extra: u8
    ) {
        let mut bytes = event.encode_body().unwrap();
        let (number, schema) = (event.event_type() as u16, codec::schema_of(event.event_type()));
        prop_assert!(codec::read(number, schema, &bytes).as_ref() == Ok(&event));
        if !bytes.is_empty() {
            prop_assert!(codec::read(number, schema, &bytes[..cut.index(bytes.len())]).is_err());
        }
        bytes.push(extra);
        prop_assert_eq!(codec::read(number, schema, &bytes), Err(CodecError::Trailing));
    }

    #[test]
    fn any_bytes_are_a_body_or_an_error(
        event_type in prop::sample::select(EventType::ALL.to_vec()), bytes in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        if let Ok(event) = codec::read(event_type as u16, 1, &bytes) {
            prop_assert_eq!(event.event_type(), event_type);
        }
    }

    #[test]
    fn a_changed_byte_never_panics_and_cells_that_are_read_can_be_shown(
        event in any_body(), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let mut bytes = event.encode_body().unwrap();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Event::EntityChanged(body)) = codec::read(event.event_type() as u16, 1, &bytes) {
            prop_assert!(body.record.cells.is_consistent());
            prop_assert_eq!(body.record.cells.iter().count(), body.record.cells.len());
        }
    }

    #[test]
    fn any_128_bytes_are_an_envelope_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte: u8
    ) {
        prop_assert!(Envelope::parse(&bytes).is_err());
        for envelope in samples::envelopes() {
            let mut mutated = envelope.to_bytes();
            mutated[at.index(124)] = byte;
            let crc = crc32c::crc32c(&mutated[..124]);
            mutated[124..].copy_from_slice(&crc.to_le_bytes());
            if let Ok(read) = Envelope::parse(&mutated) {
                prop_assert_eq!(read.to_bytes(), mutated);
            }
        }
    }
}
