//! What wakes stages early: watched directories, a configuration that was read again, a clock that jumped.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::watch::DirectoryWatch;
use crate::config::Config;

/// What wakes stages early.
#[derive(Default)]
pub(super) struct Hints {
    pub(super) policies: Arc<Notify>,
    pub(super) drops: Arc<Notify>,
    /// Told when something in a folder of migration batches changes.
    pub(super) batches: Arc<Notify>,
    /// Told when the configuration was read again.
    pub(super) backups: Arc<Notify>,
    /// Never told: for stages that wait for the log and the clock alone.
    pub(super) none: Arc<Notify>,
    /// What was renamed into a drop folder since it was last looked at.
    pub(super) renamed_in: Arc<Mutex<Vec<PathBuf>>>,
    /// Told when something in the policy directory changes.
    pub(super) touched: Arc<Notify>,
    /// Told when something beside the configuration changes.
    pub(super) config: Arc<Notify>,
    /// Whether the policy directory was touched since it was last looked at.
    pub(super) edited: Arc<Mutex<bool>>,
    /// Whether the configuration was read again since the sources were last taken from it.
    pub(super) reloaded: Arc<Mutex<bool>>,
}

impl Hints {
    /// Notes an edit of a policy before the stage is woken, so that it looks at the directory and not at its timer.
    pub(super) fn note_edits(&self) {
        let (touched, edited, hint) = (Arc::clone(&self.touched), Arc::clone(&self.edited), Arc::clone(&self.policies));
        tokio::spawn(async move {
            loop {
                touched.notified().await;
                *edited.lock() = true;
                hint.notify_one();
            }
        });
    }

    /// Watches the drop folders, those of migration batches, the policies and the configuration, as the configuration
    /// names them.
    pub(super) fn watch(&self, config: &Config) -> [DirectoryWatch; 4] {
        let drops: Vec<PathBuf> = config.sources.iter().map(|source| source.drop_dir.clone()).collect();
        let batches = config.servers.iter().filter_map(|server| server.batches.as_deref());
        let policies = std::iter::once(config.policies.dir.as_path());
        [
            DirectoryWatch::on(
                drops.iter().map(PathBuf::as_path),
                Arc::clone(&self.drops),
                Arc::clone(&self.renamed_in),
            ),
            DirectoryWatch::on(batches, Arc::clone(&self.batches), Arc::default()),
            DirectoryWatch::on(policies, Arc::clone(&self.touched), Arc::default()),
            DirectoryWatch::on(config.path.parent().into_iter(), Arc::clone(&self.config), Arc::default()),
        ]
    }
}
