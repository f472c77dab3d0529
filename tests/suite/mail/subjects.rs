//! Messages of a data subject on a real server, with the real daemon and the real tool: found, handed out to the byte,
//! named when they are not there any more, erased.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;

use retention_tests::daemon::{Daemon, Person, Site, has_second_person};
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::{Account, Kind, Server};
use serde_json::{Value, json};

use super::daemon::{added, private, server_block, text};

/// A contact policy: nothing here is due because of a policy, and none is about messages.
const POLICY: &str = include_str!("../../../policies/demo-ocm-contacts.toml");

const JANA: &str = "Jana@example.org";

fn site_of(server: &Server) -> Site {
    let site = Site::new(&[("demo-ocm-contacts", POLICY)]);
    site.write("config.toml", &format!("{}{}", site.config(), server_block(server, "admin.pw")));
    let admin = if server.kind() == Kind::Dovecot { "admin" } else { "mailadmin" };
    private(&site, "admin.pw", &format!("{}\n", server.account(admin).password));
    site
}

/// Puts a letter there, from somebody to somebody.
fn put(server: &Server, account: &Account, number: u32, from: &str, to: &str) -> Vec<u8> {
    let letter = letter(number, &date(2024, 3, 4), 4_000);
    let at = memchr::memmem::find(&letter.body, b"Subject:").expect("a subject");
    let head = format!("From: {from}\r\nTo: {to}\r\n").into_bytes();
    let body = [&head, letter.body.get(at..).expect("the rest")].concat();
    assert!(server.login(account).append("INBOX", &["\\Seen"], &letter.date, &body) > 0);
    body
}

fn read(site: &Site, daemon: &Daemon<'_>, mailbox: &str, messages: u64) {
    let _asked = site.json(&["mailbox", "scan", mailbox]);
    daemon.until("the mailbox was looked at", || {
        (site.json(&["mailbox", "show", mailbox])["messages"] == messages).then_some(())
    });
}

/// Hands out the plain package of a request, and returns the exit code and what is in it.
fn package(site: &Site, request: &str, name: &str) -> (i32, BTreeMap<String, Vec<u8>>) {
    let path = site.path(name);
    let into = path.to_str().expect("a path");
    let said = site.ctl(&["subject", "package", request, "--plain", "--into", into, "--output", "json"]);
    let mut archive = zip::ZipArchive::new(fs::File::open(&path).expect("a package")).expect("a ZIP file");
    let mut files = BTreeMap::new();
    for number in 0..archive.len() {
        let mut file = archive.by_index(number).expect("a file in it");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("its bytes");
        files.insert(file.name().expect("a name").into_owned(), bytes);
    }
    (said.code, files)
}

fn letters(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<Vec<u8>> {
    files.iter().filter(|(name, _)| name.starts_with("messages/")).map(|(_, bytes)| bytes.clone()).collect()
}

#[test]
fn messages_of_a_person_are_found_handed_out_to_the_byte_and_erased() {
    let server = Server::shared(Kind::Dovecot);
    let accounts = [server.mailbox(), server.mailbox()];
    let site = site_of(server);
    let wrote = put(server, &accounts[0], 1, "\"Jana N.\" <jana@EXAMPLE.org>", "owner@example.org");
    let other = put(server, &accounts[0], 2, "ada@example.org", "owner@example.org");
    let got = put(server, &accounts[1], 3, "ada@example.org", "x@example.org, JANA@example.org");
    let daemon = site.start();
    daemon.until("the policies are active", || (site.rows(&["policy", "list"]).len() == 1).then_some(()));
    let mailboxes = accounts.each_ref().map(|account| added(&site, server, account));

    let never = site.ctl(&["subject", "find", "--email", JANA]).ends(0);
    for said in ["never read", mailboxes[0].as_str(), mailboxes[1].as_str(), "texts and subjects of messages"] {
        assert!(never.err.contains(said), "{said}: {}", never.err);
    }
    read(&site, &daemon, &mailboxes[0], 2);
    read(&site, &daemon, &mailboxes[1], 1);
    let reach = site.rows(&["subject", "reach"]);
    assert!(reach.iter().all(|row| row["state"] == "read" && !row["read_at"].is_null()), "{reach:?}");
    let found = site.rows(&["subject", "find", "--email", JANA]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|row| row["why"] == json!(["correspondence by email"]) && row["sure"] == false));
    let said = site.ctl(&["subject", "find", "--email", JANA]).ends(0).says("as they were last read");
    assert!(!said.err.contains("never read"), "{}", said.err);

    let request = text(&site.json(&["subject", "access", "--email", JANA]), "request").to_owned();
    let _nothing =
        site.ctl(&["subject", "identify", &request, "--how", "seen"]).ends(2).says("nothing that is stored is surely");
    let taken = site.rows(&["subject", "identify", &request, "--how", "seen", "--correspondence"]);
    assert_eq!(taken.len(), 2, "{taken:?}");
    let (code, files) = package(&site, &request, "first.zip");
    assert_eq!((code, letters(&files)), (0, BTreeSet::from([wrote.clone(), got.clone()])));
    let page = String::from_utf8(files["index.html"].clone()).expect("a page");
    assert!(page.contains("<td>letter 1 é</td>") && page.contains("<td>letter 3 é</td>"), "{page}");
    let shown = |name: &str| site.json(&["subject", "show", &request])["request"][name].clone();
    assert_eq!((shown("state"), shown("texts_missing")), (json!("exported"), json!(0)));
    let seen: Vec<Vec<u8>> = bodies(server, &accounts[0]);
    assert_eq!(seen, [wrote.clone(), other.clone()], "nothing changed on the server");

    // One is removed by its owner: the package says so, and the request is not answered in full.
    let mut raw = server.login(&accounts[1]);
    raw.ok("SELECT INBOX");
    raw.ok("UID STORE 1 +FLAGS (\\Deleted)");
    raw.ok("EXPUNGE");
    let (code, files) = package(&site, &request, "second.zip");
    assert_eq!((code, letters(&files)), (10, BTreeSet::from([wrote.clone()])));
    let list: Value = serde_json::from_slice(&files["manifest.json"]).expect("a list");
    assert_eq!(list["texts_missing"][0]["why"], "gone", "{list}");
    assert_eq!((shown("state"), shown("texts_missing")), (json!("exported_in_part"), json!(1)));
    let rows = site.rows(&["subject", "records", &request]);
    assert_eq!(rows.iter().filter(|row| row["text_missing"] == "gone").count(), 1, "{rows:?}");
    let complete = |end: &str| site.ctl(&["subject", "complete", &request, "--end", end, "--reason", "told"]);
    let _untrue = complete("fulfilled").ends(2).says("1 texts of messages are missing");
    let _accepted = complete("refused-in-part").ends(0);

    erased(&site, &daemon, server, &accounts[0], &other);
    daemon.stop();
    let log = site.diagnostics();
    assert!(!log.to_lowercase().contains("jana@"), "the diagnostics name a person\n{log}");
}

#[test]
fn whoever_answers_for_a_message_or_got_it_unseen_or_sent_on_is_found_on_every_server() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let site = site_of(server);
        let heads = [
            "Sender: \"N., Jana\" <jana@example.org>",
            "Reply-To: lists@example.org,\r\n Jana <jana@EXAMPLE.org>",
            "Bcc: x@example.org, jana@example.org",
            "Resent-From: ada@example.org\r\nResent-To: friends: x@example.org,\r\n\t=?UTF-8?Q?J=C3=A1na?= <JANA@example.org>;",
            "X-Other: jana@example.org",
            "List-Id: Jana's <jana.example.org>",
        ];
        for (number, head) in (1..).zip(heads) {
            let _body = put(server, &account, number, &format!("ada@example.org\r\n{head}"), "owner@example.org");
        }
        let daemon = site.start();
        let mailbox = added(&site, server, &account);
        read(&site, &daemon, &mailbox, 6);
        let found = site.rows(&["subject", "find", "--email", JANA]);
        assert_eq!(uids_found(&site, JANA), uids(&["1", "2", "3", "4"]), "{kind}: {found:?}");
        assert!(found.iter().all(|row| row["why"] == json!(["correspondence by email"])), "{kind}: {found:?}");
        daemon.stop();
    }
}

#[test]
fn nobody_is_missed_in_a_long_header_or_in_one_of_several_fields_and_what_is_too_much_is_told_on_every_server() {
    const UNREAD: &str = "whoever stands in them is not found";
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let site = site_of(server);
        let many = |count: u32| (0..count).map(|n| format!("Person {n} <person-{n}@example.org>"));
        let many = |count: u32| many(count).collect::<Vec<_>>().join(",\r\n ");
        let heads = [
            format!("X-One: 1\r\nCc: {},\r\n jana@example.org", many(15_000)),
            "X-Two: 2\r\nTo: jana@example.org\r\nTo: x@example.org\r\nCc: y@example.org".to_owned(),
            "X-Three: 3\r\nCc: =?UTF-8?B?SsOhbmE=?= <Jana@EXAMPLE.org>, y@example.org\r\nCc: z@example.org".to_owned(),
            "X-Four: 4\r\nCc: \"jana\"@example.org, \"never closed <z@example.org>".to_owned(),
            "X-Five: 5\r\nCc: Ji\u{159}\u{ed} <ji\u{159}\u{ed}@p\u{159}\u{ed}klad.example>".to_owned(),
        ];
        for (number, head) in (1..).zip(&heads) {
            let _body = put(server, &account, number, &format!("ada@example.org\r\n{head}"), "owner@example.org");
        }
        let daemon = site.start();
        let mailbox = added(&site, server, &account);
        read(&site, &daemon, &mailbox, 5);
        let found = |email: &str| uids_found(&site, email);
        assert_eq!(found(JANA), uids(&["1", "2", "3", "4"]), "{kind}");
        assert_eq!(found("person-14999@example.org"), uids(&["1"]), "{kind}");
        assert_eq!(found("z@example.org"), uids(&["3", "4"]), "{kind}");
        // As Cyrus is set up where nobody says otherwise, it writes an X for each such byte when it takes a message in.
        let fifth = if kind == Kind::Cyrus { uids(&[]) } else { uids(&["5"]) };
        assert_eq!(found("ji\u{159}\u{ed}@p\u{159}\u{ed}klad.example"), fifth, "{kind}");
        let said = site.ctl(&["subject", "find", "--email", JANA]).ends(0);
        assert!(!said.err.contains(UNREAD), "{kind}: {}", said.err);

        // One header has too many addresses: it is told, and the other messages are known as they were.
        let head = format!("ada@example.org\r\nCc: {}", many(30_000));
        let _body = put(server, &account, 6, &head, "jana@example.org");
        let _body = put(server, &account, 7, "ada@example.org", "jana@example.org");
        read(&site, &daemon, &mailbox, 7);
        assert_eq!(found(JANA), uids(&["1", "2", "3", "4", "7"]), "{kind}");
        assert_eq!(site.json(&["mailbox", "show", &mailbox])["failed"], "mail-header-unread", "{kind}");
        let said = site.ctl(&["subject", "find", "--email", JANA]).ends(0);
        assert!(said.err.contains(UNREAD) && said.err.contains(&mailbox), "{kind}: {}", said.err);
        let reach = site.rows(&["subject", "reach"]);
        assert_eq!(reach[0]["state"], "read_in_part", "{kind}: {reach:?}");
        let attention = site.ctl(&["status", "--output", "json"]).ends(10).json()["attention"].clone();
        let (what, code) = ("mailboxes_read_in_part", "mail-header-unread");
        let told = json!({ "what": what, "mailboxes": 1, "mailbox": mailbox, "code": code });
        assert!(attention.as_array().expect("a list").contains(&told), "{kind}: {attention}");
        daemon.stop();
        let log = site.diagnostics();
        assert!(log.contains("the header of a message could not be read"), "{kind}: {log}");
    }
}

/// Returns the numbers of the messages that are found for an address.
fn uids_found(site: &Site, email: &str) -> BTreeSet<String> {
    let uid = |row: &Value| {
        let shown = site.json(&["entity", "show", text(row, "record")]);
        let uid = shown["cells"].as_array().expect("cells").iter().find(|cell| cell["field"] == "uid").expect("a uid");
        text(uid, "value").to_owned()
    };
    site.rows(&["subject", "find", "--email", email]).iter().map(uid).collect()
}

fn uids(uids: &[&str]) -> BTreeSet<String> {
    uids.iter().map(|uid| (*uid).to_owned()).collect()
}

fn bodies(server: &Server, account: &Account) -> Vec<Vec<u8>> {
    server.truth(account)["INBOX"].messages.values().map(|stored| stored.body.clone()).collect()
}

fn erased(site: &Site, daemon: &Daemon<'_>, server: &Server, account: &Account, other: &[u8]) {
    let asked = site.json(&["subject", "erase", "--email", JANA, "--ground", "consent-withdrawn"]);
    let request = text(&asked, "request").to_owned();
    let _taken = site.rows(&["subject", "identify", &request, "--how", "seen", "--correspondence"]);
    let plan = daemon.until("the plan waits", || {
        let shown = site.json(&["subject", "show", &request]);
        let plan = shown["request"]["plan"].as_str()?.to_owned();
        (site.json(&["plan", "show", &plan])["state"] == "awaiting_approval").then_some(plan)
    });
    if !has_second_person() {
        return;
    }
    let _approved = site.ctl_as(Person::Second, &["plan", "approve", &plan]).ends(0);
    daemon.until("everything is erased", || {
        (site.json(&["subject", "show", &request])["request"]["state"] == "erased").then_some(())
    });
    assert_eq!(bodies(server, account), [other.to_vec()], "her message went, and no other");
    assert_eq!(site.rows(&["subject", "find", "--email", JANA]), [] as [Value; 0]);
}
