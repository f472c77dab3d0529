//! Mailboxes that are registered: their record becomes an entity, their password a sealed credential.
//!
//! Nobody delivers these; a person does, by `retentionctl mailbox add` or a migration batch. All mailboxes of one
//! request are registered by one append, or none is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use retention_core::event::change::EntityChanged;
use retention_core::event::mailbox::{
    CredentialStored, MailboxRegistered, MailboxRemoved, MigrationBatchImported, SealedSecret,
};
use retention_core::event::{Actor, Draft, Event, stream_of_daemon};
use retention_core::id::{Digest, EntityId, LayoutId, Position};
use retention_core::mailbox::{ADDRESS_BYTES_MAX, COLUMNS, LoginForm};
use retention_core::record::{Cells, Column, EntityRecord, FieldType, Kind, Layout, Visibility};
use retention_core::view::Condition;
use zeroize::Zeroizing;

use super::IntakeError;
use crate::store::{Prepared, Store};

/// The longest password or token, in bytes: access tokens have a few thousand.
const SECRET_BYTES_MAX: usize = 16 * 1024;

/// How one gets into a mailbox, as it was registered. Personal data and a secret: its `Debug` shows the server alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The name of the server in the configuration.
    pub server: String,
    /// The mailbox's address.
    pub address: String,
    /// The user, where the server names it otherwise than by the address.
    pub user: Option<String>,
    /// How one logs in, where that is not the server's own way.
    pub form: Option<LoginForm>,
    /// Who logs in, where that is not the server's own admin.
    pub admin: Option<String>,
    /// The folder of the mailbox in the admin's tree.
    pub root: Option<String>,
    /// The password or token of whoever logs in. A mailbox that is registered anew without one keeps its own.
    pub secret: Option<Zeroizing<String>>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Registration {
    /// Says what in it can be no name or no password; `None` when it can be registered.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let domain = match &self.form {
            Some(LoginForm::Exchange { domain }) => Some(domain),
            _ => None,
        };
        let texts = [
            ("address", Some(&self.address)),
            ("user", self.user.as_ref()),
            ("domain", domain),
            ("admin", self.admin.as_ref()),
            ("root", self.root.as_ref()),
        ];
        let is_bad = |text: &str| {
            text.is_empty()
                || text.trim() != text
                || text.len() > ADDRESS_BYTES_MAX
                || text.chars().any(char::is_control)
        };
        let bad = texts.into_iter().find(|(_, text)| text.is_some_and(|text| is_bad(text)));
        if let Some((what, _)) = bad {
            return Some(format!(
                "the {what} is empty, begins or ends with a space, is longer than {ADDRESS_BYTES_MAX} bytes, or holds \
                 control characters"
            ));
        }
        let secret = self.secret.as_ref()?;
        (secret.is_empty() || secret.len() > SECRET_BYTES_MAX || secret.contains(['\0', '\r', '\n']))
            .then(|| format!("the password is empty, longer than {SECRET_BYTES_MAX} bytes, or has more than one line"))
    }

    /// Reads what was registered from its record; the secret is elsewhere. `None` when it is none.
    #[must_use]
    pub fn of_record(server: &str, record: &EntityRecord) -> Option<Self> {
        let mut cells = record.cells.iter();
        let mut next = || cells.next().map(|cell| cell.map(str::to_owned));
        let (address, user, word, detail, admin, root) = (next()??, next()?, next()?, next()?, next()?, next()?);
        let form = match word {
            None => None,
            Some(word) => Some(match word.parse().ok()? {
                LoginForm::DovecotMaster { .. } => {
                    LoginForm::DovecotMaster { separator: detail.and_then(|text| text.chars().next())? }
                }
                LoginForm::Exchange { .. } => LoginForm::Exchange { domain: detail? },
                form => form,
            }),
        };
        Some(Self { server: server.to_owned(), address, user, form, admin, root, secret: None })
    }

    /// Whose mailbox it leads to: the user, and the folder where it lies in an admin's tree.
    fn leads_to(&self) -> (&str, Option<&str>) {
        (self.user.as_deref().unwrap_or(&self.address), self.root.as_deref())
    }

    fn layout(&self) -> Layout {
        let column = |name: &str| Column { name: name.into(), field: name.into(), field_type: FieldType::Text };
        Layout {
            source: self.server.clone(),
            kind: Kind::Mailbox,
            columns: COLUMNS.map(column).to_vec(),
            named_dates: Vec::new(),
        }
    }

    fn record(&self, layout: LayoutId) -> EntityRecord {
        let detail = match &self.form {
            Some(LoginForm::DovecotMaster { separator }) => Some(separator.to_string()),
            Some(LoginForm::Exchange { domain }) => Some(domain.clone()),
            _ => None,
        };
        let word = self.form.as_ref().map(LoginForm::word);
        let cells = [
            Some(self.address.as_str()),
            self.user.as_deref(),
            word,
            detail.as_deref(),
            self.admin.as_deref(),
            self.root.as_deref(),
        ];
        EntityRecord {
            layout,
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: self.address.clone(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: cells.into_iter().collect::<Cells>(),
        }
    }
}

/// Why nothing was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two of the mailboxes have the same server and address.
    #[error(
        "mailbox {0} of the request has the same server and address as one before it, perhaps in other letters; nothing \
         was registered"
    )]
    Twice(usize),
    /// Its address is that of another mailbox of its server in capital or small letters.
    #[error(
        "the address of mailbox {number} of the request differs from that of {known} only in capital letters: a server \
         takes both for one mailbox, and what is held in the one would be purged through the other; nothing was registered"
    )]
    Alike {
        /// Which of the request, counted from 1.
        number: usize,
        /// The one that is registered.
        known: EntityId,
    },
    /// The mailbox is not registered.
    #[error("{0} is not a registered mailbox; nothing was changed")]
    NotRegistered(EntityId),
    /// It would lead to another mailbox while something is done in the one that it leads to.
    #[error(
        "{0} would lead to another mailbox, by its user or its root, while a grant, a migration or a run is not over in \
         the one that it leads to; nothing was registered"
    )]
    InUse(EntityId),
    /// The log or the keys failed.
    #[error(transparent)]
    Failed(#[from] IntakeError),
}

impl From<crate::store::AppendError> for RegistryError {
    fn from(error: crate::store::AppendError) -> Self {
        Self::Failed(error.into())
    }
}

/// Registers mailboxes. One is shared by all who do, so that two never register the same mailbox at once.
pub struct Registrar {
    store: Arc<Store>,
    one_at_a_time: Mutex<()>,
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registrar")
    }
}

/// Events that are ready, and what must be true for them.
#[derive(Default)]
struct Work {
    events: Vec<Prepared>,
    unchanged_since: Vec<(EntityId, Position)>,
    /// Those that lead to other mailboxes than before.
    led_elsewhere: Vec<EntityId>,
    credentials: u64,
}

/// Returns an address as servers compare it. The standard tells the letters of a user's name apart; Dovecot, Cyrus and
/// Exchange do not, and where one does, `user` still says whose mailbox it is.
fn folded(address: &str) -> String {
    address.to_lowercase()
}

/// Nothing goes on in a mailbox that has to be ended where it was begun: access is taken back where it was given, and
/// what is purged is what was exported.
fn nothing_goes_on_in(mailbox: EntityId) -> Condition {
    Condition::All(vec![Condition::NoGrantOn(mailbox), Condition::NotMigrating(mailbox), Condition::NoSagaOn(mailbox)])
}

impl Registrar {
    /// Works on a store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, one_at_a_time: Mutex::new(()) }
    }

    /// Registers mailboxes, or registers them anew. `batch` is the digest of the migration batch that they come from.
    /// Returns their numbers in the same order. What is already registered just so is left as it is.
    ///
    /// # Errors
    /// Nothing was registered.
    pub fn register(
        &self,
        actor: Actor,
        wanted: &[Registration],
        batch: Option<Digest>,
    ) -> Result<Vec<EntityId>, RegistryError> {
        let mut seen = BTreeSet::new();
        if let Some(index) = wanted.iter().position(|one| !seen.insert((&one.server, folded(&one.address)))) {
            return Err(RegistryError::Twice(index + 1));
        }
        let _one_at_a_time = self.one_at_a_time.lock();
        if let Some((number, known)) = self.alike(wanted)? {
            return Err(RegistryError::Alike { number, known });
        }
        let mut work = Work::default();
        let mut entities = Vec::with_capacity(wanted.len());
        for one in wanted {
            entities.push(self.prepare(actor, one, &mut work)?);
        }
        if let Some(content) = batch {
            let (mailboxes, credentials) = (entities.len() as u64, work.credentials);
            let body = MigrationBatchImported { content, mailboxes, credentials };
            let draft = Draft {
                stream: stream_of_daemon(),
                entity: None,
                actor,
                cause: Position::NONE,
                occurred_at: None,
                event: Event::MigrationBatchImported(body),
            };
            work.events.push(self.store.prepare(draft, None)?);
        }
        if !work.events.is_empty() {
            let free = work.led_elsewhere.into_iter().map(nothing_goes_on_in);
            let all = std::iter::once(Condition::Versions(work.unchanged_since)).chain(free).collect();
            self.store.append(work.events, Condition::All(all))?;
        }
        Ok(entities)
    }

    /// Takes a mailbox out of the registry. Its credential is destroyed by the run stage.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn remove(&self, actor: Actor, mailbox: EntityId, reason: String) -> Result<Position, RegistryError> {
        let _one_at_a_time = self.one_at_a_time.lock();
        if self.store.view(|views| views.small.registry.get(mailbox).is_none()) {
            return Err(RegistryError::NotRegistered(mailbox));
        }
        let draft = self.draft(actor, mailbox, Event::MailboxRemoved(MailboxRemoved { reason }));
        // Without its credential nobody could take access back, or end what cannot be undone any more.
        let removable = Condition::All(vec![
            Condition::NoGrantOn(mailbox),
            Condition::NotMigrating(mailbox),
            Condition::NotPurging(mailbox),
        ]);
        Ok(self.store.append_drafts(vec![draft], removable)?.first)
    }

    /// Returns which of these mailboxes has the address of another one of its server in other letters, and of which.
    /// Addresses stand in sealed records alone, so these are read when any of the mailboxes is new.
    fn alike(&self, wanted: &[Registration]) -> Result<Option<(usize, EntityId)>, RegistryError> {
        let store = &self.store;
        let is_new = |one: &Registration| {
            let handle = store.handle_of(&one.server, None, Kind::Mailbox, &one.address);
            store.view(|views| views.entities.find(handle).and_then(|known| views.small.registry.get(known)).is_none())
        };
        let new: BTreeMap<(&str, String), usize> = (1..)
            .zip(wanted)
            .filter(|(_, one)| is_new(one))
            .map(|(number, one)| ((one.server.as_str(), folded(&one.address)), number))
            .collect();
        if new.is_empty() {
            return Ok(None);
        }
        let registered: Vec<(EntityId, String)> =
            store.view(|views| views.small.registry.iter().map(|(id, known)| (id, known.server.clone())).collect());
        for (id, server) in registered {
            let Some(record) = store.record(id).map_err(IntakeError::from)? else { continue };
            if let Some(number) = new.get(&(server.as_str(), folded(&record.external_id))) {
                return Ok(Some((*number, id)));
            }
        }
        Ok(None)
    }

    fn prepare(&self, actor: Actor, wanted: &Registration, work: &mut Work) -> Result<EntityId, RegistryError> {
        let store = &self.store;
        let layout = store.layout_id(&wanted.layout(), Position::NONE)?;
        let record = wanted.record(layout);
        let handle = store.handle_of(&wanted.server, None, Kind::Mailbox, &wanted.address);
        let known = store.view(|views| {
            let entity = views.entities.find(handle)?;
            let version = views.entities.row(entity)?.version;
            Some((entity, version, views.small.registry.get(entity).cloned()))
        });
        let (entity, before) = match known {
            Some((entity, version, before)) => {
                work.unchanged_since.push((entity, version));
                let recorded = store.record_at(version).map_err(IntakeError::from)?;
                let is_as_it_was = recorded.as_ref() == Some(&record);
                if !is_as_it_was {
                    let led = recorded.and_then(|recorded| Registration::of_record(&wanted.server, &recorded));
                    if led.is_none_or(|led| led.leads_to() != wanted.leads_to()) {
                        if store.view(|views| nothing_goes_on_in(entity).check(views).is_err()) {
                            return Err(RegistryError::InUse(entity));
                        }
                        work.led_elsewhere.push(entity);
                    }
                    let draft = self.draft(actor, entity, Event::EntityChanged(EntityChanged { record }));
                    work.events.push(store.prepare(draft, None)?);
                } else if before.is_some() && wanted.secret.is_none() {
                    return Ok(entity);
                }
                (entity, before)
            }
            None => {
                let (entity, key) = self.issue()?;
                let draft = self.draft(actor, entity, Event::EntityChanged(EntityChanged { record }));
                work.events.push(store.prepare(draft, Some(&key))?);
                (entity, None)
            }
        };
        let credential = match &wanted.secret {
            None => before.and_then(|before| before.credential),
            Some(secret) => {
                let (credential, key) = self.issue()?;
                let body = CredentialStored { secret: SealedSecret::new(secret.clone()) };
                let draft = self.draft(actor, credential, Event::CredentialStored(body));
                work.events.push(store.prepare(draft, Some(&key))?);
                work.credentials += 1;
                Some(credential)
            }
        };
        let body = MailboxRegistered { server: wanted.server.clone(), credential };
        let draft = self.draft(actor, entity, Event::MailboxRegistered(body));
        work.events.push(store.prepare(draft, None)?);
        Ok(entity)
    }

    fn issue(&self) -> Result<(EntityId, crate::store::vault::DataKey), RegistryError> {
        let issued = self.store.issue(1).map_err(IntakeError::from)?.pop();
        issued.ok_or(RegistryError::Failed(IntakeError::ReaderFailed))
    }

    fn draft(&self, actor: Actor, entity: EntityId, event: Event) -> Draft {
        Draft {
            stream: self.store.stream_of(entity),
            entity: Some(entity),
            actor,
            cause: Position::NONE,
            occurred_at: None,
            event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_around_a_name_is_a_slip_of_the_hand() {
        let fault = |address: &str, user: Option<&str>| {
            let (server, address, user) = ("mail".to_owned(), address.to_owned(), user.map(str::to_owned));
            Registration { server, address, user, form: None, admin: None, root: None, secret: None }.fault()
        };
        assert_eq!(fault("jana@example.org", Some("jana n")), None);
        for (address, user) in [("jana@example.org ", None), ("jana@example.org", Some(" jana")), (" ", None)] {
            assert!(fault(address, user).is_some_and(|fault| fault.contains("a space")), "{address:?} {user:?}");
        }
    }
}
