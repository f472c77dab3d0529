//! A minimal IMAP client of the harness, written apart from the product's: blocking, on plain loopback, without
//! opinions.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// The server said farewell, or the connection ended.
    Gone,
}

/// One line of an answer, with the literals that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text; each literal in it is only its `{length}`.
    pub text: String,
    /// The literals, in their order.
    pub literals: Vec<Vec<u8>>,
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub status: Status,
    /// The line that ended it, without its tag.
    pub text: String,
    /// The lines before that.
    pub lines: Vec<Line>,
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: BufReader<TcpStream>,
    tag: u32,
    /// What the server said first.
    pub greeting: String,
}

impl Raw {
    /// Connects to a port of loopback and reads the greeting.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a server that listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option of a socket");
        let mut raw = Self { stream: BufReader::new(stream), tag: 0, greeting: String::new() };
        raw.greeting = raw.line().expect("a greeting").text;
        raw
    }

    /// Logs in with a password.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn login(&mut self, name: &str, password: &str) {
        self.ok(&format!("LOGIN {} {}", quoted(name), quoted(password)));
    }

    /// Sends a command without its end of line, and reads the answer. After the connection ended, that is
    /// [`Status::Gone`].
    pub fn ask(&mut self, command: &str) -> Answer {
        let tag = self.send(command);
        self.answer(&tag)
    }

    /// Sends a command that the server must accept, and returns the lines.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn ok(&mut self, command: &str) -> Vec<Line> {
        let answer = self.ask(command);
        assert_eq!(answer.status, Status::Ok, "{command}: {answer:?}");
        answer.lines
    }

    /// Sends a command and does not wait for the answer; returns its tag.
    pub fn send(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("r{}", self.tag);
        // A connection that is gone is seen by the reader.
        let _gone = self.stream.get_mut().write_all(format!("{tag} {command}\r\n").as_bytes());
        tag
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _gone = self.stream.get_mut().write_all(bytes);
    }

    /// Reads up to the end of the command of a tag.
    pub fn answer(&mut self, tag: &str) -> Answer {
        let mut lines = Vec::new();
        loop {
            let Some(line) = self.line() else {
                return Answer { status: Status::Gone, text: String::new(), lines };
            };
            let ended = line.text.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' '));
            let Some(text) = ended else {
                lines.push(line);
                continue;
            };
            let status = match text.split(' ').next() {
                Some("OK") => Status::Ok,
                Some("NO") => Status::No,
                _ => Status::Bad,
            };
            return Answer { status, text: text.to_owned(), lines };
        }
    }

    /// Reads one line with its literals; nothing when the connection ended.
    pub fn line(&mut self) -> Option<Line> {
        let mut line = Line { text: String::new(), literals: Vec::new() };
        loop {
            let mut bytes = Vec::new();
            self.stream.read_until(b'\n', &mut bytes).ok()?;
            let text = bytes.strip_suffix(b"\r\n")?;
            line.text.push_str(&String::from_utf8_lossy(text));
            let Some(length) = literal_length(text) else { return Some(line) };
            let mut literal = vec![0; length];
            self.stream.read_exact(&mut literal).ok()?;
            line.literals.push(literal);
        }
    }

    /// Appends a message and returns its UID. `date` is as in `01-Jan-2015 10:00:00 +0000`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn append(&mut self, folder: &str, flags: &[&str], date: &str, message: &[u8]) -> u32 {
        let answer = self.try_append(folder, flags, date, message);
        assert_eq!(answer.status, Status::Ok, "APPEND {folder}: {answer:?}");
        let uid = answer.text.split("[APPENDUID ").nth(1).and_then(|rest| rest.split([' ', ']']).nth(1)?.parse().ok());
        uid.unwrap_or_else(|| panic!("APPEND {folder} without a UID: {answer:?}"))
    }

    /// Appends a message, whatever the server says to it.
    pub fn try_append(&mut self, folder: &str, flags: &[&str], date: &str, message: &[u8]) -> Answer {
        let head = format!("APPEND {} ({}) \"{date}\" {{{}}}", quoted(folder), flags.join(" "), message.len());
        let tag = self.send(&head);
        // The synchronising form: Courier knows no other.
        let go = self.line();
        if go.as_ref().is_none_or(|line| !line.text.starts_with('+')) {
            let text = go.map_or_else(String::new, |line| line.text);
            let refused = text.strip_prefix(&format!("{tag} ")).map(str::to_owned);
            let status = if refused.is_some() { Status::No } else { Status::Gone };
            return Answer { status, text: refused.unwrap_or(text), lines: Vec::new() };
        }
        self.send_bytes(message);
        self.send_bytes(b"\r\n");
        self.answer(&tag)
    }

    /// Returns the names of all folders, as the server writes them; those that cannot be opened are left out.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn folders(&mut self) -> Vec<String> {
        let lines = self.ok("LIST \"\" \"*\"");
        let opened = lines.iter().filter(|line| line.text.starts_with("* LIST ") && !line.text.contains("\\Noselect"));
        opened.map(folder_of).collect()
    }

    /// Opens a folder and returns its UIDVALIDITY.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn select(&mut self, folder: &str) -> u32 {
        uid_validity(&self.ok(&format!("SELECT {}", quoted(folder))))
    }

    /// Opens a folder to look at it only, and returns its UIDVALIDITY.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn examine(&mut self, folder: &str) -> u32 {
        uid_validity(&self.ok(&format!("EXAMINE {}", quoted(folder))))
    }
}

fn uid_validity(lines: &[Line]) -> u32 {
    let found = lines.iter().find_map(|line| line.text.split("[UIDVALIDITY ").nth(1)?.split(']').next()?.parse().ok());
    found.expect("a UIDVALIDITY")
}

/// Returns the name at the end of a line of LIST.
fn folder_of(line: &Line) -> String {
    if let Some(name) = line.literals.last() {
        return String::from_utf8_lossy(name).into_owned();
    }
    // `* LIST (attributes) "/" name`
    let rest = line.text.split_once(") ").map_or("", |(_, rest)| rest);
    let name = rest.split_once(' ').map_or("", |(_, name)| name);
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(name) => name.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => name.to_owned(),
    }
}

/// Returns the length of a literal that follows a line.
fn literal_length(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?.rsplit(|byte| *byte == b'{').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Writes a quoted string.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        let _infallible = quoted.write_char(letter);
    }
    quoted + "\""
}
