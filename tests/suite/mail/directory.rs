//! A directory of mailboxes on one of the real servers, and a world that reaches them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use retention_core::id::EntityId;
use retention_core::time::Timestamp;
use retention_tests::servers::{Account, Kind, Server};
use retention_tests::world::{BEGINNING, Outside, World};
use retentiond::clock::{Clock, ManualClock};
use retentiond::config::{Doveadm, MailServer, MailTls, SecretPlace};
use retentiond::connector::imap::{Connector, ImapAccess, ImapMailroom, Keys, MailboxAccess, MailboxDirectory, Secret};
use retentiond::connector::mail::Registered;
use retentiond::connector::outcome::{Refusal, Retry};

use super::connector::{as_admin, own, reached};

/// Runs with the wall clock of a world, so that what waits for a server waits in the time of the world.
#[derive(Debug)]
struct WorldClock(ManualClock);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        let beginning: Timestamp = BEGINNING.parse().expect("an instant");
        Duration::from_micros(u64::try_from(self.0.now().0 - beginning.0).unwrap_or(0))
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep_until(at)
    }
}

/// The mailboxes of one test.
pub(super) struct Directory {
    server: &'static Server,
    reached: MailServer,
    mailboxes: Mutex<BTreeMap<EntityId, Account>>,
    principals: Mutex<Vec<Account>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    /// A directory without mailboxes. `proxy` is a port that stands before the server.
    pub(super) fn of(server: &'static Server, proxy: Option<u16>) -> Arc<Self> {
        let tls = if proxy.is_some() { MailTls::PlainLoopback } else { MailTls::Implicit };
        let mut reached = reached(server, tls);
        reached.port = proxy.unwrap_or(reached.port);
        Arc::new(Self { server, reached, mailboxes: Mutex::default(), principals: Mutex::default() })
    }

    /// As [`Self::of`], with Dovecot's own interface.
    pub(super) fn with_doveadm(server: &'static Server) -> Arc<Self> {
        Self::with_doveadm_at(server, server.doveadm_url(), None)
    }

    /// As [`Self::with_doveadm`], at another address, and with authorities of its own where the server's do not count.
    pub(super) fn with_doveadm_at(server: &'static Server, url: String, ca_file: Option<PathBuf>) -> Arc<Self> {
        let mut reached = reached(server, MailTls::Implicit);
        let key = SecretPlace::Credential("doveadm".to_owned());
        reached.doveadm = Some(Doveadm { url, ca_file, key });
        Arc::new(Self { server, reached, mailboxes: Mutex::default(), principals: Mutex::default() })
    }

    /// Registers a mailbox.
    pub(super) fn add(&self, entity: EntityId, account: &Account) {
        lock(&self.mailboxes).insert(entity, account.clone());
    }

    /// Makes known how a principal logs in.
    pub(super) fn know(&self, principal: &Account) {
        lock(&self.principals).push(principal.clone());
    }

    fn through(&self, access: MailboxAccess) -> MailboxAccess {
        MailboxAccess { server: Arc::new(self.reached.clone()), ..access }
    }
}

impl MailboxDirectory for Directory {
    fn registered(&self) -> Vec<Registered> {
        let mailboxes = lock(&self.mailboxes);
        let registered = mailboxes.iter().map(|(entity, account)| Registered {
            entity: *entity,
            address: Arc::from(account.name.as_str()),
            source: Arc::from(self.reached.name.as_str()),
        });
        registered.collect()
    }

    fn access(&self, mailbox: EntityId) -> Result<MailboxAccess, Refusal> {
        let account = lock(&self.mailboxes).get(&mailbox).cloned();
        let account = account.ok_or(Refusal { code: "not-registered", retry: Retry::Operator })?;
        Ok(self.through(as_admin(self.server, &account)))
    }

    fn server_of(&self, mailbox: EntityId) -> Option<Arc<MailServer>> {
        lock(&self.mailboxes).contains_key(&mailbox).then(|| Arc::new(self.reached.clone()))
    }

    fn access_as(&self, _mailbox: EntityId, identifier: &str) -> Option<MailboxAccess> {
        let principals = lock(&self.principals);
        let account = principals.iter().find(|account| account.name == identifier)?;
        Some(self.through(own(self.server, account)))
    }
}

/// Reads the only key that there is.
pub(super) fn keys() -> Keys {
    Arc::new(|place| match place {
        SecretPlace::Credential(name) if name == "doveadm" => Ok(Secret::from(Server::DOVEADM_KEY.to_owned())),
        _ => Err(Refusal { code: "mail-credential", retry: Retry::Operator }),
    })
}

/// What the stages of a world reach through a directory, as the daemon would.
pub(super) fn outside(directory: &Arc<Directory>, clock: &ManualClock) -> Outside {
    let connector = Arc::new(Connector::new(Arc::new(WorldClock(clock.clone())), Arc::new(|| 0x5eed)));
    let directory: Arc<dyn MailboxDirectory> = Arc::<Directory>::clone(directory);
    let access = Arc::new(ImapAccess::new(Arc::clone(&connector), Arc::clone(&directory), keys()));
    Outside {
        mailroom: Arc::new(ImapMailroom::new(connector, directory, keys())),
        target: Arc::<ImapAccess>::clone(&access),
        reader: access,
    }
}

/// A world that reaches the mailboxes of a directory.
pub(super) fn world(directory: &Arc<Directory>) -> World {
    let mut world = World::new("P1D");
    let outside = outside(directory, &world.clock);
    world.reach(outside);
    world
}

/// Does something on all three servers at the same time: each waits for its own server most of the time.
pub(super) fn on_each(test: impl Fn(Kind) + Sync) {
    std::thread::scope(|scope| {
        for kind in Kind::ALL {
            let test = &test;
            scope.spawn(move || test(kind));
        }
    });
}
