//! Notices for a web server, signed as Standard Webhooks 1.0.0 says.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ureq::Error;
use zeroize::Zeroizing;

use super::{Carrier, Letter, SECRET_UNREADABLE, Undelivered, within};
use crate::config::WebhookChannel;
use crate::connector::imap::{Keys, Secret};
use crate::connector::web::{self, NoAnswer};
use crate::halt::Halt;

/// How long one request may take in all: whoever takes longer to note a notice is as good as away.
const REQUEST_MAX: Duration = Duration::from_secs(15);

/// What stands before a key that is written in base64, as Standard Webhooks has it.
const KEY_PREFIX: &str = "whsec_";

/// Posts letters to a URL. It has one when it answers with a status from 200 to 299; redirects are not followed.
pub struct Webhook {
    channel: WebhookChannel,
    keys: Keys,
    halt: Halt,
    request_max: Duration,
}

impl Webhook {
    /// Posts to a URL. The key is read anew for each letter; `halt` ends a delivery early.
    #[must_use]
    pub fn to(channel: WebhookChannel, keys: Keys, halt: Halt) -> Self {
        Self { channel, keys, halt, request_max: REQUEST_MAX }
    }
}

impl Carrier for Webhook {
    fn deliver(&mut self, letter: &Letter) -> Result<(), Undelivered> {
        let secret = (self.keys)(&self.channel.key).map_err(|_| Undelivered::because(SECRET_UNREADABLE))?;
        let (body, at) = (letter.json(), letter.at.unix_seconds().to_string());
        let signature = signature(&key_of(&secret)?, &letter.id, &at, &body);
        let (channel, id, request_max) = (self.channel.clone(), letter.id.clone(), self.request_max);
        within(&self.halt, move || {
            let agent = web::agent(channel.ca_file.as_deref(), request_max);
            let agent = agent.map_err(|_| Undelivered::because("webhook-tls-files"))?;
            let request = agent
                .post(channel.url.reveal())
                .header("content-type", "application/json")
                .header("webhook-id", &id)
                .header("webhook-timestamp", &at)
                .header("webhook-signature", &signature);
            match request.send(&body) {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(Undelivered::because(format!("http-{}", answer.status().as_u16()))),
                Err(error) => Err(Undelivered::because(code_of(&error))),
            }
        })
    }
}

/// Returns the bytes of the key: what follows `whsec_` in base64, or the text as it is.
fn key_of(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Undelivered> {
    match secret.reveal().strip_prefix(KEY_PREFIX) {
        None => Ok(Zeroizing::new(secret.reveal().as_bytes().to_vec())),
        Some(encoded) => {
            STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| Undelivered::because("webhook-key-not-base64"))
        }
    }
}

fn signature(key: &[u8], id: &str, at: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

/// Says what happened without any text of the server.
fn code_of(error: &Error) -> &'static str {
    match NoAnswer::because(error) {
        NoAnswer::TimedOut => "webhook-timeout",
        NoAnswer::HostUnknown => "webhook-host-unknown",
        NoAnswer::NotTrusted => "webhook-tls",
        NoAnswer::Unreachable => "webhook-unreachable",
        NoAnswer::Other => "webhook-failed",
    }
}

#[cfg(test)]
mod tests;
