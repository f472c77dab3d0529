use std::collections::BTreeSet;

use parking_lot::Mutex;
use retention_core::event::mailbox::MailboxRegistered;
use retention_core::event::migration::{MigrationRequested, MigrationStopRequested};
use retention_core::id::{Digest, EntityId};
use retention_core::record::message::{Correspondents, MessageStanding};

use super::*;
use crate::clock::ManualClock;
use crate::connector::mail::{EachMessage, FolderState};
use crate::connector::moving::{EachPrint, OpenPair};
use crate::connector::outcome::{Cause, Refusal};
use crate::store::Options;
use crate::store::tests::init_with_clock;

/// A message in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Letter {
    uid: Uid,
    text: String,
    received: i64,
}

#[derive(Clone, Default)]
struct Box_ {
    folders: BTreeMap<String, Vec<Letter>>,
    special: BTreeMap<String, String>,
    validity: u32,
}

/// What a call does instead of its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Nothing happens, and the server says why.
    Refused,
    /// Nothing happens, and nobody hears why.
    LostBefore,
    /// It happens, and nobody hears of it.
    LostAfter,
}

#[derive(Default)]
struct Servers {
    source: Box_,
    target: Box_,
    calls: usize,
    fault: Option<(usize, Fault)>,
    /// Texts that the target takes in no way, and those that it changes, with their date.
    refuses: Option<String>,
    changes: Option<String>,
    /// A text to which it says no and nothing more.
    says_no_to: Option<String>,
    /// A folder that the target does not make.
    makes_not: Option<String>,
    /// A folder that the source does not open, and one that somebody makes there once another has its counterpart.
    opens_not: Option<String>,
    comes: Option<(String, Vec<Letter>)>,
    /// A text that the source does not send.
    withholds: Option<String>,
    /// A text that it calls a bad command, as Cyrus does where it does not keep the date.
    calls_bad: Option<String>,
    /// Whether no message has a name for itself.
    is_nameless: bool,
    /// Whether both are one mailbox, so that what is appended comes in at the source.
    is_one: bool,
    /// At which call the source numbers its messages anew.
    renumbers_at: Option<usize>,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Servers>>);

const LOST: MailFailure = MailFailure::Lost(Cause { code: "mail-lost" });
const NO: MailFailure = MailFailure::Refused(Refusal { code: "mail-refused", retry: Retry::Operator });
const BAD: MailFailure = MailFailure::Refused(Refusal { code: "mail-bad-command", retry: Retry::Operator });
const FOLDER_NOT_MADE: MailFailure = MailFailure::Refused(Refusal { code: NOT_MADE, retry: Retry::Operator });
const CLOSED: MailFailure = MailFailure::Refused(Refusal { code: FOLDER_CLOSED, retry: Retry::Operator });
const MISSING: MailFailure = MailFailure::Refused(Refusal { code: FOLDER_MISSING, retry: Retry::Operator });
const TEXT_WITHHELD: MailFailure = MailFailure::Refused(Refusal { code: WITHHELD, retry: Retry::Operator });
const NEVER: MailFailure = MailFailure::Refused(Refusal { code: "mail-message-too-big", retry: Retry::Never });

impl Memory {
    /// Does one call, or what goes wrong with it.
    fn call<R>(&self, work: impl FnOnce(&mut Servers) -> Result<R, MailFailure>) -> Result<R, MailFailure> {
        let mut servers = self.0.lock();
        servers.calls += 1;
        if servers.renumbers_at == Some(servers.calls) {
            servers.source.validity += 1;
        }
        let fault = servers.fault.filter(|(at, _)| *at == servers.calls).map(|(_, fault)| fault);
        match fault {
            Some(Fault::Refused) => Err(NO),
            Some(Fault::LostBefore) => Err(LOST),
            Some(Fault::LostAfter) => work(&mut servers).and(Err(LOST)),
            None => work(&mut servers),
        }
    }

    fn texts(&self, folder: &str) -> Vec<String> {
        let servers = self.0.lock();
        servers
            .target
            .folders
            .get(folder)
            .map(|all| all.iter().map(|one| one.text.clone()).collect())
            .unwrap_or_default()
    }
}

impl Mover for Memory {
    fn open(&self, _: EntityId, _: EntityId) -> Result<Box<dyn Moving + '_>, MailFailure> {
        self.call(|_| Ok(()))?;
        Ok(Box::new(Open { memory: self.clone(), path: String::new(), into: String::new() }))
    }
}

struct Open {
    memory: Memory,
    path: String,
    into: String,
}

fn state(of: &Box_, folder: &str) -> FolderState {
    let letters = of.folders.get(folder).cloned().unwrap_or_default();
    FolderState {
        uid_validity: of.validity,
        uid_next: letters.last().map_or(1, |letter| letter.uid + 1),
        exists: u32::try_from(letters.len()).unwrap(),
        highest_modseq: None,
    }
}

impl Moving for Open {
    fn folders(&mut self) -> Result<Vec<MailFolder>, MailFailure> {
        self.memory.call(|servers| {
            let special =
                |name: &String| servers.source.special.get(name).cloned().into_iter().collect::<BTreeSet<_>>();
            let folders = servers.source.folders.keys();
            Ok(folders.map(|name| MailFolder { name: name.clone(), special_use: special(name) }).collect())
        })
    }

    fn counterpart(&mut self, folder: &MailFolder) -> Result<String, MailFailure> {
        self.memory.call(|servers| {
            if servers.makes_not.as_ref() == Some(&folder.name) {
                return Err(FOLDER_NOT_MADE);
            }
            let same = servers.target.special.iter().find(|(_, special)| folder.special_use.contains(*special));
            let name = same.map_or_else(|| folder.name.clone(), |(name, _)| name.clone());
            servers.target.folders.entry(name.clone()).or_default();
            let comes = servers.comes.take();
            servers.source.folders.extend(comes);
            Ok(name)
        })
    }

    fn open_pair(&mut self, path: &str, into: &str) -> Result<Option<OpenPair>, MailFailure> {
        (self.path, self.into) = (path.to_owned(), into.to_owned());
        self.memory.call(|servers| {
            if servers.opens_not.as_deref() == Some(path) {
                return Err(CLOSED);
            }
            if servers.source.folders.contains_key(path) && !servers.target.folders.contains_key(into) {
                return Err(MISSING);
            }
            let pair = OpenPair { source: state(&servers.source, path), target: state(&servers.target, into) };
            Ok(servers.source.folders.contains_key(path).then_some(pair))
        })
    }

    fn messages(&mut self, after: Uid, at_most: usize, each: EachMessage<'_>) -> Result<(), MailFailure> {
        let path = self.path.clone();
        let letters = self.memory.call(|servers| Ok(servers.source.folders[&path].clone()))?;
        let lowest: Vec<&Letter> = letters.iter().filter(|letter| letter.uid > after).take(at_most).collect();
        for letter in lowest.into_iter().rev() {
            let standing = MessageStanding {
                received: Timestamp(letter.received),
                size: letter.text.len() as u64,
                flags: BTreeSet::new(),
                keywords: BTreeSet::new(),
            };
            let correspondents = Some(Correspondents::default());
            let _goes_on = each(MessageState { uid: letter.uid, standing, correspondents, is_stood_in_for: false });
        }
        Ok(())
    }

    fn copy(&mut self, message: &MessageState) -> Result<Copied, MailFailure> {
        let (path, into) = (self.path.clone(), self.into.clone());
        self.memory.call(|servers| {
            let found = servers.source.folders[&path].iter().find(|letter| letter.uid == message.uid).cloned();
            let Some(mut letter) = found else { return Ok(Copied::Gone) };
            if servers.withholds.as_ref() == Some(&letter.text) {
                return Err(TEXT_WITHHELD);
            }
            if servers.refuses.as_ref() == Some(&letter.text) {
                return Err(NEVER);
            }
            if servers.says_no_to.as_ref() == Some(&letter.text) {
                return Err(NO);
            }
            if servers.calls_bad.as_ref() == Some(&letter.text) {
                return Err(BAD);
            }
            if servers.changes.as_ref() == Some(&letter.text) {
                letter.text.push_str(" changed");
                letter.received += 1_000_000;
            }
            let bytes = letter.text.len() as u64;
            let folder = servers.target.folders.get_mut(&into).unwrap();
            letter.uid = folder.last().map_or(1, |last| last.uid + 1);
            folder.push(letter.clone());
            if servers.is_one {
                servers.source.folders.get_mut(&path).unwrap().push(letter);
            }
            Ok(Copied::Done { bytes })
        })
    }

    fn prints(&mut self, side: Side, from: Uid, each: EachPrint<'_>) -> Result<(), MailFailure> {
        let (path, into) = (self.path.clone(), self.into.clone());
        let (letters, is_nameless) = self.memory.call(|servers| {
            let letters = match side {
                Side::Source => servers.source.folders[&path].clone(),
                Side::Target => servers.target.folders[&into].clone(),
            };
            Ok((letters, servers.is_nameless))
        })?;
        for letter in letters.iter().filter(|letter| letter.uid >= from) {
            let id = Digest::of(letter.text.trim_end_matches(" changed").as_bytes());
            let text = Digest::of(letter.text.as_bytes());
            let print = Print { text, received: Timestamp(letter.received), id: (!is_nameless).then_some(id) };
            if each(letter.uid, print).is_break() {
                break;
            }
        }
        Ok(())
    }
}

struct World {
    _dir: tempfile::TempDir,
    options: Options,
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    memory: Memory,
    source: EntityId,
    target: EntityId,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (options, clock) = init_with_clock(dir.path());
        let store = Arc::new(Store::open(&options, &mut |_, _| {}).unwrap());
        let mailboxes: Vec<EntityId> = store.issue(2).unwrap().into_iter().map(|(entity, _)| entity).collect();
        for mailbox in &mailboxes {
            let event = Event::MailboxRegistered(MailboxRegistered { server: "mail".to_owned(), credential: None });
            let draft = Draft { entity: Some(*mailbox), ..crate::store::open::daemon_draft(event) };
            store.append_drafts(vec![draft], Condition::None).unwrap();
        }
        let memory = Memory::default();
        {
            let mut servers = memory.0.lock();
            let letters = |count: u32, name: &str| {
                let letter =
                    |uid| Letter { uid, text: format!("{name} {}", uid / 2), received: i64::from(uid / 2) * 1_000_000 };
                (1..=count).map(letter).collect::<Vec<_>>()
            };
            servers.source.validity = 7;
            servers.target.validity = 9;
            servers.source.folders.insert("INBOX".to_owned(), letters(7, "inbox"));
            servers.source.folders.insert("Sent Items".to_owned(), letters(3, "sent"));
            servers.source.special.insert("Sent Items".to_owned(), "sent".to_owned());
            servers.target.special.insert("Sent".to_owned(), "sent".to_owned());
            let own = Letter { uid: 5, text: "was here".to_owned(), received: 1 };
            servers.target.folders.insert("Sent".to_owned(), vec![own]);
        }
        Self { _dir: dir, options, store, clock, memory, source: mailboxes[0], target: mailboxes[1] }
    }

    fn request(&self, exclude: &[&str], max_bytes: Option<u64>) -> MigrationId {
        let body = MigrationRequested {
            source: self.source,
            target: self.target,
            exclude: exclude.iter().map(|&folder| folder.to_owned()).collect(),
            max_bytes,
        };
        let draft = crate::store::open::daemon_draft(Event::MigrationRequested(body));
        MigrationId(self.store.append_drafts(vec![draft], Condition::None).unwrap().first)
    }

    fn driver(&self) -> Migrations {
        Migrations::new(Arc::clone(&self.store), self.clock.clone(), Arc::new(self.memory.clone()))
    }

    /// Drives until nothing is to be done, through every wait.
    fn finish(&self, id: MigrationId) -> Migration {
        let mut driver = self.driver();
        for _ in 0..200 {
            match driver.step().unwrap() {
                Step::Worked => {}
                Step::IdleUntil(at) => self.clock.pass_until(at),
                Step::Idle => break,
            }
        }
        let migration = self.store.view(|views| views.small.migrations.get(id).cloned()).unwrap();
        assert!(migration.end.is_some(), "it never ends: {migration:?}");
        migration
    }

    fn reopen(self) -> Self {
        let Self { _dir, options, store, clock, memory, source, target } = self;
        drop(store);
        let store = Arc::new(Store::open(&options, &mut |_, _| {}).unwrap());
        Self { _dir, options, store, clock, memory, source, target }
    }
}

fn ended(migration: &Migration) -> MigrationEnd {
    migration.end.as_ref().unwrap().0
}

/// Every letter of the source is at the target, once, in its order, behind what was there.
fn check_whole(world: &World, what: &str) {
    assert_eq!(
        world.memory.texts("INBOX"),
        ["inbox 0", "inbox 1", "inbox 1", "inbox 2", "inbox 2", "inbox 3", "inbox 3"],
        "{what}"
    );
    assert_eq!(world.memory.texts("Sent"), ["was here", "sent 0", "sent 1", "sent 1"], "{what}");
}

#[test]
fn a_mailbox_is_copied_once_and_verified_and_the_next_time_only_what_is_new() {
    let world = World::new();
    let migration = world.finish(world.request(&[], None));
    assert_eq!((ended(&migration), migration.totals(), migration.missing()), (MigrationEnd::Verified, (10, 67, 0), 0));
    check_whole(&world, "once");
    let new = Letter { uid: 9, text: "inbox new".to_owned(), received: 5 };
    world.memory.0.lock().source.folders.get_mut("INBOX").unwrap().push(new);
    let id = world.request(&[], None);
    let again = world.finish(id);
    assert!(again.continues.is_some());
    assert_eq!((ended(&again), again.totals().0), (MigrationEnd::Verified, 11));
    assert_eq!(world.memory.texts("INBOX").len(), 8);
    assert_eq!(world.memory.texts("Sent").len(), 4);
}

#[test]
fn whatever_goes_wrong_at_any_call_everything_is_there_once() {
    for fault in [Fault::Refused, Fault::LostBefore, Fault::LostAfter] {
        for at in 1.. {
            let world = World::new();
            world.memory.0.lock().fault = Some((at, fault));
            let id = world.request(&[], None);
            // Killed right after it: whatever was not recorded is forgotten.
            let mut driver = world.driver();
            let _stepped = driver.step().unwrap();
            drop(driver);
            let world = world.reopen();
            let migration = world.finish(id);
            assert_eq!(ended(&migration), MigrationEnd::Verified, "{fault:?} at call {at}");
            check_whole(&world, &format!("{fault:?} at call {at}"));
            if world.memory.0.lock().calls < at {
                assert!(at > 20, "there are more calls");
                break;
            }
        }
    }
}

#[test]
fn what_is_left_out_is_counted_and_what_the_target_changes_is_never_called_verified() {
    let world = World::new();
    let migration = world.finish(world.request(&["Sent Items"], None));
    assert_eq!((ended(&migration), migration.totals().0), (MigrationEnd::Verified, 7));
    assert_eq!(world.memory.texts("Sent"), ["was here"]);

    let world = World::new();
    let long = Letter { uid: 20, text: "x".repeat(100), received: 1 };
    world.memory.0.lock().source.folders.get_mut("INBOX").unwrap().push(long);
    let migration = world.finish(world.request(&[], Some(50)));
    assert_eq!((ended(&migration), migration.totals().2), (MigrationEnd::Verified, 1));

    for (changes, refuses, copied) in [(Some("inbox 2"), None, 10), (None, Some("inbox 2"), 8)] {
        let world = World::new();
        world.memory.0.lock().changes = changes.map(str::to_owned);
        world.memory.0.lock().refuses = refuses.map(str::to_owned);
        let migration = world.finish(world.request(&[], None));
        assert_eq!((ended(&migration), migration.missing()), (MigrationEnd::Differs, 2));
        assert_eq!(migration.totals().0, copied);
    }
}

#[test]
fn a_stop_is_heeded_and_other_numbers_are_never_taken_for_the_same() {
    let world = World::new();
    let id = world.request(&[], None);
    let stop = MigrationStopRequested { migration: id, reason: "later".to_owned() };
    let draft = crate::store::open::daemon_draft(Event::MigrationStopRequested(stop));
    world.store.append_drafts(vec![draft], Condition::None).unwrap();
    assert_eq!(ended(&world.finish(id)), MigrationEnd::Stopped);
    assert!(world.memory.texts("INBOX").is_empty());

    let done = world.finish(world.request(&[], None));
    assert_eq!(ended(&done), MigrationEnd::Verified);
}

#[test]
fn a_folder_that_is_numbered_anew_is_compared_by_its_texts() {
    let world = World::new();
    assert_eq!(ended(&world.finish(world.request(&[], None))), MigrationEnd::Verified);
    {
        let mut servers = world.memory.0.lock();
        servers.source.validity = 8;
        let new = Letter { uid: 2, text: "inbox new".to_owned(), received: 9 };
        servers.source.folders.get_mut("INBOX").unwrap().retain(|letter| letter.uid != 2);
        servers.source.folders.get_mut("INBOX").unwrap().insert(1, new);
    }
    let again = world.finish(world.request(&[], None));
    assert_eq!((ended(&again), again.missing()), (MigrationEnd::Verified, 0));
    let mut texts = world.memory.texts("INBOX");
    assert_eq!(texts.pop().as_deref(), Some("inbox new"), "only that one was not there");
    assert_eq!(texts.len(), 7);
    assert_eq!(world.memory.texts("Sent").len(), 4);
    // While a migration is under way nobody numbers anew: then nothing more is copied or believed.
    let world = World::new();
    let id = world.request(&[], None);
    world.memory.0.lock().renumbers_at = Some(12);
    let (end, code, _) = world.finish(id).end.unwrap();
    assert_eq!((end, code.as_str()), (MigrationEnd::Failed, "mail-uidvalidity-changed"));
}

#[test]
fn a_server_that_changes_messages_gets_none_twice_whatever_is_lost() {
    for fault in [Fault::LostBefore, Fault::LostAfter] {
        for at in 1..60 {
            let world = World::new();
            world.memory.0.lock().changes = Some("inbox 2".to_owned());
            world.memory.0.lock().fault = Some((at, fault));
            let id = world.request(&[], None);
            let _stepped = world.driver().step().unwrap();
            let migration = world.finish(id);
            assert_eq!((ended(&migration), migration.missing()), (MigrationEnd::Differs, 2), "{fault:?} at {at}");
            assert_eq!(world.memory.texts("INBOX").len(), 7, "{fault:?} at {at}: {:?}", world.memory.texts("INBOX"));
        }
    }
}

#[test]
fn what_a_smaller_limit_left_out_comes_with_a_larger_one_and_once() {
    let world = World::new();
    for (uid, bytes) in [(20, 100), (21, 300)] {
        let long = Letter { uid, text: "x".repeat(bytes), received: 1 };
        world.memory.0.lock().source.folders.get_mut("INBOX").unwrap().push(long);
    }
    let long = || world.memory.texts("INBOX").iter().filter(|text| text.len() >= 100).count();
    for (max, expected) in [(Some(50), 0), (Some(200), 1), (Some(50), 1), (None, 2), (None, 2)] {
        let migration = world.finish(world.request(&[], max));
        assert_eq!((ended(&migration), long()), (MigrationEnd::Verified, expected), "{max:?}");
    }
}

#[test]
fn two_folders_that_go_into_one_need_both_of_their_messages_there() {
    let world = World::new();
    {
        let mut servers = world.memory.0.lock();
        let same = servers.source.folders["Sent Items"].clone();
        servers.source.folders.insert("Sent".to_owned(), same);
    }
    let first = world.finish(world.request(&[], None));
    assert_eq!((ended(&first), world.memory.texts("Sent").len()), (MigrationEnd::Verified, 7));
    world.memory.0.lock().target.folders.get_mut("Sent").unwrap().truncate(4);
    let second = world.finish(world.request(&[], None));
    assert_eq!((ended(&second), second.missing()), (MigrationEnd::Differs, 3));
}

#[test]
fn a_message_that_is_refused_again_and_again_does_not_hold_up_the_others() {
    let world = World::new();
    world.memory.0.lock().says_no_to = Some("inbox 0".to_owned());
    let migration = world.finish(world.request(&[], None));
    assert_eq!((ended(&migration), migration.missing(), migration.totals().2), (MigrationEnd::Differs, 1, 1));
    assert_eq!(world.memory.texts("INBOX").len(), 6);
}

/// Asks for a migration that goes through all folders but the inbox, and says with this code why not.
fn held_up_at_the_inbox(world: &World, code: &str) -> MigrationId {
    let id = world.request(&[], None);
    assert_eq!(world.driver().step().unwrap(), Step::Worked);
    let migration = world.store.view(|views| views.small.migrations.get(id).cloned()).unwrap();
    assert_eq!((migration.end.is_some(), migration.totals().0), (false, 3), "the other folder is there: {migration:?}");
    assert_eq!(migration.failed.as_ref().map(|(code, _)| code.as_str()), Some(code));
    id
}

#[test]
fn a_folder_that_the_target_does_not_make_does_not_hold_up_the_others() {
    let world = World::new();
    world.memory.0.lock().makes_not = Some("INBOX".to_owned());
    let id = held_up_at_the_inbox(&world, NOT_MADE);
    world.memory.0.lock().makes_not = None;
    assert_eq!(ended(&world.finish(id)), MigrationEnd::Verified);
    check_whole(&world, "the folder was made after all");
}

#[test]
fn a_message_that_the_target_calls_a_bad_command_does_not_hold_up_the_others() {
    let world = World::new();
    world.memory.0.lock().calls_bad = Some("inbox 0".to_owned());
    let migration = world.finish(world.request(&[], None));
    assert_eq!((ended(&migration), migration.missing(), migration.totals().2), (MigrationEnd::Differs, 1, 1));
    assert_eq!(world.memory.texts("INBOX").len(), 6);
}

#[test]
fn what_was_refused_is_tried_again_when_it_is_asked_for_again_and_nothing_else_comes_twice() {
    // Without a name of its own, only the log knows of what the target changed that it is there.
    for is_nameless in [false, true] {
        try_again(is_nameless);
    }
}

fn try_again(is_nameless: bool) {
    let world = World::new();
    {
        let mut servers = world.memory.0.lock();
        servers.says_no_to = Some("inbox 0".to_owned());
        servers.changes = Some("inbox 2".to_owned());
        servers.is_nameless = is_nameless;
    }
    let refused = |expected: (u64, u64)| {
        let before = world.clock.now();
        let migration = world.finish(world.request(&[], None));
        assert_eq!((ended(&migration), migration.missing()), (MigrationEnd::Differs, 3));
        assert_eq!((migration.totals().2, world.memory.texts("INBOX").len() as u64), expected);
        world.clock.now().0 - before.0
    };
    assert!(refused((1, 6)) > 0, "it is waited between one no and the next");
    assert_eq!(refused((1, 6)), 0, "it was waited for it before");
    world.memory.0.lock().says_no_to = None;
    // What the target changed is there, and is still no copy.
    for _ in 0..2 {
        let migration = world.finish(world.request(&[], None));
        assert_eq!((ended(&migration), migration.missing()), (MigrationEnd::Differs, 2));
        assert_eq!(world.memory.texts("INBOX").len(), 7, "{:?}", world.memory.texts("INBOX"));
    }
}

#[test]
fn what_was_refused_in_the_midst_of_others_is_all_that_is_tried_again() {
    let world = World::new();
    {
        let mut servers = world.memory.0.lock();
        servers.source.folders.get_mut("INBOX").unwrap()[5].text = "odd".to_owned();
        servers.refuses = Some("odd".to_owned());
        servers.changes = Some("inbox 2".to_owned());
        servers.is_nameless = true;
    }
    for (missing, there) in [(3, 6), (3, 6), (2, 7), (2, 7)] {
        if missing == 2 {
            world.memory.0.lock().refuses = None;
        }
        let migration = world.finish(world.request(&[], None));
        assert_eq!((ended(&migration), migration.missing()), (MigrationEnd::Differs, missing));
        assert_eq!(world.memory.texts("INBOX").len(), there, "{:?}", world.memory.texts("INBOX"));
    }
}

#[test]
fn a_folder_that_is_numbered_anew_gets_nothing_twice_whatever_is_lost() {
    for fault in [Fault::LostBefore, Fault::LostAfter] {
        for at in 1..60 {
            let world = World::new();
            assert_eq!(ended(&world.finish(world.request(&[], None))), MigrationEnd::Verified);
            {
                let mut servers = world.memory.0.lock();
                servers.source.validity = 8;
                let new = Letter { uid: 1, text: "inbox new".to_owned(), received: 9 };
                servers.source.folders.get_mut("INBOX").unwrap()[0] = new;
                servers.fault = Some((servers.calls + at, fault));
            }
            if fault == Fault::LostAfter && at % 2 == 0 {
                // Stopped when it broke off, and asked for once more.
                let id = world.request(&[], None);
                let _broken = world.driver().step().unwrap();
                let stop = MigrationStopRequested { migration: id, reason: "later".to_owned() };
                let draft = crate::store::open::daemon_draft(Event::MigrationStopRequested(stop));
                world.store.append_drafts(vec![draft], Condition::None).unwrap();
            }
            let again = world.finish(world.request(&[], None));
            assert_eq!((ended(&again), again.missing()), (MigrationEnd::Verified, 0), "{fault:?} at {at}");
            let texts = world.memory.texts("INBOX");
            assert_eq!((texts.len(), world.memory.texts("Sent").len()), (8, 4), "{fault:?} at {at}: {texts:?}");
        }
    }
}

#[test]
fn a_message_that_is_refused_in_a_folder_that_is_numbered_anew_is_not_tried_for_ever() {
    let world = World::new();
    assert_eq!(ended(&world.finish(world.request(&[], None))), MigrationEnd::Verified);
    {
        let mut servers = world.memory.0.lock();
        servers.source.validity = 8;
        servers.source.folders.get_mut("INBOX").unwrap()[5].text = "odd".to_owned();
        servers.says_no_to = Some("odd".to_owned());
    }
    let again = world.finish(world.request(&[], None));
    assert_eq!((ended(&again), again.missing(), again.totals().2), (MigrationEnd::Differs, 1, 1));
    assert_eq!(world.memory.texts("INBOX").len(), 7);
}

#[test]
fn a_mailbox_is_not_copied_into_itself() {
    let world = World::new();
    {
        let mut servers = world.memory.0.lock();
        servers.target = servers.source.clone();
        servers.is_one = true;
    }
    let (end, code, _) = world.finish(world.request(&[], None)).end.unwrap();
    assert_eq!((end, code.as_str()), (MigrationEnd::Failed, "mail-same-mailbox"));
    assert_eq!(world.memory.texts("INBOX").len(), 8, "one message shows it");
}

#[test]
fn a_counterpart_that_somebody_removed_is_made_anew_and_filled() {
    let world = World::new();
    assert_eq!(ended(&world.finish(world.request(&[], None))), MigrationEnd::Verified);
    {
        let mut servers = world.memory.0.lock();
        servers.target.folders.remove("INBOX");
        servers.target.validity += 1;
    }
    let again = world.finish(world.request(&[], None));
    assert_eq!((ended(&again), again.missing()), (MigrationEnd::Verified, 0));
    check_whole(&world, "made anew");
}

#[test]
fn what_is_left_out_by_now_is_not_looked_for_although_it_was_copied_before() {
    let world = World::new();
    assert_eq!(ended(&world.finish(world.request(&[], None))), MigrationEnd::Verified);
    world.memory.0.lock().target.folders.remove("Sent");
    let again = world.finish(world.request(&["Sent Items"], None));
    assert_eq!((ended(&again), again.missing()), (MigrationEnd::Verified, 0));
}

#[test]
fn a_folder_that_the_source_does_not_open_does_not_hold_up_the_others() {
    let world = World::new();
    world.memory.0.lock().opens_not = Some("INBOX".to_owned());
    let id = held_up_at_the_inbox(&world, FOLDER_CLOSED);
    world.memory.0.lock().opens_not = None;
    assert_eq!(ended(&world.finish(id)), MigrationEnd::Verified);
    check_whole(&world, "the folder opened after all");
}

#[test]
fn a_folder_that_is_made_while_others_are_copied_is_copied_too() {
    let world = World::new();
    let letter = Letter { uid: 1, text: "new".to_owned(), received: 3 };
    world.memory.0.lock().comes = Some(("A new one".to_owned(), vec![letter]));
    let migration = world.finish(world.request(&[], None));
    assert_eq!((ended(&migration), migration.totals().0), (MigrationEnd::Verified, 11));
    assert_eq!(world.memory.texts("A new one"), ["new"]);
}

#[test]
fn a_message_that_the_source_withholds_is_left_out_at_once() {
    let world = World::new();
    world.memory.0.lock().withholds = Some("inbox 2".to_owned());
    let id = world.request(&[], None);
    assert_eq!(world.driver().step().unwrap(), Step::Worked);
    let migration = world.store.view(|views| views.small.migrations.get(id).cloned()).unwrap();
    assert_eq!((ended(&migration), migration.totals().2), (MigrationEnd::Differs, 2));
    assert_eq!(world.memory.texts("INBOX").len(), 5);
}
