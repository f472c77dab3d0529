//! Plans, approvals, runs, holds, quarantine, and the evidence that a purge leaves.

use std::fs;
use std::path::PathBuf;

use retention_tests::bundle::encrypted;
use retention_tests::daemon::{Daemon, Person, SECOND_UID, Site, has_second_person};
use serde_json::{Value, json};

use super::{is_approved, old_people, people, planned, policies_active, shipped, taken_in, text, texts};

/// A site that has taken in some people of long ago.
fn with_people<'a>(site: &'a Site, count: u32) -> Daemon<'a> {
    let daemon = site.start();
    policies_active(site, &daemon);
    site.drop_people("old", &people(0..count, "2015-05-01"));
    let _intakes = taken_in(site, &daemon, 1);
    daemon
}

#[test]
fn a_purge_takes_two_people_and_leaves_evidence() {
    let site = Site::new(&[("demo-ocm-contacts", &shipped("demo-ocm-contacts"))]);
    let daemon = site.start();
    policies_active(&site, &daemon);
    let nothing = site.ctl(&["plan", "make", "demo-ocm-contacts", "--exit-code", "--output", "json"]).ends(4).json();
    assert_eq!((&nothing["state"], &nothing["frozen"]["items"]), (&json!("empty"), &json!(0)), "{nothing}");
    site.drop_samples();
    let _intakes = taken_in(&site, &daemon, 2);
    let _unknown = site.ctl(&["plan", "make", "no-such"]).ends(2).says("there is no active policy");

    let past = site.json(&["plan", "make", "demo-ocm-contacts", "--at", "2020-06-01", "--wait"]);
    assert_eq!((&past["state"], &past["frozen"]["items"]), (&json!("preview"), &json!(0)), "{past}");
    let preview = site.json(&["plan", "make", "demo-ocm-contacts", "--at", "2030-01-01", "--wait"]);
    assert_eq!(preview["frozen"]["items"], 3, "{preview}");
    for verb in ["approve", "start"] {
        let noun = if verb == "approve" { "plan" } else { "run" };
        let _only_looked_at = site.ctl(&[noun, verb, text(&preview, "plan")]).ends(2).says("is a preview");
    }

    let plan = planned(&site, "demo-ocm-contacts");
    let plan = text(&plan, "plan");
    let items = site.rows(&["plan", "items", plan]);
    assert_eq!((items.len(), site.rows(&["plan", "list"]).len()), (3, 4));
    if !is_approved(&site, plan) {
        return daemon.stop();
    }
    let shown = site.json(&["plan", "show", plan]);
    assert_eq!(shown["state"], "ready", "{shown}");

    let watched = site.ctl(&["run", "start", plan, "--watch", "--output", "jsonl"]).ends(0).rows();
    let last = watched.last().expect("a row");
    assert_eq!((&last["state"], &last["purged"]), (&json!("completed"), &json!(3)), "{last}");
    let run = text(last, "run");
    assert_eq!(site.json(&["run", "show", run])["sagas"], last["sagas"]);
    assert_eq!(texts(&site.rows(&["run", "list"]), "run"), [run]);
    assert_eq!(site.json(&["plan", "show", plan])["run"], run);
    let _once = site.ctl(&["run", "start", plan]).ends(2).says("was already taken by a run");
    for verb in [&["pause", run][..], &["resume", run], &["cancel", run, "--reason", "late"]] {
        let _over = site.ctl(&[&["run"], verb].concat()).ends(2).says("is not in a state for that");
    }
    let _unknown = site.ctl(&["run", "show", "R4000000"]).ends(2).says("there is no run");

    what_was_purged_is_gone(&site, text(&items[0], "entity"), run);
    bundles_are_verified(&site, run);
    its_incident_can_be_told(&site, run);
    daemon.stop();
}

fn what_was_purged_is_gone(site: &Site, entity: &str, run: &str) {
    let row = site.rows(&["audit", "query", "--kind", "KeyDestroyed", "--entity", entity]).remove(0);
    let day = text(&row, "recorded_at").get(..10).expect("a day").to_owned();
    for question in [&["entity", "show", entity][..], &["explain", entity]] {
        let _for_people = site.ctl(question).ends(6).says(run).says("demo-ocm-contacts").says(&day);
        let said = site.ctl(&[question, &["--output", "json"]].concat()).ends(6);
        let left = serde_json::json!(
            {"entity": entity, "run": run, "policy": "demo-ocm-contacts", "purged_on": day}
        );
        assert_eq!(said.json(), left, "nothing more than that");
        assert!(said.err.is_empty(), "it is an answer, no failure: {}", said.err);
    }
    let history = site.rows(&["entity", "history", entity]);
    let tells = |kind: &str| history.iter().any(|row| row["kind"] == kind);
    assert!(["PlanRequested", "RunRequested", "SagaStarted", "KeyDestroyed", "SagaEnded"].into_iter().all(tells));
    let opened = history.iter().filter(|row| row["kind"] == "EntityChanged");
    assert!(opened.clone().count() > 0 && opened.clone().all(|row| row["summary"] == "body=gone"));
    let all = site.ctl(&["audit", "query", "--output", "jsonl"]).ends(0).out;
    assert!(!all.contains("Lindqvist"), "the log names a person");
    assert_eq!(site.rows(&["entity", "list", "--state", "purged"]).len(), 3);
}

/// What the run did, for the case that it should not have: before and after its bundles are gone.
fn its_incident_can_be_told(site: &Site, run: &str) {
    let told = site.json(&["run", "incident", run]);
    assert_eq!((&told["purged"], &told["with_copy"], &told["hidden"]), (&json!(3), &json!(3), &json!(0)), "{told}");
    let _sentences =
        site.ctl(&["run", "incident", run]).ends(0).says("It purged 3 entities").says("3 have a copy in a bundle");
    let away = site.path("away");
    std::fs::rename(site.path("exports"), &away).expect("a rename");
    std::fs::create_dir(site.path("exports")).expect("a directory");
    let told = site.json(&["run", "incident", run]);
    assert_eq!((&told["with_copy"], &told["parts"][0]["copy"]), (&json!(0), &json!("missing")), "{told}");
    std::fs::remove_dir(site.path("exports")).expect("an empty directory");
    std::fs::rename(&away, site.path("exports")).expect("a rename");
    let _unknown = site.ctl(&["run", "incident", "R4000000"]).ends(2).says("there is no run");
}

fn bundles_are_verified(site: &Site, run: &str) {
    let bundles = site.rows(&["export", "list"]);
    assert_eq!(texts(&bundles, "run"), [run, run]);
    assert!(bundles.iter().all(|bundle| bundle["verified"] == true), "{bundles:?}");
    let manifests = texts(&bundles, "manifest");
    for manifest in &manifests {
        let prefix = manifest.get(..12).expect("digits");
        let rows = site.rows(&["export", "verify", prefix]);
        assert_eq!(rows[0]["state"], "intact", "{rows:?}");
    }
    let _short = site.ctl(&["export", "verify", "ab"]).ends(2).says("at least 8 digits");
    let _unknown = site.ctl(&["export", "verify", &"0".repeat(64)]).ends(2).says("no bundle has such a manifest");

    let folders: Vec<PathBuf> =
        fs::read_dir(site.path("exports")).expect("exports").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(folders.len(), 2);
    for folder in &folders {
        let items = folder.join("items.jsonl");
        let mut bytes = fs::read(&items).expect("the items");
        bytes[10] ^= 1;
        fs::write(&items, bytes).expect("a tampered file");
    }
    for manifest in &manifests {
        let said = site.ctl(&["export", "verify", manifest, "--output", "jsonl"]).ends(20);
        assert_eq!(said.rows()[0]["state"], "damaged", "{}", said.out);
    }
    fs::remove_file(folders[0].join("items.jsonl")).expect("a lost file");
    let states = manifests.iter().map(|manifest| {
        text(&site.ctl(&["export", "verify", manifest, "--output", "jsonl"]).ends(20).rows()[0], "state").to_owned()
    });
    let mut states: Vec<String> = states.collect();
    states.sort_unstable();
    assert_eq!(states, ["damaged", "missing"]);
    fs::rename(site.path("exports"), site.path("elsewhere")).expect("a rename");
    for manifest in &manifests {
        let said = site.ctl(&["export", "verify", manifest, "--output", "jsonl"]).ends(20);
        assert_eq!(said.rows()[0]["state"], "missing", "{}", said.out);
    }
    fs::rename(site.path("elsewhere"), site.path("exports")).expect("a rename");
}

#[test]
fn of_an_encrypted_bundle_nothing_is_said_that_was_not_seen() {
    let site = Site::new(&[("old-people", &encrypted(&old_people("P1Y", "P0D")))]);
    let daemon = with_people(&site, 3);
    let plan = planned(&site, "old-people");
    let plan = text(&plan, "plan");
    if !is_approved(&site, plan) {
        return daemon.stop();
    }
    let watched = site.ctl(&["run", "start", plan, "--watch", "--output", "jsonl"]).ends(0).rows();
    let run = text(watched.last().expect("a row"), "run");
    let bundles = site.rows(&["export", "list"]);
    let [manifest] = texts(&bundles, "manifest")[..] else { panic!("one bundle: {bundles:?}") };
    assert_eq!(bundles[0]["verified"], true, "{bundles:?}");
    let rows = site.rows(&["export", "verify", manifest]);
    assert_eq!((&rows[0]["state"], &rows[0]["checked"]), (&json!("intact"), &json!(3)), "{rows:?}");
    assert!(text(&rows[0], "message").contains("seen by its keyholders alone"), "{rows:?}");
    let told = site.json(&["run", "incident", run]);
    assert_eq!((&told["with_copy"], &told["encrypted"]), (&json!(3), &json!(3)), "{told}");
    let _sentences = site.ctl(&["run", "incident", run]).ends(0).says("nothing here can open them");

    let folder = fs::read_dir(site.path("exports")).expect("exports").next().expect("one").expect("an entry").path();
    let items = folder.join("items.jsonl.age");
    let mut bytes = fs::read(&items).expect("the items");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&items, bytes).expect("a tampered file");
    let said = site.ctl(&["export", "verify", manifest, "--output", "jsonl"]).ends(20);
    assert_eq!((text(&said.rows()[0], "state"), text(&said.rows()[0], "code")), ("damaged", "file_changed"));
    daemon.stop();
}

#[test]
fn what_nobody_approved_or_what_is_stale_never_runs() {
    let site = Site::new(&[("old-people", &old_people("P1Y", "P0D"))]);
    let daemon = with_people(&site, 3);
    let first = planned(&site, "old-people");
    let plan = text(&first, "plan");
    let unapproved = site.ctl(&["run", "start", plan]).ends(10).says("waits for an approval");
    assert!(unapproved.err.contains(&format!("hint: retentionctl plan show {plan}")), "{}", unapproved.err);
    assert_eq!(site.json(&["status"])["plans_waiting"], json!([plan]));
    let other = "0".repeat(64);
    let _not_what_was_seen = site.ctl(&["plan", "approve", plan, "--digest", &other]).ends(5).says("the digest is not");

    let _why = site.ctl(&["plan", "reject", plan]).ends(2).says("--reason");
    let rejected = site.json(&["plan", "reject", plan, "--reason", "the audit is still open"]);
    assert_eq!(rejected["plan"], plan);
    let _never = site.ctl(&["run", "start", plan]).ends(2).says("was rejected");
    let _never = site.ctl(&["plan", "approve", plan]).ends(2).says("was rejected");

    let second = planned(&site, "old-people");
    let plan = text(&second, "plan");
    if !is_approved(&site, plan) {
        return daemon.stop();
    }
    let _not_theirs = site
        .ctl_as(Person::Second, &["plan", "make", "old-people"])
        .ends(77)
        .says("this needs the role operator; uid 65534 has approver")
        .says("hint: an administrator can add uid:65534 to `operator`");
    let before = site.rows(&["policy", "list"]);
    site.write("policies/old-people.toml", &old_people("P2Y", "P0D"));
    daemon.until("the edited policy is active", || (site.rows(&["policy", "list"]) != before).then_some(()));
    assert_eq!(site.json(&["plan", "show", plan])["state"], "stale", "before anybody tries to run it");
    let again = site.ctl_as(Person::Second, &["plan", "approve", plan]);
    let _in_vain = again.ends(5).says("is stale: its policy has changed since; nothing was changed");
    let _stale = site.ctl(&["run", "start", plan, "--watch"]).ends(5).says("is stale: its policy has changed since");
    assert!(site.rows(&["run", "list"]).is_empty(), "no run is refused of what is known to be stale");
    assert_eq!(site.json(&["status"])["purged"], 0);
    daemon.stop();
}

#[test]
fn a_run_of_which_too_much_is_held_by_now_stops_and_says_what_to_do() {
    let site = Site::new(&[("old-people", &old_people("P1Y", "P0D"))]);
    let daemon = with_people(&site, 25);
    let plan = planned(&site, "old-people");
    let plan = text(&plan, "plan");
    if !is_approved(&site, plan) {
        return daemon.stop();
    }
    let items = site.rows(&["plan", "items", plan]);
    let held: Vec<&str> = texts(&items, "entity").into_iter().take(6).flat_map(|entity| ["--entity", entity]).collect();
    let hold = [&["hold", "place", "Case 17", "--reason", "court"][..], &held].concat();
    let _hold = site.json(&hold);
    let said = site.ctl(&["run", "start", plan, "--watch"]).ends(10).says("was stopped: 6 of the 25 items");
    assert!(said.err.contains("retentionctl plan make old-people"), "{}", said.err);
    let row = site.rows(&["run", "list"]).remove(0);
    assert_eq!(
        (&row["state"], &row["purged"], &row["stopped"]["drifted"]),
        (&json!("cancelled"), &json!(0), &json!(6))
    );
    let _again = site.ctl(&["run", "show", text(&row, "run")]).ends(10).says("was stopped");
    let status = site.ctl(&["status", "--output", "json"]).ends(10).json();
    assert!(
        status["attention"].as_array().expect("a list").iter().any(|told| told["what"] == "run_stopped"),
        "{status}"
    );
    assert_eq!(planned(&site, "old-people")["frozen"]["items"], 19);
    assert_eq!(site.json(&["status"])["attention"], json!([]));
    daemon.stop();
}

#[test]
fn a_hold_with_a_filter_keeps_what_matches_and_says_why() {
    let site = Site::new(&[("old-people", &old_people("P1Y", "P0D"))]);
    let daemon = with_people(&site, 3);
    let file = site.path("case-18.toml");
    fs::write(&file, "[where]\nfield = \"id\"\nop = \"eq\"\nvalue = \"1\"\n").expect("a file");
    let file = file.to_str().expect("a path");
    let place = |more: &[&str]| {
        site.ctl(&[&["hold", "place", "Case 18", "--reason", "court", "--output", "json"][..], more].concat())
    };
    let _kind = place(&["--where-file", file]).ends(2).says("--kind");
    let wrong = "{ field = \"emial1\", op = \"eq\", value = \"ada@example.org\" }";
    let _field = place(&["--kind", "contact", "--where", wrong]).ends(2).says("did you mean `email1`?");
    let placed = place(&["--kind", "contact", "--where-file", file]).ends(0).json();
    let hold = text(&placed, "hold");
    let shown = daemon.until("the filter to have judged", || {
        Some(site.json(&["hold", "show", hold])).filter(|shown| shown["unjudged"] == 0)
    });
    assert_eq!((&shown["caught"], &shown["unreadable"]), (&json!(1), &json!(0)), "{shown}");
    assert!(text(&shown, "where").contains("value = \"1\""), "{shown}");
    let listed = site.rows(&["hold", "list"]);
    assert_eq!((listed[0].get("where"), &listed[0]["caught"]), (None, &json!(1)), "{listed:?}");
    let contacts = site.rows(&["entity", "list", "--kind", "contact"]);
    let explained = texts(&contacts, "entity").into_iter().map(|contact| site.json(&["explain", contact]));
    let held: Vec<Value> = explained.filter(|explained| explained["verdict"] == "held").collect();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["held_by_filter"], json!([{ "hold": hold, "why": "caught" }]));
    assert_eq!(planned(&site, "old-people")["frozen"]["items"], 2);
    daemon.stop();
}

#[test]
fn a_hold_keeps_what_it_covers_until_it_is_released() {
    let site = Site::new(&[("old-people", &old_people("P1Y", "P0D"))]);
    let daemon = with_people(&site, 3);
    let contacts = site.rows(&["entity", "list", "--kind", "contact"]);
    let contacts = texts(&contacts, "entity");
    let (held, later) = (contacts[0], contacts[1]);
    let _why = site.ctl(&["hold", "place", "Case 17", "--entity", held]).ends(2).says("--reason");
    let place =
        |entity: &str| site.ctl(&["hold", "place", "Case 17", "--entity", entity, "--reason", "court", "-o", "json"]);
    let _unknown = place("E4000000").ends(2).says("there is no entity");
    let first = place(held).ends(0).json();
    let explained = site.json(&["explain", held]);
    assert_eq!((&explained["verdict"], &explained["holds"]), (&json!("held"), &json!([first["hold"]])), "{explained}");

    let plan = planned(&site, "old-people");
    assert_eq!(plan["frozen"]["items"], 2, "{plan}");
    if !is_approved(&site, text(&plan, "plan")) {
        return daemon.stop();
    }
    // Placed after the plan was approved: the run looks again at each item.
    let _second = place(later).ends(0);
    let rows = site.ctl(&["run", "start", text(&plan, "plan"), "--watch", "--output", "jsonl"]).ends(0).rows();
    let last = rows.last().expect("a row");
    assert_eq!((&last["purged"], &last["skipped"]), (&json!(1), &json!(1)), "{last}");
    let present = site.rows(&["entity", "list", "--kind", "contact", "--state", "present"]);
    assert_eq!(texts(&present, "entity"), [held, later]);

    let holds = site.rows(&["hold", "list"]);
    assert_eq!(texts(&holds, "name"), ["Case 17", "Case 17"]);
    let case = ["--kind", "deal", "--policy", "old-people", "--owner", "legal", "--review-at", "2020-01-01"];
    let wide = [&["hold", "place", "Case 18", "--reason", "court"][..], &case, &["--output", "json"]].concat();
    let wide = site.ctl(&wide).ends(0).json();
    let waiting = site.rows(&["hold", "list", "--due-for-review"]);
    assert_eq!((&waiting[0]["hold"], &waiting[0]["standing"]), (&wide["hold"], &json!(true)), "{waiting:?}");
    assert_eq!(site.json(&["explain", later])["verdict"], "held", "two cases cover it");
    let wide = text(&wide, "hold");
    let _delayed = site.ctl(&["hold", "release", wide, "--reason", "closed"]).ends(0);
    let _again = site.ctl(&["hold", "release", wide, "--reason", "closed"]).ends(2).says("was released before, and");
    assert_eq!(site.rows(&["hold", "list"]).len(), 3, "it protects for 30 days still");
    assert_eq!(site.rows(&["hold", "list", "--released"]).len(), 1);
    let hold = text(&first, "hold");
    let _released = site.ctl(&["hold", "release", hold, "--delay", "P0D", "--reason", "closed"]).ends(0).says(hold);
    let _once = site.ctl(&["hold", "release", hold, "--reason", "closed"]).ends(2).says("there is no hold in force");
    assert_eq!(site.rows(&["hold", "list"]).len(), 2);
    assert_eq!(site.json(&["explain", held])["verdict"], "held", "the policy is held for 30 days still");
    let _paused = site.ctl(&["pause", "--policy", "old-people", "--reason", "look"]).ends(0);
    assert_eq!(site.json(&["status"])["paused"], json!(["policy old-people"]));
    let _resumed = site.ctl(&["resume", "--policy", "old-people", "--reason", "looked"]).ends(0);
    let _again = site.ctl(&["resume", "--policy", "old-people", "--reason", "looked"]).ends(2).says("not paused");
    let _believed = site.ctl(&["clock", "confirm", "--reason", "compared"]).ends(2).says("the clock is believed");
    daemon.stop();
}

#[test]
fn quarantine_hides_and_gives_back_and_a_run_can_be_paused_and_cancelled() {
    let site = Site::new(&[("old-people", &old_people("P1Y", "P30D"))]);
    let daemon = with_people(&site, 3);
    let plan = planned(&site, "old-people");
    if !is_approved(&site, text(&plan, "plan")) {
        return daemon.stop();
    }
    let run = site.json(&["run", "start", text(&plan, "plan")]);
    let run = text(&run, "run");
    let hidden = daemon.until("all are in quarantine", || {
        let rows = site.rows(&["quarantine", "list"]);
        (rows.len() == 3).then_some(rows)
    });
    let entities = texts(&hidden, "entity");
    let _hidden = site.ctl(&["entity", "show", entities[0]]).ends(2).says("is in quarantine and hidden");
    let states = |state: &str| site.rows(&["entity", "list", "--kind", "contact", "--state", state]).len();
    assert_eq!((states("quarantined"), states("present")), (3, 0));
    let status = site.json(&["status"]);
    assert_eq!((&status["quarantined"], &status["runs_active"]), (&json!(3), &json!([run])), "{status}");

    // Whoever answers a data subject is told of the copies of what waits.
    let asked = site.json(&["subject", "access", "--record", entities[1]]);
    let request = text(&asked, "request");
    let _hers = site.ctl(&["subject", "identify", request, "--how", "known"]).ends(0);
    let explained = site.json(&["explain", entities[1]]);
    assert_eq!(explained["quarantine"], hidden[1], "{explained}");
    let copies = || site.json(&["subject", "show", request])["copies"].clone();
    assert_eq!((&copies()[0]["records"], &copies()[0]["goes_with_the_answer"]), (&json!(1), &json!(false)));

    let _back = site.ctl(&["quarantine", "restore", entities[0], "--reason", "a customer again"]).ends(0);
    let _once =
        site.ctl(&["quarantine", "restore", entities[0], "--reason", "again"]).ends(2).says("no entity in quarantine");
    assert_eq!((states("quarantined"), states("present")), (2, 1));
    let _shown = site.ctl(&["entity", "show", entities[0]]).ends(0).says("Somebody");

    let state = |run: &str| text(&site.json(&["run", "show", run]), "state").to_owned();
    let _paused = site.ctl(&["run", "pause", run, "--reason", "somebody called"]).ends(0);
    assert_eq!(state(run), "paused");
    let _once = site.ctl(&["run", "pause", run]).ends(2).says("is not in a state for that");
    let _resumed = site.ctl(&["run", "resume", run]).ends(0);
    assert_eq!(state(run), "running");
    // A restart changes nothing of that.
    daemon.stop();
    let daemon = site.start();
    assert_eq!((state(run).as_str(), states("quarantined")), ("running", 2));

    let _why = site.ctl(&["run", "cancel", run]).ends(2).says("--reason");
    let _cancelled = site.ctl(&["run", "cancel", run, "--reason", "wrong scope"]).ends(0);
    let watched = site.ctl(&["run", "watch", run, "--output", "jsonl"]).ends(0).rows();
    assert_eq!(watched.last().map(|row: &Value| &row["state"]), Some(&json!("cancelled")));
    assert_eq!((states("quarantined"), states("present")), (0, 3));
    assert_eq!(site.json(&["status"])["purged"], 0);
    assert_eq!(copies(), json!([]), "what was undone is gone");
    daemon.stop();
}

#[test]
fn a_policy_that_wants_an_administrator_is_not_approved_by_anybody_else() {
    let policy = old_people("P1Y", "P0D").replace("[approval]\n", "[approval]\nrole = \"admin\"\n");
    let site = Site::new(&[("old-people", &policy)]);
    let daemon = with_people(&site, 3);
    let plan = planned(&site, "old-people");
    let plan = text(&plan, "plan");
    if !has_second_person() {
        return daemon.stop();
    }
    let approve = || site.ctl_as(Person::Second, &["plan", "approve", plan, "--comment", "seen"]);
    let _refused = approve().ends(77).says("wants its approvals from somebody with the role admin");
    assert_eq!(site.json(&["plan", "show", plan])["approvals"], json!([]));
    let second = format!("\", \"uid:{SECOND_UID}\"]");
    let config = site.config();
    let admins = config.lines().find(|line| line.starts_with("admin = ")).expect("the administrators");
    site.write("config.toml", &config.replace(admins, &admins.replace("\"]", &second)));
    daemon.until("the second person is an administrator too", || (approve().code == 0).then_some(()));
    daemon.stop();
}

#[test]
fn what_a_person_has_to_decide_about_goes_by_a_list_a_decision_and_somebody_elses_approval() {
    let asking = old_people("P1Y", "P0D").replace("kind = \"purge\"", "kind = \"review\"");
    let site = Site::new(&[("old-people", &asking.replace("expect = \"due\"", "expect = \"review\""))]);
    let daemon = with_people(&site, 4);
    let policy = "old-people";
    let empty = site.json(&["plan", "make", policy, "--wait"]);
    assert_eq!((&empty["state"], &empty["frozen"]["items"]), (&json!("empty"), &json!(0)), "{empty}");
    let listed = site.ctl(&["review", "list", policy, "--output", "jsonl"]).ends(0);
    let (lines, rows) = (listed.out.clone(), listed.rows());
    assert_eq!(rows.len(), 4);
    let first_page = site.rows(&["review", "list", policy, "--limit", "3"]);
    assert_eq!(first_page, rows[..3], "a page is a part of the list");

    let kept = text(&rows[3], "entity").to_owned();
    let keep = site.json(&["review", "decide", policy, &kept, "--keep-until", "2100-01-01", "--reason", "a claim"]);
    let explained = site.json(&["explain", &kept]);
    assert_eq!((&explained["verdict"], &explained["reasons"][0]["reason"]), (&json!("keep"), &json!("kept_by_review")));
    assert_eq!(explained["reviews"][0]["reason"], "a claim");
    assert_eq!(site.json(&["review", "show", text(&keep, "review")])["items"][0]["entity"], kept.as_str());

    let file = site.path("waiting.jsonl");
    let wrong = lines.replacen("\"version\":", "\"version\":9", 1);
    fs::write(&file, wrong).expect("a list");
    let from = file.to_str().expect("a path");
    let dispose = ["review", "decide", policy, "--from", from, "--dispose", "--reason", "seen"];
    let _another = site.ctl(&dispose).ends(2).says("nothing was decided");
    fs::write(&file, lines.lines().take(3).map(|line| format!("{line}\n")).collect::<String>()).expect("a list");
    let review = site.json(&dispose);
    assert_eq!(site.rows(&["review", "list", policy]), Vec::<Value>::new());
    let both =
        site.ctl(&["review", "decide", policy, "E1", "--dispose", "--keep-until", "2100-01-01", "--reason", "x"]);
    let _one_of_them = both.ends(2);

    let plan = planned(&site, policy);
    assert_eq!(plan["frozen"]["items"], 3, "{plan}");
    assert_eq!(plan["reviews"][0]["review"], review["review"], "{plan}");
    let plan = text(&plan, "plan");
    let _own = site.ctl(&["plan", "approve", plan]).ends(77);
    let asked = site.rows(&["audit", "query", "--kind", "ReviewDecided", "--policy", policy]);
    assert_eq!(asked.len(), 2);
    if is_approved(&site, plan) {
        let watched = site.ctl(&["run", "start", plan, "--watch", "--output", "jsonl"]).ends(0).rows();
        let last = watched.last().expect("a row");
        assert_eq!((&last["state"], &last["purged"]), (&json!("completed"), &json!(3)), "{last}");
    }
    daemon.stop();
}
