//! Notices by mail, to a server that is not ours.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use retention_core::notice::Text;
use retention_core::time::Timestamp;
use retention_tests::inbox::{Form, Inbox};
use retentiond::config::{MailAdmin, MailChannel, MailTls, SecretPlace};
use retentiond::connector::imap::{Keys, Secret};
use retentiond::connector::notify::{Carrier as _, Letter, Mail};
use retentiond::diagnostics::Redacted;
use retentiond::halt::Halt;

pub(super) fn letter() -> Letter {
    Letter {
        id: "notice_49c106f2528d1c0ed7fd79676d2cecd3".to_owned(),
        channel: "dpo".to_owned(),
        thing: "plan_needs_approval",
        name: "plan_needs_approval/P121".to_owned(),
        at: Timestamp::from_unix_seconds(1_796_000_000),
        text: Text {
            subject: "Plan P121 of policy contacts waits for approval".to_owned(),
            hint: "retentionctl plan show P121".to_owned(),
            facts: vec![("plan", "P121".to_owned()), ("items", "17".to_owned())],
        },
    }
}

fn channel(port: u16, form: Form, ca_file: PathBuf) -> MailChannel {
    let login = MailAdmin { login: "retentiond".to_owned(), credential: SecretPlace::Credential("mail".to_owned()) };
    MailChannel {
        host: "127.0.0.1".to_owned(),
        port,
        tls: match form {
            Form::Implicit => MailTls::Implicit,
            Form::StartTls => MailTls::StartTls,
            Form::Plain | Form::Https => MailTls::PlainLoopback,
        },
        ca_file: Some(ca_file),
        tls_name: "localhost".to_owned(),
        login: (form != Form::Plain).then_some(login),
        from: Redacted("retentiond@example.org".to_owned()),
        to: ["dpo@example.org", "deputy@example.org"].map(|to| Redacted(to.to_owned())).to_vec(),
    }
}

fn send(channel: MailChannel, password: &'static str) -> Result<(), String> {
    let keys: Keys = Arc::new(move |_| Ok(Secret::from(password.to_owned())));
    Mail::through(channel, keys, Halt::default()).deliver(&letter()).map_err(|undelivered| undelivered.code)
}

#[test]
fn a_letter_arrives_for_all_under_the_same_message_id_each_time() {
    for form in [Form::Implicit, Form::StartTls, Form::Plain] {
        let server = Inbox::start(form);
        for _ in 0..2 {
            assert_eq!(send(channel(server.port(), form, server.ca_file()), "right"), Ok(()), "{form:?}");
        }
        let taken = server.taken();
        assert_eq!(taken.len(), 2, "{form:?}");
        for (to, message) in taken {
            assert_eq!(to, "dpo@example.org deputy@example.org");
            for line in [
                "Message-ID: <notice_49c106f2528d1c0ed7fd79676d2cecd3@example.org>\n",
                "From: retentiond@example.org\n",
                "Subject: [retentiond] Plan P121 of policy contacts waits for approval\n",
                "Auto-Submitted: auto-generated\n",
                "Content-Type: text/plain; charset=utf-8\n",
                "  items: 17\n",
                "  retentionctl plan show P121\n",
            ] {
                assert!(message.contains(line), "{line:?} is not in\n{message}");
            }
        }
    }
}

#[test]
fn what_the_server_does_not_take_is_a_code_and_nothing_goes_in_the_clear() {
    for form in [Form::Implicit, Form::StartTls] {
        let (server, other) = (Inbox::start(form), Inbox::start(form));
        let right = || channel(server.port(), form, server.ca_file());
        assert_eq!(send(right(), "wrong"), Err("smtp-535".to_owned()));
        let stranger = channel(server.port(), form, other.ca_file());
        assert_eq!(send(stranger, "right"), Err("smtp-tls".to_owned()));
        let other_name = MailChannel { tls_name: "mail.example.org".to_owned(), ..right() };
        assert_eq!(send(other_name, "right"), Err("smtp-tls".to_owned()));
        let nobody = MailChannel { to: vec![Redacted("nobody@example.org".to_owned())], ..right() };
        assert_eq!(send(nobody, "right"), Err("smtp-550".to_owned()));
        assert_eq!(server.taken(), []);
    }
    let plain = Inbox::start(Form::Plain);
    let expects_tls = channel(plain.port(), Form::StartTls, plain.ca_file());
    assert!(send(expects_tls, "right").is_err(), "a server that cannot do TLS gets nothing");
    assert_eq!(plain.taken(), []);
}

#[test]
fn a_server_that_says_nothing_is_left_when_the_daemon_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let halt = Halt::default();
    let asked = halt.clone();
    let accepted = std::thread::spawn(move || {
        let accepted = listener.accept();
        asked.ask();
        accepted
    });
    let keys: Keys = Arc::new(|_| Ok(Secret::from("right".to_owned())));
    let mut mail = Mail::through(channel(port, Form::Plain, PathBuf::new()), keys, halt);
    assert_eq!(mail.deliver(&letter()).map_err(|undelivered| undelivered.code), Err("stopping".to_owned()));
    drop(accepted.join());
}
