//! What callers send about data subjects and restrictions. It names persons, so `Debug` shows none of it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Cursor;
use crate::event::restriction::RestrictionGround;
use crate::event::subject::{ErasureException, ErasureGround, RequestEnd, RequestKind};
use crate::id::{EntityId, RequestId};
use crate::time::Timestamp;

/// The most identifiers by which one person is looked for.
pub const IDENTIFIERS_MAX: usize = 50;

/// By what a person is looked for: one of these is enough.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SoughtSubject {
    /// E-mail addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
    /// Telephone numbers, with the country where it is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phones: Vec<String>,
    /// Ids: `SOURCE:ID`, an id alone, or `:ID` for one that has a colon of its own. A source that there is not is
    /// refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Records that are known to be theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<EntityId>,
}

/// Takes in a request of a data subject.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskForSubject {
    /// What is asked for.
    pub kind: RequestKind,
    /// On which ground, for an erasure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<ErasureGround>,
    /// Who asks.
    pub subject: SoughtSubject,
    /// When it was received; now, when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// What it is called elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
}

/// Says who asks, and which records are theirs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifySubject {
    /// How it was made sure that the person is who they say.
    pub how: String,
    /// Records that are theirs although that is not sure by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<EntityId>,
    /// Whether every message that the person wrote or got, by an address that was asked for, is theirs.
    #[serde(default)]
    pub correspondence: bool,
    /// Records that are not theirs although they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<EntityId>,
}

/// Keeps records of an erasure by an exception.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptErasure {
    /// The records.
    pub records: Vec<EntityId>,
    /// By which exception.
    pub exception: ErasureException,
    /// Who answers for it.
    pub owner: String,
    /// When somebody must look whether it still holds.
    pub review_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Asks for the package of a request.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageSubject {
    /// Whose age keys open it (`age1…`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Whether it is not to be encrypted: then there are no recipients.
    #[serde(default)]
    pub plain: bool,
}

/// Says to whom a copy of a bundle was given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// To whom.
    pub to: String,
    /// Why.
    pub reason: String,
}

/// Completes a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteRequest {
    /// How it ended.
    pub end: RequestEnd,
    /// Why, and what the person was told.
    pub reason: String,
}

/// Which requests are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestsWanted {
    /// Those that are not completed.
    #[default]
    Open,
    /// Those whose answer is late.
    Overdue,
    /// Those with an exception at which somebody must look.
    DueForReview,
    /// All.
    All,
}

/// Which requests are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RequestQuery {
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
    pub show: RequestsWanted,
}

/// Restricts the use of entities: those that are named, and those of a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceRestriction {
    /// The entities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<EntityId>,
    /// The request whose records they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// On which ground.
    pub ground: RestrictionGround,
    /// Why.
    pub reason: String,
}

/// Lifts a restriction, whole or for some entities.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftRestriction {
    /// For which entities alone; none: for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<EntityId>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Which restrictions are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestrictionsWanted {
    /// Those in force.
    #[default]
    InForce,
    /// Those that were lifted.
    Lifted,
}

/// Which restrictions are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RestrictionQuery {
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
    pub show: RestrictionsWanted,
}

hide_free_text!(
    SoughtSubject AskForSubject IdentifySubject ExceptErasure PackageSubject HandOver CompleteRequest PlaceRestriction
    LiftRestriction
);
