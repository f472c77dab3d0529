//! What an auditor takes away: checkpoints, proofs of growth, the log as files; and a check of all of it that shares no
//! code with us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use retention_core::evidence::checkpoint::{Checkpoint, keys_of};
use retention_core::evidence::growth::GrowthProof;
use retention_core::id::Digest;
use retention_tests::daemon::Site;
use serde_json::json;

use super::{is_approved, people, planned, policies_active, shipped, taken_in, text};

/// The verifier that is shipped for auditors, in Python. Returns its exit code and what it says.
pub(super) fn auditor(args: &[&str]) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit/verify.py");
    let run = Command::new("python3").arg(script).args(args).output().expect("python3");
    let said = [run.stdout, run.stderr].concat();
    (run.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// Both verifiers say the same: ours and the shipped one.
fn both(site: &Site, key: &str, ours: &[&str], theirs: &[&str], code: i32) {
    let said = site.ctl(&[ours, &["--key", key]].concat()).ends(code);
    let (ended, told) = auditor(&[&[key], theirs].concat());
    assert_eq!(ended, code, "{told}\n{}", said.err);
}

#[test]
fn an_auditor_checks_the_log_without_the_daemon_and_without_our_code() {
    let site = Site::new(&[]);
    let daemon = site.start();
    let checkpoint = || site.ctl(&["audit", "checkpoint", "--output", "json"]);
    daemon.until("a checkpoint is signed", || (checkpoint().code == 0).then_some(()));
    let early = checkpoint().ends(0).json();
    let place = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let kept = place("kept.checkpoint");
    fs::write(&kept, text(&early, "note")).expect("a file");
    // More than one full tile, and a bit.
    site.drop_people("people", &people(0..700, "2030-01-01"));
    let _intakes = taken_in(&site, &daemon, 1);
    let size = |of: &serde_json::Value| of["size"].as_u64().expect("a size");
    let late = daemon.until("a checkpoint covers them", || {
        let newest = checkpoint().ends(0).json();
        (size(&newest) > 700).then_some(newest)
    });
    let key = text(&site.rows(&["audit", "keys"])[0], "verifier_key").to_owned();
    let key = key.as_str();

    let (growth, proof, log) = (place("growth.proof"), place("event.proof"), place("log"));
    let (before, after) = (size(&early).to_string(), size(&late).to_string());
    let _made = site.ctl(&["audit", "growth", &before, &after, "--into", &growth]).ends(0);
    let _made = site.ctl(&["audit", "prove", "300", "--into", &proof]).ends(0);
    let exported = site.json(&["audit", "export", &log]);
    assert!(size(&exported) >= size(&late), "{exported}");
    let _full = site.ctl(&["audit", "export", &log]).ends(2).says("is not empty");
    let _turned = site.ctl(&["audit", "growth", &after, &before]).ends(2).says("a log grows from the smaller size");
    let _unsigned = site.ctl(&["audit", "growth", &before, "4000000"]).ends(2).says("no checkpoint was signed over");
    daemon.stop();

    // A Merkle tree that is none of ours has the same root. `test.sh` installs it.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("independent.py");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let modules = target.join("python-modules");
    let run = Command::new("python3").env("PYTHONPATH", modules).arg(script).arg(&log).output().expect("python3");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    // So does the implementation that the C2SP specifications were written from, and it takes every file that we hand out.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("independent.go");
    let run = Command::new("go")
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")])
        .env("GOCACHE", target.join("go-cache"))
        .arg("run")
        .arg(script)
        .args([&log, key, &kept, &proof, &growth])
        .output();
    let run = run.expect("go");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    for file in [&growth, &proof] {
        both(&site, key, &["audit", "verify-proof", file], &[file], 0);
    }
    both(&site, key, &["audit", "verify", &log, "--against", &kept], &[&log, &kept], 0);
    let compared = site.json(&["audit", "verify", &log, "--key", key, "--against", &kept]);
    assert_eq!(compared["compared_with"], json!([size(&early)]));
    assert_eq!(auditor(&[key, &kept]).0, 0);

    // Two checkpoints of one size contradict each other, in either order; and one of nothing says nothing.
    let signer = fs::read_to_string(site.path("state/tree/signing.key")).expect("the key");
    for size in [size(&early), 0] {
        let origin = key.split('+').next().expect("a name").to_owned();
        let evil = Checkpoint { origin, size, root: Digest([9; 32]) };
        site.write("evil", &evil.sign(signer.trim_end()).expect("a checkpoint"));
        let evil = place("evil");
        for [one, other] in [[&evil, &kept], [&kept, &evil]] {
            let ours = ["audit", "verify", &log, "--against", one, "--against", other];
            both(&site, key, &ours, &[&log, one, other], 20);
        }
    }

    // A checkpoint of another log is not compared with this one, also when its key is known.
    let (foreign_signer, foreign) = keys_of(&[5; 32], "another.example/log").expect("keys");
    let of_other = Checkpoint { origin: "another.example/log".to_owned(), size: size(&early), root: Digest([9; 32]) };
    let foreign_note = of_other.sign(&foreign_signer).expect("a checkpoint");
    site.write("foreign", &foreign_note);
    let foreign_file = place("foreign");
    let against = ["audit", "verify", &log, "--key", key, "--key", &foreign, "--against", &foreign_file];
    let _other = site.ctl(&against).ends(20).says("only checkpoints of one log can be compared");
    let mut between = GrowthProof::parse(&fs::read_to_string(&growth).expect("a proof")).expect("a proof");
    between.before = foreign_note;
    site.write("between.proof", &between.text());
    let between = place("between.proof");
    let both_keys = ["audit", "verify-proof", &between, "--key", key, "--key", &foreign];
    let _two = site.ctl(&both_keys).ends(20).says("of different logs");
    assert_eq!(auditor(&[&format!("{key} {foreign}"), &between]).0, 20);

    // Another key, and every kind of change.
    let other = format!(
        "{}+00000000+{}",
        key.split('+').next().expect("a name"),
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    );
    assert_ne!(auditor(&[&other, &proof]).0, 0);
    let changed = |file: &str, at: usize, check: &dyn Fn()| {
        let whole = fs::read(file).expect("a file");
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(file, &bytes).expect("a file");
        check();
        fs::write(file, whole).expect("a file");
    };
    let text_of = |file: &str| fs::read_to_string(file).expect("a file");
    let path_of_proof = text_of(&proof).find("index").expect("an index") + 20;
    changed(&proof, path_of_proof, &|| both_refuse(&site, key, &["audit", "verify-proof", &proof], &[&proof]));
    let path_of_growth = text_of(&growth).find("\"path\"").expect("a path") + 30;
    changed(&growth, path_of_growth, &|| both_refuse(&site, key, &["audit", "verify-proof", &growth], &[&growth]));
    let (bundle, last) = (format!("{log}/tile/entries/001"), format!("{log}/checkpoint"));
    for at in [0, 2 + 40, 130 * 255 + 60] {
        changed(&bundle, at, &|| both_refuse(&site, key, &["audit", "verify", &log], &[&log]));
    }
    // What follows the entries of a bundle was signed by nobody.
    let whole = fs::read(&bundle).expect("a file");
    fs::write(&bundle, [whole.as_slice(), b"x"].concat()).expect("a file");
    both(&site, key, &["audit", "verify", &log], &[&log], 20);
    fs::write(&bundle, whole).expect("a file");
    // A byte that makes a text none is a change like any other; so are proofs that only look like some.
    let whole = fs::read(&proof).expect("a file");
    fs::write(&proof, [whole.as_slice(), &[0xff]].concat()).expect("a file");
    let _changed = site.ctl(&["audit", "verify-proof", &proof, "--key", key]).ends(20).says("is no proof");
    let _none = site.ctl(&["certificate", "verify", &proof, "--key", key]).ends(20).says("is no certificate");
    let other_version = text_of_bytes(&whole).replacen("tlog-proof@v1", "tlog-proof@v9", 1);
    fs::write(&proof, other_version).expect("a file");
    both(&site, key, &["audit", "verify-proof", &proof], &[&proof], 20);
    fs::write(&proof, whole).expect("a file");
    let numbers = place("numbers.proof");
    site.write("numbers.proof", r#"{"format": "retentiond growth proof 1", "before": 1, "after": 2, "path": []}"#);
    both_refuse(&site, key, &["audit", "verify-proof", &numbers], &[&numbers]);
    changed(&last, 30, &|| both_refuse(&site, key, &["audit", "verify", &log], &[&log]));
    // The hashes are made from the entries, so only our own check looks at them.
    changed(&format!("{log}/tile/0/001"), 77, &|| {
        let _differs =
            site.ctl(&["audit", "verify", &log, "--key", key]).ends(20).says("is not what the entries make it");
    });
    let shorter = format!("{log}/tile/entries/000");
    fs::remove_file(&shorter).expect("a file");
    both_refuse(&site, key, &["audit", "verify", &log], &[&log]);
    let _missing = site.ctl(&["audit", "verify", &log, "--key", key]).ends(20).says("is missing");
}

fn text_of_bytes(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Neither verifier says that it holds.
fn both_refuse(site: &Site, key: &str, ours: &[&str], theirs: &[&str]) {
    let said = site.ctl(&[ours, &["--key", key]].concat());
    let (ended, told) = auditor(&[&[key], theirs].concat());
    assert!(said.code != 0 && ended != 0 && !told.contains("Traceback"), "{} {}\n{told}", said.code, said.err);
}

#[test]
fn an_auditor_needs_every_key_that_signed_and_of_one_log_only() {
    let site = Site::new(&[]);
    let of = |seed: u8, origin: &str| keys_of(&[seed; 32], origin).expect("keys");
    let ((old_signer, old), (new_signer, new), (_, foreign)) = (of(1, "log"), of(2, "log"), of(2, "another"));
    let note = |signer: &str| {
        let checkpoint = Checkpoint { origin: "log".to_owned(), size: 7, root: Digest([9; 32]) };
        checkpoint.sign(signer).expect("a checkpoint")
    };
    let (before, after) = (note(&old_signer), note(&new_signer));
    let growth = json!({ "format": "retentiond growth proof 1", "before": before, "after": after, "path": [] });
    site.write("growth.proof", &growth.to_string());
    site.write("before.checkpoint", &before);
    let check = |keys: &[&str], file: &str| auditor(&[&keys.join(" "), site.path(file).to_str().expect("a path")]).0;
    for keys in [[&*old, &*new], [&*new, &*old]] {
        assert_eq!(check(&keys, "growth.proof"), 0);
        assert_eq!(check(&keys, "before.checkpoint"), 0);
    }
    for key in [&old, &new] {
        assert_eq!(check(&[key], "growth.proof"), 20, "one of its checkpoints has another key");
    }
    assert_eq!(check(&[&new], "before.checkpoint"), 20);
    assert_eq!(check(&[&old, &foreign], "before.checkpoint"), 20, "a key of another log");
}

#[test]
fn checkpoints_are_told_to_places_outside_and_people_hear_of_one_that_is_away() {
    let site = Site::new(&[]);
    let publish =
        "[audit]\npublish = [{ file = \"told\" }, { command = [\"/bin/false\"] }, { journal = true }]\n[diagnostics]";
    site.write("config.toml", &site.config().replace("[diagnostics]", publish));
    let daemon = site.start();
    let told = daemon.until("the file has one", || fs::read_to_string(site.path("told")).ok());
    let key = text(&site.rows(&["audit", "keys"])[0], "verifier_key").to_owned();
    assert_eq!(auditor(&[&key, site.path("told").to_str().expect("a path")]).0, 0, "{told}");
    let away = daemon.until("people are told", || {
        let status = site.ctl(&["status", "--output", "json"]).json();
        let attention = status["attention"].as_array().expect("a list").clone();
        attention.into_iter().find(|told| told["what"] == "publishing_behind")
    });
    assert_eq!((text(&away, "place"), text(&away, "message")), ("command /bin/false", "it ended with exit status: 1"));
    let _person = site.ctl(&["status"]).ends(10).says("publishing_behind");
    assert!(site.diagnostics().contains("a checkpoint of the log was signed"), "{}", site.diagnostics());
    daemon.stop();
}

#[test]
fn a_purge_is_certified_and_the_certificate_is_checked_without_the_daemon() {
    let site = Site::new(&[("demo-ocm-contacts", &shipped("demo-ocm-contacts"))]);
    let daemon = site.start();
    policies_active(&site, &daemon);
    site.drop_samples();
    let _intakes = taken_in(&site, &daemon, 2);
    let plan = planned(&site, "demo-ocm-contacts");
    let plan = text(&plan, "plan");
    let entity = text(&site.rows(&["plan", "items", plan])[0], "entity").to_owned();
    let _alive = site.ctl(&["certificate", "item", &entity]).ends(2).says("was not purged by a run");
    let _unknown = site.ctl(&["certificate", "run", "R1"]).ends(2).says("there is no run R1");
    if !is_approved(&site, plan) {
        return daemon.stop();
    }
    let run = site.ctl(&["run", "start", plan, "--watch", "--output", "jsonl"]).ends(0).rows();
    let run = text(run.last().expect("a row"), "run").to_owned();
    let file = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let (of_run, of_item, page) = (file("run.certificate"), file("item.certificate"), file("item.html"));
    daemon.until("a checkpoint covers it", || {
        (site.ctl(&["certificate", "run", &run, "--into", &of_run]).code == 0).then_some(())
    });
    let _written = site.ctl(&["certificate", "item", &entity, "--into", &of_item]).ends(0);
    let of_event = file("item.proof");
    daemon.until("a checkpoint covers the newest event about it", || {
        (site.ctl(&["audit", "prove", &entity, "--into", &of_event]).code == 0).then_some(())
    });
    let _nobody = site.ctl(&["audit", "prove", "E4000000"]).ends(2);
    let _neither = site.ctl(&["audit", "prove", "what"]).ends(2).says("or an entity, such as E1042");
    let redirected = file("redirected.certificate");
    fs::write(&redirected, site.ctl(&["certificate", "item", &entity]).ends(0).out).expect("a file");
    let key = text(&site.rows(&["audit", "keys"])[0], "verifier_key").to_owned();
    daemon.stop();

    let proven = site.json(&["audit", "verify-proof", &of_event, "--key", &key]);
    assert_eq!((text(&proven, "kind"), text(&proven, "entity")), ("KeyDestroyed", entity.as_str()), "{proven}");
    let checked = |file: &str| site.json(&["certificate", "verify", file, "--key", &key]);
    let (run_says, item_says) = (checked(&of_run), checked(&of_item));
    assert_eq!(checked(&redirected)["statement"], item_says["statement"]);
    for says in [&run_says, &item_says] {
        let statement = &says["statement"];
        assert_eq!((text(statement, "policy"), text(statement, "run_end")), ("demo-ocm-contacts", "completed"));
        assert_eq!((&statement["purged"], statement["approvals"].as_array().map(Vec::len)), (&json!(3), Some(1)));
        let sagas = statement["sagas"].as_object().expect("sagas");
        assert!(sagas.values().all(|saga| saga["destroyed"] == saga["absent"] && saga["end"] == "completed"), "{says}");
        // Until when there are copies, no event of the run says.
        let said = &says["said_without_proof"];
        let kept = said["copies"].as_array().expect("bundles");
        assert!(sagas.len() == kept.len() && kept.iter().all(|one| one["kept_until"].is_null()), "{says}");
        let deliveries = said["deliveries"].as_array().expect("deliveries");
        assert!(deliveries.len() == 1 && deliveries[0]["source"] == "crm", "{says}");
    }
    assert_eq!(item_says["subject"], json!({ "entity": entity }));
    assert!(item_says["statement"]["destroyed_at"].is_string() && run_says["statement"]["destroyed_at"].is_null());
    let _page = site.ctl(&["certificate", "page", &of_item, "--key", &key, "--into", &page]).ends(0);
    let told = fs::read_to_string(&page).expect("a page");
    for words in ["Certificate of disposition", "Bundle of S", "Deliveries of the source crm"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let whole = fs::read_to_string(&of_item).expect("a certificate");
    fs::write(&of_item, whole.replacen("\"purged\": 3", "\"purged\": 4", 1)).expect("a file");
    let _forged = site.ctl(&["certificate", "verify", &of_item, "--key", &key]).ends(20);
}

#[test]
fn nothing_is_signed_while_the_checkpoints_from_before_are_gone() {
    let site = Site::new(&[]);
    let daemon = site.start();
    let signed = || (!site.rows(&["audit", "checkpoints"]).is_empty()).then_some(());
    daemon.until("a checkpoint is signed", signed);
    daemon.stop();
    let path = site.path("state/tree/checkpoints");
    let before = fs::read(&path).expect("the checkpoints");
    fs::remove_file(&path).expect("a file");
    let daemon = site.start();
    let _told = site.ctl(&["status"]).ends(10).says("tree/checkpoints is missing");
    assert!(!path.exists(), "no other is made in its place");
    daemon.stop();
    fs::write(&path, before).expect("the checkpoints");
    let daemon = site.start();
    daemon.until("it is signed again", signed);
    let _good = site.ctl(&["status"]).ends(0);
    daemon.stop();
}
