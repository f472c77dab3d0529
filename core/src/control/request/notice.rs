//! What callers ask about notices.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Cursor;

/// Which notices are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticesWanted {
    /// All that are known.
    #[default]
    All,
    /// Those that are owed, and those that were given up and of which no person has said that they know.
    Open,
    /// Those that are owed.
    Owed,
    /// Those that their channel took.
    Sent,
    /// Those that were given up and of which no person has said that they know.
    GivenUp,
    /// Those that were given up, and a person knows.
    Acknowledged,
}

/// Which part of the list of notices is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NoticeQuery {
    /// After which row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub after: Option<Cursor>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Which.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub show: NoticesWanted,
}

/// Says that a person knows of notices that were given up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeNotices {
    /// The notices, by the ids that the list shows.
    pub notices: Vec<String>,
    /// Why they need nobody any more.
    pub reason: String,
}

hide_free_text!(AcknowledgeNotices);
