//! How one gets into the registered mailboxes: put together from the log, the configuration and the files that hold
//! secrets.
//!
//! Nothing of a secret is kept here: it is opened anew for each login.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use retention_core::event::Event;
use retention_core::id::{EntityId, Position};
use retention_core::mailbox::{Identity, LoginForm};
use zeroize::Zeroizing;

use crate::config::{Config, Environment, MailServer, SecretPlace};
use crate::connector::imap::{MailboxAccess, MailboxDirectory, Secret};
use crate::connector::mail::Registered;
use crate::connector::outcome::{Refusal, Retry};
use crate::private_file;
use crate::stage::intake::registry::Registration;
use crate::store::Store;

/// The longest password or token that is read, in bytes: access tokens have a few thousand.
const SECRET_BYTES_MAX: usize = 16 * 1024;

const fn refuse(code: &'static str) -> Refusal {
    Refusal { code, retry: Retry::Operator }
}

const NOT_REGISTERED: Refusal = refuse("mailbox-not-registered");
const SERVER_UNKNOWN: Refusal = refuse("mailbox-server-not-configured");
const RECORD_GONE: Refusal = refuse("mailbox-record-unreadable");
const NO_CREDENTIAL: Refusal = refuse("mailbox-without-credential");
const CREDENTIAL_UNREADABLE: Refusal = refuse("mailbox-credential-unreadable");

/// The mailboxes, as the log and the configuration know them.
pub(super) struct Directory {
    store: Arc<Store>,
    config: Arc<RwLock<Config>>,
    environment: Environment,
    /// The addresses of records that were read, by entity and version.
    addresses: Mutex<HashMap<EntityId, (Position, Arc<str>)>>,
}

impl Directory {
    pub(super) fn new(store: Arc<Store>, config: Arc<RwLock<Config>>, environment: Environment) -> Self {
        Self { store, config, environment, addresses: Mutex::default() }
    }

    /// Returns a server of the configuration in force.
    pub(super) fn server(&self, name: &str) -> Option<Arc<MailServer>> {
        self.config.read().servers.iter().find(|server| server.name == name).cloned()
    }

    fn address(&self, mailbox: EntityId, version: Position) -> Option<Arc<str>> {
        if let Some((known, address)) = self.addresses.lock().get(&mailbox)
            && *known == version
        {
            return Some(Arc::clone(address));
        }
        let record = self.store.record_at(version).ok()??;
        let address: Arc<str> = Arc::from(record.external_id);
        self.addresses.lock().insert(mailbox, (version, Arc::clone(&address)));
        Some(address)
    }

    fn registration(&self, mailbox: EntityId) -> Result<(Registration, Option<EntityId>), Refusal> {
        let known = self.store.view(|views| views.small.registry.get(mailbox).cloned()).ok_or(NOT_REGISTERED)?;
        let record = self.store.record(mailbox).ok().flatten().ok_or(RECORD_GONE)?;
        Ok((Registration::of_record(&known.server, &record).ok_or(RECORD_GONE)?, known.credential))
    }

    fn sealed(&self, credential: EntityId) -> Option<Secret> {
        // The only event that is sealed with the credential's key is also its last, until the key is destroyed.
        let stored = self.store.view(|views| views.entities.last_event(credential));
        let recorded = self.store.read(stored).ok()??;
        match recorded.event() {
            Some(Event::CredentialStored(body)) => Some(Secret::new(body.secret.clone().into_text())),
            _ => None,
        }
    }

    /// Reads a secret from the place that the configuration names.
    ///
    /// # Errors
    /// When it cannot be read; the diagnostics say why.
    pub(super) fn secret(&self, place: &SecretPlace) -> Result<Secret, Refusal> {
        self.file(place).ok_or(CREDENTIAL_UNREADABLE)
    }

    fn file(&self, place: &SecretPlace) -> Option<Secret> {
        let read = place
            .path(&self.environment)
            .map_err(|error| error.to_string())
            .and_then(|path| private_file::read(&path, SECRET_BYTES_MAX).map_err(|error| error.to_string()));
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "a secret of a mail server cannot be read");
                return None;
            }
        };
        let text = std::str::from_utf8(&bytes).ok()?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        (!text.is_empty()).then(|| Secret::new(Zeroizing::new(text.to_owned())))
    }
}

impl MailboxDirectory for Directory {
    fn registered(&self) -> Vec<Registered> {
        let known: Vec<(EntityId, Position, Arc<str>)> = self.store.view(|views| {
            let known = views.small.registry.iter();
            let with_version = known.filter_map(|(entity, mailbox)| {
                Some((entity, views.entities.row(entity)?.version, Arc::from(mailbox.server.as_str())))
            });
            with_version.collect()
        });
        known
            .into_iter()
            .filter_map(|(entity, version, source)| {
                Some(Registered { entity, address: self.address(entity, version)?, source })
            })
            .collect()
    }

    fn access(&self, mailbox: EntityId) -> Result<MailboxAccess, Refusal> {
        let (known, credential) = self.registration(mailbox)?;
        let server = self.server(&known.server).ok_or(SERVER_UNKNOWN)?;
        let form = known.form.unwrap_or_else(|| server.form.clone());
        let of_admin = server.admin.as_ref().filter(|_| form.identity() == Identity::Admin);
        let secret = match (credential, of_admin) {
            (Some(credential), _) => self.sealed(credential).ok_or(CREDENTIAL_UNREADABLE)?,
            (None, Some(admin)) => self.secret(&admin.credential)?,
            (None, None) => return Err(NO_CREDENTIAL),
        };
        let admin = known.admin.or_else(|| of_admin.map(|admin| admin.login.clone())).unwrap_or_default();
        Ok(MailboxAccess { server, user: known.user.unwrap_or(known.address), form, admin, secret, root: known.root })
    }

    fn server_of(&self, mailbox: EntityId) -> Option<Arc<MailServer>> {
        let name = self.store.view(|views| views.small.registry.get(mailbox).map(|known| known.server.clone()))?;
        self.server(&name)
    }

    /// Only somebody whose own password is registered can be looked for with their own eyes.
    fn access_as(&self, mailbox: EntityId, identifier: &str) -> Option<MailboxAccess> {
        let server = self.store.view(|views| views.small.registry.get(mailbox).map(|known| known.server.clone()))?;
        let same_server: Vec<EntityId> = self.store.view(|views| {
            let known = views.small.registry.iter();
            known.filter(|(_, other)| other.server == server && other.credential.is_some()).map(|(id, _)| id).collect()
        });
        same_server.into_iter().find_map(|other| {
            let (known, _) = self.registration(other).ok()?;
            let user = known.user.as_deref().unwrap_or(&known.address);
            if user != identifier && known.address != identifier {
                return None;
            }
            self.access(other).ok().filter(|access| access.form == LoginForm::OwnPassword)
        })
    }
}
