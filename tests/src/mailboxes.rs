//! Mailboxes in memory, whose permissions can be given and taken back, with one fault at one call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use retention_core::event::grant::OpenSessions;
use retention_core::event::permission::Holder;
use retention_core::id::EntityId;
use retention_core::mailbox::Rights;
use retentiond::connector::access::{AccessSession, AccessTarget, FolderAccess, PermissionEntry, PermissionReader};
use retentiond::connector::outcome::{Cause, Outcome, Refusal, Retry};

/// The user whose mailboxes these are.
pub const OWNER: &str = "owner";

/// A call of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A login.
    Open,
    /// Permissions are read.
    Read,
    /// Permissions are set.
    Change,
    /// The principal looks for itself.
    Look,
    /// Sessions are ended.
    EndSessions,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Open, Self::Read, Self::Change, Self::Look, Self::EndSessions];
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not happen, and that is said.
    Refused,
    /// It does not happen, and nobody knows.
    LostNotApplied,
    /// It happens, and nobody knows.
    LostButApplied,
    /// Half of it happens, and nobody knows.
    LostHalfApplied,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Refused, Self::LostNotApplied, Self::LostButApplied, Self::LostHalfApplied];
}

/// The rights of one principal on the folders of one mailbox, by path.
type Folders = BTreeMap<String, Rights>;

#[derive(Default)]
struct State {
    rights: BTreeMap<(EntityId, String), Folders>,
    /// What stands there without any grant.
    standing: BTreeMap<(EntityId, String), Folders>,
    /// Whose standing access may be taken away.
    may_go: BTreeSet<(EntityId, String)>,
    armed: Option<(Call, u32, Fault)>,
    /// How many calls there were.
    calls: u32,
    /// Folders that are made right after the next change.
    made_meanwhile: Vec<String>,
}

/// The mailboxes.
#[derive(Clone, Default)]
pub struct Mailboxes {
    state: Arc<Mutex<State>>,
}

impl Mailboxes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a mailbox with what a principal may do in its folders before anything is granted.
    ///
    /// # Panics
    /// When a text is no set of rights.
    pub fn add(&self, mailbox: EntityId, identifier: &str, folders: &[(&str, &str)]) {
        let folders: Folders =
            folders.iter().map(|(folder, rights)| ((*folder).to_owned(), rights.parse().expect("rights"))).collect();
        let key = (mailbox, identifier.to_owned());
        let mut state = self.state();
        state.standing.insert(key.clone(), folders.clone());
        state.rights.insert(key, folders);
    }

    /// Lets the `nth` call of a kind from now on go wrong, counted from 1.
    pub fn arm(&self, call: Call, nth: u32, fault: Fault) {
        self.state().armed = Some((call, nth, fault));
    }

    /// Says whether the fault that was armed has not happened yet.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.state().armed.is_some()
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.state().calls
    }

    /// Makes a folder, which inherits from the one above it, as servers do.
    pub fn make_folder(&self, mailbox: EntityId, path: &str) {
        make(&mut self.state(), mailbox, path);
    }

    /// Makes a folder in the moment after the next change, as a live session can.
    pub fn make_folder_meanwhile(&self, path: &str) {
        self.state().made_meanwhile.push(path.to_owned());
    }

    /// What a principal may do, by path.
    #[must_use]
    pub fn rights(&self, mailbox: EntityId, identifier: &str) -> BTreeMap<String, String> {
        let state = self.state();
        let folders = state.rights.get(&(mailbox, identifier.to_owned()));
        folders.into_iter().flatten().map(|(path, rights)| (path.clone(), rights.to_string())).collect()
    }

    /// Says that what stands for a principal without a grant may be taken away from now on.
    pub fn may_go(&self, mailbox: EntityId, identifier: &str) {
        self.state().may_go.insert((mailbox, identifier.to_owned()));
    }

    /// Returns where somebody may do something else than without any grant.
    #[must_use]
    pub fn left_behind(&self) -> Vec<String> {
        let state = self.state();
        let differs = |(key, folders): (&(EntityId, String), &Folders)| {
            let standing = &state.standing[key];
            let differing = folders
                .iter()
                .filter(|(path, rights)| !rights.is_same_as(standing.get(*path).copied().unwrap_or(Rights::NONE)));
            differing.map(|(path, rights)| format!("{} {path}: {rights}", key.0)).collect::<Vec<_>>()
        };
        state.rights.iter().filter(|(key, _)| !state.may_go.contains(*key)).flat_map(differs).collect()
    }

    /// Returns where something is gone that stood there without any grant.
    #[must_use]
    pub fn taken_away(&self) -> Vec<String> {
        let state = self.state();
        let lost = |(key, standing): (&(EntityId, String), &Folders)| {
            let folders = &state.rights[key];
            let lost = standing
                .iter()
                .filter(|(path, stood)| !folders.get(*path).is_some_and(|rights| rights.covers(**stood)));
            lost.map(|(path, stood)| format!("{} {path}: {stood}", key.0)).collect::<Vec<_>>()
        };
        state.standing.iter().filter(|(key, _)| !state.may_go.contains(*key)).flat_map(lost).collect()
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        state.calls += 1;
        let (due, nth, fault) = state.armed?;
        if due != call {
            return None;
        }
        state.armed = (nth > 1).then(|| (due, nth - 1, fault));
        (nth <= 1).then_some(fault)
    }

    fn question(&self, call: Call) -> Result<(), Refusal> {
        self.fault(call).map_or(Ok(()), |_| Err(REFUSED))
    }
}

const REFUSED: Refusal = Refusal { code: "fault", retry: Retry::After(Duration::from_secs(1)) };

fn make(state: &mut State, mailbox: EntityId, path: &str) {
    let above = |folders: &Folders| {
        let parent = path.rsplit_once('/').map_or("INBOX", |(parent, _)| parent);
        folders.get(parent).copied().unwrap_or(Rights::NONE)
    };
    for all in [&mut state.rights, &mut state.standing] {
        for (_, folders) in all.iter_mut().filter(|((of, _), _)| *of == mailbox) {
            let inherited = above(folders);
            folders.entry(path.to_owned()).or_insert(inherited);
        }
    }
}

struct Session {
    mailboxes: Mailboxes,
    mailbox: EntityId,
}

impl AccessTarget for Mailboxes {
    fn open(&self, mailbox: EntityId) -> Result<Box<dyn AccessSession>, Refusal> {
        self.question(Call::Open)?;
        Ok(Box::new(Session { mailboxes: self.clone(), mailbox }))
    }

    fn seen_by(&self, mailbox: EntityId, identifier: &str) -> Result<Option<Vec<FolderAccess>>, Refusal> {
        self.question(Call::Look)?;
        let state = self.state();
        let seen = state.rights.get(&(mailbox, identifier.to_owned())).into_iter().flatten();
        let seen = seen.filter(|(_, rights)| !rights.is_empty());
        Ok(Some(seen.map(|(folder, rights)| FolderAccess { folder: folder.clone(), rights: *rights }).collect()))
    }

    fn end_sessions(&self, _mailbox: EntityId, _identifier: &str) -> Result<OpenSessions, Refusal> {
        self.question(Call::EndSessions)?;
        Ok(OpenSessions::Ended)
    }
}

impl PermissionReader for Mailboxes {
    fn permissions(&self, mailbox: EntityId) -> Result<Vec<PermissionEntry>, Refusal> {
        self.question(Call::Open)?;
        self.question(Call::Read)?;
        let state = self.state();
        let of_mailbox = state.rights.iter().filter(|((of, _), _)| *of == mailbox);
        let entries = of_mailbox.flat_map(|((_, identifier), folders)| {
            folders.iter().filter(|(_, rights)| !rights.is_empty()).map(move |(folder, rights)| PermissionEntry {
                folder: folder.clone(),
                identifier: identifier.clone(),
                holder: if identifier == OWNER { Holder::Owner } else { Holder::Person },
                rights: *rights,
            })
        });
        Ok(entries.collect())
    }
}

impl AccessSession for Session {
    fn read(&mut self, identifier: &str) -> Result<Vec<FolderAccess>, Refusal> {
        self.mailboxes.question(Call::Read)?;
        let state = self.mailboxes.state();
        let folders = state.rights.get(&(self.mailbox, identifier.to_owned())).into_iter().flatten();
        Ok(folders.map(|(folder, rights)| FolderAccess { folder: folder.clone(), rights: *rights }).collect())
    }

    fn change(&mut self, identifier: &str, wanted: &[FolderAccess]) -> Outcome<()> {
        let fault = self.mailboxes.fault(Call::Change);
        let applied = match fault {
            Some(Fault::Refused | Fault::LostNotApplied) => 0,
            Some(Fault::LostHalfApplied) => wanted.len() / 2,
            Some(Fault::LostButApplied) | None => wanted.len(),
        };
        let mut state = self.mailboxes.state();
        if let Some(folders) = state.rights.get_mut(&(self.mailbox, identifier.to_owned())) {
            for folder in wanted.iter().take(applied) {
                folders.insert(folder.folder.clone(), folder.rights);
            }
        }
        for path in std::mem::take(&mut state.made_meanwhile) {
            make(&mut state, self.mailbox, &path);
        }
        match fault {
            None => Outcome::Applied(()),
            Some(Fault::Refused) => Outcome::Refused(REFUSED),
            Some(_) => Outcome::Unknown(Cause { code: "lost" }),
        }
    }
}
