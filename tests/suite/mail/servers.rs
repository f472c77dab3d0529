//! The servers of the harness are what the other suites take them for.

use std::collections::BTreeSet;

use retention_tests::servers::letter::{date, letter, mark};
use retention_tests::servers::raw::Status;
use retention_tests::servers::{Account, Kind, Server};

/// Loads letters into a folder and returns their UIDs.
fn load(server: &Server, account: &Account, folder: &str, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let mut raw = server.login(account);
    numbers
        .map(|number| {
            let letter = letter(number, &date(2015, 3, 9), 2_000);
            raw.append(folder, &letter.flags, &letter.date, &letter.body)
        })
        .collect()
}

#[test]
fn a_server_keeps_every_byte_of_a_letter() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let uids = load(server, &account, "INBOX", 1..9);
        let truth = server.truth(&account);
        let inbox = &truth["INBOX"];
        assert_eq!(inbox.messages.keys().copied().collect::<Vec<_>>(), uids, "{kind}");
        for (number, stored) in (1..9).zip(inbox.messages.values()) {
            let letter = letter(number, &date(2015, 3, 9), 2_000);
            assert!(stored.body == kind.kept(&letter.body), "{kind}: letter {number} is another one");
            assert_eq!(stored.size, stored.body.len() as u64, "{kind}");
            assert_eq!(stored.date, letter.date, "{kind}");
            assert_eq!(
                stored.flags,
                letter.flags.iter().map(|flag| (*flag).to_owned()).collect::<BTreeSet<_>>(),
                "{kind}"
            );
        }
        assert!(!server.files_with(mark(3).as_bytes()).is_empty(), "{kind}");
    }
}

#[test]
fn mailboxes_are_apart() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let (first, second) = (server.mailbox(), server.mailbox());
        assert_ne!(first, second);
        load(server, &first, "INBOX", 1..3);
        assert_eq!(server.truth(&second)["INBOX"].messages.len(), 0, "{kind}");
        let mut other = server.login(&second);
        let open = other.ask(&format!("SELECT \"{}\"", server.folder_of(&first, &[])));
        assert_eq!(open.status, Status::No, "{kind}: {open:?}");
    }
}

#[test]
fn a_folder_is_opened_to_somebody_else_and_closed_again() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let (owner, other) = (server.mailbox(), server.account("auditor"));
        let folder = server.folder(&["Projects"]);
        let mut raw = server.login(&owner);
        raw.ok(&format!("CREATE {folder}"));
        raw.ok(&format!("SETACL {folder} {} lrswipkxtea", other.name));
        assert!(server.rights(&owner)[&folder].contains_key(&other.name), "{kind}: {:?}", server.rights(&owner));
        let seen = format!("SELECT \"{}\"", server.folder_of(&owner, &["Projects"]));
        let open = server.login(&other).ask(&seen);
        assert_eq!(open.status, Status::Ok, "{kind}: {open:?}");
        raw.ok(&format!("DELETEACL {folder} {}", other.name));
        assert!(!server.rights(&owner)[&folder].contains_key(&other.name), "{kind}");
        assert_eq!(server.login(&other).ask(&seen).status, Status::No, "{kind}");
    }
}

#[test]
fn the_third_user_has_a_quota() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        let account = server.account("user3");
        let mut raw = server.login(&account);
        let big = letter(1, &date(2015, 3, 9), 700_000);
        let first = raw.try_append("INBOX", &[], &big.date, &big.body);
        let second = raw.try_append("INBOX", &[], &big.date, &big.body);
        assert_eq!((first.status, second.status), (Status::Ok, Status::No), "{kind}: {second:?}");
    }
}

#[test]
fn a_folder_gets_another_uid_validity() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let folder = server.folder(&["Projects"]);
        server.login(&account).ok(&format!("CREATE {folder}"));
        load(server, &account, &folder, 1..4);
        let before = server.truth(&account)[&folder].clone();
        server.change_uid_validity(&account, &["Projects"], before.uid_validity + 1_000);
        let after = server.truth(&account)[&folder].clone();
        assert_ne!(before.uid_validity, after.uid_validity, "{kind}");
        assert_eq!(before.messages, after.messages, "{kind}");
    }
}

#[test]
fn sessions_end_when_they_are_kicked_and_the_mail_survives_a_power_cut() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        let account = server.mailbox();
        load(&server, &account, "INBOX", 1..4);
        let before = server.truth(&account);
        let mut raw = server.login(&account);
        raw.examine("INBOX");
        server.kick_all();
        assert_eq!(raw.ask("UID SEARCH ALL").status, Status::Gone, "{kind}");
        server.restart();
        assert_eq!(server.truth(&account), before, "{kind}");
    }
}

#[test]
fn nothing_is_left_of_a_server_that_is_dropped() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        let (port, dir) = (server.imap_port(), server.ca_file());
        drop(server.login(&server.account("user1")));
        drop(server);
        assert!(!dir.exists(), "{kind}");
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{kind}");
    }
}
