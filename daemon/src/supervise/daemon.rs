//! The daemon's life: open the store, start the stages and the control socket, wait for a signal, stop in order.
//!
//! **Order of the start:** store, policies, stages, control socket, ready. **Order of the stop:** no new requests;
//! every stage ends its step, or stops within a long one; the store is written out and closed.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use retention_core::control::ExitCode;
use retention_core::event::key::StoreKeys;
use retention_core::event::operation::{ClockJumped, DaemonStarted, DaemonStopped};
use retention_core::event::{Draft, Event};
use retention_core::id::Digest;
use retention_core::time::Timestamp;
use retention_core::view::Condition;
use tokio::sync::{Semaphore, mpsc, watch};

use super::away::away_for_long;
use super::closing::{CLOSE_TRIES, CLOSE_TRIES_AGAIN, Closed, close};
use super::directory::Directory;
use super::evidence::Evidence;
use super::hints::Hints;
use super::mailboxes::Mailboxes;
use super::moved;
use super::notices::{Channels, Notices};
use super::notifier::Notifier;
use super::roles::DeclaredRoles;
use super::signals::{Signals, Wish};
use super::signing_key;
use super::stages::{Outside, Stages};
use super::watch::DirectoryWatch;
use super::worker::{Panics, Shared, StagesFailing};
use super::works::{DaemonWorks, Order};
use crate::clock::{Clock, WallClock};
use crate::config::{CONFIG_BYTES_MAX, Config, Environment, unwise_places};
use crate::connector::access::AccessTarget;
use crate::connector::archive::DiskArchive;
use crate::connector::imap::{Connector, ImapAccess, ImapMailroom, ImapMover, Keys};
use crate::control::{self, Accounts, Control, ControlSocket, SocketError};
use crate::diagnostics::{self, LevelHandle};
use crate::halt::Halt;
use crate::stage::intake::IntakeHealth;
use crate::stage::intake::registry::Registrar;
use crate::stage::policies::Policies;
use crate::stage::run::BundlesReread;
use crate::store::open::{daemon_draft, program_version};
use crate::store::vault::VaultError;
use crate::store::{self, OpenError, OpenReport, ReadError, Store};

/// How often the clocks are compared, and the watchdog is told at the least.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(5);

/// How much more time systemd is asked for while the store is being opened.
pub(super) const OPENING_EXTENSION: Duration = Duration::from_secs(30);

/// Wishes that nobody has looked at yet.
const WISHES_WAITING_MAX: usize = 8;

/// Why one life of the daemon ended.
enum Ending {
    Stop,
    Again(Order),
    /// Before anything was started, as the log asks for it. What the opening found is told by the life that follows.
    Owed(Order, OpenReport),
    Failed,
}

/// Runs the daemon until a signal says stop.
#[must_use]
pub fn run(config: Config, environment: &Environment) -> ExitCode {
    let level = match diagnostics::start(&config.diagnostics, environment) {
        Ok(level) => level,
        Err(error) => return refuse(&error, ExitCode::Invalid),
    };
    warn_of(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error, ExitCode::Unexpected),
    };
    let socket = {
        let _inside = runtime.enter();
        let group = match socket_group(&config) {
            Ok(group) => group,
            Err(message) => {
                tracing::error!("{message}");
                return ExitCode::Invalid;
            }
        };
        match ControlSocket::open(&config.control.socket, group) {
            Ok(socket) => socket,
            // As when the store is locked: a service manager must not try again and again.
            Err(error @ (SocketError::InUse { .. } | SocketError::ForeignDirectory { .. })) => {
                return refuse(&error, ExitCode::NotPermitted);
            }
            Err(error) => return refuse(&error, ExitCode::Unexpected),
        }
    };
    let (stopping, mut wishes) = match runtime.block_on(async { listen() }) {
        Ok(listening) => listening,
        Err(error) => return refuse(&error, ExitCode::Unexpected),
    };
    let config = Arc::new(RwLock::new(config));
    let (mut ordered, mut found) = (None, None);
    loop {
        let halt = stopping.part();
        let config = Arc::clone(&config);
        let life = Life {
            config,
            environment,
            level: &level,
            socket: &socket,
            ordered,
            found: found.take(),
            halt,
            stopping: &stopping,
            roles: DeclaredRoles::default(),
        };
        match life.live(&runtime, &mut wishes) {
            Ok(Ending::Stop) => return ExitCode::Done,
            Ok(Ending::Again(order)) => ordered = Some(order),
            Ok(Ending::Owed(order, report)) => (ordered, found) = (Some(order), Some(report)),
            Ok(Ending::Failed) => return ExitCode::Unexpected,
            Err((message, exit)) => {
                tracing::error!("{message}");
                return exit;
            }
        }
    }
}

/// Listens to signals from now on, in all lives of the daemon: also while a store is being opened, a wish to stop is
/// seen.
fn listen() -> std::io::Result<(Halt, mpsc::Receiver<Wish>)> {
    let mut signals = Signals::listen()?;
    let stopping = Halt::default();
    let (sender, wishes) = mpsc::channel(WISHES_WAITING_MAX);
    let asked = stopping.clone();
    tokio::spawn(async move {
        loop {
            pass_on(signals.next().await, &asked, &sender).await;
        }
    });
    Ok((stopping, wishes))
}

async fn pass_on(wish: Wish, stopping: &Halt, sender: &mpsc::Sender<Wish>) {
    match wish {
        Wish::Stop => {
            tracing::info!("a signal asks the daemon to end; it ends in order");
            stopping.ask();
            // It waits for room: lost behind many reloads, it would leave a daemon whose stages have ended and that
            // answers as if all were well. Where nobody looks any more, all is over.
            let _is_over = sender.send(wish).await;
        }
        // When so many wait already, one of them reads what this one would.
        Wish::Reload => drop(sender.try_send(wish)),
    }
}

/// Returns the number of the group that may connect.
fn socket_group(config: &Config) -> Result<Option<u32>, String> {
    let Some(name) = &config.control.socket_group else { return Ok(None) };
    let accounts = Accounts::read().map_err(|error| format!("the groups of this machine cannot be read: {error}"))?;
    let unknown = || format!("[control] socket_group: there is no group {name} on this machine");
    accounts.gid_of(name).map(Some).ok_or_else(unknown)
}

/// Says which roles nobody has, and what lies where it should not. The accounts are read for each connection: one that is
/// made later is known then.
fn warn_of(config: &Config) {
    for warning in control::unknown_accounts(&config.control).into_iter().chain(unwise_places(config)) {
        tracing::warn!("{warning}");
    }
}

fn refuse(error: &dyn std::error::Error, exit: ExitCode) -> ExitCode {
    tracing::error!(%error, "the daemon does not start");
    exit
}

/// From opening the store to closing it.
struct Life<'a> {
    config: Arc<RwLock<Config>>,
    environment: &'a Environment,
    level: &'a LevelHandle,
    socket: &'a ControlSocket,
    /// What is done before the store is opened, because somebody asked for it.
    ordered: Option<Order>,
    /// What the opening before that found, when nothing was recorded about it yet.
    found: Option<OpenReport>,
    /// Ends this life.
    halt: Halt,
    /// Ends all of them.
    stopping: &'a Halt,
    /// What it told the log of who has which role.
    roles: DeclaredRoles,
}

type Failure = (String, ExitCode);

impl Life<'_> {
    fn live(&self, runtime: &tokio::runtime::Runtime, wishes: &mut mpsc::Receiver<Wish>) -> Result<Ending, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let Some((store, rotation_failed)) = self.open(&clock)? else { return Ok(Ending::Stop) };
        let found = self.found.clone().unwrap_or_else(|| store.report().clone());
        if store.read_only_reason().is_none() {
            let renamed = signing_key::refuse_another_name(&store, self.config.read().origin.as_deref());
            if let Err(error) = renamed {
                let _at_once = close(Arc::new(store), CLOSE_TRIES, self.stopping);
                return Err((error.to_string(), ExitCode::Invalid));
            }
        }
        if self.owes_rotation(&store) {
            // The rotation can be killed, and what it appends would hide from the next start how long the daemon was
            // away.
            if let Some(doubt) = away_for_long(&store, &found, clock.as_ref()) {
                append(&store, [doubt])?;
            }
            let _at_once = close(Arc::new(store), CLOSE_TRIES, self.stopping);
            return Ok(Ending::Owed(Order::RotateWrapping, found));
        }
        let store = Arc::new(store);
        let started = DaemonStarted {
            program: program_version(),
            config: self.config.read().digest,
            after_clean_stop: found.after_clean_stop,
            cut_bytes: found.cut_bytes,
        };
        if store.read_only_reason().is_none() {
            let doubt = away_for_long(&store, &found, clock.as_ref());
            // Together: a crash between them would leave a log that has just grown, and no doubt.
            let started = Draft {
                occurred_at: store.clock_behind_the_log(clock.now()),
                ..daemon_draft(Event::DaemonStarted(started))
            };
            self.roles.declare(&self.config.read(), |roles| {
                let declared = [started, daemon_draft(roles)].into_iter();
                append_drafts(&store, declared.chain(doubt.map(daemon_draft)).collect())
            })?;
        }
        let ending = runtime.block_on(self.serve(&store, &clock, rotation_failed, wishes));
        if store.read_only_reason().is_none() {
            append(&store, [Event::DaemonStopped(DaemonStopped {})])?;
        }
        let tries = if matches!(ending, Ok(Ending::Again(_))) { CLOSE_TRIES_AGAIN } else { CLOSE_TRIES };
        match (ending, close(store, tries, self.stopping)) {
            (Ok(Ending::Again(_)), Closed::InUse) if self.stopping.is_asked() => Ok(Ending::Stop),
            (Ok(Ending::Again(_)), Closed::InUse) => {
                let message = "the store is still in use, so that nothing can be done with it in this process; the next start goes on";
                Err((message.to_owned(), ExitCode::Unexpected))
            }
            (ending, Closed::InUse | Closed::Done) => ending,
        }
    }

    /// Says whether new wrapping keys are asked for, and nobody has tried yet. It needs a store that nobody has open.
    fn owes_rotation(&self, store: &Store) -> bool {
        let is_asked = store.view(|views| views.small.keys.asked(StoreKeys::Wrapping).is_some());
        is_asked && store.read_only_reason().is_none() && self.ordered != Some(Order::RotateWrapping)
    }

    /// Opens the store, and says why its wrapping keys were not rotated when that failed; `None` when the daemon was
    /// asked to stop on the way.
    fn open(&self, clock: &Arc<dyn Clock>) -> Result<Option<(Store, Option<String>)>, Failure> {
        let config = self.config.read();
        let root_key = config.store.root_key.path(self.environment).map_err(|e| (e.to_string(), ExitCode::Invalid))?;
        let mut options = store::Options::usual(&config.store.state_dir, &root_key, Arc::clone(clock))
            .map_err(|e| (e.to_string(), ExitCode::Unexpected))?;
        options.cache_bytes = config.store.cache_bytes;
        options.halt = self.halt.clone();
        let mut progress = |done: u64, total: u64| {
            Notifier.extend(OPENING_EXTENSION);
            Notifier.alive();
            Notifier.status(&format!("opening the store: {done} of {total}"));
        };
        let mut rotation_failed = None;
        let opened = match self.ordered {
            None | Some(Order::RotateSigning) => Store::open(&options, &mut progress),
            Some(Order::Rebuild) => Store::rebuild(&options, &mut progress),
            Some(Order::RotateWrapping) => Store::rotate_wrapping_keys(&options, &mut progress).or_else(|error| {
                tracing::error!(%error, "the wrapping keys were not rotated; the next start tries again");
                rotation_failed = Some(error.to_string());
                Store::open(&options, &mut progress)
            }),
            Some(Order::Compact) => Store::compact(&options, &mut progress).map(|(store, _)| store).or_else(|error| {
                tracing::error!(%error, "the store was not compacted to the end; what was not reached is as it was");
                Store::open(&options, &mut progress)
            }),
        };
        if let Err(OpenError::Read(ReadError::Halted(halted))) = &opened {
            tracing::info!(%halted, "the store was not opened to the end");
            return Ok(None);
        }
        let store = opened.map_err(|error| {
            let exit = match &error {
                OpenError::Locked { .. } | OpenError::NotOurs { .. } => ExitCode::NotPermitted,
                // Nothing of this changes by starting again.
                OpenError::Absent
                | OpenError::Format
                | OpenError::RootKey(_)
                | OpenError::Vault(VaultError::WrongRootKey)
                | OpenError::Read(ReadError::Sealed(_) | ReadError::Body { .. } | ReadError::SlotDamaged(_)) => {
                    ExitCode::PersonNeeded
                }
                _ => ExitCode::Unexpected,
            };
            (format!("{}: {error}", config.store.state_dir.display()), exit)
        })?;
        if let Some(warning) = store.erasure_warning() {
            tracing::warn!("{warning}");
        }
        Ok(Some((store, rotation_failed)))
    }

    async fn serve(
        &self,
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
        rotation_failed: Option<String>,
        wishes: &mut mpsc::Receiver<Wish>,
    ) -> Result<Ending, Failure> {
        let unexpected = |error: std::io::Error| (error.to_string(), ExitCode::Unexpected);
        let (stop, stopped) = watch::channel(false);
        let (failed, mut failure) = watch::channel(None);
        let shared = Shared {
            handle: tokio::runtime::Handle::current(),
            clock: Arc::clone(clock),
            stop: stopped.clone(),
            failed,
            failing: StagesFailing::default(),
        };
        let (orders, mut ordered) = mpsc::channel(4);
        let hints = Hints::default();
        let policies = Policies::new(Arc::clone(store), Arc::clone(clock), self.config.read().policies.dir.clone());
        let directory = Arc::new(Directory::new(Arc::clone(store), Arc::clone(&self.config), self.environment.clone()));
        let random = || {
            let mut bytes = [0; 8];
            // Only waits are spread by it.
            let _filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
            u64::from_le_bytes(bytes)
        };
        let connector = Arc::new(Connector::new(Arc::clone(clock), Arc::new(random)));
        let keys: Keys = {
            let directory = Arc::clone(&directory);
            Arc::new(move |place| directory.secret(place))
        };
        let access = Arc::new(ImapAccess::new(Arc::clone(&connector), directory.clone(), Arc::clone(&keys)));
        let outside = Outside {
            mailroom: Arc::new(ImapMailroom::new(Arc::clone(&connector), directory.clone(), Arc::clone(&keys))),
            access: Arc::clone(&access) as Arc<dyn AccessTarget>,
            permissions: access,
            mover: Arc::new(ImapMover::new(Arc::clone(&connector), directory.clone())),
        };
        let registrar = Arc::new(Registrar::new(Arc::clone(store)));
        let mailboxes = Arc::new(Mailboxes { registrar: Arc::clone(&registrar), directory, connector });
        let evidence = Evidence::open(store, clock, &self.config, &self.halt);
        let notices = Notices::open(store, clock, &self.config.read(), &keys, &self.halt)
            .map_err(|error| (error.to_string(), ExitCode::Unexpected))?;
        let intake_health = IntakeHealth::default();
        let batches_health = IntakeHealth::default();
        let exports = DiskArchive::at(&self.config.read().store.exports_dir);
        let archive = Arc::new(exports.halting(self.halt.clone()));
        let bundles = BundlesReread::default();
        let works = Arc::new(DaemonWorks {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            config: Arc::clone(&self.config),
            policy_health: policies.health(),
            intake: [Arc::clone(&intake_health), Arc::clone(&batches_health)],
            archive: Arc::clone(&archive),
            bundles: Arc::clone(&bundles),
            evidence: evidence.told,
            channels: Channels { keys, halt: self.halt.clone() },
            notices: notices.health,
            mailboxes,
            mailroom: Arc::clone(&outside.mailroom),
            rotation_failed,
            stages: shared.failing.clone(),
            orders,
        });
        let workers = match store.read_only_reason() {
            None => {
                let stages = Stages {
                    store,
                    shared: &shared,
                    config: &self.config,
                    hints: &hints,
                    intake: intake_health,
                    batches: batches_health,
                    archive,
                    bundles,
                };
                stages.start(policies, outside, evidence.stages, notices.stages, registrar).map_err(unexpected)?
            }
            Some(damage) => {
                tracing::error!(
                    code = damage.code,
                    %damage,
                    "the store is read-only: questions are answered, and nothing is taken in or purged"
                );
                // Without them no question about policies could be answered.
                if let Err(error) = policies.restore_last_good() {
                    tracing::error!(%error, "the last good policy set cannot be read");
                }
                Vec::new()
            }
        };
        let failed = shared.failed.clone();
        let server = self.start_control(store, clock, works, stopped, failed).map_err(unexpected)?;
        hints.note_edits();
        Notifier.ready();
        Notifier.status("at work");
        let ending = self.wait(store, wishes, &mut failure, &mut ordered, &hints).await;
        if !matches!(ending, Ending::Again(_)) {
            Notifier.stopping();
        }
        self.halt.ask();
        stop.send_replace(true);
        staying_alive(async {
            // What panicked has said so.
            drop(server.await);
            for worker in workers {
                drop(tokio::task::spawn_blocking(move || worker.join()).await);
            }
        })
        .await;
        Ok(ending)
    }

    fn start_control(
        &self,
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
        works: Arc<DaemonWorks>,
        stopped: watch::Receiver<bool>,
        failed: watch::Sender<Option<String>>,
    ) -> std::io::Result<tokio::task::JoinHandle<()>> {
        let control = Control {
            log: Arc::clone(store) as Arc<dyn control::Log>,
            works,
            clock: Arc::clone(clock),
            started_at: clock.now(),
            stopped: stopped.clone(),
            followers: Arc::new(Semaphore::new(control::FOLLOWERS_MAX)),
        };
        let listener = tokio::net::UnixListener::from_std(self.socket.listener()?)?;
        let config = Arc::clone(&self.config);
        let roles_of: control::RolesOf = Arc::new(move |peer| match Accounts::read() {
            Ok(accounts) => control::roles_of(peer, &config.read().control.roles, &accounts),
            Err(error) => {
                tracing::error!(%error, "the accounts of this machine cannot be read; nobody is let in");
                Vec::new()
            }
        });
        Ok(tokio::spawn(async move {
            let _panics = Panics { stage: "control", failed: &failed };
            control::serve(listener, control::router(control), roles_of, stopped).await;
        }))
    }

    /// Waits for the end, keeps the watchdog quiet, and compares the clocks.
    async fn wait(
        &self,
        store: &Arc<Store>,
        wishes: &mut mpsc::Receiver<Wish>,
        failure: &mut watch::Receiver<Option<String>>,
        ordered: &mut mpsc::Receiver<Order>,
        hints: &Hints,
    ) -> Ending {
        let mut ticks = tokio::time::interval(alive_every());
        let clock = WallClock;
        let mut last = clock.observe();
        let mut watches = hints.watch(&self.config.read());
        // An edit between the reading of the file and the beginning of the watch is seen by looking once.
        let mut seen = Some(self.config.read().digest);
        hints.config.notify_one();
        loop {
            tokio::select! {
                wish = wishes.recv() => match wish {
                    Some(Wish::Stop) | None => return Ending::Stop,
                    Some(Wish::Reload) if self.stopping.is_asked() => return Ending::Stop,
                    Some(Wish::Reload) => drop(std::mem::replace(&mut watches, self.reload(hints, store))),
                },
                () = hints.config.notified() => {
                    let now = self.config_on_disk();
                    if now.is_some() && now != seen {
                        seen = now;
                        drop(std::mem::replace(&mut watches, self.reload(hints, store)));
                    }
                }
                order = ordered.recv() => match order {
                    Some(order) => return Ending::Again(order),
                    None => return Ending::Failed,
                },
                _ = failure.changed() => return Ending::Failed,
                _ = ticks.tick() => {
                    Notifier.alive();
                    let now = clock.observe();
                    if let Some(jump) = last.jump_to(now) {
                        tracing::warn!(by_micros = jump.by_micros, "the clock jumped");
                        let expected_at = Timestamp(now.wall.0.saturating_sub(jump.by_micros));
                        let event = Event::ClockJumped(ClockJumped { expected_at, seen_at: now.wall });
                        drop(append(store, [event]));
                        // It may wait for a time of the clock that was.
                        hints.backups.notify_one();
                    }
                    last = now;
                    // Accounts change without the configuration.
                    if let Err((message, _)) = self.declare_roles(store, &self.config.read()) {
                        tracing::error!("who has which role was not recorded: {message}");
                    }
                    if self.can_be_taken_in(store) {
                        drop(std::mem::replace(&mut watches, self.reload(hints, store)));
                    }
                    if store.read_only_reason().is_some() {
                        Notifier.status("read-only: a person is needed; see retentionctl status");
                    }
                }
            }
        }
    }

    /// Returns the digest of the configuration as it lies on disk; `None` when it cannot be read.
    fn config_on_disk(&self) -> Option<Digest> {
        let file = std::fs::File::open(&self.config.read().path).ok()?;
        let mut bytes = Vec::new();
        file.take(CONFIG_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(Digest::of(&bytes))
    }

    /// Says whether the configuration on disk is another one than that in force, and good: what kept it from being taken
    /// in, such as a grant at a server that moves, is over.
    fn can_be_taken_in(&self, store: &Store) -> bool {
        let (path, in_force) = {
            let config = self.config.read();
            (config.path.clone(), config.digest)
        };
        self.config_on_disk().is_some_and(|on_disk| on_disk != in_force)
            && Config::load(&path).and_then(|new| moved::reloaded(store, &self.config.read(), &new)).is_ok()
    }

    /// Records who has which role under a configuration, unless that was recorded. A store that is read-only records
    /// nothing, and approves nothing.
    fn declare_roles(&self, store: &Store, config: &Config) -> Result<(), Failure> {
        if store.read_only_reason().is_some() {
            return Ok(());
        }
        self.roles.declare(config, |roles| append(store, [roles]))
    }

    /// Takes in what may change while the daemon runs; all or nothing. Watches what it names from then on.
    fn reload(&self, hints: &Hints, store: &Store) -> [DirectoryWatch; 4] {
        Notifier.reloading();
        let path = self.config.read().path.clone();
        let reloaded = Config::load(&path).and_then(|new| {
            for change in Config::changes(&self.config.read(), &new) {
                tracing::info!(key = change.key, reload = ?change.reload, "the configuration changed");
            }
            moved::reloaded(store, &self.config.read(), &new)
        });
        // Before it comes into force: what somebody does with a new role stands behind the event that gave it.
        let recorded = reloaded
            .map_err(|error| error.to_string())
            .and_then(|new| self.declare_roles(store, &new).map(|()| new).map_err(|(message, _)| message));
        match recorded {
            Ok(new) => {
                if let Err(error) = self.level.set(&new.diagnostics.level) {
                    tracing::error!(%error, "the level of the diagnostics stays as it was");
                }
                warn_of(&new);
                *self.config.write() = new;
                *hints.reloaded.lock() = true;
                *hints.edited.lock() = true;
                hints.drops.notify_one();
                hints.batches.notify_one();
                hints.backups.notify_one();
                hints.policies.notify_one();
            }
            Err(error) => tracing::error!(%error, "the configuration is not valid; the old one stays in force"),
        }
        Notifier.ready();
        Notifier.status("at work");
        hints.watch(&self.config.read())
    }
}

/// How often the watchdog is told.
fn alive_every() -> Duration {
    Notifier.alive_every().map_or(LOOK_AT_CLOCK_EVERY, |every| every.min(LOOK_AT_CLOCK_EVERY))
}

/// Waits for the end of work that goes on, and keeps the watchdog quiet meanwhile. How long it may take at all is for
/// the unit to say.
async fn staying_alive(work: impl Future<Output = ()>) {
    let mut ticks = tokio::time::interval(alive_every());
    tokio::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return,
            _ = ticks.tick() => Notifier.alive(),
        }
    }
}

fn append(store: &Store, events: impl IntoIterator<Item = Event>) -> Result<(), Failure> {
    append_drafts(store, events.into_iter().map(daemon_draft).collect())
}

fn append_drafts(store: &Store, drafts: Vec<Draft>) -> Result<(), Failure> {
    match store.append_drafts(drafts, Condition::None) {
        Ok(_) => Ok(()),
        Err(error) => Err((error.to_string(), ExitCode::Unexpected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_to_stop_is_not_lost_behind_many_to_reload() {
        let (sender, mut wishes) = mpsc::channel(WISHES_WAITING_MAX);
        let stopping = Halt::default();
        for _ in 0..=WISHES_WAITING_MAX {
            pass_on(Wish::Reload, &stopping, &sender).await;
        }
        assert!(!stopping.is_asked());
        let asked = stopping.clone();
        let passing = tokio::spawn(async move { pass_on(Wish::Stop, &asked, &sender).await });
        let mut seen = Vec::new();
        while let Some(wish) = wishes.recv().await {
            seen.push(wish);
        }
        passing.await.unwrap();
        assert_eq!(seen.len(), WISHES_WAITING_MAX + 1);
        assert_eq!(seen.last(), Some(&Wish::Stop));
        assert!(stopping.is_asked());
    }
}
