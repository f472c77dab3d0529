//! The restore drill: the store is lost, an old backup is restored, and nobody who was erased comes back.

use std::fs;
use std::process::Command;

use retention_tests::daemon::Site;
use serde_json::{Value, json};

use super::{is_approved, people, planned, policies_active, shipped, taken_in, text};

const BACKUP: &str = "[backup]\ndir = \"copies\"\nkeys_dir = \"copied-keys\"\nerasures = \"erasures\"\n[diagnostics]";

fn attention(site: &Site) -> Vec<Value> {
    let status = site.ctl(&["status", "--output", "json"]).json();
    status["attention"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_store_that_is_lost_comes_back_without_those_who_were_erased() {
    let site = Site::new(&[("demo-ocm-contacts", &shipped("demo-ocm-contacts"))]);
    let none = site.start();
    let _nowhere = site.ctl(&["backup", "make"]).ends(2).says("the configuration has no [backup]");
    none.stop();
    site.write("config.toml", &site.config().replace("[diagnostics]", BACKUP));
    let daemon = site.start();
    policies_active(&site, &daemon);
    site.drop_samples();
    site.drop_people("people", &people(0..10, "2030-01-01"));
    let _intakes = taken_in(&site, &daemon, 3);

    let parts = site.ctl(&["backup", "make", "--output", "json"]).ends(0).json();
    assert_eq!((&parts[0]["part"], &parts[1]["part"]), (&json!("log"), &json!("keys")), "{parts}");
    let backups = site.rows(&["backup", "list"]);
    let last = backups[0]["last"].as_u64().expect("a position").to_string();
    assert_eq!((backups.len(), &backups[0]["keys"]), (1, &json!(true)), "{backups:?}");
    let read_back = site.ctl(&["backup", "verify", &last, "--output", "json"]).ends(0).json();
    assert_eq!(read_back, parts, "as many bytes as were written");
    let _unknown = site.ctl(&["backup", "verify", "1"]).ends(2).says("there is no such backup");

    let plan = planned(&site, "demo-ocm-contacts");
    let plan = text(&plan, "plan");
    let erased = text(&site.rows(&["plan", "items", plan])[0], "entity").to_owned();
    if !is_approved(&site, plan) {
        return daemon.stop();
    }
    let _done = site.ctl(&["run", "start", plan, "--watch"]).ends(0);
    let _gone = site.ctl(&["entity", "show", &erased]).ends(6);
    let ledger = || fs::read_to_string(site.path("erasures")).unwrap_or_default();
    // What is said of nobody says how far the ledger speaks.
    let destroyed = || ledger().matches("\ndestroyed ").count() - ledger().matches("\ndestroyed 0 ").count();
    daemon.until("the ledger has all of them", || (destroyed() == 3).then_some(()));
    assert!(ledger().contains("\ndestroyed 0 "), "it speaks up to the backup");
    let _well = site.ctl(&["status"]).ends(0);
    let covered = daemon.until("a checkpoint covers it", || {
        let rows = site.ctl(&["audit", "checkpoints", "--output", "jsonl"]).ends(0).rows();
        let newest = rows.last().filter(|row| row["size"].as_u64() > backups[0]["last"].as_u64());
        newest.map(|row| text(row, "note").to_owned())
    });
    site.write("checkpoint", &covered);
    daemon.stop();

    fs::rename(site.path("state"), site.path("lost")).expect("the store is lost");
    let checkpoint = site.path("checkpoint");
    let checkpoint = checkpoint.to_str().expect("a path");
    // The store that was lost is still there, so its log tells as well.
    let lost = site.path("lost");
    let lost = lost.to_str().expect("a path");
    let _tried = site
        .retentiond(&["restore", "--without-erasures", "--lost", lost])
        .ends(0)
        .says("whom the lost log in ")
        .says("3 keys that were destroyed since were left out");
    fs::rename(site.path("state"), site.path("tried")).expect("it is put away");
    let _said = site
        .retentiond(&["restore", "--checkpoint", checkpoint])
        .ends(0)
        .says("3 keys that were destroyed since were left out")
        .says("the ledger of erasures speaks until ")
        .says("events that the newest checkpoint covers are lost")
        .says("It only observes");
    let _twice = site.retentiond(&["restore"]).ends(10).says("a restore never writes over anything");
    let _good = site.retentiond(&["store", "verify"]).ends(0);

    let daemon = site.start();
    let told = attention(&site);
    assert!(told.iter().any(|told| told["what"] == "store_restored" && told["ledger_read"] == true), "{told:?}");
    let _gone = site.ctl(&["entity", "show", &erased]).ends(6);
    daemon.until("the ledger knows of the restore", || {
        fs::read_to_string(site.path("erasures")).unwrap_or_default().contains("\nrestored ").then_some(())
    });
    let _reason = site.ctl(&["backup", "confirm-restore", "--reason", "a drill"]).ends(0);
    let _confirmed = site.ctl(&["backup", "confirm-restore", "--reason", "again"]).ends(2).says("no restore waits");
    daemon.until("it is well", || (site.ctl(&["status"]).code == 0).then_some(()));
    // The next backup goes on where the old ones were.
    let _goes_on = site.ctl(&["backup", "make"]).ends(0);
    assert_eq!(site.rows(&["backup", "list"]).len(), 2);

    // What was erased leaves the disk, and the daemon goes on.
    let _begun = site.ctl(&["store", "compact"]).ends(0);
    let compacted = daemon.until("it is compacted", || {
        // In between nobody answers at all.
        let said = site.ctl(&["audit", "query", "--kind", "StoreCompacted", "--output", "jsonl"]);
        if said.code == 0 { said.rows().pop() } else { None }
    });
    assert!(text(&compacted, "summary").contains("bodies=3"), "{compacted}");
    let _whole = site.ctl(&["store", "verify"]).ends(0);
    let _gone = site.ctl(&["entity", "show", &erased]).ends(6);
    let _goes_on = site.ctl(&["backup", "make"]).ends(0);
    daemon.stop();
    let _nothing_more =
        site.retentiond(&["store", "compact"]).ends(0).says("0 bodies that nobody can open were removed");
    let _good = site.retentiond(&["store", "verify"]).ends(0);
}

#[test]
fn a_restore_without_a_ledger_has_to_be_asked_for_in_so_many_words() {
    let site = Site::new(&[]);
    site.write(
        "config.toml",
        &site.config().replace("[diagnostics]", &BACKUP.replace("erasures = \"erasures\"\n", "")),
    );
    let daemon = site.start();
    let _made = site.ctl(&["backup", "make"]).ends(0);
    daemon.stop();
    fs::rename(site.path("state"), site.path("lost")).expect("the store is lost");
    let _refused = site.retentiond(&["restore"]).ends(78).says("no ledger of erasures is named");
    assert!(!site.path("state").exists(), "nothing was made");
    let _asked =
        site.retentiond(&["restore", "--without-erasures"]).ends(0).says("nobody knows whether events are lost");
}

#[test]
fn the_schedule_makes_a_backup_that_only_the_private_key_brings_back() {
    let site = Site::new(&[("demo-ocm-contacts", &shipped("demo-ocm-contacts"))]);
    let identity = site.path("identity");
    let made = Command::new("age-keygen").arg("-o").arg(&identity).output().expect("age is installed");
    let told = String::from_utf8(made.stderr).expect("text");
    let public = told.trim().strip_prefix("Public key: ").expect("a public key").to_owned();
    let with = |keys_dir: &str| {
        let backup = format!(
            "[backup]\ndir = \"copies\"\nkeys_dir = \"{keys_dir}\"\nschedule = \"0 3 1 1 *\"\nrecipients = [\"{public}\"]\n[diagnostics]"
        );
        site.config().replace("[diagnostics]", &backup)
    };
    let plain = site.config();
    site.write("no-directory", "");
    site.write("config.toml", &with("no-directory"));
    let daemon = site.start();
    daemon.until("the failure is told", || {
        attention(&site).iter().any(|told| told["what"] == "backup_failed").then_some(())
    });
    let _waits = site.ctl(&["status"]).ends(10);
    daemon.stop();

    site.write("config.toml", &plain);
    site.write("config.toml", &with("copied-keys"));
    let daemon = site.start();
    let by = daemon.until("there is one", || {
        let told = site.ctl(&["audit", "query", "--kind", "BackupMade", "--output", "jsonl"]);
        (told.code == 0).then(|| told.rows()).filter(|rows| !rows.is_empty())
    });
    assert_eq!((by.len(), &by[0]["actor"]), (1, &json!("daemon")), "{by:?}");
    let backups = site.rows(&["backup", "list"]);
    assert_eq!((backups.len(), &backups[0]["encrypted"]), (1, &json!(true)), "{backups:?}");
    let _well = site.ctl(&["status"]).ends(0);
    daemon.stop();

    fs::rename(site.path("state"), site.path("lost")).expect("the store is lost");
    let restore = ["restore", "--without-erasures"];
    let _locked = site.retentiond(&restore).ends(10).says("--identity FILE");
    let identity = identity.to_str().expect("a path");
    let _wrong = site.retentiond(&[&restore[..], &["--identity", "config.toml"]].concat()).ends(78);
    let _back = site.retentiond(&[&restore[..], &["--identity", identity]].concat()).ends(0).says("It only observes");
    let _good = site.retentiond(&["store", "verify"]).ends(0);
}

#[test]
fn a_backup_that_somebody_changed_where_it_lies_is_refused_by_whatever_reads_it() {
    let site = Site::new(&[]);
    site.write("config.toml", &site.config().replace("[diagnostics]", BACKUP));
    let daemon = site.start();
    let _made = site.ctl(&["backup", "make"]).ends(0);
    let last = site.rows(&["backup", "list"])[0]["last"].as_u64().expect("a position");
    let place = last.to_string();
    let _good = site.ctl(&["backup", "verify", &place]).ends(0);
    let manifest = site.path("copies").join(format!("manifests/{last:020}.json"));
    let text = fs::read_to_string(&manifest).expect("a manifest");
    // It says the same, and this store did not write it.
    fs::write(&manifest, format!("{text}\n")).expect("a write");
    let forged = "is not one that this store wrote";
    let _seen = site.ctl(&["backup", "verify", &place]).ends(20).says(forged);
    let _nothing_rests_on_it = site.ctl(&["backup", "make"]).ends(20).says(forged);
    daemon.stop();
    fs::rename(site.path("state"), site.path("lost")).expect("the store is lost");
    let restore = ["restore", "--without-erasures"];
    let _refused = site.retentiond(&restore).ends(20).says(forged);

    // As programs made it that knew no stamps.
    fs::write(&manifest, text).expect("a write");
    fs::remove_file(manifest.with_extension("stamp")).expect("a stamp");
    fs::remove_file(site.path("copied-keys").join(format!("{last:020}/manifest.stamp"))).expect("a stamp");
    let _told = site.retentiond(&restore).ends(0).says("has no stamp of the store").says("It only observes");
    let _good = site.retentiond(&["store", "verify"]).ends(0);
}
