//! One connection: commands go out under tags, answers come in, bodies stream through.

use std::io::Read;

use zeroize::Zeroizing;

use super::answer::{self, Code, Status, Untagged};
use super::command::Command;
use super::error::{MailError, RETRY_SOON};
use super::limits::{
    ANSWER_BYTES_MAX, BODY_BYTES_MAX, HEARD_BYTES_MAX, LINE_BYTES_MAX, LITERAL_HELD_BYTES_MAX, PIPELINE_BYTES_MAX,
    PIPELINE_MAX, UNTAGGED_MAX,
};
use super::stream::Stream;
use super::uid::Uid;
use super::value::{self, STREAMED};
use crate::connector::outcome::Retry;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Hears what a server says before it answers a command.
pub(super) trait Listener {
    /// Says whether it keeps what it hears: then that is bounded over all answers.
    fn keeps(&self) -> bool {
        false
    }

    /// Hears an answer without a tag.
    fn untagged(&mut self, answer: Untagged) -> Result<(), MailError>;

    /// Hears that a whole message follows. Its UID is `None` when the server tells it only afterwards.
    fn body_begins(&mut self, _uid: Option<Uid>, _bytes: u64) -> Result<(), MailError> {
        Err(MailError::unknown("mail-too-much"))
    }

    /// Hears the next bytes of the message.
    fn body_chunk(&mut self, _bytes: &[u8]) -> Result<(), MailError> {
        Ok(())
    }
}

impl Listener for Vec<Untagged> {
    fn keeps(&self) -> bool {
        true
    }

    fn untagged(&mut self, answer: Untagged) -> Result<(), MailError> {
        self.push(answer);
        Ok(())
    }
}

/// One connection to one server.
pub(super) struct Wire {
    stream: Stream,
    /// What was received; nobody has read yet what lies from `at` to `end`.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    tags: u32,
    /// Set once an answer was lost: what comes later would belong to another command.
    broken: bool,
    said_bye: bool,
    /// The bytes of the last answer, and of those that are kept since a command was sent.
    answer_bytes: usize,
    kept_bytes: usize,
    /// Whether literals may follow at once (RFC 7888).
    pub(super) literal_plus: bool,
}

/// What came in.
enum Incoming {
    Untagged(Untagged),
    Continue,
    Tagged(u32, Status, Option<Code>),
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            at: 0,
            end: 0,
            tags: 0,
            broken: false,
            said_bye: false,
            answer_bytes: 0,
            kept_bytes: 0,
            literal_plus: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Whether the server sent something that nobody has read yet.
    pub(super) fn has_unread(&self) -> bool {
        self.at < self.end
    }

    /// Reads the greeting, the first line.
    pub(super) fn greeting(&mut self) -> Result<(Status, Option<Code>, Vec<u8>), MailError> {
        const GREETING: MailError = MailError::refused("mail-greeting", Retry::Operator);
        let mut line = Vec::new();
        self.line(&mut line).map_err(|error| match error {
            // A server that is full lets go without a word.
            MailError::Unknown(cause) if cause.code == "mail-closed" => {
                MailError::refused("mail-busy-greeting", Retry::After(RETRY_SOON))
            }
            _ => GREETING,
        })?;
        let rest = line.strip_prefix(b"* ").ok_or(GREETING)?;
        let (status, code) = answer::status(rest).ok().flatten().ok_or(GREETING)?;
        Ok((status, code, rest.to_vec()))
    }

    /// Runs a command and returns the code of its `OK`.
    pub(super) fn run(&mut self, command: &Command, listener: &mut dyn Listener) -> Result<Option<Code>, MailError> {
        let tag = self.send(command, listener)?;
        self.finish(tag, listener)
    }

    /// Runs a command and returns what was said meanwhile.
    pub(super) fn ask(&mut self, command: &Command) -> Result<(Option<Code>, Vec<Untagged>), MailError> {
        let mut heard = Vec::new();
        let code = self.run(command, &mut heard)?;
        Ok((code, heard))
    }

    /// Runs commands, as many as possible at once, and returns how each ended, in their order.
    pub(super) fn run_all(
        &mut self,
        commands: &[Command],
        listener: &mut dyn Listener,
    ) -> Vec<Result<Option<Code>, MailError>> {
        let mut ends = Vec::with_capacity(commands.len());
        self.kept_bytes = 0;
        let mut rest = commands;
        while !rest.is_empty() {
            let mut bytes = 0;
            let at_once = rest.iter().take(PIPELINE_MAX).take_while(|command| {
                bytes += command.bytes();
                bytes <= PIPELINE_BYTES_MAX && (self.literal_plus || command.is_one_line())
            });
            let (window, later) = rest.split_at(at_once.count().max(1));
            rest = later;
            let tags: Vec<Result<u32, MailError>> =
                window.iter().map(|command| self.write_command(command, listener)).collect();
            if let Err(error) = self.stream.flush() {
                self.broken = true;
                ends.extend(window.iter().map(|_| Err(error)));
                continue;
            }
            for tag in tags {
                // Each has its own time, from when it is waited for.
                self.stream.command_begins();
                ends.push(tag.and_then(|tag| self.finish(tag, listener)));
            }
        }
        ends
    }

    /// Runs a command whose last string comes from a reader, as exactly `bytes` bytes.
    pub(super) fn run_with_content(
        &mut self,
        command: &Command,
        bytes: u64,
        content: &mut dyn Read,
        listener: &mut dyn Listener,
    ) -> Result<Option<Code>, MailError> {
        self.usable()?;
        self.kept_bytes = 0;
        self.stream.command_begins();
        let tag = self.write_line_of(command, listener)?;
        // The server is asked first: it may say that it has no room before it is sent 100 MB.
        self.write(format!(" {{{bytes}}}\r\n").as_bytes())?;
        self.flush()?;
        if let Some(end) = self.wait_for_continue(tag, listener)? {
            return end;
        }
        let mut left = bytes;
        let mut chunk = vec![0; READ_BYTES];
        while left > 0 {
            let room = usize::try_from(left.min(READ_BYTES as u64)).unwrap_or(READ_BYTES);
            let read = match content.read(chunk.get_mut(..room).unwrap_or_default()) {
                Ok(0) | Err(_) => {
                    // A literal that does not end is no message; the server forgets it with the connection.
                    self.broken = true;
                    return Err(MailError::unknown("mail-content-ended"));
                }
                Ok(read) => read,
            };
            self.write(chunk.get(..read).unwrap_or_default())?;
            left = left.saturating_sub(read as u64);
        }
        self.write(b"\r\n")?;
        self.flush()?;
        self.finish(tag, listener)
    }

    /// Runs `AUTHENTICATE`: answers what the server asks for with what `answers` yields, and breaks off when it ends.
    pub(super) fn authenticate(
        &mut self,
        command: &Command,
        mut answers: impl FnMut() -> Option<Zeroizing<Vec<u8>>>,
        listener: &mut dyn Listener,
    ) -> Result<Option<Code>, MailError> {
        let tag = self.send(command, listener)?;
        for _ in 0..UNTAGGED_MAX {
            match self.next(listener)? {
                Incoming::Untagged(answer) => self.heard(answer, listener)?,
                Incoming::Continue => {
                    match answers() {
                        Some(answer) => self.write(&answer)?,
                        None => self.write(b"*")?,
                    }
                    self.write(b"\r\n")?;
                    self.flush()?;
                }
                Incoming::Tagged(found, status, code) => return self.ended(found == tag, status, code),
            }
        }
        Err(self.lost("mail-too-much"))
    }

    fn usable(&self) -> Result<(), MailError> {
        if self.broken { Err(MailError::refused("mail-closed", Retry::After(RETRY_SOON))) } else { Ok(()) }
    }

    fn send(&mut self, command: &Command, listener: &mut dyn Listener) -> Result<u32, MailError> {
        self.kept_bytes = 0;
        let tag = self.write_command(command, listener)?;
        self.flush()?;
        Ok(tag)
    }

    fn write_command(&mut self, command: &Command, listener: &mut dyn Listener) -> Result<u32, MailError> {
        self.usable()?;
        self.stream.command_begins();
        let tag = self.write_line_of(command, listener)?;
        self.write(b"\r\n")?;
        Ok(tag)
    }

    /// Writes a command without the end of its line.
    fn write_line_of(&mut self, command: &Command, listener: &mut dyn Listener) -> Result<u32, MailError> {
        let (parts, end) = command.parts().ok_or(MailError::refused("mail-text-unsendable", Retry::Never))?;
        self.tags = self.tags.wrapping_add(1);
        let tag = self.tags;
        self.write(format!("r{tag} ").as_bytes())?;
        for part in parts {
            self.write(&part.line)?;
            if self.literal_plus {
                self.write(format!("{{{}+}}\r\n", part.literal.len()).as_bytes())?;
            } else {
                self.write(format!("{{{}}}\r\n", part.literal.len()).as_bytes())?;
                self.flush()?;
                if let Some(end) = self.wait_for_continue(tag, listener)? {
                    // An `OK` before the command was whole is no answer to it.
                    return end.and_then(|_| Err(self.lost("mail-answer-malformed")));
                }
            }
            self.write(&part.literal)?;
        }
        self.write(end)?;
        Ok(tag)
    }

    /// Waits until the server asks for the literal; `Some` when it ended the command instead.
    fn wait_for_continue(
        &mut self,
        tag: u32,
        listener: &mut dyn Listener,
    ) -> Result<Option<Result<Option<Code>, MailError>>, MailError> {
        for _ in 0..UNTAGGED_MAX {
            match self.next(listener)? {
                Incoming::Untagged(answer) => self.heard(answer, listener)?,
                Incoming::Continue => return Ok(None),
                Incoming::Tagged(found, status, code) => return Ok(Some(self.ended(found == tag, status, code))),
            }
        }
        Err(self.lost("mail-too-much"))
    }

    fn finish(&mut self, tag: u32, listener: &mut dyn Listener) -> Result<Option<Code>, MailError> {
        if self.broken {
            return Err(MailError::unknown("mail-closed"));
        }
        for _ in 0..UNTAGGED_MAX {
            match self.next(listener)? {
                Incoming::Untagged(answer) => self.heard(answer, listener)?,
                // Nothing was left to be asked for.
                Incoming::Continue => return Err(self.lost("mail-answer-malformed")),
                Incoming::Tagged(found, status, code) => return self.ended(found == tag, status, code),
            }
        }
        Err(self.lost("mail-too-much"))
    }

    fn ended(&mut self, is_ours: bool, status: Status, code: Option<Code>) -> Result<Option<Code>, MailError> {
        if !is_ours {
            return Err(self.lost("mail-answer-malformed"));
        }
        match status {
            Status::Ok => Ok(code),
            // Said beside what was done: the others of the set are flagged (RFC 7162, 3.1.3; RFC 2180, 4.2).
            Status::No if matches!(code, Some(Code::Modified(_) | Code::Plain("EXPUNGEISSUED"))) => {
                Err(MailError::unknown("mail-message-gone-meanwhile"))
            }
            Status::No => Err(super::error::no(code.as_ref())),
            Status::Bad => Err(MailError::refused("mail-bad-command", Retry::Operator)),
            Status::Preauth | Status::Bye => Err(self.lost("mail-answer-malformed")),
        }
    }

    fn heard(&mut self, answer: Untagged, listener: &mut dyn Listener) -> Result<(), MailError> {
        if matches!(answer, Untagged::Status(Status::Bye, _)) {
            self.said_bye = true;
        }
        if listener.keeps() {
            self.kept_bytes += self.answer_bytes;
            if self.kept_bytes > HEARD_BYTES_MAX {
                return Err(self.lost("mail-too-much"));
            }
        }
        listener.untagged(answer).inspect_err(|_| self.broken = true)
    }

    fn lost(&mut self, code: &'static str) -> MailError {
        self.broken = true;
        MailError::unknown(if self.said_bye { "mail-bye" } else { code })
    }

    fn next(&mut self, listener: &mut dyn Listener) -> Result<Incoming, MailError> {
        let result = self.incoming(listener);
        result.map_err(|error| {
            self.broken = true;
            if self.said_bye && error.code() == "mail-closed" { MailError::unknown("mail-bye") } else { error }
        })
    }

    fn incoming(&mut self, listener: &mut dyn Listener) -> Result<Incoming, MailError> {
        let mut answer = Vec::new();
        let mut streamed: Option<Option<Uid>> = None;
        loop {
            let from = answer.len();
            self.line(&mut answer)?;
            let line = answer.get(from..).unwrap_or_default();
            if memchr::memchr(0, line).is_some() {
                return Err(MailError::unknown("mail-answer-malformed"));
            }
            let Some(bytes) = value::announced(line).filter(|_| may_hold_literals(&answer)) else { break };
            let cut = answer.iter().rposition(|byte| *byte == b'{').unwrap_or(answer.len());
            if is_body(answer.get(..cut).unwrap_or_default()) {
                if streamed.is_some() {
                    return Err(MailError::unknown("mail-answer-malformed"));
                }
                answer.truncate(cut);
                answer.extend_from_slice(STREAMED);
                let uid = uid_so_far(&answer);
                self.stream_body(uid, bytes, listener)?;
                streamed = Some(uid);
            } else if bytes > LITERAL_HELD_BYTES_MAX && is_header(answer.get(..cut).unwrap_or_default()) {
                // One message must not keep the others from being told.
                answer.truncate(cut);
                answer.extend_from_slice(STREAMED);
                self.passed_over(bytes)?;
            } else {
                self.held_literal(&mut answer, bytes)?;
            }
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(MailError::unknown("mail-too-much"));
            }
        }
        self.answer_bytes = answer.len();
        let incoming = parse(&answer)?;
        if let (Some(Some(before)), Incoming::Untagged(Untagged::Fetch(fetched))) = (streamed, &incoming)
            && fetched.uid != Some(before)
        {
            return Err(MailError::unknown("mail-answer-malformed"));
        }
        Ok(incoming)
    }

    fn held_literal(&mut self, answer: &mut Vec<u8>, bytes: u64) -> Result<(), MailError> {
        const TOO_MUCH: MailError = MailError::unknown("mail-too-much");
        if bytes > LITERAL_HELD_BYTES_MAX {
            return Err(TOO_MUCH);
        }
        answer.extend_from_slice(b"\r\n");
        let mut left = usize::try_from(bytes).map_err(|_| TOO_MUCH)?;
        while left > 0 {
            let unread = self.unread()?;
            let taken = unread.get(..left.min(unread.len())).unwrap_or_default();
            answer.extend_from_slice(taken);
            let count = taken.len();
            self.at += count;
            left -= count;
        }
        Ok(())
    }

    fn passed_over(&mut self, bytes: u64) -> Result<(), MailError> {
        if bytes > BODY_BYTES_MAX {
            return Err(MailError::unknown("mail-too-much"));
        }
        let mut left = bytes;
        while left > 0 {
            let unread = self.unread()?.len();
            let count = usize::try_from(left.min(unread as u64)).unwrap_or(unread);
            self.at += count;
            left -= count as u64;
        }
        Ok(())
    }

    fn stream_body(&mut self, uid: Option<Uid>, bytes: u64, listener: &mut dyn Listener) -> Result<(), MailError> {
        if bytes > BODY_BYTES_MAX {
            return Err(MailError::unknown("mail-too-much"));
        }
        listener.body_begins(uid, bytes)?;
        let mut left = bytes;
        while left > 0 {
            let unread = self.unread()?;
            let count = usize::try_from(left.min(unread.len() as u64)).unwrap_or(unread.len());
            listener.body_chunk(unread.get(..count).unwrap_or_default())?;
            self.at += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// Appends one line without its end.
    fn line(&mut self, into: &mut Vec<u8>) -> Result<(), MailError> {
        let from = into.len();
        loop {
            let unread = self.unread()?;
            match memchr::memchr(b'\n', unread) {
                Some(end) => {
                    into.extend_from_slice(unread.get(..end).unwrap_or_default());
                    self.at += end + 1;
                    if into.len() > from && into.last() == Some(&b'\r') {
                        into.pop();
                    }
                    break;
                }
                None => {
                    into.extend_from_slice(unread);
                    self.at = self.end;
                }
            }
            if into.len() - from > LINE_BYTES_MAX {
                return Err(MailError::unknown("mail-too-much"));
            }
        }
        if into.len() - from > LINE_BYTES_MAX { Err(MailError::unknown("mail-too-much")) } else { Ok(()) }
    }

    /// Returns bytes that were received and not read, at least one.
    fn unread(&mut self) -> Result<&[u8], MailError> {
        if self.at >= self.end {
            (self.at, self.end) = (0, 0);
            self.buffer.resize(READ_BYTES, 0);
            self.end = self.stream.read(&mut self.buffer)?;
        }
        Ok(self.buffer.get(self.at..self.end).unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        self.stream.write(bytes).inspect_err(|_| self.broken = true)
    }

    fn flush(&mut self) -> Result<(), MailError> {
        self.stream.flush().inspect_err(|_| self.broken = true)
    }
}

fn parse(answer: &[u8]) -> Result<Incoming, MailError> {
    const MALFORMED: MailError = MailError::unknown("mail-answer-malformed");
    if let Some(rest) = answer.strip_prefix(b"* ") {
        return Ok(Incoming::Untagged(answer::untagged(rest)?));
    }
    if answer.starts_with(b"+") {
        return Ok(Incoming::Continue);
    }
    let space = answer.iter().position(|byte| *byte == b' ').ok_or(MALFORMED)?;
    let (tag, rest) = answer.split_at(space);
    let tag =
        tag.strip_prefix(b"r").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).ok_or(MALFORMED)?;
    let (status, code) = answer::status(rest.get(1..).unwrap_or_default())?.ok_or(MALFORMED)?;
    Ok(Incoming::Tagged(tag, status, code))
}

/// Whether a `{n}` at the end of a line announces a literal. In a text for people it is a part of the text.
fn may_hold_literals(answer: &[u8]) -> bool {
    answer.strip_prefix(b"* ").is_some_and(|rest| !matches!(answer::status(rest), Ok(Some(_)) | Err(_)))
}

/// Whether what follows is a whole message.
fn is_body(text: &[u8]) -> bool {
    const BODY: &[u8] = b"BODY[] ";
    let text = text.strip_suffix(b"~").unwrap_or(text);
    text.len() > BODY.len() && text.get(text.len() - BODY.len()..).is_some_and(|end| end.eq_ignore_ascii_case(BODY))
}

/// Whether what follows are fields of a header.
fn is_header(text: &[u8]) -> bool {
    const FIELDS: &[u8] = b"BODY[HEADER.FIELDS (";
    let text = text.strip_suffix(b"~").unwrap_or(text);
    let Some(names) = text.strip_suffix(b")] ") else { return false };
    let open = names.iter().rposition(|byte| *byte == b'(').map_or(0, |open| open + 1);
    names.get(..open).is_some_and(|head| {
        head.len() >= FIELDS.len()
            && head.get(head.len() - FIELDS.len()..).is_some_and(|end| end.eq_ignore_ascii_case(FIELDS))
    })
}

/// Reads the UID of an answer that is not whole yet.
fn uid_so_far(answer: &[u8]) -> Option<Uid> {
    let mut whole = answer.strip_prefix(b"* ")?.to_vec();
    whole.push(b')');
    match answer::untagged(&whole) {
        Ok(Untagged::Fetch(fetched)) => fetched.uid,
        _ => None,
    }
}
