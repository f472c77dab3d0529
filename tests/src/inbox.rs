//! Servers that take what people are told, on loopback: the `aiosmtpd` of the distribution and the web server of
//! Python, with TLS as they are told.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::servers::tls;

/// How a connection to it is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// TLS from the first byte; `retentiond` logs in with `right`.
    Implicit,
    /// `STARTTLS` before anything else; `retentiond` logs in with `right`.
    StartTls,
    /// Neither TLS nor a login.
    Plain,
    /// A web server with TLS.
    Https,
}

/// The server. It ends when this is dropped, and with the test.
pub struct Inbox {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Inbox {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(form: Form) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        tls::write(dir.path());
        let program = dir.path().join("server.py");
        let smtp = include_str!("inbox/smtp.py");
        let (script, word) = match form {
            Form::Implicit => (smtp, "implicit"),
            Form::StartTls => (smtp, "starttls"),
            Form::Plain => (smtp, "plain"),
            Form::Https => (include_str!("inbox/https.py"), ""),
        };
        fs::write(&program, script).expect("a script");
        // The interpreter of the distribution, which finds its packages.
        let mut child = Command::new("/usr/bin/python3")
            .arg(program)
            .arg(dir.path())
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is not installed: run ./test.sh, or tests/servers.sh alone");
        let mut line = String::new();
        let said = BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line);
        said.expect("the first line of its output");
        let port = line.trim().parse().expect("aiosmtpd is not installed: run ./test.sh, or tests/servers.sh alone");
        Self { child, port, dir }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file of its certificate authority.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// What it took, the oldest first: whom each message went to, or the path of the URL, and the message.
    ///
    /// # Panics
    /// When a message is not text.
    #[must_use]
    pub fn taken(&self) -> Vec<(String, String)> {
        let message = |number: usize| read(&self.dir.path().join(format!("{number}.eml")));
        (1..).map_while(message).collect()
    }
}

fn read(path: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(path).ok()?;
    let (to, message) = text.split_once("\r\n").expect("a first line");
    Some((to.trim_start_matches("X-To: ").to_owned(), message.replace("\r\n", "\n")))
}

impl Drop for Inbox {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
