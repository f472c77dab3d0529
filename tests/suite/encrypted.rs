//! Bundles that are encrypted: read back before anything is purged, opened afterwards by the `age` of the distribution with
//! the key of whoever the policy names, and written anew where the key to read them back was lost. That nothing in them can
//! be read without a key, whole or not, the checker sees after every step.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use retention_core::event::saga::{Step, StepFailed};
use retention_core::event::subject::RequestEnd;
use retention_core::event::{Event, Recorded};
use retention_core::evidence::manifest::MANIFEST_FORMAT_ENCRYPTED;
use retention_core::evidence::{ExportManifest, ParsedItem};
use retention_core::id::{Digest, EntityId, RequestId};
use retention_core::policy::AgeRecipient;
use retention_core::view::{EntityState, RequestState, RunState};
use retention_tests::bundle::{HOLDER, IDENTITY, encrypted};
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::daemon::{Said, program};
use retention_tests::disk;
use retention_tests::faults::{Call, Fault};
use retention_tests::invariants::MARKER;
use retention_tests::world::{APPROVER, Stage, Stepped, World, mail_policy, policy};
use retentiond::connector::archive::{BundleName, DiskArchive, ITEMS_FILE, MBOX_FILE, TEXTS_DIRECTORY};
use serde_json::Value;

fn world_of(quarantine: &str) -> World {
    let world = World::new(quarantine);
    world.write_policy("contacts", &encrypted(&policy("contacts", quarantine)));
    world
}

/// Opens a file of a bundle as its holder does.
fn opened(file: &Path) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let (key, into) = (scratch.path().join("key"), scratch.path().join("plain"));
    fs::write(&key, IDENTITY).unwrap();
    let mut age = Command::new("age");
    let _asked = age.arg("--decrypt").arg("--identity").arg(&key).arg("--output").arg(&into).arg(file);
    assert!(age.output().expect("age").status.success(), "{} does not open", file.display());
    fs::read(&into).unwrap()
}

fn only_bundle(world: &World) -> (BundleName, ExportManifest) {
    let archive = DiskArchive::at(&world.exports());
    let names: Vec<BundleName> = archive.list().unwrap().collect::<Result<_, _>>().unwrap();
    let [name] = names.as_slice() else { panic!("{} bundles\n{}", names.len(), world.story()) };
    (name.clone(), archive.manifest(name).unwrap().0)
}

/// Opens every file of the only bundle, and compares it with what its manifest says of it.
fn all_open(world: &World) -> (BundleName, ExportManifest) {
    let (name, manifest) = only_bundle(world);
    let directory = world.exports().join(name.as_str());
    assert_eq!(manifest.format, MANIFEST_FORMAT_ENCRYPTED);
    assert_eq!(manifest.recipients.iter().map(|key| key.as_str()).collect::<Vec<_>>(), [HOLDER]);
    for file in &manifest.files {
        let stored = fs::read(directory.join(&file.name)).unwrap();
        assert_eq!((stored.len() as u64, Digest::of(&stored)), (file.bytes, file.sha256), "{}", file.name);
        if let Some(said) = file.plain {
            let header = String::from_utf8_lossy(&stored[..400.min(stored.len())]).into_owned();
            assert_eq!(header.matches("-> X25519 ").count(), 2, "its holder, and who read it back: {header}");
            let plain = opened(&directory.join(&file.name));
            assert_eq!((plain.len() as u64, Digest::of(&plain)), (said.bytes, said.sha256), "{}", file.name);
        }
    }
    (name, manifest)
}

fn count(log: &[Recorded], is_it: impl Fn(&Event) -> bool) -> usize {
    log.iter().filter(|recorded| recorded.event().is_some_and(&is_it)).count()
}

fn failed_with(log: &[Recorded], step: Step, code: &str) -> usize {
    count(log, |event| matches!(event, Event::StepFailed(body) if body.step == step && body.code == code))
}

fn exported(world: &World) -> usize {
    count(&world.log(), |event| matches!(event, Event::StepSucceeded(body) if body.step == Step::Export))
}

#[test]
fn what_is_purged_stands_in_a_bundle_that_its_holder_alone_can_open() {
    let mut world = world_of("P7D");
    let due = [world.add("a", "2020-01-01"), world.add("b", "2021-01-01")];
    let kept = world.add("c", "2025-12-01");
    world.settle();
    let run = world.drive_to_the_end("contacts");
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!(due.map(|entity| world.state_of(entity)), [EntityState::Purged; 2]);
    assert_eq!(world.state_of(kept), EntityState::Visible);
    let (name, manifest) = all_open(&world);
    let in_the_clear: Vec<&str> =
        manifest.files.iter().filter(|file| file.plain.is_none()).map(|file| file.name.as_str()).collect();
    assert_eq!(in_the_clear, ["manifest-items.jsonl"], "numbers and digests");
    let directory = world.exports().join(name.as_str());
    let items = opened(&directory.join("items.jsonl.age"));
    let items: Vec<ParsedItem> =
        items.split(|byte| *byte == b'\n').filter_map(|line| ParsedItem::parse_line(line).ok()).collect();
    assert_eq!(items.iter().map(|item| item.entity).collect::<Vec<EntityId>>(), due);
    assert!(items.iter().all(|item| item.record.external_id.contains(MARKER)), "it is what was there");
    assert_eq!(failed_with(&world.log(), Step::Export, StepFailed::BUNDLE_KEY_GONE), 0);
}

fn stop_at(nth: u64, remains: Remains, quarantine: &str) -> bool {
    let mut world = world_of(quarantine);
    let due = [world.add("a", "2020-01-01"), world.add("b", "2021-01-01")];
    world.settle();
    world.gate.crash_at(nth, remains);
    let before = world.crashes;
    let run = world.drive_to_the_end("contacts");
    let what = format!("flush {nth}, {remains:?}\n{}", world.story());
    assert_eq!(world.run_state(run), RunState::Completed, "{what}");
    assert_eq!(due.map(|entity| world.state_of(entity)), [EntityState::Purged; 2], "{what}");
    assert_eq!(world.bundles(), 1, "{what}");
    let is_stopped = world.crashes > before;
    world.reopen();
    is_stopped
}

#[test]
fn an_encrypted_purge_survives_a_crash_at_every_flush() {
    for (remains, quarantine) in [(Remains::Lost, "P0D"), (Remains::Kept, "P7D"), (Remains::Flushed, "P0D")] {
        let what = format!("an encrypted purge with a quarantine of {quarantine}");
        at_every_flush(&what, remains, 22, |nth, remains| stop_at(nth, remains, quarantine));
    }
}

/// Lets a run work until it has written its bundle, and no further.
fn until_exported(world: &mut World) {
    while exported(world) == 0 {
        assert_eq!(world.step(Stage::Run), Stepped::Worked, "{}", world.story());
    }
}

#[test]
fn a_bundle_whose_key_is_lost_before_it_was_read_back_is_thrown_away_and_written_anew() {
    let mut world = world_of("P7D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let (_, run) = world.approved_run("contacts");
    until_exported(&mut world);
    let (_, first) = only_bundle(&world);
    // Somebody stops the daemon.
    world.reopen();
    world.settle();
    assert_eq!(exported(&world), 2, "{}", world.story());
    assert_eq!(failed_with(&world.log(), Step::Export, StepFailed::BUNDLE_KEY_GONE), 1);
    let (_, second) = all_open(&world);
    assert_ne!(first.files, second.files, "under another key");
    // What was verified needs no key again, and the quarantine goes on over a restart.
    world.reopen();
    world.finish();
    assert_eq!((world.run_state(run), world.state_of(due)), (RunState::Completed, EntityState::Purged));
    assert_eq!(exported(&world), 2, "{}", world.story());
}

#[test]
fn a_directory_that_cannot_be_read_for_a_moment_after_a_restart_ends_no_encrypted_purge() {
    let mut world = world_of("P0D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let (_, run) = world.approved_run("contacts");
    until_exported(&mut world);
    world.reopen();
    world.archive.arm(Call::Probe, 1, Fault::Refused);
    world.finish();
    assert_eq!((world.run_state(run), world.state_of(due)), (RunState::Completed, EntityState::Purged));
    assert_eq!(exported(&world), 2, "{}", world.story());
}

#[test]
fn an_encrypted_bundle_that_was_changed_before_or_after_it_was_read_back_lets_nothing_be_purged() {
    for nth in [1, 2] {
        for fault in [Fault::FlippedByte, Fault::FileRemoved] {
            let mut world = world_of("P1D");
            let due = world.add("a", "2020-01-01");
            world.settle();
            let (_, run) = world.approved_run("contacts");
            world.archive.arm(Call::Verify, nth, fault);
            world.finish();
            let what = format!("{nth} {fault:?}\n{}", world.story());
            assert_eq!((world.run_state(run), world.state_of(due)), (RunState::Stuck, EntityState::Visible), "{what}");
            let code = if fault == Fault::FlippedByte { "file_changed" } else { "file_missing" };
            assert_eq!(failed_with(&world.log(), Step::VerifyExport, code), 1, "{what}");
        }
    }
}

#[test]
fn whatever_the_archive_answers_about_an_encrypted_bundle_nothing_is_purged_without_one_that_was_read_back() {
    for call in Call::ALL {
        for fault in Fault::OF_CALLS {
            let mut world = world_of("P1D");
            let due = world.add("a", "2020-01-01");
            world.settle();
            let (_, run) = world.approved_run("contacts");
            world.archive.arm(call, 1, fault);
            world.finish();
            let what = format!("{call:?} {fault:?}\n{}", world.story());
            match world.run_state(run) {
                RunState::Completed => assert_eq!(world.state_of(due), EntityState::Purged, "{what}"),
                RunState::Stuck => assert_eq!(world.state_of(due), EntityState::Visible, "{what}"),
                other => panic!("{other:?}: {what}"),
            }
        }
    }
}

/// A world in which messages went, after they were exported encrypted.
fn mail_world(form: &str, crash: Option<(u64, Remains)>) -> World {
    let mut world = World::new("P1D");
    world.write_policy("mail", &encrypted(&mail_policy("Archive", form, "P1D")));
    let mailbox = world.add_mailbox("ada@example.org");
    world.mail.folder(mailbox, "Archive", &["archive"]);
    world.mail.deliver(mailbox, "Archive", "2020-01-01T00:00:00Z", &["seen"]);
    world.mail.deliver(mailbox, "Archive", "2020-06-01T00:00:00Z", &[]);
    world.settle();
    if let Some((flush, remains)) = crash {
        world.gate.crash_at(flush, remains);
    }
    let run = world.drive_to_the_end("mail");
    let what = format!("{form} {crash:?}\n{}", world.story());
    assert_eq!(world.run_state(run), RunState::Completed, "{what}");
    assert_eq!(world.mail.uids(mailbox, "Archive"), Some(Vec::new()), "{what}");
    world
}

#[test]
fn messages_are_encrypted_too_each_by_itself_or_all_in_one() {
    for form in ["eml", "mbox"] {
        let world = mail_world(form, None);
        let (name, _) = all_open(&world);
        let directory = world.exports().join(name.as_str());
        let gone = world.mail.expunged();
        assert_eq!(gone.len(), 2);
        match form {
            "eml" => {
                let files: Vec<_> =
                    fs::read_dir(directory.join(TEXTS_DIRECTORY)).unwrap().map(|file| file.unwrap()).collect();
                let mut texts: Vec<Vec<u8>> = files.iter().map(|file| opened(&file.path())).collect();
                texts.sort();
                let mut wanted: Vec<Vec<u8>> = gone.iter().map(|gone| gone.text.clone()).collect();
                wanted.sort();
                assert!(files.iter().all(|file| file.file_name().to_string_lossy().ends_with(".eml.age")));
                assert!(texts == wanted, "to the byte");
            }
            _ => {
                let mbox = opened(&directory.join(format!("{MBOX_FILE}.age")));
                let separators =
                    mbox.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"From MAILER-DAEMON ")).count();
                assert_eq!(separators, 2);
            }
        }
        assert!(!directory.join(ITEMS_FILE).exists());
    }
}

#[test]
fn encrypted_messages_survive_a_crash_at_any_flush() {
    for (remains, form) in [(Remains::Lost, "eml"), (Remains::Flushed, "mbox")] {
        at_every_flush(&format!("encrypted messages as {form}"), remains, 20, |nth, remains| {
            let world = mail_world(form, Some((nth, remains)));
            assert_eq!(world.bundles(), 1, "flush {nth} {remains:?}\n{}", world.story());
            world.crashes > 0
        });
    }
}

#[test]
fn a_policy_that_stops_encrypting_while_its_plan_waits_makes_the_plan_stale() {
    let mut world = world_of("P1D");
    let due = world.add("a", "2020-01-01");
    world.settle();
    let (_, run) = world.approved_run("contacts");
    world.write_policy("contacts", &policy("contacts", "P1D"));
    world.finish();
    assert_ne!(world.run_state(run), RunState::Completed, "{}", world.story());
    assert_eq!(world.state_of(due), EntityState::Visible);
    assert_eq!(world.bundles(), 0, "what was approved as encrypted is never written in the clear");
}

fn holder() -> BTreeSet<AgeRecipient> {
    BTreeSet::from([HOLDER.parse().unwrap()])
}

/// A world in which somebody agreed that two records of a data subject are erased.
fn erasing(recipients: BTreeSet<AgeRecipient>) -> (World, RequestId, [EntityId; 2]) {
    let mut world = World::new("P7D");
    world.encrypt_erasures_to(recipients);
    let records = [world.add("a", "2026-01-01"), world.add("b", "2026-01-02")];
    world.settle();
    let request = world.ask_for_erasure().unwrap();
    world.identify(request, &records);
    world.settle();
    let [plan] = *world.plans_of(request) else { panic!("{}", world.story()) };
    world.approve(plan, APPROVER);
    (world, request, records)
}

fn is_erased(world: &World, request: RequestId, records: [EntityId; 2]) {
    assert_eq!(world.request_state(request), RequestState::Erased, "{}", world.story());
    assert_eq!(records.map(|record| world.state_of(record)), [EntityState::Purged; 2], "{}", world.story());
}

#[test]
fn what_a_data_subject_had_erased_opens_for_those_alone_whom_the_configuration_names() {
    let (mut world, request, records) = erasing(holder());
    world.finish();
    is_erased(&world, request, records);
    let (name, _) = all_open(&world);
    let items = opened(&world.exports().join(name.as_str()).join("items.jsonl.age"));
    let items: Vec<ParsedItem> =
        items.split(|byte| *byte == b'\n').filter_map(|line| ParsedItem::parse_line(line).ok()).collect();
    assert_eq!(items.iter().map(|item| item.entity).collect::<Vec<EntityId>>(), records);
    // It goes with the answer, as any other.
    world.complete(request, RequestEnd::Fulfilled);
    world.finish();
    assert_eq!(world.bundles(), 0, "{}", world.story());
}

#[test]
fn an_encrypted_erasure_survives_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        at_every_flush("an encrypted erasure", remains, 8, |nth, remains| {
            let (mut world, request, records) = erasing(holder());
            world.gate.crash_at(nth, remains);
            let before = world.crashes;
            world.finish();
            is_erased(&world, request, records);
            let _one = all_open(&world);
            let is_stopped = world.crashes > before;
            world.reopen();
            is_stopped
        });
    }
}

/// Whatever the configuration names when a bundle is read back: what counts is how it was written, and in which life.
#[test]
fn the_keys_of_the_configuration_can_change_while_an_erasure_is_under_way() {
    for is_restarted in [false, true] {
        for (before, after) in [(holder(), BTreeSet::new()), (BTreeSet::new(), holder())] {
            let (mut world, request, records) = erasing(before.clone());
            while exported(&world) == 0 {
                let steps = [Stage::Run, Stage::Schedule].map(|stage| world.step(stage));
                assert!(steps.contains(&Stepped::Worked), "{}", world.story());
            }
            world.encrypt_erasures_to(after.clone());
            if is_restarted {
                world.reopen();
            }
            world.finish();
            is_erased(&world, request, records);
            let what = format!("{is_restarted} {before:?} {after:?}\n{}", world.story());
            let (_, manifest) = only_bundle(&world);
            // One whose key was lost with a life is written anew, as the file says by then.
            let is_written_anew = is_restarted && !before.is_empty();
            let said = if is_written_anew { after } else { before };
            assert_eq!(manifest.recipients, said.into_iter().collect::<Vec<_>>(), "{what}");
            assert_eq!(exported(&world), if is_written_anew { 2 } else { 1 }, "{what}");
        }
    }
}

/// What a keyholder asks who has a copy of the only bundle, their key, and no daemon.
struct Keyholder {
    home: tempfile::TempDir,
    bundle: PathBuf,
}

impl Keyholder {
    fn of(world: &World) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (name, _) = only_bundle(world);
        let bundle = home.path().join("copy");
        disk::copy(&world.exports().join(name.as_str()), &bundle);
        fs::write(home.path().join("key"), IDENTITY).unwrap();
        Self { home, bundle }
    }

    fn verifies(&self, key: &str) -> Said {
        let (bundle, key) = (self.bundle.display().to_string(), self.home.path().join(key).display().to_string());
        program("retentionctl", &["export", "verify", &bundle, "--identity", &key, "--output", "jsonl"])
    }

    fn age(&self, tool: &str, args: &[&str]) {
        assert!(Command::new(tool).args(args).current_dir(self.home.path()).output().expect("age").status.success());
    }
}

#[test]
fn a_keyholder_verifies_a_bundle_item_by_item_without_the_daemon() {
    let erased = {
        let (mut world, _, _) = erasing(holder());
        world.finish();
        world
    };
    for (world, messages) in [(erased, None), (mail_world("eml", None), Some(2)), (mail_world("mbox", None), None)] {
        let (name, manifest) = only_bundle(&world);
        let (_, digest) = DiskArchive::at(&world.exports()).manifest(&name).unwrap();
        let rows = Keyholder::of(&world).verifies("key").ends(0).rows();
        assert!(rows.iter().all(|row| row["state"] == "intact"), "{rows:?}");
        let checked = |part: &str| rows.iter().find(|row| row["part"] == part).map(|row| row["checked"].clone());
        assert_eq!(rows.len(), manifest.files.len() + 1 + usize::from(messages.is_some()), "{rows:?}");
        for (part, items) in [("items.jsonl.age", Some(2)), ("bundle", Some(2)), (TEXTS_DIRECTORY, messages)] {
            assert_eq!(checked(part), items.map(Value::from), "{rows:?}");
        }
        let said = rows.last().unwrap()["message"].as_str().unwrap();
        assert!(said.contains(&digest.to_string()), "{said}");
    }
}

/// What somebody does to a file.
type Change = fn(&Path);

#[test]
fn a_keyholder_is_told_what_of_a_bundle_is_not_as_it_was_written() {
    let worlds = [mail_world("eml", None), mail_world("mbox", None)];
    for world in &worlds {
        let whole = Keyholder::of(world);
        for file in disk::files(&whole.bundle) {
            let name = file.strip_prefix(&whole.bundle).unwrap();
            if name == Path::new("manifest.json") {
                continue;
            }
            let changes: [(&str, &str, Change); 3] = [
                ("damaged", "file_changed", |file| {
                    let mut bytes = fs::read(file).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    fs::write(file, bytes).unwrap();
                }),
                ("damaged", "file_length", |file| {
                    let bytes = fs::read(file).unwrap();
                    fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
                }),
                ("missing", "file_missing", |file| fs::remove_file(file).unwrap()),
            ];
            for (state, code, change) in changes {
                let keyholder = Keyholder::of(world);
                change(&keyholder.bundle.join(name));
                let rows = keyholder.verifies("key").ends(20).rows();
                let part = if name.starts_with(TEXTS_DIRECTORY) { Path::new(TEXTS_DIRECTORY) } else { name };
                let row = rows.iter().find(|row| Path::new(row["part"].as_str().unwrap()) == part).unwrap();
                assert_eq!((row["state"].as_str(), row["code"].as_str()), (Some(state), Some(code)), "{rows:?}");
                assert_eq!(rows.last().unwrap()["state"], "damaged", "{rows:?}");
            }
        }
        for extra in
            ["more.csv", "messages/more"].iter().filter(|extra| whole.bundle.join(extra).parent().unwrap().exists())
        {
            let keyholder = Keyholder::of(world);
            fs::write(keyholder.bundle.join(extra), "more").unwrap();
            assert!(keyholder.verifies("key").ends(20).rows().iter().any(|row| row["code"] == "file_extra"), "{extra}");
        }
        let keyholder = Keyholder::of(world);
        fs::write(keyholder.bundle.join("manifest.json"), "{}").unwrap();
        let _none = keyholder.verifies("key").ends(20).says("manifest.json: ");
    }
}

#[test]
fn whoever_is_no_keyholder_is_told_so_and_what_their_file_is_instead() {
    let keyholder = Keyholder::of(&mail_world("eml", None));
    keyholder.age("age-keygen", &["-o", "stranger"]);
    let _other = keyholder.verifies("stranger").ends(2).says("has none of the keys that open this bundle");
    keyholder.age("age", &["-r", HOLDER, "-o", "sealed", "key"]);
    keyholder.age("age", &["-a", "-r", HOLDER, "-o", "armored", "key"]);
    for sealed in ["sealed", "armored"] {
        let _protected = keyholder.verifies(sealed).ends(2).says("is itself encrypted").says("/dev/stdin");
    }
    fs::write(keyholder.home.path().join("public"), HOLDER).unwrap();
    let _public = keyholder.verifies("public").ends(2).says("has a public key");
    let _nothing = keyholder.verifies("nobody").ends(2).says("cannot be read");
    let key = keyholder.home.path().join("key").display().to_string();
    let digest = ["export", "verify", "9f86d081884c", "--identity", &key];
    let _named = program("retentionctl", &digest).ends(2).says("is named by where it lies");
    let _directory =
        program("retentionctl", &["export", "verify", "bundle/"]).ends(2).says("is no digest of a manifest");
    // Beside the keys of others it is found.
    let stranger = fs::read_to_string(keyholder.home.path().join("stranger")).unwrap();
    fs::write(keyholder.home.path().join("both"), format!("{stranger}{IDENTITY}")).unwrap();
    let _opened = keyholder.verifies("both").ends(0);
}
