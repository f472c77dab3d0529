//! What was exported can be taken in again: the CSV files of a bundle are an export of Outlook Customer Manager, and
//! another store takes in the same cells from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use retention_core::record::Kind;
use retention_core::view::EntityState;
use retention_tests::world::{World, policy};
use retentiond::clock::Clock as _;

/// Kind, mailbox, id, and the cells by the name of their column.
type Told = BTreeMap<(String, String, String), BTreeMap<String, Option<String>>>;

fn told(world: &World) -> Told {
    let store = world.store();
    let entities: Vec<_> = store.view(|views| views.entities.numbers_from(0).collect());
    let mut told = Told::new();
    for entity in entities {
        let Some(record) = store.record(entity).unwrap() else { continue };
        let layout = store.view(|views| views.small.layouts.get(record.layout).unwrap().clone());
        if !matches!(layout.kind, Kind::Contact | Kind::Company | Kind::Deal | Kind::Task | Kind::Post) {
            continue;
        }
        let mailbox = record.mailbox.and_then(|mailbox| store.record(mailbox).unwrap()).map(|r| r.external_id);
        let names = layout.columns.iter().map(|column| column.name.clone());
        let cells = names.zip(record.cells.iter().map(|cell| cell.map(str::to_owned))).collect();
        told.insert((layout.kind.name().to_owned(), mailbox.unwrap_or_default(), record.external_id), cells);
    }
    told
}

#[test]
fn the_csv_of_a_bundle_is_taken_in_by_another_store_as_the_same_cells() {
    let mut world = World::new("P0D");
    world.remove_policy("contacts");
    let everything = policy("everything", "P0D")
        .replace(
            "kind = \"contact\"",
            "kind = [\"contact\", \"company\", \"deal\", \"task\", \"post\", \"activity\", \"template\"]",
        )
        .replace("start = \"created\"", "start = \"first_seen\"")
        .replace("formats = [\"jsonl\", \"csv\"]", "formats = [\"jsonl\", \"csv\"]\ncsv_profile = \"exact\"")
        .replace("{ created = 2020-01-01T00:00:00Z }", "{ kind = \"contact\", first_seen = 2020-01-01T00:00:00Z }");
    world.write_policy("everything", &everything);
    for name in ["ada.quill@contoso.com_20200302T0915301234", "bram.okafor@contoso.com_20200415T1801029876"] {
        world.drop_export(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ocm").join(name), |text| text);
    }
    world.take_in();
    world.settle();
    let before = told(&world);
    assert!(before.len() >= 10, "only {} entities were taken in", before.len());

    world.clock.advance(Duration::from_secs(800 * 86_400));
    world.approved_run("everything");
    world.finish();
    let is_left = |world: &World| told(world).len();
    assert_eq!(is_left(&world), 0, "{}", world.story());

    let mut other = World::new("P0D");
    // Its clock is not behind what the bundles bear in their names.
    other.clock.set(world.clock.now());
    for entry in std::fs::read_dir(world.exports()).unwrap() {
        other.drop_export(&entry.unwrap().path(), |text| text);
    }
    other.take_in();
    other.settle();
    assert_eq!(told(&other), before);
    assert!(other.model.told.keys().all(|entity| other.state_of(*entity) == EntityState::Visible));
}
