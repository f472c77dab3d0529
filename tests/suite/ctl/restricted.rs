//! The end of use under a policy, and what a person brings back.

use retention_tests::daemon::Site;
use serde_json::json;

use super::{is_approved, old_people, people, planned, policies_active, taken_in, text};

fn restricting() -> String {
    let text = old_people("P1Y", "P0D").replace("old-people", "people-out-of-use");
    let text = text.replace("[action]\nkind = \"purge\"\nquarantine = \"P0D\"", "[action]\nkind = \"restrict\"");
    text.replace("[export]\nrequired = true\nformats = [\"jsonl\", \"csv\"]\n", "")
}

#[test]
fn what_is_out_of_use_is_not_shown_and_a_person_brings_it_back() {
    let site = Site::new(&[("people-out-of-use", &restricting()), ("old-people", &old_people("P10Y", "P0D"))]);
    let daemon = site.start();
    policies_active(&site, &daemon);
    site.drop_people("old", &people(0..3, "2015-05-01"));
    let _intakes = taken_in(&site, &daemon, 1);
    let plan = planned(&site, "people-out-of-use");
    let plan = text(&plan, "plan");
    if !is_approved(&site, plan) {
        return daemon.stop();
    }
    let watched = site.ctl(&["run", "start", plan, "--watch", "--output", "jsonl"]).ends(0).rows();
    let last = watched.last().expect("a row");
    let counts = (&last["state"], &last["restricted"], &last["purged"], &last["skipped"]);
    assert_eq!(counts, (&json!("completed"), &json!(3), &json!(0), &json!(0)), "{last}");
    assert_eq!(last["sagas"][0]["items"], 3, "{last}");
    let incident = site.ctl(&["run", "incident", text(last, "run")]).ends(0).says("It ended the use of 3 entities");
    assert!(!incident.out.contains("purged"), "{}", incident.out);

    let listed = site.rows(&["restriction", "list"]);
    assert_eq!(listed.len(), 1);
    let row = &listed[0];
    assert_eq!(
        (&row["policy"], &row["count"], &row["placed_by"]),
        (&json!("people-out-of-use"), &json!(3), &json!("daemon"))
    );
    let restriction = text(row, "restriction");
    let entities = site.rows(&["entity", "list", "--kind", "contact"]);
    let (one, other) = (text(&entities[0], "entity"), text(&entities[1], "entity"));
    let _hidden = site.ctl(&["entity", "show", one]).ends(2).says(restriction).says("it is not shown");
    let _why = site
        .ctl(&["explain", one])
        .ends(0)
        .says(&format!("its use has ended under a policy ({restriction})"))
        .says(&format!("Its use is restricted by {restriction}").replace("Its", "its"));
    let policies = site.rows(&["policy", "list"]);
    let due = |policy: &str| policies.iter().find(|row| row["policy"] == policy).map(|row| row["due"].clone());
    assert_eq!((due("people-out-of-use"), due("old-people")), (Some(json!(0)), Some(json!(3))));
    assert_eq!(site.ctl(&["export", "list", "--output", "jsonl"]).ends(0).rows().len(), 0);

    let _wrong = site
        .ctl(&["restriction", "lift", restriction, "--record", "E4000000", "--reason", "asked"])
        .ends(2)
        .says("does not restrict E4000000; nothing was lifted");
    let lifted = site.ctl(&["restriction", "lift", restriction, "--record", one, "--reason", "a customer again"]);
    let _lifted = lifted.ends(0);
    let _shown = site.ctl(&["entity", "show", one]).ends(0).says("Somebody");
    let _why = site.ctl(&["explain", one]).ends(0).says("a person lifted restriction");
    let _hidden = site.ctl(&["entity", "show", other]).ends(2).says("it is not shown");
    assert_eq!(site.rows(&["restriction", "list"])[0]["count"], 2);
    assert_eq!(planned(&site, "people-out-of-use")["frozen"]["items"], 0);
    // It keeps nothing from disposal.
    let preview = site.json(&["plan", "make", "old-people", "--at", "2026-12-31", "--wait"]);
    assert_eq!(preview["frozen"]["items"], 3, "{preview}");

    let _all = site.ctl(&["restriction", "lift", restriction, "--reason", "moved"]).ends(0);
    assert_eq!(site.rows(&["restriction", "list"]).len(), 0);
    assert_eq!(site.rows(&["restriction", "list", "--lifted"])[0]["count"], 3);
    let kinds = site.rows(&["audit", "query", "--kind", "EntitiesRestricted"]);
    assert_eq!(kinds.len(), 1);
    daemon.stop();
}
