use retention_core::event::operation::DaemonStopped;
use retention_core::evidence::checkpoint::keys_of;

use super::*;
use crate::clock::ManualClock;
use crate::store::Options;
use crate::store::tests::{copy_dir, init};
use crate::store::verify::Finding;

fn open(options: &Options) -> (Arc<Store>, Attest) {
    let store = Arc::new(Store::open(options, &mut |_, _| {}).unwrap());
    let tree = Arc::new(Tree::open(store.dir()).unwrap());
    let signer = keys_of(&[7; 32], "log").unwrap().0;
    let attest = Attest::new(Arc::clone(&store), Arc::clone(&options.clock), tree, signer).unwrap();
    (store, attest)
}

fn close(store: Arc<Store>, attest: Attest) {
    drop(attest);
    Arc::try_unwrap(store).ok().unwrap().close().unwrap();
}

fn happens(store: &Store, count: usize) -> bool {
    let events = (0..count).map(|_| daemon_draft(Event::DaemonStopped(DaemonStopped {}))).collect();
    store.append_drafts(events, Condition::None).is_ok()
}

/// Lets so many events happen, and signs them when asked to.
fn goes_on(options: &Options, count: usize, signs: bool) {
    let (store, mut attest) = open(options);
    assert!(happens(&store, count));
    while signs && attest.step().unwrap() == Step::Worked {}
    close(store, attest);
}

/// Opens a store as the daemon does, and returns why it is read-only then.
fn compared(options: &Options) -> Option<&'static str> {
    let (store, mut attest) = open(options);
    attest.compare(&mut || {}).unwrap();
    let code = store.read_only_reason().map(|damage| damage.code);
    assert_eq!(happens(&store, 1), code.is_none());
    close(store, attest);
    code
}

fn findings(options: &Options) -> Vec<&'static str> {
    let report = Store::verify_stopped(options, &mut |_, _| {}).unwrap();
    report.findings.iter().map(Finding::code).collect()
}

#[test]
fn a_log_that_is_not_the_one_that_was_signed_is_read_only_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = init(dir.path());
    goes_on(&options, 300, true);
    let older = Options { dir: dir.path().join("older"), ..options.clone() };
    copy_dir(&options.dir, &older.dir);
    goes_on(&options, 40, true);

    // Somebody puts an older state under the checkpoints that were signed since.
    std::fs::copy(options.dir.join("tree/checkpoints"), older.dir.join("tree/checkpoints")).unwrap();
    assert_eq!(findings(&older), ["journal_shorter"]);
    assert_eq!(compared(&older), Some("journal_shorter_than_checkpoint"));
    // Somebody writes another end to the log.
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_001)));
    let older = Options { clock, ..older };
    goes_on(&older, 41, false);
    assert_eq!(findings(&older), ["tree_hashes_missing", "checkpoint_contradicts"]);
    assert_eq!(compared(&older), Some("log_contradicts_checkpoint"));

    // Hashes that are lost are made again, and nothing else is wrong.
    std::fs::remove_file(options.dir.join("tree/hashes")).unwrap();
    assert_eq!(findings(&options), ["tree_hashes_missing"]);
    assert_eq!(compared(&options), None);
    assert_eq!(findings(&options), [""; 0]);
}
