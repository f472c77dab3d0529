//! What guards an id against spreadsheets.

use super::*;

#[test]
fn what_guards_the_id_of_a_link_leads_to_no_namesake_elsewhere_and_is_missed_nowhere() {
    let mapping = CONTACTS.replace("snapshot", "delta") + "[mailbox]\ncolumn = \"Owner\"\n";
    let world = World::csv(&mapping);
    let store = world.open();
    world.drop_file("contacts.csv", "Id,Name,Friend,Owner\n=\"1\",Ada,,a@x.cz\n1,Bo,,b@x.cz\n2,Cy,=\"1\",b@x.cz\n");
    world.take_all(&store);
    let found = |owner: &str, id: &str| find(&store, Some(owner), Kind::Contact, id).unwrap();
    let [namesake, meant, from] = [found("a@x.cz", "1"), found("b@x.cz", "1"), found("b@x.cz", "2")];
    assert_ne!(namesake, meant);
    let linked: Vec<_> = store.view(|views| views.links.of(from).map(|link| link.to).collect());
    assert_eq!(linked, [meant]);
    assert_eq!(world.report("done/1")["counts"]["dangling"], 0);
}
