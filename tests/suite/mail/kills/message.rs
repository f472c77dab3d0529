//! Runs that export messages and purge them, with a kill at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use retention_core::event::Event;
use retention_core::event::saga::Step;
use retention_core::evidence::ParsedItem;
use retention_core::id::{EntityId, HoldId, Position};
use retention_core::record::message::MessageKey;
use retention_core::view::{StepStanding, Views};
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::raw::quoted;
use retention_tests::servers::{Account, Folder, Kind, Server};
use retention_tests::victim::Socket;
use retention_tests::world::mail_policy;
use retentiond::connector::archive::{ITEMS_FILE, TEXTS_DIRECTORY};
use retentiond::store::Store;
use serde_json::{Value, json};

use super::{Deed, Hunt, Login, Standing, hunt_on, number_of};

/// The folder that the policy is about, as records write it, and its parts as servers do.
const ARCHIVE: &str = "Účty & co/2020";
pub(super) const PARTS: [&str; 2] = ["&ANoBDQ-ty &- co", "2020"];

/// Messages that are due in each round.
const DUE: u32 = 4;

/// The steps of a run of messages.
const STEPS: [Step; 6] =
    [Step::Export, Step::VerifyExport, Step::Quarantine, Step::Expunge, Step::VerifyAbsence, Step::DestroyKeys];

pub(super) struct Messages {
    server: &'static Server,
    pub(super) account: Account,
    mailbox: EntityId,
    archive: String,
    /// What stands in the mailbox when a round begins, what is due included.
    before: BTreeMap<String, Folder>,
    /// The numbers of those that are due in this round.
    due: Vec<u32>,
    /// What went in all rounds, with its text.
    gone: BTreeMap<MessageKey, Vec<u8>>,
    /// The newest plan of the rounds before.
    known: u64,
    newest: u64,
    letters: u32,
}

impl Messages {
    fn new(server: &'static Server) -> (Hunt, Self) {
        Self::with(server, "", &[])
    }

    /// Also registers the mailboxes of others, and adds something to the policy.
    pub(super) fn with(server: &'static Server, added: &str, others: &[&Account]) -> (Hunt, Self) {
        let account = server.mailbox();
        let archive = server.folder(&PARTS);
        let mut raw = server.login(&account);
        raw.ok(&format!("CREATE {}", quoted(&server.folder(&PARTS[..1]))));
        raw.ok(&format!("CREATE {}", quoted(&archive)));
        raw.ok(&format!("SELECT {}", quoted(&archive)));
        drop(raw);
        let text = mail_policy(ARCHIVE, "eml", "P0D")
            .replace("max_percent = 100", "max_percent = 100\npopulation_drop_percent = 100");
        let mut hunt = hunt_on(&[server], &[("mail", text + added)]);
        let mut registered = vec![(server, &account, Login::Admin)];
        registered.extend(others.iter().map(|other| (server, *other, Login::Own)));
        let mailbox = hunt.register(&registered)[0];
        let mut deed = Self {
            server,
            account,
            mailbox,
            archive,
            before: BTreeMap::new(),
            due: Vec::new(),
            gone: BTreeMap::new(),
            known: 0,
            newest: 0,
            letters: 0,
        };
        deed.hold_one(&mut hunt);
        (hunt, deed)
    }

    /// Puts a letter into a folder, and returns its number there.
    fn put(&mut self, folder: &str, year: u16, flags: &[&str]) -> u32 {
        self.letters += 1;
        let letter = letter(self.letters, &date(year, 6, 1), 3_000);
        self.server.login(&self.account).append(folder, flags, &letter.date, &letter.body)
    }

    /// The first message is old enough, and a hold keeps it for ever.
    fn hold_one(&mut self, hunt: &mut Hunt) {
        let archive = self.archive.clone();
        self.put(&archive, 2019, &[]);
        let scan = format!("/v1/mailboxes/{}/scan", self.mailbox);
        let _asked = hunt.socket.post(&scan, &json!({})).unwrap();
        let entity = hunt.until("the first message was taken in", || {
            let rows = hunt.socket.get("/v1/entities?kind=message&limit=10").ok()?;
            Some(rows["rows"].as_array()?.first()?["entity"].clone())
        });
        let body = json!({ "name": "case", "reason": "case", "entities": [entity] });
        let hold = hunt.socket.post("/v1/holds", &body).unwrap();
        let hold = HoldId(Position(number_of(&hold["position"])));
        let entity = EntityId(u32::try_from(number_of(&entity)).unwrap());
        hunt.model.holds.insert(hold, [entity].into());
    }

    fn run(&self, socket: &Socket, plan: &Value) -> io::Result<Standing> {
        let run = socket.get(&format!("/v1/runs/{}", plan["run"].as_str().expect("a run")))?;
        match run["state"].as_str().expect("a state") {
            "requested" | "running" => Ok(Standing::UnderWay),
            "completed" => {
                assert_eq!(run["purged"], DUE, "{}: {run}", self.server.kind());
                Ok(Standing::Over)
            }
            other => panic!("{}: the run is {other}: {run}", self.server.kind()),
        }
    }

    /// Remembers what went since the last look; nothing went but what is due.
    fn see(&mut self, what: &str) -> Vec<u32> {
        let now = self.server.truth(&self.account);
        for (name, folder) in &self.before {
            let there = now.get(name).unwrap_or_else(|| panic!("{what}: {name} is gone"));
            assert_eq!(there.uid_validity, folder.uid_validity, "{what}: {name}");
            for (uid, stored) in &folder.messages {
                let is_due = *name == self.archive && self.due.contains(uid);
                match there.messages.get(uid) {
                    Some(same) if is_due => assert!(same.body == stored.body, "{what}: {name} {uid} is another"),
                    Some(same) => assert!(same == stored, "{what}: {name} {uid} is not as it stood"),
                    None => assert!(is_due, "{what}: {name} {uid} is gone, and should stay"),
                }
            }
            assert_eq!(there.messages.keys().find(|uid| !folder.messages.contains_key(uid)), None, "{what}: {name}");
        }
        let archive = &self.before[&self.archive];
        let left = &now[&self.archive].messages;
        for uid in self.due.iter().filter(|uid| !left.contains_key(uid)) {
            let key = MessageKey { folder: ARCHIVE.to_owned(), uid_validity: archive.uid_validity, uid: *uid };
            self.gone.entry(key).or_insert_with(|| archive.messages[uid].body.clone());
        }
        self.due.iter().copied().filter(|uid| left.contains_key(uid)).collect()
    }
}

impl Deed for Messages {
    fn prepare(&mut self, _hunt: &mut Hunt, _round: u64) {
        let archive = self.archive.clone();
        self.due = (0..DUE)
            .map(|number| self.put(&archive, 2020, if number == 0 { &["\\Seen", "Label"] } else { &[] }))
            .collect();
        self.put(&archive, 2026, &[]);
        self.put(&archive, 2020, &["\\Flagged"]);
        self.put(&archive, 2020, &["\\Deleted", "\\Flagged"]);
        self.put("INBOX", 2020, &["\\Deleted"]);
        self.before = self.server.truth(&self.account);
        self.known = self.newest;
    }

    fn go_on(&mut self, socket: &Socket) -> io::Result<Standing> {
        let rows = socket.get("/v1/plans?limit=1")?;
        let Some(plan) = rows["rows"].get(0).filter(|row| number_of(&row["plan"]) > self.known) else {
            let wanted = json!({ "policy": "mail", "purpose": "run" });
            return socket.post("/v1/plans", &wanted).map(|_| Standing::UnderWay);
        };
        self.newest = number_of(&plan["plan"]);
        let name = plan["plan"].as_str().expect("a name");
        match plan["state"].as_str().expect("a state") {
            "requested" => {}
            // Where the daemon dies meanwhile, they say it again.
            "awaiting_approval" => drop(socket.second_person(&["plan", "approve", name])),
            "ready" => {
                assert_eq!(plan["frozen"]["items"], DUE, "{}: {plan}", self.server.kind());
                let body = json!({ "plan": name, "digest": plan["frozen"]["digest"] });
                socket.post("/v1/runs", &body)?;
            }
            "used" => return self.run(socket, plan),
            other => panic!("{}: the plan is {other}: {plan}", self.server.kind()),
        }
        Ok(Standing::UnderWay)
    }

    fn commands(&self) -> &'static [(&'static str, u64)] {
        &[("UID EXPUNGE", 1), ("UID STORE", 1), ("BODY.PEEK[]", 1)]
    }

    fn rests(&self) -> bool {
        false
    }

    fn steps(&self) -> &'static [&'static str] {
        &["export", "expunge", "verify_absence"]
    }

    fn under_way(&self, views: &Views) -> Vec<String> {
        let open = views.small.runs.sagas().filter(|(_, saga)| saga.end.is_none());
        let begun = open.flat_map(|(_, saga)| {
            let steps = STEPS.into_iter();
            steps
                .filter(|step| matches!(saga.step(*step), Some(StepStanding::Started { .. })))
                .map(|step| step.name().to_owned())
        });
        begun.collect()
    }

    fn look(&mut self, store: &Store, exports: &Path, what: &str) {
        self.see(what);
        let intended = intended(store);
        let exported = exported(exports);
        for (key, text) in &self.gone {
            let id = key.external_id();
            let entity = exported.iter().find(|(known, _, there)| *known == id && there == text);
            let entity = entity.unwrap_or_else(|| panic!("{}: {} is gone, and in no bundle", what, key.uid)).1;
            assert!(intended.contains(&entity), "{}: {} is gone without an intent", what, key.uid);
        }
    }

    fn check(&mut self, what: &str) {
        let left = self.see(what);
        assert_eq!(left, [0; 0], "{what}: what is due is still there");
    }
}

/// What the intents to expunge name.
fn intended(store: &Store) -> BTreeSet<EntityId> {
    let last = store.view(|views| views.position);
    let mut intended = BTreeSet::new();
    for recorded in (1..=last.0).filter_map(|number| store.read(Position(number)).unwrap()) {
        match recorded.event() {
            Some(Event::StepStarted(body)) if body.step == Step::Expunge => intended.extend(&body.items),
            _ => {}
        }
    }
    intended
}

/// What the bundles on disk hold: ids, entities and texts.
fn exported(exports: &Path) -> Vec<(String, EntityId, Vec<u8>)> {
    let mut exported = Vec::new();
    let bundles = fs::read_dir(exports).into_iter().flatten().map(|entry| entry.unwrap());
    // What is being written is no bundle yet.
    for bundle in bundles.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
        let items = fs::read_to_string(bundle.path().join(ITEMS_FILE)).unwrap();
        for item in items.lines().map(|line| ParsedItem::parse_line(line.as_bytes()).unwrap()) {
            let text = fs::read(bundle.path().join(TEXTS_DIRECTORY).join(format!("{}.eml", item.entity))).unwrap();
            exported.push((item.record.external_id, item.entity, text));
        }
    }
    exported
}

fn hunt(kind: Kind) {
    let (hunt, mut messages) = Messages::new(Server::shared(kind));
    hunt.hunt(&format!("messages on {kind}"), &mut messages);
}

#[test]
fn a_run_on_dovecot_purges_what_it_exported_and_nothing_else_wherever_the_daemon_is_killed() {
    hunt(Kind::Dovecot);
}

#[test]
fn a_run_on_cyrus_purges_what_it_exported_and_nothing_else_wherever_the_daemon_is_killed() {
    hunt(Kind::Cyrus);
}

#[test]
fn a_run_on_courier_purges_what_it_exported_and_nothing_else_wherever_the_daemon_is_killed() {
    hunt(Kind::Courier);
}
