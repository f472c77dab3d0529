//! What was taken in.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::change::{IntakeCompleted, IntakeStarted};
use crate::id::{Digest, EntityId};
use crate::time::Timestamp;

/// One file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Intake {
    /// The source in the configuration.
    pub source: String,
    /// SHA-256 over the content.
    pub content: Digest,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// How it ended, and when; `None` while it is under way or after a crash.
    pub completed: Option<(Timestamp, IntakeCompleted)>,
}

/// All intakes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Intakes {
    all: BTreeMap<EntityId, Intake>,
    /// The completed intakes by source and content: what is in here is never taken in again.
    by_content: BTreeMap<(String, Digest), EntityId>,
}

impl Intakes {
    /// Returns an intake.
    #[must_use]
    pub fn get(&self, id: EntityId) -> Option<&Intake> {
        self.all.get(&id)
    }

    /// Goes through all intakes, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (EntityId, &Intake)> {
        self.all.iter().map(|(id, intake)| (*id, intake))
    }

    /// Returns the completed intake of the same content.
    #[must_use]
    pub fn completed(&self, source: &str, content: Digest) -> Option<EntityId> {
        self.by_content.get(&(source.to_owned(), content)).copied()
    }

    pub(super) fn started(&mut self, id: EntityId, at: Timestamp, body: &IntakeStarted) {
        self.all
            .insert(id, Intake { source: body.source.clone(), content: body.content, started_at: at, completed: None });
    }

    pub(super) fn ended(&mut self, id: EntityId, at: Timestamp, body: &IntakeCompleted) {
        let intake = self.all.entry(id).or_insert_with(|| Intake {
            source: body.source.clone(),
            content: body.content,
            started_at: at,
            completed: None,
        });
        intake.completed = Some((at, body.clone()));
        self.by_content.entry((body.source.clone(), body.content)).or_insert(id);
    }
}
