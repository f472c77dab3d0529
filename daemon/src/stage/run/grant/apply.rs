//! The effects of a grant's steps. Each begins with a new login, reads what is there, changes what is not as it should
//! be, and reads it back.

use retention_core::event::grant::{FolderReading, FolderRights, GrantPurpose, GrantReceipt, GrantStep, VerifiedAs};
use retention_core::event::{Event, Readable};
use retention_core::grant::Standing;
use retention_core::id::GrantId;
use retention_core::mailbox::Rights;
use retention_core::view::Grant;

use super::super::super::StageError;
use super::{Done, Grants, Receipt};
use crate::connector::access::{AccessSession, FolderAccess};
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};

/// How often the folders are gone through in one attempt: whoever makes folders all the time is outrun by the next.
const ROUNDS: usize = 3;

/// What stands between the parts of a folder's path.
const DELIMITER: Option<char> = Some('/');

/// The log cannot say any more what stood before; a person has to look.
const READING_GONE: Refusal = Refusal { code: "grant-reading-gone", retry: Retry::Operator };

/// What was to be taken away is not there any more: no folder shows FullAccess.
const NOTHING_STANDS: Refusal = Refusal { code: "grant-nothing-stands", retry: Retry::Never };

/// The server took the rights and does not show them.
const NOT_GIVEN: Refusal = Refusal { code: "grant-not-given", retry: Retry::Operator };

/// Something of the grant is still there.
const LEFT: Refusal = Refusal { code: "grant-left-behind", retry: Retry::AfterProbe };

/// A probe found that the rights are not there.
const NOT_APPLIED: Refusal = Refusal { code: "grant-not-applied", retry: Retry::AfterProbe };

/// Somebody who logs in anew as the grantee can still do something.
const STILL_SEEN: Refusal = Refusal { code: "grant-still-seen", retry: Retry::Operator };

/// Takes the value, or ends with the refusal.
macro_rules! or_refused {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        }
    };
}

/// Takes the value; a probe that could not look knows no more than before.
macro_rules! or_unknown_later {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return Ok(Outcome::Unknown(Cause { code: refusal.code })),
        }
    };
}

/// What is wanted on the folders of a mailbox, for one principal.
enum Wanted {
    /// FullAccess on each, beside what is there.
    Full,
    /// What stood before.
    Before(Standing),
    /// Nothing on any.
    Nothing,
}

impl Wanted {
    fn on(&self, folder: &FolderAccess, gone: Rights) -> Rights {
        match self {
            Self::Full => folder.rights.and(Rights::FULL_ACCESS),
            Self::Before(standing) => {
                folder.rights.after_revoking(Rights::FULL_ACCESS, standing.on(&folder.folder, DELIMITER, gone))
            }
            Self::Nothing => Rights::NONE,
        }
    }

    /// Returns each folder with what is there and what is wanted.
    fn compare(&self, folders: &[FolderAccess]) -> Vec<(FolderAccess, Rights)> {
        let gone = match self {
            Self::Before(standing) => standing.gone(folders.iter().map(|folder| folder.folder.as_str())),
            Self::Full | Self::Nothing => Rights::NONE,
        };
        folders.iter().map(|folder| (folder.clone(), self.on(folder, gone))).collect()
    }

    fn is_met(&self, folder: &FolderAccess, wanted: Rights) -> bool {
        match self {
            Self::Full => folder.rights.covers(Rights::FULL_ACCESS),
            Self::Before(_) | Self::Nothing => folder.rights.is_same_as(wanted),
        }
    }
}

impl Grants {
    pub(super) fn apply(&self, id: GrantId, grant: &Grant, step: GrantStep) -> Result<Outcome<Done>, StageError> {
        let Some(identifier) = self.identifier(id)? else { return Ok(Outcome::Refused(READING_GONE)) };
        match step {
            GrantStep::Read => self.read(id, grant, &identifier),
            GrantStep::Give => self.give(grant, &identifier),
            GrantStep::Revoke => self.revoke(id, grant, &identifier),
            GrantStep::VerifyRevoked => self.verify_revoked(id, grant, &identifier),
        }
    }

    /// Returns who the grant is for. What stands in the place of a text that was erased is nobody.
    fn identifier(&self, id: GrantId) -> Result<Option<String>, StageError> {
        let Some(recorded) = self.store.read(id.0)? else { return Ok(None) };
        let Readable::Event(event) = recorded.event else { return Ok(None) };
        Ok(match *event {
            Event::GrantRequested(body) => Some(body.identifier),
            _ => None,
        })
    }

    /// What stood there without any grant of ours, as the newest reading says; `None` when it cannot be read any more.
    fn standing(&self, id: GrantId) -> Result<Option<Standing>, StageError> {
        let positions = self.store.view(|views| views.small.grants.newest_reading(id).to_vec());
        let mut folders = Vec::new();
        for position in positions {
            match self.store.read(position)?.as_ref().and_then(|recorded| recorded.event()) {
                Some(Event::GrantFoldersRead(body)) => folders.extend(body.folders.iter().cloned()),
                _ => return Ok(None),
            }
        }
        Ok(Some(Standing::of(folders)))
    }

    fn read(&self, id: GrantId, grant: &Grant, identifier: &str) -> Result<Outcome<Done>, StageError> {
        let is_beside = self.store.view(|views| views.small.grants.beside(id).next().is_some());
        let base = match grant.purpose {
            GrantPurpose::Removal { .. } | GrantPurpose::Standing => Some(Wanted::Nothing),
            GrantPurpose::Request | GrantPurpose::Run { .. } if is_beside => match self.standing(id)? {
                Some(standing) => Some(Wanted::Before(standing)),
                None => return Ok(Outcome::Refused(READING_GONE)),
            },
            GrantPurpose::Request | GrantPurpose::Run { .. } => None,
        };
        let mut session = or_refused!(self.target.open(grant.mailbox));
        let present = or_refused!(session.read(identifier));
        // It was seen hours ago, or days where nobody approved it: what somebody left in its place stays.
        let is_full = |folder: &FolderAccess| folder.rights.covers(Rights::FULL_ACCESS);
        if grant.purpose == GrantPurpose::Standing && !present.iter().any(is_full) {
            return Ok(Outcome::Refused(NOTHING_STANDS));
        }
        let folders = match base {
            Some(wanted) => rows(wanted.compare(&present), |(folder, standing)| (folder.rights, standing)),
            None => rows(present.into_iter().map(|folder| (folder, Rights::NONE)).collect(), |(folder, _)| {
                (folder.rights, folder.rights)
            }),
        };
        let receipt = Receipt::Folders(|parts, folders| GrantReceipt::Read {
            folders: count(folders.len()),
            standing: standing_in(folders),
            parts,
        });
        Ok(Outcome::Applied(Done { receipt, reading: FolderReading::Before, folders }))
    }

    fn give(&self, grant: &Grant, identifier: &str) -> Result<Outcome<Done>, StageError> {
        let mut session = or_refused!(self.target.open(grant.mailbox));
        Ok(match converge(session.as_mut(), identifier, &Wanted::Full) {
            Outcome::Applied((folders, true)) => Outcome::Applied(given(folders)),
            Outcome::Applied((_, false)) => Outcome::Refused(NOT_GIVEN),
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Unknown(cause) => Outcome::Unknown(cause),
        })
    }

    /// Reads back whether the rights are on every folder.
    pub(super) fn probe_given(&self, id: GrantId, grant: &Grant) -> Result<Outcome<Done>, StageError> {
        let Some(identifier) = self.identifier(id)? else { return Ok(Outcome::Refused(READING_GONE)) };
        let mut session = or_unknown_later!(self.target.open(grant.mailbox));
        let present = or_unknown_later!(session.read(&identifier));
        if present.iter().any(|folder| !folder.rights.covers(Rights::FULL_ACCESS)) {
            return Ok(Outcome::Refused(NOT_APPLIED));
        }
        let folders = rows(Wanted::Full.compare(&present), |(folder, asked)| (asked, folder.rights));
        Ok(Outcome::Applied(given(folders)))
    }

    fn wanted_after(&self, id: GrantId, grant: &Grant) -> Result<Option<Wanted>, StageError> {
        Ok(match grant.purpose {
            GrantPurpose::Removal { .. } | GrantPurpose::Standing => Some(Wanted::Nothing),
            GrantPurpose::Request | GrantPurpose::Run { .. } => self.standing(id)?.map(Wanted::Before),
        })
    }

    fn revoke(&self, id: GrantId, grant: &Grant, identifier: &str) -> Result<Outcome<Done>, StageError> {
        let Some(wanted) = self.wanted_after(id, grant)? else { return Ok(Outcome::Refused(READING_GONE)) };
        let mut session = or_refused!(self.target.open(grant.mailbox));
        Ok(match converge(session.as_mut(), identifier, &wanted) {
            Outcome::Applied((folders, true)) => {
                let receipt = Receipt::Folders(|parts, folders| GrantReceipt::Revoked {
                    folders: count(folders.len()),
                    changed: changed_in(folders),
                    standing: standing_in(folders),
                    parts,
                });
                Outcome::Applied(Done { receipt, reading: FolderReading::Revoked, folders })
            }
            Outcome::Applied((_, false)) => Outcome::Refused(LEFT),
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Unknown(cause) => Outcome::Unknown(cause),
        })
    }

    /// Sessions are ended first: until then an open one can still make folders that inherit the grant.
    fn verify_revoked(&self, id: GrantId, grant: &Grant, identifier: &str) -> Result<Outcome<Done>, StageError> {
        let Some(wanted) = self.wanted_after(id, grant)? else { return Ok(Outcome::Refused(READING_GONE)) };
        let sessions = or_refused!(self.target.end_sessions(grant.mailbox, identifier));
        let mut session = or_refused!(self.target.open(grant.mailbox));
        let folders = match converge(session.as_mut(), identifier, &wanted) {
            Outcome::Applied((folders, true)) => folders,
            Outcome::Applied((_, false)) => return Ok(Outcome::Refused(LEFT)),
            Outcome::Refused(refusal) => return Ok(Outcome::Refused(refusal)),
            Outcome::Unknown(cause) => return Ok(Outcome::Unknown(cause)),
        };
        drop(session);
        let verified_as = match or_refused!(self.target.seen_by(grant.mailbox, identifier)) {
            None => VerifiedAs::Admin,
            Some(seen) => {
                let allowed = |seen: &FolderAccess| {
                    let known = folders.iter().find(|folder| folder.folder == seen.folder);
                    known.map_or(Rights::NONE, |folder| folder.asked).covers(seen.rights)
                };
                if !seen.iter().all(allowed) {
                    return Ok(Outcome::Refused(STILL_SEEN));
                }
                VerifiedAs::Grantee
            }
        };
        let receipt = GrantReceipt::VerifiedGone { verified_as, folders: count(folders.len()), sessions };
        // What had to be mended here once more is shown folder by folder; what was as it should be was shown before.
        let folders = folders.into_iter().filter(|folder| !folder.before.is_same_as(folder.after)).collect();
        Ok(Outcome::Applied(Done { receipt: Receipt::Whole(receipt), reading: FolderReading::Revoked, folders }))
    }
}

/// Changes what is not as it should be until everything is, a few times at most: folders may be made meanwhile. Returns
/// each folder as it was first seen, as it was wanted and as it was last read, and whether everything is as wanted.
fn converge(session: &mut dyn AccessSession, identifier: &str, wanted: &Wanted) -> Outcome<(Vec<FolderRights>, bool)> {
    let mut present = match session.read(identifier) {
        Ok(present) => present,
        Err(refusal) => return Outcome::Refused(refusal),
    };
    let mut first: std::collections::BTreeMap<String, Rights> = std::collections::BTreeMap::new();
    for round in 0..=ROUNDS {
        for folder in &present {
            first.entry(folder.folder.clone()).or_insert(folder.rights);
        }
        let compared = wanted.compare(&present);
        let changes: Vec<FolderAccess> = compared
            .iter()
            .filter(|(folder, asked)| !wanted.is_met(folder, *asked))
            .map(|(folder, asked)| FolderAccess { folder: folder.folder.clone(), rights: *asked })
            .collect();
        if changes.is_empty() || round == ROUNDS {
            let folders = compared
                .into_iter()
                .map(|(folder, asked)| FolderRights {
                    before: first.get(&folder.folder).copied().unwrap_or(folder.rights),
                    asked,
                    after: folder.rights,
                    folder: folder.folder,
                })
                .collect();
            return Outcome::Applied((folders, changes.is_empty()));
        }
        match session.change(identifier, &changes) {
            Outcome::Applied(()) => {}
            Outcome::Refused(refusal) => return Outcome::Refused(refusal),
            Outcome::Unknown(cause) => return Outcome::Unknown(cause),
        }
        present = match session.read(identifier) {
            Ok(present) => present,
            // Changed, but not read back.
            Err(refusal) => return Outcome::Unknown(Cause { code: refusal.code }),
        };
    }
    Outcome::Applied((Vec::new(), false))
}

fn rows(
    folders: Vec<(FolderAccess, Rights)>,
    asked_and_after: impl Fn((&FolderAccess, Rights)) -> (Rights, Rights),
) -> Vec<FolderRights> {
    let row = |(folder, wanted): (FolderAccess, Rights)| {
        let (asked, after) = asked_and_after((&folder, wanted));
        FolderRights { before: folder.rights, asked, after, folder: folder.folder }
    };
    folders.into_iter().map(row).collect()
}

fn given(folders: Vec<FolderRights>) -> Done {
    let receipt = Receipt::Folders(|parts, folders| GrantReceipt::Given {
        folders: count(folders.len()),
        changed: changed_in(folders),
        parts,
    });
    Done { receipt, reading: FolderReading::Given, folders }
}

fn count(folders: usize) -> u32 {
    u32::try_from(folders).unwrap_or(u32::MAX)
}

fn changed_in(folders: &[FolderRights]) -> u32 {
    count(folders.iter().filter(|folder| !folder.before.is_same_as(folder.after)).count())
}

fn standing_in(folders: &[FolderRights]) -> u32 {
    count(folders.iter().filter(|folder| !folder.after.is_empty()).count())
}
