//! Disposition certificates: who decided that something was to go, by which policy, who agreed, what was exported, what
//! was destroyed and looked for, and what may be left, in one file that is checked without the log.
//!
//! **Everything that is said follows from events.** A certificate carries the events, each with the proof that it
//! stands in the log, and the stored bodies of those that are public. [`Statement::of`] makes the statement from them,
//! when the certificate is written and again when it is checked. The file is a C2SP signed note whose text is JSON,
//! under the key that signs checkpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};

use super::checkpoint::CheckpointError;
use super::proof::{EventProof, ProofError};
use crate::event::codec;
use crate::event::saga::{Receipt, Residue};
use crate::event::{Envelope, Event, EventType};
use crate::id::{Digest, EntityId, PlanId, ReviewId, RunId, SagaId};
use crate::time::Timestamp;

pub mod page;

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

/// What one saga did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disposed {
    /// SHA-256 of the manifest of the export bundle.
    pub manifest: Option<Digest>,
    /// The instant in the name of the bundle.
    pub exported_at: Option<Timestamp>,
    /// How many items were read back from disk and compared.
    pub verified: u64,
    /// How many keys were destroyed, read back and recorded.
    pub destroyed: u64,
    /// Of how many of them something is left: a redaction recorded it anew before the old key went.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub redacted: u64,
    /// Of how many the use ended, with nothing of them gone.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub restricted: u64,
    /// How many messages were removed from their server.
    pub expunged: u64,
    /// How many were looked for afterwards and not found.
    pub absent: u64,
    /// What a mail server may keep all the same.
    pub residue: Vec<Residue>,
    /// How it ended: `completed`, `compensated` or `stuck`.
    pub end: Option<String>,
}

/// A certificate of a run that redacted, or restricted, nothing does not speak of it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}

/// What follows from the events of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The policy by which it was to go.
    pub policy: String,
    /// SHA-256 of that policy's canonical form.
    pub policy_digest: Digest,
    /// The plan.
    pub plan: PlanId,
    /// SHA-256 that names exactly what was planned.
    pub plan_digest: Digest,
    /// The instant that it was judged for.
    pub judged_at: Timestamp,
    /// How many items were planned.
    pub planned: u64,
    /// Whether an approval was needed.
    pub needs_approval: bool,
    /// Who approved the plan.
    pub approvals: Vec<Approval>,
    /// Who decided that items of the plan are disposed of, where the policy asks a person first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Approval>,
    /// The run.
    pub run: RunId,
    /// Who asked for it.
    pub run_requested_by: String,
    /// How it ended: `completed`, `cancelled` or `stuck`; nothing when it is not over.
    pub run_end: Option<String>,
    /// How many items it purged.
    pub purged: u64,
    /// How many it left alone.
    pub left_alone: u64,
    /// What its sagas did; of an entity, the one saga.
    pub sagas: BTreeMap<SagaId, Disposed>,
    /// When the key of the entity was destroyed, for a certificate of one.
    pub destroyed_at: Option<Timestamp>,
    /// Until when copies of the keys from before may be kept, as far as backups were made by the daemon.
    pub copies_of_keys_until: Option<Timestamp>,
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
        told: &[(Envelope, Option<Event>)],
        events: Vec<Proven>,
    ) -> Result<Self, CertificateError> {
        let statement = Statement::of(subject, told)?;
        Ok(Self { format: FORMAT.to_owned(), log, issued_at, subject, statement, events })
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
        let mut verifiers: Vec<Box<dyn signed_note::Verifier>> = Vec::with_capacity(verifier_keys.len());
        for key in verifier_keys {
            verifiers.push(Box::new(StandardVerifier::new(key).map_err(|_| CheckpointError::BadKey)?));
        }
        let note = Note::from_bytes(text.as_bytes()).map_err(|_| CertificateError::Malformed)?;
        match note.verify(&VerifierList::new(verifiers)) {
            Ok((signatures, _)) if signatures.iter().any(|signed| signed.name() == certificate.log) => {}
            Ok(_) | Err(signed_note::NoteError::UnverifiedNote) => return Err(CheckpointError::UnknownKey.into()),
            Err(_) => return Err(CheckpointError::WrongSignature.into()),
        }
        let mut told = Vec::with_capacity(certificate.events.len());
        for proven in &certificate.events {
            let (envelope, checkpoint) = EventProof::parse(&proven.proof)?.verify(verifier_keys)?;
            if checkpoint.origin != certificate.log {
                return Err(CheckpointError::UnknownKey.into());
            }
            // An event that is listed twice would be two approvals.
            if told.last().is_some_and(|(before, _): &(Envelope, Option<Event>)| before.position >= envelope.position) {
                return Err(CertificateError::Malformed);
            }
            let event = proven.body.as_ref().map(|body| event_of(&envelope, body)).transpose()?;
            told.push((envelope, event));
        }
        if Statement::of(certificate.subject, &told)? != certificate.statement {
            return Err(CertificateError::Statement);
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

impl Statement {
    /// Makes the statement that follows from events. Sealed ones have no body: their type, actor, time and cause count.
    ///
    /// # Errors
    /// When they do not tell who decided, who ran, and what was destroyed; or tell of several.
    pub fn of(subject: Subject, told: &[(Envelope, Option<Event>)]) -> Result<Self, CertificateError> {
        let incomplete = || CertificateError::Incomplete;
        let events = || told.iter().filter_map(|(envelope, event)| Some((envelope, event.as_ref()?)));
        let run_of_entity = events().find_map(|(envelope, event)| match event {
            Event::KeyDestroyed(body) => Some((envelope.entity?, body.run, body.saga, envelope.recorded_at)),
            _ => None,
        });
        let (run, saga_of_entity, destroyed_at) = match subject {
            Subject::Run(run) => (run, None, None),
            Subject::Entity(entity) => {
                let (of, run, saga, at) = run_of_entity.ok_or_else(incomplete)?;
                if of != entity {
                    return Err(incomplete());
                }
                (run, Some(saga), Some(at))
            }
        };
        let requested = events()
            .find(|(envelope, event)| matches!(event, Event::RunRequested(_)) && RunId(envelope.position) == run);
        let (requested, Event::RunRequested(request)) = requested.ok_or_else(incomplete)? else {
            return Err(incomplete());
        };
        let frozen = events().find_map(|(_, event)| match event {
            Event::PlanFrozen(body) if body.plan == request.plan && body.digest == request.digest => Some(body),
            _ => None,
        });
        let frozen = frozen.ok_or_else(incomplete)?;
        let approval = EventType::PlanApproved as u16;
        let approvals = told.iter().filter(|(envelope, _)| {
            envelope.event_type == approval
                && envelope.cause == request.plan.0
                && envelope.position < requested.position
        });
        let approvals = approvals
            .map(|(envelope, _)| Approval { by: envelope.actor.to_string(), at: envelope.recorded_at })
            .collect();
        let rests = events().filter_map(|(_, event)| match event {
            Event::PlanReviewed(body) if body.plan == request.plan => Some(&body.reviews),
            _ => None,
        });
        let mut reviews = Vec::new();
        // The newest, if there are several.
        if let Some(named) = rests.fold(None, |_, named| Some(named)) {
            let review = EventType::ReviewDecided as u16;
            let decided = told
                .iter()
                .map(|(envelope, _)| envelope)
                .filter(|envelope| envelope.event_type == review && named.contains(&ReviewId(envelope.position)));
            reviews
                .extend(decided.map(|envelope| Approval { by: envelope.actor.to_string(), at: envelope.recorded_at }));
            if reviews.len() != named.len() {
                return Err(incomplete());
            }
        }
        let ended = events().find_map(|(_, event)| match event {
            Event::RunEnded(body) if body.run == run => Some(body),
            _ => None,
        });
        // The body of a `SagaStarted` lists its items; that it is of this run, its cause says.
        let started = told
            .iter()
            .filter(|(envelope, _)| envelope.event_type == EventType::SagaStarted as u16 && envelope.cause == run.0);
        let mut sagas: BTreeMap<SagaId, Disposed> = started
            .map(|(envelope, _)| SagaId(envelope.position))
            .filter(|saga| saga_of_entity.is_none_or(|of| of == *saga))
            .map(|saga| (saga, Disposed::default()))
            .collect();
        for (_, event) in events() {
            match event {
                Event::StepSucceeded(body) if !body.compensation => {
                    if let Some(saga) = sagas.get_mut(&body.saga) {
                        saga.take(&body.receipt);
                    }
                }
                Event::SagaEnded(body) => {
                    if let Some(saga) = sagas.get_mut(&body.saga) {
                        saga.end = Some(body.end.name().to_owned());
                    }
                }
                _ => {}
            }
        }
        if sagas.is_empty() {
            return Err(incomplete());
        }
        let copies_of_keys_until = events()
            .filter_map(|(_, event)| match event {
                Event::BackupMade(body) => Some(body.keys_until),
                _ => None,
            })
            .max();
        let statement = Self {
            policy: frozen.policy.clone(),
            policy_digest: frozen.policy_digest,
            plan: request.plan,
            plan_digest: frozen.digest,
            judged_at: frozen.as_of,
            planned: frozen.items,
            needs_approval: frozen.needs_approval || !frozen.tripped.is_empty(),
            approvals,
            reviews,
            run,
            run_requested_by: requested.actor.to_string(),
            run_end: ended.map(|body| body.end.name().to_owned()),
            purged: ended.map_or(0, |body| body.purged),
            left_alone: ended.map_or(0, |body| body.skipped),
            sagas,
            destroyed_at,
            copies_of_keys_until,
        };
        // An instant that no calendar has would read back as another one.
        let is_told = serde_json::to_value(&statement).and_then(serde_json::from_value::<Self>);
        if is_told.is_ok_and(|told| told == statement) { Ok(statement) } else { Err(CertificateError::Untellable) }
    }
}

impl Disposed {
    fn take(&mut self, receipt: &Receipt) {
        match receipt {
            Receipt::Exported { manifest, exported_at, .. } => {
                (self.manifest, self.exported_at) = (Some(*manifest), Some(*exported_at));
            }
            Receipt::ExportVerified { items, .. } => self.verified = *items,
            Receipt::Purged { items } => self.destroyed = *items,
            Receipt::Expunged { items } => self.expunged = *items,
            Receipt::Absent { items } => self.absent = *items,
            Receipt::AbsentFromServer { items, residue } => {
                (self.absent, self.residue) = (*items, residue.clone());
            }
            Receipt::Redacted { items } => self.redacted = *items,
            Receipt::Restricted { items } => self.restricted = *items,
            Receipt::Quarantined { .. } | Receipt::Undone => {}
        }
    }
}

/// Says which events belong into the certificate of a run, of all that its index has.
#[must_use]
pub fn belongs(event: &Event) -> bool {
    matches!(
        event,
        Event::RunRequested(_)
            | Event::RunStarted(_)
            | Event::RunEnded(_)
            | Event::SagaStarted(_)
            | Event::StepSucceeded(_)
            | Event::SagaEnded(_)
    )
}

/// Says whether the body of an event is carried: it is public, and short.
#[must_use]
pub fn carries_body(event: &Event) -> bool {
    !matches!(event, Event::SagaStarted(_) | Event::PlanApproved(_) | Event::ReviewDecided(_))
}

#[cfg(test)]
mod tests;
