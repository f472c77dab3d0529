//! Migration batches that somebody drops into the folder of a server: the mailboxes in them are registered, and the
//! file, which holds passwords in the clear, is overwritten and removed.
//!
//! A batch is registered whole or not at all, under the same rules as `retentionctl batch check` has; one that is too
//! large for one request is registered in parts, and again from its start after a crash between them. Who brought it is
//! the owner of the file. A file that is refused stays where it is, since its owner needs it, with a list of what is
//! wrong beside it. The list names lines and columns, and no password. What goes wrong with the folder or a file is
//! said and stops nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use retention_core::batch::{self, FILE_BYTES_MAX, MigrationKind, Settings, Weight, register, sheet};
use retention_core::control::MAILBOXES_PER_REQUEST_MAX;
use retention_core::event::Actor;
use retention_core::id::Digest;
use retention_core::time::Timestamp;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::registry::{Registrar, Registration, RegistryError};
use super::{EntryLeft, IntakeError, IntakeHealth, NotTaken};
use crate::clock::Clock;
use crate::config::MailServer;
use crate::connector::drop::claimed::{Fingerprint, Limits, Opened};
use crate::connector::drop::scan::{self, STILL_US, Stillness, Verdict};
use crate::stage::Step;
use crate::store::durable_file;

/// What is appended to the name of a batch for the list of what is wrong in it.
const LIST_ENDING: &str = ".refused.txt";

const BATCH_ROLE: &str = "migration batch";
const LIST_ROLE: &str = "list of what is wrong in a migration batch";

/// How often the folders are looked at when nobody says that something changed, in microseconds.
const LOOK_EVERY_US: i64 = 60_000_000;

/// What is appended to the name of a batch, behind a dot, from when on it is to be destroyed: whatever is named so is.
const DOOMED_ENDING: &str = ".destroying";

/// The most findings that a list holds: more would only repeat the first.
const FINDINGS_MAX: usize = 1_000;

/// The stage.
pub struct BatchFiles {
    registrar: Arc<Registrar>,
    clock: Arc<dyn Clock>,
    folders: Vec<Folder>,
    health: IntakeHealth,
}

/// The code of a batch that was refused.
const REFUSED: &str = "batch_refused";

/// What to do about one.
const REFUSED_SAYS: &str = "the migration batch is refused, lies there still and holds its passwords; read the list beside it, then mend the file or remove it";

/// Where the batches of one server are dropped.
struct Folder {
    server: String,
    path: PathBuf,
    stillness: Stillness,
    /// When it was looked at last.
    looked_at: Timestamp,
    /// What was refused, as it was then: it is read again when it changes.
    refused: BTreeMap<OsString, Refused>,
    /// What was said last of the folder itself, so that it is said once.
    told: Option<String>,
}

/// A batch that was refused.
struct Refused {
    /// What the file system said of it before it was read.
    look: Option<Look>,
    /// What it held; `None` when it could not be read.
    content: Option<Digest>,
    /// Since when.
    since: Timestamp,
}

/// What changes whenever a file does: its number, and when anything of it changed last.
#[derive(PartialEq, Eq)]
struct Look {
    inode: u64,
    changed: (i64, i64),
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        Some(Self { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) })
    }
}

/// What became of a file.
enum Taken {
    /// Its mailboxes are registered, and it is gone.
    Registered(usize),
    /// It is as it was when it was refused before, or somebody took it away.
    LeftAlone,
    /// Why it lies there still.
    Refused(Vec<String>),
}

impl BatchFiles {
    /// Takes batches into a registry.
    #[must_use]
    pub fn new(registrar: Arc<Registrar>, clock: Arc<dyn Clock>) -> Self {
        Self { registrar, clock, folders: Vec::new(), health: IntakeHealth::default() }
    }

    /// Says after each look here what it could not take.
    #[must_use]
    pub fn telling(self, health: IntakeHealth) -> Self {
        Self { health, ..self }
    }

    /// Looks into the folders of these servers from now on.
    pub fn serve(&mut self, servers: &[Arc<MailServer>]) {
        let wanted: Vec<(&str, &Path)> =
            servers.iter().filter_map(|server| Some((server.name.as_str(), server.batches.as_deref()?))).collect();
        let is_as_before =
            wanted.iter().copied().eq(self.folders.iter().map(|f| (f.server.as_str(), f.path.as_path())));
        if is_as_before {
            return;
        }
        let folder = |(server, path): (&str, &Path)| Folder {
            server: server.to_owned(),
            path: path.to_owned(),
            stillness: Stillness::default(),
            looked_at: Timestamp(0),
            refused: BTreeMap::new(),
            told: None,
        };
        self.folders = wanted.into_iter().map(folder).collect();
    }

    /// Looks into every folder once, and takes in what has been still long enough.
    ///
    /// # Errors
    /// When the log or the keys fail: the file stays, and is taken up again.
    pub fn step(&mut self) -> Result<Step, IntakeError> {
        let now = self.clock.now();
        let mut is_waiting = false;
        for folder in &mut self.folders {
            folder.go_on_destroying();
            for verdict in folder.look(now) {
                match verdict {
                    Verdict::Ready(name) => folder.take(&self.registrar, &name)?,
                    Verdict::Wait(_) => is_waiting = true,
                    Verdict::Refused(_, refusal) => {
                        tracing::warn!(server = folder.server, "an entry among the batches is left alone: {refusal}");
                    }
                }
            }
        }
        let stopped = |folder: &Folder| Some((folder.server.clone(), folder.told.clone()?));
        let not_taken = NotTaken {
            stopped: self.folders.iter().filter_map(stopped).collect(),
            left: self.folders.iter().flat_map(Folder::left).collect(),
        };
        *self.health.lock() = not_taken;
        let pause = if is_waiting { STILL_US } else { LOOK_EVERY_US };
        Ok(Step::IdleUntil(Timestamp(now.0.saturating_add(pause))))
    }
}

impl Folder {
    /// Destroys what was to be destroyed when the daemon stopped.
    fn go_on_destroying(&self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if name.starts_with(b".") && name.ends_with(DOOMED_ENDING.as_bytes()) {
                match durable_file::discard(&entry.path(), BATCH_ROLE) {
                    Ok(()) => {
                        tracing::info!(server = self.server, "the rest of a dropped migration batch is destroyed")
                    }
                    Err(error) => tracing::error!(
                        server = self.server,
                        "the rest of a dropped migration batch holds passwords: {error}; remove what ends in {DOOMED_ENDING}"
                    ),
                }
            }
        }
    }

    /// Returns what lies there and is not taken.
    fn left(&self) -> Vec<EntryLeft> {
        let refused = self
            .refused
            .iter()
            .map(|(name, batch)| EntryLeft::new(&self.server, name, REFUSED, REFUSED_SAYS.to_owned(), batch.since));
        EntryLeft::alone(&self.server, &self.stillness).chain(refused).collect()
    }

    fn look(&mut self, now: Timestamp) -> Vec<Verdict> {
        self.looked_at = now;
        let limits = Limits { file_bytes_max: FILE_BYTES_MAX as u64, ..Limits::default() };
        match scan::look(&self.path, &limits) {
            Ok(mut sightings) => {
                self.told = None;
                sightings.retain(|sighting| is_batch(&sighting.name));
                let is_there = |name: &OsString| sightings.iter().any(|sighting| sighting.name == *name);
                let gone: Vec<OsString> = self.refused.keys().filter(|name| !is_there(name)).cloned().collect();
                for name in gone {
                    self.refused.remove(&name);
                    self.discard_list(&self.path.join(&name));
                }
                self.stillness.judge(sightings, now)
            }
            Err(error) => {
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    tracing::error!(server = self.server, "the folder of migration batches: {text}");
                    self.told = Some(text);
                }
                Vec::new()
            }
        }
    }

    fn take(&mut self, registrar: &Registrar, name: &OsStr) -> Result<(), IntakeError> {
        let path = self.path.join(name);
        let server = self.server.clone();
        match self.register(registrar, name, &path)? {
            Taken::Registered(mailboxes) => {
                tracing::info!(server, mailboxes, "the mailboxes of a dropped migration batch are registered");
            }
            Taken::LeftAlone => {}
            Taken::Refused(findings) => {
                tracing::error!(
                    server,
                    findings = findings.len(),
                    "a dropped migration batch lies there still, and holds its passwords: read the list beside it, then mend the \
                     file or remove it"
                );
                let mut text = String::from("This migration batch lies here still, and holds its passwords.\n");
                for finding in findings.iter().take(FINDINGS_MAX) {
                    let _infallible = writeln!(text, "{finding}");
                }
                if let Err(error) = durable_file::replace(&list_of(&path), text.as_bytes(), LIST_ROLE) {
                    tracing::error!(server, "the list beside a refused migration batch: {error}; it says:\n{text}");
                }
            }
        }
        Ok(())
    }

    fn register(&mut self, registrar: &Registrar, name: &OsStr, path: &Path) -> Result<Taken, IntakeError> {
        let look = Look::at(path);
        // It is opened for writing, and closing it looks to whoever watches the folder as if it had been written: without
        // this the stage would wake itself for ever.
        if look.is_some() && self.refused.get(name).is_some_and(|refused| refused.look == look) {
            return Ok(Taken::LeftAlone);
        }
        let Batch { owner, bytes, fingerprint } = match read(path) {
            Ok(batch) => batch,
            Err(unread) if unread.error.kind() == io::ErrorKind::NotFound => return Ok(Taken::LeftAlone),
            Err(Unread { error, was_open }) => {
                // What could not even be opened has woken nobody, and may be open to us at the next look.
                let look = look.filter(|_| was_open);
                let why = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "the daemon may not read and overwrite it: let it do so (docs/migration-batches.md)".to_owned()
                    }
                    other => format!("it cannot be read: {other}"),
                };
                return Ok(self.refuse(name, look, None, vec![why]));
            }
        };
        let content = Digest::of(&bytes);
        if let Some(refused) = self.refused.get_mut(name).filter(|refused| refused.content == Some(content)) {
            refused.look = look;
            return Ok(Taken::LeftAlone);
        }
        let registrations = match registrations(&self.server, &name.to_string_lossy(), &bytes) {
            Ok(registrations) => registrations,
            Err(findings) => return Ok(self.refuse(name, look, Some(content), findings)),
        };
        let mut before = 0;
        for part in registrations.chunks(MAILBOXES_PER_REQUEST_MAX) {
            match registrar.register(Actor::Person(owner), part, Some(content)) {
                Ok(_) => before += part.len(),
                Err(RegistryError::Failed(error)) if error.is_of_the_store() => return Err(error),
                Err(error) if before == 0 => {
                    return Ok(self.refuse(name, look, Some(content), vec![error.to_string()]));
                }
                Err(error) => {
                    let what = format!("the first {before} mailboxes are registered; of those after them: {error}");
                    return Ok(self.refuse(name, look, Some(content), vec![what]));
                }
            }
        }
        if let Err(why) = self.destroy(path, fingerprint) {
            // What was registered stands. It is not registered again each time, and the file is not forgotten in
            // silence.
            return Ok(self.refuse(name, look, Some(content), vec![format!("its mailboxes are registered; {why}")]));
        }
        Ok(Taken::Registered(registrations.len()))
    }

    /// Remembers what was refused; what was refused just so before is left alone.
    fn refuse(&mut self, name: &OsStr, look: Option<Look>, content: Option<Digest>, findings: Vec<String>) -> Taken {
        let same = self.refused.get(name).filter(|before| before.content == content);
        let since = same.map_or(self.looked_at, |before| before.since);
        match self.refused.insert(name.to_owned(), Refused { look, content, since }) {
            Some(before) if before.content == content => Taken::LeftAlone,
            _ => Taken::Refused(findings),
        }
    }

    /// Overwrites and removes a batch that is still as it was read, and the list beside it; or says why it is there
    /// still. It has another name first, which nobody puts the next batch under, and by which a start after a crash
    /// goes on.
    fn destroy(&self, path: &Path, fingerprint: Fingerprint) -> Result<(), String> {
        let doomed = doomed(path);
        std::fs::rename(path, &doomed)
            .map_err(|error| format!("it cannot be renamed ({}): remove it", error.kind()))?;
        if let Err(error) = Opened::check_unchanged(&doomed, fingerprint) {
            // Somebody put another one in its place: it is a batch of its own.
            let back = std::fs::rename(&doomed, path);
            return Err(format!("the file is another one by now ({error}), and is left alone ({back:?})"));
        }
        durable_file::discard(&doomed, BATCH_ROLE)
            .map_err(|error| format!("it could not be destroyed ({error}): remove {}", doomed.display()))?;
        self.discard_list(path);
        if let Err(error) = durable_file::fsync_dir(&self.path, BATCH_ROLE) {
            tracing::warn!(server = self.server, "after a dropped migration batch was destroyed: {error}");
        }
        Ok(())
    }

    /// Removes the list beside a batch that does not lie there any more.
    fn discard_list(&self, batch: &Path) {
        let list = list_of(batch);
        if list.exists()
            && let Err(error) = durable_file::discard(&list, LIST_ROLE)
        {
            tracing::warn!(server = self.server, "the list beside a migration batch that is gone: {error}");
        }
    }
}

fn doomed(batch: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(batch.file_name().unwrap_or_default());
    name.push(DOOMED_ENDING);
    batch.with_file_name(name)
}

fn list_of(batch: &Path) -> PathBuf {
    durable_file::beside(batch, LIST_ENDING)
}

/// Says whether a name is one of a batch: other files in the folder are somebody's own.
fn is_batch(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// A dropped file.
struct Batch {
    owner: u32,
    bytes: Zeroizing<Vec<u8>>,
    fingerprint: Fingerprint,
}

/// Why a dropped file could not be read.
struct Unread {
    error: io::Error,
    /// Whether it was opened.
    was_open: bool,
}

/// Reads a file whole. A link is not followed, and what could not be overwritten later is not read.
fn read(path: &Path) -> Result<Batch, Unread> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| Unread { error, was_open: false })?;
    read_whole(file).map_err(|error| Unread { error, was_open: true })
}

fn read_whole(file: File) -> io::Result<Batch> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX as u64 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // One buffer of full size: one that grows would leave copies behind.
    let size = usize::try_from(metadata.len()).unwrap_or(FILE_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(metadata.len() + 1).read_to_end(&mut bytes)?;
    Ok(Batch { owner: metadata.uid(), bytes, fingerprint: Fingerprint::of(&metadata) })
}

/// Returns what the rows of a batch register, or everything that is wrong with it.
fn registrations(server: &str, name: &str, bytes: &[u8]) -> Result<Vec<Registration>, Vec<String>> {
    let sheet = sheet::read(bytes, sheet::Named::default())
        .map_err(|error| vec![format!("{error}; {}", error.hint_when_dropped())])?;
    let settings = Settings { kind: Some(MigrationKind::Imap), ..Settings::default() };
    let checked = batch::check(&[(name, &sheet)], &settings);
    if checked.iter().any(|checked| !checked.is_usable()) {
        let problems = checked.iter().flat_map(|checked| &checked.problems);
        let mut problems: Vec<_> = problems.filter(|problem| problem.rule.weight() != Weight::Note).collect();
        // What has to be mended first, since the list is cut where it is too long.
        problems.sort_by_key(|problem| problem.rule.weight());
        return Err(problems
            .into_iter()
            .map(|problem| {
                let place = match (problem.line, problem.column) {
                    (Some(line), Some(column)) => format!("line {line}, column {column}: "),
                    (Some(line), None) => format!("line {line}: "),
                    (None, _) => String::new(),
                };
                let warning = if problem.rule.weight() == Weight::Warning { "only a warning: " } else { "" };
                let hint = problem.rule.hint().map_or_else(String::new, |hint| format!("; {hint}"));
                format!("{warning}{place}{}{hint}", problem.rule)
            })
            .collect());
    }
    let mailboxes = register::mailboxes(&sheet).ok_or_else(|| vec!["it is no IMAP batch".to_owned()])?;
    let registrations: Vec<Registration> = mailboxes
        .into_iter()
        .map(|one| Registration {
            server: server.to_owned(),
            address: one.address,
            user: Some(one.user),
            form: Some(one.form),
            admin: one.admin,
            root: one.root,
            secret: Some(one.password),
        })
        .collect();
    let faults = (1..).zip(&registrations).filter_map(|(number, one)| {
        let fault = one.fault()?;
        Some(format!("mailbox {number} of the file: {fault}"))
    });
    let faults: Vec<String> = faults.collect();
    if faults.is_empty() { Ok(registrations) } else { Err(faults) }
}
