//! The proxy and the scripted server do what the suites rely on.

use retention_tests::proxy::{Fault, Proxy, Way, places};
use retention_tests::scripted::{Act, GREETING, Rule, Scripted};
use retention_tests::servers::raw::{Raw, Status};
use retention_tests::servers::{Kind, Server};

#[test]
fn the_proxy_passes_everything_on_and_records_it() {
    let server = Server::shared(Kind::Dovecot);
    let proxy = Proxy::before(server.imap_port());
    let account = server.mailbox();
    let mut raw = Raw::connect(proxy.port());
    raw.login(&account.name, &account.password);
    assert_eq!(raw.folders(), server.login(&account).folders());
    let dialogues = proxy.dialogues();
    assert_eq!(dialogues.len(), 1);
    assert!(dialogues[0].up.ends_with(b"LIST \"\" \"*\"\r\n"));
    assert_eq!(dialogues[0].turns, 2);
    assert!(!dialogues[0].failed);
}

#[test]
fn the_proxy_cuts_after_the_byte_it_was_told_and_refuses() {
    let scripted = Scripted::start(vec![]);
    let proxy = Proxy::before(scripted.port());
    for bytes in [4, 9, 30] {
        proxy.next(Fault::Cut(Way::Down, bytes));
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let mut got = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut got).unwrap();
        assert_eq!(got.len() as u64, bytes);
    }
    proxy.next(Fault::Cut(Way::Up, 4));
    let mut raw = Raw::connect(proxy.port());
    assert_eq!(raw.ask("CAPABILITY").status, Status::Gone);
    proxy.until(|dialogues| dialogues.last().is_some_and(|dialogue| dialogue.failed && dialogue.up == b"r1 C"));
    proxy.next(Fault::Refuse);
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    assert_eq!(std::io::Read::read_to_end(&mut stream, &mut Vec::new()).unwrap(), 0);
    // And then again as if nothing had been.
    assert_eq!(Raw::connect(proxy.port()).ask("CAPABILITY").status, Status::Ok);
}

#[test]
fn a_lost_command_is_carried_out_or_not_as_the_test_says() {
    for (kind, fault, folders) in Kind::ALL.into_iter().flat_map(|kind| {
        let text = "CREATE".to_owned();
        [(kind, Fault::LostNotApplied(text.clone()), 0), (kind, Fault::LostButApplied(text), 1)]
    }) {
        let server = Server::shared(kind);
        let account = server.mailbox();
        let proxy = Proxy::before(server.imap_port());
        proxy.next(fault.clone());
        let folder = server.folder(&["Lost"]);
        let mut raw = Raw::connect(proxy.port());
        raw.login(&account.name, &account.password);
        let answer = raw.ask(&format!("CREATE {folder}"));
        assert_eq!((answer.status, answer.lines.len()), (Status::Gone, 0), "{kind} {fault:?}");
        assert!(proxy.dialogues()[0].failed);
        let found = server.login(&account).folders().into_iter().filter(|name| *name == folder).count();
        assert_eq!(found, folders, "{kind} {fault:?}");
    }
}

#[test]
fn a_held_connection_goes_on_when_it_is_released() {
    let scripted = Scripted::start(vec![]);
    let proxy = Proxy::before(scripted.port());
    proxy.next(Fault::Hold(Way::Up, 6));
    let mut raw = Raw::connect(proxy.port());
    let tag = raw.send("CAPABILITY");
    proxy.until(|dialogues| dialogues[0].failed);
    assert_eq!(scripted.heard(), Vec::<String>::new());
    proxy.release();
    assert_eq!(raw.answer(&tag).status, Status::Ok);
}

#[test]
fn the_scripted_server_is_friendly_but_where_it_was_told() {
    let scripted = Scripted::start(vec![
        Rule::when("NOOP", vec![Act::say("* 3 EXISTS\r\n{tag} NO [INUSE] {tag} later\r\n")]).times(1),
        Rule::when("EXPUNGE", vec![Act::say("* BYE now\r\n"), Act::Close]),
    ]);
    let mut raw = Raw::connect(scripted.port());
    assert!(raw.greeting.starts_with("* OK [CAPABILITY IMAP4rev1"));
    raw.login("a", "b");
    let refused = raw.ask("NOOP");
    assert_eq!((refused.status, refused.text.as_str()), (Status::No, "NO [INUSE] r2 later"));
    assert_eq!(refused.lines[0].text, "* 3 EXISTS");
    assert_eq!(raw.ask("NOOP").status, Status::Ok);
    assert_eq!(raw.append("INBOX", &[], "01-Jan-2015 10:00:00 +0000", b"a\r\nb"), 1);
    let gone = raw.ask("UID EXPUNGE 1");
    assert_eq!((gone.status, gone.lines.len()), (Status::Gone, 1));
    assert!(scripted.heard().contains(&"UID EXPUNGE 1".to_owned()));
    let mute = Scripted::start(vec![Rule::when(GREETING, vec![Act::say("* BYE full\r\n"), Act::Close])]);
    assert_eq!(Raw::connect(mute.port()).greeting, "* BYE full");
}

#[test]
fn the_places_to_cut_are_all_kinds_of_places() {
    let bytes = b"* OK hello\r\na OK\r\n";
    let all = places(bytes, 100);
    for (place, why) in [
        (0, "before all"),
        (1, "after a byte"),
        (10, "before CR"),
        (11, "in CRLF"),
        (12, "between lines"),
        (18, "after all"),
    ] {
        assert!(all.contains(&place), "{why}: {all:?}");
    }
    assert!(places(&bytes.repeat(1_000), 50).len() <= 50);
}
