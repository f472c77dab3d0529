//! Disposition certificates: who decided that something was to go, by which policy, who agreed, what was exported, what
//! was destroyed and looked for, and what may be left, in one file that is checked without the log.
//!
//! **Everything that is said follows from events.** A certificate carries the events, each with the proof that it
//! stands in the log, and the stored bodies of those that are public. [`Statement::of`] makes the statement from them,
//! when the certificate is written and again when it is checked. The file is a C2SP signed note whose text is JSON,
//! under the key that signs checkpoints.
//!
//! What stands in sealed events, in policies and in the configuration does not follow from them for a reader. Where that
//! matters it stands apart as [`Said`], and nothing but the signature is behind it.

use serde::{Deserialize, Serialize};
use signed_note::{Note, StandardSigner};

use super::checkpoint::{CheckpointError, KnownKeys};
use super::proof::{EventProof, ProofError};
use crate::event::codec;
use crate::event::{Envelope, Event, EventType, Sealing};
use crate::id::{Digest, EntityId, RequestId, RunId};
use crate::time::Timestamp;

mod copies;
pub mod page;
mod request;
mod run;
mod said;

pub use copies::{Copies, Recipient};
pub use request::{Deed, Planned, RequestStatement, belongs as belongs_to_request};
pub use run::{Accessed, Disposed, RunStatement, belongs};
pub use said::{Said, SaidCopies, SaidDeliveries, SaidException, SaidOfRequest, SaidOfRun, SaidTold};

/// An event as a certificate tells it: without a body where that is sealed.
pub type Told = (Envelope, Option<Event>);

/// What the text says of itself.
const FORMAT: &str = "retentiond certificate 1";

/// The longest certificate that is read, in bytes: a run of a million items has some hundred sagas of five steps, each
/// proven.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a certificate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Everything that a run purged.
    Run(RunId),
    /// One entity that was purged.
    Entity(EntityId),
    /// What a data subject asked to be erased.
    Request(RequestId),
}

/// An event with what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// That it stands in the log (c2sp.org/tlog-proof).
    pub proof: String,
    /// Its stored body, in hexadecimal digits, when that is public.
    pub body: Option<String>,
}

/// One person who agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Approval {
    fn of(envelope: &Envelope) -> Self {
        Self { by: envelope.actor.to_string(), at: envelope.recorded_at }
    }
}

/// What follows from the events of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Statement {
    /// Of a run, or of one entity in it.
    Run(Box<RunStatement>),
    /// Of a request.
    Request(Box<RequestStatement>),
}

impl Statement {
    /// Makes the statement that follows from events, in the order of the log.
    ///
    /// # Errors
    /// When they do not tell who decided, who ran, and what was destroyed; or tell of several; or of no plan for the
    /// request.
    pub fn of(subject: Subject, told: &[Told]) -> Result<Self, CertificateError> {
        let statement = match subject {
            Subject::Run(run) => Self::Run(Box::new(RunStatement::of_run(run, told)?)),
            Subject::Entity(entity) => Self::Run(Box::new(RunStatement::of_entity(entity, told)?)),
            Subject::Request(request) => Self::Request(Box::new(RequestStatement::of(request, told)?)),
        };
        // An instant that no calendar has would read back as another one.
        if is_tellable(&statement) { Ok(statement) } else { Err(CertificateError::Untellable) }
    }

    /// Returns the statement of a run or of one entity in it.
    #[must_use]
    pub fn run(&self) -> Option<&RunStatement> {
        match self {
            Self::Run(statement) => Some(statement),
            Self::Request(_) => None,
        }
    }

    /// Returns the statement of a request.
    #[must_use]
    pub fn request(&self) -> Option<&RequestStatement> {
        match self {
            Self::Request(statement) => Some(statement),
            Self::Run(_) => None,
        }
    }
}

/// Says whether something reads back from JSON as it was written.
fn is_tellable<T: Serialize + serde::de::DeserializeOwned + PartialEq>(value: &T) -> bool {
    serde_json::to_value(value).and_then(serde_json::from_value::<T>).is_ok_and(|read| read == *value)
}

/// A certificate proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is not written as it should be.
    #[error("this is no certificate")]
    Malformed,
    /// Its signature.
    #[error(transparent)]
    Signature(#[from] CheckpointError),
    /// One of its proofs.
    #[error("an event of the certificate is not proven: {0}")]
    Proof(#[from] ProofError),
    /// A body in it is not that of its event.
    #[error("a body in the certificate is not the one whose SHA-256 its event has")]
    Body,
    /// The events do not tell a whole disposition.
    #[error("the events of the certificate do not tell who decided, ran and destroyed")]
    Incomplete,
    /// An instant in the events cannot be written.
    #[error("an event tells an instant that no calendar has, so it cannot be certified")]
    Untellable,
    /// What it states is not what its events say.
    #[error("what the certificate states does not follow from its events")]
    Statement,
    /// What the daemon says besides is about something else.
    #[error("what the certificate says of sealed events is about none that it carries")]
    Said,
}

/// A certificate as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    format: String,
    /// The name of the log, which is that of its key.
    pub log: String,
    /// When it was written.
    pub issued_at: Timestamp,
    /// What it is about.
    pub subject: Subject,
    /// What follows from the events.
    pub statement: Statement,
    /// What does not follow from them, and nothing but the signature is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// The events, in the order of the log.
    pub events: Vec<Proven>,
}

impl Certificate {
    /// Makes one from events with their proofs.
    ///
    /// # Errors
    /// When the events do not tell a whole disposition.
    pub fn of(
        log: String,
        issued_at: Timestamp,
        subject: Subject,
        told: &[Told],
        events: Vec<Proven>,
    ) -> Result<Self, CertificateError> {
        let statement = Statement::of(subject, told)?;
        Ok(Self { format: FORMAT.to_owned(), log, issued_at, subject, statement, said: None, events })
    }

    /// Adds what follows from none of its events.
    ///
    /// # Errors
    /// When it is about none of the certificate, or cannot be written.
    pub fn saying(self, said: Said) -> Result<Self, CertificateError> {
        if !is_tellable(&said) {
            return Err(CertificateError::Untellable);
        }
        let certificate = Self { said: Some(said), ..self };
        if certificate.said_fits() { Ok(certificate) } else { Err(CertificateError::Said) }
    }

    fn said_fits(&self) -> bool {
        self.said.as_ref().is_none_or(|said| said.fits(&self.statement))
    }

    /// Signs it. The key is the text of a C2SP signer key.
    ///
    /// # Errors
    /// When the key is none.
    pub fn sign(&self, signer_key: &str) -> Result<String, CertificateError> {
        let text = serde_json::to_string_pretty(self).map_err(|_| CertificateError::Malformed)? + "\n";
        let signer = StandardSigner::new(signer_key).map_err(|_| CheckpointError::BadKey)?;
        let mut note = Note::new(text.as_bytes(), &[]).map_err(|_| CertificateError::Malformed)?;
        note.add_sigs(&[&signer]).map_err(|_| CheckpointError::BadKey)?;
        String::from_utf8(note.to_bytes()).map_err(|_| CertificateError::Malformed)
    }

    /// Reads one without checking anything.
    ///
    /// # Errors
    /// When it is none.
    pub fn unverified(text: &str) -> Result<Self, CertificateError> {
        if text.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Malformed);
        }
        let note = Note::from_bytes(text.as_bytes()).map_err(|_| CertificateError::Malformed)?;
        let certificate: Self = serde_json::from_slice(note.text()).map_err(|_| CertificateError::Malformed)?;
        if certificate.format == FORMAT { Ok(certificate) } else { Err(CertificateError::Malformed) }
    }

    /// Reads one, and checks its signature, every proof, every body, and that its statement follows from them.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn verify(text: &str, verifier_keys: &[&str]) -> Result<Self, CertificateError> {
        let certificate = Self::unverified(text)?;
        let keys = KnownKeys::of(verifier_keys)?;
        let note = Note::from_bytes(text.as_bytes()).map_err(|_| CertificateError::Malformed)?;
        keys.check(&note, &certificate.log, 0)?;
        let mut size = 0;
        let mut told = Vec::with_capacity(certificate.events.len());
        for proven in &certificate.events {
            let (envelope, checkpoint) = EventProof::parse(&proven.proof)?.verify(verifier_keys)?;
            if checkpoint.origin != certificate.log {
                return Err(ProofError::from(CheckpointError::OtherLog).into());
            }
            size = size.max(checkpoint.size);
            // An event that is listed twice would be two approvals.
            if told.last().is_some_and(|(before, _): &Told| before.position >= envelope.position) {
                return Err(CertificateError::Malformed);
            }
            let event = proven.body.as_ref().map(|body| event_of(&envelope, body)).transpose()?;
            told.push((envelope, event));
        }
        // Its own signature has no place in the log. It was made after the newest checkpoint in it.
        keys.check(&note, &certificate.log, size)?;
        if Statement::of(certificate.subject, &told)? != certificate.statement {
            return Err(CertificateError::Statement);
        }
        if !certificate.said_fits() {
            return Err(CertificateError::Said);
        }
        Ok(certificate)
    }
}

/// Reads a public body that belongs to an envelope.
fn event_of(envelope: &Envelope, body: &str) -> Result<Event, CertificateError> {
    let body = hex::decode(body).map_err(|_| CertificateError::Malformed)?;
    if envelope.sealed || Digest::of(&body) != envelope.body_digest {
        return Err(CertificateError::Body);
    }
    codec::read(envelope.event_type, envelope.schema, &body).map_err(|_| CertificateError::Body)
}

/// Says whether the body of an event is carried: it is public, and short, or lists what a request is about.
#[must_use]
pub fn carries_body(subject: Subject, event: &Event) -> bool {
    let event_type = event.event_type();
    event_type.sealing() == Sealing::Public
        && (event_type != EventType::SagaStarted || matches!(subject, Subject::Request(_)))
}

#[cfg(test)]
mod tests;
