//! Migrations from server to server, with a kill at every step.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use retention_core::id::EntityId;
use retention_core::view::Views;
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::raw::quoted;
use retention_tests::servers::{Account, Folder, Kind, Server};
use retention_tests::victim::Socket;
use retentiond::store::Store;
use serde_json::json;

use super::{Deed, Hunt, Login, Standing, hunt_on, number_of};

/// A folder of the target that the source has not.
const OWN: [&str; 1] = ["Own"];

/// Messages that come to the inbox in each round, and to a new folder.
const LETTERS: u32 = 3;

/// What tells a message: its bytes, its date, its flags and keywords.
type Shown = (Vec<u8>, String, Vec<String>);

struct Migration {
    servers: [&'static Server; 2],
    accounts: [Account; 2],
    mailboxes: [EntityId; 2],
    /// The folders of the source, by their parts.
    folders: Vec<Vec<String>>,
    /// What stands at the source when a round begins.
    source: BTreeMap<String, Folder>,
    /// What stood at the target before everything.
    own: Option<Folder>,
    /// The newest migration of the rounds before.
    known: u64,
    newest: u64,
    letters: u32,
}

impl Migration {
    fn new(from: Kind, to: Kind) -> (Hunt, Self) {
        let servers = [from, to].map(Server::shared);
        let deed = Self {
            servers,
            accounts: servers.map(Server::mailbox),
            mailboxes: [EntityId(0); 2],
            folders: Vec::new(),
            source: BTreeMap::new(),
            own: None,
            known: 0,
            newest: 0,
            letters: 0,
        };
        (hunt_on(&servers, &[]), deed)
    }

    /// Two mailboxes that nobody has copied before; the target has a message already.
    fn take_mailboxes(&mut self, hunt: &Hunt) {
        self.accounts = self.servers.map(Server::mailbox);
        let [source, target] = self.servers;
        // A folder of Courier that no mail program ever opened has no numbers yet.
        source.login(&self.accounts[0]).ok("SELECT INBOX");
        let own = target.folder(&OWN);
        let mut raw = target.login(&self.accounts[1]);
        raw.ok("SELECT INBOX");
        raw.ok(&format!("CREATE {}", quoted(&own)));
        let letter = letter(1_000_000, &date(2018, 2, 3), 2_000);
        raw.append(&own, &["\\Answered", "Own"], &letter.date, &letter.body);
        self.own = target.truth(&self.accounts[1]).remove(&own);
        let both = [(source, &self.accounts[0], Login::Admin), (target, &self.accounts[1], Login::Admin)];
        let added = hunt.register(&both);
        self.mailboxes = [added[0], added[1]];
        (self.folders, self.letters) = (vec![Vec::new()], 0);
    }

    /// What a mailbox holds in the folders of the source, sorted.
    fn shown(&self, at: usize) -> BTreeMap<String, Vec<Shown>> {
        let truth = self.servers[at].truth(&self.accounts[at]);
        let of = |parts: &Vec<String>| {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let folder = truth.get(&self.servers[at].folder(&parts));
            let messages = folder.into_iter().flat_map(|folder| folder.messages.values().cloned());
            let mut all: Vec<Shown> =
                messages.map(|one| (one.body, one.date, one.flags.into_iter().collect())).collect();
            all.sort();
            (parts.join("/"), all)
        };
        self.folders.iter().map(of).collect()
    }

    /// The source is only read, and what the target had before is left alone.
    fn check_untouched(&self, what: &str) {
        let [source, target] = [0, 1].map(|at| self.servers[at].truth(&self.accounts[at]));
        assert!(source == self.source, "{what}: the source is not as it stood");
        assert!(
            target.get(&self.servers[1].folder(&OWN)) == self.own.as_ref(),
            "{what}: what the target had is not as it stood"
        );
    }
}

impl Deed for Migration {
    /// Every third round copies what came to mailboxes that were copied before.
    fn prepare(&mut self, hunt: &mut Hunt, round: u64) {
        if round % 3 != 2 {
            self.take_mailboxes(hunt);
        }
        let [server, _] = self.servers;
        let mut raw = server.login(&self.accounts[0]);
        let parts = vec![format!("&ANoBDQ-ty {round}")];
        let made = server.folder(&[&parts[0]]);
        raw.ok(&format!("CREATE {}", quoted(&made)));
        self.folders.push(parts);
        for folder in ["INBOX", &made] {
            for _ in 0..LETTERS {
                self.letters += 1;
                let letter = letter(self.letters, &date(2020, 1 + self.letters as usize % 12, 5), 2_000);
                let flags: &[&str] =
                    if self.letters.is_multiple_of(2) { &["\\Seen", "\\Flagged", "Label"] } else { &[] };
                raw.append(folder, flags, &letter.date, &letter.body);
            }
        }
        raw.ok(&format!("SELECT {}", quoted(&made)));
        self.source = server.truth(&self.accounts[0]);
        self.known = self.newest;
    }

    fn go_on(&mut self, socket: &Socket) -> io::Result<Standing> {
        let rows = socket.get("/v1/migrations?limit=1")?;
        let Some(row) = rows["rows"].get(0).filter(|row| number_of(&row["migration"]) > self.known) else {
            let [source, target] = self.mailboxes.map(|mailbox| mailbox.to_string());
            let wanted = json!({ "source": source, "target": target });
            return socket.post("/v1/migrations", &wanted).map(|_| Standing::UnderWay);
        };
        self.newest = number_of(&row["migration"]);
        match row["state"].as_str().expect("a state") {
            "copying" => Ok(Standing::UnderWay),
            "verified" => {
                assert_eq!((&row["missing"], &row["left_out"]), (&0.into(), &0.into()), "{row}");
                assert_eq!(row["messages"], self.letters, "{row}");
                Ok(Standing::Over)
            }
            other => panic!("the migration is {other}: {row}"),
        }
    }

    fn commands(&self) -> &'static [(&'static str, u64)] {
        &[("APPEND", 6), ("CREATE", 2), ("UID SEARCH", 8)]
    }

    fn rests(&self) -> bool {
        false
    }

    fn steps(&self) -> &'static [&'static str] {
        &["begin", "folder", "copy", "verify"]
    }

    fn under_way(&self, views: &Views) -> Vec<String> {
        let open = views.small.migrations.open().map(|(id, migration)| {
            let is_verifying = migration.folders.iter().any(|folder| folder.verified.is_some());
            let is_new = migration.folders.iter().any(|folder| folder.opened > id.0);
            match migration.folders.iter().any(|folder| folder.intent.is_some()) {
                true => "copy",
                false if is_verifying => "verify",
                false if is_new => "folder",
                false => "begin",
            }
        });
        open.map(str::to_owned).collect()
    }

    fn look(&mut self, _store: &Store, _exports: &Path, what: &str) {
        self.check_untouched(what);
        let (source, target) = (self.shown(0), self.shown(1));
        for (folder, there) in target {
            let mut missing = source[&folder].clone();
            for message in there {
                let place = missing.iter().position(|one| *one == message);
                let place = place.unwrap_or_else(|| panic!("{}: {folder} has a message twice, or another one", what));
                missing.remove(place);
            }
        }
    }

    fn check(&mut self, what: &str) {
        self.check_untouched(what);
        assert!(self.shown(0) == self.shown(1), "{what}: not everything is there once");
    }
}

fn hunt(from: Kind, to: Kind) {
    let (hunt, mut migration) = Migration::new(from, to);
    hunt.hunt(&format!("migration from {from} to {to}"), &mut migration);
}

#[test]
fn a_migration_from_dovecot_to_cyrus_copies_everything_once_wherever_the_daemon_is_killed() {
    hunt(Kind::Dovecot, Kind::Cyrus);
}

#[test]
fn a_migration_from_courier_to_dovecot_copies_everything_once_wherever_the_daemon_is_killed() {
    hunt(Kind::Courier, Kind::Dovecot);
}
