//! A mail server that says what no real one says.
//!
//! It answers each command of the product by the first [`Rule`] whose text the command holds, and otherwise as a
//! friendly server with one empty INBOX would. `{tag}` in an answer is the tag of the command.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use retention_core::mailbox::LoginForm;
use retentiond::config::{MailServer, MailTls};
use retentiond::connector::imap::{MailboxAccess, Secret};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thing that the server does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Says these bytes; `{tag}` is replaced.
    Say(Vec<u8>),
    /// Says these bytes again and again until nobody listens any more.
    Forever(Vec<u8>),
    /// Says nothing more on this connection, and keeps it open.
    Silence,
    /// Closes the connection.
    Close,
}

impl Act {
    /// Says a text; `{tag}` is replaced.
    #[must_use]
    pub fn say(text: &str) -> Self {
        Self::Say(text.as_bytes().to_vec())
    }
}

/// What is answered to a command that holds a text, in any case of letters.
#[derive(Debug, Clone)]
pub struct Rule {
    when: String,
    times: Option<u32>,
    acts: Vec<Act>,
}

impl Rule {
    /// Answers every such command so.
    #[must_use]
    pub fn when(text: &str, acts: Vec<Act>) -> Self {
        Self { when: text.to_ascii_uppercase(), times: None, acts }
    }

    /// Answers only the first so many of them so.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// The text that stands for the greeting in a [`Rule`].
pub const GREETING: &str = "<GREETING>";

/// What a friendly server says it can do.
pub const CAPABILITIES: &str =
    "IMAP4rev1 LITERAL+ SASL-IR ID NAMESPACE UIDPLUS ACL RIGHTS=texk CHILDREN SPECIAL-USE LIST-EXTENDED";

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    heard: Mutex<Vec<String>>,
    connections: Mutex<Vec<TcpStream>>,
    changed: Condvar,
    closed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The server. Dropping it ends all connections.
#[derive(Debug)]
pub struct Scripted {
    port: u16,
    shared: Arc<Shared>,
}

impl Scripted {
    /// Starts one with these rules before the friendly ones.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(rules: Vec<Rule>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        *lock(&shared.rules) = rules;
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.closed.load(Ordering::SeqCst) {
                    return;
                }
                lock(&own.connections).push(stream.try_clone().expect("a second handle of a socket"));
                let own = Arc::clone(&own);
                thread::spawn(move || {
                    // A client that went away ends the connection, which is all that there is to do.
                    let _gone = Connection { shared: own, stream: BufReader::new(stream) }.run();
                });
            }
        });
        Self { port, shared }
    }

    /// Returns the port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns how ada opens her mailbox there, on a server that the product knows by a name.
    #[must_use]
    pub fn access(&self, name: &str) -> MailboxAccess {
        let server = MailServer {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            tls: MailTls::PlainLoopback,
            ca_file: None,
            tls_name: "localhost".to_owned(),
            max_connections: 4,
            form: LoginForm::OwnPassword,
            admin: None,
            batches: None,
            doveadm: None,
        };
        MailboxAccess {
            server: Arc::new(server),
            user: "ada".to_owned(),
            form: LoginForm::OwnPassword,
            admin: String::new(),
            secret: Secret::from("secret".to_owned()),
            root: None,
        }
    }

    /// Returns every line that the product sent, without literals and without what logs in.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        lock(&self.shared.heard).clone()
    }

    /// Returns how many connections came.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.shared.connections).len()
    }

    /// Waits until a line that the product sent holds a text.
    ///
    /// # Panics
    /// When none ever does.
    pub fn until_heard(&self, text: &str) {
        let text = text.to_ascii_uppercase();
        let missing = |heard: &mut Vec<String>| !heard.iter().any(|line| line.to_ascii_uppercase().contains(&text));
        let waited = self.shared.changed.wait_timeout_while(lock(&self.shared.heard), PATIENCE, missing);
        let (heard, late) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!late.timed_out(), "{text} is never heard: {heard:?}");
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.connections).drain(..) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
    }
}

struct Connection {
    shared: Arc<Shared>,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn run(mut self) -> std::io::Result<()> {
        self.answer(GREETING, "*")?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut command = line.trim_end().to_owned();
            // The literals of a command belong to it.
            while let Some((length, waits)) = literal(&command) {
                if waits {
                    self.say(b"+ go on\r\n")?;
                }
                let mut bytes = vec![0; length];
                self.stream.read_exact(&mut bytes)?;
                let mut rest = String::new();
                self.stream.read_line(&mut rest)?;
                command.push_str(&String::from_utf8_lossy(&bytes));
                command.push_str(rest.trim_end());
            }
            let (tag, rest) = command.split_once(' ').unwrap_or((&command, ""));
            let (tag, rest) = (tag.to_owned(), rest.to_owned());
            lock(&self.shared.heard).push(rest.clone());
            self.shared.changed.notify_all();
            self.answer(&rest, &tag)?;
        }
    }

    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn answer(&mut self, command: &str, tag: &str) -> std::io::Result<()> {
        let upper = command.to_ascii_uppercase();
        let acts = {
            let mut rules = lock(&self.shared.rules);
            let rule = rules.iter_mut().find(|rule| rule.times != Some(0) && upper.contains(&rule.when));
            rule.map(|rule| {
                rule.times = rule.times.map(|times| times.saturating_sub(1));
                rule.acts.clone()
            })
        };
        let acts = acts.unwrap_or_else(|| vec![Act::say(&friendly(&upper))]);
        for act in acts {
            match act {
                Act::Say(bytes) => self.say(&with_tag(&bytes, tag))?,
                Act::Forever(bytes) => loop {
                    self.say(&bytes)?;
                },
                // Returns when the client or the test ends the connection.
                Act::Silence => {
                    self.stream.read_to_end(&mut Vec::new())?;
                }
                Act::Close => self.stream.get_ref().shutdown(Shutdown::Both)?,
            }
        }
        Ok(())
    }
}

fn with_tag(bytes: &[u8], tag: &str) -> Vec<u8> {
    const PLACE: &[u8] = b"{tag}";
    let mut said = Vec::new();
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, PLACE) {
        let (before, after) = rest.split_at(at);
        said.extend_from_slice(before);
        said.extend_from_slice(tag.as_bytes());
        rest = after.get(PLACE.len()..).unwrap_or_default();
    }
    said.extend_from_slice(rest);
    said
}

/// The length of a literal at the end of a line, and whether the client waits to be asked for it.
fn literal(line: &str) -> Option<(usize, bool)> {
    let inside = line.strip_suffix('}')?.rsplit('{').next()?;
    match inside.strip_suffix('+') {
        Some(length) => Some((length.parse().ok()?, false)),
        None => Some((inside.parse().ok()?, true)),
    }
}

/// What a friendly server with one empty INBOX answers.
fn friendly(command: &str) -> String {
    let word = command.split(' ').next().unwrap_or_default();
    let lines = match word {
        GREETING => return format!("* OK [CAPABILITY {CAPABILITIES}] ready\r\n"),
        "CAPABILITY" => format!("* CAPABILITY {CAPABILITIES}\r\n"),
        "NAMESPACE" => "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n".to_owned(),
        "LIST" => "* LIST (\\HasNoChildren) \"/\" INBOX\r\n".to_owned(),
        "SELECT" | "EXAMINE" => {
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* 0 EXISTS\r\n* 0 RECENT\r\n\
             * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] flags\r\n\
             * OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 1] next\r\n"
                .to_owned()
        }
        "LOGIN" | "AUTHENTICATE" => return format!("{{tag}} OK [CAPABILITY {CAPABILITIES}] in\r\n"),
        "MYRIGHTS" => "* MYRIGHTS INBOX lrswipkxtea\r\n".to_owned(),
        "GETACL" => "* ACL INBOX owner lrswipkxtea\r\n".to_owned(),
        "SEARCH" => "* SEARCH\r\n".to_owned(),
        "APPEND" => return "{tag} OK [APPENDUID 7 1] done\r\n".to_owned(),
        "UID" if command.starts_with("UID SEARCH") => "* SEARCH\r\n".to_owned(),
        "ID" => "* ID (\"name\" \"Scripted\")\r\n".to_owned(),
        "STATUS" => "* STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7)\r\n".to_owned(),
        "LOGOUT" => "* BYE farewell\r\n".to_owned(),
        _ => String::new(),
    };
    format!("{lines}{{tag}} OK done\r\n")
}
