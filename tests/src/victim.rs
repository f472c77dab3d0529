//! A victim: the real daemon on a store of its own, spoken to over its socket, and killed at any moment.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The user and the group of the second person.
const NOBODY: u32 = 65_534;

/// An answer that takes longer never comes.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// The daemon, its directory, and what its binaries are.
pub struct Victim {
    dir: TempDir,
    child: Option<Child>,
}

/// Returns where the binaries of this build lie, built anew if they are older than their source.
fn binaries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let suite = std::env::current_exe().expect("the test has a path");
        let built = suite.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>").to_owned();
        // Cargo itself keeps two builds apart, and does nothing when nothing changed.
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // The whole workspace, so that dependencies have the features that they have in `cargo test --workspace`.
        cargo.args(["build", "--quiet", "--locked", "--workspace", "--bin", "retentiond", "--bin", "retentionctl"]);
        cargo.arg("--target-dir");
        cargo.arg(built.parent().expect("target/<profile>"));
        if built.ends_with("release") {
            cargo.arg("--release");
        }
        let built_well = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).status();
        assert!(built_well.is_ok_and(|status| status.success()), "the binaries cannot be built");
        built
    })
}

fn group_of_nobody() -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let gid = NOBODY.to_string();
    groups
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&gid))
        .and_then(|line| line.split(':').next())
        .map(str::to_owned)
}

impl Victim {
    /// Makes a store beside the files of a scratch directory; `sources` is the rest of the configuration.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn new(files: &[(&str, String)], sources: &str) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let victim = Self { dir, child: None };
        fs::set_permissions(victim.dir.path(), Permissions::from_mode(0o711)).expect("permissions");
        for name in ["bin", "run", "policies"] {
            fs::create_dir(victim.path(name)).expect("a directory");
            fs::set_permissions(victim.path(name), Permissions::from_mode(0o755)).expect("permissions");
        }
        // A copy that the second person can reach, wherever the build lies.
        fs::copy(binaries().join("retentionctl"), victim.path("bin/retentionctl")).expect("a copy");
        for (name, text) in files {
            fs::write(victim.path(name), text).expect("a file");
        }
        let me = victim.uid();
        let (approver, group) = match (victim.has_second_person(), group_of_nobody()) {
            (true, Some(group)) => (NOBODY, format!("socket_group = \"{group}\"\n")),
            _ => (me, String::new()),
        };
        let config = format!(
            "[store]\nstate_dir = \"state\"\nexports_dir = \"exports\"\nroot_key = {{ file = \"root.key\" }}\n\
             [control]\nsocket = \"run/control.sock\"\n{group}\
             [control.roles]\nauditor = [\"uid:{me}\"]\noperator = [\"uid:{me}\"]\napprover = [\"uid:{approver}\"]\n\
             admin = [\"uid:{me}\"]\n[policies]\ndir = \"policies\"\n[diagnostics]\ntarget = \"stderr\"\n{sources}"
        );
        fs::write(victim.path("config.toml"), config).expect("a configuration");
        let made = victim.offline(&["init"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        victim
    }

    /// Returns a path in the scratch directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn uid(&self) -> u32 {
        fs::metadata(self.dir.path()).expect("the scratch directory").uid()
    }

    /// Says whether there can be a second person: only root can be somebody else.
    #[must_use]
    pub fn has_second_person(&self) -> bool {
        self.uid() == 0 && group_of_nobody().is_some()
    }

    fn daemon(&self) -> Command {
        let mut command = Command::new(binaries().join("retentiond"));
        command.arg("--config").arg(self.path("config.toml")).stdin(Stdio::null());
        command
    }

    /// Runs a command of the daemon's binary while no daemon runs.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn offline(&self, arguments: &[&str]) -> Output {
        self.daemon().args(arguments).output().expect("the daemon's binary can be started")
    }

    /// Starts the daemon; what it has to say is added to its diagnostics.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self) -> u32 {
        let diagnostics: File =
            OpenOptions::new().create(true).append(true).open(self.path("diagnostics")).expect("a file");
        let child = self.daemon().arg("run").stdout(Stdio::null()).stderr(diagnostics).spawn();
        let child = child.expect("the daemon can be started");
        let id = child.id();
        self.child = Some(child);
        id
    }

    /// Says whether the daemon runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills the daemon.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn kill(&mut self) {
        assert!(self.is_running(), "the daemon ended by itself\n{}", self.diagnostics());
        let mut child = self.child.take().expect("a daemon");
        child.kill().and_then(|()| child.wait()).expect("SIGKILL");
    }

    /// Asks the daemon to stop, and returns its exit code.
    ///
    /// # Panics
    /// When there is none.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a daemon");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("its id");
        kill_process(pid, Signal::TERM).expect("SIGTERM");
        child.wait().expect("its end").code()
    }

    /// Returns what the daemon said.
    #[must_use]
    pub fn diagnostics(&self) -> String {
        fs::read(self.path("diagnostics")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Returns how many bytes its journal has.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        let segments = fs::read_dir(self.path("state/journal")).expect("a journal");
        segments.map(|entry| entry.expect("an entry").metadata().map_or(0, |found| found.len())).sum()
    }

    /// Returns the way to talk to it.
    #[must_use]
    pub fn socket(&self) -> Socket {
        let second = self.has_second_person().then(|| self.path("bin/retentionctl"));
        Socket { path: self.path("run/control.sock"), second }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill().and_then(|()| child.wait()));
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "belongs to the message of the failing test")]
            {
                eprintln!("{}", self.diagnostics());
            }
        }
    }
}

/// Talks to the daemon.
#[derive(Debug, Clone)]
pub struct Socket {
    path: PathBuf,
    second: Option<PathBuf>,
}

impl Socket {
    /// Reads something.
    ///
    /// # Errors
    /// When there was no whole answer, or a refusal.
    pub fn get(&self, path: &str) -> io::Result<Value> {
        self.ask("GET", path, "")
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When there was no whole answer, or a refusal.
    pub fn post(&self, path: &str, body: &Value) -> io::Result<Value> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: retentiond\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        // In one piece: a body that comes after the answer resets the connection, and the answer is lost with it.
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let value = serde_json::from_str(body).map_err(|_| cut())?;
        if head.split(' ').nth(1) == Some("200") { Ok(value) } else { Err(io::Error::other(body.to_owned())) }
    }

    /// Runs a command of the tool as the second person, if there can be one, and says whether it succeeded.
    #[must_use]
    pub fn second_person(&self, arguments: &[&str]) -> bool {
        let Some(tool) = &self.second else { return false };
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        command.arg(tool).arg("--socket").arg(&self.path).args(arguments).stdin(Stdio::null());
        command.output().is_ok_and(|output| output.status.success())
    }
}
