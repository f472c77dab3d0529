//! Against a server on this machine that answers as it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use super::super::tests::letter;
use super::*;
use crate::config::SecretPlace;
use crate::connector::outcome::{Refusal, Retry};
use crate::diagnostics::Redacted;

/// One request, as the server read it.
struct Request {
    head: Vec<String>,
    body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let request = Self { head, body: String::new() };
        let length = request.header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        Self { body: String::from_utf8(body).unwrap(), ..request }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.iter().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Answers one request after the other, each on a connection of its own.
fn server(answers: &'static [&'static str]) -> (String, Receiver<Request>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    let (seen, requests) = channel();
    let thread = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            seen.send(Request::read(&stream)).unwrap();
            write!(stream, "HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    (url, requests, thread)
}

fn webhook(url: String, key: &'static str, halt: Halt) -> Webhook {
    let channel = WebhookChannel { url: Redacted(url), ca_file: None, key: SecretPlace::Credential("k".to_owned()) };
    let keys: Keys = Arc::new(move |_| match key {
        "" => Err(Refusal { code: "mailbox-credential-unreadable", retry: Retry::Operator }),
        key => Ok(Secret::from(key.to_owned())),
    });
    Webhook::to(channel, keys, halt)
}

fn code(webhook: &mut Webhook) -> String {
    webhook.deliver(&letter()).unwrap_err().code
}

#[test]
fn a_letter_is_posted_signed_and_repeated_under_the_same_id() {
    let (url, requests, thread) = server(&["500 no", "302 elsewhere\r\nlocation: http://127.0.0.1:1/", "204 taken"]);
    // "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" is the key of the examples of Standard Webhooks.
    let mut webhook = webhook(url, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Halt::default());
    assert_eq!(code(&mut webhook), "http-500");
    assert_eq!(code(&mut webhook), "http-302", "a redirect is not followed");
    webhook.deliver(&letter()).unwrap();
    thread.join().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
    let all: Vec<Request> = requests.iter().collect();
    assert_eq!(all.len(), 3);
    for request in all {
        assert_eq!(request.head[0], "POST /hook?x=1 HTTP/1.1");
        assert_eq!(
            (request.body.as_str(), request.header("content-type")),
            (letter().json().as_str(), Some("application/json"))
        );
        let (id, at) = (request.header("webhook-id").unwrap(), request.header("webhook-timestamp").unwrap());
        assert_eq!((id, at), (letter().id.as_str(), "1796000000"));
        let tag = request.header("webhook-signature").unwrap().strip_prefix("v1,").unwrap();
        let signed = format!("{id}.{at}.{}", request.body);
        hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(tag).unwrap()).unwrap();
    }
}

#[test]
fn the_signature_is_that_of_the_examples_of_standard_webhooks() {
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "{\"test\": 2432232314}");
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_server_that_never_answers_is_left_when_the_daemon_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let halt = Halt::default();
    let mut webhook = webhook(url, "key", halt.clone());
    let accepted = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        halt.ask();
        stream
    });
    assert_eq!(code(&mut webhook), "stopping");
    drop(accepted.join().unwrap());
}

#[test]
fn a_server_that_never_answers_keeps_nobody_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut webhook = webhook(url, "key", Halt::default());
    webhook.request_max = Duration::from_millis(100);
    assert_eq!(code(&mut webhook), "webhook-timeout");
}

#[test]
fn what_went_wrong_is_a_code_and_names_nobody() {
    let of = |url: &str, key| code(&mut webhook(url.to_owned(), key, Halt::default()));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(of(&format!("http://{free}/"), "key"), "webhook-unreachable");
    assert_eq!(of(&format!("http://{free}/"), "whsec_%"), "webhook-key-not-base64");
    assert_eq!(of(&format!("http://{free}/"), ""), "secret-unreadable");
    let (url, _requests, thread) = server(&[]);
    drop(thread.join());
    assert_eq!(of(&url.replace("http:", "https:"), "key"), "webhook-unreachable");
}
