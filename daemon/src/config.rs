//! The configuration: `config.toml` as checked, what a reload may change, and what the environment adds.
//!
//! `Config::load` gives a whole configuration or every error at once, each with its line. Relative paths are relative
//! to the directory of the file. The environment is read here and in `crate::supervise`, nowhere else.

mod check;
mod file;
mod named;
mod notify;
mod overlap;
mod problem;
mod reading;
mod reload;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use retention_core::evidence::cosignature::WitnessKey;
use retention_core::id::Digest;
use retention_core::policy::AgeRecipient;
use retention_core::record::activity::ActivityRules;
use retention_core::schedule::Schedule;
use serde::Deserialize;

use crate::diagnostics::Redacted;
use crate::keyholders::Keyholders;

pub use named::{NamedFileProblem, named_file_problems};
pub use notify::{MailChannel, NotifyChannel, NotifyKind, WebhookChannel};
pub use overlap::unwise_places;
pub use problem::{ConfigError, Problem};
pub(crate) use reading::meant;
pub use reload::{Change, Reload};
pub use server::{Doveadm, MailAdmin, MailServer, MailTls};

/// The largest configuration file that is read, in bytes: a thousand sources fit many times.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// A checked configuration.
///
/// **Invariant:** every path is absolute; no drop folder, export directory or state directory lies inside another
/// where one would take in or overwrite what belongs to the other; names of sources, of
/// servers, of channels and of witnesses are unique, and so are the keys of witnesses.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// The SHA-256 of that file.
    pub digest: Digest,
    /// Where everything durable lies.
    pub store: Store,
    /// The control socket and who may use it.
    pub control: Control,
    /// Where the policies are.
    pub policies: Policies,
    /// What is taken in, in the order of the file.
    pub sources: Vec<Source>,
    /// The mail servers, in the order of the file.
    pub servers: Vec<Arc<MailServer>>,
    /// How bundles are written.
    pub export: Export,
    /// What is done for data subjects.
    pub subjects: Subjects,
    /// Where backups lie; without it none can be made.
    pub backup: Option<Backup>,
    /// What a new log is called in its checkpoints; without it, it gets a name of its own. A log keeps its name.
    pub origin: Option<String>,
    /// Where signed checkpoints are told.
    pub publish: Vec<PublishTo>,
    /// The logs of other programs that are told of each event, in the order of the file.
    pub forward: Vec<ForwardTo>,
    /// Who cosigns checkpoints, in the order of the file.
    pub witnesses: Vec<WitnessOf>,
    /// How people are told, in the order of the file.
    pub notify: Vec<NotifyChannel>,
    /// The program's own messages.
    pub diagnostics: Diagnostics,
    /// Whether Prometheus metrics are served.
    pub metrics: Metrics,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The journal, sled, the keys and the tree.
    pub state_dir: PathBuf,
    /// The bundles; it may lie on another file system.
    pub exports_dir: PathBuf,
    /// Where the root key comes from.
    pub root_key: SecretPlace,
    /// The page cache of sled, in bytes. sled's page table comes on top.
    pub cache_bytes: u64,
    /// What views, indexes and queues together are meant to hold in memory, in bytes. It bounds the cache alone.
    pub memory_max_bytes: u64,
}

/// Where a secret comes from: the root key, the password of a mail server's admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// A systemd credential of this name, in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A file of mode 0600 outside the state directory.
    File(PathBuf),
}

/// `[control]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket, unless systemd passes one.
    pub socket: PathBuf,
    /// The group that may connect to a socket that the daemon makes itself (mode 0660); without one, only its own
    /// user may (mode 0600).
    pub socket_group: Option<String>,
    /// Who may do what.
    pub roles: Roles,
}

/// `[control.roles]`. Whoever is in none of them is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Who reads.
    pub auditor: Vec<Member>,
    /// Who plans, runs and grants.
    pub operator: Vec<Member>,
    /// Who approves, but never their own request.
    pub approver: Vec<Member>,
    /// Who changes stores and keys.
    pub admin: Vec<Member>,
}

/// A person or a group of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Member {
    /// A user by name.
    User(String),
    /// A user by number, written `uid:1000`.
    Uid(u32),
    /// All members of a group, written `@group`.
    Group(String),
}

/// One place of `[audit] publish`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishTo {
    /// A file that always has the newest checkpoint.
    File(PathBuf),
    /// A program that gets it on its standard input: an absolute path, and arguments.
    Command(String, Vec<String>),
    /// A web server that it is posted to, and the certificate authorities that are believed; `None` for those of the
    /// machine. The URL may hold a secret.
    Web(Redacted<String>, Option<PathBuf>),
    /// The program's own messages.
    Journal,
}

/// One log of `[[audit.forward]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardTo {
    /// What people call it. How far it was told is kept under this name.
    pub name: String,
    /// What it is told first.
    pub from: ForwardFrom,
    /// What it is, and where.
    pub to: ForwardPlace,
}

/// What a new log is told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardFrom {
    /// The first event of all.
    Beginning,
    /// What is recorded from then on.
    Now,
}

/// Where a log takes messages. All of them are on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPlace {
    /// systemd-journald, on its socket.
    Journald(PathBuf),
    /// RFC 5424 on a Unix datagram socket.
    SyslogSocket(PathBuf),
    /// RFC 5424 over TCP, to `HOST:PORT`.
    SyslogTcp(String),
}

/// One witness of `[[audit.witness]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessOf {
    /// What people call it.
    pub name: String,
    /// Its submission prefix. It may hold a secret.
    pub url: Redacted<String>,
    /// With what its cosignatures are checked.
    pub key: WitnessKey,
    /// The certificate authorities that are believed; `None` for those of the machine.
    pub ca_file: Option<PathBuf>,
}

/// `[backup]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Where the copies of the log lie.
    pub dir: PathBuf,
    /// Where the copies of the keys lie, apart from them.
    pub keys_dir: PathBuf,
    /// How long a copy of the keys is kept.
    pub keep_keys: Duration,
    /// The ledger of erasures, on another machine.
    pub erasures: Option<PathBuf>,
    /// When one is made without being asked for; never, without it.
    pub schedule: Option<Schedule>,
    /// Who else has to agree before one is brought back: whose keys it is encrypted to.
    pub recipients: Keyholders,
}

/// `[policies]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// The directory that is loaded as a set.
    pub dir: PathBuf,
    /// The zone of whatever names none. A policy names its own.
    pub timezone: TimeZone,
}

/// `[[source]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name in events, reports and policies.
    pub name: String,
    /// What lies in the drop folder.
    pub kind: SourceKind,
    /// The drop folder.
    pub drop_dir: PathBuf,
    /// The zone of local times whose zone the file does not say. Where it is unknown too, such a time is the latest instant
    /// that it can mean.
    pub zone: Option<TimeZone>,
    /// Whether a delivery is everything there is. A mapping can say that it is not, and so can this.
    pub delivers: Delivers,
    /// The largest delivery that is taken in, in bytes, all files of a directory together.
    pub max_bytes: u64,
    /// How long deliveries stay in `done/`.
    pub keep_done: KeepDone,
    /// How long deliveries that were refused stay in `rejected/`.
    pub keep_rejected: KeepDone,
    /// The mailbox of rows that name none.
    pub mailbox: Option<Redacted<String>>,
    /// What tells the class of an activity; the same for all sources, since several can share a name in the log.
    pub activities: Arc<ActivityRules>,
}

/// What lies in a drop folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Directories of the Outlook Customer Manager export.
    Ocm,
    /// CSV files.
    Csv {
        /// The mapping from columns to fields.
        mapping: PathBuf,
        /// The encoding, where it must not be detected.
        encoding: Option<TextEncoding>,
        /// The delimiter, where it must not be detected.
        delimiter: Option<Delimiter>,
    },
    /// Excel workbooks.
    Xlsx {
        /// The mapping from columns to fields.
        mapping: PathBuf,
    },
}

/// Whether a delivery is everything that its source has, or only what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivers {
    /// Everything: what it no longer holds is recorded as absent.
    Snapshot,
    /// What changed: what it does not hold is unknown.
    Delta,
}

/// How the bytes of a file are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TextEncoding {
    /// UTF-8, with or without a byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, little-endian unless its byte order mark says otherwise.
    #[serde(rename = "utf-16")]
    Utf16,
    /// Central European Windows.
    #[serde(rename = "windows-1250")]
    Windows1250,
    /// Western European Windows.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

/// What stands between two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delimiter {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A tabulator.
    Tab,
}

/// How long a delivery that was taken in stays in `done/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepDone {
    /// Until somebody removes it.
    Forever,
    /// This long after it was taken in.
    For(Duration),
}

/// `[export]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The zone of the time in a bundle's name.
    pub zone: TimeZone,
    /// How CSV is written at least, whatever a policy says.
    pub csv_profile: CsvProfile,
}

/// `[subjects]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Who can open the copy of what was erased for a data subject; nobody: it is not encrypted.
    pub encrypt_to: BTreeSet<AgeRecipient>,
}

/// How CSV is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CsvProfile {
    /// As each policy says.
    Exact,
    /// Values that a spreadsheet would run as a formula are made harmless.
    SpreadsheetSafe,
}

/// `[diagnostics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// Where messages go.
    pub target: DiagnosticsTarget,
    /// Which messages, such as `info` or `info,retentiond::store=debug`; checked.
    pub level: String,
}

/// Where the program's own messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiagnosticsTarget {
    /// To the journal of systemd.
    Journald,
    /// To standard error.
    Stderr,
    /// To the journal when systemd started the daemon, else to standard error.
    Auto,
}

/// Whether Prometheus metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metrics {
    /// At `/metrics` of the control socket, to every role.
    Socket,
    /// Not at all.
    Off,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Says every problem at once; nothing is half accepted.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let path = std::path::absolute(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        let size = std::fs::metadata(&path).map_err(|error| ConfigError::unreadable(&path, &error))?.len();
        if size > CONFIG_BYTES_MAX {
            return Err(ConfigError::too_large(&path));
        }
        let bytes = std::fs::read(&path).map_err(|error| ConfigError::unreadable(&path, &error))?;
        Self::parse(&path, &bytes)
    }

    /// Checks the bytes of a file that lies, or will lie, at the absolute `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        check::check(path, bytes)
    }
}

impl Roles {
    /// Returns each role's name as written in the file, with its members.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &[Member]); 4] {
        [("auditor", &self.auditor), ("operator", &self.operator), ("approver", &self.approver), ("admin", &self.admin)]
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Group(name) => write!(f, "@{name}"),
        }
    }
}

/// What the daemon takes from its environment, read once at start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `$CREDENTIALS_DIRECTORY`: where systemd puts the credentials of the unit.
    pub credentials_directory: Option<PathBuf>,
    /// `$JOURNAL_STREAM`: set when standard error leads to the journal.
    pub journal_stream: Option<OsString>,
}

/// A secret has no place that it could be read from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretPlaceError {
    /// The credential needs systemd.
    #[error(
        "the configuration names the credential {0}, but $CREDENTIALS_DIRECTORY is not set; start the daemon through its \
         unit, or name a file with {{ file = \"…\" }}"
    )]
    NoCredentials(String),
}

impl Environment {
    /// Reads the environment of the process.
    #[must_use]
    pub fn read() -> Self {
        Self {
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            journal_stream: std::env::var_os("JOURNAL_STREAM"),
        }
    }
}

impl SecretPlace {
    /// Returns the file that holds the secret, or will hold it.
    ///
    /// # Errors
    /// Says when a credential is named and systemd gave no directory for it.
    pub fn path(&self, environment: &Environment) -> Result<PathBuf, SecretPlaceError> {
        match (self, &environment.credentials_directory) {
            (Self::File(path), _) => Ok(path.clone()),
            (Self::Credential(name), Some(directory)) => Ok(directory.join(name)),
            (Self::Credential(name), None) => Err(SecretPlaceError::NoCredentials(name.clone())),
        }
    }
}
