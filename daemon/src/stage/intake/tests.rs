//! Intake from the drop folder to the log: exactly once, only what differs, and whole after any interruption.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use retention_core::event::{Event, EventType, Readable};
use retention_core::id::{EntityId, Position};
use retention_core::record::{Kind, Relation};
use retention_core::time::Timestamp;

use super::{Intake, IntakeError, IntakeHealth, REPORT_JSON, REPORT_TEXT};
use crate::clock::ManualClock;
use crate::config::{Delivers, KeepDone, Source, SourceKind};
use crate::stage::Step;
use crate::store::tests::init;
use crate::store::{Options, Store};

mod activity;
mod guarded;
mod left;
mod moving;
mod order;
mod places;
mod stop;

const ADA: &str = "ada.quill@contoso.com_20200302T0915301234";
const BRAM: &str = "bram.okafor@contoso.com_20200415T1801029876";

/// Looks and deliveries that one test can need at most.
const STEPS_MAX: usize = 200;

struct World {
    dir: tempfile::TempDir,
    clock: ManualClock,
    options: Options,
    source: Source,
}

impl World {
    fn with(source: impl FnOnce(&Path) -> Source) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::starting_at("2026-01-05T08:00:00Z".parse().unwrap());
        let options = Options { clock: Arc::new(clock.clone()), ..init(dir.path()) };
        let source = source(dir.path());
        std::fs::create_dir(&source.drop_dir).unwrap();
        Self { dir, clock, options, source }
    }

    fn ocm() -> Self {
        Self::with(|dir| source(dir, SourceKind::Ocm))
    }

    fn csv(mapping: &str) -> Self {
        Self::with(|dir| {
            let path = dir.join("mapping.toml");
            std::fs::write(&path, mapping).unwrap();
            source(dir, SourceKind::Csv { mapping: path, encoding: None, delimiter: None })
        })
    }

    fn open(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.options, &mut |_, _| {}).unwrap())
    }

    fn intake(&self, store: &Arc<Store>) -> Intake {
        Intake::new(Arc::clone(store), Arc::new(self.clock.clone()), vec![self.source.clone()])
    }

    fn drop_dir(&self) -> &Path {
        &self.source.drop_dir
    }

    fn drop_file(&self, name: &str, text: &str) {
        std::fs::write(self.drop_dir().join(name), text).unwrap();
    }

    /// Drops a copy of an export with some files edited; an edit to nothing removes the file.
    fn drop_export(&self, name: &str, edit: impl Fn(&str, String) -> Option<String>) {
        let from = fixtures().join(name);
        let to = self.drop_dir().join(name);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name().into_string().unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            if let Some(text) = edit(&file, text) {
                std::fs::write(to.join(file), text).unwrap();
            }
        }
    }

    /// Takes in everything that lies there.
    fn take_all(&self, store: &Arc<Store>) {
        let mut intake = self.intake(store);
        let mut idle = 0;
        for _ in 0..STEPS_MAX {
            match intake.step(&mut |_| {}).unwrap() {
                Step::Worked => idle = 0,
                Step::Idle | Step::IdleUntil(_) => idle += 1,
            }
            if idle == 3 {
                return;
            }
            if idle > 0 {
                self.clock.advance(Duration::from_secs(3));
            }
        }
        panic!("the drop folder never came to rest");
    }

    fn listed(&self, shelf: &str) -> Vec<String> {
        let mut all = Vec::new();
        for number in std::fs::read_dir(self.drop_dir().join(shelf)).unwrap() {
            let number = number.unwrap();
            for entry in std::fs::read_dir(number.path()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                all.push(format!("{}/{name}", number.file_name().to_str().unwrap()));
            }
        }
        all.sort();
        all
    }

    fn report(&self, place: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.drop_dir().join(place).join(REPORT_JSON)).unwrap()).unwrap()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/ocm")
}

fn source(dir: &Path, kind: SourceKind) -> Source {
    Source {
        name: "crm".into(),
        kind,
        drop_dir: dir.join("drop"),
        zone: Some(jiff::tz::TimeZone::UTC),
        delivers: Delivers::Snapshot,
        max_bytes: 1 << 30,
        keep_done: KeepDone::Forever,
        keep_rejected: KeepDone::Forever,
        mailbox: None,
        activities: Arc::default(),
    }
}

fn as_is(_: &str, text: String) -> Option<String> {
    Some(text)
}

fn position(store: &Store) -> Position {
    store.view(|views| views.position)
}

/// The types of the events after a position.
fn types_after(store: &Store, after: Position) -> Vec<EventType> {
    let last = position(store);
    (after.0 + 1..=last.0).map(|n| event(store, n).event_type()).collect()
}

fn event(store: &Store, position: u64) -> Event {
    match store.read(Position(position)).unwrap().unwrap().event {
        Readable::Event(event) => *event,
        other => panic!("{other:?}"),
    }
}

fn count(types: &[EventType], of: EventType) -> usize {
    types.iter().filter(|t| **t == of).count()
}

fn find(store: &Store, mailbox: Option<&str>, kind: Kind, id: &str) -> Option<EntityId> {
    let in_mailbox = mailbox.map(|address| {
        let handle = store.handle_of("crm", None, Kind::Mailbox, address);
        store.view(|views| views.entities.find(handle)).unwrap()
    });
    let handle = store.handle_of("crm", in_mailbox, kind, id);
    store.view(|views| views.entities.find(handle))
}

fn ada(store: &Store, kind: Kind, number: &str) -> EntityId {
    let id = format!("0c{number}-5c1d-4e2a-9b70-000000{number}");
    find(store, Some("ada.quill@contoso.com"), kind, &id).unwrap()
}

/// Everything about the entities that does not depend on how often an intake was interrupted: what they are by id.
fn entities(store: &Store) -> Vec<String> {
    let live: Vec<EntityId> = store.view(|views| views.entities.numbers_from(0).collect());
    let name = |entity: EntityId| {
        let record = store.record(entity).unwrap().unwrap();
        let (layout, row) = store.view(|views| {
            (views.small.layouts.get(record.layout).unwrap().clone(), views.entities.row(entity).unwrap())
        });
        (format!("{} {}", layout.kind, record.external_id), record, row)
    };
    let mut all: Vec<String> = live
        .iter()
        .map(|entity| {
            let (named, record, row) = name(*entity);
            let links: Vec<String> = store
                .view(|views| views.links.of(*entity).collect::<Vec<_>>())
                .into_iter()
                .map(|link| format!("{:?} {}", link.relation, name(link.to).0))
                .collect();
            let cells: Vec<_> = record.cells.iter().collect();
            let mailbox = record.mailbox.map(|mailbox| name(mailbox).0);
            let mut links = links;
            links.sort();
            format!(
                "{named} {mailbox:?} {:?} {:?} {cells:?} {links:?} {:?} {} {} {:?}",
                record.dates, record.other_ids, row.last_activity, row.absent, row.open_deal, row.visibility
            )
        })
        .collect();
    all.sort();
    all
}

#[test]
fn two_exports_become_entities_with_their_links_and_derived_fields() {
    let world = World::ocm();
    let store = world.open();
    world.drop_export(ADA, as_is);
    world.drop_export(BRAM, as_is);
    world.take_all(&store);

    let kinds = store.view(|views| {
        let kinds = views.small.layouts.iter().map(|(id, layout)| (layout.kind, views.entities.live(id)));
        let mut sums = std::collections::BTreeMap::new();
        kinds.for_each(|(kind, live)| *sums.entry(kind).or_insert(0) += live);
        sums.into_iter().map(|(kind, live)| (kind.name(), live)).collect::<Vec<_>>()
    });
    let expected = [
        ("contact", 4),
        ("company", 4),
        ("deal", 4),
        ("activity", 5),
        ("post", 4),
        ("task", 5),
        ("template", 14),
        ("mailbox", 2),
    ];
    assert_eq!(kinds, expected);

    let [priya, bakery, deal] =
        [(Kind::Contact, "000001"), (Kind::Company, "000065"), (Kind::Deal, "0000c9")].map(|(k, n)| ada(&store, k, n));
    store.view(|views| {
        let of = |entity| views.links.of(entity).map(|link| (link.relation, link.to)).collect::<Vec<_>>();
        let mut expected = vec![(Relation::Associated, bakery), (Relation::Associated, deal)];
        expected.sort();
        assert_eq!(of(priya), expected);
        assert!(views.links.to(priya).any(|(relation, from)| relation == Relation::Associated && from == bakery));
        assert_eq!(views.links.to(priya).filter(|(relation, _)| *relation == Relation::About).count(), 4);
        assert_eq!(views.open_deals(priya), 1);
        // The task about Priya was changed on 28 February: later than her post and her activities.
        let last = views.entities.row(priya).unwrap().last_activity;
        assert_eq!(last, Some("2020-02-28T08:30:00Z".parse::<Timestamp>().unwrap()));
        assert!(views.entities.row(deal).unwrap().open_deal);
    });
    assert_eq!(world.listed("processing"), Vec::<String>::new());
    let expected = [
        format!("1/{ADA}"),
        format!("1/{REPORT_JSON}"),
        format!("1/{REPORT_TEXT}"),
        format!("2/{BRAM}"),
        format!("2/{REPORT_JSON}"),
        format!("2/{REPORT_TEXT}"),
    ];
    assert_eq!(world.listed("done"), expected);
    let report = world.report("done/1");
    assert_eq!(
        (&report["end"], &report["counts"]["added"], &report["counts"]["dangling"]),
        (&"done".into(), &19.into(), &0.into())
    );
}

#[test]
fn a_second_drop_appends_nothing_and_a_changed_row_appends_one_event() {
    let world = World::ocm();
    let store = world.open();
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    let before = position(&store);
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    assert_eq!(position(&store), before);
    assert_eq!(world.report("done/2")["end"], "duplicate");

    world.drop_export(ADA, |file, text| {
        Some(if file == "Contacts.csv" { text.replace("Head Baker", "Owner") } else { text })
    });
    world.take_all(&store);
    let expected = [EventType::IntakeStarted, EventType::EntityChanged, EventType::IntakeCompleted];
    assert_eq!(types_after(&store, before), expected);
    match event(&store, before.0 + 3) {
        Event::IntakeCompleted(body) => {
            assert_eq!((body.rows, body.added, body.changed, body.unchanged, body.absent), (19, 0, 1, 18, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_row_gone_from_a_snapshot_is_absent_once_until_it_comes_back() {
    let world = World::ocm();
    let store = world.open();
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    let tomas = ada(&store, Kind::Contact, "000002");
    let without = |label: &'static str| {
        move |file: &str, text: String| {
            let lines = text.lines().filter(|line| !(file == "Contacts.csv" && line.contains("Tomas")));
            let text: String = lines.map(|line| format!("{line}\r\n")).collect();
            Some(if file == "Tasks.csv" { text.replace("Call Priya", label) } else { text })
        }
    };
    let before = position(&store);
    world.drop_export(ADA, without("Ring Priya"));
    world.take_all(&store);
    let types = types_after(&store, before);
    assert_eq!(count(&types, EventType::EntityAbsent), 1);
    assert!(store.view(|views| views.entities.row(tomas).unwrap().absent));

    let before = position(&store);
    world.drop_export(ADA, without("Visit Priya"));
    world.take_all(&store);
    assert_eq!(count(&types_after(&store, before), EventType::EntityAbsent), 0, "it is absent already");

    let before = position(&store);
    world.drop_export(ADA, |file, text| Some(if file == "Tasks.csv" { text.replace("Send", "Write") } else { text }));
    world.take_all(&store);
    assert!(!store.view(|views| views.entities.row(tomas).unwrap().absent));
    // Tomas came back, and two tasks differ.
    assert_eq!(count(&types_after(&store, before), EventType::EntityChanged), 3);
    assert_eq!(
        find(&store, Some("ada.quill@contoso.com"), Kind::Contact, "0c000002-5c1d-4e2a-9b70-000000000002"),
        Some(tomas)
    );
}

/// Opens the gate for so many flushes of the journal, then none: what a crash leaves is what was flushed before.
#[derive(Default)]
struct LastFlush(std::sync::atomic::AtomicU64);

impl crate::store::FlushGate for LastFlush {
    fn before(&self, what: crate::store::Flush) -> std::io::Result<()> {
        use std::sync::atomic::Ordering;
        if what != crate::store::Flush::Journal {
            return Ok(());
        }
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| std::io::Error::other("the power is cut here"))
    }

    fn after(&self, _: crate::store::Flush) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_intake_cut_at_any_flush_ends_as_an_undisturbed_one() {
    let undisturbed = World::ocm();
    let store = undisturbed.open();
    undisturbed.drop_export(ADA, as_is);
    undisturbed.take_all(&store);
    let expected = entities(&store);
    let mut cuts = 0;
    for flushes in 0.. {
        let mut world = World::ocm();
        world.drop_export(ADA, as_is);
        let usual = world.options.gate.clone();
        let gate = Arc::new(LastFlush::default());
        gate.0.store(u64::MAX, std::sync::atomic::Ordering::SeqCst);
        world.options.gate = gate.clone();
        let store = world.open();
        gate.0.store(flushes, std::sync::atomic::Ordering::SeqCst);
        let mut intake = world.intake(&store);
        let mut failed = false;
        for _ in 0..10 {
            match intake.step(&mut |_| {}) {
                Ok(Step::Worked) => {}
                Ok(_) => world.clock.advance(Duration::from_secs(3)),
                Err(error) => {
                    assert!(error.is_of_the_store(), "{error}");
                    assert!(matches!(intake.step(&mut |_| {}), Err(IntakeError::Append(_))), "it stays stopped");
                    failed = true;
                    break;
                }
            }
        }
        drop(intake);
        drop(store);
        world.options.gate = usual;
        let store = world.open();
        if failed {
            cuts += 1;
            assert_eq!(world.listed("processing").iter().filter(|name| name.contains("ada")).count(), 1);
        }
        world.take_all(&store);
        assert_eq!(entities(&store), expected, "cut after {flushes} flushes");
        assert_eq!(world.listed("processing"), Vec::<String>::new());
        let (_, intake) = store.view(|v| v.small.intakes.iter().next_back().map(|(id, i)| (id, i.clone()))).unwrap();
        let body = intake.completed.unwrap().1;
        assert_eq!((body.added, body.changed, body.absent), (19, 0, 0), "cut after {flushes} flushes");
        if !failed {
            break;
        }
    }
    assert!(cuts > 15, "only {cuts} cuts were made");
}

const CONTACTS: &str = "schema = 1\nkind = \"contact\"\nfiles = [\"contacts*.csv\"]\ncontent = \"snapshot\"\n\
    id = [\"Id\"]\n[[column]]\nname = \"Name\"\nfield = \"display_name\"\n\
    [[link]]\ncolumn = \"Friend\"\nkind = \"contact\"\nrelation = \"associated\"\n";

#[test]
fn a_source_that_stands_still_is_told_until_it_goes_on() {
    let world = World::csv("schema = 2\n");
    let store = world.open();
    let health = IntakeHealth::default();
    let mut intake = world.intake(&store).telling(Arc::clone(&health));
    world.drop_file("contacts.csv", "Id,Name,Friend\n1,Ada,\n");
    let mut look = || {
        world.clock.advance(Duration::from_secs(60));
        intake.step(&mut |_| {}).unwrap();
        health.lock().stopped.clone()
    };
    let told = look();
    assert!(matches!(told.as_slice(), [(source, why)] if source == "crm" && why.contains("line 1")), "{told:?}");
    std::fs::write(world.dir.path().join("mapping.toml"), CONTACTS).unwrap();
    assert!(look().is_empty());
    std::fs::rename(world.drop_dir(), world.dir.path().join("elsewhere")).unwrap();
    assert_eq!(look().len(), 1);
}

#[test]
fn what_is_about_one_of_two_persons_counts_for_the_record_that_holds_both() {
    let world = World::ocm();
    let store = world.open();
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    let [priya, tomas] = ["000001", "000002"].map(|number| ada(&store, Kind::Contact, number));
    // The two are put together, and somebody then deals with the second one alone.
    let [first, second] = ["000001", "000002"].map(|number| format!("0c{number}-5c1d-4e2a-9b70-000000{number}"));
    world.drop_export(ADA, |file, text| {
        Some(match file {
            "Contacts.csv" => {
                let lines = text.lines().filter(|line| !line.contains("Tomas"));
                let text: String = lines.map(|line| format!("{line}\r\n")).collect();
                text.replace(&format!("\"{first}\""), &format!("\"{first}|{second}\""))
            }
            "Activities.csv" => {
                format!("{text}\"Ada Quill\",\"Contact\",\"Update\",\"2020-03-01T08:00:00.00Z\",,\"{second}\",,\r\n")
            }
            _ => text,
        })
    });
    world.take_all(&store);
    let at: Timestamp = "2020-03-01T08:00:00Z".parse().unwrap();
    store.view(|views| {
        assert!(views.entities.row(tomas).unwrap().absent);
        for person in [priya, tomas] {
            assert_eq!(views.entities.row(person).unwrap().last_activity, Some(at));
        }
    });
}

#[test]
fn a_delivery_of_which_nothing_could_be_taken_is_rejected_and_may_come_again() {
    let world = World::csv(&CONTACTS.replace("content", "delimiter = \"semicolon\"\ncontent"));
    let store = world.open();
    let drop_and_take = || {
        world.drop_file("contacts.csv", "Id;Name;Friend\n1;Ada;;\n2;Bo;;\n");
        world.take_all(&store);
    };
    drop_and_take();
    let report = world.report("rejected/1");
    assert_eq!((&report["end"], &report["read"]["rejected"]), (&"rejected".into(), &2.into()));
    drop_and_take();
    assert_eq!(world.report("rejected/2")["end"], "rejected", "it is no duplicate");
    world.drop_file("contacts.csv", "Id;Name;Friend\n1;Ada;;\n2;Bo;\n");
    world.take_all(&store);
    assert_eq!(world.report("done/3")["end"], "done_with_rejects");
}

#[test]
fn what_is_gone_is_absent_only_when_mapping_and_configuration_both_say_snapshot() {
    for (content, delivers, absent) in
        [("snapshot", Delivers::Snapshot, 1), ("snapshot", Delivers::Delta, 0), ("delta", Delivers::Snapshot, 0)]
    {
        let mut world = World::csv(&CONTACTS.replace("\"snapshot\"", &format!("{content:?}")));
        world.source.delivers = delivers;
        let store = world.open();
        for text in ["1,Ada,\n2,Bo,\n", "1,Ada,\n"] {
            world.drop_file("contacts.csv", &format!("Id,Name,Friend\n{text}"));
            world.take_all(&store);
        }
        assert_eq!(world.report("done/2")["counts"]["absent"], absent, "{content} {delivers:?}");
    }
}

#[test]
fn a_bad_row_rejects_itself_and_a_bad_file_itself_and_both_say_where() {
    let world = World::csv(CONTACTS);
    let store = world.open();
    world.drop_file("contacts-1.csv", "Id,Name,Friend\n1,Ada,\n2\n3,Bram,9\n");
    world.drop_file("contacts-2.csv", "Id,Nmae,Friend\n1,Ada,\n");
    world.drop_file("other.csv", "Id\n1\n");
    world.drop_file("empty.csv", "");
    std::os::unix::fs::symlink(world.dir.path().join("root.key"), world.drop_dir().join("contacts-3.csv")).unwrap();
    world.take_all(&store);
    let report = world.report("done/1");
    assert_eq!(report["end"], "done_with_rejects");
    assert_eq!(report["counts"]["rows"], 2);
    assert_eq!(report["counts"]["dangling"], 1);
    assert_eq!(
        (&report["read"]["rejections"][0]["place"]["line"], &report["read"]["rejections"][0]["code"]),
        (&3.into(), &"ragged".into())
    );
    assert!(std::fs::read_to_string(world.drop_dir().join("done/1").join(REPORT_TEXT)).unwrap().contains("line 3"));
    let codes: Vec<_> =
        (2..=4).map(|n| world.report(&format!("rejected/{n}"))["read"]["error"]["code"].clone()).collect();
    assert_eq!(codes, ["column_missing", "no_mapping", "no_mapping"]);
    assert!(world.drop_dir().join("contacts-3.csv").is_symlink(), "a link stays where it is");
    // The mapping is mended, and what was rejected comes again.
    std::fs::write(world.dir.path().join("mapping.toml"), CONTACTS.replace("\"Name\"", "\"Nmae\"")).unwrap();
    world.drop_file("contacts-2.csv", "Id,Nmae,Friend\n1,Ada,\n");
    world.take_all(&store);
    assert_eq!(world.report("done/5")["end"], "done");
}

#[test]
fn of_an_id_that_stands_twice_the_later_row_counts() {
    let world = World::csv(CONTACTS);
    let store = world.open();
    // The second one lies far enough behind to come with another batch.
    let rows: String = (1..=5_000).map(|n| format!("{n},Name {n},\n")).collect();
    world.drop_file("contacts.csv", &format!("Id,Name,Friend\n7,early,\n{rows}7,late,\n8,late,1\n8,later,2\n"));
    world.take_all(&store);
    let report = world.report("done/1");
    assert_eq!(report["oddities"]["id_repeated"], 4);
    assert_eq!(report["first_odd"]["id_repeated"]["line"], 9, "the second of the two");
    assert_eq!(report["counts"]["added"], 5_000);
    let cell = |id: &str| {
        let entity = find(&store, None, Kind::Contact, id).unwrap();
        store.record(entity).unwrap().unwrap().cells.get(1).unwrap().to_owned()
    };
    assert_eq!((cell("7"), cell("8"), cell("9")), ("late".into(), "later".into(), "Name 9".into()));
    let [eight, two] = ["8", "2"].map(|id| find(&store, None, Kind::Contact, id).unwrap());
    let links: Vec<_> = store.view(|views| views.links.of(eight).map(|link| link.to).collect());
    assert_eq!(links, [two]);
}

#[test]
fn a_link_that_led_to_nothing_is_recorded_when_the_other_end_comes() {
    let world = World::csv(&CONTACTS.replace("snapshot", "delta"));
    let store = world.open();
    world.drop_file("contacts-1.csv", "Id,Name,Friend\n1,Ada,2\n");
    world.take_all(&store);
    assert_eq!(world.report("done/1")["counts"]["dangling"], 1);
    drop(store);
    let store = world.open();
    world.drop_file("contacts-2.csv", "Id,Name,Friend\n2,Bram,\n");
    world.take_all(&store);
    let [one, two] = ["1", "2"].map(|id| find(&store, None, Kind::Contact, id).unwrap());
    let links: Vec<_> = store.view(|views| views.links.of(one).map(|link| link.to).collect());
    assert_eq!(links, [two]);
    // A row that no longer names it takes the link back.
    world.drop_file("contacts-3.csv", "Id,Name,Friend\n1,Ada,\n");
    world.take_all(&store);
    assert_eq!(store.view(|views| views.links.of(one).count()), 0);
}

#[test]
fn ids_of_two_entities_are_never_merged() {
    let world = World::ocm();
    let store = world.open();
    let id = "0c000001-5c1d-4e2a-9b70-000000000001";
    let joined = format!("{id}|0c000002-5c1d-4e2a-9b70-000000000002");
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    let [priya, tomas] = ["000001", "000002"].map(|number| ada(&store, Kind::Contact, number));
    // The first contact now claims both ids, in a delivery that names the second one too.
    world.drop_export(ADA, |file, text| {
        Some(if file == "Contacts.csv" {
            text.replacen(&format!("\"{id}\""), &format!("\"{joined}\""), 1)
        } else {
            text
        })
    });
    world.take_all(&store);
    let report = world.report("done/2");
    assert!(report["oddities"]["ids_of_two_entities"].as_u64() >= Some(1));
    assert_eq!(find(&store, Some("ada.quill@contoso.com"), Kind::Contact, &joined), Some(priya));
    assert_eq!(ada(&store, Kind::Contact, "000002"), tomas);
    assert_eq!(report["counts"]["absent"], 0);
}

#[test]
fn deliveries_leave_done_after_their_time_and_a_growing_file_is_left_alone() {
    let mut world = World::csv(CONTACTS);
    world.source.keep_done = KeepDone::For(Duration::from_secs(24 * 3600));
    let store = world.open();
    world.drop_file("contacts.csv", "Id,Name,Friend\n1,Ada,\n");
    let mut intake = world.intake(&store);
    assert!(matches!(intake.step(&mut |_| {}), Ok(Step::IdleUntil(_))));
    world.clock.advance(Duration::from_secs(3));
    world.drop_file("contacts.csv", "Id,Name,Friend\n1,Ada,\n2,Bram,\n");
    assert!(matches!(intake.step(&mut |_| {}), Ok(Step::IdleUntil(_))), "it grew");
    world.clock.advance(Duration::from_secs(3));
    assert!(matches!(intake.step(&mut |_| {}), Ok(Step::Worked)));
    assert_eq!(world.listed("done").len(), 3);
    world.clock.advance(Duration::from_secs(23 * 3600));
    intake.step(&mut |_| {}).unwrap();
    assert_eq!(world.listed("done").len(), 3);
    world.clock.advance(Duration::from_secs(2 * 3600));
    intake.step(&mut |_| {}).unwrap();
    assert_eq!(world.listed("done").len(), 0);
}

#[test]
fn what_was_refused_leaves_rejected_after_its_own_time() {
    let mut world = World::csv(CONTACTS);
    world.source.keep_done = KeepDone::For(Duration::from_secs(3600));
    world.source.keep_rejected = KeepDone::For(Duration::from_secs(24 * 3600));
    let store = world.open();
    world.drop_file("contacts.csv", "Other\n1\n");
    world.take_all(&store);
    let refused = world.listed("rejected").len();
    assert!(refused > 0);
    let mut intake = world.intake(&store);
    world.clock.advance(Duration::from_secs(23 * 3600));
    intake.step(&mut |_| {}).unwrap();
    assert_eq!(world.listed("rejected").len(), refused);
    world.clock.advance(Duration::from_secs(2 * 3600));
    intake.step(&mut |_| {}).unwrap();
    assert_eq!(world.listed("rejected").len(), 0);
}

#[test]
fn the_log_of_one_export_is_this_story() {
    let world = World::ocm();
    let store = world.open();
    let before = position(&store);
    world.drop_export(ADA, as_is);
    world.take_all(&store);
    let story: String = (before.0 + 1..=position(&store).0).map(|n| line(&store, before, n)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suite/transcripts/intake_ocm.txt");
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(story == expected, "the story is now:\n{story}");
}

/// One event on one line, with ids and without keyed or random bytes.
fn line(store: &Store, before: Position, position: u64) -> String {
    let recorded = store.read(Position(position)).unwrap().unwrap();
    let entity = recorded.envelope.entity.map_or("-".to_owned(), |entity| entity.to_string());
    let event = event(store, position);
    let layouts = |id| store.view(|views| views.small.layouts.get(id).unwrap().kind);
    let told = match &event {
        Event::LayoutRecorded(body) => {
            format!("layout {} {} {} columns", body.id.0, body.layout.kind, body.layout.columns.len())
        }
        Event::EntityChanged(body) => {
            let mailbox = body.record.mailbox.map_or("-".to_owned(), |mailbox| mailbox.to_string());
            let kind = layouts(body.record.layout);
            format!("{kind} {} in {mailbox}, {:?}", body.record.external_id, body.record.visibility)
        }
        Event::EntityLinked(body) => {
            let links: Vec<String> = body.links.iter().map(|link| format!("{:?} {}", link.relation, link.to)).collect();
            format!("{} at {}", links.join(", "), body.at.map_or("-".to_owned(), |at| at.to_string()))
        }
        Event::IntakeStarted(body) => format!("source {}", body.source),
        Event::IntakeCompleted(body) => format!(
            "{:?}: {} rows, {} added, {} changed, {} unchanged, {} absent, {} dangling, {:?}",
            body.end, body.rows, body.added, body.changed, body.unchanged, body.absent, body.dangling, body.defects
        ),
        other => format!("{other:?}"),
    };
    format!("+{} {:?} {entity} {told}\n", position - before.0, event.event_type())
}
