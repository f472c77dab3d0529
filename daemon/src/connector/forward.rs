//! The logs of other programs on this machine, which are told of each event as it is recorded.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use retention_core::event::Envelope;
use retention_core::forward::journald;
use retention_core::forward::syslog::{self, Sender};
use rustix::net::{RecvFlags, recv};

/// How long a log may take to take a message: on one machine it takes microseconds, and the daemon may be asked to stop
/// meanwhile.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);

/// How often it is read before each message what a log says, which should say nothing: one that never stops must not
/// keep events waiting.
const READS_MAX: usize = 64;

/// A log that is told of events. It may be told one again.
pub trait Forwarding: Send {
    /// Tells it of an event.
    ///
    /// # Errors
    /// Says why it did not take it, in a sentence without personal data.
    fn tell(&mut self, envelope: &Envelope) -> Result<(), String>;
}

/// How messages are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// RFC 5424.
    Syslog(Sender),
    /// The native protocol of systemd-journald.
    Journald,
}

/// Where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Each in a datagram to a Unix socket.
    Datagram(PathBuf),
    /// One behind the other to an address `HOST:PORT`, each with its length before it (RFC 6587).
    Tcp(String),
}

enum Open {
    Datagram(UnixDatagram),
    Tcp(TcpStream),
}

/// A log on a socket. It is opened when there is something to tell, and again when it went away.
pub struct SocketLog {
    origin: String,
    form: Form,
    way: Way,
    open: Option<Open>,
}

impl SocketLog {
    /// Tells of the log with this name.
    #[must_use]
    pub fn new(origin: String, form: Form, way: Way) -> Self {
        Self { origin, form, way, open: None }
    }

    fn bytes_of(&self, envelope: &Envelope) -> Vec<u8> {
        match (&self.form, &self.way) {
            (Form::Journald, _) => journald::entry(&self.origin, envelope),
            (Form::Syslog(sender), Way::Datagram(_)) => syslog::message(sender, &self.origin, envelope).into_bytes(),
            (Form::Syslog(sender), Way::Tcp(_)) => {
                syslog::counted(&syslog::message(sender, &self.origin, envelope)).into_bytes()
            }
        }
    }
}

impl Forwarding for SocketLog {
    fn tell(&mut self, envelope: &Envelope) -> Result<(), String> {
        let bytes = self.bytes_of(envelope);
        // A log that was restarted is there again under the same name.
        if let Some(open) = self.open.as_mut()
            && open.send(&bytes).is_ok()
        {
            return Ok(());
        }
        self.open = None;
        let mut open = Open::to(&self.way).map_err(|error| error.to_string())?;
        open.send(&bytes).map_err(|error| error.to_string())?;
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    fn to(way: &Way) -> io::Result<Self> {
        match way {
            Way::Datagram(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(SEND_TIME_MAX))?;
                Ok(Self::Datagram(socket))
            }
            Way::Tcp(address) => {
                let mut last = io::ErrorKind::AddrNotAvailable.into();
                for address in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, SEND_TIME_MAX) {
                        Ok(stream) => {
                            stream.set_write_timeout(Some(SEND_TIME_MAX))?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagram(socket) => socket.send(bytes).map(|_| ()),
            Self::Tcp(stream) => {
                // What is written to a connection that its other end has closed is lost without an error.
                if is_closed(&stream) {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                stream.write_all(bytes)
            }
        }
    }
}

impl Drop for Open {
    /// Without it, a connection with input that nobody read is reset, and what was on its way is lost.
    fn drop(&mut self) {
        if let Self::Tcp(stream) = self {
            let _gone_already = stream.shutdown(Shutdown::Write);
        }
    }
}

/// Says whether the other end has closed a connection. What it said before is of no use, and hides that it is gone.
fn is_closed(stream: impl AsFd) -> bool {
    let mut discarded = [0; 4_096];
    for _ in 0..READS_MAX {
        match recv(&stream, &mut discarded, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return true,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return error != rustix::io::Errno::AGAIN,
        }
    }
    false
}

#[cfg(test)]
mod tests;
