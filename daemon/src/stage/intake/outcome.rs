//! What an intake did: for the event that ends it, and for the report beside the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use retention_core::event::change::IntakeEnd;
use retention_core::id::{Digest, EntityId};
use retention_core::time::Timestamp;
use serde::Serialize;

use crate::connector::change::Place;
use crate::connector::drop::report::ReadReport;

/// How often something happened in one intake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows read, those that say that their entity is gone included.
    pub rows: u64,
    /// Entities that were new.
    pub added: u64,
    /// Entities that differed, or had been absent.
    pub changed: u64,
    /// Rows that told nothing new.
    pub unchanged: u64,
    /// Rows and files of a directory that were rejected.
    pub rejected: u64,
    /// Entities that the source no longer holds.
    pub absent: u64,
    /// Entities whose links were recorded.
    pub linked: u64,
    /// Links of these rows that lead to nothing known.
    pub dangling: u64,
}

/// Oddities that only the comparison with what is known can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// An id stands a second time in one delivery.
    IdRepeated,
    /// The ids of one row belong to different entities.
    IdsOfTwoEntities,
    /// No `[[activity]]` of the configuration knows the class of an activity, although there are some: it may be that
    /// they name another source or another value.
    ActivityUnclassified,
}

impl Oddity {
    /// Returns the stable name in reports and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IdRepeated => "id_repeated",
            Self::IdsOfTwoEntities => "ids_of_two_entities",
            Self::ActivityUnclassified => "activity_unclassified",
        }
    }

    fn explain(self) -> &'static str {
        match self {
            Self::IdRepeated => {
                "an id stands twice in one delivery; the later row counts, and its links alone; where each row of an id names \
                 another link, name that column in `id` of the mapping too"
            }
            Self::IdsOfTwoEntities => {
                "the ids of one row belong to different entities; the first is taken, and nothing is merged"
            }
            Self::ActivityUnclassified => {
                "no [[activity]] of the configuration names the class of an activity, so it counts under every policy"
            }
        }
    }
}

/// How an intake ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The intake; none when nothing was appended: a duplicate, or content that could not even be hashed.
    pub intake: Option<EntityId>,
    /// How it ended.
    pub end: IntakeEnd,
    /// What it did.
    pub counts: Counts,
    /// Defects of the source by their stable name, ascending.
    pub defects: Vec<(String, u64)>,
}

impl Taken {
    /// Says whether it left anything different from what it was.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.counts.added > 0 || self.counts.changed > 0 || self.counts.absent > 0
    }
}

/// The report as written beside the file. Holds no cell, no address and no file name.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    /// The version of this form.
    pub(super) schema: u32,
    /// The source in the configuration.
    pub(super) source: &'a str,
    /// The intake.
    pub(super) intake: Option<EntityId>,
    /// SHA-256 over the content.
    pub(super) content: Option<Digest>,
    /// How it ended.
    pub(super) end: IntakeEnd,
    /// The intake that took the same content before.
    pub(super) duplicate_of: Option<EntityId>,
    /// When it ended.
    pub(super) finished_at: Timestamp,
    /// What it did.
    pub(super) counts: Counts,
    /// Oddities found by comparison.
    pub(super) oddities: BTreeMap<&'static str, u64>,
    /// Where each of them was met first.
    pub(super) first_odd: BTreeMap<&'static str, Place>,
    /// What the reader saw.
    pub(super) read: &'a ReadReport,
}

impl Report<'_> {
    /// Writes it for programs.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Plain maps with text as keys: serde_json refuses only what these types cannot hold.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Writes it for people.
    pub(super) fn to_text(&self) -> String {
        let end = match self.end {
            IntakeEnd::Done => "all rows were taken",
            IntakeEnd::DoneWithRejects => "some rows were rejected; the others were taken",
            IntakeEnd::Rejected => "rejected as a whole; what was taken before stands, and it may be dropped again",
            IntakeEnd::Duplicate => "the same content was taken in before; nothing was recorded",
        };
        let counts = &self.counts;
        let mut text = format!("{end}\n");
        let mut line = |name: &str, count: u64| text.write_fmt(format_args!("{name}: {count}\n")).is_ok();
        line("added", counts.added);
        line("changed", counts.changed);
        line("unchanged", counts.unchanged);
        line("absent", counts.absent);
        line("links recorded for", counts.linked);
        line("links that lead to nothing known", counts.dangling);
        text.push_str(&self.read.to_text());
        for oddity in [Oddity::IdRepeated, Oddity::IdsOfTwoEntities, Oddity::ActivityUnclassified] {
            if let Some(count) = self.oddities.get(oddity.name()) {
                let first = self.first_odd.get(oddity.name()).map_or_else(String::new, |at| format!(", first at {at}"));
                text.push_str(&format!("{}: {count} times{first}: {}\n", oddity.name(), oddity.explain()));
            }
        }
        text
    }
}

/// Puts the defects of the reader and the oddities together, and why a delivery as a whole was not read: its report leaves
/// the disk one day. The reader of an export sees repeated ids too, so the larger of the two counts is the true one.
pub(super) fn defects(read: &ReadReport, oddities: &BTreeMap<&'static str, u64>) -> Vec<(String, u64)> {
    let mut all: BTreeMap<&str, u64> = read.defects.iter().map(|(name, counted)| (*name, counted.count)).collect();
    all.extend(read.error.as_ref().map(|error| (error.code, 1)));
    for (name, count) in oddities {
        let known = all.entry(name).or_default();
        *known = (*known).max(*count);
    }
    all.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
