//! The log as it grows: followed through interruptions and restarts, and in the form of CloudEvents.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use retention_tests::daemon::{Daemon, Following, Site};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{people, taken_in, text};

fn position(row: &Value) -> u64 {
    row["position"].as_u64().expect("a position")
}

/// Waits until so many rows were told.
fn told_so_far(daemon: &Daemon<'_>, following: &Following, rows: usize) {
    daemon.until("rows are told", || (following.rows().len() >= rows).then_some(()));
}

/// Where it says that it stopped.
fn stopped_at(err: &str) -> String {
    let at = err.split("stopped at position ").nth(1).expect("it says where it stopped");
    at.split(',').next().expect("a position").to_owned()
}

#[test]
fn following_goes_on_where_it_stopped_without_a_gap_or_a_double() {
    let site = Site::new(&[]);
    let daemon = site.start();
    let asked = ["audit", "query", "--follow", "--output", "jsonl", "--actor", "daemon", "--after"];
    let following = |after: &str| site.follow(&[&asked[..], &[after]].concat());

    // Interrupted, as by Ctrl-C.
    let first = following("0");
    told_so_far(&daemon, &first, 2);
    site.drop_people("one", &people(0..5, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 1);
    daemon.until("the end of the intake is told", || {
        first.rows().iter().any(|row| row["kind"] == "IntakeCompleted").then_some(())
    });
    first.signal(Signal::INT);
    let first = first.ended().ends(0).says("as asked");

    // Ended by the daemon, which does not wait for it.
    let second = following(&stopped_at(&first.err));
    site.drop_people("two", &people(5..9, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 2);
    told_so_far(&daemon, &second, 2);
    daemon.stop();
    let second = second.ended().ends(0).says("as the daemon stops");
    let unreachable = following(&stopped_at(&second.err)).ended().ends(69);
    assert!(unreachable.says("cannot be reached").out.is_empty());

    let daemon = site.start();
    let newest = position(&site.rows(&["audit", "query", "--actor", "daemon", "--limit", "1"])[0]);
    let third = following(&stopped_at(&second.err));
    daemon.until("everything is told", || third.rows().last().is_some_and(|row| position(row) >= newest).then_some(()));
    third.signal(Signal::TERM);
    let third = third.ended().ends(0);
    let upto = third.rows().last().map(position).expect("a row");
    let followed: Vec<Value> = [first.rows(), second.rows(), third.rows()].concat();
    let mut listed = site.rows(&["audit", "query", "--actor", "daemon", "--oldest-first"]);
    listed.retain(|row| position(row) <= upto);
    assert_eq!(followed, listed);
    assert!(followed.iter().all(|row| row["kind"] != "RecordsOpened"), "following opens nothing");
    daemon.stop();
}

#[test]
fn filters_combine_and_people_see_one_table() {
    let site = Site::new(&[]);
    let daemon = site.start();
    let started = ["audit", "query", "--follow", "--kind", "DaemonStarted", "--since", "2020-01-01", "--limit", "1"];
    let once = site.follow(&started).ended().ends(0).says("after as many rows as --limit allows");
    assert_eq!(once.out.lines().count(), 2, "a heading and a row: {}", once.out);
    let over = site.ctl(&["audit", "query", "--follow", "--until", "2020-01-01", "--output", "json"]).ends(0);
    assert_eq!(over.json(), json!([]), "nothing that is to come was recorded before that");
    let quiet = site.ctl(&["audit", "query", "--follow", "--limit", "1", "--quiet"]).ends(0);
    assert_eq!(quiet.err, "");
    let beyond = site.ctl(&["audit", "query", "--follow", "--after", "4000000"]).ends(2);
    let unknown = site.ctl(&["audit", "query", "--follow", "--kind", "Nothing"]).ends(2);
    for refused in [beyond, unknown] {
        assert!(!refused.err.contains("stopped at"), "it was never followed: {}", refused.err);
    }
    // A watcher that is killed keeps nobody waiting.
    drop(site.follow(&["audit", "query", "--follow"]));
    daemon.stop();
}

#[test]
fn a_mailbox_is_named_by_its_address_or_its_number_and_told_with_what_lives_in_it() {
    let site = Site::new(&[]);
    let daemon = site.start();
    site.drop_people("one", &people(0..5, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 1);
    let mailbox = text(&site.rows(&["entity", "list", "--kind", "mailbox"])[0], "entity").to_owned();
    let asked = ["audit", "query", "--output", "jsonl", "--mailbox"];
    let told = site.rows(&["audit", "query", "--mailbox", "sales@example.org"]);
    assert_eq!(told.len(), 6, "the mailbox and five people: {told:?}");
    assert_eq!(told.iter().filter(|row| row["entity"] == json!(mailbox)).count(), 1);
    assert!(told.iter().all(|row| row["kind"] == "EntityChanged"), "{told:?}");
    assert_eq!(site.rows(&["audit", "query", "--mailbox", &mailbox]), told);
    let page = site.ctl(&[&asked[..], &[&mailbox, "--oldest-first", "--limit", "2"]].concat());
    let page = page.ends(0).says("there is more: --after ").rows();
    let after = position(&page[1]).to_string();
    let rest = site.rows(&["audit", "query", "--mailbox", &mailbox, "--oldest-first", "--after", &after]);
    assert!([page, rest].concat().iter().rev().eq(&told));
    let csv = ["audit", "query", "--mailbox", "sales@example.org", "--kind", "EntityChanged", "--output", "csv"];
    assert_eq!(site.ctl(&csv).ends(0).out.lines().count(), 7, "a heading and six rows");

    // What is recorded later is told as it comes.
    let following = site.follow(&[&asked[..], &["sales@example.org", "--follow", "--limit", "8"]].concat());
    told_so_far(&daemon, &following, 6);
    site.drop_people("two", &people(5..9, "2030-01-01"));
    let followed = following.ended().ends(0).says("after as many rows as --limit allows").rows();
    assert!(followed.len() == 8 && followed[..6].iter().rev().eq(&told), "{followed:?}");

    for nobody in ["nobody@example.org", "E4000000"] {
        let _unknown = site.ctl(&[&asked[..], &[nobody]].concat()).ends(2).says("retentionctl mailbox list");
    }
    let person = followed.iter().find(|row| row["entity"] != json!(mailbox)).expect("a person");
    let _no_mailbox = site.ctl(&[&asked[..], &[text(person, "entity")]].concat()).ends(2).says("is no mailbox");
    daemon.stop();
}

#[test]
fn events_are_told_as_cloud_events() {
    let site = Site::new(&[]);
    let daemon = site.start();
    site.drop_people("one", &people(0..5, "2030-01-01"));
    let _intake = taken_in(&site, &daemon, 1);
    let newest = site.rows(&["audit", "query", "--limit", "1"]);
    let upto = position(&newest[0]).to_string();
    daemon.until("a checkpoint covers it", || {
        let newest = site.ctl(&["audit", "checkpoint", "--output", "json"]);
        (newest.code == 0 && newest.json()["size"].as_u64() >= upto.parse().ok()).then_some(())
    });
    let key = text(&site.rows(&["audit", "keys"])[0], "verifier_key").to_owned();
    let origin = key.split('+').next().expect("a name");
    let rows = site.rows(&["audit", "query", "--oldest-first", "--limit", &upto]);
    let asked = ["audit", "query", "--format", "cloudevents", "--limit", &upto];
    let events = site.ctl(&[&asked[..], &["--oldest-first"]].concat()).ends(0).rows();
    let followed = site.ctl(&[&asked[..], &["--follow"]].concat()).ends(0).rows();
    assert_eq!((events.len(), &events), (rows.len(), &followed));
    for (event, row) in events.iter().zip(&rows) {
        assert_eq!((text(event, "source"), &event["data"]), (origin, row));
        assert_eq!(event["id"], position(row).to_string());
        assert_eq!(event["type"], format!("org.retentiond.event.{}", text(row, "kind")));
        assert_eq!((&event["time"], &event["specversion"]), (&row["recorded_at"], &json!("1.0")));
        assert_eq!(event.get("subject"), row.get("entity").filter(|entity| !entity.is_null()));
    }
    let _table =
        site.ctl(&["audit", "query", "--format", "cloudevents", "--output", "csv"]).ends(2).says("leave --output out");

    let log = site.path("log").to_str().expect("a path").to_owned();
    let exported = site.json(&["audit", "export", &log, "--format", "cloudevents"]);
    let text = fs::read_to_string(site.path("log/events.cloudevents.jsonl")).expect("the events");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((json!(lines.len()), &lines[..events.len()]), (exported["size"].clone(), &events[..]));
    let holds = site.json(&["audit", "verify", &log, "--key", &key]);
    assert_eq!(holds["not_checked"], json!(["events.cloudevents.jsonl"]), "nobody signed these lines");
    daemon.stop();
}

/// A log that takes what it is told as it comes, and passes the positions on.
struct Siem {
    path: PathBuf,
    told: mpsc::Receiver<u64>,
    listening: JoinHandle<()>,
}

impl Siem {
    fn at(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let (pass_on, told) = mpsc::channel();
        let listening = std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(length @ 1..) = socket.recv(&mut bytes) {
                let text = std::str::from_utf8(&bytes[..length]).expect("text");
                assert!(
                    text.starts_with("<110>1 ") && text.contains(" retentiond ") && !text.contains("Jana"),
                    "{text}"
                );
                let at = text.split("position=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a position");
                pass_on.send(at.parse().expect("a number")).expect("a test that listens");
            }
        });
        Self { path, told, listening }
    }

    /// Returns the positions in their order, up to one that must come.
    fn upto(&self, last: u64) -> Vec<u64> {
        let mut told = Vec::new();
        while told.last() != Some(&last) {
            // Far beyond what a loaded machine needs: what never comes fails the test instead of holding it.
            told.push(self.told.recv_timeout(Duration::from_secs(90)).expect("it is told"));
        }
        told
    }

    /// Goes away, as a program that is stopped does.
    fn leave(self) {
        let end = UnixDatagram::unbound().expect("a socket");
        end.send_to(&[], &self.path).expect("a socket that is there");
        self.listening.join().expect("nothing was wrong with what it was told");
        fs::remove_file(self.path).expect("a socket");
    }
}

#[test]
fn a_siem_is_told_of_every_event_also_of_those_that_it_missed() {
    let site = Site::new(&[]);
    let forward = "[[audit.forward]]\nname = \"siem\"\nkind = \"syslog\"\nsocket = \"log.sock\"\nfrom = \"beginning\"\n[diagnostics]";
    site.write("config.toml", &site.config().replace("[diagnostics]", forward));
    let newest = || position(&site.rows(&["audit", "query", "--limit", "1"])[0]);
    let siem = Siem::at(site.path("log.sock"));
    let daemon = site.start();
    site.drop_people("one", &[("1".to_owned(), "Jana", "2030-01-01")]);
    let _intake = taken_in(&site, &daemon, 1);
    let last = newest();
    assert_eq!(siem.upto(last), (1..=last).collect::<Vec<_>>());

    siem.leave();
    site.drop_people("two", &[("2".to_owned(), "Jana", "2030-01-01")]);
    let _intake = taken_in(&site, &daemon, 2);
    let away = daemon.until("people are told", || {
        let status = site.ctl(&["status", "--output", "json"]).json();
        let attention = status["attention"].as_array().expect("a list").clone();
        attention.into_iter().find(|told| told["what"] == "forwarding_behind")
    });
    assert_eq!(text(&away, "log"), "siem");
    let _person = site.ctl(&["status"]).ends(10).says("forwarding_behind");
    let siem = Siem::at(site.path("log.sock"));
    let missed = newest();
    assert_eq!(siem.upto(missed), (last + 1..=missed).collect::<Vec<_>>());
    daemon.until("all is well", || (site.ctl(&["status"]).code == 0).then_some(()));
    daemon.stop();

    // After a stop in good order the next one goes on where that one ended.
    let told = siem.told.try_iter().last().unwrap_or(missed);
    let daemon = site.start();
    let last = newest();
    assert_eq!(siem.upto(last), (told + 1..=last).collect::<Vec<_>>());
    daemon.stop();
    siem.leave();
}
