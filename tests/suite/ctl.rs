//! Every verb of the real `retentionctl` against the real `retentiond`: what it says, and how it ends.

mod asked;
mod backups;
mod batches;
mod decided;
mod erased;
mod following;
mod keys;
mod offline;
mod people_ask;
mod proofs;
mod restricted;
mod witnesses;

use std::path::Path;

use retention_tests::daemon::{Daemon, Person, Site, has_second_person};
use serde_json::Value;

/// The policy that takes every contact of the CSV source that was created more than a year ago.
fn old_people(period: &str, quarantine: &str) -> String {
    format!(
        "schema = 1\n[policy]\nid = \"old-people\"\ntitle = \"Old people\"\nowner = \"dpo@example.org\"\n\
         legal_basis = \"GDPR 5(1)(e)\"\ndata_class = \"contact\"\nstate = \"enforce\"\n\
         [scope]\nkind = \"contact\"\nsource = [\"people\"]\nmatch_all = true\n\
         [retention]\nperiod = \"{period}\"\nstart = \"created\"\non_missing_start = \"keep\"\ntimezone = \"UTC\"\n\
         [schedule]\ncron = \"0 3 1 jan *\"\ntimezone = \"UTC\"\n\
         [limits]\nmax_items = 1000\nmax_percent = 100\n\
         [export]\nrequired = true\nformats = [\"jsonl\", \"csv\"]\n\
         [action]\nkind = \"purge\"\nquarantine = \"{quarantine}\"\n\
         [approval]\nrequired = true\ncount = 1\nvalid_for = \"P1D\"\n\
         [[test]]\nrecord = {{ created = 2015-01-01 }}\nat = 2026-01-01\nexpect = \"due\"\n"
    )
}

/// A shipped policy by its stem.
fn shipped(stem: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../policies/{stem}.toml"));
    std::fs::read_to_string(path).expect("a shipped policy")
}

/// Waits until so many deliveries are taken in, and returns them, the newest first.
fn taken_in(site: &Site, daemon: &Daemon<'_>, deliveries: usize) -> Vec<Value> {
    daemon.until("deliveries are taken in", || {
        let rows = site.rows(&["intake", "list"]);
        let ended = rows.iter().filter(|row| !row["end"].is_null()).count();
        (ended == deliveries).then_some(rows)
    })
}

/// Waits until a policy set is active.
fn policies_active(site: &Site, daemon: &Daemon<'_>) {
    daemon.until("the policies are active", || (site.json(&["policy", "list"]) != serde_json::json!([])).then_some(()));
}

/// Asks for a plan and waits for it.
fn planned(site: &Site, policy: &str) -> Value {
    site.json(&["plan", "make", policy, "--wait"])
}

/// Approves a plan as the second person. Where there is none, the first is refused, and nothing can be purged: that is
/// said, and `false` returned.
#[expect(clippy::print_stdout, reason = "what a test does not do on this machine is said, never silent")]
fn is_approved(site: &Site, plan: &str) -> bool {
    let own = site.ctl(&["plan", "approve", plan]).ends(77).says("may not approve it");
    assert!(own.err.contains("hint: another person with the role approver"), "{}", own.err);
    if !has_second_person() {
        println!("only root can be a second person: {plan} is not approved, and the test ends before its run");
        return false;
    }
    let said = site.ctl_as(Person::Second, &["plan", "approve", plan, "--comment", "seen", "--output", "json"]);
    assert_eq!(said.ends(0).json()["plan"], plan);
    true
}

/// The text of a field.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}

/// The texts of a field in all rows.
fn texts<'a>(rows: &'a [Value], name: &str) -> Vec<&'a str> {
    rows.iter().map(|row| text(row, name)).collect()
}

/// Rows of the CSV source: so many people created on a day.
fn people(ids: std::ops::Range<u32>, created: &'static str) -> Vec<(String, &'static str, &'static str)> {
    ids.map(|id| (id.to_string(), "Somebody", created)).collect()
}
