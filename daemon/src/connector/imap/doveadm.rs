//! Dovecot's HTTP interface: what IMAP has no command for. Sessions are ended, and caches rewritten.
//!
//! One small request on a connection of its own, with the deadlines and bounds of any other connection to a server.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Secret;
use super::error::{MailError, RETRY_SOON};
use super::stream::Stream;
use super::tls;
use crate::clock::{Clock, WallClock};
use crate::config::{self, MailServer, SecretPlace};
use crate::connector::outcome::{Refusal, Retry};

/// Reads a secret from its place.
pub type Keys = Arc<dyn Fn(&SecretPlace) -> Result<Secret, Refusal> + Send + Sync>;

/// The largest answer that is read, in bytes: a list of every session of one user.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What doveadm says when nothing matched: of a kick, that nobody is logged in.
const NOT_FOUND: u64 = 68;

/// The interface of one server.
pub(super) struct Doveadm {
    host: String,
    port: u16,
    /// Host and port, as the URL has them.
    authority: String,
    path: String,
    is_tls: bool,
    ca_file: Option<std::path::PathBuf>,
    key: Secret,
    clock: Arc<dyn Clock>,
}

/// How doveadm answered.
enum Answer {
    Done(Value),
    Exit(u64),
}

const FAILED: MailError = MailError::refused("mail-doveadm", Retry::Operator);

fn refusal(error: MailError) -> Refusal {
    match error {
        MailError::Refused(refusal) => refusal,
        // Everything asked for here may be asked for again.
        MailError::Unknown(_) => Refusal { code: "mail-doveadm-unreachable", retry: Retry::After(RETRY_SOON) },
    }
}

impl Doveadm {
    /// Makes ready to ask; nothing is connected yet.
    pub(super) fn of(place: &config::Doveadm, server: &MailServer, keys: &Keys) -> Result<Self, Refusal> {
        let key = keys(&place.key)?;
        let (is_tls, rest) = match place.url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(refusal(FAILED)),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let usual = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an address in brackets are its own.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| refusal(FAILED))?),
            _ => (authority, usual),
        };
        let is_sendable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !is_sendable(authority) || !is_sendable(path) {
            return Err(refusal(FAILED));
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_owned(),
            path: if path.is_empty() { "/doveadm/v1".to_owned() } else { path.to_owned() },
            is_tls,
            ca_file: place.ca_file.clone().or_else(|| server.ca_file.clone()),
            key,
            clock: Arc::new(WallClock),
        })
    }

    /// Says whether a mask with this name means one user and no other.
    pub(super) fn can_name(user: &str) -> bool {
        !user.is_empty() && !user.contains(['*', '?', '%', '\\']) && !user.chars().any(char::is_control)
    }

    /// Ends every session of a user, and returns whether none was seen any more afterwards.
    pub(super) fn kick(&mut self, user: &str) -> Result<bool, Refusal> {
        if !Self::can_name(user) {
            return Err(Refusal { code: "mail-name-unsafe", retry: Retry::Never });
        }
        match self.ask("kick", &json!({ "mask": [user] })).map_err(refusal)? {
            Answer::Done(_) | Answer::Exit(NOT_FOUND) => {}
            Answer::Exit(_) => return Err(refusal(FAILED)),
        }
        match self.ask("who", &json!({ "mask": [user] })).map_err(refusal)? {
            Answer::Done(Value::Array(sessions)) => Ok(sessions.is_empty()),
            Answer::Exit(NOT_FOUND) => Ok(true),
            Answer::Done(_) | Answer::Exit(_) => Err(refusal(FAILED)),
        }
    }

    /// Rewrites the cache of a folder without what was expunged.
    pub(super) fn purge_cache(&mut self, user: &str, folder: &str) -> Result<(), Refusal> {
        // A mask here too; a folder whose name has one of these is cleaned together with others, which does no harm.
        match self.ask("mailboxCachePurge", &json!({ "user": user, "mailbox": [folder] })).map_err(refusal)? {
            Answer::Done(_) => Ok(()),
            Answer::Exit(_) => Err(refusal(FAILED)),
        }
    }

    /// Rewrites the storage of a user without what was expunged, where it keeps many messages in one file (mdbox); nothing
    /// elsewhere. What takes longer than an answer may is done to its end, and the next time there is little left to do.
    pub(super) fn purge_storage(&mut self, user: &str) -> Result<(), Refusal> {
        match self.ask("purge", &json!({ "user": user })).map_err(refusal)? {
            Answer::Done(_) => Ok(()),
            Answer::Exit(_) => Err(refusal(FAILED)),
        }
    }

    fn ask(&self, command: &str, parameters: &Value) -> Result<Answer, MailError> {
        let body = json!([[command, parameters, "r"]]).to_string();
        let mut stream = Stream::connect(&self.host, self.port, Arc::clone(&self.clock))?;
        if self.is_tls {
            stream.secure(tls::config(self.ca_file.as_deref())?, &self.host)?;
        } else if !stream.is_loopback() {
            return Err(MailError::refused("mail-tls-required", Retry::Operator));
        }
        stream.command_begins();
        let key = Zeroizing::new(STANDARD.encode(self.key.reveal()));
        let head = Zeroizing::new(format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: X-Dovecot-API {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.path,
            self.authority,
            key.as_str(),
            body.len()
        ));
        stream.write(head.as_bytes())?;
        stream.write(body.as_bytes())?;
        stream.flush()?;
        let mut answer = Vec::new();
        let mut part = vec![0; 16 << 10];
        loop {
            match stream.read(&mut part) {
                Ok(read) => answer.extend_from_slice(part.get(..read).unwrap_or_default()),
                Err(MailError::Unknown(cause)) if cause.code == "mail-closed" => break,
                Err(error) => return Err(error),
            }
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(FAILED);
            }
            if is_whole(&answer) {
                break;
            }
        }
        read(&answer)
    }
}

/// Splits an answer into its head and its body.
fn split(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    Some((std::str::from_utf8(answer.get(..end)?).ok()?, answer.get(end + 4..)?))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find_map(|(known, value)| known.trim().eq_ignore_ascii_case(name).then(|| value.trim()))
}

fn is_chunked(head: &str) -> bool {
    header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
}

fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = split(answer) else { return false };
    if is_chunked(head) {
        return unchunked(body).is_some();
    }
    let length = header(head, "content-length").and_then(|length| length.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

/// Joins the chunks of a body (RFC 9112, 7.1); `None` while the last is missing.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = memchr::memmem::find(body, b"\r\n")?;
        let size = std::str::from_utf8(body.get(..end)?).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        let from = end.checked_add(2)?;
        if size == 0 {
            return Some(whole);
        }
        let to = from.checked_add(size)?;
        whole.extend_from_slice(body.get(from..to)?);
        body = body.get(to.checked_add(2)?..)?;
    }
}

fn read(answer: &[u8]) -> Result<Answer, MailError> {
    let (head, body) = split(answer).ok_or(FAILED)?;
    match head.split(' ').nth(1) {
        Some("200") => {}
        Some("401" | "403") => return Err(MailError::refused("mail-doveadm-key", Retry::Operator)),
        _ => return Err(FAILED),
    }
    let body = if is_chunked(head) { unchunked(body).ok_or(FAILED)? } else { body.to_vec() };
    let body: Value = serde_json::from_slice(&body).map_err(|_| FAILED)?;
    let said = body.get(0).ok_or(FAILED)?;
    match said.get(0).and_then(Value::as_str) {
        Some("doveadmResponse") => said.get(1).cloned().map(Answer::Done).ok_or(FAILED),
        Some("error") => {
            let code = said.get(1).and_then(|error| error.get("exitCode")).and_then(Value::as_u64);
            code.map(Answer::Exit).ok_or(FAILED)
        }
        _ => Err(FAILED),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_read_in_one_piece_and_in_chunks() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n[[\"doveadmResponse\",[{}],\"r\"]]\n";
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n11\r\n[[\"doveadmRespons\r\nd\r\ne\",[{}],\"r\"]]\r\n0\r\n\r\n";
        for bytes in [&plain[..], chunked] {
            let first = (1..=bytes.len()).find(|end| is_whole(&bytes[..*end])).unwrap();
            assert!(first + 4 >= bytes.len(), "{first}");
            assert!(matches!(read(bytes), Ok(Answer::Done(Value::Array(rows))) if rows.len() == 1));
        }
        let error = b"HTTP/1.1 200 OK\r\n\r\n[[\"error\",{\"type\":\"exitCode\",\"exitCode\":68},\"r\"]]";
        assert!(matches!(read(error), Ok(Answer::Exit(NOT_FOUND))));
        let code = |bytes: &[u8]| read(bytes).err().map(|error| error.code());
        assert_eq!(code(b"HTTP/1.1 401 no\r\n\r\n"), Some("mail-doveadm-key"));
        for bad in
            [&b""[..], b"HTTP/1.1 200 OK\r\n\r\n[]", b"HTTP/1.1 200 OK\r\n\r\n[[\"x\"]]", b"HTTP/1.1 500 x\r\n\r\n"]
        {
            assert_eq!(code(bad), Some("mail-doveadm"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            for bytes in [bytes.clone(), [head, bytes.as_slice()].concat()] {
                let _read = (is_whole(&bytes), read(&bytes).is_ok());
            }
        }
    }
}
