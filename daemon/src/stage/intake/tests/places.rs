//! Records of one source that come from several places: whoever they are about may come from another drop folder, later, or
//! have another owner by now.

use super::*;
use crate::clock::Clock as _;

const PEOPLE: &str = "schema = 1\nkind = \"contact\"\nfiles = [\"people*.csv\"]\ncontent = \"snapshot\"\nid = [\"Id\"]\n\
    [mailbox]\ncolumn = \"Owner\"\n";
const CALLS: &str = "schema = 1\nsource = \"crm\"\nkind = \"activity\"\nfiles = [\"calls*.csv\"]\ncontent = \"delta\"\n\
    id = [\"Id\"]\n[mailbox]\ncolumn = \"Owner\"\n[[date]]\ncolumn = \"When\"\nrole = \"occurred\"\n\
    [[link]]\ncolumn = \"Who\"\nkind = \"contact\"\nrelation = \"about\"\n";

/// A source of people, and another of calls that names the first one.
struct Places {
    world: World,
    store: Arc<Store>,
    people: Source,
    calls: Source,
    taken: u32,
}

impl Places {
    fn new(calls: &str) -> Self {
        let world = World::csv(PEOPLE);
        let (people, dir) = (world.source.clone(), world.dir.path());
        let mapping = dir.join("calls.toml");
        std::fs::write(&mapping, calls).unwrap();
        let kind = SourceKind::Csv { mapping, encoding: None, delimiter: None };
        let calls = Source { name: "phone".into(), drop_dir: dir.join("phone"), ..source(dir, kind) };
        std::fs::create_dir(&calls.drop_dir).unwrap();
        let store = world.open();
        Self { world, store, people, calls, taken: 0 }
    }

    fn take(&mut self, from: &Source, name: &str, text: &str) {
        self.taken += 1;
        self.world.source = from.clone();
        self.world.drop_file(&format!("{name}-{}.csv", self.taken), text);
        self.world.take_all(&self.store);
    }

    fn people(&mut self, rows: &str) {
        let from = self.people.clone();
        self.take(&from, "people", &format!("Id,Owner\n{rows}"));
    }

    fn calls(&mut self, rows: &str) {
        let from = self.calls.clone();
        self.take(&from, "calls", &format!("Id,Owner,When,Who\n{rows}"));
    }

    fn last_activity(&self, owner: &str, id: &str) -> Option<Timestamp> {
        let person = find(&self.store, Some(owner), Kind::Contact, id).unwrap();
        self.store.view(|views| views.entities.row(person)).unwrap().last_activity
    }
}

fn at(day: &str) -> Option<Timestamp> {
    Some(format!("{day}T10:00:00Z").parse().unwrap())
}

#[test]
fn whoever_got_another_owner_is_whom_the_calls_of_the_former_one_are_about() {
    let mut places = Places::new(CALLS);
    places.people("1,ada@x.cz\n2,ada@x.cz\n3,bo@x.cz\n");
    places.calls("c1,ada@x.cz,2025-10-01T10:00:00Z,1\n");
    places.people("2,ada@x.cz\n3,bo@x.cz\n1,bo@x.cz\n");
    assert_eq!(places.last_activity("bo@x.cz", "1"), at("2025-10-01"), "it was told before");
    places.calls("c2,ada@x.cz,2025-11-01T10:00:00Z,1\n");
    assert_eq!(places.last_activity("bo@x.cz", "1"), at("2025-11-01"), "the former owner called once more");
    assert_eq!(places.last_activity("ada@x.cz", "2"), None);
    // And back.
    places.calls("c3,bo@x.cz,2025-12-01T10:00:00Z,1\n");
    places.people("1,ada@x.cz\n2,ada@x.cz\n3,bo@x.cz\n");
    assert_eq!(places.last_activity("ada@x.cz", "1"), at("2025-12-01"));
    // Whoever is there has what is told of a namesake in another mailbox no more than before.
    places.people("1,ada@x.cz\n2,ada@x.cz\n3,bo@x.cz\n1,bo@x.cz\n");
    places.calls("c4,ada@x.cz,2025-12-24T10:00:00Z,1\n");
    assert_eq!(places.last_activity("ada@x.cz", "1"), at("2025-12-24"));
    assert_eq!(places.last_activity("bo@x.cz", "1"), at("2025-12-01"));
}

#[test]
fn whoever_comes_with_the_file_of_the_new_owner_has_the_calls_once_the_file_of_the_former_one_is_without_it() {
    let mut places = Places::new(CALLS);
    places.people("1,ada@x.cz\n2,ada@x.cz\n");
    places.calls("c1,ada@x.cz,2025-10-01T10:00:00Z,1\n");
    places.people("1,bo@x.cz\n");
    assert_eq!(places.last_activity("bo@x.cz", "1"), None, "it may be a namesake");
    places.people("2,ada@x.cz\n");
    assert_eq!(places.last_activity("bo@x.cz", "1"), at("2025-10-01"));
}

#[test]
fn calls_from_another_drop_folder_find_whom_they_are_about_when_that_comes_later() {
    let mut places = Places::new(CALLS);
    places.calls("c1,ada@x.cz,2025-10-01T10:00:00Z,1\n");
    places.people("1,ada@x.cz\n");
    assert_eq!(places.last_activity("ada@x.cz", "1"), at("2025-10-01"));
}

#[test]
fn a_call_of_which_only_is_known_when_it_was_entered_counts_as_of_then() {
    let mut places = Places::new(&CALLS.replace("occurred", "created"));
    places.people("1,ada@x.cz\n");
    places.calls("c1,ada@x.cz,2025-10-01T10:00:00Z,1\n");
    assert_eq!(places.last_activity("ada@x.cz", "1"), at("2025-10-01"));
    // Where it also says when it was, and nobody can read that, it may have been later.
    let entered = "[[date]]\ncolumn = \"Id\"\nrole = \"created\"\n[[link]]";
    let mut places = Places::new(&CALLS.replace("[[link]]", entered));
    places.people("1,ada@x.cz\n");
    let first_seen = places.world.clock.now();
    places.calls("2025-10-01T10:00:00Z,ada@x.cz,next week,1\n");
    assert!(places.last_activity("ada@x.cz", "1") >= Some(first_seen));
}

#[test]
fn a_link_finds_the_record_of_a_colleague_until_its_own_mailbox_has_one() {
    let mapping = CONTACTS.replace("snapshot", "delta") + "[mailbox]\ncolumn = \"Owner\"\n";
    let world = World::csv(&mapping);
    let store = world.open();
    let drop_and_take = |rows: &str| {
        world.drop_file("contacts.csv", &format!("Id,Name,Friend,Owner\n{rows}"));
        world.take_all(&store);
    };
    let found = |owner: &str, id: &str| find(&store, Some(owner), Kind::Contact, id).unwrap();
    let linked = |from: EntityId| store.view(|views| views.links.of(from).map(|link| link.to).collect::<Vec<_>>());
    drop_and_take("1,Ada,,a@x.cz\n2,Bo,1,b@x.cz\n3,Cy,nobody,b@x.cz\n");
    assert_eq!(linked(found("b@x.cz", "2")), [found("a@x.cz", "1")]);
    assert!(linked(found("b@x.cz", "3")).is_empty());
    assert_eq!(world.report("done/1")["counts"]["dangling"], 2, "of none is known that its own mailbox has it");
    // Now it has one: that is the one that was meant.
    drop_and_take("1,Di,,b@x.cz\n");
    assert_eq!(linked(found("b@x.cz", "2")), [found("b@x.cz", "1")]);
}
