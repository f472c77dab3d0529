//! Policies: loads the directory as a set, all or nothing, and records what became active.
//!
//! A bad set leaves the last good one active, loudly; after a restart that is the one in the log. Watching the
//! directory is only a hint: the digest of its files is the truth.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::decision::{PolicyRecorded, PolicySetActivated};
use retention_core::event::{Draft, Event};
use retention_core::id::Digest;
use retention_core::policy::{FILE_BYTES_MAX, FILES_MAX, PolicyError, PolicyFile, PolicySet};
use retention_core::time::Timestamp;
use retention_core::view::Condition;

use super::{StageError, Step, is_over};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::open::daemon_draft;

/// How often the directory is looked at, whatever the watcher says: a minute, in microseconds.
const LOOK_EVERY_US: i64 = 60 * 1_000_000;

/// What is wrong with the policy directory; shared with whoever tells people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyHealth {
    /// One line per error; empty when the directory is valid and active.
    pub errors: Vec<String>,
}

/// The stage.
pub struct Policies {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    health: Arc<Mutex<PolicyHealth>>,
    seen: Option<Digest>,
    next_look: Timestamp,
}

/// The files of a policy directory: stem and text.
pub type Files = BTreeMap<String, String>;

/// A policy directory cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The system refused.
    #[error("failed to read the policy directory: {0}")]
    Unreadable(String),
    /// There are too many files.
    #[error("the policy directory holds more than {FILES_MAX} policy files")]
    TooMany,
    /// A file is not one that can be a policy.
    #[error("policy file {file}: {problem}")]
    File {
        /// Its name.
        file: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Reads all `*.toml` files of a directory. What begins with a dot is no policy. Of each file at most
/// [`FILE_BYTES_MAX`] and one more byte are read, also when it grows meanwhile.
///
/// # Errors
/// Names the file that cannot be read; nothing is guessed. A name that is not text, or ends with `.TOML`, is refused:
/// passed over in silence, the rule in that file would be missing from the set.
pub fn read_directory(dir: &Path) -> Result<Files, DirectoryError> {
    let unreadable = |error: std::io::Error| DirectoryError::Unreadable(error.to_string());
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("toml")) {
            continue;
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            let file = path.file_name().unwrap_or_default().display().to_string();
            return Err(DirectoryError::File { file, problem: "has a name that is not UTF-8" });
        };
        let problem = |problem| DirectoryError::File { file: name.to_owned(), problem };
        let stem = name.strip_suffix(".toml").ok_or_else(|| problem("does not end with .toml in small letters"))?;
        let meta = std::fs::metadata(&path).map_err(|_| problem("cannot be read"))?;
        if !meta.is_file() {
            return Err(problem("is not a file"));
        }
        let max = FILE_BYTES_MAX as u64;
        let mut text = Vec::new();
        let file = std::fs::File::open(&path).map_err(|_| problem("cannot be read"))?;
        file.take(max + 1).read_to_end(&mut text).map_err(|_| problem("cannot be read"))?;
        if meta.len() > max || text.len() as u64 > max {
            return Err(problem("is larger than 256 KiB"));
        }
        files.insert(stem.to_owned(), String::from_utf8(text).map_err(|_| problem("is not UTF-8"))?);
        if files.len() > FILES_MAX {
            return Err(DirectoryError::TooMany);
        }
    }
    Ok(files)
}

/// Checks the files of a directory as a set, and runs the examples in them.
///
/// # Errors
/// All errors, one line each.
pub fn check(files: &Files) -> Result<PolicySet, Vec<String>> {
    let list: Vec<PolicyFile<'_>> = files.iter().map(|(stem, text)| PolicyFile { stem, text }).collect();
    let set = PolicySet::check(&list).map_err(|errors| lines(&errors))?;
    let failing = set.failing_examples();
    if failing.is_empty() { Ok(set) } else { Err(lines(&failing)) }
}

fn lines(errors: &[PolicyError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

impl Policies {
    /// Watches a directory.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, dir: PathBuf) -> Self {
        Self {
            store,
            clock,
            dir,
            health: Arc::new(Mutex::new(PolicyHealth::default())),
            seen: None,
            next_look: Timestamp(i64::MIN),
        }
    }

    /// Returns where the state of the directory can be seen.
    #[must_use]
    pub fn health(&self) -> Arc<Mutex<PolicyHealth>> {
        Arc::clone(&self.health)
    }

    /// Looks again at the next step, whatever the time is.
    pub fn look_now(&mut self) {
        self.next_look = Timestamp(i64::MIN);
    }

    /// Loads the policies before anybody can ask: until then none is known here, and people would be told so. What fails
    /// is told, and met again at the next step.
    pub fn load_at_start(&mut self) {
        if let Err(error) = self.step() {
            self.look_now();
            tracing::error!(%error, "the policies could not be loaded before the stages began; it is tried again");
        }
    }

    /// Looks at the directory, and activates what it holds if that is new and valid.
    ///
    /// # Errors
    /// When the log does not take the events; a bad directory is no error of the stage.
    pub fn step(&mut self) -> Result<Step, StageError> {
        let now = self.clock.now();
        if !is_over(self.next_look, now, LOOK_EVERY_US) {
            return Ok(Step::IdleUntil(self.next_look));
        }
        self.next_look = Timestamp(now.0.saturating_add(LOOK_EVERY_US));
        let loaded = read_directory(&self.dir).map_err(|error| vec![error.to_string()]);
        let content = match &loaded {
            Ok(files) => digest_of(files),
            Err(errors) => Digest::of(errors.join("\n").as_bytes()),
        };
        if self.seen == Some(content) {
            return Ok(Step::IdleUntil(self.next_look));
        }
        let checked = loaded.and_then(|files| check(&files).map(|set| (files, set)));
        let active = self.store.policies_of_log()?;
        let checked = checked.and_then(|(files, set)| {
            let loosened = active.as_ref().map(|active| set.loosened(active)).unwrap_or_default();
            if loosened.is_empty() { Ok((files, set)) } else { Err(lines(&loosened)) }
        });
        match checked {
            Ok((files, set)) => {
                self.activate(&files, set)?;
                *self.health.lock() = PolicyHealth::default();
            }
            Err(errors) => {
                for error in &errors {
                    tracing::error!(%error, "the policy set is not valid; the last good one stays active");
                }
                *self.health.lock() = PolicyHealth { errors };
                if self.seen.is_none() {
                    self.restore_last_good()?;
                }
            }
        }
        self.seen = Some(content);
        Ok(Step::Worked)
    }

    fn activate(&self, files: &Files, set: PolicySet) -> Result<(), StageError> {
        let versions = set.versions();
        let digest = set.digest();
        let (active, known) = self.store.view(|views| {
            let policies = &views.small.policies;
            let known: Vec<bool> =
                versions.iter().map(|v| policies.texts.contains_key(&(v.id.clone(), v.digest))).collect();
            (policies.digest, known)
        });
        if active != Some(digest) {
            let mut drafts: Vec<Draft> = versions
                .iter()
                .zip(known)
                .filter(|(_, known)| !known)
                .filter_map(|(version, _)| {
                    let text = files.get(&version.id)?.clone();
                    let body = PolicyRecorded { id: version.id.clone(), digest: version.digest, text };
                    Some(daemon_draft(Event::PolicyRecorded(body)))
                })
                .collect();
            drafts.push(daemon_draft(Event::PolicySetActivated(PolicySetActivated { digest, policies: versions })));
            self.store.append_drafts(drafts, Condition::None)?;
            tracing::info!(%digest, "a policy set is active");
        }
        self.store.install_policies(Arc::new(set));
        Ok(())
    }

    /// Takes the active set out of the log, when the directory is not valid at the start or nothing can be appended.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn restore_last_good(&self) -> Result<(), StageError> {
        match self.store.policies_of_log()? {
            Some(set) => self.store.install_policies(Arc::new(set)),
            None => tracing::error!("there is no last good policy set; nothing will be planned"),
        }
        Ok(())
    }
}

fn digest_of(files: &Files) -> Digest {
    let mut bytes = Vec::new();
    for (stem, text) in files {
        for part in [stem, text] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests;
