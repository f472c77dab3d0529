//! Bundles, quarantine, events, and what verifications find.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::ActorName;
use crate::event::Envelope;
use crate::event::envelope::ENVELOPE_BYTES;
use crate::id::{Digest, EntityId, Position, RunId, SagaId};
use crate::time::Timestamp;

/// One export bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportRow {
    /// SHA-256 of its manifest, which names it.
    pub manifest: Digest,
    /// The saga that wrote it.
    pub saga: SagaId,
    /// Its run.
    pub run: RunId,
    /// The instant in its name.
    pub exported_at: Timestamp,
    /// How many items it holds.
    pub items: u64,
    /// The bytes of its files.
    pub bytes: u64,
    /// Whether it was read back and found complete before the purge.
    pub verified: bool,
    /// How many got a copy of it.
    pub recipients: u64,
    /// When it was destroyed: a copy of what a data subject wanted erased does not stay.
    pub destroyed_at: Option<Timestamp>,
    /// When it was to be destroyed and was not there: nobody here knows where it is.
    pub not_found_at: Option<Timestamp>,
}

/// Whether something is as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It is.
    Intact,
    /// It differs.
    Damaged,
    /// It is not there.
    Missing,
}

/// What a verification or a rebuild says about one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartRow {
    /// The part: `journal`, `sled`, `views`, a file of a bundle.
    pub part: String,
    /// Whether it is as it was written.
    pub state: PartState,
    /// How many things were looked at.
    pub checked: u64,
    /// What is wrong, as a stable code.
    pub code: Option<String>,
    /// The same as a sentence: what, where, and what to do.
    pub message: Option<String>,
}

/// One entity in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineRow {
    /// The entity.
    pub entity: EntityId,
    /// The run that hid it.
    pub run: RunId,
    /// The saga that hid it.
    pub saga: SagaId,
    /// It may be purged from then on.
    pub until: Timestamp,
}

/// One event, without sealed content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRow {
    /// Where it stands in the log.
    pub position: Position,
    /// When it was appended.
    pub recorded_at: Timestamp,
    /// When it happened in its source.
    pub occurred_at: Timestamp,
    /// The name of its type; `Unknown(17)` when a newer program wrote it.
    pub kind: String,
    /// Who caused it.
    pub actor: ActorName,
    /// The event that led to it; 0 means none.
    pub cause: Position,
    /// The entity it is about.
    pub entity: Option<EntityId>,
    /// Its run.
    pub run: Option<RunId>,
    /// What it says, in one line, without personal data.
    pub summary: String,
    /// That what people wrote in it was erased; what it says otherwise can still be read.
    pub texts_erased: Option<TextsErased>,
    /// SHA-256 of the stored body.
    pub body: Digest,
}

/// That what people wrote in an event was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TextsErased {
    /// When.
    pub at: Timestamp,
    /// Under which policy, as far as that is known.
    pub policy: Option<String>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupRow {
    /// The last event that it holds.
    pub last: Position,
    /// When it was made.
    pub made_at: Timestamp,
    /// The size of its log, in bytes.
    pub bytes: u64,
    /// Whether its copy of the keys is there: without it nothing of it can be opened.
    pub keys: bool,
    /// Until when that copy is kept.
    pub keys_until: Timestamp,
    /// Whether it is encrypted: then a private key is needed besides to bring it back.
    #[serde(default)]
    pub encrypted: bool,
}

/// One signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointRow {
    /// How many events it covers.
    pub size: u64,
    /// The root of their tree (RFC 6962).
    pub root: Digest,
    /// The signed note (C2SP tlog-checkpoint), with the lines of the witnesses where it stands alone.
    pub note: String,
    /// Which witnesses cosigned it, and when; not told in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosigned_by: Option<Vec<CosignedBy>>,
}

/// That a witness cosigned a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CosignedBy {
    /// The name in its verifier key.
    pub witness: String,
    /// When it did, by its own clock.
    pub at: Timestamp,
}

/// How a witness of `[[audit.witness]]` stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessRow {
    /// Its name in the configuration.
    pub witness: String,
    /// How many events the newest checkpoint covers that it cosigned.
    pub cosigned: Option<u64>,
    /// When it did, by its own clock.
    pub cosigned_at: Option<Timestamp>,
}

/// A certificate of disposition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateText {
    /// The certificate, as it is kept in a file (C2SP signed-note).
    pub certificate: String,
}

/// The envelope of one event: a leaf of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvelopeRow {
    /// The position of the event.
    pub position: Position,
    /// Its 128 bytes, in hexadecimal digits.
    pub envelope: String,
}

impl EnvelopeRow {
    /// Writes an envelope.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        Self { position: envelope.position, envelope: hex::encode(envelope.to_bytes()) }
    }

    /// Returns the bytes; `None` when they are none.
    #[must_use]
    pub fn bytes(&self) -> Option<[u8; ENVELOPE_BYTES]> {
        let mut bytes = [0; ENVELOPE_BYTES];
        hex::decode_to_slice(&self.envelope, &mut bytes).ok()?;
        Some(bytes)
    }
}

/// One key that signs checkpoints, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKeyRow {
    /// The verifier key (C2SP signed-note): with it checkpoints and proofs are checked.
    pub verifier_key: String,
    /// From when on it signs.
    pub adopted_at: Timestamp,
    /// The event with which the log replaced it; `None`: it signs still. It signs nothing over that event.
    pub replaced: Option<Position>,
}

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProofText {
    /// The proof, as C2SP tlog-proof writes it, with the envelope of the event.
    pub proof: String,
}
