//! What a read did, for programs as JSON and for people as text. Holds no cell, no address and no file name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::connector::change::{Change, Detected, Place, ReadSummary};
use crate::connector::defect::Defect;
use crate::connector::rejection::FileError;

/// Rejections listed one by one; the others are counted.
const REJECTIONS_LISTED_MAX: usize = 10_000;

/// Gathers what a read hands out.
#[derive(Debug, Default, Serialize)]
pub struct ReadReport {
    /// Rows taken.
    pub rows: u64,
    /// Rows that said that their entity is gone.
    pub departed: u64,
    /// Rows and files that were not taken.
    pub rejected: u64,
    /// The first of them, in order.
    pub rejections: Vec<Rejected>,
    /// Oddities that were handled, by their stable name.
    pub defects: BTreeMap<&'static str, Counted>,
    /// Kinds that were told as a whole.
    pub snapshots: Vec<&'static str>,
    /// How each file was understood.
    pub detected: Vec<Detected>,
    /// Why the file as a whole could not be read.
    pub error: Option<Told>,
}

/// A rejection, as told.
#[derive(Debug, Serialize)]
pub struct Rejected {
    /// Where.
    pub place: Place,
    /// Its stable name.
    pub code: &'static str,
    /// What it is and what to do.
    pub message: String,
}

/// A defect, as told.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// How often it was seen.
    pub count: u64,
    /// Where it was seen first.
    pub first: Place,
    /// What it is and how it was handled.
    pub explanation: &'static str,
}

/// An error of the whole file, as told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Its stable name.
    pub code: &'static str,
    /// What it is and what to do.
    pub message: String,
}

impl ReadReport {
    /// Takes note of a change.
    pub fn observe(&mut self, change: &Change) {
        match change {
            Change::Layout(_) => {}
            Change::Row(_) => self.rows += 1,
            Change::Departed(_) => self.departed += 1,
            Change::Rejected(rejection) => {
                self.rejected += 1;
                if self.rejections.len() < REJECTIONS_LISTED_MAX {
                    let (place, code) = (rejection.place, rejection.code.name());
                    self.rejections.push(Rejected { place, code, message: rejection.code.to_string() });
                }
            }
            Change::Defect(defect, place) => self.count(*defect, *place),
            Change::SnapshotOf { kind, .. } if self.snapshots.contains(&kind.name()) => {}
            Change::SnapshotOf { kind, .. } => self.snapshots.push(kind.name()),
        }
    }

    fn count(&mut self, defect: Defect, first: Place) {
        let new = || Counted { count: 0, first, explanation: defect.explain() };
        self.defects.entry(defect.name()).or_insert_with(new).count += 1;
    }

    /// Takes note of the end.
    pub fn finish(&mut self, end: &Result<ReadSummary, FileError>) {
        match end {
            Ok(summary) => self.detected.clone_from(&summary.detected),
            Err(error) => self.error = Some(Told { code: error.name(), message: error.to_string() }),
        }
    }

    /// Writes it for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text =
            format!("rows taken: {}\nrows departed: {}\nrejected: {}\n", self.rows, self.departed, self.rejected);
        let mut line =
            |words: std::fmt::Arguments<'_>| text.write_fmt(words).and_then(|()| text.write_char('\n')).is_ok();
        if let Some(error) = &self.error {
            line(format_args!("not read: {} ({})", error.message, error.code));
        }
        for seen in &self.detected {
            let delimiter = seen.delimiter.unwrap_or("no delimiter");
            line(format_args!("read as: {} {}, {delimiter}", seen.file.unwrap_or("the file"), seen.encoding));
        }
        for rejected in &self.rejections {
            line(format_args!("{}: {} ({})", rejected.place, rejected.message, rejected.code));
        }
        let unlisted = self.rejected.saturating_sub(self.rejections.len() as u64);
        if unlisted > 0 {
            line(format_args!("and {unlisted} more, not listed"));
        }
        for (name, counted) in &self.defects {
            line(format_args!("{name}: {} times, first at {}: {}", counted.count, counted.first, counted.explanation));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::rejection::{RejectCode, Rejection};

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut report = ReadReport::default();
        for line in 0..REJECTIONS_LISTED_MAX as u64 + 5 {
            let place = Place::line(None, line + 2);
            report.observe(&Change::Rejected(Rejection { place, code: RejectCode::IdMissing }));
        }
        report.observe(&Change::Defect(Defect::ZoneUnknown, Place::line(Some("Posts.csv"), 7)));
        report.finish(&Err(FileError::Vanished));
        assert_eq!(
            (report.rejections.len(), report.rejected),
            (REJECTIONS_LISTED_MAX, REJECTIONS_LISTED_MAX as u64 + 5)
        );
        let text = report.to_text();
        assert!(
            text.contains("and 5 more, not listed") && text.contains("first at Posts.csv line 7"),
            "{}",
            &text[..200]
        );
        assert!(serde_json::to_string(&report).unwrap().contains("\"vanished\""));
    }
}
