//! Three real mail servers on loopback: Dovecot, Cyrus and Courier, each in a directory and a process namespace of its
//! own.
//!
//! A [`Server`] answers on ports of its own and is gone with everything that it started when it is dropped, when the
//! test panics and when the test process is killed: all its processes live in one process namespace, whose first
//! process ends when the pipe from the test closes. [`raw`] is a small IMAP client that shares no line with the
//! product's, so that what it sees can contradict the product. [`letter`] makes messages that are hard to keep
//! byte-exact.
//!
//! Tests isolate themselves by mailboxes, not by servers: [`Server::shared`] is started once for a test process, and
//! [`Server::mailbox`] hands out a mailbox that nobody else has. What changes a whole server ([`Server::restart`],
//! [`Server::kick_all`]) is for one of [`Server::start`].

mod courier;
mod cyrus;
mod dovecot;
mod guard;
pub mod letter;
mod port;
pub mod raw;
pub(crate) mod tls;
mod truth;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use tempfile::TempDir;

use self::guard::Guard;
use self::port::Port;
use self::raw::Raw;
use crate::disk;

pub use self::truth::{Folder, Stored};

/// The user and the group that owns the mail on every server: Debian's `mail`.
const MAIL_ID: u32 = 8;

/// How many mailboxes a server has for [`Server::mailbox`].
const POOL_SIZE: u32 = 2_200;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Dovecot 2.3.
    Dovecot,
    /// Cyrus IMAP 3.6.
    Cyrus,
    /// Courier IMAP 5.
    Courier,
}

impl Kind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Dovecot, Self::Cyrus, Self::Courier];

    /// Returns what a server of this kind keeps of an appended message: Courier ends the last line.
    #[must_use]
    pub fn kept(self, body: &[u8]) -> Vec<u8> {
        let missing: &[u8] = if self == Self::Courier && !body.ends_with(b"\n") { b"\r\n" } else { b"" };
        [body, missing].concat()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dovecot => "dovecot",
            Self::Cyrus => "cyrus",
            Self::Courier => "courier",
        })
    }
}

/// When Cyrus removes the files of expunged messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expunge {
    /// At once.
    #[default]
    Immediate,
    /// When [`Server::cyrus_expire`] runs: the default of Cyrus. The other servers have no such thing.
    Delayed,
}

/// How a server is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// When Cyrus removes the files of expunged messages.
    pub expunge: Expunge,
}

/// Who may log in, and with what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The login name, which is the name of the mailbox too.
    pub name: String,
    /// The password.
    pub password: String,
}

impl Account {
    fn of(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned() }
    }

    fn of_pool(number: u32) -> Self {
        Self::of(&format!("m{number:04}"), &format!("pw{number}"))
    }
}

/// The accounts that every server has from its start. `user3` may keep one megabyte. `mailadmin` is an administrator on
/// Cyrus and Courier and an ordinary user on Dovecot; `admin` is Dovecot's master user, `auditor` an ordinary user.
const ACCOUNTS: [(&str, &str); 7] = [
    ("user1", "pw1"),
    ("user2", "pw2"),
    ("user3", "pw3"),
    ("bench", "pwb"),
    ("admin", "adminpw"),
    ("mailadmin", "mailadminpw"),
    ("auditor", "auditpw"),
];

/// A server that runs.
pub struct Server {
    kind: Kind,
    setup: Setup,
    // Dropped in this order: first the processes, then their directory.
    guard: Mutex<Option<Guard>>,
    dir: TempDir,
    imap: Port,
    imaps: Port,
    api: Port,
    secure_api: Port,
    taken: AtomicU32,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on port {}", self.kind, self.imap.number())
    }
}

impl Server {
    /// Starts one of its own for a test, and returns when it greets.
    ///
    /// # Panics
    /// When it is not installed, or never greets.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, Setup::default())
    }

    /// Starts one that is set up in its own way.
    ///
    /// # Panics
    /// When it is not installed, or never greets.
    #[must_use]
    pub fn start_with(kind: Kind, setup: Setup) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("{kind}-")).tempdir().expect("a directory");
        // The mail is owned by another user than the test.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("a mode");
        let server = Self {
            kind,
            setup,
            guard: Mutex::new(None),
            dir,
            imap: Port::take(),
            imaps: Port::take(),
            api: Port::take(),
            secure_api: Port::take(),
            taken: AtomicU32::new(0),
        };
        server.check_installed();
        for name in ["log", "tls", "run"] {
            fs::create_dir(server.path(name)).expect("a directory");
        }
        tls::write(&server.path("tls"));
        match kind {
            Kind::Dovecot => dovecot::configure(&server),
            Kind::Cyrus => cyrus::configure(&server),
            Kind::Courier => courier::configure(&server),
        }
        server.run();
        match kind {
            Kind::Cyrus => cyrus::make_mailboxes(&server),
            Kind::Dovecot | Kind::Courier => {}
        }
        server
    }

    /// Returns the one of this test process, which is started with the first call.
    ///
    /// # Panics
    /// When it is not installed, or never greets.
    #[must_use]
    pub fn shared(kind: Kind) -> &'static Self {
        static SHARED: [OnceLock<Server>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
        let place = match kind {
            Kind::Dovecot => 0,
            Kind::Cyrus => 1,
            Kind::Courier => 2,
        };
        SHARED[place].get_or_init(|| Self::start(kind))
    }

    fn check_installed(&self) {
        let program = match self.kind {
            Kind::Dovecot => PathBuf::from("/usr/sbin/dovecot"),
            Kind::Cyrus => packages("cyrus").join("usr/sbin/cyrmaster"),
            Kind::Courier => packages("courier").join("usr/sbin/couriertcpd"),
        };
        assert!(program.exists(), "{} is not installed: run ./test.sh, or tests/servers.sh alone", self.kind);
        assert!(rustix::process::getuid().is_root(), "the mail servers are started by root: run the tests as root");
    }

    fn run(&self) {
        let script = match self.kind {
            Kind::Dovecot => dovecot::script(self),
            Kind::Cyrus => cyrus::script(self),
            Kind::Courier => courier::script(self),
        };
        let guard = Guard::start(self.dir.path(), &script);
        guard.until_greeting(self.imap.number());
        *self.guard.lock().expect("a guard") = Some(guard);
    }

    /// Kills every process of the server as a power cut would, and starts it again on what it left on disk.
    ///
    /// # Panics
    /// When it does not come again.
    pub fn restart(&self) {
        self.stop();
        self.run();
    }

    /// Kills every process of the server. [`Server::restart`] starts it again.
    ///
    /// # Panics
    /// When another thread panicked while doing so.
    pub fn stop(&self) {
        if let Some(guard) = self.guard.lock().expect("a guard").take() {
            guard.kill();
        }
    }

    /// Says which program it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the port of IMAP with STARTTLS; it takes passwords in plain too.
    #[must_use]
    pub fn imap_port(&self) -> u16 {
        self.imap.number()
    }

    /// Returns the port of IMAP over TLS.
    #[must_use]
    pub fn imaps_port(&self) -> u16 {
        self.imaps.number()
    }

    /// Returns the certificate that the server shows, which is its own authority, for the name `localhost`.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.path("tls/cert.pem")
    }

    /// Returns the address of Dovecot's doveadm API; nobody answers there on the other servers.
    #[must_use]
    pub fn doveadm_url(&self) -> String {
        format!("http://127.0.0.1:{}/doveadm/v1", self.api.number())
    }

    /// Returns the address of the same over TLS, at a host that its certificate names or does not.
    #[must_use]
    pub fn doveadm_url_over_tls(&self, host: &str) -> String {
        format!("https://{host}:{}/doveadm/v1", self.secure_api.number())
    }

    /// The key of Dovecot's doveadm API.
    pub const DOVEADM_KEY: &'static str = "labkey";

    /// Returns one of the accounts that are there from the start.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn account(&self, name: &str) -> Account {
        let found = ACCOUNTS.iter().find(|(known, _)| *known == name);
        found.map_or_else(|| panic!("no account {name}"), |(name, password)| Account::of(name, password))
    }

    /// Returns the account of a mailbox that is empty and that nobody else has.
    ///
    /// # Panics
    /// When all are taken.
    #[must_use]
    pub fn mailbox(&self) -> Account {
        let number = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= POOL_SIZE, "{} has no mailbox left: raise POOL_SIZE", self.kind);
        let account = Account::of_pool(number);
        match self.kind {
            Kind::Dovecot => {}
            Kind::Cyrus => cyrus::make_mailbox(self, &account),
            Kind::Courier => courier::make_mailbox(self, &account),
        }
        account
    }

    /// Returns the mailbox of Dovecot that keeps many messages in one file. There is one, for one test.
    #[must_use]
    pub fn mdbox(&self) -> Account {
        assert_eq!(self.kind, Kind::Dovecot);
        let (name, password) = dovecot::MDBOX;
        Account::of(name, password)
    }

    /// Returns the name of a folder as its owner sees it; nothing is the INBOX.
    #[must_use]
    pub fn folder(&self, path: &[&str]) -> String {
        match (self.kind, path) {
            (_, []) => "INBOX".to_owned(),
            (Kind::Dovecot, path) => path.join("/"),
            (Kind::Cyrus, path) => format!("INBOX/{}", path.join("/")),
            (Kind::Courier, path) => format!("INBOX.{}", path.join(".")),
        }
    }

    /// Returns the name of a folder as somebody else sees it to whom it was opened.
    #[must_use]
    pub fn folder_of(&self, owner: &Account, path: &[&str]) -> String {
        let (root, separator) = match self.kind {
            Kind::Dovecot => ("shared/", "/"),
            Kind::Cyrus => ("user/", "/"),
            Kind::Courier => ("#shared.", "."),
        };
        let parts: Vec<&str> = std::iter::once(owner.name.as_str()).chain(path.iter().copied()).collect();
        format!("{root}{}", parts.join(separator))
    }

    /// Puts the mail of one mailbox of Dovecot into another that is empty, with all dates and numbers.
    ///
    /// # Panics
    /// When that fails, or on another server.
    pub fn copy_mail(&self, from: &Account, to: &Account) {
        assert_eq!(self.kind, Kind::Dovecot, "only Dovecot keeps mail as files that can be copied");
        let mail = |account: &Account| self.path("mail").join(&account.name);
        let copied = Command::new("cp").arg("-a").arg(mail(from)).arg(mail(to)).status();
        assert!(copied.expect("cp").success(), "the mail cannot be copied");
    }

    /// Logs in as the owner of a mailbox.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn login(&self, account: &Account) -> Raw {
        let mut raw = self.connect();
        raw.login(&account.name, &account.password);
        raw
    }

    /// Connects, and logs in as nobody.
    ///
    /// # Panics
    /// When the server does not greet.
    #[must_use]
    pub fn connect(&self) -> Raw {
        Raw::connect(self.imap_port())
    }

    /// Runs a command of `doveadm` on Dovecot's own files, and returns what it prints.
    ///
    /// # Panics
    /// When it fails, or on another server.
    pub fn doveadm(&self, arguments: &[&str]) -> String {
        assert_eq!(self.kind, Kind::Dovecot, "only Dovecot has doveadm");
        let config = self.path("conf/dovecot.conf");
        let config = config.to_str().expect("a path that is text");
        self.inside(&[&["doveadm", "-c", config], arguments].concat())
    }

    /// Removes what Cyrus keeps of expunged messages.
    ///
    /// # Panics
    /// When it fails, or on another server.
    pub fn cyrus_expire(&self) {
        cyrus::expire(self);
    }

    /// Ends every session that is logged in, as an administrator of the server would.
    ///
    /// # Panics
    /// When that fails.
    pub fn kick_all(&self) {
        // The sessions of all three are processes; other processes of these names live outside this namespace.
        // One that is told to end may still answer a command, so their end is waited for.
        let kill = "told=
            for comm in /proc/[0-9]*/comm; do read -r name <\"$comm\" || continue
            case $name in imap|imapd) pid=${comm#/proc/}; pid=${pid%/comm}; kill -TERM \"$pid\" && told=\"$told $pid\";; esac
            done 2>/dev/null
            for pid in $told; do while kill -0 \"$pid\" 2>/dev/null; do :; done; done";
        self.inside(&["timeout", "60", "sh", "-c", kill]);
    }

    /// Changes the UIDVALIDITY of a folder, as a restore of the server's mail does. Cyrus chooses the value itself, and
    /// numbers the messages from 1 anew.
    ///
    /// # Panics
    /// When that fails, and for the INBOX of Cyrus, which cannot be made anew.
    pub fn change_uid_validity(&self, account: &Account, path: &[&str], value: u32) {
        match self.kind {
            Kind::Dovecot => {
                let value = value.to_string();
                let folder = self.folder(path);
                self.doveadm(&["mailbox", "update", "-u", &account.name, "--uid-validity", &value, &folder]);
            }
            Kind::Courier => courier::change_uid_validity(self, account, path, value),
            Kind::Cyrus => cyrus::change_uid_validity(self, account, path),
        }
    }

    /// Returns what the server itself shows the owner of a mailbox: every folder with every message.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn truth(&self, account: &Account) -> BTreeMap<String, Folder> {
        truth::of(&mut self.login(account))
    }

    /// Returns who has which rights on every folder of a mailbox: folder, identifier, rights.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn rights(&self, account: &Account) -> BTreeMap<String, BTreeMap<String, String>> {
        truth::rights(&mut self.login(account))
    }

    /// Returns the files of the server that hold these bytes, wherever it keeps them.
    #[must_use]
    pub fn files_with(&self, bytes: &[u8]) -> Vec<PathBuf> {
        disk::files_with(self.dir.path(), bytes)
    }

    /// Returns what the server wrote about itself.
    #[must_use]
    pub fn log(&self) -> String {
        guard::logs(self.dir.path())
    }

    /// Returns a path in the directory of the server.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program among the server's own processes, and returns what it prints.
    fn inside(&self, command: &[&str]) -> String {
        self.guard.lock().expect("a guard").as_ref().expect("a server that runs").inside(command)
    }
}

/// Returns the private root of the packages of a server.
fn packages(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test");
    let target = own.ancestors().find(|dir| dir.join("mail-servers").is_dir());
    // Where nothing is installed, the path only serves the message that says so.
    target.map_or_else(|| Path::new("target").to_owned(), Path::to_owned).join("mail-servers").join(name)
}
