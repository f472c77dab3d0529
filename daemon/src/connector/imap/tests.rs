//! Against a server that says what a list says: every answer that no real server gives.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;

use retention_core::mailbox::{LoginForm, Rights};
use retention_core::time::Timestamp;
use zeroize::Zeroizing;

use super::limits::{LINE_BYTES_MAX, LITERAL_HELD_BYTES_MAX};
use super::*;
use crate::clock::{ManualClock, WallClock};
use crate::config::{MailServer, MailTls};

/// One step of a scripted server.
enum Step {
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Reads a line and answers its tag: `{tag}` in the text is replaced by it.
    Answer(&'static str, Vec<u8>),
    /// Reads so many bytes.
    Take(usize),
}

fn say(text: &str) -> Step {
    Step::Say(text.as_bytes().to_vec())
}

/// Expects a line that holds `expected` and answers with `text`.
fn answer(expected: &'static str, text: &str) -> Step {
    Step::Answer(expected, text.as_bytes().to_vec())
}

struct Scripted {
    port: u16,
    server: JoinHandle<()>,
}

impl Scripted {
    /// Plays one script for each connection, one after another. After its last step the connection is closed.
    fn playing(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().expect("a connection");
                play(&stream, script);
            }
        });
        Self { port, server }
    }

    fn access(&self, form: LoginForm) -> MailboxAccess {
        MailboxAccess {
            server: Arc::new(MailServer {
                name: "scripted".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: self.port,
                tls: MailTls::PlainLoopback,
                ca_file: None,
                tls_name: "localhost".to_owned(),
                max_connections: 2,
                form: form.clone(),
                admin: None,
                doveadm: None,
                batches: None,
            }),
            user: "ada".to_owned(),
            form,
            admin: "root".to_owned(),
            secret: Secret::new(Zeroizing::new("pa\"ss".to_owned())),
            root: None,
        }
    }

    fn open(&self, form: LoginForm) -> Result<Session, MailError> {
        connector().open(&self.access(form))
    }

    fn end(self) {
        self.server.join().expect("the script was followed");
    }
}

fn play(stream: &TcpStream, script: Vec<Step>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    let mut send = |bytes: &[u8]| {
        // The client may have had enough: that is what some scripts are about.
        let _sent = writer.write_all(bytes);
    };
    for step in script {
        match step {
            Step::Say(bytes) => send(&bytes),
            Step::Answer(expected, text) => {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                assert!(line.contains(expected), "{line:?} has no {expected:?}");
                let tag = line.split(' ').next().expect("a tag").as_bytes();
                let mut out = Vec::new();
                let mut rest = text.as_slice();
                while let Some(at) = memchr::memmem::find(rest, b"{tag}") {
                    out.extend_from_slice(&rest[..at]);
                    out.extend_from_slice(tag);
                    rest = &rest[at + 5..];
                }
                out.extend_from_slice(rest);
                send(&out);
            }
            Step::Take(bytes) => {
                let mut taken = vec![0; bytes];
                reader.read_exact(&mut taken).expect("bytes");
            }
        }
    }
}

fn connector() -> Connector {
    Connector::new(Arc::new(WallClock), Arc::new(|| 7))
}

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 UIDPLUS ACL] ready\r\n";

fn logged_in(mut more: Vec<Step>) -> Vec<Step> {
    let mut script =
        vec![say(GREETING), answer("LOGIN \"ada\" \"pa\\\"ss\"", "{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS ACL] in\r\n")];
    script.append(&mut more);
    script
}

fn selected(mut more: Vec<Step>) -> Vec<Step> {
    let mut script = vec![answer(
        "SELECT",
        "* 3 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\n* OK [UIDNEXT 30] x\r\n{tag} OK [READ-WRITE] open\r\n",
    )];
    script.append(&mut more);
    logged_in(script)
}

fn uids(numbers: &[u32]) -> Uids {
    numbers.iter().copied().map(Uid).collect()
}

/// Plays a script and does something in a session of it.
fn with<T>(script: Vec<Step>, then: impl FnOnce(&mut Session) -> T) -> T {
    let scripted = Scripted::playing(vec![script]);
    let mut session = scripted.open(LoginForm::OwnPassword).expect("a session");
    let result = then(&mut session);
    drop(session);
    scripted.end();
    result
}

#[derive(Default)]
struct Held {
    messages: Vec<(u32, Vec<u8>)>,
    open: Option<(u32, u64, Vec<u8>)>,
}

impl BodySink for Held {
    fn begins(&mut self, uid: Uid, bytes: u64) -> ControlFlow<()> {
        assert!(self.open.is_none(), "one after another");
        self.open = Some((uid.0, bytes, Vec::new()));
        ControlFlow::Continue(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.open.as_mut().expect("a message").2.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn ends(&mut self, uid: Uid) -> ControlFlow<()> {
        let (began, bytes, body) = self.open.take().expect("a message");
        assert_eq!((began, bytes), (uid.0, body.len() as u64));
        self.messages.push((began, body));
        ControlFlow::Continue(())
    }
}

#[test]
fn bodies_stream_byte_for_byte_whatever_the_server_says_between_them() {
    let script = selected(vec![
        answer(
            "UID FETCH 4:6,9 (UID BODY.PEEK[])",
            "* 1 FETCH (UID 4 BODY[] {5}\r\na\r\nb))\r\n* 2 FETCH (FLAGS (\\Seen))\r\n* OK text that ends in {5}\r\n\
         * 2 FETCH (FLAGS (UID 9 x) UID 5 BODY[] {3}\r\n{1} FLAGS ())\r\n* 9 EXISTS\r\n* 3 FETCH (BODY[] \"q\" UID 6)\r\n\
         * 1 EXPUNGE\r\n{tag} OK [X {3}] done {4}\r\n",
        ),
        answer("UID FETCH 9 (", "{tag} OK nothing\r\n"),
    ]);
    let (missing, held) = with(script, |session| {
        session.select("INBOX").expect("open");
        let mut held = Held::default();
        (session.fetch_bodies(&uids(&[4, 5, 6, 9]), &mut held), held.messages)
    });
    assert_eq!(missing, Ok(uids(&[9])));
    assert_eq!(held, [(4, b"a\r\nb)".to_vec()), (5, b"{1}".to_vec()), (6, b"q".to_vec())]);
}

#[test]
fn a_server_that_names_a_message_behind_its_body_is_asked_for_one_at_a_time() {
    let script = selected(vec![
        answer(
            "UID FETCH 4:5 (",
            "* 1 FETCH (BODY[] {1}\r\na UID 4)\r\n* 2 FETCH (BODY[] {1}\r\nb UID 5)\r\n{tag} OK\r\n",
        ),
        answer("UID FETCH 4 (", "* 1 FETCH (BODY[] {1}\r\na UID 4)\r\n{tag} OK\r\n"),
        answer("UID FETCH 5 (", "* 2 FETCH (BODY[] {1}\r\nb UID 5)\r\n{tag} OK\r\n"),
    ]);
    let (missing, held) = with(script, |session| {
        session.select("INBOX").expect("open");
        let mut held = Held::default();
        (session.fetch_bodies(&uids(&[4, 5]), &mut held), held.messages)
    });
    assert_eq!(missing, Ok(Uids::default()));
    assert_eq!(held, [(4, b"a".to_vec()), (5, b"b".to_vec())]);
}

#[test]
fn a_body_that_turns_out_to_be_another_messages_is_no_body() {
    let script = selected(vec![answer("UID FETCH 4 (", "* 1 FETCH (BODY[] {1}\r\na UID 5)\r\n{tag} OK\r\n")]);
    let (result, held) = with(script, |session| {
        session.select("INBOX").expect("open");
        let mut held = Held::default();
        (session.fetch_bodies(&uids(&[4]), &mut held), held.messages)
    });
    assert_eq!(result.map_err(|error| error.code()), Err("mail-answer-malformed"));
    assert!(held.is_empty());
}

#[test]
fn a_control_character_that_a_sender_wrote_keeps_no_message_from_being_told() {
    let script = selected(vec![answer(
        "UID FETCH 4 (",
        "* 1 FETCH (UID 4 FLAGS () INTERNALDATE \"01-Jan-2015 10:00:00 +0000\" RFC822.SIZE 9 \
         BODY[HEADER.FIELDS (FROM TO)] \"From: b\u{1} \u{1b} <bob@x.org>\")\r\n{tag} OK\r\n",
    )]);
    let mut told = Vec::new();
    let missing = with(script, |session| {
        session.select("INBOX").expect("open");
        session.fetch_meta(&uids(&[4]), |meta| {
            told.push((meta.uid, meta.header.expect("a header").from));
            ControlFlow::Continue(())
        })
    });
    assert_eq!(missing, Ok(Uids::default()));
    assert_eq!(told, [(Uid(4), vec!["bob@x.org".to_owned()])]);
}

#[test]
fn a_header_that_is_too_large_keeps_no_other_message_from_being_told() {
    let told = |uid: u32, name: &str, header: &str| {
        format!(
            "* {uid} FETCH (UID {uid} FLAGS () INTERNALDATE \"01-Jan-2015 10:00:00 +0000\" RFC822.SIZE 9 \
             {name} {{{}}}\r\n{header} MODSEQ (7))\r\n",
            header.len()
        )
    };
    let at_most = usize::try_from(LITERAL_HELD_BYTES_MAX).expect("a size");
    let fits = format!("To: bob@x.org,{}cyra@x.org", " ".repeat(at_most - 24));
    let text = [
        told(1, "BODY[HEADER.FIELDS (FROM TO)]", "To: ada@x.org\r\n\r\n"),
        told(2, "BODY[HEADER.FIELDS (\"FROM\" \"TO\")]", &format!("To: dora@x.org,{}", " ".repeat(at_most))),
        told(3, "body[header.fields (FROM TO)]", &fits),
        // What was not asked for is held by no message.
        told(9, "BODY[HEADER.FIELDS (FROM TO)]", &"9".repeat(at_most + 9)),
        "* 4 FETCH (UID 4 FLAGS () INTERNALDATE \"01-Jan-2015 10:00:00 +0000\" RFC822.SIZE 9 BODY[HEADER.FIELDS (TO)] NIL)\r\n".to_owned(),
        // A server that does not tell of the header says nothing that anything could rest on.
        "* 5 FETCH (UID 5 FLAGS () INTERNALDATE \"01-Jan-2015 10:00:00 +0000\" RFC822.SIZE 9)\r\n{tag} OK\r\n".to_owned(),
    ]
    .concat();
    let mut all = Vec::new();
    // Whether they are there at all is asked, for of what was just removed some servers tell no header either.
    let there = answer("UID SEARCH UID 2,4", "* SEARCH 2 4\r\n{tag} OK\r\n");
    let missing = with(selected(vec![answer("UID FETCH 1:5 (", &text), there]), |session| {
        session.select("INBOX").expect("open");
        session.fetch_meta(&uids(&[1, 2, 3, 4, 5]), |meta| {
            all.push((meta.uid.0, meta.header.map(|header| header.to)));
            ControlFlow::Continue(())
        })
    });
    assert_eq!(missing, Ok(uids(&[5])));
    let known = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(all, [(1, known(&["ada@x.org"])), (3, known(&["bob@x.org", "cyra@x.org"])), (2, None), (4, None)]);
}

#[test]
fn a_literal_of_another_name_than_a_header_is_not_passed_over() {
    let bytes = LITERAL_HELD_BYTES_MAX + 1;
    for what in ["UID 4 BODY[TEXT] ", "UID 4 FLAGS (\"BODY[HEADER.FIELDS (TO)] \" ", "UID 4 BODY[HEADER] "] {
        let script =
            selected(vec![Step::Answer("UID FETCH", format!("* 1 FETCH ({what}{{{bytes}}}\r\n").into_bytes())]);
        let error = with(script, |session| {
            session.select("INBOX").expect("open");
            session.fetch_meta(&uids(&[4]), |_| ControlFlow::Continue(())).expect_err("an error")
        });
        assert_eq!(error.code(), "mail-too-much", "{what}");
    }
}

#[test]
fn too_much_is_refused_before_it_is_held() {
    let long = vec![b'a'; LINE_BYTES_MAX + 2];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a literal of 8 GiB", format!("* ACL {{{}}}\r\n", 8_u64 << 30).into_bytes()),
        ("a literal past the bound", format!("* ACL {{{}}}\r\n", LITERAL_HELD_BYTES_MAX + 1).into_bytes()),
        ("a body of 8 GiB", format!("* 1 FETCH (UID 4 BODY[] {{{}}}\r\n", 8_u64 << 30).into_bytes()),
        ("an endless line", [b"* LIST ".to_vec(), long].concat()),
        ("a number past 64 bits", b"* ACL {99999999999999999999999}\r\n".to_vec()),
    ];
    for (what, bytes) in cases {
        let script = logged_in(vec![Step::Answer("GETACL", bytes)]);
        let error = with(script, |session| session.acl("INBOX").map(|_| ()).expect_err("an error"));
        assert_eq!(error.code(), "mail-too-much", "{what}");
    }
}

#[test]
fn nonsense_ends_the_session_and_nothing_is_sent_after_it() {
    for nonsense in [
        "* ACL INBOX ada\r\n",
        "* ACL (INBOX\r\n",
        "garbage\r\n",
        "x9 OK done\r\n",
        "* 1 FETCH (UID)\r\n",
        "\r\n",
        "+ go on\r\n",
        "* ACL \"INBOX ada lr\r\n",
        "{tag} MAYBE\r\n",
        "* LIST () \"/\" \u{1}streamed\r\n",
        "* SEARCH a\r\n",
    ] {
        let script = logged_in(vec![answer("GETACL", nonsense)]);
        let (first, second) =
            with(script, |session| (session.acl("INBOX").err(), session.set_acl("INBOX", "bob", Rights::READ)));
        let code = first.expect("an error").code();
        assert!(["mail-answer-malformed", "mail-closed"].contains(&code), "{nonsense:?}: {code}");
        let second = second.expect_err("the session is over");
        assert!(matches!(second, MailError::Refused(_)), "nothing was sent, so nothing is unknown: {second:?}");
    }
}

#[test]
fn an_effect_without_an_answer_is_unknown_and_a_question_is_refused() {
    let script = || logged_in(vec![answer("ACL", "* BYE shutting down\r\n")]);
    let effect = with(script(), |session| session.set_acl("INBOX", "bob", Rights::READ));
    assert_eq!(effect, Err(MailError::unknown("mail-bye")));
    let question = with(script(), |session| session.acl("INBOX").map(|_| ()).expect_err("an error"));
    assert!(matches!(question, MailError::Refused(_)));
}

#[test]
fn refusals_keep_the_reason_that_programs_read() {
    for (said, code) in [
        ("[OVERQUOTA] full", "mail-over-quota"),
        ("[INUSE] busy", "mail-folder-in-use"),
        ("[LIMIT] enough", "mail-server-limit"),
        ("[NOPERM] no", "mail-no-right"),
        ("no [LIMIT] here", "mail-refused"),
        ("[X-OWN ada@contoso.com] no", "mail-refused"),
    ] {
        let script = logged_in(vec![answer("SETACL", &format!("{{tag}} NO {said}\r\n"))]);
        let error = with(script, |session| session.set_acl("INBOX", "bob", Rights::READ)).expect_err("refused");
        assert_eq!(error.code(), code);
        assert!(!error.to_string().contains("ada@"), "no text of the server is shown");
    }
}

#[test]
fn commands_over_many_folders_end_each_by_itself() {
    let script = logged_in(vec![
        answer("GETACL \"a\"", "* ACL a ada lrswipkxtea\r\n{tag} OK\r\n"),
        answer("GETACL \"b\"", "{tag} NO [NONEXISTENT] gone\r\n"),
        answer("GETACL \"c\"", "{tag} OK but says nothing\r\n"),
    ]);
    let acls = with(script, |session| session.acls(&["a", "b", "c"]));
    assert_eq!(acls[0].as_ref().map(|acl| acl.rights_of("ada")).ok(), Some(Rights::FULL_ACCESS));
    assert_eq!(acls[1].as_ref().err().map(MailError::code), Some("mail-folder-missing"));
    assert_eq!(acls[2].as_ref().err().map(MailError::code), Some("mail-answer-incomplete"));
}

#[test]
fn what_removes_messages_needs_uidplus_an_open_folder_and_the_same_validity() {
    with(selected(Vec::new()), |session| {
        let other = UidValidity(8);
        assert_eq!(session.uid_expunge(&uids(&[1]), other).map_err(|error| error.code()), Err("mail-not-open"));
        session.select("INBOX").expect("open");
        assert_eq!(session.uid_expunge(&uids(&[1]), other).map_err(|error| error.code()), Err("mail-uid-validity"));
        assert_eq!(
            session.store_deleted(&uids(&[1]), other, None).map_err(|error| error.code()),
            Err("mail-uid-validity")
        );
    });
    let script =
        vec![say("* OK [CAPABILITY IMAP4rev1] x\r\n"), answer("LOGIN", "{tag} OK [CAPABILITY IMAP4rev1] x\r\n")];
    with(script, |session| {
        let refused = session.uid_expunge(&uids(&[1]), UidValidity(9));
        assert_eq!(refused.map_err(|error| error.code()), Err("mail-no-uidplus"));
        assert_eq!(session.acl("INBOX").err().map(|error| error.code()), Some("mail-no-acl"));
    });
}

#[test]
fn exactly_the_named_messages_are_flagged_and_expunged() {
    let script = selected(vec![
        answer("UID STORE 4,7:9 +FLAGS.SILENT (\\Deleted)\r\n", "* 2 FETCH (UID 7 FLAGS (\\Deleted))\r\n{tag} OK\r\n"),
        answer("UID EXPUNGE 4,7:9\r\n", "* VANISHED 4,7:8\r\n* 3 EXPUNGE\r\n{tag} OK\r\n"),
    ]);
    with(script, |session| {
        let open = session.select("INBOX").expect("open");
        assert_eq!(session.store_deleted(&uids(&[4, 7, 8, 9]), open.uid_validity, None), Ok(Uids::default()));
        assert_eq!(session.uid_expunge(&uids(&[4, 7, 8, 9]), open.uid_validity), Ok(Expunged { told: 4 }));
    });
}

/// More messages than one command can name: every second one, so that no range helps.
fn two_pieces() -> Uids {
    let many: Uids = (0..1_500).map(|number| Uid(100_001 + 2 * number)).collect();
    assert_eq!(many.pieces().len(), 2);
    many
}

#[test]
fn a_piece_that_is_refused_beside_another_that_is_not_leaves_nobody_certain_that_nothing_happened() {
    type Change = fn(&mut Session, &Uids, UidValidity) -> Result<(), MailError>;
    let changes: [(&str, Change); 3] = [
        ("UID STORE", |session, uids, under| session.store_deleted(uids, under, None).map(drop)),
        ("UID STORE", |session, uids, under| session.store_undeleted(uids, under)),
        ("UID EXPUNGE", |session, uids, under| session.uid_expunge(uids, under).map(drop)),
    ];
    for (verb, change) in changes {
        // They are sent without waiting for one another.
        let answered = |answers: &[&str]| {
            let steps = answers.iter().map(|said| answer(verb, &format!("{{tag}} {said}\r\n"))).collect();
            with(selected(steps), |session| {
                let open = session.select("INBOX").expect("open");
                change(session, &two_pieces(), open.uid_validity)
            })
        };
        const NO: &str = "NO [NOPERM] no";
        assert_eq!(answered(&[NO, NO]), Err(MailError::refused("mail-no-right", Retry::Operator)), "{verb}");
        for one in [[NO, "OK"], ["OK", NO]] {
            assert_eq!(answered(&one), Err(MailError::unknown("mail-no-right")), "{verb}");
        }
        // The connection ends before the other is answered.
        assert_eq!(answered(&[NO]), Err(MailError::unknown("mail-no-right")), "{verb}");
        assert_eq!(answered(&["OK", "OK"]), Ok(()), "{verb}");
    }
}

#[test]
fn a_refusal_that_names_some_messages_says_nothing_of_the_others() {
    for said in ["[MODIFIED 4] one is gone", "[EXPUNGEISSUED] one is gone"] {
        let script = selected(vec![answer("UID STORE", &format!("{{tag}} NO {said}\r\n"))]);
        let stored = with(script, |session| {
            let open = session.select("INBOX").expect("open");
            session.store_deleted(&uids(&[4, 5]), open.uid_validity, Some(7))
        });
        assert_eq!(stored, Err(MailError::unknown("mail-message-gone-meanwhile")), "{said}");
    }
}

/// Takes its time over every byte.
struct Dawdling(ManualClock);

impl std::io::Read for Dawdling {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.advance(limits::COMMAND_MAX / 2);
        let read = buffer.get_mut(..1).map_or(0, |byte| byte.len());
        Ok(read)
    }
}

#[test]
fn an_append_has_one_deadline_however_many_parts_it_has() {
    // What was gathered by then is not sent any more.
    let script = logged_in(vec![answer("APPEND", "+ go\r\n")]);
    let scripted = Scripted::playing(vec![script]);
    let clock = ManualClock::starting_at(Timestamp(0));
    let connector = Connector::new(Arc::new(clock.clone()), Arc::new(|| 7));
    let mut session = connector.open(&scripted.access(LoginForm::OwnPassword)).expect("a session");
    let appended = session.append("Archive", &[], None, 10, &mut Dawdling(clock));
    assert_eq!(appended, Err(MailError::unknown("mail-too-slow")));
    drop(session);
    scripted.end();
}

/// Lets time pass with every part of a body.
struct Slow(ManualClock);

impl BodySink for Slow {
    fn begins(&mut self, _uid: Uid, _bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn chunk(&mut self, _bytes: &[u8]) -> ControlFlow<()> {
        self.0.advance(limits::COMMAND_MAX * 2);
        ControlFlow::Continue(())
    }

    fn ends(&mut self, _uid: Uid) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up() {
    let script = selected(vec![answer("UID FETCH 4 (", "* 1 FETCH (UID 4 BODY[] {9}\r\nabc"), Step::Take(1)]);
    let scripted = Scripted::playing(vec![script]);
    let clock = ManualClock::starting_at(Timestamp(0));
    let connector = Connector::new(Arc::new(clock.clone()), Arc::new(|| 7));
    let mut session = connector.open(&scripted.access(LoginForm::OwnPassword)).expect("a session");
    session.select("INBOX").expect("open");
    let read = session.fetch_bodies(&uids(&[4]), &mut Slow(clock));
    assert_eq!(read.map_err(|error| error.code()), Err("mail-too-slow"));
    session.log_out();
    // The server waits for a byte that never comes.
    drop(scripted);
}

#[test]
fn a_message_is_appended_only_after_the_server_asks_for_it() {
    let script = logged_in(vec![
        answer("APPEND \"Archive\" (\\Seen $Held) \"01-Jan-2015 10:00:00 +0000\" {5}", "+ go\r\n"),
        Step::Take(7),
        Step::Say(b"r2 OK [APPENDUID 77 12] done\r\n".to_vec()),
        answer("APPEND", "{tag} NO [OVERQUOTA] full\r\n"),
    ]);
    with(script, |session| {
        let date = InternalDate::parse("01-Jan-2015 10:00:00 +0000");
        let flags = ["\\Seen", "\\Recent", "$Held"].map(str::to_owned);
        let appended = session.append("Archive", &flags, date, 5, &mut &b"hello"[..]);
        assert_eq!(appended, Ok(Some(Appended { uid_validity: UidValidity(77), uid: Uid(12) })));
        let full = session.append("Archive", &[], None, 5, &mut &b"hello"[..]);
        assert_eq!(full.map_err(|error| error.code()), Err("mail-over-quota"));
    });
}

#[test]
fn a_server_that_says_only_in_words_that_there_is_no_room_is_asked_for_its_quota() {
    let appended = |quota: &str| {
        let script = vec![
            say("* OK [CAPABILITY IMAP4rev1 QUOTA] x\r\n"),
            answer("LOGIN", "{tag} OK [CAPABILITY IMAP4rev1 QUOTA] x\r\n"),
            answer("APPEND", "{tag} NO Over quota\r\n"),
            answer("GETQUOTAROOT \"INBOX\"", &format!("* QUOTAROOT INBOX r\r\n* QUOTA r{quota}\r\n{{tag}} OK\r\n")),
        ];
        let appended = with(script, |session| session.append("INBOX", &[], None, 2_000, &mut &[b'a'; 2_000][..]));
        appended.map(drop).map_err(|error| error.code())
    };
    for full in [" (STORAGE 1023 1024)", " (STORAGE 1 1024 MESSAGE 10 10)"] {
        assert_eq!(appended(full), Err("mail-over-quota"), "{full}");
    }
    for room in [" (STORAGE 1022 1024)", " (X-OTHER 1 1)", " (STORAGE x 1)", " ()", ""] {
        assert_eq!(appended(room), Err("mail-refused"), "{room}");
    }
}

#[test]
fn a_login_form_that_the_server_ignores_is_refused_before_a_password_is_sent() {
    let scripted = Scripted::playing(vec![vec![say("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Courier-IMAP ready\r\n")]]);
    let refused = scripted.open(LoginForm::AuthzId).expect_err("refused");
    assert_eq!(refused.code(), "mail-login-form");
    scripted.end();
}

const ADMIN_GREETING: &str = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN ACL] Dovecot ready\r\n";

fn admin_login(inbox: &str) -> Vec<Step> {
    vec![
        say(ADMIN_GREETING),
        answer("LOGIN \"ada*root\"", "{tag} OK [CAPABILITY IMAP4rev1 ACL] in\r\n"),
        answer("GETACL \"INBOX\"", &format!("* ACL INBOX {inbox}\r\n{{tag}} OK\r\n")),
    ]
}

fn nobody_login(end: &str) -> Vec<Step> {
    vec![say(ADMIN_GREETING), answer("LOGIN \"no-such-mailbox-", end)]
}

#[test]
fn the_admins_own_mailbox_is_never_taken_for_the_users() {
    let master = || LoginForm::DovecotMaster { separator: '*' };
    let refused = "{tag} NO [AUTHORIZATIONFAILED] no\r\n";
    let proven = |scripts: Vec<Vec<Step>>| {
        let scripted = Scripted::playing(scripts);
        let opened = scripted.open(master()).map(|session| session.proof()).map_err(|error| error.code());
        scripted.end();
        opened
    };
    assert_eq!(proven(vec![admin_login("ada lrswipkxtea")]), Ok(Proof::OwnerEntry));
    assert_eq!(proven(vec![admin_login("root lrswipkxtea bob lr")]), Err("mail-wrong-mailbox"));
    // The admin's own under a name that the login does not show, in which the user was given all rights.
    let other_name = || admin_login("postmaster lrswipkxtea ada lrswipkxtea");
    let honoured = "{tag} OK [CAPABILITY IMAP4rev1 ACL] in\r\n";
    assert_eq!(proven(vec![other_name(), nobody_login(honoured)]), Err("mail-not-proven"));
    // Both names are there: the admin's own, in which the user has rights, or the user's, in which the admin has.
    let both = || admin_login("ada lrswipkxtea root lrswipkxtea");
    assert_eq!(proven(vec![both(), nobody_login(refused), both()]), Ok(Proof::UnknownUserRefused));
    assert_eq!(proven(vec![both(), nobody_login(honoured)]), Err("mail-not-proven"));
    assert_eq!(proven(vec![both(), nobody_login("{tag} NO [UNAVAILABLE] busy\r\n")]), Err("mail-server-unavailable"));
    let denied = vec![say(ADMIN_GREETING), answer("LOGIN \"ada*root\"", "{tag} NO [LIMIT] no\r\n")];
    assert_eq!(proven(vec![both(), nobody_login(refused), denied]), Err("mail-server-limit"));
}

#[test]
fn a_server_that_fails_is_left_alone_and_a_wrong_password_is_no_failure_of_the_server() {
    let scripted = Scripted::playing(vec![
        vec![say("* OK [CAPABILITY IMAP4rev1] x\r\n"), answer("LOGIN", "{tag} NO no\r\n")],
        vec![say("* BYE too many connections\r\n")],
    ]);
    let connector = connector();
    let access = scripted.access(LoginForm::OwnPassword);
    let code = || connector.open(&access).expect_err("an error").code();
    assert_eq!([code(), code(), code()], ["mail-login-refused", "mail-busy-greeting", "mail-backing-off"]);
    scripted.end();
}
