//! Watching directories. What the system tells is only a hint; a scan is the truth.

use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Wakes whoever waits when something in one of the directories changes.
///
/// Dropping it ends the watching. A directory that cannot be watched is said in the diagnostics and scanned all the same.
#[derive(Debug)]
pub struct DirectoryWatch(#[expect(dead_code, reason = "dropping it ends the watching")] Option<RecommendedWatcher>);

impl DirectoryWatch {
    /// Watches directories, without what is below them.
    #[must_use]
    pub fn on<'a>(dirs: impl Iterator<Item = &'a Path>, hint: Arc<Notify>) -> Self {
        let told = move |event: notify::Result<notify::Event>| {
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
