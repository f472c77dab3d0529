//! The life of the real daemon: its socket, its signals, its configuration while it runs, a damaged store.
//!
//! Schedules fire on the wall clock, so scheduled runs and their catching up are left to the suites with a manual
//! clock.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use retention_tests::daemon::{Daemon, SECOND_UID, Site, has_second_person};
use rustix::process::Signal;
use serde_json::{Value, json};

const POLICY: &str = include_str!("../../policies/demo-ocm-contacts.toml");

/// Rows of a CSV delivery that takes a while.
fn crowd(count: u32) -> Vec<(String, &'static str, &'static str)> {
    (0..count).map(|id| (id.to_string(), "Somebody", "2015-05-01")).collect()
}

fn intakes_done(site: &Site, daemon: &Daemon<'_>, count: usize) -> Vec<Value> {
    daemon.until("deliveries are taken in", || {
        let rows = site.rows(&["intake", "list"]);
        let done = rows.iter().filter(|row| row["end"] == "done").count();
        (done == count).then_some(rows)
    })
}

#[test]
fn the_daemon_is_given_no_huge_pages() {
    let site = Site::new(&[]);
    let daemon = site.start();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.process())).expect("its status");
    // A kernel that has none has no such line.
    assert!(!status.contains("THP_enabled:\t1"), "{status}");
    daemon.stop();
}

#[test]
fn the_socket_is_for_its_group_and_a_stale_one_is_replaced() {
    let site = Site::new(&[]);
    let socket = site.path("run/control.sock");
    // A socket on which nobody listens any more, as a crash leaves it.
    drop(UnixListener::bind(&socket).expect("a socket"));
    let daemon = site.start();
    let mode = |found: &fs::Metadata| found.permissions().mode() & 0o777;
    let found = fs::symlink_metadata(&socket).expect("the socket");
    assert_eq!(mode(&found), 0o660);
    if has_second_person() {
        assert_eq!(found.gid(), SECOND_UID);
    }

    let second = site.retentiond(&["run"]).ends(77);
    let _said = second.says("another daemon answers on the control socket");
    // The store is locked too, whatever the socket is called.
    let config = site.config();
    site.write("config.toml", &config.replace("run/control.sock", "run/other.sock"));
    let _locked = site.retentiond(&["run"]).ends(77).says("the store is in use");
    for verb in ["verify", "rebuild"] {
        let _locked = site.retentiond(&["store", verb]).ends(77).says("the store is in use");
    }
    let _still_there = site.ctl(&["status"]).ends(0);
    daemon.stop();
    assert!(!socket.exists(), "a clean stop takes its socket away");

    let group_line = config.lines().find(|line| line.starts_with("socket_group")).expect("the group");
    site.write("config.toml", &config.replace(group_line, ""));
    let daemon = site.start();
    assert_eq!(mode(&fs::symlink_metadata(&socket).expect("the socket")), 0o600);
    daemon.stop();

    fs::write(&socket, "precious").expect("a file");
    let _left_alone = site.retentiond(&["run"]).ends(1).says("is not a socket");
    assert_eq!(fs::read_to_string(&socket).expect("the file"), "precious");
}

#[test]
fn roles_and_sources_change_while_the_daemon_runs() {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    let daemon = site.start();
    let me = format!("operator = [\"uid:{}\"]", site.uid());
    let reloaded = |what: &str, done: &dyn Fn() -> bool| daemon.until(what, || done().then_some(()));
    daemon.until("the policies are active", || (site.json(&["status"])["policies"] == 1).then_some(()));
    let told = || site.rows(&["audit", "query", "--kind", "RolesDeclared"]);
    let operators =
        |row: &Value| row["summary"].as_str().and_then(|line| Some(line.split_once(" operator=")?.1.to_owned()));
    let has_me = |row: &Value| operators(row).is_some_and(|who| who.starts_with(&format!("uid:{} ", site.uid())));
    assert!(told().len() == 1 && has_me(&told()[0]), "who has which role is told with the start: {:?}", told());

    // An edit is taken in without a signal.
    site.write("config.toml", &site.config().replace(&me, "operator = []"));
    reloaded("the role is taken away", &|| site.ctl(&["plan", "make", "demo-ocm-contacts"]).code == 77);
    let _hint = site
        .ctl(&["plan", "make", "demo-ocm-contacts"])
        .ends(77)
        .says("this needs the role operator")
        .says("hint: an administrator can add");
    assert!(!site.json(&["status"])["caller"]["roles"].to_string().contains("operator"));
    let nobody = operators(&told()[0]).is_some_and(|who| who.starts_with("nobody "));
    assert!(told().len() == 2 && nobody, "what takes a role away stands in the log: {:?}", told());

    // A bad edit changes nothing.
    site.write("config.toml", "[control]\nsocket = 7\n");
    daemon.signal(Signal::HUP);
    reloaded("the refusal is told", &|| site.diagnostics().contains("the old one stays in force"));
    let _as_before = site.ctl(&["plan", "make", "demo-ocm-contacts"]).ends(77);
    assert_eq!(told().len(), 2, "what is not in force gives nobody a role");
    let is_told = |status: &Value| {
        let named = |told: &Value| told["message"].as_str().is_some_and(|line| line.starts_with("config.toml"));
        let told = status["attention"].as_array().expect("a list");
        told.iter().any(|told| told["what"] == "config_invalid" && named(told))
    };
    assert!(is_told(&site.ctl(&["status", "--output", "json"]).ends(10).json()), "a restart would fail, so it is told");

    // A new source, whose folder is watched from then on.
    fs::create_dir(site.path("more")).expect("a folder");
    let more = "[[source]]\nname = \"more\"\nkind = \"csv\"\ndrop_dir = \"more\"\nmapping = \"mapping.toml\"\n";
    site.write("config.toml", &site.config().replace("[diagnostics]", &format!("{more}[diagnostics]")));
    daemon.signal(Signal::HUP);
    reloaded("the role is given back", &|| site.ctl(&["plan", "make", "demo-ocm-contacts"]).code == 0);
    assert!(!is_told(&site.ctl(&["status", "--output", "json"]).json()));
    assert!(told().len() == 3 && has_me(&told()[0]), "and what gives it back: {:?}", told());
    site.write("more/more.csv", "Id,Name,Created\n1,Somebody,2015-05-01\n");
    let intakes = intakes_done(&site, &daemon, 1);
    assert_eq!(intakes[0]["source"], "more");
    daemon.stop();
}

#[test]
fn edited_policies_are_taken_in_and_bad_ones_are_not() {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    let daemon = site.start();
    let digest = || site.rows(&["policy", "list"]).first().map(|row| row["digest"].to_string());
    let first = daemon.until("the policy is active", digest);
    site.write("policies/demo-ocm-contacts.toml", &POLICY.replace("max_items = 100", "max_items = 99"));
    let second = daemon.until("the edit is active", || digest().filter(|now| *now != first));

    let misspelt = POLICY.replace("kind = \"contact\"", "kind = \"contact\"\nsource = \"crn\"");
    site.write("policies/demo-ocm-contacts.toml", &misspelt);
    let third = daemon.until("the misspelt source is active", || digest().filter(|now| *now != second));
    let unknown = json!([{"what": "policy_source_unknown", "policy": "demo-ocm-contacts", "source": "crn"}]);
    assert_eq!(site.ctl(&["status", "--output", "json"]).ends(10).json()["attention"], unknown);
    site.write("policies/demo-ocm-contacts.toml", &POLICY.replace("max_items = 100", "max_items = 99"));
    let _mended = daemon.until("it is mended", || digest().filter(|now| *now != third));
    let _well = site.ctl(&["status"]).ends(0);

    site.write("policies/demo-ocm-contacts.toml", &POLICY.replace("period = \"P1Y\"", "period = \"one year\""));
    let attention = || site.ctl(&["status", "--output", "json"]).json()["attention"].clone();
    let told = daemon.until("the bad edit is told", || Some(attention()).filter(|told| *told != json!([])));
    let alarm = &told[0];
    assert_eq!((&alarm["what"], &alarm["problems"]), (&json!("policies_invalid"), &json!(1)), "{told}");
    let named = alarm["message"].as_str().is_some_and(|line| line.starts_with("demo-ocm-contacts.toml:"));
    assert!(named, "the first problem is told with its place: {told}");
    let _person = site.ctl(&["status"]).ends(10).says("policies_invalid");
    assert_eq!(digest(), Some(second.clone()), "the last good set stays active");
    assert!(site.diagnostics().contains("demo-ocm-contacts.toml"), "{}", site.diagnostics());

    // The last good set is found again in the log.
    daemon.stop();
    let daemon = site.start();
    assert_eq!(daemon.until("the last good set is active", digest), second);
    let _person = site.ctl(&["status"]).ends(10);
    site.write("policies/demo-ocm-contacts.toml", POLICY);
    assert_eq!(daemon.until("the set is mended", || digest().filter(|now| *now != second)), first);
    let _well = site.ctl(&["status"]).ends(0);
    daemon.stop();
}

#[test]
fn a_drop_folder_that_is_not_there_is_told() {
    let site = Site::new(&[]);
    fs::rename(site.path("people"), site.path("elsewhere")).expect("a rename");
    let daemon = site.start();
    let attention = || site.ctl(&["status", "--output", "json"]).json()["attention"].clone();
    let told = daemon.until("it is told", || Some(attention()).filter(|told| *told != json!([])));
    assert_eq!((&told[0]["what"], &told[0]["source"]), (&json!("source_stopped"), &json!("people")), "{told}");
    let _person = site.ctl(&["status"]).ends(10).says("the drop folder cannot be listed");
    fs::rename(site.path("elsewhere"), site.path("people")).expect("a rename");
    daemon.signal(Signal::HUP);
    daemon.until("all is well", || (site.ctl(&["status"]).code == 0).then_some(()));
    daemon.stop();
    assert!(site.diagnostics().contains("a signal asks the daemon to end"), "{}", site.diagnostics());
}

#[test]
fn a_stop_during_an_intake_loses_and_doubles_nothing() {
    const CROWD: u32 = 20_000;
    let site = Site::new(&[]);
    let daemon = site.start();
    site.drop_people("crowd", &crowd(CROWD));
    daemon.until("the intake is under way", || (!site.rows(&["intake", "list"]).is_empty()).then_some(()));
    daemon.stop();
    // It was not waited for: the delivery is where it was claimed, and the stage says that it left it.
    assert!(site.path("people/processing/1/crowd.csv").exists(), "the whole delivery was finished first");
    assert!(site.diagnostics().contains("stopped on its way"), "{}", site.diagnostics());
    let _good = site.retentiond(&["store", "verify"]).ends(0).says("good");

    let daemon = site.start();
    let _intakes = intakes_done(&site, &daemon, 1);
    let of = |kind: &str| site.rows(&["audit", "query", "--kind", kind]).len();
    let contacts = site.rows(&["entity", "list", "--kind", "contact"]);
    assert_eq!((contacts.len(), of("EntityChanged")), (CROWD as usize, CROWD as usize + 1), "the mailbox is one more");
    assert!(fs::read_dir(site.path("people/processing")).is_ok_and(|mut left| left.next().is_none()));

    // The same content again tells nothing new.
    site.drop_people("again", &crowd(CROWD));
    daemon.until("the second delivery is put away", || {
        let put_away = fs::read_dir(site.path("people/done")).map_or(0, Iterator::count);
        (put_away == 2).then_some(())
    });
    assert_eq!(of("EntityChanged"), CROWD as usize + 1);
    daemon.stop();
}

#[test]
fn the_store_is_verified_and_rebuilt_while_the_daemon_runs() {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    let daemon = site.start();
    site.drop_samples();
    let _intakes = intakes_done(&site, &daemon, 2);
    let before = site.rows(&["entity", "list"]);
    let parts = site.rows(&["store", "verify"]);
    assert!(parts.len() >= 4 && parts.iter().all(|part| part["state"] == "intact"), "{parts:?}");
    let _begun = site.ctl(&["store", "rebuild"]).ends(0).says("rebuilding");
    daemon.until("the store is rebuilt", || {
        let said = site.ctl(&["audit", "query", "--kind", "StoreRebuilt", "--output", "jsonl"]);
        (said.code == 0 && !said.out.is_empty()).then_some(())
    });
    assert_eq!(site.rows(&["entity", "list"]), before);
    let parts = site.rows(&["store", "verify"]);
    assert!(parts.iter().all(|part| part["state"] == "intact"), "{parts:?}");
    daemon.stop();
}

#[test]
fn a_damaged_store_answers_questions_and_purges_nothing() {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    let daemon = site.start();
    site.drop_samples();
    let _intakes = intakes_done(&site, &daemon, 2);
    let entities = site.rows(&["entity", "list"]);
    daemon.stop();

    let segment = site.path("state/journal/00000001.seg");
    let intact = fs::read(&segment).expect("the journal");
    let mut bytes = intact.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).expect("a damaged journal");
    let _found = site.retentiond(&["store", "verify"]).ends(20).says("NOT good");

    let daemon = site.start();
    let status = site.ctl(&["status", "--output", "json"]).ends(10).json();
    assert_eq!(status["store"]["state"], "read_only", "{status}");
    assert_eq!(status["attention"][0]["what"], "store_read_only", "{status}");
    for told in [&status["attention"][0], &status["store"]] {
        assert_eq!(told["code"], "journal_damaged", "{status}");
        assert!(told["message"].as_str().is_some_and(|says| says.contains("`retentiond restore`")), "{status}");
    }
    let refused = site.ctl(&["plan", "make", "demo-ocm-contacts"]).ends(10).says("the store is read-only");
    assert!(refused.err.contains("hint: retentionctl store verify"), "{}", refused.err);
    let _found = site.ctl(&["store", "verify"]).ends(20).says("damaged");
    let first = entities[0]["entity"].as_str().expect("a number");
    let _unrecorded = site.ctl(&["entity", "show", first]).ends(10).says("the store is read-only");
    site.drop_people("late", &crowd(3));
    let _listed = site.ctl(&["entity", "list"]).ends(0);
    assert!(site.path("people/late.csv").exists(), "a read-only daemon takes nothing in");
    daemon.stop();

    fs::write(&segment, intact).expect("the journal as it was");
    let daemon = site.start();
    assert_eq!(site.json(&["status"])["store"]["state"], "read_write");
    let rows = site.rows(&["entity", "list"]);
    assert_eq!(rows.get(..entities.len()), Some(&entities[..]));
    daemon.stop();
}
