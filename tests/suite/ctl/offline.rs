//! What needs no daemon, and what is said when there is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use retention_tests::daemon::{Site, program};

use super::{old_people, shipped};

#[test]
fn policies_are_checked_and_tested_without_a_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("a path").to_owned();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
    write("demo-ocm-contacts.toml", &shipped("demo-ocm-contacts"));
    write("old-people.toml", &old_people("P1Y", "P0D"));

    let good = program("retentionctl", &["policy", "check", &path, "--output", "json"]).ends(0);
    assert_eq!(good.json(), serde_json::json!([]));
    let tests = program("retentionctl", &["policy", "test", &path, "--output", "jsonl"]).ends(0).rows();
    assert!(tests.len() == 4 && tests.iter().all(|row| row["passed"] == true), "{tests:?}");

    write("old-people.toml", &old_people("P1Y", "P0D").replace("P1Y", "P90Y"));
    let failing = program("retentionctl", &["policy", "test", &path, "--output", "jsonl"]).ends(78).rows();
    assert_eq!(failing.iter().filter(|row| row["passed"] == false).count(), 1, "{failing:?}");
    let checked = program("retentionctl", &["policy", "check", &path, "--output", "jsonl"]).ends(78).rows();
    assert_eq!(checked[0]["file"], "old-people.toml", "{checked:?}");

    let misspelt = old_people("P1Y", "P0D").replace("max_items", "max_item");
    let line = 1 + misspelt.lines().position(|line| line.contains("max_item")).expect("the line");
    write("old-people.toml", &misspelt);
    let wrong = program("retentionctl", &["policy", "check", &path, "--output", "jsonl"]).ends(78).rows();
    assert_eq!((&wrong[0]["file"], &wrong[0]["line"]), (&"old-people.toml".into(), &line.into()), "{wrong:?}");
    assert!(wrong[0]["message"].as_str().is_some_and(|message| message.contains("max_items")), "{wrong:?}");
    let _also_said = program("retentionctl", &["policy", "test", &path]).ends(78).says("max_item");
    let _no_directory = program("retentionctl", &["policy", "check", "/no/such/directory"]).ends(2).says("error:");
}

#[test]
fn what_the_daemon_would_refuse_to_read_is_refused_by_the_check() {
    use std::os::unix::ffi::OsStrExt as _;
    fn told(make: &dyn Fn(&Path), why: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("old-people.toml"), old_people("P1Y", "P0D")).expect("a file");
        make(dir.path());
        let path = dir.path().to_str().expect("a path");
        let _refused = program("retentionctl", &["policy", "check", path]).ends(78).says(why);
    }
    let latin = |dir: &Path| fs::write(dir.join("latin.toml"), b"schema = 1\ntitle = \"B\xfcro\"\n").expect("a file");
    told(&latin, "latin.toml is not UTF-8: line 2");
    told(&|dir: &Path| fs::create_dir(dir.join("folder.toml")).expect("a directory"), "folder.toml is not a file");
    told(
        &|dir: &Path| drop(std::os::unix::net::UnixListener::bind(dir.join("s.toml")).expect("a socket")),
        "is not a file",
    );
    told(&|dir: &Path| fs::write(dir.join("KEEP.TOML"), "").expect("a file"), "KEEP.TOML does not end with .toml");
    let nameless = |dir: &Path| fs::write(dir.join(std::ffi::OsStr::from_bytes(b"b\xfc.toml")), "").expect("a file");
    told(&nameless, "has a name that is not UTF-8");
    told(
        &|dir: &Path| fs::write(dir.join("huge.toml"), vec![b'#'; 262_145]).expect("a file"),
        "huge.toml is larger than",
    );
}

#[test]
fn a_new_policy_passes_the_check_and_nothing_is_written_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("a path").to_owned();
    let new = |name: &str| program("retentionctl", &["policy", "new", name, "--dir", &path, "--output", "json"]);
    let _written = new("crm-leads").ends(0);
    let good = program("retentionctl", &["policy", "check", &path, "--output", "json"]).ends(0);
    assert_eq!(good.json(), serde_json::json!([]));
    let tests = program("retentionctl", &["policy", "test", &path, "--output", "jsonl"]).ends(0).rows();
    assert!(tests.len() == 3 && tests.iter().all(|row| row["passed"] == true), "{tests:?}");
    let before = fs::read_to_string(dir.path().join("crm-leads.toml")).expect("the file");
    assert!(before.contains("id = \"crm-leads\"") && before.contains("state = \"draft\""), "{before}");
    let _there = new("crm-leads").ends(2).says("crm-leads.toml");
    assert_eq!(fs::read_to_string(dir.path().join("crm-leads.toml")).expect("the file"), before);
    for name in ["../crm", "CRM", "a b", ""] {
        let refused = new(name);
        assert_ne!(refused.code, 0, "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1);
}

#[test]
fn without_a_daemon_each_question_says_so() {
    let site = Site::new(&[]);
    for question in [&["status"][..], &["entity", "list"], &["plan", "make", "p"], &["store", "verify"]] {
        let said = site.ctl(question).ends(69).says("the daemon cannot be reached").says("hint: is it running?");
        assert_eq!(said.out, "", "{}", said.asked);
    }
    let _usage = site.ctl(&["plan", "mke"]).ends(2).says("make");
    let _usage = site.ctl(&["entity", "show", "seventeen"]).ends(2).says("seventeen");
    let _not_all =
        site.ctl(&["pause", "--reason", "look"]).ends(2).says("--policy <POLICY>").says("--mailbox <ENTITY>");
    let _help = site.ctl(&["--help"]).ends(0).says("Exit codes:").says("the daemon cannot be reached");
    let _version = site.ctl(&["--version"]).ends(0).says("retentionctl ");
    let script = site.ctl(&["completions", "bash"]).ends(0);
    assert!(script.out.contains("_retentionctl()") && script.out.contains("quarantine"), "{}", script.out);
}

#[test]
fn a_configuration_is_checked_without_a_daemon() {
    let site = Site::new(&[]);
    let _good = site.retentiond(&["config", "check"]).ends(0).says("good, 2 sources");
    let mapping = fs::read_to_string(site.path("mapping.toml")).expect("the mapping");
    site.write("mapping.toml", &mapping.replace("content =", "contents ="));
    let _mapping = site.retentiond(&["config", "check"]).ends(78).says("mapping.toml").says("contents");
    fs::remove_file(site.path("mapping.toml")).expect("a removal");
    let _absent = site.retentiond(&["config", "check"]).ends(78).says("is not there");
    site.write("mapping.toml", &mapping);
    // What is read only when it is needed is told and refuses nothing.
    let server = "[[server]]\nname = \"mail\"\nhost = \"mail.example.org\"\nca_file = \"ca.pem\"\nlogin = \"authzid\"\n\
                  admin = { login = \"a\", file = \"admin.pw\" }\n";
    let plain = site.config();
    site.write("config.toml", &format!("{plain}{server}"));
    let checked = |site: &Site| site.retentiond(&["config", "check"]);
    let told = checked(&site).ends(0).says("good, 2 sources").says("the ca_file of [[server]] mail cannot be read");
    let told = told.says("warning: ").says("the password of the admin of [[server]] mail cannot be read");
    let _where = told.says("ca.pem: ").says("admin.pw: ");
    site.write("ca.pem", "x");
    fs::create_dir(site.path("admin.pw")).expect("a directory");
    let _directory = checked(&site).ends(0).says("admin.pw: ");
    fs::remove_dir(site.path("admin.pw")).expect("a removal");
    site.write("admin.pw", "x");
    let quiet = checked(&site).ends(0);
    assert!(!quiet.err.contains("warning"), "{}", quiet.err);
    // A pipe is told and not waited for.
    for (name, code) in [("ca.pem", 0), ("mapping.toml", 78)] {
        let path = site.path(name);
        fs::remove_file(&path).expect("a removal");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        let told = checked(&site).ends(code).says(&format!("{name}: "));
        let _pipe = told.says("not a regular file");
    }
    fs::remove_file(site.path("mapping.toml")).expect("a removal");
    site.write("mapping.toml", &mapping);
    site.write("config.toml", &plain);
    site.write("config.toml", &site.config().replace("drop_dir = \"people\"", "drop_directory = \"people\""));
    let line = 1 + site.config().lines().position(|line| line == "drop_dir = \"people\"").expect("the line");
    let place = format!("config.toml:{line}:1");
    let _bad = site.retentiond(&["config", "check"]).ends(78).says("drop_directory").says(&place);
    let _not_started = site.retentiond(&["run"]).ends(78).says("drop_directory");
}

#[test]
fn a_store_is_made_verified_and_rebuilt_without_a_daemon() {
    let site = Site::new(&[]);
    let _again = site.retentiond(&["init"]).ends(10).says("already");
    let _good = site.retentiond(&["store", "verify"]).ends(0).says("good");
    let _rebuilt = site.retentiond(&["store", "rebuild"]).ends(0).says("folded again");
    let _good = site.retentiond(&["store", "verify"]).ends(0).says("good");
    let (key, aside) = (site.path("root.key"), site.path("aside.key"));
    fs::rename(&key, &aside).expect("a rename");
    let _no_key = site.retentiond(&["run"]).ends(10).says("there is no root key");
    fs::copy(&aside, &key).expect("a copy");
    fs::write(&key, [7; 32]).expect("another key");
    let _other_key = site.retentiond(&["run"]).ends(10).says("does not open this store");
    fs::rename(&aside, &key).expect("a rename");
    fs::remove_dir_all(site.path("state")).expect("a lost disk");
    let _lost = site.retentiond(&["run"]).ends(10).says("init");
    assert!(!site.path("state/journal").exists(), "a lost disk looks like a fresh install");
}

#[test]
fn an_event_store_that_was_set_aside_does_not_stay() {
    let site = Site::new(&[]);
    site.start().stop();
    // What an earlier program left, and how the last stop was cannot be read.
    fs::create_dir(site.path("state/events.damaged-1")).expect("a directory");
    fs::write(site.path("state/events.state"), "damaged").expect("a write");
    let daemon = site.start();
    assert_eq!(site.rows(&["audit", "query", "--kind", "StoreRebuilt"]).len(), 1);
    let names = fs::read_dir(site.path("state")).expect("the store").map(|entry| entry.expect("an entry").file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("damaged")).collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.stop();
    let _good = site.retentiond(&["store", "verify"]).ends(0).says("good");
}

/// Keeps `docs/man` the pages of the programs as they are.
#[test]
fn the_man_pages_are_up_to_date() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("a path");
    let _written = program("retentionctl", &["man", path]).ends(0);
    let _written = program("retentiond", &["man", path]).ends(0);
    let pages = |dir: &Path| -> BTreeMap<String, String> {
        let entries = fs::read_dir(dir).expect("pages").map(|entry| entry.expect("an entry").path());
        entries
            .map(|page| {
                let name = page.file_name().expect("a name").to_string_lossy().into_owned();
                (name, fs::read_to_string(page).expect("a page"))
            })
            .collect()
    };
    let kept = pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man"));
    let now = pages(dir.path());
    let differing: Vec<&String> =
        kept.keys().chain(now.keys()).filter(|name| kept.get(*name) != now.get(*name)).collect();
    assert!(
        differing.is_empty(),
        "these pages differ: {differing:?}; write them with `retentionctl man docs/man` and `retentiond man docs/man`"
    );
    let _nowhere = program("retentionctl", &["man", "/no/such/directory"]).ends(2).says("error: failed to write");
}
