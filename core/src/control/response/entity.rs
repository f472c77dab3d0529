//! Entities and intakes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::EntityState;
use crate::event::change::IntakeEnd;
use crate::id::{Digest, EntityId, HoldId, Position, RunId};
use crate::reason::Reason;
use crate::record::{Kind, Relation, Visibility};
use crate::time::Timestamp;

/// One entity, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntityRow {
    /// Its number.
    pub entity: EntityId,
    /// What it is; not known of what was purged.
    pub kind: Option<Kind>,
    /// The source in the configuration.
    pub source: Option<String>,
    /// The mailbox it lives in.
    pub mailbox: Option<EntityId>,
    /// What becomes of it.
    pub state: EntityState,
    /// Who shares it.
    pub visibility: Visibility,
    /// When the daemon first saw it.
    pub first_seen: Timestamp,
    /// When somebody last dealt with it.
    pub last_activity: Option<Timestamp>,
    /// The position of its newest change.
    pub version: Position,
}

/// One entity, opened. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntityContent {
    /// What is known without opening it.
    pub entity: EntityRow,
    /// The id in its source.
    pub external_id: String,
    /// The cells, in the order of the file.
    pub cells: Vec<Cell>,
    /// What it is tied to.
    pub links: Vec<LinkRow>,
    /// The holds that cover it.
    pub holds: Vec<HoldId>,
}

impl std::fmt::Debug for EntityContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntityContent").field("entity", &self.entity).finish_non_exhaustive()
    }
}

/// What is left to say of an entity that was purged, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tombstone {
    /// Its number.
    pub entity: EntityId,
    /// By which run.
    pub run: Option<RunId>,
    /// Under which policy.
    pub policy: Option<String>,
    /// On which day, in UTC.
    pub purged_on: Option<String>,
}

impl std::fmt::Display for Tombstone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is gone", self.entity)?;
        if let Some(run) = self.run {
            write!(f, ", by run {run}")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, ", under policy {policy}")?;
        }
        match &self.purged_on {
            Some(day) => write!(f, ", on {day}"),
            None => Ok(()),
        }
    }
}

/// One cell of an entity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cell {
    /// The name of the column.
    pub column: String,
    /// The field it fills.
    pub field: String,
    /// The text; `None` is null, which is not the same as empty.
    pub value: Option<String>,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("column", &self.column).finish_non_exhaustive()
    }
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkRow {
    /// How they are tied.
    pub relation: Relation,
    /// The other end.
    pub to: EntityId,
}

/// Why an entity is kept or disposed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The entity, without its content.
    pub entity: EntityRow,
    /// The instant judged at.
    pub as_of: Timestamp,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What decided, the strongest first.
    pub reasons: Vec<Reason>,
    /// What each policy says by itself.
    pub policies: Vec<PolicyVerdict>,
    /// The holds that cover it.
    pub holds: Vec<HoldId>,
}

/// What becomes of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It is due.
    Due,
    /// It would be due, and a hold keeps it.
    Held,
}

impl Verdict {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Due => "due",
            Self::Held => "held",
        }
    }
}

/// What one policy says about an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyVerdict {
    /// The policy.
    pub policy: String,
    /// What it says.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// One intake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntakeRow {
    /// Its number.
    pub intake: EntityId,
    /// The source in the configuration.
    pub source: String,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it was finished; `None` while it is being taken in.
    pub completed_at: Option<Timestamp>,
    /// SHA-256 over the content.
    pub content: Digest,
    /// How it ended.
    pub end: Option<IntakeEnd>,
    /// Rows read.
    pub rows: u64,
    /// Entities that were new.
    pub added: u64,
    /// Entities that differed.
    pub changed: u64,
    /// Rows that told nothing new.
    pub unchanged: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// Entities that a snapshot no longer held.
    pub absent: u64,
    /// Links that lead to nothing known.
    pub dangling: u64,
    /// Known defects of the source that were seen and handled.
    pub defects: Vec<DefectCount>,
    /// SHA-256 of the report that lies beside the file.
    pub report: Option<Digest>,
}

/// A count of one known defect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DefectCount {
    /// Its code.
    pub code: String,
    /// How often.
    pub count: u64,
}
