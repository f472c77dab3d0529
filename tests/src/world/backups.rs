//! A backup, a ledger of erasures, and a store that is lost and comes back from them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use retention_core::event::Event;
use retention_core::event::backup::RestoreConfirmed;
use retention_core::id::Position;
use retention_core::time::Timestamp;
use retention_core::view::Condition;
use retentiond::clock::Clock as _;
use retentiond::keyholders::{Identities, Keyholders};
use retentiond::stage::Step;
use retentiond::stage::ledger::Ledger;
use retentiond::store::backup::{Ledgers, Places, Restore};

use super::{APPROVER, World};
use crate::invariants::{Checker, MARKER};

impl World {
    fn places(&self) -> Places {
        Places { log: self.dir.path().join("backup"), keys: self.dir.path().join("backup-keys") }
    }

    fn ledger(&self) -> PathBuf {
        self.dir.path().join("erasures")
    }

    /// Makes a backup of the store as it is.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn back_up(&mut self) {
        let until = Timestamp(self.clock.now().0.saturating_add(86_400_000_000));
        self.store().backup(&self.places(), until, &Keyholders::default(), None, &mut |_, _| {}).expect("a backup");
    }

    /// Tells the ledger of erasures on another machine what was destroyed.
    ///
    /// # Panics
    /// When it is behind.
    pub fn tell_ledger(&mut self) {
        let mut ledger = Ledger::new(Arc::clone(self.store()), Arc::new(self.clock.clone()), self.ledger());
        while ledger.step().expect("a readable log") == Step::Worked {}
        assert_eq!(*ledger.health().lock(), None);
    }

    /// Loses the store, and restores it from the backup and the ledger. What was said since the backup is not known any
    /// more, so what is known of the world begins anew with what the backup holds.
    ///
    /// # Panics
    /// When it cannot be restored, or something is not as it must be.
    pub fn restore_from_backup(&mut self) {
        self.stages = None;
        self.store = None;
        fs::remove_dir_all(self.state_dir()).expect("the store is there");
        let places = self.places();
        let ledgers = Ledgers::Files(vec![self.ledger()]);
        let restore = Restore {
            options: &self.options,
            places: &places,
            backup: None,
            ledgers,
            without_newer: false,
            lost: Vec::new(),
            checkpoints: Vec::new(),
            identities: Identities::default(),
        };
        restore.run(&mut |_, _| {}).expect("a restored store");
        self.checker = Checker::default();
        self.open();
        self.check();
    }

    /// Says that the restored store may act again.
    ///
    /// # Panics
    /// When none waits for that.
    pub fn confirm_restore(&mut self) {
        let waits = self.store().view(|views| views.small.restored.waits().map(|(position, _)| *position));
        let restored: Position = waits.expect("a restored store");
        let event = Event::RestoreConfirmed(RestoreConfirmed { restored, reason: MARKER.to_owned() });
        self.person(APPROVER, restored, event, Condition::RestoreWaits(restored)).expect("a confirmation");
    }
}
