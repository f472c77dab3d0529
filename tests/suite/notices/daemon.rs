//! Notices of the real daemon, to a program.

use std::fs;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::notice::{Notice, NoticeFailed};
use retention_core::view::Condition;
use retention_tests::daemon::{Daemon, Site};
use retentiond::clock::WallClock;
use retentiond::store::open::daemon_draft;
use retentiond::store::{Options, Store};
use serde_json::{Value, json};

const POLICY: &str = include_str!("../../../policies/demo-ocm-contacts.toml");

/// Adds a channel that gives each letter to a shell script.
fn tell(site: &Site, script: &str) {
    let script = script.replace("GOT", &site.path("got").display().to_string());
    let channel = format!(
        "[[notify]]\nname = \"page\"\nkind = \"program\"\nbefore = []\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n"
    );
    site.write("config.toml", &format!("{}{channel}", site.config()));
}

fn got(site: &Site) -> Vec<Value> {
    let text = fs::read_to_string(site.path("got")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a letter")).collect()
}

fn take_in(site: &Site, daemon: &Daemon<'_>) {
    site.drop_samples();
    daemon.until("deliveries are taken in", || {
        let rows = site.rows(&["intake", "list"]);
        (!rows.is_empty() && rows.iter().all(|row| row["end"] == "done")).then_some(())
    });
}

#[test]
fn a_plan_is_told_to_a_program_once_also_after_a_restart() {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    tell(&site, "cat >> GOT && echo >> GOT");
    let daemon = site.start();
    take_in(&site, &daemon);
    let _made = site.ctl(&["plan", "make", "demo-ocm-contacts"]);
    let told = daemon.until("the plan is told", || got(&site).first().cloned());
    assert!(["plan_needs_approval", "plan_stopped"].contains(&told["type"].as_str().expect("a type")), "{told}");
    assert_eq!(told["data"]["facts"]["policy"], "demo-ocm-contacts");
    daemon.until("that is recorded", || {
        let rows = site.rows(&["audit", "query", "--kind", "NoticeSent"]);
        (!rows.is_empty()).then_some(())
    });
    daemon.stop();
    let daemon = site.start();
    let _made = site.ctl(&["plan", "make", "demo-ocm-contacts"]);
    let all = daemon.until("the second plan is told", || Some(got(&site)).filter(|all| all.len() > 1));
    let taken = site.json(&["notice", "test", "page"]);
    assert!(taken["taken"] == true && taken["code"].is_null(), "{taken}");
    assert_eq!(got(&site).last().map(|letter| letter["type"].clone()), Some("test".into()));
    let ids: Vec<&Value> = all.iter().map(|letter| &letter["data"]["id"]).collect();
    assert!(all.len() == 2 && ids[0] != ids[1], "{all:?}");
    daemon.stop();
}

#[test]
fn a_program_that_fails_is_seen_in_the_status_and_keeps_nothing_waiting() {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    tell(&site, "exit 3");
    let daemon = site.start();
    take_in(&site, &daemon);
    let _made = site.ctl(&["plan", "make", "demo-ocm-contacts"]);
    let alarm = daemon.until("the failure is seen", || {
        let status = site.ctl(&["status", "--output", "json"]).json();
        let attention = status["attention"].as_array().cloned().unwrap_or_default();
        attention.into_iter().find(|alarm| alarm["what"] == "notices_undelivered")
    });
    assert_eq!((&alarm["channel"], &alarm["code"]), (&"page".into(), &"program-exit-3".into()), "{alarm}");
    let _alarm = site.ctl(&["status"]).ends(10);
    let failed = site.ctl(&["notice", "test", "page", "--output", "json"]).ends(10).says("program-exit-3").json();
    assert_eq!(failed["taken"], false, "{failed}");
    let _unknown = site.ctl(&["notice", "test", "nobody"]).ends(2).says("has no channel of this name");
    daemon.stop();
}

/// Does what three days of failures would do, while the daemon is away.
fn give_up(site: &Site, subject: &str, thing: &str) {
    let plan = subject.parse().expect("a plan");
    let notice =
        if thing == "plan_stopped" { Notice::PlanStopped { plan } } else { Notice::PlanNeedsApproval { plan } };
    let options = Options::usual(&site.path("state"), &site.path("root.key"), Arc::new(WallClock)).expect("options");
    let store = Store::open(&options, &mut |_, _| {}).expect("the store opens");
    let (channel, code) = ("page".to_owned(), "program-exit-3".to_owned());
    let failed = Event::NoticeFailed(NoticeFailed { channel, notice, tries: 80, code });
    let _given_up = store.append_drafts(vec![daemon_draft(failed)], Condition::None).expect("the log takes it");
}

#[test]
fn what_was_given_up_is_listed_and_acknowledged_and_then_no_alarm() {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    tell(&site, "exit 3");
    let daemon = site.start();
    take_in(&site, &daemon);
    let _made = site.ctl(&["plan", "make", "demo-ocm-contacts"]);
    let owed = daemon.until("the notice is tried", || {
        let rows = site.rows(&["notice", "list", "--open"]);
        rows.into_iter().find(|row| row["tries"].as_u64() > Some(0))
    });
    assert_eq!(
        (&owed["state"], &owed["code"], &owed["channel"]),
        (&json!("owed"), &json!("program-exit-3"), &json!("page"))
    );
    let word = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    let id = word(&owed, "notice");
    let acknowledge =
        |id: &str| site.ctl(&["notice", "acknowledge", id, "--reason", "seen on the page", "--output", "json"]);
    let _early = acknowledge(&id).ends(2).says("is still tried on page").says("retentionctl notice test page");
    let _strange = acknowledge("P12").ends(2).says("a notice is named by its id");
    let _reasonless = site.ctl(&["notice", "acknowledge", &id]).ends(2);
    daemon.stop();

    give_up(&site, &word(&owed, "subject"), &word(&owed, "thing"));
    let daemon = site.start();
    let _alarm = site.ctl(&["status"]).ends(10).says("notices_undelivered");
    let rows = site.rows(&["notice", "list", "--state", "given-up"]);
    assert_eq!((rows.len(), &rows[0]["notice"], &rows[0]["tries"]), (1, &json!(id), &json!(80)), "{rows:?}");
    let _table = site.ctl(&["notice", "list", "--open"]).ends(0).says(&id).says("given_up");
    assert_eq!(acknowledge(&id).ends(0).json()["acknowledged"], 1);
    let _calm = site.ctl(&["status"]).ends(0);
    assert_eq!(acknowledge(&id).ends(0).json(), json!({"acknowledged": 0, "event": null}));
    assert_eq!(site.rows(&["notice", "list", "--open"]), Vec::<Value>::new());
    assert!(site.rows(&["notice", "list", "--state", "acknowledged"])[0]["acknowledged_at"].is_string());
    daemon.stop();
    let daemon = site.start();
    let _calm = site.ctl(&["status"]).ends(0);
    daemon.stop();
}
