//! The folders of a source: `processing/`, `done/` and `rejected/` inside its drop folder, one numbered folder per
//! delivery, with the delivery and its report together.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use retention_core::id::{Digest, Position};
use retention_core::time::Timestamp;
use serde::Deserialize;

use super::outcome::Report;
use crate::store::durable_file::{self, DurableFileError, FileAction};

/// The report for programs.
pub const REPORT_JSON: &str = "intake-report.json";

/// The report for people.
pub const REPORT_TEXT: &str = "intake-report.txt";

/// By which mapping deliveries are read, and since which position. Begins with a dot, so that it is no delivery.
const READING: &str = ".retentiond-mapping";

/// A digest and a position need less, in bytes.
const READING_BYTES_MAX: u64 = 256;

/// No report of ours is longer, in bytes: it lists at most 10,000 rejections.
const REPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;

const ROLE: &str = "folder of a dropped file";
const REPORT_ROLE: &str = "report of an intake";
const READING_ROLE: &str = "note of the mapping in a drop folder";

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    Processing,
    Done,
    Rejected,
}

impl Shelf {
    const ALL: [Self; 3] = [Self::Processing, Self::Done, Self::Rejected];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Rejected => "rejected",
        }
    }

    pub(super) fn path(self, drop_dir: &Path) -> PathBuf {
        drop_dir.join(self.name())
    }
}

/// Says whether a name in a drop folder belongs to this program, so that it is no delivery.
pub(super) fn is_ours(name: &OsStr) -> bool {
    Shelf::ALL.iter().any(|shelf| name == shelf.name()) || name == REPORT_JSON || name == REPORT_TEXT
}

/// Makes the folders that are not there.
pub(super) fn prepare(drop_dir: &Path) -> Result<(), DurableFileError> {
    Shelf::ALL.iter().try_for_each(|shelf| durable_file::create_private_dir(&shelf.path(drop_dir), ROLE))
}

/// Returns since which position deliveries are read as they are now: what was taken in up to it may have been read
/// otherwise. Notes the position when the reading differs from the one that was noted. What cannot be understood, and a
/// position that this log does not have, is noted anew.
pub(super) fn read_since(drop_dir: &Path, reading: Digest, last: Position) -> Result<Position, DurableFileError> {
    let path = drop_dir.join(READING);
    let known = durable_file::read_bounded(&path, READING_BYTES_MAX, READING_ROLE)?;
    let since = match &known {
        // The first look at this folder.
        None => Position::NONE,
        Some(bytes) => match noted(bytes) {
            Some((same, since)) if same == reading.to_string() && since <= last => return Ok(since),
            Some(_) | None => last,
        },
    };
    durable_file::replace(&path, format!("{reading} {}\n", since.0).as_bytes(), READING_ROLE)?;
    Ok(since)
}

fn noted(bytes: &[u8]) -> Option<(&str, Position)> {
    let (reading, since) = std::str::from_utf8(bytes).ok()?.trim_end().split_once(' ')?;
    Some((reading, Position(since.parse().ok()?)))
}

/// Returns the numbers of the deliveries in a folder, ascending. What is not a number is somebody else's.
pub(super) fn numbers(drop_dir: &Path, shelf: Shelf) -> Result<Vec<u64>, DurableFileError> {
    let failed = || durable_file::failed(ROLE, FileAction::Read);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(shelf.path(drop_dir)).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Returns a number that no delivery has.
pub(super) fn next_number(drop_dir: &Path) -> Result<u64, DurableFileError> {
    let mut last = 0;
    for shelf in Shelf::ALL {
        last = last.max(numbers(drop_dir, shelf)?.last().copied().unwrap_or(0));
    }
    Ok(last.saturating_add(1))
}

/// Returns the one delivery in a numbered folder, beside its report; none when the claim did not get that far.
pub(super) fn delivery_in(folder: &Path) -> Result<Option<OsString>, DurableFileError> {
    let failed = || durable_file::failed(ROLE, FileAction::Read);
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        if !is_ours(&name) && !name.as_encoded_bytes().ends_with(b".tmp") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Moves a delivery with its report. A power cut may take that back: the next look then finds it in `processing/`, sees
/// by its report and the log how it ended, and moves it again. So nobody waits for the disk here.
pub(super) fn put_away(drop_dir: &Path, number: u64, to: Shelf) -> Result<(), DurableFileError> {
    let name = number.to_string();
    let from = Shelf::Processing.path(drop_dir);
    std::fs::rename(from.join(&name), to.path(drop_dir).join(&name))
        .map_err(durable_file::failed(ROLE, FileAction::Rename))
}

/// Removes the empty folder of a claim that took nothing.
pub(super) fn remove_empty(folder: &Path) -> Result<(), DurableFileError> {
    std::fs::remove_dir(folder).map_err(durable_file::failed(ROLE, FileAction::Remove))
}

/// Writes both forms of a report, durably, and returns the digest of the one for programs.
pub(super) fn write_report(folder: &Path, report: &Report<'_>) -> Result<Digest, DurableFileError> {
    let (text, json) = (report.to_text(), report.to_json());
    // The log knows the digest of the second, which so stands for both.
    durable_file::replace_each(folder, &[(REPORT_TEXT, text.as_bytes()), (REPORT_JSON, json.as_slice())], REPORT_ROLE)?;
    Ok(Digest::of(&json))
}

/// Returns the digest of the report in a folder, if there is one.
pub(super) fn report_digest(folder: &Path) -> Result<Option<Digest>, DurableFileError> {
    let bytes = durable_file::read_bounded(&folder.join(REPORT_JSON), REPORT_BYTES_MAX, REPORT_ROLE)?;
    Ok(bytes.map(|bytes| Digest::of(&bytes)))
}

#[derive(Deserialize)]
struct Finished {
    finished_at: Timestamp,
}

/// Removes the deliveries in a folder whose report says that they ended longer than `keep` ago. One without a readable
/// report stays.
pub(super) fn sweep(drop_dir: &Path, shelf: Shelf, keep: Duration, now: Timestamp) -> Result<u64, DurableFileError> {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let mut removed = 0;
    for number in numbers(drop_dir, shelf)? {
        let folder = shelf.path(drop_dir).join(number.to_string());
        let json = durable_file::read_bounded(&folder.join(REPORT_JSON), REPORT_BYTES_MAX, REPORT_ROLE)?;
        let finished = json.and_then(|json| serde_json::from_slice::<Finished>(&json).ok());
        if finished.is_some_and(|report| now.0.saturating_sub(report.finished_at.0) >= keep) {
            // Links inside are removed, never followed.
            std::fs::remove_dir_all(&folder).map_err(durable_file::failed(ROLE, FileAction::Remove))?;
            removed += 1;
        }
    }
    Ok(removed)
}
