//! What was taken in.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use crate::event::change::{IntakeCompleted, IntakeEnd, IntakeStarted};
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
    /// The latest intakes by source and content that ended with a whole read.
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

    /// Returns the latest intake that read the same content to its end. One that was refused as a whole does not count:
    /// its cause can be mended, and then the same file comes again.
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
        if body.end != IntakeEnd::Rejected {
            self.by_content.insert((body.source.clone(), body.content), id);
        }
    }
}
