//! Migration batches that somebody drops into the folder of a server: the mailboxes in them are registered, and the file,
//! which holds passwords in the clear, is overwritten and removed.
//!
//! A batch is registered whole or not at all, under the same rules as `retentionctl batch check` has; who brought it is the
//! owner of the file. A file that is refused stays where it is, since its owner needs it, with a list of what is wrong
//! beside it. The list names lines and columns, and no password.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use retention_core::batch::{self, FILE_BYTES_MAX, MigrationKind, Settings, register, sheet};
use retention_core::control::MAILBOXES_PER_REQUEST_MAX;
use retention_core::event::Actor;
use retention_core::id::Digest;
use retention_core::time::Timestamp;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::IntakeError;
use super::registry::{Registrar, Registration, RegistryError};
use crate::clock::Clock;
use crate::config::MailServer;
use crate::connector::drop::claimed::Limits;
use crate::connector::drop::scan::{self, STILL_US, Stillness, Verdict};
use crate::stage::Step;
use crate::store::durable_file;

/// What is appended to the name of a batch for the list of what is wrong in it.
const LIST_ENDING: &str = ".refused.txt";

const BATCH_ROLE: &str = "migration batch";
const LIST_ROLE: &str = "list of what is wrong in a migration batch";

/// How often the folders are looked at when nobody says that something changed, in microseconds.
const LOOK_EVERY_US: i64 = 60_000_000;

/// The most findings that a list holds: more would only repeat the first.
const FINDINGS_MAX: usize = 1_000;

/// The stage.
pub struct BatchFiles {
    registrar: Arc<Registrar>,
    clock: Arc<dyn Clock>,
    folders: Vec<Folder>,
}

/// Where the batches of one server are dropped.
struct Folder {
    server: String,
    path: PathBuf,
    stillness: Stillness,
    /// What was refused, as it was then: it is looked at again when it changes.
    refused: BTreeMap<OsString, Digest>,
    /// What was said last of the folder itself, so that it is said once.
    told: Option<String>,
}

/// What became of a file.
enum Taken {
    /// Its mailboxes are registered, and it is gone.
    Registered(usize),
    /// It is as it was when it was refused before.
    RefusedBefore,
    /// Why it lies there still.
    Refused(Vec<String>),
}

impl BatchFiles {
    /// Takes batches into a registry.
    #[must_use]
    pub fn new(registrar: Arc<Registrar>, clock: Arc<dyn Clock>) -> Self {
        Self { registrar, clock, folders: Vec::new() }
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
        let pause = if is_waiting { STILL_US } else { LOOK_EVERY_US };
        Ok(Step::IdleUntil(Timestamp(now.0.saturating_add(pause))))
    }
}

impl Folder {
    fn look(&mut self, now: Timestamp) -> Vec<Verdict> {
        let limits = Limits { file_bytes_max: FILE_BYTES_MAX as u64, ..Limits::default() };
        match scan::look(&self.path, &limits) {
            Ok(mut sightings) => {
                self.told = None;
                sightings.retain(|sighting| is_batch(&sighting.name));
                self.refused.retain(|name, _| sightings.iter().any(|sighting| sighting.name == *name));
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
        match self.register(registrar, name, &path)? {
            Taken::Registered(mailboxes) => {
                tracing::info!(
                    server = self.server,
                    mailboxes,
                    "the mailboxes of a dropped migration batch are registered"
                );
            }
            Taken::RefusedBefore => {}
            Taken::Refused(findings) => {
                tracing::error!(
                    server = self.server,
                    findings = findings.len(),
                    "a dropped migration batch was not taken in, and still holds its passwords: read the list beside it, then mend \
                     the file or remove it"
                );
                let mut text = String::from(
                    "Nothing of this migration batch was registered. The file still holds its passwords.\n",
                );
                for finding in findings.iter().take(FINDINGS_MAX) {
                    let _infallible = writeln!(text, "{finding}");
                }
                let mut list = name.to_owned();
                list.push(LIST_ENDING);
                durable_file::replace(&self.path.join(list), text.as_bytes(), LIST_ROLE)?;
            }
        }
        Ok(())
    }

    fn register(&mut self, registrar: &Registrar, name: &OsStr, path: &Path) -> Result<Taken, IntakeError> {
        let (owner, bytes) = match read(path) {
            Ok(read) => read,
            // Somebody took it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::RefusedBefore),
            Err(error) => return Ok(Taken::Refused(vec![format!("it cannot be read: {}", error.kind())])),
        };
        let content = Digest::of(&bytes);
        if self.refused.get(name) == Some(&content) {
            return Ok(Taken::RefusedBefore);
        }
        let registrations = match registrations(&self.server, &bytes) {
            Ok(registrations) => registrations,
            Err(findings) => {
                self.refused.insert(name.to_owned(), content);
                return Ok(Taken::Refused(findings));
            }
        };
        for part in registrations.chunks(MAILBOXES_PER_REQUEST_MAX) {
            match registrar.register(Actor::Person(owner), part, Some(content)) {
                Ok(_) => {}
                Err(RegistryError::Failed(error)) => return Err(error),
                Err(error @ (RegistryError::Twice(_) | RegistryError::NotRegistered(_))) => {
                    self.refused.insert(name.to_owned(), content);
                    return Ok(Taken::Refused(vec![error.to_string()]));
                }
            }
        }
        if let Err(error) = durable_file::discard(path, BATCH_ROLE) {
            // What was registered stands. It is not registered again each time, and the file is not forgotten in silence.
            self.refused.insert(name.to_owned(), content);
            let what = format!("its mailboxes are registered, and it could not be destroyed ({error}): remove it");
            return Ok(Taken::Refused(vec![what]));
        }
        durable_file::fsync_dir(&self.path, BATCH_ROLE)?;
        let mut list = path.as_os_str().to_owned();
        list.push(LIST_ENDING);
        if Path::new(&list).exists() {
            durable_file::discard(Path::new(&list), LIST_ROLE)?;
        }
        Ok(Taken::Registered(registrations.len()))
    }
}

/// Says whether a name is one of a batch: other files in the folder are somebody's own.
fn is_batch(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// Reads a file whole, with who owns it. A link is not followed.
fn read(path: &Path) -> io::Result<(u32, Zeroizing<Vec<u8>>)> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX as u64 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // One buffer of full size: one that grows would leave copies behind.
    let size = usize::try_from(metadata.len()).unwrap_or(FILE_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok((metadata.uid(), bytes))
}

/// Returns what the rows of a batch register, or everything that is wrong with it.
fn registrations(server: &str, bytes: &[u8]) -> Result<Vec<Registration>, Vec<String>> {
    let sheet = sheet::read(bytes, sheet::Named::default()).map_err(|error| vec![error.to_string()])?;
    let settings = Settings { kind: Some(MigrationKind::Imap), ..Settings::default() };
    let checked = batch::check(&[("the file", &sheet)], &settings);
    if checked.iter().any(|checked| !checked.is_usable()) {
        let problems = checked.iter().flat_map(|checked| &checked.problems);
        return Err(problems
            .map(|problem| {
                let place = match (problem.line, problem.column) {
                    (Some(line), Some(column)) => format!("line {line}, column {column}: "),
                    (Some(line), None) => format!("line {line}: "),
                    (None, _) => String::new(),
                };
                format!("{place}{}", problem.rule)
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
