//! A trap on the way to mail servers: at one part of what a daemon says, everything stops, and the daemon can be killed
//! while it is certain what the server has heard and that nobody has heard the answer.
//!
//! The parts of all connections of all proxies that share a trap are counted together: a line of a command, or a
//! literal. So a dialogue that went well once tells how many places there are, and each of them can be met again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use memchr::memmem;

/// Where in a part the trap closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bite {
    /// Before it: the server never hears it.
    Before,
    /// Within it: the server hears half of it.
    Within,
    /// Behind it: the server has answered, and nobody hears the answer.
    Behind,
}

impl Bite {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Behind, Self::Before, Self::Within];
}

/// At which part the trap closes, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At this one of all parts.
    Part(u64),
    /// At this one of those that hold a text, in what comes of them at once.
    Saying(&'static str, u64),
}

#[derive(Debug, Default)]
struct State {
    /// How many parts were begun since the trap was set.
    begun: u64,
    /// How many of them hold the text that it is set to.
    said: u64,
    set: Option<(Place, Bite)>,
    /// The connection whose answer is waited for, and the tag of the command.
    awaited: Option<(u64, Vec<u8>)>,
    is_closed: bool,
    /// How often it was opened: who was caught before that goes.
    opened: u64,
    connections: u64,
}

/// A trap. Proxies are given it with [`Proxy::before_with`](crate::proxy::Proxy::before_with).
#[derive(Debug, Default)]
pub struct Trap {
    state: Mutex<State>,
    changed: Condvar,
}

impl Trap {
    /// Makes one that is not set.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked meanwhile has its own message.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from now on, and closes at a place, if one is named.
    pub fn set(&self, at: Option<(Place, Bite)>) {
        let mut state = self.lock();
        (state.begun, state.said, state.set) = (0, 0, at);
    }

    /// Returns how many parts were begun since it was set.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.lock().begun
    }

    /// Says whether it has closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Opens it: the connections that it held end, and what it kept back is never heard. It is not set any more.
    pub fn open(&self) {
        let mut state = self.lock();
        state.opened += 1;
        (state.set, state.awaited, state.is_closed) = (None, None, false);
        self.changed.notify_all();
    }

    fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Waits until it is opened.
    fn hold(&self, caught: u64) {
        let mut state = self.lock();
        while state.opened == caught {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Listens to a new connection, for each way.
    pub(crate) fn listen(self: &Arc<Self>) -> (Ear, Gag) {
        let mut state = self.lock();
        state.connections += 1;
        let (connection, trap) = (state.connections, Arc::clone(self));
        let gag = Gag { trap: Arc::clone(self), connection, line: Vec::new() };
        (Ear { trap, connection, literal: 0, line: Vec::new(), tag: Vec::new(), is_inside: false, is_last: false }, gag)
    }
}

/// What is to be done after some bytes were passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// The trap closes here.
    Close,
    /// It closes when the server has answered.
    Await,
}

/// Hears what the product says on one connection.
#[derive(Debug)]
pub(crate) struct Ear {
    trap: Arc<Trap>,
    connection: u64,
    /// Bytes of the literal that are still to come.
    literal: u64,
    /// The line at hand.
    line: Vec<u8>,
    /// The tag of the command at hand.
    tag: Vec<u8>,
    is_inside: bool,
    /// Whether the trap closes behind the part at hand.
    is_last: bool,
}

impl Ear {
    /// Passes bytes on, up to where the trap closes; says whether more may follow.
    pub(crate) fn pass<E>(&mut self, bytes: &[u8], mut on: impl FnMut(&[u8]) -> Result<(), E>) -> Result<bool, E> {
        let caught = self.trap.lock().opened;
        let (end, then) = self.hear(bytes);
        on(bytes.get(..end).unwrap_or_default())?;
        match then {
            Then::GoOn => return Ok(true),
            Then::Close => self.trap.close(),
            Then::Await => {}
        }
        self.trap.hold(caught);
        Ok(false)
    }

    /// Returns how many of these bytes may be passed on, and what follows.
    fn hear(&mut self, bytes: &[u8]) -> (usize, Then) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if !self.is_inside {
                let length = self.rest_of_part(rest);
                match self.begin(rest.get(..length).unwrap_or_default()) {
                    Some(Bite::Before) => return (at, Then::Close),
                    Some(Bite::Within) => return (at + length / 2, Then::Close),
                    Some(Bite::Behind) => self.is_last = true,
                    None => {}
                }
            }
            let (length, is_over) = self.go_through(rest);
            at += length;
            self.is_inside = !is_over;
            if is_over && std::mem::take(&mut self.is_last) {
                return (at, if self.is_heard_in_silence() { Then::Close } else { self.wait_for_answer() });
            }
        }
        (at, Then::GoOn)
    }

    fn begin(&self, part: &[u8]) -> Option<Bite> {
        let mut state = self.trap.lock();
        state.begun += 1;
        let (place, bite) = state.set?;
        let is_here = match place {
            Place::Part(at) => at == state.begun,
            Place::Saying(text, at) => {
                let says = self.literal == 0 && memmem::find(part, text.as_bytes()).is_some();
                state.said += u64::from(says);
                says && at == state.said
            }
        };
        (is_here && !state.is_closed && state.awaited.is_none()).then_some(bite)
    }

    /// Says whether the server has nothing to say to the part at hand: a literal, or one that it need not ask for.
    fn is_heard_in_silence(&self) -> bool {
        self.line.is_empty() || self.line.ends_with(b"+}\r\n")
    }

    fn wait_for_answer(&self) -> Then {
        self.trap.lock().awaited = Some((self.connection, self.tag.clone()));
        Then::Await
    }

    /// Returns how many of these bytes belong to the part that they begin with.
    fn rest_of_part(&self, bytes: &[u8]) -> usize {
        let rest = usize::try_from(self.literal).unwrap_or(usize::MAX).min(bytes.len());
        if rest > 0 { rest } else { bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1) }
    }

    /// Goes through one part as far as it is there; says how many bytes that were, and whether it is over.
    fn go_through(&mut self, bytes: &[u8]) -> (usize, bool) {
        let length = self.rest_of_part(bytes);
        if self.literal > 0 {
            self.literal -= length as u64;
            self.line.clear();
            return (length, self.literal == 0);
        }
        if !self.is_inside {
            self.line.clear();
        }
        self.line.extend(bytes.get(..length).unwrap_or_default());
        let Some(line) = self.line.strip_suffix(b"\r\n") else { return (length, self.line.ends_with(b"\n")) };
        // What follows a literal, and what a server asked for, has no tag of its own.
        let mut words = line.split(|byte| *byte == b' ');
        if let (Some(tag), Some(_)) = (words.next().filter(|tag| !tag.is_empty()), words.next()) {
            self.tag = tag.to_vec();
        }
        self.literal = announced(line).unwrap_or(0);
        (length, true)
    }
}

/// Returns the length of a literal that follows a line.
fn announced(line: &[u8]) -> Option<u64> {
    let digits = line.strip_suffix(b"}")?.rsplit(|byte| *byte == b'{').next()?;
    std::str::from_utf8(digits).ok()?.trim_end_matches('+').parse().ok()
}

/// Keeps back what the server says on one connection while its answer is waited for.
#[derive(Debug)]
pub(crate) struct Gag {
    trap: Arc<Trap>,
    connection: u64,
    line: Vec<u8>,
}

impl Gag {
    /// Says whether bytes may be passed on. Those that may not are gone, and with the last of the answer the trap closes.
    pub(crate) fn lets_pass(&mut self, bytes: &[u8]) -> bool {
        let awaited = self.trap.lock().awaited.clone();
        let Some((_, tag)) = awaited.filter(|(connection, _)| *connection == self.connection) else { return true };
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let rest = self.line.split_off(end + 1);
            let line = std::mem::replace(&mut self.line, rest);
            let ends = line.strip_prefix(tag.as_slice()).is_some_and(|rest| rest.starts_with(b" "));
            if ends || line.starts_with(b"+") {
                self.trap.close();
            }
        }
        false
    }

    /// A server that ends the connection says nothing any more.
    pub(crate) fn ended(&self) {
        let mut state = self.trap.lock();
        state.is_closed |= state.awaited.as_ref().is_some_and(|(connection, _)| *connection == self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server hears of bytes that come in pieces of a size, and what follows.
    fn heard(at: Place, bite: Bite, said: &[u8], piece: usize) -> (Vec<u8>, Then, Trap) {
        let trap = Trap::new();
        trap.set(Some((at, bite)));
        let (mut ear, gag) = trap.listen();
        drop(gag);
        let mut heard = Vec::new();
        let mut last = Then::GoOn;
        for bytes in said.chunks(piece) {
            let (end, then) = ear.hear(bytes);
            heard.extend_from_slice(&bytes[..end]);
            last = then;
            if then != Then::GoOn {
                break;
            }
        }
        drop(ear);
        (heard, last, Arc::into_inner(trap).expect("nobody else has it"))
    }

    const SAID: &[u8] = b"a1 NOOP\r\na2 APPEND INBOX {9}\r\nline\nline\r\na3 LOGOUT\r\n";

    #[test]
    fn the_server_hears_what_was_said_up_to_the_place() {
        for piece in [1, 7, SAID.len()] {
            let before = |at| heard(Place::Part(at), Bite::Before, SAID, piece).0;
            assert_eq!(before(1), b"");
            assert_eq!(before(2), b"a1 NOOP\r\n");
            assert_eq!(before(3), b"a1 NOOP\r\na2 APPEND INBOX {9}\r\n");
            assert_eq!(before(4), b"a1 NOOP\r\na2 APPEND INBOX {9}\r\nline\nline");
            assert_eq!(before(5), b"a1 NOOP\r\na2 APPEND INBOX {9}\r\nline\nline\r\n");
            assert_eq!(heard(Place::Part(6), Bite::Before, SAID, piece).1, Then::GoOn);
            assert_eq!(heard(Place::Part(9), Bite::Before, SAID, piece).2.begun(), 5);
        }
        assert_eq!(heard(Place::Part(1), Bite::Within, SAID, SAID.len()).0, b"a1 N");
        assert_eq!(heard(Place::Part(3), Bite::Within, SAID, SAID.len()).0, b"a1 NOOP\r\na2 APPEND INBOX {9}\r\nline");
    }

    #[test]
    fn a_place_can_be_named_by_what_is_said_there() {
        let before = |text, at| heard(Place::Saying(text, at), Bite::Before, SAID, SAID.len()).0;
        assert_eq!(before("APPEND", 1), b"a1 NOOP\r\n");
        assert_eq!(before("APPEND", 2), SAID);
        assert_eq!(before("O", 3), b"a1 NOOP\r\na2 APPEND INBOX {9}\r\nline\nline\r\n");
        assert_eq!(before("line", 1), SAID, "a literal is no command");
    }

    #[test]
    fn behind_a_command_its_answer_is_waited_for() {
        for (at, then, tag) in [
            (1, Then::Await, Some("a1")),
            (2, Then::Await, Some("a2")),
            (3, Then::Close, None),
            (4, Then::Await, Some("a2")),
            (5, Then::Await, Some("a3")),
        ] {
            let (_, found, trap) = heard(Place::Part(at), Bite::Behind, SAID, 5);
            let awaited = trap.lock().awaited.clone().map(|(_, tag)| String::from_utf8(tag).expect("a tag"));
            assert_eq!((found, awaited.as_deref()), (then, tag), "part {at}");
        }
    }

    #[test]
    fn an_answer_is_kept_back_and_closes_the_trap() {
        let trap = Trap::new();
        trap.set(Some((Place::Part(1), Bite::Behind)));
        let ((mut ear, mut gag), (_, mut other)) = (trap.listen(), trap.listen());
        assert!(gag.lets_pass(b"* OK ready\r\n"));
        assert_eq!(ear.hear(b"a1 NOOP\r\n"), (9, Then::Await));
        assert!(!gag.lets_pass(b"* 1 EXISTS\r\na1 O"));
        assert!(other.lets_pass(b"a1 OK\r\n"));
        assert!(!trap.is_closed());
        assert!(!gag.lets_pass(b"K\r\n"));
        assert!(trap.is_closed());
        trap.open();
        assert!(!trap.is_closed() && gag.lets_pass(b"* BYE\r\n"));
        gag.ended();
        assert!(!trap.is_closed());
    }
}
