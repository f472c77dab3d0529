//! What a principal sees for itself of somebody else's mailbox, with its own login.
//!
//! That nothing is seen proves something only when it is known that something would be seen if it were there: under
//! which name a server shows a mailbox to others is its own affair.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use retention_core::id::EntityId;
use retention_core::mailbox::Rights;

use super::Proof;
use super::access::{EVERYBODY, is_no, refusal};
use super::acl::Acl;
use super::error::MailError;
use super::folder::{Folder, Root};
use super::session::Session;
use crate::connector::access::FolderAccess;
use crate::connector::outcome::Refusal;

/// More pairs than any daemon has grants at once; beyond it, everything is forgotten, which only makes claims smaller.
const PAIRS_MAX: usize = 10_000;

/// Whose eyes have shown something of a mailbox: since then their seeing nothing says something.
#[derive(Default)]
pub(super) struct Eyes(Mutex<BTreeSet<(EntityId, String)>>);

impl Eyes {
    /// Says whether what a principal saw of a mailbox is to be believed. What shows something is, and is remembered.
    pub(super) fn believes(&self, mailbox: EntityId, identifier: &str, seen: &[FolderAccess]) -> bool {
        let mut pairs = self.0.lock();
        let pair = (mailbox, identifier.to_owned());
        if seen.is_empty() {
            return pairs.contains(&pair);
        }
        if pairs.len() >= PAIRS_MAX {
            pairs.clear();
        }
        pairs.insert(pair);
        true
    }
}

/// Whether the proof of whose mailbox it is has shown under which name others see it.
pub(super) fn names_of_others_are_proven(proof: Proof) -> bool {
    match proof {
        Proof::SameFolder | Proof::UserRoot => true,
        Proof::OwnLogin | Proof::OwnerEntry | Proof::UnknownUserRefused => false,
    }
}

/// Asks what a principal may do in each folder of a user's mailbox, of those that are there and of those that it is
/// shown; `None` when the server shows it nobody else's mailboxes at all.
pub(super) fn look(
    principal: &mut Session,
    user: &str,
    folders: &[Folder],
    acls: &[Acl],
) -> Result<Option<Vec<FolderAccess>>, Refusal> {
    let Some(shown) = principal.folders_of(user).map_err(refusal)? else { return Ok(None) };
    let of_everybody: HashMap<&str, Rights> =
        folders.iter().zip(acls).map(|(folder, acl)| (folder.path.as_str(), rights_of_everybody(acl))).collect();
    let mut seen: BTreeMap<String, Rights> = BTreeMap::new();
    for (root, listed) in shown {
        // A folder may be readable and not be shown, so all are asked about.
        let mut names: BTreeMap<String, String> =
            folders.iter().map(|folder| (root.name_of(&folder.path), folder.path.clone())).collect();
        names.extend(listed.into_iter().map(|folder| {
            let path = path_below(&root, &folder);
            (folder.name, path)
        }));
        let asked: Vec<&str> = names.keys().map(String::as_str).collect();
        let answers = principal.my_rights_on(&asked);
        for (path, answer) in names.values().zip(answers) {
            let rights = match answer {
                Ok(rights) => rights,
                // What one may not even ask about one may not do.
                Err(MailError::Refused(why)) if is_no(why.code) => continue,
                Err(error) => return Err(refusal(error)),
            };
            let everybody = of_everybody.get(path.as_str()).copied().unwrap_or(Rights::NONE);
            let sees = seen.entry(path.clone()).or_default();
            *sees = sees.and(rights.without(everybody));
        }
    }
    seen.retain(|_, rights| !rights.is_empty());
    Ok(Some(seen.into_iter().map(|(folder, rights)| FolderAccess { folder, rights }).collect()))
}

/// Returns what everybody may do who logs in. Of other groups nobody here knows who belongs to them: what a principal
/// can do through one of those is shown as its own, so that a revoke that changes nothing for it is never called done.
fn rights_of_everybody(acl: &Acl) -> Rights {
    let is_everybody = |who: &str| EVERYBODY.iter().any(|word| who.eq_ignore_ascii_case(word));
    acl.entries.iter().filter(|(who, _)| is_everybody(who)).fold(Rights::NONE, |all, (_, rights)| all.and(*rights))
}

/// Returns the path of a folder that somebody else sees. Dovecot shows an inbox twice: as the mailbox and as a folder
/// in it.
fn path_below(root: &Root, folder: &Folder) -> String {
    let last = folder.delimiter.and_then(|delimiter| folder.name.strip_prefix(root.inbox())?.strip_prefix(delimiter));
    let is_inbox = last.is_some_and(|last| last.eq_ignore_ascii_case("INBOX"));
    if is_inbox { "INBOX".to_owned() } else { folder.path.clone() }
}
