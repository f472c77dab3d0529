//! The real daemon copies mailboxes between the three real servers, and is killed while it does.

use std::collections::BTreeMap;

use retention_tests::daemon::{Daemon, Site};
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::{Account, Kind, Server};
use rustix::process::Signal;
use serde_json::Value;

use super::daemon::{added, private, server_block, text};

/// A folder below another, with a name that every server writes otherwise.
const NESTED: [&str; 2] = ["&ANoBDQ-ty", "2020"];

/// What tells a message: its bytes, its date, its flags and keywords.
type Shown = (Vec<u8>, String, Vec<String>);

struct Two {
    site: Site,
    servers: [&'static Server; 2],
    accounts: [Account; 2],
}

impl Two {
    fn new(from: Kind, to: Kind) -> Self {
        let servers = [from, to].map(Server::shared);
        let accounts = servers.map(Server::mailbox);
        let site = Site::new(&[]);
        let mut config = site.config();
        for server in servers {
            let file = format!("{}.pw", server.kind());
            config.push_str(&server_block(server, &file));
            let admin = if server.kind() == Kind::Dovecot { "admin" } else { "mailadmin" };
            private(&site, &file, &format!("{}\n", server.account(admin).password));
        }
        site.write("config.toml", &config);
        // A folder of Courier that no mail program ever opened has no numbers yet.
        for (server, account) in servers.iter().zip(&accounts) {
            server.login(account).ok("SELECT INBOX");
        }
        Self { site, servers, accounts }
    }

    /// Letters in the inbox and in a folder below another, some with flags and keywords.
    fn fill(&self, count: u32) {
        let [server, _] = self.servers;
        let mut raw = server.login(&self.accounts[0]);
        let nested = server.folder(&NESTED);
        raw.ok(&format!("CREATE \"{}\"", server.folder(&NESTED[..1])));
        raw.ok(&format!("CREATE \"{nested}\""));
        for number in 1..=count {
            let letter = letter(number, &date(2020, 1 + number as usize % 12, 5), 3_000);
            let flags: &[&str] = if number % 2 == 0 { &["\\Seen", "\\Flagged", "Label"] } else { &[] };
            let folder = if number % 3 == 0 { nested.as_str() } else { "INBOX" };
            assert!(raw.append(folder, flags, &letter.date, &letter.body) > 0);
        }
        raw.ok(&format!("SELECT \"{nested}\""));
    }

    fn register(&self) -> [String; 2] {
        [0, 1].map(|at| match (at, self.servers[at].kind()) {
            // An admin of Courier may make no folders in a mailbox, so its owner logs in.
            (1, Kind::Courier) => self.registered_by_owner(at),
            _ => added(&self.site, self.servers[at], &self.accounts[at]),
        })
    }

    fn registered_by_owner(&self, at: usize) -> String {
        let (server, account) = (self.servers[at].kind().to_string(), &self.accounts[at]);
        private(&self.site, "owner.pw", &account.password);
        let (address, file) = (format!("{}@example.org", account.name), self.site.path("owner.pw"));
        let file = file.to_str().expect("a path");
        let login = ["--login", "own-password", "--password-file", file];
        let args = [&["mailbox", "add", &address, "--server", &server, "--user", &account.name][..], &login].concat();
        text(&self.site.json(&args), "mailbox").to_owned()
    }

    fn migrate(&self, daemon: &Daemon<'_>, [source, target]: &[String; 2], args: &[&str]) -> Value {
        let asked = self.site.json(&[&["mailbox", "migrate", source, target], args].concat());
        let id = text(&asked, "migration").to_owned();
        self.over(daemon, &id)
    }

    fn over(&self, daemon: &Daemon<'_>, id: &str) -> Value {
        daemon.until(&format!("{id} is over"), || {
            let shown = self.site.json(&["mailbox", "migrations", id]);
            shown["ended_at"].is_string().then_some(shown)
        })
    }

    /// What a mailbox holds, by the paths of its folders, sorted.
    fn shown(&self, at: usize) -> BTreeMap<String, Vec<Shown>> {
        let server = self.servers[at];
        let names = [("INBOX".to_owned(), "INBOX"), (server.folder(&NESTED), "nested")];
        let truth = server.truth(&self.accounts[at]);
        let of = |name: &String| {
            let folder = truth.get(name).map(|folder| folder.messages.values().cloned().collect()).unwrap_or_default();
            let all: Vec<retention_tests::servers::Stored> = folder;
            let mut all: Vec<Shown> =
                all.into_iter().map(|one| (one.body, one.date, one.flags.into_iter().collect())).collect();
            all.sort();
            all
        };
        names.iter().map(|(name, path)| ((*path).to_owned(), of(name))).collect()
    }
}

#[test]
fn a_mailbox_is_copied_byte_for_byte_with_flags_keywords_and_dates_and_once() {
    for (from, to) in [(Kind::Dovecot, Kind::Cyrus), (Kind::Courier, Kind::Dovecot), (Kind::Cyrus, Kind::Dovecot)] {
        let two = Two::new(from, to);
        two.fill(30);
        let daemon = two.site.start();
        let mailboxes = two.register();
        let done = two.migrate(&daemon, &mailboxes, &[]);
        assert_eq!(
            (&done["state"], &done["messages"], &done["missing"]),
            (&"verified".into(), &30.into(), &0.into()),
            "{from} {to}: {done}"
        );
        let (source, target) = (two.shown(0), two.shown(1));
        assert_eq!(source.values().map(Vec::len).sum::<usize>(), 30);
        for (folder, messages) in &source {
            assert!(messages == &target[folder], "{from} to {to}: {folder} is not the same");
        }
        // Asked for again, only what is new is copied.
        let one = letter(99, &date(2021, 3, 4), 2_000);
        assert!(two.servers[0].login(&two.accounts[0]).append("INBOX", &[], &one.date, &one.body) > 0);
        let again = two.migrate(&daemon, &mailboxes, &[]);
        assert_eq!((&again["state"], &again["messages"]), (&"verified".into(), &31.into()), "{from} {to}: {again}");
        assert_eq!(two.shown(1).values().map(Vec::len).sum::<usize>(), 31);
        let _none =
            two.site.ctl(&["mailbox", "migrate", &mailboxes[0], &mailboxes[0]]).ends(2).says("two different mailboxes");
        daemon.stop();
    }
}

#[test]
fn a_daemon_that_is_killed_while_it_copies_copies_everything_once() {
    for (from, to) in [(Kind::Dovecot, Kind::Cyrus), (Kind::Courier, Kind::Dovecot), (Kind::Cyrus, Kind::Courier)] {
        let two = Two::new(from, to);
        two.fill(240);
        let mut daemon = two.site.start();
        let [source, target] = two.register();
        let asked = two.site.json(&["mailbox", "migrate", &source, &target]);
        let id = text(&asked, "migration").to_owned();
        for seen in [1, 40, 110, 170] {
            daemon.until("it is under way", || {
                let shown = two.site.json(&["mailbox", "migrations", &id]);
                (shown["ended_at"].is_string() || shown["messages"].as_u64() >= Some(seen)).then_some(())
            });
            daemon.signal(Signal::KILL);
            assert_ne!(daemon.ended(), 0);
            daemon = two.site.start();
        }
        let done = two.over(&daemon, &id);
        // What the target's server makes of a text is no copy that is missing, and is not called verified either.
        let (mut expected, mut changed) = (two.shown(0), 0_u64);
        for messages in expected.values_mut() {
            for (body, ..) in &mut *messages {
                let kept = to.kept(body);
                changed += u64::from(kept != *body);
                *body = kept;
            }
            messages.sort();
        }
        let state = if changed == 0 { "verified" } else { "differs" };
        assert_eq!((&done["state"], &done["missing"]), (&state.into(), &changed.into()), "{from} {to}: {done}");
        assert!(expected == two.shown(1), "{from} to {to}: not everything is there once");
        daemon.stop();
    }
}

#[test]
fn what_a_server_changes_is_never_called_verified_and_what_is_left_out_is_counted() {
    // Courier ends the last line of a message that does not.
    let two = Two::new(Kind::Dovecot, Kind::Courier);
    two.fill(9);
    let daemon = two.site.start();
    let mailboxes = two.register();
    let changed = two.shown(0).values().flatten().filter(|(body, ..)| !body.ends_with(b"\n")).count();
    assert!(changed > 0);
    let done = two.migrate(&daemon, &mailboxes, &[]);
    assert_eq!((&done["state"], &done["missing"]), (&"differs".into(), &changed.into()), "{done}");
    daemon.stop();

    let two = Two::new(Kind::Cyrus, Kind::Dovecot);
    two.fill(9);
    let large = letter(50, &date(2020, 5, 5), 60_000);
    assert!(two.servers[0].login(&two.accounts[0]).append("INBOX", &[], &large.date, &large.body) > 0);
    let daemon = two.site.start();
    let mailboxes = two.register();
    let done = two.migrate(&daemon, &mailboxes, &["--max-bytes", "50000", "--exclude", "Úč ty"]);
    assert_eq!(
        (&done["state"], &done["messages"], &done["left_out"]),
        (&"verified".into(), &9.into(), &1.into()),
        "{done}"
    );
    daemon.stop();
}

#[test]
fn a_keyword_that_the_target_has_no_room_for_leaves_no_message_out() {
    let two = Two::new(Kind::Dovecot, Kind::Cyrus);
    let mut raw = two.servers[0].login(&two.accounts[0]);
    // Cyrus takes a hundred of them.
    for number in 1..=105 {
        let (letter, keyword) = (letter(number, &date(2020, 3, 5), 2_000), format!("Keyword{number}"));
        assert!(raw.append("INBOX", &["\\Seen", keyword.as_str()], &letter.date, &letter.body) > 0);
    }
    drop(raw);
    let daemon = two.site.start();
    let mailboxes = two.register();
    let done = two.migrate(&daemon, &mailboxes, &[]);
    assert_eq!(
        (&done["state"], &done["messages"], &done["left_out"]),
        (&"verified".into(), &105.into(), &0.into()),
        "{done}"
    );
    daemon.stop();
}
