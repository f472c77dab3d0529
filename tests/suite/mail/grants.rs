//! Grants on the three real servers: given, seen by whoever was given them, taken back, and looked for again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use retention_core::event::grant::{GrantEnd, GrantReceipt, GrantStep, OpenSessions, VerifiedAs};
use retention_core::id::{EntityId, GrantId};
use retention_core::mailbox::Rights as Full;
use retention_core::view::GrantState;
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::proxy::{Fault, Proxy, Way, places};
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::raw::{Status, quoted};
use retention_tests::servers::{Account, Kind, Server};
use retention_tests::world::{LEASE_MS, Stage, Stepped, World};
use retentiond::connector::outcome::Outcome;

use super::directory::{Directory, on_each, outside, world};

/// A mailbox with folders, in one of which the helper may read what is there without any grant.
struct Grants {
    world: World,
    directory: Arc<Directory>,
    mailbox: EntityId,
    server: &'static Server,
    owner: Account,
    helper: Account,
    /// Who may do what, before anything is granted.
    before: Rights,
}

type Rights = BTreeMap<String, BTreeMap<String, String>>;

/// A folder whose name no server writes as it is.
const ODD: &str = "Účty & co";
const STANDING: [&str; 1] = ["Standing"];
const PROJECTS: [&str; 2] = ["Projects", "2019"];
const MADE: [&str; 3] = ["Projects", "2019", "made meanwhile"];

impl Grants {
    fn new(server: &'static Server, directory: Arc<Directory>) -> Self {
        let (owner, helper) = (server.mailbox(), server.mailbox());
        let mut raw = server.login(&owner);
        for path in [&PROJECTS[..1], &PROJECTS, &STANDING, &["&ANoBDQ-ty &- co"]] {
            raw.ok(&format!("CREATE {}", quoted(&server.folder(path))));
        }
        raw.ok(&format!("SETACL {} {} lr", quoted(&server.folder(&STANDING)), helper.name));
        let old = letter(1, &date(2020, 6, 1), 500);
        assert!(raw.append("INBOX", &[], &old.date, &old.body) > 0);
        drop(raw);
        let mut world = world(&directory);
        let mailbox = world.add_mailbox(&owner.name);
        directory.add(mailbox, &owner);
        directory.know(&helper);
        world.settle();
        let before = server.rights(&owner);
        Self { world, directory, mailbox, server, owner, helper, before }
    }

    fn plain(kind: Kind) -> Self {
        let server = Server::shared(kind);
        Self::new(server, Directory::of(server, None))
    }

    fn request(&mut self) -> Option<GrantId> {
        let name = self.helper.name.clone();
        self.world.request_grant_to(&name, self.mailbox, 0)
    }

    fn settle(&mut self) {
        while let Stepped::Worked | Stepped::Crashed = self.world.step(Stage::Grant) {}
    }

    /// Lets grants work, and time pass, until none is open. Returns whether anything crashed.
    fn finish(&mut self) -> bool {
        let mut crashed = false;
        for _ in 0..500 {
            match self.world.step(Stage::Grant) {
                Stepped::Crashed => crashed = true,
                Stepped::Worked => {}
                Stepped::Until(at) => self.world.clock.pass_until(at),
                Stepped::Idle => return crashed,
            }
        }
        panic!("a grant never ends\n{}", self.world.story());
    }

    /// Whether whoever logs in as the helper can open a folder.
    fn can_open(&self, path: &[&str]) -> bool {
        let folder = self.server.folder_of(&self.owner, path);
        let mut raw = self.server.login(&self.helper);
        raw.ask(&format!("SELECT {}", quoted(&folder))).status == Status::Ok
    }

    fn make_folder(&self, path: &[&str]) {
        self.server.login(&self.owner).ok(&format!("CREATE {}", quoted(&self.server.folder(path))));
    }

    /// Makes so many more folders.
    fn make_folders(&mut self, folders: usize) {
        let mut raw = self.server.login(&self.owner);
        for number in 0..folders {
            raw.ok(&format!("CREATE {}", quoted(&self.server.folder(&[&format!("More{number}")]))));
        }
        self.before = self.server.rights(&self.owner);
    }

    fn receipt(&self, grant: GrantId, step: GrantStep) -> Option<GrantReceipt> {
        self.world.store().view(|views| views.small.grants.get(grant)?.receipt(step).cloned())
    }

    fn end_of(&self, grant: GrantId) -> Option<GrantEnd> {
        self.world.store().view(|views| views.small.grants.get(grant)?.end)
    }

    /// Everything stands as before, but for the folder that was made meanwhile, in which nobody new has a right.
    fn check_over(&self, what: &str) {
        let kind = self.server.kind();
        let story = self.world.story();
        let mut now = self.server.rights(&self.owner);
        if let Some(made) = now.remove(&self.server.folder(&MADE)) {
            assert_eq!(made.get(&self.helper.name), None, "{kind} {what}: the folder made meanwhile is open\n{story}");
        }
        assert_eq!(now, self.before, "{kind} {what}\n{story}");
        assert!(self.can_open(&STANDING), "{kind} {what}: what stood is gone\n{story}");
        assert!(!self.can_open(&[]) && !self.can_open(&PROJECTS), "{kind} {what}: it is still open\n{story}");
    }
}

#[test]
fn a_grant_is_real_and_so_is_its_end() {
    on_each(|kind| {
        let mut grants = Grants::plain(kind);
        assert!(!grants.can_open(&[]) && grants.can_open(&STANDING), "{kind}");
        let grant = grants.request().expect("a grant");
        grants.settle();
        assert_eq!(grants.world.grant_state(grant), GrantState::Active, "{kind}\n{}", grants.world.story());
        // What is looked at through the eyes of the grantee shows it all, on every folder.
        let target = outside(&grants.directory, &grants.world.clock).target;
        let seen = target.seen_by(grants.mailbox, &grants.helper.name).unwrap_or_else(|r| panic!("{kind}: {r:?}"));
        let full: Vec<String> = seen
            .expect("a credential")
            .into_iter()
            .filter(|folder| folder.rights.covers(Full::FULL_ACCESS))
            .map(|folder| folder.folder)
            .collect();
        for path in ["INBOX", "Projects", "Projects/2019", "Standing", ODD] {
            assert!(full.iter().any(|folder| folder == path), "{kind}: {path}");
        }
        // Whoever was given it logs in, reads and writes.
        let mut helper = grants.server.login(&grants.helper);
        helper.select(&grants.server.folder_of(&grants.owner, &[]));
        let read = helper.ok("UID FETCH 1:* (BODY.PEEK[])");
        assert!(read.iter().any(|line| !line.literals.is_empty()), "{kind}");
        helper.ok("UID STORE 1 +FLAGS (\\Flagged)");
        helper.ok("UID STORE 1 -FLAGS (\\Flagged)");
        for path in [&PROJECTS[..1], &PROJECTS, &STANDING] {
            assert!(grants.can_open(path), "{kind}: {path:?}");
        }
        grants.make_folder(&MADE);
        grants.world.clock.advance(Duration::from_millis(LEASE_MS));
        grants.finish();
        assert_eq!(grants.end_of(grant), Some(GrantEnd::Revoked), "{kind}\n{}", grants.world.story());
        grants.check_over("one grant");
        assert!(!grants.can_open(&MADE), "{kind}");
        let verified = grants.receipt(grant, GrantStep::VerifyRevoked);
        let Some(GrantReceipt::VerifiedGone { verified_as, sessions, .. }) = verified else {
            panic!("{kind}: {verified:?}\n{}", grants.world.story());
        };
        assert_eq!(verified_as, VerifiedAs::Grantee, "{kind}");
        assert_eq!(sessions, OpenSessions::MayHaveLivedOn { until: None }, "{kind}");
    });
}

fn sessions_are_ended(server: &'static Server, directory: Arc<Directory>) {
    let mut grants = Grants::new(server, directory);
    let grant = grants.request().expect("a grant");
    grants.settle();
    let mut helper = server.login(&grants.helper);
    helper.select(&server.folder_of(&grants.owner, &[]));
    let mut owner = server.login(&grants.owner);
    grants.world.revoke_grant(grant);
    grants.finish();
    assert_eq!(helper.ask("UID FETCH 1:* (BODY.PEEK[])").status, Status::Gone);
    assert_eq!(owner.ask("NOOP").status, Status::Ok, "nobody else was asked to leave");
    let verified = grants.receipt(grant, GrantStep::VerifyRevoked);
    assert!(
        matches!(verified, Some(GrantReceipt::VerifiedGone { sessions: OpenSessions::Ended, .. })),
        "{verified:?}\n{}",
        grants.world.story()
    );
    grants.check_over("sessions");
}

#[test]
fn on_dovecot_the_sessions_of_the_grantee_are_ended() {
    let server = Server::shared(Kind::Dovecot);
    sessions_are_ended(server, Directory::with_doveadm(server));
}

#[test]
fn on_dovecot_the_sessions_of_the_grantee_are_ended_over_tls() {
    let server = Server::shared(Kind::Dovecot);
    // Two names of its certificate, and its authority by the server's entry or by an own one.
    for (host, ca_file) in [("localhost", None), ("127.0.0.1", Some(server.ca_file()))] {
        sessions_are_ended(server, Directory::with_doveadm_at(server, server.doveadm_url_over_tls(host), ca_file));
    }
}

#[test]
fn doveadm_is_told_nothing_over_tls_unless_its_certificate_is_trusted() {
    let server = Server::shared(Kind::Dovecot);
    let (owner, helper) = (server.mailbox(), server.mailbox());
    let mut session = server.login(&helper);
    let over_tls = server.doveadm_url_over_tls("localhost");
    let of_another = Some(Server::shared(Kind::Cyrus).ca_file());
    for (url, ca_file, code) in [
        (over_tls.clone(), of_another, "mail-tls-certificate"),
        (over_tls.clone(), Some(PathBuf::from("/nonexistent/authorities.pem")), "mail-tls-files"),
        // No TLS where it has to be, and TLS where nobody said so.
        (server.doveadm_url().replace("http://", "https://"), None, "mail-tls"),
        (over_tls.replace("https://", "http://"), None, "mail-doveadm"),
    ] {
        let directory = Directory::with_doveadm_at(server, url.clone(), ca_file);
        let world = world(&directory);
        directory.add(EntityId(1), &owner);
        let target = outside(&directory, &world.clock).target;
        let refused = target.end_sessions(EntityId(1), &helper.name).expect_err("nothing that can be asked");
        assert!(refused.code.starts_with(code), "{url}: {}", refused.code);
        assert_eq!(session.ask("NOOP").status, Status::Ok, "{url}: nobody was asked to leave");
    }
}

#[test]
fn the_sessions_of_a_name_that_doveadm_would_take_for_others_keep_no_revoke_waiting() {
    let server = Server::shared(Kind::Dovecot);
    let directory = Directory::with_doveadm(server);
    let world = world(&directory);
    directory.add(EntityId(1), &server.mailbox());
    let target = outside(&directory, &world.clock).target;
    for name in ["a*b", "a%b", "a\\b"] {
        let ended = target.end_sessions(EntityId(1), name).expect("an answer");
        assert_eq!(ended, OpenSessions::MayHaveLivedOn { until: None }, "{name}");
    }
}

fn crash_everywhere(kind: Kind, remains: Remains) {
    at_every_flush(&format!("a grant on {kind}"), remains, 9, |flush, remains| {
        let mut grants = Grants::plain(kind);
        grants.world.gate.crash_at(flush, remains);
        let grant = grants.request();
        grants.settle();
        let mut crashed = grants.world.crashes > 0;
        grants.make_folder(&MADE);
        grants.world.clock.advance(Duration::from_millis(LEASE_MS));
        crashed |= grants.finish();
        let what = format!("{remains:?} at flush {flush}");
        grants.check_over(&what);
        assert!(grant.is_none_or(|grant| grants.end_of(grant).is_some()), "{kind} {what}\n{}", grants.world.story());
        crashed
    });
}

#[test]
fn a_crash_at_any_flush_leaves_no_access_behind() {
    on_each(|kind| {
        for remains in [Remains::Lost, Remains::Flushed] {
            crash_everywhere(kind, remains);
        }
    });
}

/// Goes through a whole grant, with a fault of one of its connections. Returns the connections.
fn through_a_fault(server: &'static Server, number: usize, fault: &Fault) -> Vec<retention_tests::proxy::Dialogue> {
    let proxy = Proxy::before(server.imap_port());
    let mut grants = Grants::new(server, Directory::of(server, Some(proxy.port())));
    let before = proxy.dialogues().len();
    assert_eq!(before, 0);
    (0..number).for_each(|_| proxy.next(Fault::Pass));
    proxy.next(fault.clone());
    let grant = grants.request().expect("a grant");
    grants.settle();
    grants.make_folder(&MADE);
    grants.world.clock.advance(Duration::from_millis(LEASE_MS));
    grants.finish();
    let what = format!("connection {number}: {fault:?}");
    grants.check_over(&what);
    assert!(grants.end_of(grant).is_some(), "{what}\n{}", grants.world.story());
    proxy.dialogues()
}

#[test]
fn a_connection_that_is_cut_anywhere_leaves_no_access_behind() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let dialogues = through_a_fault(server, 0, &Fault::Pass);
        assert!(dialogues.len() >= 6, "{kind}: {}", dialogues.len());
        for (number, dialogue) in dialogues.iter().enumerate() {
            let down = places(&dialogue.down, 3).into_iter().map(|at| Fault::Cut(Way::Down, at));
            let up = places(&dialogue.up, 2).into_iter().map(|at| Fault::Cut(Way::Up, at));
            for fault in down.chain(up) {
                through_a_fault(server, number, &fault);
            }
        }
    });
}

#[test]
fn a_lost_command_that_gives_or_takes_is_asked_about_anew() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let dialogues = through_a_fault(server, 0, &Fault::Pass);
        for verb in ["SETACL", "DELETEACL"] {
            let says = |up: &[u8]| memchr::memmem::find(up, verb.as_bytes()).is_some();
            let number = dialogues.iter().position(|dialogue| says(&dialogue.up)).expect("a command that changes");
            for fault in [Fault::LostButApplied(verb.to_owned()), Fault::LostNotApplied(verb.to_owned())] {
                let went = through_a_fault(server, number, &fault);
                assert!(went[number].failed, "{kind}: {fault:?}");
            }
        }
    });
}

#[test]
fn what_everybody_may_do_is_nobodys_grant() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let mut grants = Grants::plain(kind);
        let inbox = quoted(&server.folder(&[]));
        let given = server.login(&grants.owner).ask(&format!("SETACL {inbox} anyone lr"));
        // Dovecot takes no such entry unless it is told to.
        assert_eq!(given.status == Status::Ok, kind != Kind::Dovecot, "{kind}: {given:?}");
        let before = server.rights(&grants.owner);
        let grant = grants.request().expect("a grant");
        grants.settle();
        grants.world.revoke_grant(grant);
        grants.finish();
        let story = grants.world.story();
        assert_eq!(grants.end_of(grant), Some(GrantEnd::Revoked), "{kind}\n{story}");
        assert_eq!(server.rights(&grants.owner), before, "{kind}\n{story}");
        assert!(!story.contains("grant-still-seen"), "{kind}\n{story}");
    });
}

#[test]
fn nothing_is_given_where_rights_are_taken_away_and_nothing_to_anybody_but_one_person() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let mut grants = Grants::plain(kind);
        for identifier in ["anyone", "-somebody", "owner", "", "a\"b", "a\\b", "a*b"] {
            let target = outside(&grants.directory, &grants.world.clock).target;
            let mut session = target.open(grants.mailbox).unwrap_or_else(|refusal| panic!("{kind}: {refusal:?}"));
            let mut folders = session.read(identifier).unwrap_or_else(|refusal| panic!("{kind}: {refusal:?}"));
            folders.iter_mut().for_each(|folder| folder.rights = folder.rights.and(Full::FULL_ACCESS));
            let given = session.change(identifier, &folders);
            assert!(
                matches!(given, Outcome::Refused(refusal) if refusal.code == "mail-name-unsafe"),
                "{kind} {identifier}: {given:?}"
            );
        }
        let inbox = quoted(&server.folder(&[]));
        server.login(&grants.owner).ok(&format!("SETACL {inbox} -{} lr", grants.helper.name));
        let before = server.rights(&grants.owner);
        let grant = grants.request().expect("a grant");
        grants.finish();
        let story = grants.world.story();
        assert!(story.contains("mail-negative-rights"), "{kind}\n{story}");
        assert!(grants.end_of(grant).is_some(), "{kind}\n{story}");
        assert_eq!(server.rights(&grants.owner), before, "{kind}\n{story}");
    });
}

#[test]
fn folders_that_are_renamed_and_removed_meanwhile_keep_nothing() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let mut grants = Grants::plain(kind);
        let grant = grants.request().expect("a grant");
        grants.settle();
        let mut owner = server.login(&grants.owner);
        let name = |path: &[&str]| quoted(&server.folder(path));
        owner.ok(&format!("RENAME {} {}", name(&PROJECTS), name(&["Elsewhere"])));
        owner.ok(&format!("DELETE {}", name(&["&ANoBDQ-ty &- co"])));
        // One with a folder below it: on some servers its name stays, without a folder.
        owner.ok(&format!("CREATE {}", name(&["Parent"])));
        owner.ok(&format!("CREATE {}", name(&["Parent", "Child"])));
        owner.ok(&format!("SETACL {} {} lrswipkxtea", name(&["Parent"]), grants.helper.name));
        // Cyrus does not take that.
        let deleted = owner.ask(&format!("DELETE {}", name(&["Parent"])));
        assert_eq!(deleted.status == Status::Ok, kind != Kind::Cyrus, "{kind}");
        assert!(grants.can_open(&["Elsewhere"]), "{kind}: a folder takes its rights along");
        grants.world.revoke_grant(grant);
        grants.finish();
        let story = grants.world.story();
        assert_eq!(grants.end_of(grant), Some(GrantEnd::Revoked), "{kind}\n{story}");
        let rights = server.rights(&grants.owner);
        let left: Vec<&String> = rights
            .iter()
            .filter(|(_, entries)| entries.contains_key(&grants.helper.name))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(left, [&server.folder(&STANDING)], "{kind}\n{story}");
        assert!(!grants.can_open(&["Elsewhere"]) && !grants.can_open(&[]), "{kind}\n{story}");
        let _exists = owner.ask(&format!("CREATE {}", name(&["Parent"])));
        // Courier keeps the permissions of the name where nobody sees them.
        assert_eq!(grants.can_open(&["Parent"]), kind == Kind::Courier, "{kind}: made anew\n{story}");
        assert!(!grants.can_open(&["Parent", "Child"]), "{kind}\n{story}");
    });
}

#[test]
fn a_name_that_the_server_writes_otherwise_is_given_nothing() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let mut grants = Grants::plain(kind);
        let name = grants.helper.name.to_uppercase();
        // Where nothing alike is listed yet.
        server.login(&grants.owner).ok(&format!(
            "DELETEACL {} {}",
            quoted(&server.folder(&STANDING)),
            grants.helper.name
        ));
        let before = server.rights(&grants.owner);
        let grant = grants.world.request_grant_to(&name, grants.mailbox, 0).expect("a grant");
        grants.settle();
        let story = grants.world.story();
        let is_active = grants.world.grant_state(grant) == GrantState::Active;
        let is_open = grants.can_open(&[]);
        assert!(is_active || story.contains("mail-name-changed"), "{kind}\n{story}");
        assert!(is_active || !is_open, "{kind}: nobody knows of it\n{story}");
        grants.world.revoke_grant(grant);
        grants.finish();
        assert_eq!(server.rights(&grants.owner), before, "{kind}\n{}", grants.world.story());
    });
}

#[test]
fn names_without_a_folder_are_in_nobodys_way() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let mut grants = Grants::plain(kind);
        let mut owner = server.login(&grants.owner);
        // Cyrus does not take that.
        let deleted = owner.ask(&format!("DELETE {}", quoted(&server.folder(&PROJECTS[..1]))));
        assert_eq!(deleted.status == Status::Ok, kind != Kind::Cyrus, "{kind}");
        let grant = grants.request().expect("a grant");
        grants.settle();
        assert_eq!(grants.world.grant_state(grant), GrantState::Active, "{kind}\n{}", grants.world.story());
        assert!(grants.can_open(&PROJECTS), "{kind}");
        // Its messages are looked at too.
        grants.world.request_scan(grants.mailbox);
        grants.world.settle();
        let scan = grants.world.store().view(|views| views.small.scans.get(grants.mailbox).cloned());
        let done = scan.and_then(|scan| scan.done);
        assert!(done.is_some_and(|(_, body)| body.messages == 1), "{kind}\n{}", grants.world.story());
        grants.world.revoke_grant(grant);
        grants.finish();
        assert_eq!(grants.end_of(grant), Some(GrantEnd::Revoked), "{kind}\n{}", grants.world.story());
        assert!(!grants.can_open(&PROJECTS) && !grants.can_open(&[]), "{kind}");
    });
}

#[test]
fn fifty_folders_cost_as_many_round_trips_as_five() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let round_trips = |folders: usize| {
            let proxy = Proxy::before(server.imap_port());
            let mut grants = Grants::new(server, Directory::of(server, Some(proxy.port())));
            // The inbox and four others are there already.
            grants.make_folders(folders - 5);
            let turns = || proxy.dialogues().iter().map(|dialogue| dialogue.turns).sum::<u64>();
            let before = turns();
            let grant = grants.request().expect("a grant");
            grants.finish();
            assert_eq!(grants.end_of(grant), Some(GrantEnd::Revoked), "{kind}\n{}", grants.world.story());
            grants.check_over("many folders");
            turns() - before
        };
        // Given, read back, taken back, read back, each with a new login, and looked at with the helper's own eyes.
        let (five, fifty) = (round_trips(5), round_trips(50));
        println!("{kind}: a grant on 5 folders takes {five} round trips, on 50 folders {fifty}");
        assert_eq!(fifty, five, "{kind}");
    });
}
