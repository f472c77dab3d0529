//! The connection: TCP with or without TLS, with deadlines on everything.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::{MailError, RETRY_SOON};
use super::limits::{BYTES_PER_SECOND_MIN, COMMAND_MAX, CONNECT_MAX, SILENCE_MAX};
use super::tls;
use crate::clock::Clock;
use crate::connector::outcome::Retry;

/// How many bytes are gathered before they are sent without being asked to: most commands, and many at once, are one
/// packet.
const OUTGOING_BYTES: usize = 16 << 10;

/// How many bytes are asked for at once below TLS, which itself asks for a quarter of a record.
const INCOMING_BYTES: usize = 32 << 10;

/// Bytes to and from one server.
pub(super) struct Stream {
    link: Link,
    /// What was written and not sent yet. It may hold a password: it never grows, and is overwritten once it was sent.
    outgoing: Zeroizing<Vec<u8>>,
}

enum Link {
    Plain(Paced),
    Tls(Box<StreamOwned<ClientConnection, Ahead>>),
    /// Between the two, while TLS is being set up.
    Gone,
}

/// The socket itself. Its time is looked at whenever bytes go either way, below TLS too: a record of TLS whose bytes come now
/// and then would be waited for, for days, before anybody else is asked.
struct Paced {
    tcp: TcpStream,
    clock: Arc<dyn Clock>,
    /// When the command under way began, and how many bytes have gone either way since.
    began: Duration,
    moved: u64,
    allowed: Duration,
}

/// The socket below TLS, read ahead of what TLS asks for. Without TLS nothing may be: what came before the handshake is no
/// part of it.
struct Ahead(BufReader<Paced>);

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Ahead {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// The time of a command is over.
#[derive(Debug, thiserror::Error)]
#[error("the mail server answers too slowly")]
struct TooSlow;

impl Paced {
    fn in_time(&self) -> io::Result<()> {
        let spent = self.clock.monotonic().saturating_sub(self.began);
        let allowed = self.allowed + Duration::from_secs(self.moved / BYTES_PER_SECOND_MIN);
        if spent > allowed { Err(io::Error::other(TooSlow)) } else { Ok(()) }
    }

    fn moved(&mut self, count: usize) -> usize {
        self.moved = self.moved.saturating_add(count as u64);
        count
    }

    fn is_loopback(&self) -> bool {
        self.tcp.peer_addr().is_ok_and(|address| address.ip().is_loopback())
    }
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time()?;
        let count = self.tcp.read(buffer)?;
        Ok(self.moved(count))
    }
}

impl Write for Paced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_time()?;
        let count = self.tcp.write(bytes)?;
        Ok(self.moved(count))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl Stream {
    /// Connects. Nothing is sent yet.
    pub(super) fn connect(host: &str, port: u16, clock: Arc<dyn Clock>) -> Result<Self, MailError> {
        const UNREACHABLE: MailError = MailError::refused("mail-unreachable", Retry::After(RETRY_SOON));
        let addresses = (host, port)
            .to_socket_addrs()
            .map_err(|_| MailError::refused("mail-name-unknown", Retry::After(RETRY_SOON)))?;
        // A name may have several addresses; the first that answers serves.
        let tcp = addresses
            .take(ADDRESSES_MAX)
            .find_map(|address| TcpStream::connect_timeout(&address, CONNECT_MAX).ok())
            .ok_or(UNREACHABLE)?;
        let timeouts = |tcp: &TcpStream| -> io::Result<()> {
            tcp.set_nodelay(true)?;
            tcp.set_read_timeout(Some(SILENCE_MAX))?;
            tcp.set_write_timeout(Some(SILENCE_MAX))
        };
        timeouts(&tcp).map_err(|_| UNREACHABLE)?;
        let began = clock.monotonic();
        let outgoing = Zeroizing::new(Vec::with_capacity(OUTGOING_BYTES));
        Ok(Self { link: Link::Plain(Paced { tcp, clock, began, moved: 0, allowed: CONNECT_MAX }), outgoing })
    }

    /// Begins TLS and checks the certificate. Nothing but the handshake is sent.
    pub(super) fn secure(&mut self, config: Arc<ClientConfig>, name: &str) -> Result<(), MailError> {
        const FAILED: MailError = MailError::refused("mail-tls", Retry::After(RETRY_SOON));
        let name = tls::server_name(name)?;
        let connection = ClientConnection::new(config, name).map_err(|_| FAILED)?;
        let Link::Plain(paced) = std::mem::replace(&mut self.link, Link::Gone) else { return Err(FAILED) };
        let mut secured = StreamOwned::new(connection, Ahead(BufReader::with_capacity(INCOMING_BYTES, paced)));
        while secured.conn.is_handshaking() {
            secured.conn.complete_io(&mut secured.sock).map_err(|error| tls::failure(&error))?;
        }
        self.link = Link::Tls(Box::new(secured));
        Ok(())
    }

    /// Whether the other end has the address of this machine.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.link {
            Link::Plain(paced) => paced.is_loopback(),
            Link::Tls(secured) => secured.sock.0.get_ref().is_loopback(),
            Link::Gone => false,
        }
    }

    fn paced(&mut self) -> Option<&mut Paced> {
        match &mut self.link {
            Link::Plain(paced) => Some(paced),
            Link::Tls(secured) => Some(secured.sock.0.get_mut()),
            Link::Gone => None,
        }
    }

    /// Begins to count the time of a command anew.
    pub(super) fn command_begins(&mut self) {
        if let Some(paced) = self.paced() {
            paced.began = paced.clock.monotonic();
            paced.moved = 0;
            paced.allowed = COMMAND_MAX;
        }
    }

    /// Waits for bytes and puts them into `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, MailError> {
        let read = loop {
            let read = match &mut self.link {
                Link::Plain(paced) => paced.read(buffer),
                Link::Tls(secured) => secured.read(buffer),
                Link::Gone => Err(io::ErrorKind::NotConnected.into()),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match read {
            Ok(0) => Err(MailError::unknown("mail-closed")),
            Ok(count) => Ok(count),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Takes bytes to be sent, at the latest by [`Self::flush`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        if self.outgoing.len() + bytes.len() > OUTGOING_BYTES {
            self.send_gathered()?;
        }
        if bytes.len() > OUTGOING_BYTES {
            return self.send(bytes);
        }
        self.outgoing.extend_from_slice(bytes);
        Ok(())
    }

    fn send_gathered(&mut self) -> Result<(), MailError> {
        let mut gathered = std::mem::take(&mut *self.outgoing);
        let sent = if gathered.is_empty() { Ok(()) } else { self.send(&gathered) };
        gathered.zeroize();
        *self.outgoing = gathered;
        sent
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        let written = match &mut self.link {
            Link::Plain(paced) => paced.write_all(bytes),
            Link::Tls(secured) => secured.write_all(bytes),
            Link::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        written.map_err(|error| broken(&error))
    }

    /// Hands everything written to the network.
    pub(super) fn flush(&mut self) -> Result<(), MailError> {
        self.send_gathered()?;
        let flushed = match &mut self.link {
            Link::Plain(paced) => paced.flush(),
            Link::Tls(secured) => secured.flush(),
            Link::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        flushed.map_err(|error| broken(&error))
    }
}

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 4;

fn broken(error: &io::Error) -> MailError {
    if error.get_ref().is_some_and(|inner| inner.is::<TooSlow>()) {
        return MailError::unknown("mail-too-slow");
    }
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => MailError::unknown("mail-silent"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            MailError::unknown("mail-closed")
        }
        _ => MailError::unknown("mail-connection"),
    }
}
