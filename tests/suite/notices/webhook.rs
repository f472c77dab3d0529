//! Notices by webhook, through TLS to a server that is not ours.

use std::path::PathBuf;
use std::sync::Arc;

use retention_tests::inbox::{Form, Inbox};
use retentiond::config::{SecretPlace, WebhookChannel};
use retentiond::connector::imap::{Keys, Secret};
use retentiond::connector::notify::{Carrier as _, Webhook};
use retentiond::diagnostics::Redacted;
use retentiond::halt::Halt;

use super::mail::letter;

fn post(host: &str, port: u16, ca_file: PathBuf) -> Result<(), String> {
    let url = Redacted(format!("https://{host}:{port}/hook"));
    let key = SecretPlace::Credential("hook".to_owned());
    let channel = WebhookChannel { url, ca_file: Some(ca_file), key };
    let keys: Keys = Arc::new(|_| Ok(Secret::from("key".to_owned())));
    Webhook::to(channel, keys, Halt::default()).deliver(&letter()).map_err(|undelivered| undelivered.code)
}

#[test]
fn a_letter_goes_only_to_a_server_whose_certificate_is_trusted() {
    let (server, other) = (Inbox::start(Form::Https), Inbox::start(Form::Https));
    assert_eq!(post("127.0.0.1", server.port(), other.ca_file()), Err("webhook-tls".to_owned()));
    assert_eq!(post("127.0.0.1", server.port(), "/no/such/file".into()), Err("webhook-tls-files".to_owned()));
    assert_eq!(server.taken(), []);
    assert_eq!(post("localhost", server.port(), server.ca_file()), Ok(()));
    assert_eq!(server.taken(), [("/hook".to_owned(), letter().json())]);
}
