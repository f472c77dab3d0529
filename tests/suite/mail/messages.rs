//! Retention of messages on the three real servers: taken in, planned, exported, verified, expunged, and looked for
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::saga::{Receipt, Residue, SkipReason};
use retention_core::id::{EntityId, RunId};
use retention_core::view::RunState;
use retention_tests::proxy::{Fault, Proxy, Way, places};
use retention_tests::servers::letter::{Letter, date, letter, mark};
use retention_tests::servers::raw::{Raw, quoted};
use retention_tests::servers::{Account, Expunge, Kind, Server, Setup, Stored};
use retention_tests::world::{Stage, Stepped, World, mail_policy};
use retentiond::connector::mail::MailFailure;

use super::directory::{Directory, on_each, outside, world};

/// The folder of these tests: its path is the same on every server, and holds what no server writes as it is.
const ARCHIVE: &str = "Účty & co/2020";

const PARTS: [&str; 2] = ["&ANoBDQ-ty &- co", "2020"];

/// Two old messages and a young one in the archive, an old one there that the policy keeps and somebody else flagged as
/// deleted, and one of those in the inbox.
struct Mail {
    world: World,
    mailbox: EntityId,
    server: &'static Server,
    account: Account,
    archive: String,
}

/// The messages of the archive that are due, by their numbers.
const DUE: [u32; 2] = [1, 3];

impl Mail {
    fn new(directory: &Arc<Directory>, server: &'static Server, quarantine: &str) -> Self {
        Self::of(directory, server, server.mailbox(), quarantine)
    }

    fn of(directory: &Arc<Directory>, server: &'static Server, account: Account, quarantine: &str) -> Self {
        let archive = server.folder(&PARTS);
        let mut raw = server.login(&account);
        raw.ok(&format!("CREATE \"{}\"", server.folder(&PARTS[..1])));
        raw.ok(&format!("CREATE \"{archive}\""));
        let mut put = |folder: &str, number: u32, year: u16, flags: &[&str]| {
            let letter = old_letter(number, year);
            assert!(raw.append(folder, flags, &letter.date, &letter.body) > 0);
        };
        put(&archive, 1, 2020, &["\\Seen", "Label"]);
        put(&archive, 2, 2025, &[]);
        put(&archive, 3, 2019, &[]);
        put(&archive, 4, 2020, &["\\Deleted", "\\Flagged"]);
        put("INBOX", 5, 2020, &["\\Deleted"]);
        let mut world = world(directory);
        world.write_policy("mail", &mail_policy(ARCHIVE, "eml", quarantine));
        let mailbox = world.add_mailbox(&account.name);
        directory.add(mailbox, &account);
        world.settle();
        Self { world, mailbox, server, account, archive }
    }

    fn run(&mut self) -> RunId {
        self.world.approved_run("mail").1
    }

    fn raw(&self) -> Raw {
        self.server.login(&self.account)
    }

    fn truth(&self, folder: &str) -> BTreeMap<u32, Stored> {
        self.server.truth(&self.account).get(folder).map(|folder| folder.messages.clone()).unwrap_or_default()
    }

    fn uids(&self) -> Vec<u32> {
        self.truth(&self.archive).into_keys().collect()
    }

    /// Drives to the end, and says how it ended. What others flagged stands as it stood.
    fn end(&mut self, run: RunId) -> RunState {
        self.world.finish();
        let inbox = self.truth("INBOX");
        let flags = inbox.values().next().map(|stored| stored.flags.clone());
        assert_eq!((inbox.len(), flags), (1, Some(BTreeSet::from(["\\Deleted".to_owned()]))), "{}", self.server.kind());
        self.world.run_state(run)
    }

    /// Says whether anything of a letter is in a file of the mailbox.
    fn is_on_disk(&self, number: u32) -> bool {
        let files = self.server.files_with(mark(number).as_bytes());
        let is_own = |part: std::path::Component<'_>| part.as_os_str() == self.account.name.as_str();
        files.iter().any(|file| file.components().any(is_own))
    }

    fn residue(&self) -> Option<Vec<Residue>> {
        self.world.log().into_iter().find_map(|recorded| match recorded.event() {
            Some(Event::StepSucceeded(body)) => match &body.receipt {
                Receipt::AbsentFromServer { residue, .. } => Some(residue.clone()),
                _ => None,
            },
            _ => None,
        })
    }
}

fn old_letter(number: u32, year: u16) -> Letter {
    letter(number, &date(year, 6, 1), 3_000)
}

/// Every text that was exported.
fn texts(dir: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the exports").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.append(&mut texts(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "eml") {
            found.push(fs::read(entry).expect("a text"));
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_due_is_exported_to_the_byte_and_goes_and_nothing_else_does() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let directory = Directory::of(server, None);
        let mut mail = Mail::new(&directory, server, "P1D");
        let before = mail.truth(&mail.archive);
        let run = mail.run();
        // In quarantine: exported, and still there.
        mail.world.settle();
        assert_eq!(mail.truth(&mail.archive), before, "{kind}: an export changes nothing, not even what was seen");
        let mut due: Vec<Vec<u8>> = DUE.iter().map(|uid| before[uid].body.clone()).collect();
        due.sort();
        assert!(texts(&mail.world.exports()) == due, "{kind}: other texts than the server holds");
        // Mail that arrives meanwhile, however old it says to be, was not planned.
        let late = old_letter(6, 2018);
        let arrived = mail.raw().append(&mail.archive, &[], &late.date, &late.body);
        assert_eq!(mail.end(run), RunState::Completed, "{kind}\n{}", mail.world.story());
        let mut after = before.clone();
        after.retain(|uid, _| !DUE.contains(uid));
        let mut now = mail.truth(&mail.archive);
        assert!(now.remove(&arrived).is_some(), "{kind}");
        assert_eq!(now, after, "{kind}: what is kept stands as it stood");
        let residue = match kind {
            Kind::Dovecot => vec![Residue::CacheMayRemain],
            Kind::Cyrus => vec![Residue::DelayedExpunge],
            Kind::Courier => vec![],
        };
        assert_eq!(mail.residue(), Some(residue), "{kind}");
        // A new look finds what is there, and nothing that changed.
        mail.world.request_scan(mail.mailbox);
        mail.world.settle();
        let told = mail.world.store().view(|views| views.small.scans.get(mail.mailbox).cloned());
        let body = told.expect("a look").done.expect("one that ended").1;
        assert_eq!((body.messages, body.changed, body.absent), (4, 0, 0), "{kind}");
    });
}

#[test]
fn what_dovecot_keeps_of_purged_messages_is_said_and_removed_where_it_can_be() {
    let server = Server::shared(Kind::Dovecot);
    for (directory, residue) in [
        (Directory::of(server, None), Residue::CacheMayRemain),
        (Directory::with_doveadm(server), Residue::CacheCleared),
    ] {
        let mut mail = Mail::new(&directory, server, "P0D");
        let run = mail.run();
        assert_eq!(mail.end(run), RunState::Completed, "{}", mail.world.story());
        assert_eq!(mail.residue(), Some(vec![residue]));
        // A look with envelopes leaves them in the cache of the server.
        assert_eq!(mail.is_on_disk(1), residue == Residue::CacheMayRemain);
        assert!(mail.is_on_disk(2));
    }
}

#[test]
fn of_a_dovecot_that_keeps_many_messages_in_one_file_no_purged_text_stays_there() {
    let server = Server::shared(Kind::Dovecot);
    let mut mail = Mail::of(&Directory::with_doveadm(server), server, server.mdbox(), "P0D");
    let run = mail.run();
    assert_eq!(mail.end(run), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.residue(), Some(vec![Residue::CacheCleared]));
    assert!(!mail.is_on_disk(1) && mail.is_on_disk(2));
}

#[test]
fn what_cyrus_keeps_of_purged_messages_is_said() {
    let setup = Setup { expunge: Expunge::Delayed };
    // Ends with the process of the tests.
    let server: &'static Server = Box::leak(Box::new(Server::start_with(Kind::Cyrus, setup)));
    let mut mail = Mail::new(&Directory::of(server, None), server, "P0D");
    let run = mail.run();
    assert_eq!(mail.end(run), RunState::Completed, "{}", mail.world.story());
    assert_eq!(mail.uids(), [2, 4]);
    assert_eq!(mail.residue(), Some(vec![Residue::DelayedExpunge]));
    let is_on_disk = || !server.files_with(mark(1).as_bytes()).is_empty();
    assert!(is_on_disk());
    server.cyrus_expire();
    assert!(!is_on_disk());
}

#[test]
fn a_session_that_was_cut_off_says_so_and_a_new_one_goes_on() {
    on_each(|kind| {
        let server = Server::shared(kind);
        let proxy = Proxy::before(server.imap_port());
        let directory = Directory::of(server, Some(proxy.port()));
        let mail = Mail::new(&directory, server, "P0D");
        let room = outside(&directory, &mail.world.clock).mailroom;
        let open = || {
            let mut session = room.open(mail.mailbox).unwrap_or_else(|failure| panic!("{kind}: {failure}"));
            assert!(session.work_on(ARCHIVE).is_ok_and(|state| state.is_some()), "{kind}");
            session
        };
        let mut session = open();
        proxy.cut();
        let first = session.flag_deleted(&[1], None);
        assert!(matches!(first, Err(MailFailure::Lost(_))), "{kind}: {first:?}");
        let second = session.expunge(&[1]);
        assert!(matches!(second, Err(MailFailure::Refused(_))), "{kind}: nothing was sent: {second:?}");
        assert!(session.folders().is_err(), "{kind}");
        assert_eq!(open().flag_deleted(&[1], None), Ok(Vec::new()), "{kind}");
        let flags = mail.truth(&mail.archive)[&1].flags.clone();
        assert!(flags.contains("\\Deleted"), "{kind}: {flags:?}");
        // A flag that is set is taken away again.
        assert_eq!(open().unflag_deleted(&[1]), Ok(()), "{kind}");
        assert!(!mail.truth(&mail.archive)[&1].flags.contains("\\Deleted"), "{kind}");
    });
}

/// Somebody else does something while what is due waits in quarantine.
fn meddled(kind: Kind, meddle: impl FnOnce(&Mail)) -> (Mail, RunState) {
    let server = Server::shared(kind);
    let directory = Directory::of(server, None);
    let mut mail = Mail::new(&directory, server, "P1D");
    let run = mail.run();
    mail.world.settle();
    meddle(&mail);
    let state = mail.end(run);
    (mail, state)
}

#[test]
fn a_message_that_was_moved_flagged_or_removed_meanwhile_is_left_alone() {
    on_each(|kind| {
        let (mail, state) = meddled(kind, |mail| {
            let mut raw = mail.raw();
            raw.select(&mail.archive);
            raw.ok(&format!("UID COPY 1 {}", quoted(&mail.server.folder(&PARTS[..1]))));
            raw.ok("UID STORE 1 +FLAGS (\\Deleted)");
            raw.ok("UID EXPUNGE 1");
            raw.ok("UID STORE 3 +FLAGS (\\Flagged)");
        });
        let story = mail.world.story();
        assert_eq!(state, RunState::Completed, "{kind}\n{story}");
        assert_eq!(mail.uids(), [2, 3, 4], "{kind}\n{story}");
        assert_eq!(mail.truth(&mail.server.folder(&PARTS[..1])).len(), 1, "{kind}: what was moved is another message");
        // A look in between may have found out that the first is gone: then only its record is left to be erased.
        assert!(mail.world.left_alone().contains(&SkipReason::Changed), "{kind}\n{story}");
        let truth = mail.truth(&mail.archive);
        assert!(!truth[&3].flags.contains("\\Deleted"), "{kind}: {:?}", truth[&3].flags);
    });
}

#[test]
fn a_folder_that_is_numbered_anew_keeps_everything() {
    on_each(|kind| {
        let mut before = BTreeMap::new();
        let (mail, state) = meddled(kind, |mail| {
            before = mail.truth(&mail.archive);
            // On Cyrus another folder takes its place. The tool of Dovecot and
            // the files of Courier name folders in UTF-8.
            let path = if kind == Kind::Cyrus { PARTS } else { ["Účty & co", "2020"] };
            mail.server.change_uid_validity(&mail.account, &path, 77_777);
        });
        let story = mail.world.story();
        assert!(matches!(state, RunState::Completed | RunState::Cancelled), "{kind}: {state:?}\n{story}");
        let bodies = |stored: BTreeMap<u32, Stored>| stored.into_values().map(|stored| stored.body).collect::<Vec<_>>();
        assert!(bodies(mail.truth(&mail.archive)) == bodies(before), "{kind}\n{story}");
    });
}

#[test]
fn a_folder_that_is_removed_meanwhile_is_gone_and_not_purged() {
    on_each(|kind| {
        let (mail, state) = meddled(kind, |mail| {
            mail.raw().ok(&format!("DELETE {}", quoted(&mail.archive)));
        });
        let story = mail.world.story();
        assert!(matches!(state, RunState::Completed | RunState::Cancelled), "{kind}: {state:?}\n{story}");
        assert!(mail.world.left_alone().iter().all(|reason| *reason == SkipReason::Gone), "{kind}\n{story}");
        assert!(!mail.server.truth(&mail.account).contains_key(&mail.archive), "{kind}: nothing made it anew");
    });
}

#[test]
fn a_run_that_is_cut_off_anywhere_ends_as_if_nothing_had_been() {
    on_each(|kind| {
        let server = Server::shared(kind);
        // How it goes when all is well: the connections of the export, of the expunge and of the look after it.
        let proxy = Proxy::before(server.imap_port());
        let directory = Directory::of(server, Some(proxy.port()));
        let mut mail = Mail::new(&directory, server, "P0D");
        let run = mail.run();
        let before = proxy.dialogues().len();
        assert_eq!(mail.end(run), RunState::Completed, "{kind}");
        let dialogues = proxy.dialogues().split_off(before);
        assert_eq!(dialogues.len(), 3, "{kind}");
        for (number, dialogue) in dialogues.iter().enumerate() {
            let down = places(&dialogue.down, 4).into_iter().map(|at| Fault::Cut(Way::Down, at));
            let up = places(&dialogue.up, 3).into_iter().map(|at| Fault::Cut(Way::Up, at));
            for fault in down.chain(up) {
                let proxy = Proxy::before(server.imap_port());
                let directory = Directory::of(server, Some(proxy.port()));
                let mut mail = Mail::new(&directory, server, "P0D");
                let run = mail.run();
                (0..number).for_each(|_| proxy.next(Fault::Pass));
                proxy.next(fault.clone());
                let state = mail.end(run);
                let story = mail.world.story();
                assert_eq!(state, RunState::Completed, "{kind}: connection {number}, {fault:?}\n{story}");
                assert_eq!(mail.uids(), [2, 4], "{kind}: connection {number}, {fault:?}\n{story}");
            }
        }
    });
}

/// Lets a run go on until the connection failed as it was told, then heals it, and drives to the end.
fn run_through_a_fault(mail: &mut Mail, proxy: &Proxy, run: RunId) -> RunState {
    for _ in 0..200 {
        if proxy.dialogues().iter().any(|dialogue| dialogue.failed) {
            break;
        }
        if let Stepped::Until(at) = mail.world.step(Stage::Run) {
            mail.world.clock.pass_until(at);
        }
    }
    proxy.heal();
    mail.end(run)
}

#[test]
fn a_connection_that_is_lost_at_a_command_that_changes_something_is_asked_anew_what_it_did() {
    on_each(|kind| {
        let server = Server::shared(kind);
        for lost in ["UID STORE", "UID EXPUNGE"] {
            for fault in [Fault::LostButApplied(lost.to_owned()), Fault::LostNotApplied(lost.to_owned())] {
                let proxy = Proxy::before(server.imap_port());
                let directory = Directory::of(server, Some(proxy.port()));
                let mut mail = Mail::new(&directory, server, "P0D");
                let run = mail.run();
                proxy.always(fault.clone());
                let state = run_through_a_fault(&mut mail, &proxy, run);
                let story = mail.world.story();
                assert!(proxy.dialogues().iter().any(|dialogue| dialogue.failed), "{kind} {fault:?}\n{story}");
                assert_eq!(state, RunState::Completed, "{kind} {fault:?}\n{story}");
                assert_eq!(mail.uids(), [2, 4], "{kind} {fault:?}\n{story}");
                assert!(story.contains("unknown"), "{kind} {fault:?}\n{story}");
            }
        }
    });
}
