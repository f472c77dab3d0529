//! The real programs: `retentiond` with a configuration, folders and a socket of its own, and `retentionctl` asking it.
//!
//! Nothing here waits for a time: what is waited for is looked for again and again, until it is there or a deadline has
//! passed. Then the diagnostics of the daemon are printed.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use retentiond::clock::{Clock as _, WallClock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before it counts as never coming: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(90);

/// How soon what is waited for is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// The user id of the second person, `nobody`, where the tests may take it.
pub const SECOND_UID: u32 = 65534;

/// The mapping of the CSV source.
const MAPPING: &str = r#"
schema = 1
kind = "contact"
files = ["*.csv"]
content = "delta"
id = ["Id"]
unmapped = "custom"

[mailbox]
constant = "sales@example.org"

[visibility]
constant = "private"

[[column]]
name = "Name"
field = "display_name"

[[date]]
column = "Created"
role = "created"
"#;

/// What a program said, and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// The command line, for the message of a failing test.
    pub asked: String,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The exit code.
    pub code: i32,
}

impl Said {
    /// Holds it to an exit code.
    ///
    /// # Panics
    /// When it is another one.
    #[must_use]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}{}", self.asked, self.out, self.err);
        self
    }

    /// Holds standard output or standard error to a text.
    ///
    /// # Panics
    /// When neither holds it.
    #[must_use]
    pub fn says(self, text: &str) -> Self {
        let found = self.out.contains(text) || self.err.contains(text);
        assert!(found, "{} does not say {text:?}\n{}{}", self.asked, self.out, self.err);
        self
    }

    /// Returns the one JSON document.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{}: {error}\n{}", self.asked, self.out))
    }

    /// Returns the JSON value of each line.
    ///
    /// # Panics
    /// When a line is none.
    #[must_use]
    pub fn rows(&self) -> Vec<Value> {
        let row = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}\n{line}", self.asked));
        self.out.lines().map(row).collect()
    }
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Said {
    let asked = format!("{command:?}");
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = piped.unwrap_or_else(|error| panic!("{asked}: {error}"));
    let pid = Pid::from_child(&child);
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        let _killed = kill_process(pid, Signal::KILL);
        panic!("{asked} never ends");
    };
    let output = output.expect("the output of a program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let code = output.status.code().unwrap_or(-1);
    Said { asked, out: text(output.stdout), err: text(output.stderr), code }
}

/// Returns the directory of the binaries, after cargo has looked whether they are those of the sources.
///
/// Cargo holds a lock on the directory, so tests of several processes build once. `--workspace` asks for the same
/// features of every dependency as the build of the tests did, so that nothing is built twice.
fn binaries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = std::env::current_exe().expect("the path of the test");
        let profile_dir = own.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST").to_owned();
        let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--profile", profile, "--target-dir"])
            .arg(profile_dir.parent().expect("the target directory"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .status();
        assert!(built.expect("cargo").success(), "the programs cannot be built");
        profile_dir
    })
}

/// Runs the real `retentiond` or `retentionctl` without a configuration or a socket.
#[must_use]
pub fn program(name: &str, args: &[&str]) -> Said {
    run(Command::new(binaries().join(name)).args(args))
}

/// Says whether the tests may act as a second user: then approvals are by [`Person::Second`].
#[must_use]
pub fn has_second_person() -> bool {
    rustix::process::getuid().is_root()
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// The user of the tests: in every role.
    First,
    /// [`SECOND_UID`]: an approver and nothing else.
    Second,
}

/// A temporary directory with everything that one daemon needs.
///
/// It has two sources: `crm` takes OCM exports from `drop`, `people` takes CSV files from `people`.
#[derive(Debug)]
pub struct Site {
    root: TempDir,
    uid: u32,
    socket_group: String,
    /// Whether the daemon runs as the second person.
    is_handed_over: Cell<bool>,
}

impl Site {
    /// Makes one with these policies, each its stem and its text, and an empty store.
    ///
    /// # Panics
    /// When that cannot be done.
    #[must_use]
    pub fn new(policies: &[(&str, &str)]) -> Self {
        let root = TempDir::new().expect("a directory");
        let uid = rustix::process::getuid().as_raw();
        let gid = if uid == 0 { SECOND_UID } else { rustix::process::getgid().as_raw() };
        let site = Self { root, uid, socket_group: group_of(gid), is_handed_over: Cell::new(false) };
        // The second person must reach the socket and the program, and nothing else.
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        open(site.root.path(), 0o711);
        for name in ["bin", "run", "drop", "people", "policies", "staging", "tmp"] {
            fs::create_dir(site.path(name)).expect("a directory");
        }
        open(&site.path("bin"), 0o755);
        open(&site.path("run"), 0o755);
        let (from, to) = (binaries().join("retentionctl"), site.path("bin/retentionctl"));
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).expect("a copy of the program");
        }
        site.write("mapping.toml", MAPPING);
        site.write("config.toml", &site.config());
        for (stem, text) in policies {
            site.write(&format!("policies/{stem}.toml"), text);
        }
        let _made = site.retentiond(&["init"]).ends(0).says("an empty store was made");
        site
    }

    /// Returns the text of its first configuration.
    #[must_use]
    pub fn config(&self) -> String {
        let (me, group) = (self.uid, &self.socket_group);
        let approvers = if has_second_person() { format!("{me}\", \"uid:{SECOND_UID}") } else { me.to_string() };
        format!(
            "[store]\nstate_dir = \"state\"\nexports_dir = \"exports\"\nroot_key = {{ file = \"root.key\" }}\n\
             [control]\nsocket = \"run/control.sock\"\nsocket_group = \"{group}\"\n\
             [control.roles]\nauditor = [\"uid:{me}\"]\noperator = [\"uid:{me}\"]\n\
             approver = [\"uid:{approvers}\"]\nadmin = [\"uid:{me}\"]\n\
             [policies]\ndir = \"policies\"\n\
             [[source]]\nname = \"crm\"\nkind = \"ocm\"\nzone = \"UTC\"\ndrop_dir = \"drop\"\n\
             [[source]]\nname = \"people\"\nkind = \"csv\"\ndrop_dir = \"people\"\nmapping = \"mapping.toml\"\n\
             [diagnostics]\ntarget = \"stderr\"\n"
        )
    }

    /// Returns the user id of the first person.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns a path inside.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Gives everything to the second person, as whom the daemon runs from now on: one who may not read everything.
    ///
    /// # Panics
    /// When there is no second person.
    pub fn hand_over(&self) {
        assert!(has_second_person(), "only root can be somebody else");
        let owner = format!("{SECOND_UID}:{SECOND_UID}");
        let given = Command::new("chown").arg("-R").arg(owner).arg(self.root.path()).status();
        assert!(given.is_ok_and(|status| status.success()), "the site cannot be given away");
        // As a copy: the one that was linked is not theirs to run.
        let program = self.path("bin/retentiond");
        fs::copy(binaries().join("retentiond"), &program).expect("a copy of the program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        self.is_handed_over.set(true);
    }

    /// Writes a file, whole or not at all, as an editor does.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.path("new.tmp");
        fs::write(&new, text).expect("a file");
        fs::rename(new, self.path(name)).expect("a rename");
    }

    /// Puts a CSV delivery with these rows (id, name, day of creation) into the drop folder `people`.
    pub fn drop_people(&self, file: &str, rows: &[(String, &str, &str)]) {
        let lines = rows.iter().map(|(id, name, created)| format!("{id},{name},{created}\n")).collect::<String>();
        self.write(&format!("people/{file}.csv"), &format!("Id,Name,Created\n{lines}"));
    }

    /// Puts the sample exports of Outlook Customer Manager into the drop folder `drop`.
    ///
    /// # Panics
    /// When they cannot be copied.
    pub fn drop_samples(&self) {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ocm");
        let mut samples: Vec<_> =
            fs::read_dir(samples).expect("the samples").map(|entry| entry.expect("an entry")).collect();
        samples.sort_by_key(fs::DirEntry::file_name);
        for sample in samples {
            let staged = self.path("staging").join(sample.file_name());
            fs::create_dir(&staged).expect("a directory");
            for file in fs::read_dir(sample.path()).expect("a sample").map(|entry| entry.expect("an entry")) {
                fs::copy(file.path(), staged.join(file.file_name())).expect("a copy");
            }
            fs::rename(&staged, self.path("drop").join(sample.file_name())).expect("a rename");
        }
    }

    /// Runs `retentiond` with the configuration to its end: the forms for a stopped daemon.
    #[must_use]
    pub fn retentiond(&self, args: &[&str]) -> Said {
        run(self.daemon_command().args(args))
    }

    fn daemon_command(&self) -> Command {
        let mut command = if self.is_handed_over.get() {
            let mut command = Command::new(self.path("bin/retentiond"));
            command.uid(SECOND_UID).gid(SECOND_UID);
            command
        } else {
            Command::new(binaries().join("retentiond"))
        };
        command.arg("--config").arg(self.path("config.toml")).env("TMPDIR", self.path("tmp")).current_dir("/");
        command
    }

    /// Asks as the first person.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> Said {
        self.ctl_as(Person::First, args)
    }

    /// Asks as the first person what goes on until it is ended.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn follow(&self, args: &[&str]) -> Following {
        let dir = TempDir::new().expect("a directory");
        let file = |name| fs::File::create_new(dir.path().join(name)).expect("a file");
        let mut command = Command::new(self.path("bin/retentionctl"));
        command.arg("--socket").arg(self.path("run/control.sock")).arg("--utc").args(args).current_dir("/");
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        let asked = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("{asked}: {error}"));
        Following { asked, dir, child }
    }

    /// Asks as somebody.
    ///
    /// # Panics
    /// When there is no second person.
    #[must_use]
    pub fn ctl_as(&self, person: Person, args: &[&str]) -> Said {
        let mut command = Command::new(self.path("bin/retentionctl"));
        command.arg("--socket").arg(self.path("run/control.sock")).arg("--utc").args(args).current_dir("/");
        if person == Person::Second {
            assert!(has_second_person(), "only root can be somebody else");
            command.uid(SECOND_UID).gid(SECOND_UID);
        }
        run(&mut command)
    }

    /// Asks for one JSON document; the command must succeed.
    #[must_use]
    pub fn json(&self, args: &[&str]) -> Value {
        self.ctl(&[args, &["--output", "json"]].concat()).ends(0).json()
    }

    /// Asks for a list; the command must succeed.
    #[must_use]
    pub fn rows(&self, args: &[&str]) -> Vec<Value> {
        self.ctl(&[args, &["--output", "jsonl"]].concat()).ends(0).rows()
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(&self) -> Daemon<'_> {
        let daemon = self.spawn();
        daemon.until("the daemon answers", || (self.ctl(&["status"]).code != 69).then_some(()));
        daemon
    }

    /// Starts the daemon and waits for nothing.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn(&self) -> Daemon<'_> {
        let log = fs::File::options().create(true).append(true).open(self.path("diagnostics.txt")).expect("a file");
        let mut command = self.daemon_command();
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Daemon { site: self, child: command.spawn().expect("the daemon") }
    }

    /// Returns the diagnostics of every daemon that ran here.
    #[must_use]
    pub fn diagnostics(&self) -> String {
        fs::read_to_string(self.path("diagnostics.txt")).unwrap_or_default()
    }
}

/// A program that goes on saying things. Dropping it kills it.
#[derive(Debug)]
pub struct Following {
    asked: String,
    dir: TempDir,
    child: Child,
}

impl Following {
    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).expect("what it said")
    }

    /// Returns the JSON value of each line that it has said so far.
    ///
    /// # Panics
    /// When a line is none.
    #[must_use]
    pub fn rows(&self) -> Vec<Value> {
        let out = self.file("out");
        let whole = out.rfind('\n').map_or("", |end| out.get(..end).unwrap_or_default());
        let row = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}\n{line}", self.asked));
        whole.lines().map(row).collect()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the program is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a program that runs");
    }

    /// Waits for the end, and returns what it said.
    ///
    /// # Panics
    /// When it never ends.
    #[must_use]
    pub fn ended(mut self) -> Said {
        let begun = WallClock.monotonic();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(WallClock.monotonic() - begun < PATIENCE, "{} never ends", self.asked);
            std::thread::park_timeout(LOOK_AGAIN);
        };
        let code = status.code().unwrap_or(-1);
        Said { asked: self.asked.clone(), out: self.file("out"), err: self.file("err"), code }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A daemon that runs. Dropping it kills it; [`Daemon::stop`] ends it in good order.
#[derive(Debug)]
pub struct Daemon<'a> {
    site: &'a Site,
    child: Child,
}

impl Daemon<'_> {
    /// Looks again and again until there is something.
    ///
    /// # Panics
    /// When it never comes.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = WallClock.monotonic();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(WallClock.monotonic() - begun < PATIENCE, "gave up waiting: {what}");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Returns the number of its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the daemon is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a daemon that runs");
    }

    /// Waits for the end and returns the exit code; -1 when a signal ended it.
    ///
    /// # Panics
    /// When it never ends.
    #[must_use]
    pub fn ended(mut self) -> i32 {
        let begun = WallClock.monotonic();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().unwrap_or(-1);
            }
            assert!(WallClock.monotonic() - begun < PATIENCE, "the daemon never ends");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Ends it in good order.
    ///
    /// # Panics
    /// When its exit code is not 0.
    pub fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended(), 0, "the daemon did not stop in good order");
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "belongs to the message of the failing test")]
            {
                eprintln!("diagnostics of the daemon:\n{}", self.site.diagnostics());
            }
        }
    }
}

/// Returns the name of a group, as the configuration wants it.
fn group_of(gid: u32) -> String {
    let groups = fs::read_to_string("/etc/group").expect("the groups of this machine");
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| panic!("the group {gid} has no name on this machine"))
}
