use std::path::Path;

use super::super::sled_door::{Blocks, BootId, Family};
use super::super::tests::{
    KEEP_ONE_YEAR, add_contacts, add_layout, begin_purge, flip, init, init_with_clock, open, purge, sign,
};
use super::super::vault::destroy::StepTicket;
use super::super::write_out::NOTE;
use super::*;
use retention_core::event::codec;
use retention_core::event::operation::SigningKeyAdopted;
use retention_core::evidence::checkpoint::{Checkpoint, keys_of};
use retention_core::id::SagaId;
use retention_core::view::snapshot::Note;

const SLOTS: &str = "state/keys/slots.0000";
const JOURNAL: &str = "state/journal/00000001.seg";

fn world(dir: &Path) -> (Options, Vec<EntityId>) {
    let options = init(dir);
    let store = open(&options);
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..300);
    purge(&store, &entities[5..8]);
    store.close().unwrap();
    (options, entities)
}

fn verify(options: &Options) -> VerifyReport {
    Store::verify_stopped(options, &mut |_, _| {}).unwrap()
}

fn codes(report: &VerifyReport) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.findings.iter().map(Finding::code).collect();
    codes.dedup();
    codes
}

#[test]
fn a_good_store_is_good_stopped_running_and_after_any_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let report = verify(&options);
    assert_eq!(report.findings, []);
    assert!(report.views_compared);
    assert_eq!((report.bodies_gone, report.keys.destroyed, report.in_flight.len()), (3, 3, 0));
    let store = open(&options);
    let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
    add_contacts(&store, layout, 300..400);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
    drop(store);
    let report = verify(&options);
    assert_eq!(report.findings, []);
    assert!(report.views_compared);
}

#[test]
fn a_copy_of_the_wrapping_keys_that_is_damaged_or_missing_is_named_until_a_start_makes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    for name in ["wrapping.a", "wrapping.b"] {
        let hint = Finding::WrappingCopyDamaged(name).what_to_do();
        assert!(hint.contains("`retentiond restore`") && hint.contains("would bring back who was erased"), "{hint}");
        let path = dir.path().join("state/keys").join(name);
        let whole = std::fs::read(&path).unwrap();
        flip(&path, 40);
        assert_eq!(verify(&options).findings, [Finding::WrappingCopyDamaged(name)]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(verify(&options).findings, [Finding::WrappingCopyDamaged(name)]);
        open(&options).close().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert_eq!(verify(&options).findings, []);
    }
}

#[test]
fn a_flipped_byte_in_any_part_of_the_journal_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let length = std::fs::metadata(dir.path().join(JOURNAL)).unwrap().len();
    for at in [3, 40, length / 3, length / 2, length - 5] {
        flip(&dir.path().join(JOURNAL), at);
        let codes = codes(&verify(&options));
        assert!(
            codes.iter().any(|code| ["journal_damaged", "journal_shorter"].contains(code)),
            "byte {at} of {length}: {codes:?}"
        );
        // The purge of the world lies behind the damage.
        let is_blamed = codes.contains(&"journal_damaged") && codes.contains(&"key_destroyed_without_event");
        assert!(!is_blamed, "byte {at} of {length}: {codes:?}");
        flip(&dir.path().join(JOURNAL), at);
    }
    assert_eq!(verify(&options).findings, []);
}

#[test]
fn a_missing_journal_segment_and_a_missing_event_store_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    std::fs::rename(dir.path().join(JOURNAL), dir.path().join("state/journal/00000002.seg")).unwrap();
    assert!(verify(&options).findings.contains(&Finding::SegmentMissing { segment: 1 }));
    std::fs::rename(dir.path().join("state/journal/00000002.seg"), dir.path().join(JOURNAL)).unwrap();
    flip(&dir.path().join("state/events.state"), 13);
    assert_eq!(codes(&verify(&options)), ["event_store_damaged"]);
    std::fs::remove_dir_all(dir.path().join("state/events")).unwrap();
    assert_eq!(codes(&verify(&options)), ["event_store_damaged"]);
}

#[test]
fn what_follows_from_an_exchanged_journal_does_not_send_anybody_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let journal = dir.path().join(JOURNAL);
    let copy = dir.path().join("state/journal/00000002.seg");
    std::fs::copy(&journal, &copy).unwrap();
    let found = verify(&options).findings;
    assert!(found.iter().any(|finding| finding.code() == "positions_broken"), "{found:?}");
    assert!(found.iter().filter(|finding| finding.code() == "time_goes_back").count() <= 1, "{found:?}");
    std::fs::remove_file(copy).unwrap();
    let other = tempfile::tempdir().unwrap();
    drop(open(&init(other.path())));
    std::fs::copy(other.path().join(JOURNAL), journal).unwrap();
    let report = verify(&options);
    let codes = codes(&report);
    assert!(codes.contains(&"journal_shorter") && codes.contains(&"entity_differs"), "{codes:?}");
    for finding in &report.findings {
        let hint = report.what_to_do(finding);
        assert!(!hint.contains("not affected"), "{finding}: {hint}");
    }
}

#[test]
fn views_of_another_version_of_the_program_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let blocks = Blocks::open(&dir.path().join("state/events"), options.cache_bytes, options.boot).unwrap().blocks;
    let mut note: Note = codec::decode(&blocks.get(Family::Meta, NOTE).unwrap().unwrap()).unwrap();
    note.format -= 1;
    blocks.put(Family::Meta, NOTE, &codec::encode(&note).unwrap()).unwrap();
    blocks.close().unwrap();
    let report = verify(&options);
    assert_eq!(report.findings, []);
    assert!(!report.views_compared && report.bodies_gone == 3);
    assert!(report.not_compared.unwrap().contains("another version"));
    // The next start makes them anew.
    let store = open(&options);
    assert_eq!(store.report().rebuilt, Some("sled_not_trusted"));
    store.close().unwrap();
    let report = verify(&options);
    assert_eq!((report.findings.as_slice(), report.not_compared, report.views_compared), (&[][..], None, true));
}

#[test]
fn an_event_store_that_the_next_start_makes_anew_after_a_power_cut_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    drop(open(&options));
    let report = verify(&Options { boot: BootId([9; 16]), ..options });
    assert_eq!(report.findings, []);
    assert!(report.not_compared.unwrap().contains("the machine went down"));
}

#[test]
fn a_store_that_can_only_be_read_is_verified_but_for_what_sled_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = world(dir.path());
    let state = dir.path().join("state/events.state");
    let before = std::fs::read(&state).unwrap();
    let report = Store::verify_locked(&options, true, &mut |_, _| {}).unwrap();
    assert_eq!(std::fs::read(&state).unwrap(), before);
    assert_eq!(report.findings, []);
    assert!(!report.views_compared && report.not_compared.is_some());
    assert_eq!((report.events, report.bodies_gone, report.keys.destroyed), (verify(&options).events, 3, 3));
    // Damage is found there as well.
    flip(&dir.path().join(JOURNAL), 40);
    assert!(!Store::verify_locked(&options, true, &mut |_, _| {}).unwrap().is_good());
}

#[test]
fn a_wrong_row_and_a_wrong_view_with_right_checksums_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (options, entities) = world(dir.path());
    let events = dir.path().join("state/events");
    let blocks = Blocks::open(&events, options.cache_bytes, options.boot).unwrap().blocks;
    let mut rows = blocks.get(Family::Events, &1u64.to_be_bytes()).unwrap().unwrap();
    rows[40] ^= 1;
    blocks.put(Family::Events, &1u64.to_be_bytes(), &rows).unwrap();
    let mut column = blocks.get(Family::Entities, &1u32.to_be_bytes()).unwrap().unwrap();
    column[16] ^= 1;
    blocks.put(Family::Entities, &1u32.to_be_bytes(), &column).unwrap();
    blocks.close().unwrap();
    let report = verify(&options);
    let wrong = EntityId(100);
    assert!(entities.contains(&wrong));
    assert_eq!(report.findings, [Finding::RowDiffers(Position(121)), Finding::EntityDiffers(wrong)]);
}

#[test]
fn slots_that_disagree_with_the_log_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (options, entities) = world(dir.path());
    let slots = dir.path().join(SLOTS);
    let old = std::fs::read(&slots).unwrap();
    flip(&slots, u64::from(entities[0].0) * 64 + 20);
    let report = verify(&options);
    assert!(report.findings.contains(&Finding::SlotDamaged(entities[0])), "{:?}", report.findings);
    assert!(codes(&report).contains(&"body_unreadable"));
    std::fs::write(&slots, &old).unwrap();

    let store = open(&options);
    purge(&store, &entities[20..21]);
    store.close().unwrap();
    let mut restored = std::fs::read(&slots).unwrap();
    let at = entities[20].0 as usize * 64;
    let after = restored[at..at + 64].to_vec();
    restored[at..at + 64].copy_from_slice(&old[at..at + 64]);
    std::fs::write(&slots, &restored).unwrap();
    assert!(verify(&options).findings.contains(&Finding::KeyNotDestroyed(entities[20])));
    restored[at..at + 64].copy_from_slice(&after);
    std::fs::write(&slots, &restored).unwrap();
    assert_eq!(verify(&options).findings, []);
}

#[test]
fn a_destroyed_key_needs_an_event_or_an_open_intent() {
    let dir = tempfile::tempdir().unwrap();
    let (options, entities) = world(dir.path());
    let store = open(&options);
    let run = begin_purge(&store, &entities[30..32]);
    let saga = SagaId(run.0.next());
    let ticket = StepTicket::for_intent(saga, saga.0.next());
    assert_eq!(store.destroy(&ticket, &entities[30..31]).unwrap().slots, 1);
    assert_eq!(store.destroy(&ticket, &entities[50..51]).unwrap().slots, 1);
    drop(store);
    let report = verify(&options);
    assert_eq!(report.in_flight, [entities[30]]);
    assert!(report.findings.contains(&Finding::KeyDestroyedWithoutEvent(entities[50])), "{:?}", report.findings);
    assert!(!report.findings.iter().any(|finding| matches!(finding, Finding::EntityDiffers(e) if *e == entities[30])));
}

/// Activates a policy and judges everything by it, as the stages do.
fn judge_by_policy(store: &Store) {
    use retention_core::event::decision::{PolicyRecorded, PolicySetActivated};
    use retention_core::policy::PolicyFile;
    let set = PolicySet::check(&[PolicyFile { stem: "contacts", text: KEEP_ONE_YEAR }]).unwrap();
    let (versions, digest) = (set.versions(), set.digest());
    let version = versions[0].clone();
    let body = PolicyRecorded { id: version.id.clone(), digest: version.digest, text: KEEP_ONE_YEAR.to_owned() };
    let events =
        [Event::PolicyRecorded(body), Event::PolicySetActivated(PolicySetActivated { digest, policies: versions })];
    let drafts = events.map(super::super::open::daemon_draft).to_vec();
    store.append_drafts(drafts, retention_core::view::Condition::None).unwrap();
    store.install_policies(Arc::new(set));
    let numbers: Vec<EntityId> = store.view(|views| views.entities.numbers_from(0).collect());
    let judged: Vec<_> = numbers
        .into_iter()
        .filter_map(|entity| {
            let row = store.view(|views| views.entities.row(entity))?;
            Some((entity, row.version, store.record(entity).unwrap()?))
        })
        .collect();
    store.judge(&judged);
    store.policy_judged(&version.id, version.digest);
    assert!(store.view(|views| views.due.is_complete()));
}

#[test]
fn a_wrong_day_in_the_due_index_is_found_running_and_stopped() {
    use retention_core::view::due::Standing;
    let dir = tempfile::tempdir().unwrap();
    let (options, entities) = world(dir.path());
    let store = open(&options);
    judge_by_policy(&store);
    let report = store.verify(&mut |_, _| {}).unwrap();
    assert!(report.due_compared && report.is_good(), "{:?}", report.findings);

    let digest = store.view(|views| views.due.policy("contacts").unwrap().digest());
    let set = |entity, standing| store.inner.state.write().views.due.set("contacts", digest, entity, standing);
    let day = store.view(|views| views.due.policy("contacts").unwrap().days().next().unwrap());
    assert_eq!(day.1, entities.len() as u64 - 3, "all but the purged fall due on one day");
    let right = Standing::DueAt(Timestamp::from_unix_seconds(i64::from(day.0) * 86_400));
    for wrong in [Standing::NeverDue, Standing::OutOfScope, Standing::DueAt(Timestamp(0))] {
        set(entities[9], wrong);
        let findings = store.verify(&mut |_, _| {}).unwrap().findings;
        assert_eq!(findings, [Finding::DueDiffers(entities[9])], "{wrong:?}");
        set(entities[9], right);
    }
    assert!(store.verify(&mut |_, _| {}).unwrap().is_good());
    store.close().unwrap();

    let report = verify(&options);
    assert!(report.due_compared && report.is_good(), "{:?}", report.findings);
    let blocks = Blocks::open(&dir.path().join("state/events"), options.cache_bytes, options.boot).unwrap().blocks;
    let key = [&digest.0[..], &0u32.to_be_bytes()].concat();
    let mut days = blocks.get(Family::Due, &key).unwrap().unwrap();
    days[usize::try_from(entities[9].0).unwrap() * 2] ^= 1;
    blocks.put(Family::Due, &key, &days).unwrap();
    blocks.close().unwrap();
    assert_eq!(verify(&options).findings, [Finding::DueDiffers(entities[9])]);
}

#[test]
fn a_verification_and_a_long_open_stop_when_asked_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut options, _) = world(dir.path());
    let store = open(&options);
    store.halt().ask();
    assert!(matches!(store.verify(&mut |_, _| {}), Err(ReadError::Halted(_))));
    drop(store);
    std::fs::remove_dir_all(dir.path().join("state/events")).unwrap();
    let stopped = Store::open(&options, &mut |_, _| {});
    assert!(matches!(stopped, Err(OpenError::Read(ReadError::Halted(_)))));
    options.halt = crate::halt::Halt::default();
    let store = open(&options);
    assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, []);
}

fn signed_world(dir: &Path) -> Options {
    let (options, _) = world(dir);
    for round in 0..3 {
        let store = open(&options);
        let layout = store.view(|views| views.small.layouts.iter().next().unwrap().0);
        add_contacts(&store, layout, 1_000 + round * 50..1_040 + round * 50);
        sign(&store);
        assert_eq!(store.verify(&mut |_, _| {}).unwrap().findings, [], "while it runs");
        store.close().unwrap();
    }
    options
}

#[test]
fn a_flipped_byte_anywhere_in_the_tree_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = signed_world(dir.path());
    let report = verify(&options);
    assert_eq!((report.findings.as_slice(), report.checkpoints), (&[][..], Some(3)));
    for name in ["hashes", "checkpoints"] {
        let path = options.dir.join("tree").join(name);
        let whole = std::fs::metadata(&path).unwrap().len();
        for at in (0..whole).step_by(if name == "hashes" { 397 } else { 1 }) {
            flip(&path, at);
            let report = verify_tree_only(&options);
            assert!(!report.is_empty(), "{name} at {at}");
            assert!(report.iter().all(|finding| finding.part() == "tree"), "{name} at {at}: {report:?}");
            flip(&path, at);
        }
    }
    assert_eq!(verify(&options).findings, []);
}

#[test]
fn a_checkpoint_by_a_key_that_was_replaced_before_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = signed_world(dir.path());
    let store = open(&options);
    let (_, verifier_key) = keys_of(&[8; 32], "log").unwrap();
    let adopted = Event::SigningKeyAdopted(SigningKeyAdopted { verifier_key });
    let drafts = vec![super::super::open::daemon_draft(adopted)];
    store.append_drafts(drafts, retention_core::view::Condition::None).unwrap();
    // Somebody kept the key from before, and signs on.
    let size = Checkpoint::unverified(&sign(&store)).unwrap().size;
    store.close().unwrap();
    let report = verify(&options);
    assert_eq!((report.findings, report.checkpoints), (vec![Finding::CheckpointByOlderKey(size)], Some(4)));
}

#[test]
fn checkpoints_that_are_all_gone_long_after_a_key_was_adopted_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (options, clock) = init_with_clock(dir.path());
    let store = open(&options);
    let layout = add_layout(&store);
    sign(&store);
    let adopted = store.view(|views| views.small.signing_keys[0].adopted);
    let path = options.dir.join("tree/checkpoints");
    let whole = std::fs::read(&path).unwrap();
    // A start that was killed before it signed leaves as much.
    std::fs::write(&path, b"").unwrap();
    let unsigned_since = || store.verify(&mut |_, _| {}).unwrap().unsigned_since;
    assert_eq!(unsigned_since(), None);
    clock.advance(std::time::Duration::from_secs(60 * 60));
    add_contacts(&store, layout, 0..5);
    assert_eq!(unsigned_since(), Some(adopted));
    std::fs::write(&path, whole).unwrap();
    assert_eq!(unsigned_since(), None);
}

#[test]
fn a_file_of_the_tree_that_was_removed_or_cut_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = signed_world(dir.path());
    let tree = options.dir.join("tree");
    let both = ["hashes", "checkpoints"].map(|name| std::fs::read(tree.join(name)).unwrap());
    let put_back = || {
        for (name, bytes) in ["hashes", "checkpoints"].iter().zip(&both) {
            std::fs::write(tree.join(name), bytes).unwrap();
        }
    };
    let missing = |name: &str| std::fs::remove_file(tree.join(name)).unwrap();
    let found = || verify_tree_only(&options).iter().map(Finding::code).collect::<Vec<_>>();

    missing("hashes");
    assert_eq!(found(), ["tree_hashes_missing"]);
    missing("checkpoints");
    assert_eq!(found(), ["checkpoints_missing"]);
    put_back();
    missing("checkpoints");
    assert_eq!(found(), ["checkpoints_missing"]);
    put_back();
    // One hash less than the newest checkpoint covers.
    std::fs::write(tree.join("hashes"), &both[0][..both[0].len() - 1]).unwrap();
    assert_eq!(found(), ["tree_hashes_missing"]);
    put_back();
    assert_eq!(found(), [""; 0]);
    // A whole verification says so as well, once the log adopted the key.
    assert_eq!(codes(&verify(&options)), [""; 0]);
    let store = open(&options);
    let verifier_key = keys_of(&[7; 32], "log").unwrap().1;
    let adopted = store.view(|views| views.small.signing_keys.iter().any(|known| known.verifier_key == verifier_key));
    assert!(adopted);
    missing("checkpoints");
    assert_eq!(codes(&store.verify(&mut |_, _| {}).unwrap()), ["checkpoints_missing"]);
    store.close().unwrap();
    assert_eq!(codes(&verify(&options)), ["checkpoints_missing"]);
}

/// What a verification says of the tree, without the rest, which takes longer.
fn verify_tree_only(options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reader = JournalReader::at(&options.dir.join("journal"));
    let mut tree = TreeCheck::begin(&options.dir, &mut |finding| findings.push(finding)).unwrap();
    tree.adopted(&keys_of(&[7; 32], "log").unwrap().1);
    let tail = recover::find_tail(&options.dir.join("journal")).unwrap();
    for entry in reader.events_after(Position::NONE, tail.last).unwrap() {
        tree.event(&entry.unwrap().1.envelope, &mut |finding| findings.push(finding)).unwrap();
    }
    let _checked = tree.end(&mut |finding| findings.push(finding));
    assert_eq!(tree.beyond(&mut |finding| findings.push(finding)), None);
    findings
}
