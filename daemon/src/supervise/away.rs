//! Whether the daemon was away for so long that its clock has to be doubted: a machine that lost its battery, or was
//! set wrongly while it was off.

use retention_core::event::Event;
use retention_core::event::clock::{ClockDoubt, ClockDoubted};

use crate::clock::Clock;
use crate::stage::run::trust::JUMP_US_MAX;
use crate::store::{OpenReport, Store};

/// Returns the doubt about a clock that says that the daemon was away for more than a day, when nothing says that the
/// clock is synchronised.
///
/// `found` is what the first opening since the daemon was away found: opening and changing keys append events of their
/// own, by the very clock that is in question.
pub(super) fn away_for_long(store: &Store, found: &OpenReport, clock: &dyn Clock) -> Option<Event> {
    if clock.is_synchronised() == Some(true) {
        return None;
    }
    let (is_empty, is_doubted) = store.view(|views| (views.entities.bound() == 0, views.small.clock.doubt().is_some()));
    let (newest_at, now) = (found.newest_at, clock.now());
    if is_empty || is_doubted || now.0.saturating_sub(newest_at.0) <= JUMP_US_MAX {
        return None;
    }
    tracing::error!(
        "the clock says that the daemon was away for more than a day; nothing is purged until it is confirmed"
    );
    let body = ClockDoubted { doubt: ClockDoubt::AwayForLong, expected_at: newest_at, seen_at: now };
    Some(Event::ClockDoubted(body))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use retention_core::time::Timestamp;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::Options;
    use crate::store::sled_door::BootId;
    use crate::store::tests::{add_contacts, add_layout, init_with_clock};

    const DAY: Duration = Duration::from_hours(24);

    /// A store that is closed, or left as a power cut leaves it; then the clock runs ahead. Returns when its newest
    /// event was recorded.
    fn left(dir: &std::path::Path, is_closed: bool) -> (Options, Arc<ManualClock>, Timestamp) {
        let (options, clock) = init_with_clock(dir);
        let store = Store::open(&options, &mut |_, _| {}).unwrap();
        let layout = add_layout(&store);
        drop(add_contacts(&store, layout, 0..5));
        let newest_at = store.view(|views| views.recorded_at);
        if is_closed {
            store.close().unwrap();
        }
        clock.advance(DAY * 400);
        (options, clock, newest_at)
    }

    fn expected_at(store: &Store, found: &OpenReport, clock: &ManualClock) -> Option<Timestamp> {
        away_for_long(store, found, clock).map(|event| match event {
            Event::ClockDoubted(body) => body.expected_at,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_rebuild_after_a_power_cut_does_not_hide_that_the_daemon_was_away() {
        let dir = tempfile::tempdir().unwrap();
        let (options, clock, newest_at) = left(dir.path(), false);
        let options = Options { boot: BootId([9; 16]), ..options };
        let store = Store::open(&options, &mut |_, _| {}).unwrap();
        assert_eq!(store.report().rebuilt, Some("sled_not_trusted"));
        assert_eq!(expected_at(&store, store.report(), &clock), Some(newest_at));
        // Nor does another one, before the doubt was recorded.
        drop(store);
        let store = Store::open(&Options { boot: BootId([8; 16]), ..options }, &mut |_, _| {}).unwrap();
        assert_eq!(expected_at(&store, store.report(), &clock), Some(newest_at));
    }

    #[test]
    fn a_compaction_of_a_stopped_store_does_not_hide_that_the_daemon_was_away() {
        let dir = tempfile::tempdir().unwrap();
        let (options, clock, newest_at) = left(dir.path(), true);
        let (store, _) = Store::compact(&options, &mut |_, _| {}).unwrap();
        store.close().unwrap();
        let store = Store::open(&options, &mut |_, _| {}).unwrap();
        assert_eq!(expected_at(&store, store.report(), &clock), Some(newest_at));
    }

    #[test]
    fn a_rotation_does_not_hide_that_the_daemon_was_away() {
        let dir = tempfile::tempdir().unwrap();
        let (options, clock, newest_at) = left(dir.path(), true);
        let store = Store::rotate_wrapping_keys(&options, &mut |_, _| {}).unwrap();
        assert_eq!(expected_at(&store, store.report(), &clock), Some(newest_at));
        store.close().unwrap();
        // Nor does a power cut before the rotation, when what the first opening found is handed on.
        let dir = tempfile::tempdir().unwrap();
        let (options, clock, newest_at) = left(dir.path(), false);
        let options = Options { boot: BootId([9; 16]), ..options };
        let first = Store::open(&options, &mut |_, _| {}).unwrap();
        let found = first.report().clone();
        first.close().unwrap();
        let store = Store::rotate_wrapping_keys(&options, &mut |_, _| {}).unwrap();
        assert_eq!(expected_at(&store, &found, &clock), Some(newest_at));
    }
}
