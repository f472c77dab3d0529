use std::io::Read as _;
use std::net::TcpListener;

use retention_core::event::Actor;
use retention_core::id::{Digest, Position, StreamId};
use retention_core::time::Timestamp;

use super::*;

fn envelope(position: u64) -> Envelope {
    Envelope {
        event_type: 122,
        schema: 1,
        sealed: false,
        position: Position(position),
        recorded_at: Timestamp(5),
        occurred_at: Timestamp(5),
        stream: StreamId([1; 16]),
        actor: Actor::Daemon,
        cause: Position(0),
        entity: None,
        texts: None,
        body_len: 3,
        body_digest: Digest([7; 32]),
    }
}

fn sender() -> Sender {
    Sender { host: "here".to_owned(), process: 7 }
}

fn datagram(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = [0; 4_096];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn journald_and_syslog_get_a_datagram_for_each_event_also_after_they_were_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    for form in [Form::Journald, Form::Syslog(sender())] {
        let mut log = SocketLog::new("log".to_owned(), form.clone(), Way::Datagram(path.clone()));
        assert!(log.tell(&envelope(1)).is_err(), "nobody is there");
        let mut expected = Vec::new();
        for position in [1, 2] {
            let there = UnixDatagram::bind(&path).unwrap();
            log.tell(&envelope(position)).unwrap();
            expected.push(datagram(&there));
            // A process that another test begins just now may hold a copy of it for a moment: what is only dropped may
            // still take a datagram.
            there.shutdown(std::net::Shutdown::Both).unwrap();
            drop(there);
            std::fs::remove_file(&path).unwrap();
        }
        let written = |position| match &form {
            Form::Journald => String::from_utf8(journald::entry("log", &envelope(position))).unwrap(),
            Form::Syslog(sender) => syslog::message(sender, "log", &envelope(position)),
        };
        assert_eq!(expected, [written(1), written(2)]);
        assert!(log.tell(&envelope(3)).is_err(), "it is away again");
    }
}

#[test]
fn a_stream_has_the_length_before_each_message_and_is_opened_again() {
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut log = SocketLog::new("log".to_owned(), Form::Syslog(sender()), Way::Tcp(address));
    let counted = |position| syslog::counted(&syslog::message(&sender(), "log", &envelope(position)));
    for positions in [[1, 2], [3, 4]] {
        log.tell(&envelope(positions[0])).unwrap();
        let (mut stream, _) = server.accept().unwrap();
        log.tell(&envelope(positions[1])).unwrap();
        let expected = positions.map(counted).concat();
        let mut bytes = vec![0; expected.len()];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
    drop(server);
    assert!(log.tell(&envelope(5)).is_err());
}

#[test]
fn a_log_that_says_something_and_goes_away_is_not_taken_for_there() {
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut log = SocketLog::new("log".to_owned(), Form::Syslog(sender()), Way::Tcp(address));
    let counted = |position| syslog::counted(&syslog::message(&sender(), "log", &envelope(position)));
    for position in [1, 2] {
        log.tell(&envelope(position)).unwrap();
        let (mut stream, _) = server.accept().unwrap();
        let mut bytes = vec![0; counted(position).len()];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), counted(position));
        std::io::Write::write_all(&mut stream, &[b'x'; 10_000]).unwrap();
    }
}
