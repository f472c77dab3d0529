//! A TCP proxy that stands between the product and a server, and fails where a test says.
//!
//! It cuts after any byte of either direction, holds a connection until the test lets it go on, refuses, loses a
//! command before the server hears it, and loses the answer to a command that the server carried out. It never waits
//! for a time. Every connection is recorded, so that the places to cut are taken from a dialogue that went well.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::trap::{Ear, Gag, Trap};

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the product to the server.
    Up,
    /// From the server to the product.
    Down,
}

/// What happens to one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: every byte is passed on.
    Pass,
    /// The connection is accepted and closed before a byte.
    Refuse,
    /// Exactly so many bytes go this way, then the connection ends for both.
    Cut(Way, u64),
    /// Exactly so many bytes go this way, and no more until [`Proxy::release`].
    Hold(Way, u64),
    /// The first line from the product that holds this text is not passed on; the connection ends.
    LostNotApplied(String),
    /// The first line from the product that holds this text is passed on and carried out; the answer is swallowed from
    /// its first byte on, and the connection ends when the server has said how the command ended.
    LostButApplied(String),
}

/// What one connection said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dialogue {
    /// What the product sent, as far as it was passed on.
    pub up: Vec<u8>,
    /// What the server sent, as far as it was passed on.
    pub down: Vec<u8>,
    /// How often the product sent something after the server had.
    pub turns: u64,
    /// Whether the fault of the connection came to pass.
    pub failed: bool,
    last: Option<Way>,
}

#[derive(Debug, Default)]
struct State {
    next: VecDeque<Fault>,
    after: Option<Fault>,
    dialogues: Vec<Dialogue>,
    open: Vec<(usize, TcpStream, TcpStream)>,
    released: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked meanwhile has its own message.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A proxy in front of one port of loopback. Dropping it ends all connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Stands in front of a port.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn before(target: u16) -> Self {
        Self::stand(target, None)
    }

    /// Stands in front of a port, with a trap on the way.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn before_with(target: u16, trap: &Arc<Trap>) -> Self {
        Self::stand(target, Some(Arc::clone(trap)))
    }

    fn stand(target: u16, trap: Option<Arc<Trap>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if own.lock().closed {
                    return;
                }
                if let Ok(stream) = stream {
                    accept(&own, stream, target, trap.as_ref());
                }
            }
        });
        Self { port, shared }
    }

    /// Returns the port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets what happens to the next connection that has nothing set yet.
    pub fn next(&self, fault: Fault) {
        self.shared.lock().next.push_back(fault);
    }

    /// Sets what happens to all connections for which [`Proxy::next`] says nothing.
    pub fn always(&self, fault: Fault) {
        self.shared.lock().after = Some(fault);
    }

    /// Forgets what was set, and lets what is held go on.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.next.clear();
        state.after = None;
        state.released = true;
        self.shared.changed.notify_all();
    }

    /// Lets the connections that are held go on.
    pub fn release(&self) {
        self.shared.lock().released = true;
        self.shared.changed.notify_all();
    }

    /// Ends every open connection now.
    pub fn cut(&self) {
        for (_, up, down) in self.shared.lock().open.drain(..) {
            end(&up, &down);
        }
    }

    /// Returns what every connection said so far, in the order in which they came.
    #[must_use]
    pub fn dialogues(&self) -> Vec<Dialogue> {
        self.shared.lock().dialogues.clone()
    }

    /// Returns how many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// Waits until the dialogues are as the test wants them.
    ///
    /// # Panics
    /// When they never are.
    pub fn until(&self, mut wanted: impl FnMut(&[Dialogue]) -> bool) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !wanted(&state.dialogues));
        let (state, late) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!late.timed_out(), "the dialogues are never as wanted: {:?}", state.dialogues);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.heal();
        self.cut();
        // The thread that accepts looks up when somebody comes.
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn end(client: &TcpStream, server: &TcpStream) {
    // What is closed already is closed.
    let _closed = client.shutdown(Shutdown::Both);
    let _closed = server.shutdown(Shutdown::Both);
}

fn accept(shared: &Arc<Shared>, client: TcpStream, target: u16, trap: Option<&Arc<Trap>>) {
    let (number, fault) = {
        let mut state = shared.lock();
        let after = state.after.clone();
        let fault = state.next.pop_front().or(after).unwrap_or(Fault::Pass);
        if matches!(fault, Fault::Hold(..)) {
            state.released = false;
        }
        state.dialogues.push(Dialogue { failed: fault == Fault::Refuse, ..Dialogue::default() });
        shared.changed.notify_all();
        (state.dialogues.len() - 1, fault)
    };
    if fault == Fault::Refuse {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an option of a socket");
    }
    let two = |stream: &TcpStream| stream.try_clone().expect("a second handle of a socket");
    shared.lock().open.push((number, two(&client), two(&server)));
    let lost = Arc::new(Mutex::new(None));
    let (mut ear, mut gag) = trap.map(Trap::listen).unzip();
    for way in [Way::Up, Way::Down] {
        let (from, to) = match way {
            Way::Up => (two(&client), two(&server)),
            Way::Down => (two(&server), two(&client)),
        };
        let pump = Pump {
            shared: Arc::clone(shared),
            number,
            way,
            fault: fault.clone(),
            passed: 0,
            line: Vec::new(),
            lost: Arc::clone(&lost),
            ear: if way == Way::Up { ear.take() } else { None },
            gag: if way == Way::Down { gag.take() } else { None },
        };
        thread::spawn(move || pump.run(from, to));
    }
}

/// Stops a pump: one side ended, or the fault came to pass.
struct Ended;

/// Moves bytes one way.
struct Pump {
    shared: Arc<Shared>,
    number: usize,
    way: Way,
    fault: Fault,
    passed: u64,
    /// Bytes since the last end of a line, where lines matter.
    line: Vec<u8>,
    /// The tag of the command whose answer is swallowed.
    lost: Arc<Mutex<Option<Vec<u8>>>>,
    /// On the way up, where there is a trap.
    ear: Option<Ear>,
    /// On the way down, where there is a trap.
    gag: Option<Gag>,
}

impl Pump {
    fn run(mut self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read) = from.read(&mut buffer) {
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            if self.take(bytes, &mut to).is_err() {
                break;
            }
        }
        if let Some(gag) = &self.gag {
            gag.ended();
        }
        end(&from, &to);
        self.shared.lock().open.retain(|(number, ..)| *number != self.number);
        self.shared.changed.notify_all();
    }

    fn take(&mut self, bytes: &[u8], to: &mut TcpStream) -> Result<(), Ended> {
        if let Some(mut ear) = self.ear.take() {
            let may_go_on = ear.pass(bytes, |bytes| self.pass(bytes, to))?;
            self.ear = Some(ear);
            return if may_go_on { Ok(()) } else { Err(Ended) };
        }
        if self.gag.as_mut().is_some_and(|gag| !gag.lets_pass(bytes)) {
            return Ok(());
        }
        match (&self.fault, self.way) {
            (Fault::Cut(way, at), own) if *way == own => {
                let room = usize::try_from(at - self.passed).unwrap_or(usize::MAX);
                match bytes.get(..room) {
                    Some(last) => {
                        self.pass(last, to)?;
                        self.fail();
                        Err(Ended)
                    }
                    None => self.pass(bytes, to),
                }
            }
            (Fault::Hold(way, at), own) if *way == own => {
                let room = usize::try_from(at.saturating_sub(self.passed)).unwrap_or(usize::MAX);
                match bytes.split_at_checked(room) {
                    Some((before, after)) => {
                        self.pass(before, to)?;
                        self.fail();
                        self.held();
                        self.fault = Fault::Pass;
                        self.pass(after, to)
                    }
                    None => self.pass(bytes, to),
                }
            }
            (Fault::LostNotApplied(_) | Fault::LostButApplied(_), Way::Up) => self.take_commands(bytes, to),
            (Fault::LostButApplied(_), Way::Down) => self.take_answers(bytes, to),
            (Fault::Pass | Fault::Refuse | Fault::Cut(..) | Fault::Hold(..) | Fault::LostNotApplied(_), _) => {
                self.pass(bytes, to)
            }
        }
    }

    /// Passes whole lines on, and looks in each for the command that is lost.
    fn take_commands(&mut self, bytes: &[u8], to: &mut TcpStream) -> Result<(), Ended> {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let rest = self.line.split_off(end + 1);
            let line = std::mem::replace(&mut self.line, rest);
            match &self.fault {
                Fault::LostNotApplied(text) if holds(&line, text) => {
                    self.fail();
                    return Err(Ended);
                }
                Fault::LostButApplied(text) if holds(&line, text) => {
                    let tag = line.split(|byte| *byte == b' ').next().unwrap_or_default().to_owned();
                    let mut lost = self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if lost.is_none() {
                        *lost = Some(tag);
                    }
                }
                _ => {}
            }
            self.pass(&line, to)?;
        }
        // A literal has no end of line of its own.
        let rest = std::mem::take(&mut self.line);
        if rest.len() > 1_000 {
            return self.pass(&rest, to);
        }
        self.line = rest;
        Ok(())
    }

    /// Swallows what the server says after the lost command was passed on, up to how it ended.
    fn take_answers(&mut self, bytes: &[u8], to: &mut TcpStream) -> Result<(), Ended> {
        let tag = self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(tag) = tag else { return self.pass(bytes, to) };
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let rest = self.line.split_off(end + 1);
            let line = std::mem::replace(&mut self.line, rest);
            if line.strip_prefix(tag.as_slice()).is_some_and(|rest| rest.starts_with(b" ")) {
                self.fail();
                return Err(Ended);
            }
        }
        Ok(())
    }

    fn pass(&mut self, bytes: &[u8], to: &mut TcpStream) -> Result<(), Ended> {
        self.passed += bytes.len() as u64;
        {
            let mut state = self.shared.lock();
            if let Some(dialogue) = state.dialogues.get_mut(self.number) {
                if self.way == Way::Up && dialogue.last != Some(Way::Up) {
                    dialogue.turns += 1;
                }
                dialogue.last = Some(self.way);
                match self.way {
                    Way::Up => dialogue.up.extend_from_slice(bytes),
                    Way::Down => dialogue.down.extend_from_slice(bytes),
                }
            }
        }
        self.shared.changed.notify_all();
        to.write_all(bytes).map_err(|_| Ended)
    }

    fn fail(&self) {
        if let Some(dialogue) = self.shared.lock().dialogues.get_mut(self.number) {
            dialogue.failed = true;
        }
        self.shared.changed.notify_all();
    }

    fn held(&self) {
        let mut state = self.shared.lock();
        while !state.released {
            state = self.shared.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

fn holds(line: &[u8], text: &str) -> bool {
    let upper = line.to_ascii_uppercase();
    memchr::memmem::find(&upper, text.to_ascii_uppercase().as_bytes()).is_some()
}

/// Returns where to cut a dialogue: the first and the last byte of it, and every kind of place in every line and
/// literal, namely before it, after its first byte, in its middle, and before and inside its end of line. Long
/// dialogues are thinned to at most `most` places, each kind alike.
#[must_use]
pub fn places(bytes: &[u8], most: usize) -> Vec<u64> {
    let mut places = std::collections::BTreeSet::from([0, bytes.len()]);
    let mut begin = 0;
    while let Some(length) = bytes.get(begin..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
        let end = begin + length + 1;
        places.extend([begin, begin + 1, begin + length / 2, end.saturating_sub(2), end - 1, end]);
        begin = end;
    }
    let places: Vec<usize> = places.into_iter().filter(|place| *place <= bytes.len()).collect();
    let thinned = places.len().div_ceil(most.max(1)).max(1);
    // The kinds come round every six places: a step that shares no factor with six meets them all.
    let step = (thinned..).find(|step| *step == 1 || (step % 2 != 0 && step % 3 != 0)).unwrap_or(thinned);
    places.into_iter().step_by(step).map(|place| place as u64).collect()
}
