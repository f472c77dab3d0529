//! Notices, and what became of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::Position;
use crate::time::Timestamp;

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeState {
    /// Its channel is to be told, and is tried.
    Owed,
    /// Its channel took it.
    Sent,
    /// Its channel did not take it for so long that it is not tried any more.
    GivenUp,
    /// It was given up, and a person knows.
    Acknowledged,
}

/// One notice on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeRow {
    /// The id under which the far side knows it.
    pub notice: String,
    /// The name of the channel.
    pub channel: String,
    /// What it is about: a word of `config.toml`.
    pub thing: String,
    /// The one thing that it is about: a plan, a run, a request, a policy.
    pub subject: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub state: NoticeState,
    /// Since when it is owed as far as the daemon remembers, or when it was sent or given up.
    pub at: Timestamp,
    /// How often it was tried in vain, as far as the daemon remembers; nothing when it was sent.
    pub tries: Option<u32>,
    /// A stable code of the last failure.
    pub code: Option<String>,
    /// Where it stands in the log that it was sent or given up.
    pub event: Option<Position>,
    /// Since when a person knows that it was given up.
    pub acknowledged_at: Option<Timestamp>,
}

/// What came of acknowledging notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticesAcknowledged {
    /// How many are acknowledged by this; the others were before.
    pub acknowledged: u64,
    /// Where that stands in the log; nothing when nothing was changed.
    pub event: Option<Position>,
}
