//! The processes of one server: all in one process namespace, all gone with it.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use retentiond::clock::{Clock as _, WallClock};

/// How long a server may take to greet: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon the greeting is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The end of every script. The first process of a namespace takes all others with it, and it ends when the test says
/// so or is gone: then nobody is left to remove the directory.
const WATCH: &str = r#"
read -r word
kill -KILL -1
[ "$word" = keep ] || rm -rf "$DIR"
exit 0
"#;

/// A server that runs.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    says: Option<ChildStdin>,
    dir: PathBuf,
}

impl Guard {
    /// Runs a shell script as the first process of a namespace. It starts the server in the background with `$DIR` as
    /// its directory.
    pub(super) fn start(dir: &Path, script: &str) -> Self {
        let file = dir.join("run.sh");
        fs::write(&file, format!("set -e\ncd /\n{script}\nset +e\n{WATCH}")).expect("a script");
        let log = fs::File::options().create(true).append(true).open(dir.join("log/processes")).expect("a log");
        let mut child = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc", "--propagation", "private", "sh"])
            .arg(&file)
            .env("DIR", dir)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("unshare is not installed: run ./test.sh, or tests/servers.sh alone");
        let says = child.stdin.take();
        Self { child, says, dir: dir.to_owned() }
    }

    /// Waits until the server greets on a port.
    pub(super) fn until_greeting(&self, port: u16) {
        let begun = WallClock.monotonic();
        loop {
            if greets(port) {
                return;
            }
            assert!(WallClock.monotonic() - begun < PATIENCE, "the server never greets\n{}", logs(&self.dir));
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Runs a program among the processes of the server.
    pub(super) fn inside(&self, command: &[&str]) -> String {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("a server that runs");
        let first = children.split_whitespace().next().expect("a server that runs");
        let output = Command::new("nsenter")
            .args(["--target", first, "--pid", "--mount"])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter is not installed: run ./test.sh, or tests/servers.sh alone");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
        out.into_owned()
    }

    /// Kills all processes and keeps the directory.
    pub(super) fn kill(mut self) {
        if let Some(mut says) = self.says.take() {
            // A server that is gone already hears nothing.
            let _gone = says.write_all(b"keep\n");
        }
        let _reaped = self.child.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.says.take());
        let _reaped = self.child.wait();
    }
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"* OK"
}

/// Returns the end of every log of a server.
pub(super) fn logs(dir: &Path) -> String {
    /// Enough to see why, in bytes of each log.
    const SHOWN: usize = 4_000;
    let mut text = String::new();
    for entry in fs::read_dir(dir.join("log")).into_iter().flatten().flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let end =
            String::from_utf8_lossy(bytes.get(bytes.len().saturating_sub(SHOWN)..).unwrap_or_default()).into_owned();
        let _infallible = writeln!(text, "-- {}\n{end}", entry.file_name().display());
    }
    text
}
