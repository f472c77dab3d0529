//! What callers send: queries and bodies. Unknown names are errors, so that a misspelt filter never lists everything.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::operation::encode_component;
use crate::event::Actor;
use crate::event::decision::PlanPurpose;
use crate::id::{Digest, EntityId, PlanId, RequestId, RunId};
use crate::record::{Kind, Visibility};
use crate::time::Timestamp;

macro_rules! hide_free_text {
    ($($name:ident)*) => {
        $(impl std::fmt::Debug for $name {
            /// Free text may name persons, so it is not shown.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })*
    };
}

mod key;
mod notice;
mod review;
mod subject;

pub use key::*;
pub use notice::*;
pub use review::*;
pub use subject::*;

/// Where a page begins: the number of the last row that was seen. What it counts is the list's own affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Cursor(pub u64);

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// After which row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub after: Option<Cursor>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Which checkpoint is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckpointQuery {
    /// The one that most witnesses cosigned lately, instead of the newest.
    #[serde(default)]
    pub cosigned: bool,
}

/// Which part of the list of policies is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PolicyQuery {
    /// After which row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub after: Option<Cursor>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Count what is due by then, as far as is known now; without it, what is due now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub due_by: Option<Timestamp>,
}

/// The order of a list of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As an answer to "what happened lately?".
    #[default]
    NewestFirst,
    /// As a story.
    OldestFirst,
}

/// What becomes of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntityState {
    /// It can be read.
    Present,
    /// Its source no longer has it; it can still be read.
    Absent,
    /// It is hidden and waits for its purge.
    Quarantined,
    /// Its key is destroyed.
    Purged,
}

impl EntityState {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Quarantined => "quarantined",
            Self::Purged => "purged",
        }
    }
}

/// Which entities are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntityQuery {
    /// After which row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub after: Option<Cursor>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Only of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub kind: Option<Kind>,
    /// Only in this mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub mailbox: Option<EntityId>,
    /// Only in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub state: Option<EntityState>,
    /// Only those that are shared so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub visibility: Option<Visibility>,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// After which position, in the order of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub after: Option<Cursor>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Recorded at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub since: Option<Timestamp>,
    /// Recorded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub until: Option<Timestamp>,
    /// The name of an event type, such as `PlanApproved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who: `daemon`, `schedule` or `uid:1000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorName>,
    /// About this entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub entity: Option<EntityId>,
    /// Of this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// Under this policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// About this mailbox and what lives, or lived, in it: its number, such as `E7`, or its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub mailbox: Option<MailboxName>,
    /// About this request of a data subject, and about the records that are theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub request: Option<RequestId>,
    /// The order.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub order: Order,
}

/// A mailbox as a person names it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum MailboxName {
    /// By its number.
    Number(EntityId),
    /// By its address, as its source writes it.
    Address(String),
}

/// An address names a person.
impl std::fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(mailbox) => mailbox.fmt(f),
            Self::Address(_) => f.write_str("Address"),
        }
    }
}

impl From<String> for MailboxName {
    fn from(text: String) -> Self {
        text.parse().map_or(Self::Address(text), Self::Number)
    }
}

impl From<MailboxName> for String {
    fn from(name: MailboxName) -> Self {
        match name {
            MailboxName::Number(mailbox) => mailbox.to_string(),
            MailboxName::Address(address) => address,
        }
    }
}

/// An actor as one word: `daemon`, `schedule` or `uid:1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "uid:1000")]
pub struct ActorName(pub Actor);

impl std::fmt::Display for ActorName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<ActorName> for String {
    fn from(name: ActorName) -> Self {
        name.0.to_string()
    }
}

impl std::str::FromStr for ActorName {
    type Err = crate::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for ActorName {
    type Error = crate::id::IdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// How long to wait for something to settle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Answer when it is settled, or after so many seconds with what there is; at most
    /// [`WAIT_SECONDS_MAX`](super::WAIT_SECONDS_MAX).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u32>,
}

/// A configuration to check.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckConfig {
    /// The text; without it the daemon reads its own file again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// One policy file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFileText {
    /// The name of the file, with its ending and without a directory.
    pub name: String,
    /// The file.
    pub text: String,
}

/// A set of policies to compare with the active one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffPolicies {
    /// The files, all of them.
    pub files: Vec<PolicyFileText>,
}

/// Asks for a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakePlan {
    /// The policy.
    pub policy: String,
    /// What it is for.
    pub purpose: PlanPurpose,
    /// The instant to judge at; only a preview may name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// Accepts or refuses a plan.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgePlan {
    /// What exactly was looked at.
    pub digest: Digest,
    /// A word of the person.
    #[serde(default)]
    pub comment: String,
}

/// Asks for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    /// The plan.
    pub plan: PlanId,
    /// What exactly is to be run.
    pub digest: Digest,
}

/// Why something is done.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Places a hold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceHold {
    /// A short name of the case.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// What the case is called elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// When somebody should look whether it is still needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_at: Option<Timestamp>,
    /// The entities that it covers.
    #[serde(default)]
    pub entities: Vec<EntityId>,
    /// Requests of data subjects: it covers the records that are theirs now, and what came or changed since a person last
    /// said which these are, or does so later, and bears an identifier that one of them names for certain. Goes with no
    /// standing query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestId>,
    /// The mailboxes of which it covers everything, also what arrives later.
    #[serde(default)]
    pub mailboxes: Vec<EntityId>,
    /// The policies under which nothing is disposed of.
    #[serde(default)]
    pub policies: Vec<String>,
    /// What else it covers, also what arrives later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<HoldStanding>,
}

/// Which entities a hold catches whenever they arrive: all of these must fit, and what is empty fits all.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldStanding {
    /// The kinds.
    #[serde(default)]
    pub kinds: Vec<Kind>,
    /// The sources.
    #[serde(default)]
    pub sources: Vec<String>,
    /// First seen at or after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_from: Option<Timestamp>,
    /// First seen before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_until: Option<Timestamp>,
    /// What they must match: the value of `where` in a policy as TOML (`{ field = "email", op = "eq", value = "…" }`), or
    /// a document with it. It needs kinds, and reads dates without an offset in the zone of the policies.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// Releases a hold.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseHold {
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// How long it still protects, as a period; 30 days when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
}

/// Which holds are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldsWanted {
    /// Those that protect now.
    #[default]
    InForce,
    /// Those at which somebody should look again.
    DueForReview,
    /// Those that were released, whether they still protect or not.
    Released,
}

/// Which holds are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HoldQuery {
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
    pub show: HoldsWanted,
}

/// Pauses or resumes purges: of one policy, of one mailbox, or, when neither is named, of everything.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseDisposal {
    /// The policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<EntityId>,
    /// The request of a data subject: what is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// Why.
    pub reason: String,
}

/// Which registered mailboxes are wanted.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MailboxQuery {
    /// After which row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub after: Option<Cursor>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Only those on this server, a `[[server]]` of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Only those with this address; `*` stands for any characters, and case does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// One mailbox to register. It names persons and holds a secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMailbox {
    /// The name of its server, a `[[server]]` of the configuration.
    pub server: String,
    /// The address.
    pub address: String,
    /// The user, where the server names it otherwise than by the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How one logs in, where that is not the server's own way: `own-password`, `dovecot-master`, `exchange`,
    /// `mirapoint`, `authzid`, `user-root`, `xoauth2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The separator of `dovecot-master`; `*` when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// The domain of `exchange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Who logs in, where that is not the server's own admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// The folder of the mailbox in the admin's tree, for `user-root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The password or token of whoever logs in. Without one a mailbox that is registered keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Mailboxes to register: all of them, or none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMailboxes {
    /// The mailboxes, at most [`MAILBOXES_PER_REQUEST_MAX`](super::MAILBOXES_PER_REQUEST_MAX).
    pub mailboxes: Vec<AddMailbox>,
    /// SHA-256 of the migration batch that they come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Digest>,
}

/// Asks that a mailbox be copied into another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateMailbox {
    /// The registered mailbox that is copied. It is only read.
    pub source: EntityId,
    /// The registered mailbox that it is copied into.
    pub target: EntityId,
    /// Folders that are left out, with those below, by their paths.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Messages of more bytes are left out, and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// Asks for access to a mailbox.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveGrant {
    /// The registered mailbox.
    pub mailbox: EntityId,
    /// Who gets it: the identifier as the server's permissions write it.
    pub to: String,
    /// How long, as a period such as `PT2H`; without one as long as the policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// The policy that allows it, where more than one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why.
    pub reason: String,
    /// The ticket that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// Accepts or refuses a grant.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeGrant {
    /// A word of the person.
    #[serde(default)]
    pub comment: String,
}

/// Makes a lease longer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewGrant {
    /// How long from now on, as a period such as `PT2H`.
    pub duration: String,
    /// Why.
    pub reason: String,
}

hide_free_text!(
    CheckConfig PolicyFileText DiffPolicies JudgePlan Because PlaceHold HoldStanding ReleaseHold PauseDisposal MailboxQuery
    AddMailbox AddMailboxes GiveGrant JudgeGrant RenewGrant
);

/// Returns a query as it stands in a URL, with its `?`, or nothing when nothing is asked for.
///
/// Takes the flat structs of this module; a nested value would be left out.
#[must_use]
pub fn query_string<T: Serialize>(query: &T) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) else {
        return String::new();
    };
    let mut text = String::new();
    for (name, value) in fields {
        let value = match value {
            serde_json::Value::String(value) => value,
            serde_json::Value::Number(value) => value.to_string(),
            serde_json::Value::Bool(value) => value.to_string(),
            serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => continue,
        };
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&name);
        text.push('=');
        text.push_str(&encode_component(&value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_as_a_url_has_it() {
        assert_eq!(query_string(&ListQuery::default()), "");
        let query = AuditQuery {
            after: Some(Cursor(7)),
            actor: Some(ActorName(Actor::Person(1000))),
            entity: Some(EntityId(3)),
            ..AuditQuery::default()
        };
        assert_eq!(query_string(&query), "?actor=uid%3A1000&after=7&entity=E3&order=newest_first");
    }

    #[test]
    fn a_misspelt_filter_is_an_error() {
        assert!(serde_json::from_str::<EntityQuery>(r#"{"kindd":"contact"}"#).is_err());
        assert!(serde_json::from_str::<MakePlan>(r#"{"policy":"a","purpose":"run","asof":"2026-01-01"}"#).is_err());
    }

    #[test]
    fn what_a_person_wrote_is_not_in_debug_output() {
        let shown = format!("{:?}", Because { reason: "Jana Nováková".to_owned() });
        assert!(!shown.contains("Jana"));
        let query = AuditQuery { mailbox: Some("Jana@example.org".to_owned().into()), ..AuditQuery::default() };
        assert!(!format!("{query:?}").contains("Jana"));
    }
}
