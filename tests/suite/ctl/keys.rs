//! The keys of the store: looked at, changed while the daemon runs, and changed by the start after a crash.

use std::fs;
use std::os::unix::fs::FileExt as _;

use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::evidence::growth::GrowthProof;
use retention_tests::daemon::{Daemon, Person, Site, has_second_person};
use rustix::process::Signal;
use serde_json::Value;

use super::proofs::auditor;
use super::{people, taken_in, text};

/// Waits until no new keys are asked for any more, and returns how the keys are.
fn settled(site: &Site, daemon: &Daemon<'_>, keys: &str) -> Value {
    daemon.until("the keys are changed", || {
        // In between nobody answers at all.
        let said = site.ctl(&["key", "status", "--output", "json"]);
        let status = (said.code == 0).then(|| said.json())?;
        status[keys]["rotation_asked_by_event"].is_null().then_some(status)
    })
}

/// Waits until a checkpoint covers everything, and returns how many events that are.
fn signed(site: &Site, daemon: &Daemon<'_>) -> u64 {
    let newest = site.rows(&["audit", "query", "--limit", "1"])[0]["position"].as_u64().expect("a position");
    daemon.until("a checkpoint covers everything", || {
        let said = site.ctl(&["audit", "checkpoint", "--output", "json"]);
        let size = (said.code == 0).then(|| said.json()["size"].as_u64())??;
        (size >= newest).then_some(size)
    })
}

#[test]
fn a_new_signing_key_takes_over_and_older_proofs_hold_on() {
    let site = Site::new(&[]);
    let daemon = site.start();
    site.drop_people("one", &people(0..5, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 1);
    let before = signed(&site, &daemon);
    let file = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let (old_proof, growth) = (file("old.proof"), file("growth.proof"));
    let _made = site.ctl(&["audit", "prove", "3", "--into", &old_proof]).ends(0);
    let old = text(&settled(&site, &daemon, "signing")["signing"], "verifier_key").to_owned();
    let old_signer = fs::read_to_string(site.path("state/tree/signing.key")).expect("the key");

    let _usage = site.ctl(&["key", "rotate", "--reason", "which"]).ends(2);
    let _both = site.ctl(&["key", "rotate", "--signing", "--wrapping", "--reason", "both"]).ends(2);
    if has_second_person() {
        let _nobody = site.ctl_as(Person::Second, &["key", "rotate", "--signing", "--reason", "x"]).ends(77);
    }
    let asked = site.json(&["key", "rotate", "--signing", "--reason", "yearly"]);
    assert_eq!(text(&asked, "keys"), "signing");
    let status = settled(&site, &daemon, "signing");
    let new = text(&status["signing"], "verifier_key").to_owned();
    assert_eq!((new == old, status["signing"]["older"].as_u64()), (false, Some(1)));
    let adopted = &site.rows(&["audit", "query", "--kind", "SigningKeyAdopted", "--limit", "1"])[0];
    assert_eq!(status["signing"]["adopted_by_event"], adopted["position"]);
    let request = &site.rows(&["audit", "query", "--kind", "KeyRotationRequested"])[0];
    assert_eq!(
        (text(request, "actor"), &request["position"]),
        (&*format!("uid:{}", site.uid()), &asked["asked_by_event"])
    );
    let after = signed(&site, &daemon);
    let _made = site.ctl(&["audit", "growth", &before.to_string(), &after.to_string(), "--into", &growth]).ends(0);
    let _whole = site.ctl(&["store", "verify"]).ends(0);
    let log = file("log");
    let _made = site.ctl(&["audit", "export", &log]).ends(0);
    let listed = site.rows(&["audit", "keys"]);
    assert_eq!((&listed[0]["replaced"], &listed[1]["replaced"]), (&adopted["position"], &Value::Null), "{listed:?}");
    daemon.stop();

    let check = |file: &str, keys: &[&str]| {
        let keys = keys.iter().flat_map(|key| ["--key", key]);
        site.ctl(&["audit", "verify-proof", file].into_iter().chain(keys).collect::<Vec<_>>())
    };
    let _old = check(&old_proof, &[&old]).ends(0);
    let _grown = check(&growth, &[&old, &new]).ends(0);
    for key in [&old, &new] {
        let _one = check(&growth, &[key]).ends(20);
    }

    // Somebody kept the old key, and signs on. Who knows when it ended is not deceived; who does not, cannot see it.
    let ended = format!("{old}@{}", adopted["position"]);
    let _old = check(&old_proof, &[&ended]).ends(0);
    let _grown = check(&growth, &[&ended, &new]).ends(0);
    let by_old = |note: &str| {
        let checkpoint = Checkpoint::unverified(note).expect("a checkpoint");
        checkpoint.sign(old_signer.trim_end()).expect("a signature")
    };
    let mut proof = GrowthProof::parse(&fs::read_to_string(&growth).expect("a proof")).expect("a proof");
    proof.after = by_old(&proof.after);
    let forged = file("forged.proof");
    site.write("forged.proof", &proof.text());
    let _deceived = check(&forged, &[&old]).ends(0);
    let _seen = check(&forged, &[&ended]).ends(20).says("a key that the log had replaced by then");
    assert_eq!((auditor(&[&old, &forged]).0, auditor(&[&ended, &forged]).0), (0, 20));
    // An exported log says itself which key it had adopted by then.
    let exported = ["audit", "verify", &log, "--key", &old, "--key", &new];
    let _good = site.ctl(&exported).ends(0);
    let path = site.path("log/checkpoint");
    let note = fs::read_to_string(&path).expect("a checkpoint");
    fs::write(&path, by_old(&note)).expect("a file");
    let _seen = site.ctl(&exported).ends(20).says("a key that the log had replaced by then");
    fs::write(&path, note).expect("a file");
    site.write("kept.checkpoint", &proof.after);
    let kept = file("kept.checkpoint");
    let against = [exported.as_slice(), &["--against", &kept]].concat();
    let _seen = site.ctl(&against).ends(20).says("a key that the log had replaced by then");
}

#[test]
fn a_log_has_the_name_that_it_was_given_at_first_and_no_other() {
    const NAME: &str = "logs.example.org/retention";
    let site = Site::new(&[]);
    let plain = site.config();
    let called = |name: &str| plain.replace("[diagnostics]", &format!("[audit]\norigin = \"{name}\"\n[diagnostics]"));
    site.write("config.toml", &called(NAME));
    let daemon = site.start();
    let _signed = signed(&site, &daemon);
    let file = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let (note, proof, log) = (file("note"), file("event.proof"), file("log"));
    let _kept = site.ctl(&["audit", "checkpoint", "--into", &note]).ends(0);
    assert!(fs::read_to_string(&note).expect("a checkpoint").starts_with(&format!("{NAME}\n")));
    let _asked = site.ctl(&["key", "rotate", "--signing", "--reason", "yearly"]).ends(0);
    let _changed = settled(&site, &daemon, "signing");
    let _signed = signed(&site, &daemon);
    let keys: Vec<String> =
        site.rows(&["audit", "keys"]).iter().map(|row| text(row, "verifier_key").to_owned()).collect();
    assert!(keys.len() == 2 && keys.iter().all(|key| key.starts_with(&format!("{NAME}+"))), "{keys:?}");
    let _made = site.ctl(&["audit", "prove", "1", "--into", &proof]).ends(0);
    let _made = site.ctl(&["audit", "export", &log]).ends(0);
    for asked in [["audit", "verify-proof", &proof], ["audit", "verify", &log]] {
        let both = keys.iter().flat_map(|key| ["--key", key]);
        let _holds = site.ctl(&asked.into_iter().chain(both).collect::<Vec<_>>()).ends(0);
    }
    for asked in [&proof, &log, &note] {
        assert_eq!(auditor(&[&keys.join(" "), asked]).0, 0, "the auditor's own program accepts {asked}");
    }

    // Another name is told before anybody starts the daemon with it, and that start is refused.
    site.write("config.toml", &called("logs.example.org/other"));
    let status = || site.ctl(&["status", "--output", "json"]).json();
    let told = daemon.until("people are told", || {
        let status = status();
        let mut all = status["attention"].as_array().expect("a list").iter();
        all.find(|told| told["what"] == "config_invalid").map(|told| text(told, "message").to_owned())
    });
    assert!(told.contains("this log is called logs.example.org/retention"), "{told}");
    let found = site.ctl(&["config", "check", "--output", "jsonl"]).ends(78).rows();
    assert!(found.iter().any(|row| text(row, "message").contains("this log is called")), "{found:?}");
    daemon.stop();
    let _refused = site.retentiond(&["run"]).ends(78).says("this log is called logs.example.org/retention");

    // It is the log that has the name, and not the configuration.
    site.write("config.toml", &plain);
    let daemon = site.start();
    let _signed = signed(&site, &daemon);
    let _well = site.ctl(&["status"]).ends(0);
    let _kept = site.ctl(&["audit", "checkpoint", "--into", &file("newest")]).ends(0);
    assert!(fs::read_to_string(site.path("newest")).expect("a checkpoint").starts_with(&format!("{NAME}\n")));
    daemon.stop();
}

#[test]
fn new_wrapping_keys_leave_everything_readable_also_after_a_kill() {
    let site = Site::new(&[]);
    let daemon = site.start();
    site.drop_people("one", &people(0..5, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 1);
    let entity = text(&site.rows(&["entity", "list", "--kind", "contact"])[0], "entity").to_owned();
    let show = || site.json(&["entity", "show", &entity]);
    let slots = || fs::read(site.path("state/keys/slots.0000")).expect("the slots");
    let (shown, before) = (show(), slots());
    let first = settled(&site, &daemon, "wrapping");
    let _asked = site.ctl(&["key", "rotate", "--wrapping", "--reason", "yearly"]).ends(0);
    let status = settled(&site, &daemon, "wrapping");
    assert_ne!(status["wrapping"]["rotated_at"], first["wrapping"]["rotated_at"]);
    assert_eq!(status["slots"]["damaged"], 0);
    let once = slots();
    assert!(show() == shown && once[64..128] != before[64..128], "the first slot is wrapped anew");
    let rotated = &site.rows(&["audit", "query", "--kind", "WrappingKeysRotated"])[0];
    let asked = &site.rows(&["audit", "query", "--kind", "KeyRotationRequested"])[0];
    assert_eq!(rotated["cause"], asked["position"]);

    // Killed wherever it is by then: the start after it does what is asked for.
    let _asked = site.ctl(&["key", "rotate", "--wrapping", "--reason", "once more"]).ends(0);
    daemon.signal(Signal::KILL);
    let _killed = daemon.ended();
    let daemon = site.start();
    let _done = settled(&site, &daemon, "wrapping");
    assert!(show() == shown && slots()[64..128] != once[64..128]);
    let _whole = site.ctl(&["store", "verify"]).ends(0);
    daemon.stop();
    let _whole = site.retentiond(&["store", "verify"]).ends(0);
}

#[test]
fn new_wrapping_keys_that_cannot_be_made_are_told_until_they_are() {
    let site = Site::new(&[]);
    let daemon = site.start();
    site.drop_people("one", &people(0..5, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 1);
    let flip = || {
        let path = site.path("state/keys/slots.0000");
        let mut slots = fs::read(&path).expect("the slots");
        slots[2 * 64 + 20] ^= 1;
        fs::OpenOptions::new().write(true).open(path).expect("a file").write_all_at(&slots, 0).expect("a disk");
    };
    flip();
    let _asked = site.ctl(&["key", "rotate", "--wrapping", "--reason", "yearly"]).ends(0);
    let owed = daemon.until("people are told", || {
        let said = site.ctl(&["status", "--output", "json"]);
        let status = (said.code == 10).then(|| said.json())?;
        let attention = status["attention"].as_array().expect("a list").clone();
        attention.into_iter().find(|told| told["what"] == "key_rotation_failed")
    });
    assert!(text(&owed, "message").contains("key slot 2 is damaged"), "{owed}");
    flip();
    daemon.stop();
    let daemon = site.start();
    let _done = settled(&site, &daemon, "wrapping");
    let _well = site.ctl(&["status"]).ends(0);
    let _whole = site.ctl(&["store", "verify"]).ends(0);
    daemon.stop();
}

/// The shipped policy about the daemon's own log.
const AUDIT_EVENTS: &str = include_str!("../../../policies/audit-events.toml");

#[test]
fn what_people_write_is_told_by_months_once_a_policy_is_about_them() {
    let site = Site::new(&[("audit-events", AUDIT_EVENTS)]);
    let daemon = site.start();
    site.drop_people("one", &people(0..5, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 1);
    let contact = text(&site.rows(&["entity", "list", "--kind", "contact"])[0], "entity").to_owned();
    let texts = || site.json(&["key", "status"])["texts"].clone();
    assert!(texts()["by_month_since"].is_null(), "nobody has written anything yet");
    let hold = ["hold", "place", "case 7", "--entity", &contact, "--reason", "a lawsuit"];
    let _placed = site.ctl(&hold).ends(0);
    let told = texts();
    assert_eq!((told["months_readable"].as_u64(), told["months_erased"].as_u64()), (Some(1), Some(0)), "{told}");
    let month = site.rows(&["entity", "list", "--kind", "audit_month"]).remove(0);
    let explained = site.json(&["explain", text(&month, "entity")]);
    assert_eq!(explained["verdict"], "keep", "{explained}");
    let begun = &site.rows(&["audit", "query", "--kind", "MonthBegun"])[0];
    assert_eq!(begun["entity"], month["entity"]);
    let _whole = site.ctl(&["store", "verify"]).ends(0);
    daemon.stop();
    let _whole = site.retentiond(&["store", "verify"]).ends(0);
}
