//! The real daemon is killed at every step of what it does on the three real servers, and started again on the same
//! store: no access stays behind, nothing goes that should stay, nothing comes twice, and nothing else is touched.
//!
//! A trap in front of the servers holds the daemon at one place of its dialogue with them, so that it is certain what
//! the server has heard when the daemon dies. A first round without a kill tells how many places there are, and the
//! kills are spread over them. `RETENTION_MAIL_KILL_ROUNDS` says how many rounds, `RETENTION_SEED` where exactly.

#![expect(clippy::disallowed_methods, reason = "another process is waited for, and that can only be polled")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use retention_core::id::EntityId;
use retention_core::view::Views;
use retention_tests::disk;
use retention_tests::invariants::{Checker, Violation, access, grants, registry};
use retention_tests::mailboxes::Mailboxes;
use retention_tests::model::Model;
use retention_tests::proxy::Proxy;
use retention_tests::servers::raw::{Status, quoted};
use retention_tests::servers::{Account, Kind, Server};
use retention_tests::trap::{Bite, Place, Trap};
use retention_tests::victim::{Socket, Victim};
use retentiond::clock::WallClock;
use retentiond::connector::archive::{DiskArchive, verify_recorded};
use retentiond::halt::Halt;
use retentiond::store::{Options, Store};
use serde_json::{Value, json};

mod grant;
mod message;
mod migration;
mod run_access;

/// In how many rounds the daemon is killed when nothing says otherwise.
const ROUNDS: u64 = 12;

/// Where when nothing says otherwise.
const SEED: u64 = 20_261_127;

/// How often the daemon is killed in one round at most: also while it recovers.
const KILLS_PER_ROUND: u64 = 3;

/// How often the other process is looked at.
const POLL: Duration = Duration::from_millis(1);

/// After so many looks somebody does what is to be done next.
const LOOKS_PER_ACT: u32 = 8;

/// What never comes within this time, never comes.
const PATIENCE: Duration = Duration::from_secs(120);

/// When the daemon is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// At a place of what it says to the servers.
    Said(Place, Bite),
    /// When its journal has grown by so many bytes.
    Written(u64),
    /// When everything is as it should be for a while.
    Resting,
}

/// How far a deed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    UnderWay,
    /// It goes on by itself later, or when somebody says so.
    Resting,
    Over,
}

/// What the daemon is asked to do again and again, and is killed at.
trait Deed {
    /// Prepares a round, while nothing is under way.
    fn prepare(&mut self, hunt: &mut Hunt, round: u64);

    /// Does what persons do next. They see what is there, so it does not matter what was lost.
    ///
    /// # Errors
    /// When the daemon did not answer.
    fn go_on(&mut self, socket: &Socket) -> io::Result<Standing>;

    /// The commands that tell its steps, and how often each is said at least.
    fn commands(&self) -> &'static [(&'static str, u64)];

    /// Says whether it rests at some time, until it goes on by itself or somebody says so.
    fn rests(&self) -> bool;

    /// The steps, each of which some kill must hit.
    fn steps(&self) -> &'static [&'static str];

    /// Names what was under way when the daemon died.
    fn under_way(&self, views: &Views) -> Vec<String>;

    /// Looks at the servers, and at what was exported, while the daemon is dead.
    fn look(&mut self, store: &Store, exports: &Path, what: &str);

    /// Looks at the servers when a round is over: everything is as it should be.
    fn check(&mut self, what: &str);
}

/// The daemon, those who use it, and those who look at what it left.
struct Hunt {
    victim: Victim,
    trap: Arc<Trap>,
    proxies: Vec<Proxy>,
    socket: Socket,
    random: StdRng,
    checker: Checker,
    model: Model,
    /// How many there are.
    policies: usize,
    /// What the kills hit.
    seen: BTreeMap<String, u64>,
    kills: u64,
}

/// How long one round is in which nobody dies.
#[derive(Debug)]
struct Length {
    parts: u64,
    written: u64,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Reads the number of a name such as `G310`, or a position.
fn number_of(name: &Value) -> u64 {
    let named = || name.as_str()?.get(1..)?.parse().ok();
    name.as_u64().or_else(named).unwrap_or_else(|| panic!("{name} has no number"))
}

/// How an admin gets into the mailboxes of a server, through a proxy.
fn server_block(server: &Server, proxy: &Proxy) -> String {
    let kind = server.kind();
    let (login, admin) = match kind {
        Kind::Dovecot => ("dovecot-master", "admin"),
        Kind::Cyrus => ("authzid", "mailadmin"),
        Kind::Courier => ("user-root", "mailadmin"),
    };
    format!(
        "[[server]]\nname = \"{kind}\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"plain-loopback\"\nlogin = \"{login}\"\n\
         admin = {{ login = \"{admin}\", file = \"{kind}.pw\" }}\n",
        proxy.port()
    )
}

/// Who may do what: folder, identifier, rights.
type Rights = BTreeMap<String, BTreeMap<String, String>>;

/// Says whether whoever logs in can open a folder of an owner.
fn can_open(server: &Server, who: &Account, owner: &Account, path: &[&str]) -> bool {
    let folder = server.folder_of(owner, path);
    server.login(who).ask(&format!("SELECT {}", quoted(&folder))).status == Status::Ok
}

/// Whatever stood in a mailbox without any grant stands there at every moment.
fn assert_stands(server: &Server, owner: &Account, before: &Rights, what: &str) {
    let now = server.rights(owner);
    for (folder, entries) in before {
        for (who, stood) in entries {
            let rights = now.get(folder).and_then(|entries| entries.get(who)).map_or("", String::as_str);
            let is_there = stood.chars().all(|right| rights.contains(right));
            assert!(is_there, "{what}: {who} had {stood} on {folder}, and has {rights}");
        }
    }
}

impl Hunt {
    fn new(servers: &[&Server], policies: &[(&str, String)], seed: u64) -> Self {
        let trap = Trap::new();
        let proxies: Vec<Proxy> = servers.iter().map(|server| Proxy::before_with(server.imap_port(), &trap)).collect();
        let blocks: String = servers.iter().zip(&proxies).map(|(server, proxy)| server_block(server, proxy)).collect();
        let victim = Victim::new(&[], &blocks);
        assert!(victim.has_second_person(), "the mail servers are started by root, and root can be two persons");
        for (stem, text) in policies {
            fs::write(victim.path(&format!("policies/{stem}.toml")), text).unwrap();
        }
        for server in servers {
            let admin = if server.kind() == Kind::Dovecot { "admin" } else { "mailadmin" };
            let file = victim.path(&format!("{}.pw", server.kind()));
            fs::write(&file, server.account(admin).password).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let socket = victim.socket();
        let (random, checker, model) = (StdRng::seed_from_u64(seed), Checker::default(), Model::default());
        let mut hunt = Self {
            victim,
            trap,
            proxies,
            socket,
            random,
            checker,
            model,
            seen: BTreeMap::new(),
            policies: policies.len(),
            kills: 0,
        };
        hunt.start();
        hunt
    }

    /// Starts the daemon, and waits until it answers. From then on it knows its policies.
    fn start(&mut self) {
        self.victim.start();
        let first = self.until("the daemon answers", || self.socket.get("/v1/policies").ok());
        let active = first["rows"].as_array().map(Vec::len);
        assert_eq!(active, Some(self.policies), "whoever asks first is told of no policy: {first}");
    }

    /// Looks again and again until there is something.
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "never: {what}\n{}", self.victim.diagnostics());
            std::thread::sleep(POLL);
        }
    }

    /// Registers mailboxes, each with its own password or for an admin, and waits until their permissions were read:
    /// then nothing goes on that nobody asked for.
    fn register(&self, mailboxes: &[(&Server, &Account, Login)]) -> Vec<EntityId> {
        let one = |(server, account, login): &(&Server, &Account, Login)| {
            let mut one = json!({
                "server": server.kind().to_string(),
                "address": format!("{}@example.org", account.name),
                "user": account.name,
            });
            match login {
                Login::Own => {
                    one["login"] = json!("own-password");
                    one["secret"] = json!(account.password);
                }
                Login::Admin if server.kind() == Kind::Courier => one["root"] = json!(server.folder_of(account, &[])),
                Login::Admin => {}
            }
            one
        };
        let wanted: Vec<Value> = mailboxes.iter().map(one).collect();
        let added = self.socket.post("/v1/mailboxes", &json!({ "mailboxes": wanted })).unwrap();
        self.until("the permissions were read", || {
            let rows = self.socket.get("/v1/mailboxes").ok()?;
            rows["rows"].as_array()?.iter().all(|row| row["permissions_at"].is_string()).then_some(())
        });
        let added = added["mailboxes"].as_array().unwrap().iter();
        added.map(|name| EntityId(u32::try_from(number_of(name)).unwrap())).collect()
    }

    fn written(&self) -> u64 {
        self.victim.journal_bytes()
    }

    /// Lets the daemon and everybody else go on until the moment has come or everything is over; says which.
    fn live(&mut self, deed: &mut dyn Deed, moment: Option<Moment>) -> Standing {
        let (since, before) = (Instant::now(), self.written());
        let at = match moment {
            Some(Moment::Said(place, bite)) => Some((place, bite)),
            Some(Moment::Written(_) | Moment::Resting) | None => None,
        };
        self.trap.set(at);
        for look in 0_u32.. {
            let is_written = matches!(moment, Some(Moment::Written(bytes)) if self.written() >= before + bytes);
            if self.trap.is_closed() || is_written {
                return Standing::UnderWay;
            }
            if look.is_multiple_of(LOOKS_PER_ACT) {
                match deed.go_on(&self.socket) {
                    Ok(Standing::Over) => {
                        // It may hold what nobody waits for any more.
                        self.trap.open();
                        return Standing::Over;
                    }
                    Ok(Standing::Resting) if matches!(moment, Some(Moment::Resting)) => return Standing::Resting,
                    // Who gets no answer asks again.
                    Ok(Standing::UnderWay | Standing::Resting) | Err(_) => {}
                }
            }
            assert!(self.victim.is_running(), "the daemon ended by itself");
            assert!(since.elapsed() < PATIENCE, "it is never over");
            std::thread::sleep(POLL);
        }
        unreachable!("so many looks take longer than anybody waits");
    }

    /// Chooses where the kills of all rounds come. The first of a round comes at one of the commands that tell the steps,
    /// or at one of the places that are spread evenly over the whole deed; those after it while it is recovered from.
    fn moments(&mut self, deed: &dyn Deed, rounds: u64, length: &Length) -> Vec<Vec<Moment>> {
        let random = &mut self.random;
        // In thousandths of what lies between two places.
        let (commands, shift) = (deed.commands(), random.random_range(0..1_000));
        let spread = |over: u64, round: u64| 1 + (round * 1_000 + shift) * over / (rounds * 1_000);
        let first = |round: u64, random: &mut StdRng| {
            let turn = usize::try_from(round / 2).unwrap();
            // Each command with each bite comes once in so many turns.
            let bite = Bite::ALL[(turn + turn / commands.len()) % Bite::ALL.len()];
            match (round % 2, turn % 4) {
                (0, _) => {
                    let (command, times) = commands[turn % commands.len()];
                    Moment::Said(Place::Saying(command, random.random_range(1..=times)), bite)
                }
                (_, 1) if deed.rests() => Moment::Resting,
                (_, 3) => Moment::Written(spread(length.written, round)),
                _ => Moment::Said(Place::Part(spread(length.parts, round)), bite),
            }
        };
        let later = |random: &mut StdRng| {
            let bite = Bite::ALL[random.random_range(0..Bite::ALL.len())];
            match random.random_range(0..8) {
                0 => Moment::Written(random.random_range(1..=length.written / 2)),
                1 if deed.rests() => Moment::Resting,
                2 | 3 => Moment::Said(Place::Saying(commands[random.random_range(0..commands.len())].0, 1), bite),
                _ => Moment::Said(Place::Part(random.random_range(1..=length.parts / 2)), bite),
            }
        };
        let round = |round: u64| {
            let kills = random.random_range(1..=KILLS_PER_ROUND);
            std::iter::once(first(round, random)).chain((1..kills).map(|_| later(random)).collect::<Vec<_>>()).collect()
        };
        (0..rounds).map(round).collect()
    }

    fn kill(&mut self, deed: &mut dyn Deed, what: &str) {
        self.victim.kill();
        self.kills += 1;
        self.trap.open();
        self.proxies.iter().for_each(Proxy::cut);
        self.look(deed, what);
        self.start();
    }

    /// Looks at a copy of what is left.
    fn look(&mut self, deed: &mut dyn Deed, what: &str) {
        let copied = self.victim.path("copy");
        disk::copy(&self.victim.path("state"), &copied);
        let mut options = Options::usual(&copied, &self.victim.path("root.key"), Arc::new(WallClock)).unwrap();
        options.cache_bytes = 1024 * 1024;
        let store = Store::open(&options, &mut |_, _| {}).expect("the store opens");
        assert_eq!(store.read_only_reason(), None, "{what}: the store is damaged");
        for named in store.view(|views| deed.under_way(views)) {
            *self.seen.entry(named).or_default() += 1;
        }
        let exports = self.victim.path("exports");
        let mut violations: Vec<Violation> = self.checker.check(&store, &exports, &self.model);
        violations.extend(grants::check(&store, &Mailboxes::default()));
        violations.extend(access::check(&store));
        violations.extend(registry::check(&store));
        assert_eq!(violations, [], "{what}");
        deed.look(&store, &exports, what);
        drop(store);
        let report = Store::verify_stopped(&options, &mut |_, _| {}).unwrap();
        assert!(report.is_good(), "{what}: {report:?}");
        fs::remove_dir_all(&copied).unwrap();
    }

    /// Goes through the deed once without a kill, then with kills everywhere.
    fn hunt(mut self, name: &str, deed: &mut dyn Deed) {
        let rounds = number("RETENTION_MAIL_KILL_ROUNDS").unwrap_or(ROUNDS);
        deed.prepare(&mut self, 0);
        let before = self.written();
        assert_eq!(self.live(deed, None), Standing::Over);
        let length = Length { parts: self.trap.begun(), written: self.written() - before };
        deed.check(&format!("{name}: nobody was killed"));
        let since = Instant::now();
        for (round, moments) in (1..).zip(self.moments(deed, rounds, &length)) {
            let mut what = format!("{name}: round {round}");
            deed.prepare(&mut self, round);
            for moment in moments {
                what = format!("{what}, {moment:?}");
                if self.live(deed, Some(moment)) == Standing::Over {
                    break;
                }
                self.kill(deed, &what);
            }
            assert_eq!(self.live(deed, None), Standing::Over, "{what}");
            deed.check(&what);
        }
        self.end(name, deed);
        let Self { kills, seen, .. } = self;
        println!("{name}: {length:?}, {kills} kills in {} ms hit {seen:?}", since.elapsed().as_millis());
        let missed = deed.steps().iter().find(|step| !seen.contains_key(**step));
        assert!(rounds < ROUNDS || missed.is_none(), "{name}: no kill hit {missed:?}: {seen:?}");
    }

    /// In the end the daemon stops in good order, its own look finds the store whole, and every bundle is intact.
    fn end(&mut self, name: &str, deed: &mut dyn Deed) {
        assert_eq!(self.victim.stop(), Some(0), "{name}");
        let verified = self.victim.offline(&["store", "verify"]);
        assert_eq!(verified.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&verified.stderr));
        self.look(deed, name);
        let exports = self.victim.path("exports");
        let archive = DiskArchive::at(&exports);
        let mut bundles = 0;
        for bundle in archive.list().unwrap() {
            let bundle = bundle.unwrap();
            let (_, manifest) = archive.manifest(&bundle).unwrap();
            verify_recorded(&exports, &bundle, manifest, &Halt::default()).unwrap();
            bundles += 1;
        }
        let entries = fs::read_dir(&exports).map_or(0, Iterator::count);
        assert_eq!(entries, bundles, "{name}: an unfinished bundle is left");
    }
}

/// How the daemon gets into a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    Own,
    Admin,
}

/// Starts a hunt, and prints how to have the same one again.
fn hunt_on(servers: &[&Server], policies: &[(&str, String)]) -> Hunt {
    let seed = number("RETENTION_SEED").unwrap_or(SEED);
    println!(
        "RETENTION_SEED={seed} RETENTION_MAIL_KILL_ROUNDS={}",
        number("RETENTION_MAIL_KILL_ROUNDS").unwrap_or(ROUNDS)
    );
    Hunt::new(servers, policies, seed)
}
