//! What was dropped, and what a store must therefore hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rand::Rng;
use rand::rngs::StdRng;
use retention_core::event::change::IntakeEnd;
use retention_core::evidence::ParsedItem;
use retention_core::id::EntityId;
use retention_core::record::EntityRecord;
use retention_core::view::EntityState;
use retention_tests::invariants::MARKER;
use retentiond::connector::archive::ITEMS_FILE;
use retentiond::store::Store;

/// How many rows a delivery lists at most.
const LISTED_MAX: usize = 60;

/// How many rows are new in a delivery.
const NEW_ROWS: usize = 15;

/// The kinds of rows that are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A contact of the list, a file of comma-separated values.
    List,
    /// A contact of the export of a mailbox.
    Contact,
    /// A task of the export of a mailbox.
    Task,
}

/// One row of a source.
#[derive(Debug)]
struct Row {
    of: Of,
    /// How often it was changed.
    version: u32,
    /// Whether a policy wants it gone.
    is_due: bool,
    /// Whether the newest delivery has it.
    is_listed: bool,
}

/// Everything that was dropped.
#[derive(Debug, Default)]
pub(super) struct Truth {
    rows: BTreeMap<String, Row>,
    /// Which row an entity was made of, and the newest version of it that a store held.
    entities: BTreeMap<EntityId, (String, u32)>,
    lists: u32,
    exports: u32,
}

fn told(id: &str, version: u32) -> String {
    format!("{MARKER} {id} v{version}")
}

/// Returns the row and the version that a record tells.
fn tells(record: &EntityRecord) -> Option<(String, u32)> {
    let cells = &record.cells;
    let text =
        (0..cells.len()).filter_map(|n| cells.get(n)).find_map(|cell| cell.strip_prefix(&format!("{MARKER} ")))?;
    let (id, version) = text.split_once(" v")?;
    Some((id.to_owned(), version.parse().ok()?))
}

impl Truth {
    /// Changes, removes and adds rows of a kind, and returns those that are listed now.
    fn turn(&mut self, of: Of, random: &mut StdRng) -> Vec<(String, u32, bool)> {
        let mut listed: Vec<&mut Row> = self.rows.values_mut().filter(|row| row.of == of && row.is_listed).collect();
        while listed.len() + NEW_ROWS > LISTED_MAX {
            listed.swap_remove(random.random_range(0..listed.len())).is_listed = false;
        }
        for row in listed {
            if random.random_bool(0.2) {
                row.version += 1;
            }
        }
        for _ in 0..NEW_ROWS {
            let id = format!("{of:?}-{}", self.rows.len());
            let is_due = of != Of::Contact && random.random_bool(0.6);
            self.rows.insert(id, Row { of, version: 1, is_due, is_listed: true });
        }
        let listed = self.rows.iter().filter(|(_, row)| row.of == of && row.is_listed);
        listed.map(|(id, row)| (id.clone(), row.version, row.is_due)).collect()
    }

    /// Drops the next list.
    pub(super) fn drop_list(&mut self, scratch: &Path, folder: &Path, random: &mut StdRng) {
        let mut text = "Id,Note,Created\n".to_owned();
        for (id, version, is_due) in self.turn(Of::List, random) {
            let created = if is_due { "2020-01-15" } else { "2098-01-15" };
            writeln!(text, "{MARKER}-{id},{},{created}", told(&id, version)).unwrap();
        }
        self.lists += 1;
        let name = format!("contacts-{MARKER}-{:06}.csv", self.lists);
        fs::write(scratch.join(&name), text).unwrap();
        fs::rename(scratch.join(&name), folder.join(&name)).unwrap();
    }

    /// Drops the next export of a mailbox.
    pub(super) fn drop_export(&mut self, scratch: &Path, folder: &Path, random: &mut StdRng) {
        let (mut contacts, mut tasks) = ("XrmId,DisplayName\n".to_owned(), String::new());
        tasks.push_str("XrmID,Subject,DateTimeCreated,Status,ItemId\n");
        for (id, version, _) in self.turn(Of::Contact, random) {
            writeln!(contacts, "{MARKER}-{id},{}", told(&id, version)).unwrap();
        }
        for (id, version, is_due) in self.turn(Of::Task, random) {
            let created = if is_due { "2020-01-15T08:00:00Z" } else { "2098-01-15T08:00:00Z" };
            let text = told(&id, version);
            writeln!(tasks, "{MARKER}-{id}-xrm,{text},{created},NotStarted,{MARKER}-{id}").unwrap();
        }
        self.exports += 1;
        let name = format!("{MARKER}@example.org_20200302T0915{:06}", self.exports);
        let directory = scratch.join(&name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("Contacts.csv"), contacts).unwrap();
        fs::write(directory.join("Tasks.csv"), tasks).unwrap();
        fs::rename(directory, folder.join(&name)).unwrap();
    }

    /// What is there was dropped, stands there once, and never became older than it was.
    pub(super) fn check(&mut self, store: &Store) {
        let entities: Vec<EntityId> = store.view(|views| views.entities.numbers_from(0).collect());
        let mut live: BTreeMap<String, EntityId> = BTreeMap::new();
        for entity in entities {
            let Some(record) = store.record(entity).expect("a readable record") else { continue };
            let Some((id, version)) = tells(&record) else { continue };
            let row = self.rows.get(&id).unwrap_or_else(|| panic!("{entity} was never dropped"));
            assert!(version <= row.version, "{entity} is newer than what was dropped");
            let (known, seen) = self.entities.entry(entity).or_insert_with(|| (id.clone(), version));
            assert_eq!(*known, id, "{entity} became another");
            assert!(*seen <= version, "{entity} became older");
            *seen = version;
            if let Some(twin) = live.insert(id, entity) {
                panic!("{entity} and {twin} are the same row");
            }
        }
    }

    /// All that is due is purged, and nothing else; the rest is as it was last told; every delivery was taken in once.
    pub(super) fn check_the_end(&mut self, store: &Store, exports: &Path, held: &BTreeSet<EntityId>) {
        self.check(store);
        let mut live: BTreeMap<&str, (EntityId, u32)> = BTreeMap::new();
        for (entity, (id, version)) in &self.entities {
            let row = store.view(|views| views.entities.row(*entity)).expect("a row");
            match row.state {
                EntityState::Visible => drop(live.insert(id, (*entity, *version))),
                EntityState::Quarantined => panic!("{entity} waits for ever"),
                EntityState::Purged => assert!(self.rows[id].is_due, "{entity} was not due"),
            }
        }
        let exported = exported(exports);
        for (id, row) in &self.rows {
            match live.get(id.as_str()) {
                Some((entity, version)) => {
                    assert!(!row.is_due || held.contains(entity), "{entity} is due, and still there");
                    let is_absent = store.view(|views| views.entities.row(*entity).expect("a row").absent);
                    assert_eq!((*version, is_absent), (row.version, !row.is_listed), "{entity} is not as it was told");
                }
                None => assert!(row.is_due && exported.contains(id), "a row is gone without an export"),
            }
        }
        self.check_intakes(store);
    }

    fn check_intakes(&self, store: &Store) {
        let mut ends: BTreeMap<String, u32> = BTreeMap::new();
        let mut contents = BTreeSet::new();
        store.view(|views| {
            for (intake, known) in views.small.intakes.iter() {
                let Some((_, body)) = &known.completed else { panic!("{intake} never ended") };
                assert_eq!((body.end, body.rejected), (IntakeEnd::Done, 0), "{intake}");
                assert!(contents.insert(known.content), "{intake} has the content of another");
                *ends.entry(known.source.clone()).or_default() += 1;
            }
        });
        let dropped = [("crm".to_owned(), self.exports), ("list".to_owned(), self.lists)];
        assert_eq!(ends, dropped.into_iter().filter(|(_, count)| *count > 0).collect());
    }

    /// Says in one line what was dropped.
    pub(super) fn summary(&self) -> String {
        let Self { rows, entities, lists, exports } = self;
        format!("{lists} lists, {exports} exports, {} rows, {} entities", rows.len(), entities.len())
    }
}

/// Returns the rows that stand in bundles.
fn exported(exports: &Path) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for bundle in fs::read_dir(exports).unwrap() {
        let text = fs::read_to_string(bundle.unwrap().path().join(ITEMS_FILE)).unwrap();
        rows.extend(
            text.lines().map(|line| tells(&ParsedItem::parse_line(line.as_bytes()).unwrap().record).unwrap().0),
        );
    }
    rows
}
