//! The connector on the three real servers: logging in in every form, proving whose mailbox it is, folders, rights,
//! messages.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use retention_core::mailbox::{LoginForm, Rights};
use retention_tests::proxy::{Fault, Proxy, Way};
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::raw::Status;
use retention_tests::servers::{Account, Kind, Server};
use retentiond::clock::WallClock;
use retentiond::config::{MailServer, MailTls};
use retentiond::connector::imap::{
    BodySink, Connector, InternalDate, MailError, MailboxAccess, Proof, Secret, Session, Uid, Uids,
};

/// Makes a connector whose choices can be repeated.
pub(super) fn connector() -> Connector {
    Connector::new(Arc::new(WallClock), Arc::new(|| 0x5eed))
}

/// How one reaches a server of the harness.
pub(super) fn reached(server: &Server, tls: MailTls) -> MailServer {
    MailServer {
        name: server.kind().to_string(),
        host: "127.0.0.1".to_owned(),
        port: if tls == MailTls::Implicit { server.imaps_port() } else { server.imap_port() },
        tls,
        ca_file: Some(server.ca_file()),
        tls_name: "localhost".to_owned(),
        max_connections: 8,
        form: LoginForm::OwnPassword,
        admin: None,
        doveadm: None,
        batches: None,
    }
}

/// How the owner of a mailbox gets in.
pub(super) fn own(server: &Server, account: &Account) -> MailboxAccess {
    MailboxAccess {
        server: Arc::new(reached(server, MailTls::Implicit)),
        user: account.name.clone(),
        form: LoginForm::OwnPassword,
        admin: String::new(),
        secret: Secret::from(account.password.clone()),
        root: None,
    }
}

/// How an administrator of the server gets into somebody's mailbox.
pub(super) fn as_admin(server: &Server, account: &Account) -> MailboxAccess {
    let (form, admin, root) = match server.kind() {
        Kind::Dovecot => (LoginForm::DovecotMaster { separator: '*' }, "admin", None),
        Kind::Cyrus => (LoginForm::AuthzId, "mailadmin", None),
        Kind::Courier => (LoginForm::UserRoot, "mailadmin", Some(server.folder_of(account, &[]))),
    };
    MailboxAccess {
        form,
        admin: admin.to_owned(),
        secret: Secret::from(server.account(admin).password),
        root,
        ..own(server, account)
    }
}

fn code(result: Result<Session, MailError>) -> &'static str {
    result.map(|_| "opened").unwrap_or_else(|error| error.code())
}

#[test]
fn the_owner_and_an_admin_get_in_and_it_is_proven_whose_mailbox_it_is() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let connector = connector();
        let session = connector.open(&own(server, &account)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(session.proof(), Proof::OwnLogin, "{kind}");
        let session = connector.open(&as_admin(server, &account)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let expected = match kind {
            Kind::Dovecot => Proof::OwnerEntry,
            Kind::Cyrus => Proof::SameFolder,
            Kind::Courier => Proof::UserRoot,
        };
        assert_eq!(session.proof(), expected, "{kind}");
        assert_eq!(session.quirks().server.to_lowercase(), kind.to_string());
    }
}

#[test]
fn the_proof_holds_also_where_the_admin_has_rights_of_their_own() {
    let server = Server::shared(Kind::Dovecot);
    let account = server.mailbox();
    server.login(&account).ok("SETACL INBOX admin lrswipkxtea");
    let session = connector().open(&as_admin(server, &account)).expect("a session");
    assert_eq!(session.proof(), Proof::UnknownUserRefused);
}

#[test]
fn courier_takes_an_authorization_identity_and_is_not_believed() {
    let server = Server::shared(Kind::Courier);
    let account = server.mailbox();
    let trap = MailboxAccess { form: LoginForm::AuthzId, root: None, ..as_admin(server, &account) };
    assert_eq!(code(connector().open(&trap)), "mail-login-form");
    // A program that asked would be told that all is well, and be in the admin's own mailbox.
    let mut raw = server.connect();
    let exchange = format!("{}\0mailadmin\0{}", account.name, server.account("mailadmin").password);
    let answer = raw.ask(&format!("AUTHENTICATE PLAIN {}", base64(exchange.as_bytes())));
    assert_eq!(answer.status, Status::Ok, "{answer:?}");
}

#[test]
fn whoever_may_not_gets_in_nowhere() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let (account, other) = (server.mailbox(), server.mailbox());
        let connector = connector();
        let wrong = MailboxAccess { secret: Secret::from("wrong".to_owned()), ..own(server, &account) };
        assert_eq!(code(connector.open(&wrong)), "mail-login-refused", "{kind}");
        let unknown = MailboxAccess { user: "nobody-here".to_owned(), ..own(server, &account) };
        assert_eq!(code(connector.open(&unknown)), "mail-login-refused", "{kind}");
        // An ordinary user in the place of an admin.
        let ordinary = MailboxAccess {
            admin: other.name.clone(),
            secret: Secret::from(other.password.clone()),
            ..as_admin(server, &account)
        };
        let refused = code(connector.open(&ordinary));
        assert!(
            ["mail-login-refused", "mail-login-not-allowed", "mail-user-root"].contains(&refused),
            "{kind}: {refused}"
        );
        // A right admin for a mailbox that is not there.
        let nobody = Account { name: "nobody-here".to_owned(), password: String::new() };
        let refused = code(connector.open(&as_admin(server, &nobody)));
        assert!(
            ["mail-login-refused", "mail-login-not-allowed", "mail-user-root", "mail-not-proven"].contains(&refused),
            "{kind}: {refused}"
        );
    }
}

#[test]
fn a_user_root_that_belongs_to_somebody_else_is_refused() {
    let server = Server::shared(Kind::Courier);
    let (account, other) = (server.mailbox(), server.mailbox());
    let connector = connector();
    let root = |root: String| MailboxAccess { root: Some(root), ..as_admin(server, &account) };
    assert_eq!(code(connector.open(&root(server.folder_of(&other, &[])))), "mail-wrong-mailbox");
    assert_eq!(code(connector.open(&root(format!("{}.*", server.folder_of(&account, &[]))))), "mail-user-root");
    assert_eq!(code(connector.open(&root("INBOX".to_owned()))), "mail-user-root", "the admin's own");
    assert_eq!(code(connector.open(&root(format!("shared.{}", account.name)))), "mail-user-root");
}

#[test]
fn certificates_are_checked() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.account("user1");
        let stranger = Server::shared(if kind == Kind::Dovecot { Kind::Cyrus } else { Kind::Dovecot });
        let connector = connector();
        for tls in [MailTls::Implicit, MailTls::StartTls] {
            let open = |change: &dyn Fn(&mut MailServer)| {
                let mut reached = reached(server, tls);
                change(&mut reached);
                code(connector.open(&MailboxAccess { server: Arc::new(reached), ..own(server, &account) }))
            };
            assert_eq!(open(&|_| {}), "opened", "{kind} {tls:?}");
            assert_eq!(
                open(&|server| server.tls_name = "mail.example.com".to_owned()),
                "mail-tls-certificate",
                "{kind} {tls:?}"
            );
            assert_eq!(
                open(&|server| server.ca_file = Some(stranger.ca_file())),
                "mail-tls-certificate",
                "{kind} {tls:?}"
            );
            assert_eq!(
                open(&|server| server.ca_file = None),
                "mail-tls-certificate",
                "{kind} {tls:?}: the machine's own"
            );
            let missing = open(&|server| server.ca_file = Some(Path::new("/nowhere/ca.pem").to_owned()));
            assert_eq!(missing, "mail-tls-files", "{kind} {tls:?}");
        }
        let plain = Arc::new(reached(server, MailTls::PlainLoopback));
        assert_eq!(code(connector.open(&MailboxAccess { server: plain, ..own(server, &account) })), "opened", "{kind}");
    }
}

#[test]
fn an_authority_that_is_renewed_or_taken_out_of_its_file_counts_from_the_next_login_on() {
    let (server, stranger) = (Server::shared(Kind::Dovecot), Server::shared(Kind::Cyrus));
    let dir = tempfile::tempdir().expect("a directory");
    let ca_file = dir.path().join("ca.pem");
    let reached = MailServer { ca_file: Some(ca_file.clone()), ..reached(server, MailTls::Implicit) };
    let access = MailboxAccess { server: Arc::new(reached), ..own(server, &server.account("user1")) };
    let connector = connector();
    let trusting = |authority: &Server| {
        std::fs::copy(authority.ca_file(), &ca_file).expect("a copy");
        code(connector.open(&access))
    };
    assert_eq!(
        [trusting(stranger), trusting(server), trusting(stranger)],
        ["mail-tls-certificate", "opened", "mail-tls-certificate"]
    );
}

#[test]
fn a_server_that_lets_go_before_tls_is_told_from_one_that_is_not_trusted() {
    let server = Server::shared(Kind::Dovecot);
    let proxy = Proxy::before(server.imaps_port());
    for fault in [Fault::Refuse, Fault::Cut(Way::Down, 40)] {
        proxy.next(fault.clone());
        let reached = MailServer { port: proxy.port(), ..reached(server, MailTls::Implicit) };
        let access = MailboxAccess { server: Arc::new(reached), ..own(server, &server.account("user1")) };
        assert_eq!(code(connector().open(&access)), "mail-tls-closed", "{fault:?}");
    }
}

#[test]
fn paths_of_folders_are_the_same_for_the_owner_and_an_admin_on_every_server() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let mut raw = server.login(&account);
        for path in [&["Projects"][..], &["Projects", "2019"]] {
            raw.ok(&format!("CREATE \"{}\"", server.folder(path)));
        }
        let connector = connector();
        for access in [own(server, &account), as_admin(server, &account)] {
            let mut session = connector.open(&access).expect("a session");
            let folders = session.folders().expect("folders");
            let paths: Vec<&str> = folders.iter().map(|folder| folder.path.as_str()).collect();
            for wanted in ["INBOX", "Projects", "Projects/2019"] {
                assert!(paths.contains(&wanted), "{kind} {:?}: {paths:?}", access.form);
            }
            assert!(!paths.iter().any(|path| path.contains("user1")), "{kind}: of others: {paths:?}");
            for folder in folders.iter().filter(|folder| folder.selectable) {
                session.examine(&folder.name).unwrap_or_else(|error| panic!("{kind} {}: {error}", folder.path));
            }
        }
    }
}

#[test]
fn rights_are_set_read_back_and_taken_away_on_many_folders_at_once() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let mut raw = server.login(&account);
        let names: Vec<String> = (0..30).map(|number| server.folder(&[&format!("F{number}")])).collect();
        for name in &names {
            raw.ok(&format!("CREATE \"{name}\""));
        }
        let mut session = connector().open(&own(server, &account)).expect("a session");
        let folders: Vec<&str> = names.iter().map(String::as_str).collect();
        let wishes: Vec<_> = folders.iter().map(|folder| (*folder, "auditor", Rights::FULL_ACCESS)).collect();
        assert!(session.set_acls(&wishes).iter().all(Result::is_ok), "{kind}");
        for acl in session.acls(&folders) {
            let rights = acl.unwrap_or_else(|error| panic!("{kind}: {error}")).rights_of("auditor");
            assert!(rights.is_same_as(Rights::FULL_ACCESS), "{kind}: {rights}");
        }
        let gone: Vec<_> = folders.iter().map(|folder| (*folder, "auditor")).collect();
        for _again in 0..2 {
            assert!(session.delete_acls(&gone).iter().all(Result::is_ok), "{kind}");
        }
        for acl in session.acls(&folders) {
            assert_eq!(acl.ok().map(|acl| acl.rights_of("auditor")), Some(Rights::NONE), "{kind}");
        }
        for rights in session.my_rights_on(&folders) {
            assert!(rights.expect("rights").covers(Rights::PURGE), "{kind}");
        }
        assert!(session.acl("no such folder").is_err(), "{kind}");
    }
}

/// Keeps bodies in memory.
#[derive(Default)]
struct Kept {
    bodies: BTreeMap<Uid, Vec<u8>>,
    current: Vec<u8>,
}

impl BodySink for Kept {
    fn begins(&mut self, _uid: Uid, _bytes: u64) -> ControlFlow<()> {
        self.current.clear();
        ControlFlow::Continue(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.current.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn ends(&mut self, uid: Uid) -> ControlFlow<()> {
        self.bodies.insert(uid, std::mem::take(&mut self.current));
        ControlFlow::Continue(())
    }
}

#[test]
fn messages_are_found_read_to_the_byte_and_exactly_some_of_them_purged() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let mut raw = server.login(&account);
        let letters: Vec<_> =
            (0..20).map(|number| letter(number, &date(if number < 12 { 2015 } else { 2025 }, 3, 9), 3_000)).collect();
        for letter in &letters {
            raw.append("INBOX", &letter.flags, &letter.date, &letter.body);
        }
        let mut session = connector().open(&as_admin(server, &account)).expect("a session");
        let inbox = session.inbox().to_owned();
        let open = session.select(&inbox).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(open.exists, 20, "{kind}");
        let all = session.search().unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(all.len(), 20, "{kind}");
        let found: Uids = all.iter().take(12).collect();
        let mut metas = BTreeMap::new();
        let missing = session.fetch_meta(&found, |meta| {
            metas.insert(meta.uid, meta);
            ControlFlow::Continue(())
        });
        assert!(missing == Ok(Uids::default()), "{kind}: {missing:?}");
        let mut kept = Kept::default();
        assert_eq!(session.fetch_bodies(&found, &mut kept), Ok(Uids::default()), "{kind}");
        for ((letter, (uid, body)), meta) in letters.iter().zip(&kept.bodies).zip(metas.values()) {
            assert!(*body == kind.kept(&letter.body), "{kind}: {uid} is another message");
            assert_eq!(meta.size, body.len() as u64, "{kind}");
            assert_eq!(
                Some(meta.internal_date.at()),
                InternalDate::parse(&letter.date).map(InternalDate::at),
                "{kind}"
            );
        }
        assert_eq!((kept.bodies.len(), metas.len()), (12, 12), "{kind}");
        // Half of them; one that is left was flagged by somebody else.
        let half: Uids = found.iter().take(6).collect();
        let foreign = found.last().expect("a message");
        raw.select("INBOX");
        raw.ok(&format!("UID STORE {foreign} +FLAGS (\\Deleted)"));
        assert_eq!(session.store_deleted(&half, open.uid_validity, None), Ok(Uids::default()), "{kind}");
        session.uid_expunge(&half, open.uid_validity).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let again = session.uid_expunge(&half, open.uid_validity);
        assert!(again.is_ok(), "{kind}: what is gone may be expunged again: {again:?}");
        let truth = server.truth(&account);
        let left: Vec<u32> = truth["INBOX"].messages.keys().copied().collect();
        assert_eq!(left.len(), 14, "{kind}");
        assert!(half.iter().all(|uid| !left.contains(&uid.0)) && left.contains(&foreign.0), "{kind}");
    }
}

#[test]
fn an_appended_message_lands_with_its_flags_its_date_and_every_byte() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let mut session = connector().open(&own(server, &account)).expect("a session");
        let letter = letter(7, &date(2011, 7, 3), 5_000);
        let flags: Vec<String> = letter.flags.iter().map(|flag| (*flag).to_owned()).collect();
        let name = session.name_of("Účty & co");
        session.create(&name).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let length = letter.body.len() as u64;
        let date = InternalDate::parse(&letter.date);
        let landed = session.append(&name, &flags, date, length, &mut letter.body.as_slice());
        let landed = landed.unwrap_or_else(|error| panic!("{kind}: {error}")).expect("UIDPLUS");
        let folders = session.folders().expect("folders");
        assert!(folders.iter().any(|folder| folder.path == "Účty & co" && folder.name == name), "{kind}");
        let truth = server.truth(&account);
        let stored = &truth[&name].messages[&landed.uid.0];
        assert!(stored.body == kind.kept(&letter.body), "{kind}");
        assert_eq!(stored.date, letter.date, "{kind}");
        assert!(letter.flags.iter().all(|flag| stored.flags.contains(*flag)), "{kind}: {:?}", stored.flags);
    }
}

#[test]
fn a_mailbox_without_room_is_told_by_every_server() {
    for kind in Kind::ALL {
        let server = Server::shared(kind);
        let mut session = connector().open(&own(server, &server.account("user3"))).expect("a session");
        let letter = letter(1, &date(2020, 3, 4), 300_000);
        let bytes = letter.body.len() as u64;
        // It may keep one megabyte.
        let refused = (0..5).find_map(|_| session.append("INBOX", &[], None, bytes, &mut &letter.body[..]).err());
        assert_eq!(refused.map(|error| error.code()), Some("mail-over-quota"), "{kind}");
    }
}

#[test]
fn a_message_that_changed_since_it_was_looked_at_is_not_flagged() {
    for kind in [Kind::Dovecot, Kind::Cyrus] {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let mut raw = server.login(&account);
        for number in 0..2 {
            let letter = letter(number, &date(2015, 3, 9), 500);
            raw.append("INBOX", &[], &letter.date, &letter.body);
        }
        let mut session = connector().open(&own(server, &account)).expect("a session");
        let open = session.select("INBOX").expect("open");
        let looked_at = open.highest_mod_seq.expect("both keep count");
        raw.select("INBOX");
        raw.ok("UID STORE 2 +FLAGS (\\Flagged)");
        let both: Uids = [Uid(1), Uid(2)].into_iter().collect();
        let spared = session.store_deleted(&both, open.uid_validity, Some(looked_at));
        assert_eq!(spared, Ok(Uids::from(Uid(2))), "{kind}");
        let flags = |uid: u32| server.truth(&account)["INBOX"].messages[&uid].flags.contains("\\Deleted");
        assert_eq!((flags(1), flags(2)), (true, false), "{kind}");
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_usize, |word, byte| (word << 8) | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            text.push(if place <= chunk.len() { char::from(LETTERS[(word >> (18 - 6 * place)) & 63]) } else { '=' });
        }
    }
    text
}
