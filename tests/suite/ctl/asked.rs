//! Questions about what was taken in, and about the log.

use std::fs;

use retention_tests::daemon::{Daemon, Site, program};
use serde_json::{Value, json};

use super::{old_people, people, policies_active, shipped, taken_in, text, texts};

#[test]
fn what_was_taken_in_can_be_asked_about() {
    let crm_alone =
        shipped("demo-ocm-contacts").replace("kind = \"contact\"", "kind = \"contact\"\nsource = [\"crm\"]");
    let site = Site::new(&[("demo-ocm-contacts", &crm_alone), ("old-people", &old_people("P1Y", "P0D"))]);
    let daemon = site.start();
    policies_active(&site, &daemon);
    site.drop_samples();
    site.drop_people("old", &people(1..4, "2015-05-01"));
    let intakes = taken_in(&site, &daemon, 3);

    let status = site.json(&["status"]);
    assert_eq!((&status["store"]["state"], &status["attention"]), (&json!("read_write"), &json!([])), "{status}");
    assert_eq!((&status["policies"], &status["caller"]["uid"]), (&json!(2), &json!(site.uid())), "{status}");
    let _table = site.ctl(&["status"]).ends(0).says("FIELD").says("store state").says("read_write");

    intakes_can_be_asked_about(&site, &intakes);
    entities_can_be_asked_about(&site);
    policies_can_be_asked_about(&site);
    configurations_can_be_checked(&site);
    daemon.stop();
}

#[test]
fn a_set_that_loosens_what_is_locked_is_not_compared_as_if_it_could_be_loaded() {
    let locked = |period: &str| {
        old_people(period, "P0D").replace("state = \"enforce\"\n", "state = \"enforce\"\nlock = \"ratchet\"\n")
    };
    let site = Site::new(&[("old-people", &locked("P2Y"))]);
    let daemon = site.start();
    policies_active(&site, &daemon);
    let other = site.path("other");
    fs::create_dir(&other).expect("a directory");
    let diff = || site.ctl(&["policy", "diff", other.to_str().expect("a path")]);
    let _removed = diff().ends(78).says("would not be loaded").says("cannot be removed");
    fs::write(other.join("old-people.toml"), locked("P1Y")).expect("a file");
    let _looser = diff().ends(78).says("would not be loaded").says("`period` is locked");
    fs::write(other.join("old-people.toml"), locked("P3Y")).expect("a file");
    let _stricter = diff().ends(0);
    daemon.stop();
}

fn intakes_can_be_asked_about(site: &Site, intakes: &[Value]) {
    let of = |source: &str| intakes.iter().filter(|row| row["source"] == source).collect::<Vec<_>>();
    assert_eq!((of("crm").len(), of("people").len()), (2, 1));
    let one = of("people")[0];
    let counts = ["rows", "added", "changed", "rejected"].map(|name| one[name].as_u64());
    assert_eq!(counts, [Some(3), Some(3), Some(0), Some(0)], "{one}");
    let shown = site.json(&["intake", "show", text(one, "intake")]);
    assert_eq!((&shown["intake"], &shown["end"]), (&one["intake"], &json!("done")), "{shown}");
    let _absent = site.ctl(&["intake", "show", "E4000000"]).ends(2).says("there is no").says("hint:");
    assert_eq!(site.rows(&["intake", "list", "--limit", "1"]).len(), 1);
    let _table = site.ctl(&["intake", "list"]).ends(0).says("INTAKE").says("people");
}

fn entities_can_be_asked_about(site: &Site) {
    let contacts = site.rows(&["entity", "list", "--kind", "contact"]);
    let of = |source: &str| contacts.iter().filter(|row| row["source"] == source).collect::<Vec<_>>();
    assert_eq!((of("crm").len(), of("people").len()), (4, 3));
    let one = text(of("people")[0], "entity");
    let mailbox = text(of("people")[0], "mailbox");
    assert!(site.rows(&["entity", "list", "--mailbox", mailbox]).len() >= 3);
    assert_eq!(site.rows(&["entity", "list", "--state", "quarantined"]).len(), 0);
    let _no_such_kind = site.ctl(&["entity", "list", "--kind", "person"]).ends(2).says("no such kind");
    let all = site.rows(&["entity", "list"]);
    let first = site.rows(&["entity", "list", "--limit", "2"]);
    let after = texts(&first, "entity")[1].trim_start_matches('E').to_owned();
    let rest = site.rows(&["entity", "list", "--after", &after]);
    assert_eq!([first, rest].concat(), all);

    let shown = site.json(&["entity", "show", one]);
    assert_eq!((&shown["external_id"], &shown["entity"]["kind"]), (&json!("1"), &json!("contact")), "{shown}");
    let _table = site.ctl(&["entity", "show", one]).ends(0).says("Somebody");
    let history = site.rows(&["entity", "history", one]);
    assert_eq!(history[0]["kind"], "EntityChanged", "{history:?}");
    assert!(!history[0].to_string().contains("Somebody"), "the history shows content");
    for verb in ["show", "history"] {
        let hint = "hint: retentionctl entity list";
        let _unknown = site.ctl(&["entity", verb, "E4000000"]).ends(2).says("there is no entity E4000000").says(hint);
    }
    let opened = site.rows(&["audit", "query", "--kind", "RecordsOpened"]);
    assert_eq!(opened.len(), 2, "each reading of content is an event");

    let due = site.json(&["explain", one]);
    assert_eq!((&due["verdict"], &due["policies"][0]["policy"]), (&json!("due"), &json!("old-people")), "{due}");
    assert_eq!(due["policies"][0]["weight"]["counts"], "decides", "{due}");
    let said = due["text"].as_array().expect("sentences");
    assert!(said.len() >= 4 && said[0].as_str().is_some_and(|line| line.contains("is due")), "{due}");
    let people = site.ctl(&["explain", one]).ends(0).says("What decides: its period counts from");
    for line in said.iter().skip(1) {
        assert!(people.out.contains(line.as_str().expect("a sentence")), "the same text for everybody");
    }
    let same = site.json(&["policy", "explain", one]);
    assert_eq!((&same["verdict"], &same["reasons"]), (&due["verdict"], &due["reasons"]));
    let _unknown = site.ctl(&["explain", "E4000000"]).ends(2).says("E4000000 is not an entity");
}

fn policies_can_be_asked_about(site: &Site) {
    let policies = site.rows(&["policy", "list"]);
    assert_eq!(texts(&policies, "policy"), ["demo-ocm-contacts", "old-people"]);
    assert_eq!((&policies[1]["population"], &policies[1]["due"]), (&json!(3), &json!(3)), "{policies:?}");
    let due_by = |day: &str| site.rows(&["policy", "list", "--due-by", day])[1]["due"].clone();
    assert_eq!((due_by("2015-06-01"), due_by("2016-06-01")), (json!(0), json!(3)));
    let shown = site.json(&["policy", "show", "old-people"]);
    assert_eq!(shown["text"], old_people("P1Y", "P0D"));
    let _unknown = site.ctl(&["policy", "show", "no-such"]).ends(2).says("there is no");

    let coverage = site.rows(&["policy", "coverage"]);
    let of = |source: &str, kind: &str| {
        let row = coverage.iter().find(|row| row["source"] == source && row["kind"] == kind).expect("a row");
        ["entities", "covered", "uncovered", "waiting"].map(|name| row[name].as_u64().expect("a number"))
    };
    assert_eq!(of("people", "contact"), [3, 3, 0, 0], "{coverage:?}");
    assert_eq!(of("crm", "contact")[0], 4, "{coverage:?}");
    let [deals, covered, uncovered, _] = of("crm", "deal");
    assert_eq!((covered, uncovered), (0, deals), "no policy is about deals: {coverage:?}");
    let _table = site.ctl(&["policy", "coverage"]).ends(0).says("UNCOVERED").says("old-people");

    let active = site.ctl(&["document", "deletion-concept"]).ends(0).says("old-people: in force");
    let policies = site.path("policies");
    let offline = site.ctl(&["document", "deletion-concept", policies.to_str().expect("a path")]).ends(0);
    assert_eq!(active.out, offline.out, "the active policies and their files give the same document");

    let schedules = site.rows(&["schedule", "next"]);
    let scheduled = schedules.iter().find(|row| row["policy"] == "old-people").expect("its schedule");
    assert_eq!((&scheduled["cron"], &scheduled["due"]), (&json!("0 3 1 jan *"), &json!(3)), "{scheduled}");
    assert!(text(scheduled, "next_at").contains("-01-01T03:00:00Z"), "{scheduled}");
    let _something_due = site.ctl(&["schedule", "next", "--exit-code"]).ends(0);

    let other = site.path("other");
    std::fs::create_dir(&other).expect("a directory");
    site.write("other/old-people.toml", &old_people("P90Y", "P0D"));
    let diff = || site.ctl(&["policy", "diff", other.to_str().expect("a path"), "--output", "jsonl"]);
    let rows = diff().ends(78).says("would not be loaded as it is; examples that fail: 1").says("policy check").rows();
    site.write("other/old-people.toml", &old_people("P90Y", "P0D").replace("expect = \"due\"", "expect = \"keep\""));
    assert_eq!(diff().ends(0).rows(), rows);
    let of = |policy: &str| rows.iter().find(|row| row["policy"] == policy).cloned().expect("its row");
    let (changed, removed) = (of("old-people"), of("demo-ocm-contacts"));
    assert_eq!((&changed["change"], &changed["newly_kept"]), (&json!("changed"), &json!(3)), "{changed}");
    assert_eq!((&removed["change"], &removed["due_after"]), (&json!("removed"), &json!(0)), "{removed}");
    site.write("other/old-people.toml", "schema = 1\n");
    let _invalid = diff().ends(78).says("old-people.toml");
}

fn configurations_can_be_checked(site: &Site) {
    let own = site.ctl(&["config", "check", "--output", "json"]).ends(0).json();
    assert_eq!(own, json!([]));
    site.write("bad.toml", &site.config().replace("kind = \"ocm\"", "kind = \"ocn\""));
    let line = 1 + site.config().lines().position(|line| line == "kind = \"ocm\"").expect("the line");
    let path = site.path("bad.toml");
    let found = site.ctl(&["config", "check", path.to_str().expect("a path"), "--output", "jsonl"]).ends(78).rows();
    assert_eq!((&found[0]["line"], &found[0]["severity"]), (&json!(line), &json!("error")), "{found:?}");
    let _no_file = site.ctl(&["config", "check", "/no/such/file"]).ends(2).says("cannot be read");
}

#[test]
fn the_log_answers_by_every_filter_and_in_every_format() {
    let site = Site::new(&[("old-people", &old_people("P1Y", "P0D"))]);
    let daemon = site.start();
    policies_active(&site, &daemon);
    site.drop_people("old", &people(1..3, "2015-05-01"));
    let _intakes = taken_in(&site, &daemon, 1);
    let plan = super::planned(&site, "old-people");
    let plan = text(&plan, "plan");
    if !super::is_approved(&site, plan) {
        return daemon.stop();
    }
    let run = site.json(&["run", "start", plan]);
    let run = text(&run, "run");
    let _over = site.ctl(&["run", "watch", run]).ends(0);

    let asked = |filter: &[&str]| site.rows(&[&["audit", "query"], filter].concat());
    let all = asked(&["--oldest-first"]);
    let positions = |rows: &[Value]| rows.iter().map(|row| row["position"].as_u64()).collect::<Vec<_>>();
    assert_eq!(positions(&all), (1..=all.len() as u64).map(Some).collect::<Vec<_>>(), "the log has no holes");
    let newest_first = asked(&[]);
    assert_eq!(positions(&newest_first), positions(&all).into_iter().rev().collect::<Vec<_>>());

    let like = |what: &str, wanted: &dyn Fn(&Value) -> bool, filter: &[&str]| {
        let expected: Vec<Value> = all.iter().filter(|row| wanted(row)).cloned().collect();
        assert!(!expected.is_empty(), "nothing has {what}");
        assert_eq!(asked(&[filter, &["--oldest-first"]].concat()), expected, "{what}");
    };
    let person = format!("uid:{}", site.uid());
    let entity = text(&site.rows(&["entity", "list", "--state", "purged"])[0], "entity").to_owned();
    let middle = text(&all[all.len() / 2], "recorded_at").to_owned();
    let at = |row: &Value| text(row, "recorded_at").parse::<jiff::Timestamp>().expect("an instant");
    let middle_at = at(&all[all.len() / 2]);
    like("a type", &|row| row["kind"] == "KeyDestroyed", &["--kind", "KeyDestroyed"]);
    like("a person", &|row| row["actor"] == person.as_str(), &["--actor", &person]);
    like("the daemon", &|row| row["actor"] == "daemon", &["--actor", "daemon"]);
    // About an entity is what happened to it, and what its run did with it.
    let about = asked(&["--entity", &entity]);
    assert!(newest_first.iter().filter(|row| row["entity"] == entity.as_str()).all(|row| about.contains(row)));
    assert!(about.iter().all(|row| row["entity"].is_null() || row["entity"] == entity.as_str()), "{about:?}");
    assert!(about.iter().any(|row| row["run"] == run && row["kind"] == "SagaEnded"), "{about:?}");
    like("a run", &|row| row["run"] == run, &["--run", run]);
    like("a beginning", &|row| at(row) >= middle_at, &["--since", &middle]);
    like("an end", &|row| at(row) < middle_at, &["--until", &middle]);
    like(
        "two filters",
        &|row| row["run"] == run && row["kind"] == "StepStarted",
        &["--run", run, "--kind", "StepStarted"],
    );
    let under = asked(&["--policy", "old-people", "--oldest-first"]);
    assert_eq!(texts(&under, "kind")[..2], ["PolicyRecorded", "PlanRequested"]);
    assert_eq!(texts(&under, "kind").last(), Some(&"RunEnded"));
    let unknown = |filter: &[&str]| site.ctl(&[&["audit", "query"], filter].concat()).ends(2);
    let _policy = unknown(&["--policy", "old-peopel"]).says("no event names").says("did you mean `old-people`?");
    let _entity = unknown(&["--entity", "E4000000"]).says("there is no entity E4000000");
    let _run = unknown(&["--run", "R4000000"]).says("there is no run R4000000");
    assert_eq!(asked(&["--limit", "2", "--after", "5"]), newest_first[newest_first.len() - 4..][..2]);
    let _no_such_type = site.ctl(&["audit", "query", "--kind", "Purged"]).ends(2).says("KeyDestroyed");

    let narrow = ["audit", "query", "--kind", "KeyDestroyed", "--output"];
    let formatted = |format: &str| site.ctl(&[&narrow[..], &[format]].concat()).ends(0).out;
    let table = formatted("table");
    assert!(table.starts_with(" POSITION") && table.lines().count() == 3, "{table}");
    assert_eq!(serde_json::from_str::<Vec<Value>>(&formatted("json")).expect("one document").len(), 2);
    assert_eq!(formatted("jsonl").lines().count(), 2);
    let csv = formatted("csv");
    assert!(csv.starts_with("position,recorded_at,kind,actor,entity,run,summary\r\n"), "{csv}");
    assert_eq!(csv.lines().count(), 3);
    daemon.stop();
}

#[test]
fn an_event_is_proven_without_the_daemon_and_the_log_goes_on_after_a_start() {
    let site = Site::new(&[("demo-ocm-contacts", &shipped("demo-ocm-contacts"))]);
    let daemon = site.start();
    let newest = |daemon: &Daemon<'_>, least: u64| {
        daemon.until("a checkpoint covers it", || {
            let rows = site.rows(&["audit", "checkpoints"]);
            rows.last().filter(|row| row["size"].as_u64().is_some_and(|size| size >= least)).cloned()
        })
    };
    let first = newest(&daemon, 2);
    let _beyond = site.ctl(&["audit", "prove", "4000000"]).ends(2).says("there is no event 4000000");
    let path = site.path("event.proof");
    let file = path.to_str().expect("a path that is text");
    let _proof = site.json(&["audit", "prove", "2", "--into", file]);
    let keys = site.rows(&["audit", "keys"]);
    let key = text(&keys[0], "verifier_key").to_owned();
    assert_eq!(keys.len(), 1);
    daemon.stop();

    let held =
        program("retentionctl", &["audit", "verify-proof", file, "--key", &key, "--output", "json"]).ends(0).json();
    assert_eq!((&held["holds"], &held["position"]), (&json!(true), &json!(2)), "{held}");
    let proof = fs::read_to_string(&path).expect("a proof");
    fs::write(&path, proof.replacen("index 1", "index 0", 1)).expect("a file");
    let _forged = program("retentionctl", &["audit", "verify-proof", file, "--key", &key]).ends(20);
    fs::write(&path, &proof).expect("a file");
    let other = key.replace(&key[key.len() - 4..], "AAA=");
    let _stranger = program("retentionctl", &["audit", "verify-proof", file, "--key", &other]).ends(2).says("no key");
    let pasted = format!(" {key}\n");
    let _holds = program("retentionctl", &["audit", "verify-proof", file, "--key", &pasted]).ends(0);

    // Hashes are made again, and the old checkpoints still hold.
    fs::write(site.path("state/tree/hashes"), b"").expect("a file");
    let daemon = site.start();
    let size = first["size"].as_u64().expect("a size");
    let _again = newest(&daemon, size + 1);
    assert_eq!(site.rows(&["audit", "checkpoints", "--limit", "1"])[0], first);
    assert_eq!(site.rows(&["audit", "keys"]).len(), 1);
    assert_eq!(site.json(&["status"])["attention"], json!([]));
    daemon.stop();
}
