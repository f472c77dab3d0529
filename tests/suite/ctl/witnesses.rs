//! Checkpoints are cosigned by a witness that is none of ours, and whoever puts the log back meets it again.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use retention_tests::daemon::{Daemon, Site};
use serde_json::{Value, json};

use super::proofs::auditor;
use super::text;

/// `tests/witness.py`, in a directory of its own.
struct Witness {
    child: Child,
    dir: PathBuf,
    port: String,
    key: String,
}

impl Witness {
    fn start(site: &Site, name: &str) -> Self {
        let dir = site.path(name);
        fs::create_dir(&dir).expect("a directory");
        fs::write(dir.join("logs"), "").expect("a file");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("witness.py");
        let child = Command::new("python3").arg(script).arg(&dir).arg(name).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its first line");
        let (port, key) = line.trim().split_once(' ').expect("a port and a key: is python3-cryptography installed?");
        Self { child, dir, port: port.to_owned(), key: key.to_owned() }
    }

    fn knows(&self, keys: &str) {
        fs::write(self.dir.join("logs"), keys).expect("a file");
    }

    fn section(&self, name: &str) -> String {
        let (port, key) = (&self.port, &self.key);
        format!("[[audit.witness]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/prefix\"\nkey = \"{key}\"\n")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until people are told something of a witness.
fn told(site: &Site, daemon: &Daemon<'_>, what: &str, witness: &str) -> String {
    daemon.until(what, || {
        let status = site.ctl(&["status", "--output", "json"]).json();
        let attention = status["attention"].as_array().expect("a list").clone();
        let found = attention.into_iter().find(|told| told["what"] == what && told["witness"] == witness)?;
        Some(text(&found, "message").to_owned())
    })
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of {}", from.display());
}

#[test]
fn a_witness_cosigns_everybody_can_check_it_and_a_log_that_was_put_back_is_refused() {
    let site = Site::new(&[]);
    let daemon = site.start();
    let signed = || (!site.rows(&["audit", "checkpoints"]).is_empty()).then_some(());
    daemon.until("a checkpoint is signed", signed);
    let log = text(&site.rows(&["audit", "keys"])[0], "verifier_key").to_owned();
    daemon.stop();

    let (one, away) = (Witness::start(&site, "w.example-one"), Witness::start(&site, "w.example-away"));
    one.knows(&log);
    let sections = format!("{}{}[diagnostics]", one.section("one"), away.section("away"));
    site.write("config.toml", &site.config().replace("[diagnostics]", &sections));
    let early = site.path("early");
    copy_dir(&site.path("state"), &early);
    let daemon = site.start();

    // It cosigns, and what is handed out has it.
    let place = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let (newest, proof, dir) = (place("newest"), place("event.proof"), place("log"));
    let cosigned = daemon.until("it is cosigned", || {
        let told = site.ctl(&["audit", "checkpoint", "--cosigned", "--output", "json"]);
        (told.code == 0).then(|| told.json())
    });
    assert_eq!(text(&cosigned["cosigned_by"][0], "witness"), "w.example-one", "{cosigned}");
    // It signs of this life of the log too, which the copy does not have.
    let status = || site.ctl(&["status", "--output", "json"]).json();
    let lived = status()["position"].as_u64().expect("a position");
    daemon.until("this life is cosigned", || {
        (status()["witnesses"][0]["cosigned"].as_u64() >= Some(lived)).then_some(())
    });
    let _kept = site.ctl(&["audit", "checkpoint", "--cosigned", "--into", &newest]).ends(0);
    let _made = site.ctl(&["audit", "prove", "1", "--into", &proof]).ends(0);
    let _made = site.ctl(&["audit", "export", &dir, "--cosigned"]).ends(0);
    let status = status();
    let row = &status["witnesses"][0];
    assert_eq!((text(row, "witness"), row["cosigned"].is_u64()), ("one", true), "{status}");
    let mut socket = UnixStream::connect(site.path("run/control.sock")).expect("the socket");
    socket.write_all(b"GET /metrics HTTP/1.0\r\nhost: retentiond\r\n\r\n").expect("a request");
    let mut metrics = String::new();
    socket.read_to_string(&mut metrics).expect("the metrics");
    assert!(metrics.contains("retentiond_witness_behind{witness=\"one\"} 0"), "{metrics}");
    // One that does not know the log is told of, and keeps the other from nothing.
    let message = told(&site, &daemon, "witness_behind", "away");
    assert!(message.contains("does not know the log"), "{message}");
    let _person = site.ctl(&["status"]).ends(10).says("witness_behind");
    let rows = site.rows(&["store", "verify"]);
    assert!(rows.iter().any(|row| row["part"] == "cosignatures" && row["state"] == "intact"), "{rows:?}");
    daemon.stop();

    // Anybody checks it offline, and who asks for a witness that did not sign is told so.
    let check = |file: &str, witnesses: &[&str]| {
        let command = if file == dir { "verify" } else { "verify-proof" };
        site.ctl(&[&["audit", command, file, "--key", &log, "--output", "json"], witnesses].concat())
    };
    for file in [&proof, &dir] {
        let holds = check(file, &["--witness", &one.key]).ends(0).json();
        assert_eq!(text(&holds["cosigned_by"][0], "witness"), "w.example-one", "{holds}");
        let _too_few = check(file, &["--witness", &one.key, "--witness", &away.key])
            .ends(20)
            .says("only 1 of the witnesses cosigned the checkpoint, and 2 are needed");
        let enough = ["--witness", &one.key, "--witness", &away.key, "--witnesses-needed", "1"];
        let _enough = check(file, &enough).ends(0);
        let _none = check(file, &[]).ends(0);
        let _key_of_the_log = check(file, &["--witness", &log]).ends(2).says("signs logs and not cosignatures");
    }
    for file in [&newest, &proof, &dir] {
        let (code, said) = auditor(&[&log, file]);
        assert_eq!(code, 0, "{said}");
    }
    let forged = fs::read_to_string(&proof).expect("a proof");
    let line = forged.lines().last().expect("a line").to_owned();
    let (by, signed) = line.rsplit_once(' ').expect("a signature");
    assert!(by.ends_with("w.example-one"), "{line}");
    let other = if &signed[90..91] == "A" { "B" } else { "A" };
    site.write("event.proof", &forged.replace(signed, &format!("{}{other}{}", &signed[..90], &signed[91..])));
    let _forged = check(&proof, &["--witness", &one.key]).ends(20).says("a cosignature of this witness is wrong");

    // The state directory is put back to an earlier time: this machine notices nothing, the witness does.
    let witnessed = fs::read_to_string(one.dir.join("state")).expect("what it cosigned");
    fs::remove_dir_all(site.path("state")).expect("the store");
    fs::rename(&early, site.path("state")).expect("the earlier one");
    let daemon = site.start();
    let message = told(&site, &daemon, "witness_contradicts", "one");
    assert!(message.contains("put back") || message.contains("rewritten"), "{message}");
    assert_eq!(fs::read_to_string(one.dir.join("state")).expect("what it cosigned"), witnessed);
    let _person = site.ctl(&["status"]).ends(10).says("witness_contradicts");
    let none = site.ctl(&["audit", "checkpoint", "--cosigned"]);
    assert_ne!(none.code, 0, "it cosigned nothing of that");
    let quiet: Value = site.ctl(&["audit", "checkpoint", "--output", "json"]).ends(0).json();
    assert_eq!(quiet["cosigned_by"], json!([]));
    daemon.stop();
}
