//! Notices of the real daemon, to a program.

use std::fs;

use retention_tests::daemon::{Daemon, Site};
use serde_json::Value;

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
    let _taken = site.ctl(&["notice", "test", "page"]).ends(0);
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
    let _failed = site.ctl(&["notice", "test", "page"]).ends(10).says("program-exit-3");
    let _unknown = site.ctl(&["notice", "test", "nobody"]).ends(2).says("has no channel of this name");
    daemon.stop();
}
