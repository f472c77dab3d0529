//! Keys of the store itself. None of them is told: only how many there are, and since when.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::Position;
use crate::time::Timestamp;

/// How the keys of the store are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyStatus {
    /// The data keys.
    pub slots: KeySlots,
    /// Which of them seal what people wrote in the log.
    pub texts: TextKeys,
    /// The keys that wrap them.
    pub wrapping: WrappingKeys,
    /// The key that signs checkpoints.
    pub signing: SigningKeys,
}

/// The slots of data keys, by what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeySlots {
    /// Keys that are there.
    pub live: u64,
    /// Tombstones of keys that were destroyed.
    pub destroyed: u64,
    /// Slots that no key was ever in, and none will be.
    pub retired: u64,
    /// Slots that hold neither: `store verify` says which.
    pub damaged: u64,
}

/// The keys that seal what people wrote in the log: one for each month, and before that the house key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TextKeys {
    /// Since when there is a key for each month. What was written before is sealed with the house key, which is never
    /// destroyed; without an instant, everything is.
    pub by_month_since: Option<Timestamp>,
    /// Months whose texts can be read.
    pub months_readable: u64,
    /// Months whose texts were erased.
    pub months_erased: u64,
    /// The first instant of the oldest month whose texts can be read.
    pub readable_from: Option<Timestamp>,
}

/// The keys that wrap data keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrappingKeys {
    /// When they were made or last rotated: by hand, by a compaction or by a restore.
    pub rotated_at: Option<Timestamp>,
    /// The event that asks for new ones, while that is not done.
    pub rotation_asked_by_event: Option<Position>,
}

/// The key that signs checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKeys {
    /// The verifier key of the one that signs now (C2SP signed-note).
    pub verifier_key: Option<String>,
    /// From when on it signs.
    pub adopted_at: Option<Timestamp>,
    /// The event that says so.
    pub adopted_by_event: Option<Position>,
    /// How many signed before it. Their proofs hold on: `audit keys` lists them.
    pub older: u64,
    /// The event that asks for a new one, while that is not done.
    pub rotation_asked_by_event: Option<Position>,
}
