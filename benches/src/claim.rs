//! The claims.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::ours::Place;
use crate::part::{self, Filled};
use crate::{Outcome, Setting, data, figure};

pub(crate) mod append;
pub(crate) mod evidence;
pub(crate) mod filter;
pub(crate) mod history;
pub(crate) mod intake;
pub(crate) mod mail;
pub(crate) mod memory;
pub(crate) mod nothing_due;
pub(crate) mod open;
pub(crate) mod policy_diff;
pub(crate) mod purge;

/// Measures everything, with one table.
pub(crate) fn all(setting: &Setting) -> Outcome<()> {
    for claim in [
        intake::run,
        append::run,
        nothing_due::run,
        purge::run,
        open::run,
        memory::run,
        history::run,
        policy_diff::run,
        filter::run,
        mail::run,
        evidence::run,
    ] {
        claim(setting)?;
    }
    Ok(())
}

/// A scratch directory that the server of a peer can enter.
pub(crate) fn scratch(setting: &Setting) -> Outcome<TempDir> {
    let dir = tempfile::Builder::new().prefix("retention-benches-").tempdir_in(&setting.work)?;
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// Returns a path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Writes the contacts into a file and takes them into a new installation of this name.
pub(crate) fn filled(dir: &Path, name: &str, rows: u64) -> Outcome<(PathBuf, Filled)> {
    let (place, csv) = (dir.join(name), dir.join("contacts.csv"));
    data::write_csv(&csv, rows)?;
    let filled = part::ask(&["fill", &text(&place), &text(&csv)])?;
    Ok((place, filled))
}

/// Returns the bytes that journal, sled and keys take per event, and by part.
pub(crate) fn disk(place: &Path, events: u64) -> Outcome<(f64, String)> {
    let state = Place(place.to_owned()).state();
    let mut parts = Vec::new();
    let mut sum = 0.0;
    for part in ["journal", "events", "keys"] {
        let each = figure::disk_bytes(&state.join(part))? as f64 / events as f64;
        sum += each;
        parts.push(format!("{part} {each:.0}"));
    }
    Ok((sum, parts.join(", ")))
}
