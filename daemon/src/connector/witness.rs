//! Witnesses: independent parties that sign a checkpoint of this log after they saw that it had only grown (C2SP
//! tlog-witness).

use std::path::PathBuf;
use std::time::Duration;

use retention_core::evidence::cosignature::exchange::{ANSWER_BYTES_MAX, Answer};

use crate::connector::bounded::within;
use crate::connector::web::{self, NoAnswer};
use crate::diagnostics::Redacted;
use crate::halt::Halt;

/// A witness that can be asked. Asking it again is harmless: it signs what it signed once more, with a later time.
pub trait Cosigning: Send {
    /// Sends a request `add-checkpoint`, and returns what it answered, none of which is believed.
    ///
    /// # Errors
    /// Says why there is no answer, in a sentence without personal data.
    fn ask(&mut self, request: &str) -> Result<Answer, String>;
}

/// How long one request may take in all.
const REQUEST_MAX: Duration = Duration::from_secs(15);

/// A witness on the web.
pub struct WebWitness {
    /// Its submission prefix.
    url: Redacted<String>,
    ca_file: Option<PathBuf>,
    halt: Halt,
    request_max: Duration,
}

impl WebWitness {
    /// Asks the witness whose submission prefix is this URL, of which nobody is told: it may hold a secret. `halt` ends
    /// a request early.
    #[must_use]
    pub fn at(url: Redacted<String>, ca_file: Option<PathBuf>, halt: Halt) -> Self {
        Self { url, ca_file, halt, request_max: REQUEST_MAX }
    }
}

impl Cosigning for WebWitness {
    fn ask(&mut self, request: &str) -> Result<Answer, String> {
        let url = format!("{}/add-checkpoint", self.url.reveal().trim_end_matches('/'));
        let (ca_file, request_max, request) = (self.ca_file.clone(), self.request_max, request.to_owned());
        let asked = within(&self.halt, move || {
            let agent = web::agent(ca_file.as_deref(), request_max)
                .map_err(|_| "its file of certificate authorities cannot be read".to_owned())?;
            let request_to = agent.post(&url).header("content-type", "text/plain; charset=utf-8");
            let mut answer = request_to.send(&request).map_err(|error| no_answer(&error))?;
            let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
            let status = answer.status().as_u16();
            let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX as u64).read_to_vec();
            let body = body.map_err(|error| match error {
                ureq::Error::BodyExceedsLimit(_) => "its answer is too long to be one".to_owned(),
                error => no_answer(&error),
            })?;
            Ok(Answer::read(status, kind.as_deref(), &body))
        });
        asked.unwrap_or_else(|unfinished| Err(unfinished.to_string()))
    }
}

fn no_answer(error: &ureq::Error) -> String {
    NoAnswer::because(error).in_words().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn read_request(stream: &TcpStream) -> (String, String) {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
                length = bytes.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (first.trim().to_owned(), String::from_utf8(body).unwrap())
    }

    /// Asks a witness that answers these bytes, and returns what it was asked and what was understood.
    fn asked(prefix: &str, answer: Vec<u8>) -> ((String, String), Result<Answer, String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}{prefix}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&stream);
            // Whoever stops reading an answer that is too long breaks the connection.
            drop(stream.write_all(&answer));
            request
        });
        let mut witness = WebWitness::at(Redacted(url), None, Halt::default());
        let answer = witness.ask("old 0\n\nnote");
        (serving.join().unwrap(), answer)
    }

    #[test]
    fn it_is_asked_where_the_specification_says_and_its_answer_is_read() {
        let body = "\u{2014} w AAAA\n";
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        for prefix in ["/w1", "/w1/"] {
            let (request, understood) = asked(prefix, answer.clone().into_bytes());
            assert_eq!(request, ("POST /w1/add-checkpoint HTTP/1.1".to_owned(), "old 0\n\nnote".to_owned()));
            assert_eq!(understood, Ok(Answer::Cosigned(body.to_owned())));
        }
        let conflict = "HTTP/1.1 409 Conflict\r\ncontent-type: text/x.tlog.size\r\nconnection: close\r\ncontent-length: 3\r\n\r\n42\n";
        assert_eq!(asked("", conflict.into()).1, Ok(Answer::Has(42)));
        let moved =
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(asked("", moved.into()).1, Ok(Answer::Other(302)), "no redirect is followed");
    }

    #[test]
    fn an_answer_that_has_no_end_is_not_read_to_it() {
        let mut huge = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        huge.extend(b"\xe2\x80\x94 w AAAA\n".repeat(1_000_000));
        assert_eq!(asked("", huge).1, Err("its answer is too long to be one".to_owned()));
    }

    #[test]
    fn a_witness_that_hangs_is_left_alone_after_a_while_and_when_the_daemon_stops() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // The connection is taken by the system, and nobody reads it.
        let mut hangs = WebWitness::at(Redacted(url.clone()), None, Halt::default());
        hangs.request_max = Duration::from_millis(50);
        assert_eq!(hangs.ask("old 0\n\nnote"), Err("it did not answer in time".to_owned()));
        let halt = Halt::default();
        halt.ask();
        let mut stopped = WebWitness::at(Redacted(url), None, halt);
        assert_eq!(stopped.ask("old 0\n\nnote"), Err("the daemon stops".to_owned()));
        drop(listener);
    }
}
