//! Messages of data subjects: found by who wrote and who got them, handed out to the byte or named as missing, erased as
//! every record is. The mail server is in memory; every call goes wrong in every way, and the world stops at every flush.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use retention_core::control::{ErrorCode, IdentifySubject};
use retention_core::event::change::{EntityChanged, LayoutRecorded};
use retention_core::event::saga::SkipReason;
use retention_core::event::subject::{MissingWhy, RequestEnd, RequestKind, SubjectPackageMade};
use retention_core::event::{Actor, Draft, Event};
use retention_core::id::{Digest, EntityId, Position, RequestId};
use retention_core::package::TextEvent;
use retention_core::record::message::{self, Correspondents, MessageKey};
use retention_core::record::{Cells, EntityRecord, Layout};
use retention_core::time::Zone;
use retention_core::view::{Condition, EntityState, NotComplete, RequestState};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::faults::Fault;
use retention_tests::invariants::MARKER;
use retention_tests::mail::{MailCall, Meddling};
use retention_tests::world::{APPROVER, OFFICER, World};
use retentiond::clock::Clock as _;
use retentiond::control::package::{self, PackageWanted};
use retentiond::control::{Audience, subjects};
use serde_json::{Value, json};

const JANA: &str = "PLAINTEXT-MARKER.Jana.Nov\u{e1}kov\u{e1}@example.org";

/// The same address as others write it: in capitals, and with its accents apart.
const JANA_OTHERWISE: &str = "plaintext-marker.JANA.NOVA\u{301}KOVA\u{301}@EXAMPLE.ORG";

const SENT: &str = "\u{da}\u{10d}ty & co/Sent";

/// What a package holds.
struct Opened {
    files: BTreeMap<String, Vec<u8>>,
}

impl Opened {
    fn of(bytes: Vec<u8>) -> Option<Self> {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
        let mut files = BTreeMap::new();
        for number in 0..archive.len() {
            let mut file = archive.by_index(number).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            assert!(
                files.insert(file.name().expect("a name").into_owned(), bytes).is_none(),
                "a name stands there twice"
            );
        }
        Some(Self { files })
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.files[name]).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.files[name].clone()).unwrap()
    }

    fn letters(&self) -> BTreeMap<String, Vec<u8>> {
        let letters = self.files.iter().filter(|(name, _)| name.starts_with("messages/"));
        letters.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
    }
}

/// Messages that Jana wrote and got, in two mailboxes, and others, in a world in which no policy is about messages.
struct Mail {
    world: World,
    mailboxes: [EntityId; 2],
    /// Her messages, with their texts.
    hers: BTreeMap<EntityId, Vec<u8>>,
}

impl Mail {
    fn new() -> Self {
        let mut world = World::new("P7D");
        let mailboxes = ["ada@example.org", "bob@example.org"].map(|address| world.add_mailbox(address));
        let [ada, bob] = mailboxes;
        world.mail.folder(ada, SENT, &["sent"]);
        let letter = |subject: &str, lines: usize| {
            let mut text = format!("From: somebody\r\nSubject: {subject}\r\n\r\n{MARKER}\r\n").into_bytes();
            text.extend((0..lines * 50).map(|at| u8::try_from(at * at % 251).unwrap()));
            text
        };
        let texts =
            [letter("=?UTF-8?Q?Nab=C3=ADdka_<1>?=", 1), letter("two", 5_000), letter("three", 0), letter("four", 2)];
        let others = "other@example.org";
        world.mail.deliver_letter(ada, "INBOX", JANA, &[others], &texts[0]);
        world.mail.deliver_letter(ada, "INBOX", others, &["ada@example.org"], &texts[1]);
        world.mail.deliver_letter(ada, SENT, others, &[others, "undisclosed-recipients", JANA_OTHERWISE], &texts[1]);
        world.mail.deliver_letter(bob, "INBOX", JANA_OTHERWISE, &[], &texts[2]);
        world.mail.deliver_letter(bob, "INBOX", others, &[JANA], &texts[3]);
        world.mail.deliver_letter(bob, "INBOX", &format!("not{JANA}"), &[], &texts[3]);
        mailboxes.into_iter().for_each(|mailbox| world.request_scan(mailbox));
        world.settle();
        let mut mail = Self { world, mailboxes, hers: BTreeMap::new() };
        let places = [(ada, "INBOX", 1), (ada, SENT, 1), (bob, "INBOX", 1), (bob, "INBOX", 2)];
        mail.hers =
            places.into_iter().map(|(mailbox, folder, uid)| mail.entity(mailbox, folder, uid)).zip(texts).collect();
        mail
    }

    fn entity(&self, mailbox: EntityId, folder: &str, uid: u32) -> EntityId {
        let found =
            self.world.log().into_iter().find_map(|recorded| match (recorded.event(), recorded.envelope.entity) {
                (Some(Event::EntityChanged(body)), Some(entity)) => {
                    let key = MessageKey::parse(&body.record.external_id)?;
                    let row = self.world.store().view(|views| views.entities.row(entity));
                    let is_it = key.folder == folder && key.uid == uid && row?.mailbox == Some(mailbox);
                    is_it.then_some(entity)
                }
                _ => None,
            });
        found.expect("a message that was taken in")
    }

    fn all(&self) -> Vec<EntityId> {
        self.hers.keys().copied().collect()
    }

    fn request(&mut self, kind: RequestKind) -> RequestId {
        let request = self.world.ask_for(kind, JANA).unwrap();
        self.world.identify_correspondence(request, &[]).unwrap();
        request
    }

    fn made(&self) -> Vec<SubjectPackageMade> {
        let made = self.world.log().into_iter().filter_map(|recorded| match recorded.event() {
            Some(Event::SubjectPackageMade(body)) => Some(body.clone()),
            _ => None,
        });
        made.collect()
    }

    fn may_fulfil(&self, request: RequestId) -> Result<(), NotComplete> {
        let now = self.world.clock.now();
        self.world
            .store()
            .view(|views| views.may_complete(views.small.subjects.get(request).unwrap(), RequestEnd::Fulfilled, now))
    }

    /// Holds a package to what must be true of it: each of her messages is in it to the byte, or named as missing in it
    /// and in the request, and nothing else is. Returns the missing ones.
    fn holds(&self, request: RequestId, bytes: &[u8], what: &str) -> BTreeMap<EntityId, MissingWhy> {
        self.holds_sealed(request, bytes, bytes, what)
    }

    /// As [`Self::holds`], of a package that went out as other bytes than are read.
    fn holds_sealed(
        &self,
        request: RequestId,
        sealed: &[u8],
        bytes: &[u8],
        what: &str,
    ) -> BTreeMap<EntityId, MissingWhy> {
        let opened = Opened::of(bytes.to_vec()).unwrap_or_else(|| panic!("{what}: no package"));
        let made = self.made().pop().unwrap();
        assert_eq!((made.request, made.digest), (request, Digest::of(sealed)), "{what}");
        let missing: BTreeMap<EntityId, MissingWhy> = made.missing.iter().map(|one| (one.record, one.why)).collect();
        let mut whole = self.hers.clone();
        whole.retain(|record, _| !missing.contains_key(record));
        assert_eq!(made.texts, whole.len() as u64, "{what}");
        let expected: BTreeMap<String, Vec<u8>> =
            whole.into_iter().map(|(record, text)| (format!("messages/{record}.eml"), text)).collect();
        assert!(opened.letters() == expected, "{what}: other texts: {missing:?}");
        let list = opened.json("manifest.json");
        let listed: BTreeMap<&str, &str> = list["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| (file["name"].as_str().unwrap(), file["sha256"].as_str().unwrap()))
            .collect();
        let others = opened.files.iter().filter(|(name, _)| *name != "manifest.json");
        let digests: BTreeMap<&str, String> =
            others.map(|(name, bytes)| (name.as_str(), Digest::of(bytes).to_string())).collect();
        assert!(
            listed.iter().eq(digests
                .iter()
                .map(|(name, digest)| (name, digest.as_str()))
                .collect::<Vec<_>>()
                .iter()
                .map(|(name, digest)| (*name, digest))),
            "{what}: {list}"
        );
        assert_eq!(list["texts_missing"].as_array().map(Vec::len), Some(missing.len()), "{what}");
        let page = opened.text("index.html");
        for (record, why) in &missing {
            assert!(page.contains(&format!("not here: {}", why.sentence())), "{what}: {record} is not named");
        }
        let seen = self.world.store().view(|views| {
            let request = views.small.subjects.get(request).unwrap();
            (request.missing.clone(), views.state_of_request(request))
        });
        let state = if missing.is_empty() { RequestState::Exported } else { RequestState::ExportedInPart };
        assert_eq!(seen, (missing.clone(), state), "{what}");
        let may = match missing.len() as u64 {
            0 => Ok(()),
            left => Err(NotComplete::TextsMissing { left }),
        };
        assert_eq!(self.may_fulfil(request), may, "{what}");
        missing
    }
}

#[test]
fn messages_are_found_in_every_mailbox_by_who_wrote_and_who_got_them_and_taken_by_a_word_only() {
    let mut mail = Mail::new();
    for address in [JANA, JANA_OTHERWISE] {
        let found = mail.world.look_for(address).unwrap();
        let records: Vec<EntityId> = found.iter().map(|(record, _)| *record).collect();
        assert_eq!(records, mail.all());
        assert!(found.iter().all(|(_, why)| *why == ["correspondence by email"]), "{found:?}");
    }
    let request = mail.world.ask_for(RequestKind::Access, JANA).unwrap();
    let mut all = mail.all();
    let left_out = all.remove(1);
    let strange = mail.entity(mail.mailboxes[0], "INBOX", 2);
    let refused = mail.world.identify_correspondence(request, &[strange]).unwrap_err();
    assert_eq!(refused.code, ErrorCode::BadRequest, "nobody said that it is hers");
    mail.world.identify_correspondence(request, &[left_out]).unwrap();
    let records = mail.world.store().view(|views| views.small.subjects.get(request).unwrap().records().to_vec());
    assert_eq!(records, all);
}

#[test]
fn whoever_answers_for_a_message_or_got_it_unseen_is_found_also_in_what_was_recorded_before_that_was_known() {
    let mut world = World::new("P7D");
    let ada = world.add_mailbox("ada@example.org");
    let letter = format!("Subject: x\r\n\r\n{MARKER}\r\n");
    let fields: [fn(&mut Correspondents) -> &mut Vec<String>; 5] =
        [|of| &mut of.bcc, |of| &mut of.sender, |of| &mut of.reply_to, |of| &mut of.resent, |of| &mut of.cc];
    for field in fields {
        let uid = world.mail.deliver_letter(ada, "INBOX", "other@example.org", &[], letter.as_bytes());
        world.mail.readdress(ada, "INBOX", uid, |of| field(of).push(JANA_OTHERWISE.to_owned()));
    }
    let _of_nobody = world.mail.deliver_letter(ada, "INBOX", "other@example.org", &[], letter.as_bytes());
    world.request_scan(ada);
    world.settle();
    let found = |world: &World| {
        let found = world.look_for(JANA).unwrap();
        assert!(found.iter().all(|(_, why)| *why == ["correspondence by email"]), "{found:?}");
        found.into_iter().map(|(record, _)| record).collect::<Vec<_>>()
    };
    let all = found(&world);
    assert_eq!(all.len(), 5);

    // As they were recorded when four fields were not known.
    let before = message::layout("mail");
    let before = Layout { columns: before.columns[..13].to_vec(), ..before };
    let layout = world.store().view(|views| views.small.layouts.next());
    let event = Event::LayoutRecorded(LayoutRecorded { id: layout, layout: before });
    let _layout = world.append(Actor::Daemon, Position::NONE, event, Condition::NextLayout(layout)).unwrap();
    for entity in &all {
        let record = world.store().record(*entity).unwrap().unwrap();
        let cells: Cells = record.cells.iter().take(13).collect();
        let _told = world.model.told.insert(*entity, cells.clone());
        let stream = world.store().stream_of(*entity);
        let event = Event::EntityChanged(EntityChanged { record: EntityRecord { layout, cells, ..record } });
        let (actor, cause, entity) = (Actor::Daemon, Position::NONE, Some(*entity));
        let draft = Draft { stream, entity, actor, cause, occurred_at: None, event };
        let prepared = world.store().prepare(draft, None).unwrap();
        let _changed = world.store().append(vec![prepared], Condition::None).unwrap();
    }
    assert_eq!(found(&world).len(), 1, "only who stands in Cc");
    world.reopen();
    world.request_scan(ada);
    world.settle();
    assert_eq!(found(&world), all, "the next look records them anew");
}

#[test]
fn a_package_holds_every_message_to_the_byte_and_lists_it() {
    let mut mail = Mail::new();
    let request = mail.request(RequestKind::Access);
    assert_eq!(mail.may_fulfil(request), Err(NotComplete::NothingHandedOut));
    let (made, bytes) = mail.world.package(request);
    made.unwrap();
    assert!(mail.holds(request, &bytes, "calm").is_empty());
    let opened = Opened::of(bytes).unwrap();
    let first = mail.all()[0];
    let page = opened.text("index.html");
    assert!(
        page.contains("<td>Nab\u{ed}dka &lt;1&gt;</td>") && page.contains(&format!("messages/{first}.eml")),
        "{page}"
    );
    let data = opened.json("data.json");
    let one = data["records"].as_array().unwrap().iter().find(|one| one["record"] == json!(first)).unwrap();
    assert_eq!(one["text"]["sha256"], json!(Digest::of(&mail.hers[&first])), "{one}");
    assert!(opened.text("csv/message-mail.csv").contains(&format!("\"messages/{first}.eml\"")));
    assert!(mail.world.mail.expunged().is_empty());
    mail.world.check();
}

#[test]
fn an_encrypted_package_with_messages_opens_with_age_for_each_keyholder_and_for_nobody_else() {
    let mut mail = Mail::new();
    // What cannot be made smaller: age seals 64 KiB at a time.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let text: Vec<u8> = b"Subject: large\r\n\r\n".iter().copied().chain(noise.take(200_000)).collect();
    let ada = mail.mailboxes[0];
    let uid = mail.world.mail.deliver_letter(ada, "INBOX", JANA, &[], &text);
    mail.world.request_scan(ada);
    mail.world.settle();
    let large = mail.entity(ada, "INBOX", uid);
    mail.hers.insert(large, text);
    let request = mail.request(RequestKind::Access);
    let dir = tempfile::tempdir().unwrap();
    let keys: Vec<PathBuf> = ["one", "two", "stranger"].iter().map(|name| dir.path().join(name)).collect();
    let public: Vec<String> = keys.iter().map(|key| new_key(key)).collect();
    let (made, sealed) = mail.world.package_to(request, &public[..2]);
    made.unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    assert!(sealed.len() > 2 * 65_536, "it goes out in many parts");
    for plain in [MARKER.as_bytes(), b"index.html", b"messages/"] {
        assert!(!sealed.windows(plain.len()).any(|window| window == plain), "something is not encrypted");
    }
    for key in &keys[..2] {
        let opened = open_with(key, &sealed).expect("it opens");
        assert!(mail.holds_sealed(request, &sealed, &opened, "encrypted").is_empty());
    }
    assert!(open_with(&keys[2], &sealed).is_none(), "a stranger opens it");
    // What broke off on its way is told from what is whole.
    assert!(open_with(&keys[0], &sealed[..sealed.len() - 1]).is_none(), "half a package opens");

    // A message that is gone is named as missing in an encrypted package, too.
    (0..60).for_each(|_| mail.world.mail.arm(MailCall::Texts, 1, Fault::Refused));
    let (made, sealed) = mail.world.package_to(request, &public[..1]);
    made.unwrap();
    let opened = open_with(&keys[0], &sealed).expect("it opens");
    let missing = mail.holds_sealed(request, &sealed, &opened, "encrypted, in part");
    assert!(!missing.is_empty());
    mail.world.mail.disarm();
    mail.world.check();
}

/// Makes a key with the `age-keygen` of the distribution, and returns its public half.
fn new_key(into: &Path) -> String {
    let made = Command::new("age-keygen").arg("-o").arg(into).output().expect("age-keygen, of the package age");
    assert!(made.status.success());
    let text = fs::read_to_string(into).unwrap();
    text.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a public key").to_owned()
}

/// Opens something with the `age` of the distribution; `None` when that fails.
fn open_with(key: &Path, sealed: &[u8]) -> Option<Vec<u8>> {
    let (from, into) = (key.with_extension("age"), key.with_extension("zip"));
    fs::write(&from, sealed).unwrap();
    let mut age = Command::new("age");
    let _asked = age.arg("--decrypt").arg("--identity").arg(key).arg("--output").arg(&into).arg(&from);
    age.output().expect("age").status.success().then(|| fs::read(&into).unwrap())
}

#[test]
fn whatever_the_server_answers_each_text_is_whole_or_named_as_missing_and_a_later_package_has_all() {
    let calls = [MailCall::Open, MailCall::LookInto, MailCall::Messages, MailCall::Texts];
    let mut was_missing = 0;
    for call in calls {
        for fault in Fault::OF_CALLS {
            // Once a fault, and one that does not end.
            for (first, last) in [(1, 1), (2, 2), (3, 3), (1, 60), (2, 60), (3, 60)] {
                let mut mail = Mail::new();
                let request = mail.request(RequestKind::Portability);
                (first..=last).for_each(|_| mail.world.mail.arm(call, first, fault));
                let what = format!("{call:?} {first} to {last} {fault:?}");
                let (made, bytes) = mail.world.package(request);
                made.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let missing = mail.holds(request, &bytes, &what);
                if first == last {
                    assert!(missing.is_empty(), "{what}: one fault is gone over: {missing:?}");
                }
                was_missing += usize::from(!missing.is_empty());
                mail.world.mail.disarm();
                let (made, bytes) = mail.world.package(request);
                made.unwrap();
                assert!(mail.holds(request, &bytes, &what).is_empty(), "{what}");
            }
        }
    }
    assert!(was_missing > 10, "a server that stays away takes texts with it: {was_missing}");
}

#[test]
fn what_is_not_where_it_was_is_named_with_the_reason_and_a_person_may_answer_without_it() {
    for (meddling, why) in [
        (Meddling::Removes, MissingWhy::Gone),
        (Meddling::Moves, MissingWhy::Gone),
        (Meddling::Renumbers, MissingWhy::Renumbered),
        (Meddling::RemovesFolder, MissingWhy::FolderGone),
    ] {
        for call in [MailCall::Open, MailCall::LookInto, MailCall::Messages] {
            let mut mail = Mail::new();
            let request = mail.request(RequestKind::Access);
            let ada = mail.mailboxes[0];
            let sent = mail.entity(ada, SENT, 1);
            mail.world.mail.meddle_at((call, 1), ada, SENT, 1, meddling);
            let what = format!("{meddling:?} at {call:?}");
            let (made, bytes) = mail.world.package(request);
            made.unwrap();
            let missing = mail.holds(request, &bytes, &what);
            assert_eq!(missing, BTreeMap::from([(sent, why)]), "{what}");
            mail.world.complete(request, RequestEnd::RefusedInPart);
            assert_eq!(mail.world.request_state(request), RequestState::Completed);
        }
    }
    let mut mail = Mail::new();
    let request = mail.request(RequestKind::Access);
    mail.world.mail.forget(mail.mailboxes[1]);
    let (made, bytes) = mail.world.package(request);
    made.unwrap();
    let missing = mail.holds(request, &bytes, "forgotten");
    assert_eq!(missing.into_values().collect::<Vec<_>>(), [MissingWhy::NotRegistered; 2]);
}

#[test]
fn a_message_that_moved_is_found_again_after_the_next_look() {
    let mut mail = Mail::new();
    let request = mail.request(RequestKind::Access);
    let ada = mail.mailboxes[0];
    mail.world.mail.meddle(ada, SENT, 1, Meddling::Moves);
    let (made, bytes) = mail.world.package(request);
    made.unwrap();
    assert_eq!(mail.holds(request, &bytes, "moved").len(), 1);
    mail.world.request_scan(ada);
    mail.world.settle();
    let old = mail.entity(ada, SENT, 1);
    let text = mail.hers.remove(&old).unwrap();
    mail.hers.insert(mail.entity(ada, "INBOX", 3), text);
    mail.world.identify_correspondence(request, &[old]).unwrap();
    let (made, bytes) = mail.world.package(request);
    made.unwrap();
    assert!(mail.holds(request, &bytes, "found again").is_empty());
}

/// Returns whether packing reached the flush.
fn stop_at(nth: u64, remains: Remains) -> bool {
    let mut mail = Mail::new();
    let request = mail.request(RequestKind::Access);
    mail.world.gate.crash_at(nth, remains);
    let before = mail.world.crashes;
    let what = format!("flush {nth}, {remains:?}");
    let bytes = loop {
        let (made, bytes) = mail.world.package(request);
        if made.is_ok() {
            break bytes;
        }
        // It may stand in the log as handed out, since nobody knows how far the answer came; never the other way.
        assert!(Opened::of(bytes).is_none(), "{what}: it can be opened, and nobody was told so");
    };
    assert!(mail.holds(request, &bytes, &what).is_empty(), "{what}");
    mail.world.check();
    mail.world.crashes > before
}

#[test]
fn a_crash_at_any_flush_of_packing_hands_out_nothing_that_is_not_in_the_log() {
    for remains in Remains::ALL {
        at_every_flush("packing", remains, 2, stop_at);
    }
}

#[test]
fn a_large_message_passes_through_and_is_never_held() {
    const PART: usize = 64 * 1024;
    const PARTS: usize = 1_600;
    /// What may be under way: a part, what is compressed, what is held back.
    const HELD_MAX: usize = 1024 * 1024;
    let mut mail = Mail::new();
    let request = mail.request(RequestKind::Access);
    let (came_in, went_out) = (Cell::new(0_usize), Cell::new(0_usize));
    let mut state = 1_u64;
    // What cannot be made smaller goes out as it comes in.
    let noise: Vec<u8> = (0..PART)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[6]
        })
        .collect();
    let fetch = |_, messages: &[MessageKey], take: &mut dyn FnMut(TextEvent<'_>) -> ControlFlow<()>| {
        take(TextEvent::Begin(0))?;
        for _ in 0..PARTS {
            take(TextEvent::Part(&noise))?;
            came_in.set(came_in.get() + PART);
            let held = came_in.get().saturating_sub(went_out.get());
            assert!(held < HELD_MAX, "{held} bytes of {} are held", came_in.get());
        }
        take(TextEvent::End)?;
        (1..messages.len()).try_for_each(|number| take(TextEvent::Missing(number, MissingWhy::NotReached)))
    };
    let (zone, now) = (Zone::utc(), mail.world.clock.now());
    let wanted = PackageWanted { uid: OFFICER, request, recipients: &[], zone: &zone, now };
    package::make(mail.world.store(), &wanted, &fetch, &mut |part| {
        went_out.set(went_out.get() + part.len());
        Audience::Listening
    })
    .unwrap();
    assert!(went_out.get() > 2 * PART * PARTS, "both mailboxes had one: {}", went_out.get());
}

#[test]
fn nobody_who_went_away_is_said_to_have_a_package() {
    let mut mail = Mail::new();
    let request = mail.request(RequestKind::Access);
    let (zone, now) = (Zone::utc(), mail.world.clock.now());
    let wanted = PackageWanted { uid: OFFICER, request, recipients: &[], zone: &zone, now };
    let fetch = |_, _: &[MessageKey], _: &mut dyn FnMut(TextEvent<'_>) -> ControlFlow<()>| panic!("nobody listens");
    let made = package::make(mail.world.store(), &wanted, &fetch, &mut |_| Audience::Gone);
    assert_eq!(made.unwrap_err().code, ErrorCode::TimedOut);
    assert!(mail.made().is_empty());
    assert_eq!(mail.world.request_state(request), RequestState::Identified);
    mail.world.check();
}

#[test]
fn whoever_says_again_which_records_are_theirs_owes_another_package() {
    let mut mail = Mail::new();
    let request = mail.request(RequestKind::Access);
    mail.world.package(request).0.unwrap();
    assert_eq!(mail.world.request_state(request), RequestState::Exported);
    mail.world.identify_correspondence(request, &[]).unwrap();
    assert_eq!(mail.world.request_state(request), RequestState::Identified);
    assert_eq!(mail.may_fulfil(request), Err(NotComplete::NothingHandedOut));
    // The same while one goes out: its end does not come, and no event says that it was handed out.
    let (zone, now) = (Zone::utc(), mail.world.clock.now());
    let wanted = PackageWanted { uid: OFFICER, request, recipients: &[], zone: &zone, now };
    let fetch = |_, _: &[MessageKey], _: &mut dyn FnMut(TextEvent<'_>) -> ControlFlow<()>| ControlFlow::Continue(());
    let (store, mut is_said, mut came) = (mail.world.store().clone(), false, Vec::new());
    let made = package::make(&store, &wanted, &fetch, &mut |part| {
        if !std::mem::replace(&mut is_said, true) {
            let (how, include, exclude) = (MARKER.to_owned(), mail.all(), Vec::new());
            let again = IdentifySubject { how, include, correspondence: false, exclude };
            subjects::identify(&store, OFFICER, request, again, &mut |_| Audience::Listening).unwrap();
        }
        came.extend(part);
        Audience::Listening
    });
    assert_eq!((made.unwrap_err().code, mail.made().len()), (ErrorCode::WrongState, 1));
    assert!(Opened::of(came).is_none());
    mail.world.package(request).0.unwrap();
    assert_eq!(mail.world.request_state(request), RequestState::Exported);
    mail.world.check();
}

/// Lets the newest plan of a request be accepted and carried out.
fn carry_out(mail: &mut Mail, request: RequestId) {
    let plan = *mail.world.plans_of(request).last().unwrap();
    mail.world.approve(plan, APPROVER);
    mail.world.finish();
}

#[test]
fn an_erasure_removes_exactly_her_messages_after_a_verified_copy() {
    let mut mail = Mail::new();
    let [ada, bob] = mail.mailboxes;
    let request = mail.request(RequestKind::Erase);
    // What changed since the last look is looked at before the plan, and keeps nothing.
    mail.world.mail.meddle(ada, "INBOX", 1, Meddling::Flags);
    mail.world.settle();
    assert_eq!(mail.world.mail.uids(ada, "INBOX"), Some(vec![1, 2]), "nothing goes before a person accepted");
    carry_out(&mut mail, request);
    let story = mail.world.story();
    assert_eq!(mail.world.mail.uids(ada, "INBOX"), Some(vec![2]), "{story}");
    assert_eq!(mail.world.mail.uids(ada, SENT), Some(Vec::new()), "{story}");
    assert_eq!(mail.world.mail.uids(bob, "INBOX"), Some(vec![3]), "{story}");
    for record in mail.all() {
        assert_eq!(mail.world.state_of(record), EntityState::Purged, "{story}");
    }
    assert_eq!(mail.world.request_state(request), RequestState::Erased);
    assert!(mail.world.bundles() > 0);
    mail.world.complete(request, RequestEnd::Fulfilled);
    mail.world.settle();
    assert_eq!(mail.world.bundles(), 0, "the copy goes with the answer");
    mail.world.check();
}

#[test]
fn what_changes_while_an_erasure_waits_stays_is_named_and_goes_with_the_next_plan() {
    let mut mail = Mail::new();
    let ada = mail.mailboxes[0];
    let request = mail.request(RequestKind::Erase);
    mail.world.settle();
    mail.world.mail.meddle(ada, "INBOX", 1, Meddling::Flags);
    carry_out(&mut mail, request);
    let skipped: Vec<_> = mail
        .world
        .log()
        .iter()
        .flat_map(|recorded| match recorded.event() {
            Some(Event::ItemsSkipped(body)) => body.items.clone(),
            _ => Vec::new(),
        })
        .collect();
    let hers = mail.all();
    assert!(
        matches!(skipped.as_slice(), [(record, SkipReason::Changed)] if hers.contains(record)),
        "{}",
        mail.world.story()
    );
    assert_eq!(mail.world.plans_of(request).len(), 2, "{}", mail.world.story());
    assert_eq!(mail.world.mail.uids(ada, "INBOX"), Some(vec![1, 2]));
    assert!(matches!(mail.may_fulfil(request), Err(NotComplete::UnderWay | NotComplete::Left { .. })));
    mail.world.settle();
    carry_out(&mut mail, request);
    assert_eq!(mail.world.mail.uids(ada, "INBOX"), Some(vec![2]), "{}", mail.world.story());
    assert_eq!(mail.world.request_state(request), RequestState::Erased);
    mail.world.check();
}

#[test]
fn an_erasure_is_planned_also_when_a_mailbox_cannot_be_read_and_is_not_said_to_be_done() {
    let mut mail = Mail::new();
    let bob = mail.mailboxes[1];
    let request = mail.request(RequestKind::Erase);
    mail.world.mail.forget(bob);
    mail.world.settle();
    assert_eq!(mail.world.plans_of(request).len(), 1, "{}", mail.world.story());
    let plan = mail.world.plans_of(request)[0];
    mail.world.approve(plan, APPROVER);
    mail.world.settle();
    assert_ne!(mail.world.request_state(request), RequestState::Erased, "{}", mail.world.story());
    assert!(mail.may_fulfil(request).is_err());
    mail.world.check();
}
