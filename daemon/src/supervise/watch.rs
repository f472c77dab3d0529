//! Watching directories. What the system tells is only a hint; a scan is the truth.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many renamed entries wait to be noted. One that is not is found still by two scans.
const RENAMED_MAX: usize = 10_000;

/// Wakes whoever waits when something in one of the directories changes.
///
/// Dropping it ends the watching. A directory that cannot be watched is said in the diagnostics and scanned all the
/// same.
#[derive(Debug)]
pub(super) struct DirectoryWatch(
    #[expect(dead_code, reason = "dropping it ends the watching")] Option<RecommendedWatcher>,
);

impl DirectoryWatch {
    /// Watches directories, without what is below them. What is renamed into one is complete, and noted in
    /// `renamed_in`.
    #[must_use]
    pub(super) fn on<'a>(
        dirs: impl Iterator<Item = &'a Path>,
        hint: Arc<Notify>,
        renamed_in: Arc<Mutex<Vec<PathBuf>>>,
    ) -> Self {
        let told = move |event: notify::Result<notify::Event>| {
            if let Ok(event) = &event
                && event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::To))
            {
                let mut waiting = renamed_in.lock();
                let room = RENAMED_MAX.saturating_sub(waiting.len());
                waiting.extend(event.paths.iter().take(room).cloned());
            }
            // Reading a file is an event too, and would wake us again and again.
            if event.map_or(true, |event| event.need_rescan() || is_a_change(event.kind)) {
                hint.notify_one();
            }
        };
        let mut watcher = match notify::recommended_watcher(told) {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(kind = ?error.kind, "directories cannot be watched; they are scanned from time to time");
                return Self(None);
            }
        };
        for dir in dirs {
            if let Err(error) = watcher.watch(dir, RecursiveMode::NonRecursive) {
                tracing::warn!(kind = ?error.kind, "a directory cannot be watched; it is scanned from time to time");
            }
        }
        Self(Some(watcher))
    }
}

fn is_a_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}
