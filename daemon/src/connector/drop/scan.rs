//! What lies in a drop folder, whether it still moves, and taking it out of there.
//!
//! A scan only looks. Whether an entry is still is a pure function of two looks and the time between them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use retention_core::time::Timestamp;

use super::claimed::{DIRECTORY_FILES_MAX, Fingerprint, Limits};
use super::ocm::DirectoryName;
use crate::connector::rejection::FileError;

/// How long an entry must look the same before it is taken, in microseconds: two seconds, because copying programs
/// write at least that often.
pub const STILL_US: i64 = 2_000_000;

/// Most entries that one scan looks at; the others wait for the next scan.
const ENTRIES_PER_SCAN_MAX: usize = 10_000;

/// One entry of a drop folder. Its name may name a person: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The name in the folder.
    pub name: OsString,
    /// How it looks, or why it can never be taken.
    pub look: Result<Look, Refusal>,
}

impl std::fmt::Debug for Sighting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sighting").field("look", &self.look).finish_non_exhaustive()
    }
}

/// The outside of a file or directory: changes whenever somebody writes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// A regular file.
    File(Fingerprint),
    /// A directory of the export's name, with the files in it.
    Directory(BTreeMap<OsString, Fingerprint>),
}

/// Why an entry is never taken. It stays where it is, and the others are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A symbolic link, or a directory that holds one.
    #[error("a symbolic link is never followed; drop the file itself")]
    Symlink,
    /// A device, socket or pipe.
    #[error("not a regular file; drop a regular file")]
    NotRegular,
    /// A directory that is not an export.
    #[error(
        "not an export directory; its name must read <mailbox>_<yyyyMMddTHHmmssffff>; where such directories lie in it, drop each by itself"
    )]
    DirectoryUnknown,
    /// A directory inside an export directory.
    #[error(
        "an export directory holds no directories; where an archive was unpacked into it, drop the one inside by itself, else take it out"
    )]
    DirectoryInside,
    /// A file of a directory that is not finished.
    #[error("a file in the directory is still being copied, or its copy broke off; copy it whole, or take it out")]
    Unfinished,
    /// Too many files in a directory.
    #[error("the directory holds more than {DIRECTORY_FILES_MAX} files")]
    TooManyFiles,
    /// Above the limit.
    #[error("larger than {max} bytes; split it or raise the limit of the source")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// The file system refused.
    #[error("cannot be read ({0}); check its permissions")]
    Unreadable(io::ErrorKind),
}

impl Refusal {
    /// Returns a stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Symlink => "symlink",
            Self::NotRegular => "not_regular",
            Self::DirectoryUnknown => "directory_unknown",
            Self::DirectoryInside => "directory_inside",
            Self::Unfinished => "unfinished",
            Self::TooManyFiles => "too_many_files",
            Self::TooLarge { .. } => "too_large",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// The drop folder itself cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("the drop folder cannot be listed ({0}); nothing was taken; check that it exists and is readable")]
pub struct ScanError(io::ErrorKind);

/// Looks at a drop folder, without entering anything but directories of the export's name.
///
/// Names by which programs know what they have not finished are passed over, like whatever disappears during the look.
///
/// # Errors
/// Only when the folder itself cannot be listed.
pub fn look(folder: &Path, limits: &Limits) -> Result<Vec<Sighting>, ScanError> {
    let mut sightings = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| ScanError(error.kind()))? {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        if is_unfinished(&name) {
            continue;
        }
        if let Some(look) = look_at(&entry.path(), &name, limits) {
            sightings.push(Sighting { name, look });
        }
        if sightings.len() == ENTRIES_PER_SCAN_MAX {
            break;
        }
    }
    sightings.sort_by_cached_key(|sighting| order_of(&sighting.name));
    Ok(sightings)
}

/// Exports of a mailbox come in the order of their times, in whatever letters somebody wrote its address that day: an older
/// one is refused after a newer one. Everything else comes in the order of the names.
fn order_of(name: &OsStr) -> (OsString, Option<DateTime>, OsString) {
    match name.to_str().and_then(DirectoryName::parse) {
        Some(export) => (export.mailbox.into(), Some(export.exported_at_local), name.to_owned()),
        None => (name.to_owned(), None, OsString::new()),
    }
}

/// Says whether a name belongs to a file that somebody is still writing, or to what a program keeps beside one.
#[must_use]
pub fn is_unfinished(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    // Excel and Word note in `~$name` who has it open.
    bytes.starts_with(b".") || bytes.starts_with(b"~$") || bytes.ends_with(b"~") || is_transfer(name)
}

/// Says whether a name is one that a program which copies or downloads gives to what it has not finished: `.filepart` is that
/// of WinSCP.
fn is_transfer(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes().to_ascii_lowercase();
    let ends = [b".tmp".as_slice(), b".part", b".partial", b".filepart", b".crdownload", b".download"];
    ends.iter().any(|end| bytes.ends_with(end))
}

fn look_at(path: &Path, name: &OsStr, limits: &Limits) -> Option<Result<Look, Refusal>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return unless_gone(&error),
    };
    if metadata.file_type().is_symlink() {
        return Some(Err(Refusal::Symlink));
    }
    if metadata.is_dir() {
        if name.to_str().and_then(DirectoryName::parse).is_none() {
            return Some(Err(Refusal::DirectoryUnknown));
        }
        return look_into(path, limits);
    }
    Some(look_at_file(&metadata, limits).map(Look::File))
}

fn look_at_file(metadata: &fs::Metadata, limits: &Limits) -> Result<Fingerprint, Refusal> {
    if metadata.file_type().is_symlink() {
        return Err(Refusal::Symlink);
    }
    if !metadata.is_file() {
        return Err(Refusal::NotRegular);
    }
    if metadata.len() > limits.file_bytes_max {
        return Err(Refusal::TooLarge { max: limits.file_bytes_max });
    }
    Ok(Fingerprint::of(metadata))
}

fn look_into(directory: &Path, limits: &Limits) -> Option<Result<Look, Refusal>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return unless_gone(&error),
    };
    let mut files = BTreeMap::new();
    let mut total: u64 = 0;
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return unless_gone(&error),
        };
        if files.len() == DIRECTORY_FILES_MAX {
            return Some(Err(Refusal::TooManyFiles));
        }
        let metadata = match fs::symlink_metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(error) => return unless_gone(&error),
        };
        if metadata.is_dir() {
            return Some(Err(Refusal::DirectoryInside));
        }
        if is_transfer(&entry.file_name()) {
            return Some(Err(Refusal::Unfinished));
        }
        let fingerprint = match look_at_file(&metadata, limits) {
            Ok(fingerprint) => fingerprint,
            Err(refusal) => return Some(Err(refusal)),
        };
        total = total.saturating_add(fingerprint.bytes);
        if total > limits.file_bytes_max {
            return Some(Err(Refusal::TooLarge { max: limits.file_bytes_max }));
        }
        files.insert(entry.file_name(), fingerprint);
    }
    Some(Ok(Look::Directory(files)))
}

fn unless_gone(error: &io::Error) -> Option<Result<Look, Refusal>> {
    (error.kind() != io::ErrorKind::NotFound).then_some(Err(Refusal::Unreadable(error.kind())))
}

/// What to do with an entry now.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has been still long enough: claim it.
    Ready(OsString),
    /// It moved, or was seen for the first time: look again.
    Wait(OsString),
    /// It is never taken. Told once per look that differs.
    Refused(OsString, Refusal),
}

impl std::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(_) => f.write_str("Ready"),
            Self::Wait(_) => f.write_str("Wait"),
            Self::Refused(_, refusal) => write!(f, "Refused({refusal:?})"),
        }
    }
}

/// What earlier looks saw, to tell what is still.
#[derive(Default)]
pub struct Stillness {
    seen: BTreeMap<OsString, Seen>,
}

struct Seen {
    look: Result<Look, Refusal>,
    since: Timestamp,
    renamed_in: bool,
}

impl Stillness {
    /// Notes that an entry was renamed into the folder, so it was written whole elsewhere and need not be still. What
    /// can never be taken is left for [`Stillness::judge`] to say so.
    pub fn renamed_in(&mut self, sighting: Sighting, now: Timestamp) {
        if sighting.look.is_err() {
            return;
        }
        self.seen.insert(sighting.name, Seen { look: sighting.look, since: now, renamed_in: true });
    }

    /// Goes through what the newest look left alone: its name, why, and since when it looks so.
    pub fn refused(&self) -> impl Iterator<Item = (&OsStr, Refusal, Timestamp)> {
        let refusal = |seen: &Seen| seen.look.as_ref().err().map(|refusal| (*refusal, seen.since));
        self.seen.iter().filter_map(move |(name, seen)| {
            let (refusal, since) = refusal(seen)?;
            Some((name.as_os_str(), refusal, since))
        })
    }

    /// Judges what a scan saw. An entry is ready when it looks as it did [`STILL_US`] or longer ago, at every look
    /// between; a clock that moves back makes it wait again. Entries that are gone are forgotten.
    pub fn judge(&mut self, sightings: Vec<Sighting>, now: Timestamp) -> Vec<Verdict> {
        let mut next = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(sightings.len());
        for Sighting { name, look } in sightings {
            let before = self.seen.remove(&name).filter(|seen| seen.look == look && seen.since <= now);
            let known = before.is_some();
            let seen = before.unwrap_or(Seen { look, since: now, renamed_in: false });
            match &seen.look {
                Err(refusal) if !known => verdicts.push(Verdict::Refused(name.clone(), *refusal)),
                Err(_) => {}
                Ok(_) if seen.renamed_in || now.0.saturating_sub(seen.since.0) >= STILL_US => {
                    verdicts.push(Verdict::Ready(name.clone()));
                }
                Ok(_) => verdicts.push(Verdict::Wait(name.clone())),
            }
            next.insert(name, seen);
        }
        self.seen = next;
        verdicts
    }
}

/// An entry could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody took it away first.
    #[error("the entry disappeared before it was claimed; nothing was taken")]
    Vanished,
    /// The claim's own folder exists: the number was used before.
    #[error("processing/{number} exists already; nothing was taken; the number of a claim is never used twice")]
    NumberUsed {
        /// The number.
        number: u64,
    },
    /// The processing folder lies on another file system.
    #[error("the processing folder is on another file system than the drop folder; nothing was taken; put both on one")]
    OtherFileSystem,
    /// The file system refused.
    #[error(
        "the entry cannot be moved ({0}); nothing was taken; the daemon has to be able to write into the drop folder and, to move a directory, into that too: `chmod -R g+w` where both are of one group"
    )]
    Io(io::ErrorKind),
    /// What was claimed turned out to be a link or a special file.
    #[error("what was claimed cannot be read: {0}")]
    Refused(FileError),
}

/// Takes an entry out of the drop folder by renaming it to `processing/<number>/<name>`, and returns that path.
///
/// The folder of the number is made, never shared. A failed claim leaves the entry where it was.
///
/// # Errors
/// Says why; every error but [`ClaimError::Refused`] took nothing.
pub fn claim(folder: &Path, processing: &Path, number: u64, name: &OsStr) -> Result<PathBuf, ClaimError> {
    let own = processing.join(number.to_string());
    match fs::create_dir(&own) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(ClaimError::NumberUsed { number }),
        Err(error) => return Err(ClaimError::Io(error.kind())),
    }
    let claimed = own.join(name);
    if let Err(error) = fs::rename(folder.join(name), &claimed) {
        // Empty and ours: if it stays behind, the next start removes it.
        fs::remove_dir(&own).unwrap_or_default();
        return Err(match error.kind() {
            io::ErrorKind::NotFound => ClaimError::Vanished,
            io::ErrorKind::CrossesDevices => ClaimError::OtherFileSystem,
            kind => ClaimError::Io(kind),
        });
    }
    match super::claimed::shape(&claimed) {
        Ok(_) => Ok(claimed),
        Err(error) => Err(ClaimError::Refused(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: &str = "ada_quill@contoso.com_20200302T0915301234";

    fn file(bytes: u64, modified_ns: i128) -> Result<Look, Refusal> {
        Ok(Look::File(Fingerprint { bytes, modified_ns }))
    }

    fn sighting(name: &str, look: Result<Look, Refusal>) -> Sighting {
        Sighting { name: name.into(), look }
    }

    #[test]
    fn an_entry_is_ready_only_after_it_looked_the_same_for_two_seconds() {
        let mut stillness = Stillness::default();
        let at = |seconds| Timestamp::from_unix_seconds(seconds);
        let mut judge = |look, seconds| stillness.judge(vec![sighting("a.csv", look)], at(seconds));
        assert_eq!(judge(file(1, 1), 100), [Verdict::Wait("a.csv".into())]);
        assert_eq!(judge(file(2, 1), 103), [Verdict::Wait("a.csv".into())], "it grew");
        assert_eq!(judge(file(2, 2), 104), [Verdict::Wait("a.csv".into())], "it was written again");
        assert_eq!(judge(file(2, 2), 105), [Verdict::Wait("a.csv".into())], "one second only");
        assert_eq!(judge(file(2, 2), 90), [Verdict::Wait("a.csv".into())], "the clock went back");
        assert_eq!(judge(file(2, 2), 92), [Verdict::Ready("a.csv".into())]);
    }

    #[test]
    fn an_entry_that_left_and_came_back_waits_again_and_a_renamed_one_does_not_wait() {
        let mut stillness = Stillness::default();
        let at = |seconds| Timestamp::from_unix_seconds(seconds);
        stillness.judge(vec![sighting("a.csv", file(1, 1))], at(0));
        assert!(stillness.judge(vec![], at(5)).is_empty());
        let verdicts = stillness.judge(vec![sighting("a.csv", file(1, 1))], at(10));
        assert_eq!(verdicts, [Verdict::Wait("a.csv".into())]);
        stillness.renamed_in(sighting("b.csv", file(1, 1)), at(10));
        let verdicts = stillness.judge(vec![sighting("b.csv", file(1, 1))], at(10));
        assert_eq!(verdicts, [Verdict::Ready("b.csv".into())]);
        stillness.renamed_in(sighting("c.csv", file(1, 1)), at(10));
        let verdicts = stillness.judge(vec![sighting("c.csv", file(9, 1))], at(10));
        assert_eq!(verdicts, [Verdict::Wait("c.csv".into())], "it was written to after the rename");
    }

    #[test]
    fn exports_of_a_mailbox_come_by_their_time_however_its_address_is_written() {
        let mut names = [
            "ada@contoso.com_20200302T0915301234",
            "ADA@contoso.com_20200302T0920301234",
            "a.csv",
            "bram@contoso.com_20200101T0000000000",
            "Ada@Contoso.com_20200302T0910301234.older",
            "z.csv",
        ];
        names.sort_by_cached_key(|name| order_of(OsStr::new(name)));
        assert_eq!(
            names,
            [
                "a.csv",
                "Ada@Contoso.com_20200302T0910301234.older",
                "ada@contoso.com_20200302T0915301234",
                "ADA@contoso.com_20200302T0920301234",
                "bram@contoso.com_20200101T0000000000",
                "z.csv"
            ]
        );
    }

    #[test]
    fn a_refusal_is_told_once_and_never_stops_the_others() {
        let mut stillness = Stillness::default();
        let scan = || vec![sighting("link", Err(Refusal::Symlink)), sighting("a.csv", file(1, 1))];
        // However it came.
        stillness.renamed_in(sighting("link", Err(Refusal::Symlink)), Timestamp(0));
        let first = stillness.judge(scan(), Timestamp(0));
        assert_eq!(first, [Verdict::Refused("link".into(), Refusal::Symlink), Verdict::Wait("a.csv".into())]);
        assert_eq!(stillness.judge(scan(), Timestamp(STILL_US)), [Verdict::Ready("a.csv".into())]);
        // It is known for as long as it lies there, since when it was seen first.
        let left: Vec<_> = stillness.refused().collect();
        assert_eq!(left, [(OsStr::new("link"), Refusal::Symlink, Timestamp(0))]);
        stillness.judge(vec![sighting("a.csv", file(1, 1))], Timestamp(2 * STILL_US));
        assert_eq!(stillness.refused().count(), 0);
    }

    #[test]
    fn a_scan_answers_for_every_kind_of_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.csv", ".hidden.csv", "b.csv.tmp", "c.PART", "d.csv~", "e.csv.filepart", "~$f.xlsx"] {
            fs::write(path(name), "x\n").unwrap();
        }
        fs::write(path("large.csv"), "0123456789").unwrap();
        std::os::unix::fs::symlink(path("a.csv"), path("link.csv")).unwrap();
        std::os::unix::fs::symlink(folder.path(), path("loop")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        fs::create_dir(path(EXPORT)).unwrap();
        fs::write(path(EXPORT).join("Deals.csv"), "x\n").unwrap();
        let nested = "bram@contoso.com_20200302T0915301234";
        fs::create_dir_all(path(nested).join("inside")).unwrap();
        let together = "cyra@contoso.com_20200302T0915301234";
        fs::create_dir(path(together)).unwrap();
        for name in ["Deals.csv", "Tasks.csv"] {
            fs::write(path(together).join(name), "xyz").unwrap();
        }
        let broken_off = "dan@contoso.com_20200302T0915301234";
        fs::create_dir(path(broken_off)).unwrap();
        for name in ["Deals.csv", "Contacts.csv.filepart"] {
            fs::write(path(broken_off).join(name), "x").unwrap();
        }
        let limits = Limits { file_bytes_max: 5, ..Limits::default() };
        let seen = look(folder.path(), &limits).unwrap();
        let answer = |name: &str| seen.iter().find(|s| s.name == name).map(|s| s.look.clone());
        assert!(matches!(answer("a.csv"), Some(Ok(Look::File(_)))));
        assert!(matches!(answer(EXPORT), Some(Ok(Look::Directory(files))) if files.len() == 1));
        assert_eq!(answer("large.csv"), Some(Err(Refusal::TooLarge { max: 5 })));
        assert_eq!(answer("link.csv"), Some(Err(Refusal::Symlink)));
        assert_eq!(answer("loop"), Some(Err(Refusal::Symlink)));
        assert_eq!(answer("folder"), Some(Err(Refusal::DirectoryUnknown)));
        assert_eq!(answer(nested), Some(Err(Refusal::DirectoryInside)));
        assert_eq!(answer(broken_off), Some(Err(Refusal::Unfinished)), "half of an export says nothing of the other");
        assert_eq!(answer(together), Some(Err(Refusal::TooLarge { max: 5 })), "all files together");
        assert_eq!(seen.len(), 9, "unfinished names are passed over");
        assert!(look(&path("gone"), &limits).is_err());
    }

    #[test]
    fn a_claim_moves_the_entry_or_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let processing = folder.path().join("processing");
        fs::create_dir(&processing).unwrap();
        fs::write(folder.path().join("a.csv"), "x").unwrap();
        let claimed = claim(folder.path(), &processing, 7, OsStr::new("a.csv")).unwrap();
        assert_eq!(fs::read(&claimed).unwrap(), b"x");
        assert!(!folder.path().join("a.csv").exists());
        let gone = claim(folder.path(), &processing, 8, OsStr::new("a.csv"));
        assert!(matches!(gone, Err(ClaimError::Vanished)) && !processing.join("8").exists());
        fs::write(folder.path().join("b.csv"), "x").unwrap();
        let used = claim(folder.path(), &processing, 7, OsStr::new("b.csv"));
        assert!(matches!(used, Err(ClaimError::NumberUsed { number: 7 })) && folder.path().join("b.csv").exists());
    }
}
