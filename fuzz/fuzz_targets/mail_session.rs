//! Everything that a mail server may say, through a whole session over a connection of its own: the first bytes choose what is
//! asked, the others are what the server says, whatever it is asked. What is told was asked for, and is told once.
#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock};

use libfuzzer_sys::fuzz_target;
use retention_core::mailbox::{LoginForm, Rights};
use retention_core::time::Timestamp;
use retention_fuzz::{Input, assert_plain};
use retentiond::clock::ManualClock;
use retentiond::config::{MailServer, MailTls};
use retentiond::connector::imap::{
    BodySink, Connector, MailError, MailboxAccess, Secret, Session, Uid, UidValidity, Uids, explain,
};
use zeroize::Zeroizing;

const PASSWORD: &str = "qzxjvk-password";
const OPERATIONS: usize = 4;
/// Between what is said on one connection and on the next: no server sends it.
const NEXT_CONNECTION: &[u8] = b"\0\0\0";
/// More would wait in the buffers of a connection that nobody reads.
const SAID_BYTES_MAX: usize = 32 << 10;

/// What is said on the connections to come, and the connections that are kept open until the next input.
#[derive(Default)]
struct Said {
    scripts: VecDeque<Vec<u8>>,
    open: Vec<TcpStream>,
}

struct Server {
    port: u16,
    said: Arc<Mutex<Said>>,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let said = Arc::new(Mutex::new(Said::default()));
        let shared = Arc::clone(&said);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.expect("a connection");
                let mut said = shared.lock().expect("what is said");
                let script = said.scripts.pop_front().unwrap_or_default();
                let _sent = connection.write_all(&script);
                let _ended = connection.shutdown(Shutdown::Write);
                said.open.push(connection);
            }
        });
        Server { port, said }
    })
}

fn assert_explained(error: MailError) {
    let shown = format!("{error} {error:?}");
    assert_plain(&shown);
    assert!(!shown.contains(PASSWORD));
    assert_ne!(explain(error.code()), explain("no such code"), "{} is not explained", error.code());
}

/// Bodies come whole and one after another.
#[derive(Default)]
struct Bodies {
    left: Option<(Uid, u64)>,
    whole: BTreeSet<Uid>,
}

impl BodySink for Bodies {
    fn begins(&mut self, uid: Uid, bytes: u64) -> ControlFlow<()> {
        self.left = Some((uid, bytes));
        ControlFlow::Continue(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let (_, left) = self.left.as_mut().expect("a body that began");
        *left = left.checked_sub(bytes.len() as u64).expect("no more than was said");
        ControlFlow::Continue(())
    }

    fn ends(&mut self, uid: Uid) -> ControlFlow<()> {
        assert_eq!(self.left.take(), Some((uid, 0)));
        assert!(self.whole.insert(uid), "a body twice");
        ControlFlow::Continue(())
    }
}

fn asked() -> Uids {
    [1, 2, 3, 7, 8, 100, u32::MAX].into_iter().map(Uid).collect()
}

fn operate(session: &mut Session, operation: u8) -> Result<(), MailError> {
    let asked = asked();
    let mut told = BTreeSet::new();
    match operation % 13 {
        0 => {
            let folders = session.folders()?;
            assert!(folders.is_sorted_by(|a, b| (&a.path, &a.name) <= (&b.path, &b.name)));
            assert!(folders.iter().all(|folder| !folder.path.is_empty()));
        }
        1 => drop(session.select("INBOX")?),
        2 => drop(session.examine("INBOX")?),
        3 => drop(session.search()?),
        4 => {
            let missing = session.fetch_meta(&asked, |meta| {
                assert!(asked.contains(meta.uid) && told.insert(meta.uid));
                assert!(!meta.flags.iter().any(|flag| flag.eq_ignore_ascii_case("\\Recent")));
                ControlFlow::Continue(())
            })?;
            assert_eq!(missing, asked.without(&told.into_iter().collect()));
        }
        5 => assert!(session.those_there(&asked)?.iter().all(|uid| asked.contains(uid))),
        6 => {
            let missing = session.fetch_states(&asked, |state| {
                assert!(asked.contains(state.uid) && told.insert(state.uid));
            })?;
            assert_eq!(missing, asked.without(&told.into_iter().collect()));
        }
        7 => {
            let mut bodies = Bodies::default();
            let missing = session.fetch_bodies(&asked, &mut bodies)?;
            assert_eq!(missing, asked.without(&bodies.whole.into_iter().collect()));
        }
        8 => drop(session.acl("INBOX")?),
        9 => drop(session.my_rights("INBOX")?),
        10 => drop(session.store_deleted(&asked, UidValidity(9), Some(5))?),
        11 => drop(session.uid_expunge(&asked, UidValidity(9))?),
        _ => drop(session.append("INBOX", &[], None, 5, &mut b"Hello".as_slice())?),
    }
    Ok(())
}

fn access(port: u16, form: LoginForm) -> MailboxAccess {
    MailboxAccess {
        server: Arc::new(MailServer {
            name: "fuzzed".to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            tls: MailTls::PlainLoopback,
            ca_file: None,
            tls_name: "localhost".to_owned(),
            max_connections: 4,
            form: form.clone(),
            admin: None,
            doveadm: None,
            batches: None,
        }),
        user: "ada".to_owned(),
        form,
        admin: "root".to_owned(),
        secret: Secret::new(Zeroizing::new(PASSWORD.to_owned())),
        root: None,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let form = match input.byte() % 7 {
        0 | 1 => LoginForm::OwnPassword,
        2 => LoginForm::DovecotMaster { separator: '*' },
        3 => LoginForm::Exchange { domain: "contoso".to_owned() },
        4 => LoginForm::AuthzId,
        5 => LoginForm::UserRoot,
        _ => LoginForm::XOAuth2,
    };
    let operations: Vec<u8> = (0..OPERATIONS).map(|_| input.byte()).collect();
    let said = input.take(SAID_BYTES_MAX);
    let server = server();
    {
        let mut shared = server.said.lock().expect("what is said");
        shared.open.clear();
        shared.scripts.clear();
        let mut rest = said;
        while let Some(at) = rest.windows(NEXT_CONNECTION.len()).position(|window| window == NEXT_CONNECTION) {
            shared.scripts.push_back(rest[..at].to_vec());
            rest = &rest[at + NEXT_CONNECTION.len()..];
        }
        shared.scripts.push_back(rest.to_vec());
    }
    let connector = Connector::new(Arc::new(ManualClock::starting_at(Timestamp(0))), Arc::new(|| 7));
    match connector.open(&access(server.port, form)) {
        Err(error) => assert_explained(error),
        Ok(mut session) => {
            for operation in operations {
                if let Err(error) = operate(&mut session, operation) {
                    assert_explained(error);
                }
            }
        }
    }
    // Rights are read from any text, and mean nothing more than they say.
    if let Ok(text) = std::str::from_utf8(said) {
        let rights = Rights::parse(text);
        assert!(rights.covers(rights) && Rights::parse(&rights.to_string()).is_same_as(rights));
    }
});
