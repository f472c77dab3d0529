//! A world: a store, an archive, policies, the stages, and the persons who ask and agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use retention_core::event::change::LayoutRecorded;
use retention_core::event::saga::{self, SkipReason};
use retention_core::event::{Actor, Event, Recorded};
use retention_core::id::{EntityId, HoldId, LayoutId, Position, RunId};
use retention_core::policy::AgeRecipient;
use retention_core::record::{Column, FieldType, Kind, Layout};
use retention_core::time::Timestamp;
use retention_core::view::{Condition, EntityState, PlanState, RunState};
use retentiond::clock::{Clock, ManualClock};
use retentiond::config::{Delivers, KeepDone, Source, SourceKind};
use retentiond::connector::access::{AccessTarget, PermissionReader};
use retentiond::connector::archive::ExportTarget;
use retentiond::connector::mail::Mailroom;
use retentiond::flush::FlushGate;
use retentiond::halt::Halt;
use retentiond::stage::{Step, catch, intake, plan, policies, project, run, schedule};
use retentiond::store::vault::root_key::RootKey;
use retentiond::store::{Options, Store};
use tempfile::TempDir;

use crate::crash::CrashGate;
use crate::faults::FaultyArchive;
use crate::invariants::Checker;
use crate::mail::MailServer;
use crate::mailboxes::Mailboxes;
use crate::model::Model;

mod backups;
mod deeds;
mod reviews;
mod subjects;
mod texts;

pub use deeds::{HELPER, LEASE_MS};
pub use subjects::OFFICER;
pub use texts::{mail_policy, policy};

/// When every world begins.
pub const BEGINNING: &str = "2026-01-15T10:00:00Z";

/// More steps than any scenario takes.
const STEPS_MAX: usize = 3_000;

/// The person who asks for plans.
pub const REQUESTER: u32 = 1000;

/// The person who accepts them.
pub const APPROVER: u32 = 1001;

/// The stages, in the order in which they are driven when nothing says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Intake.
    Intake,
    /// Intake of mailboxes.
    Mail,
    /// Policies.
    Policies,
    /// Project.
    Project,
    /// Catch.
    Catch,
    /// Schedule.
    Schedule,
    /// Plan.
    Plan,
    /// Run.
    Run,
    /// Grants.
    Grant,
    /// Credentials that nobody needs.
    Credential,
    /// Permissions of mailboxes.
    Permission,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Intake,
        Self::Mail,
        Self::Policies,
        Self::Project,
        Self::Catch,
        Self::Schedule,
        Self::Plan,
        Self::Run,
        Self::Grant,
        Self::Credential,
        Self::Permission,
    ];
}

/// What became of something that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// Something was done.
    Worked,
    /// Nothing is to be done.
    Idle,
    /// Nothing before then.
    Until(Timestamp),
    /// The world stopped, or was stopped, and was opened again.
    Crashed,
}

struct Stages {
    intake: intake::Intake,
    mail: intake::mail::MailIntake,
    policies: policies::Policies,
    project: project::Project,
    catch: catch::Catch,
    schedule: schedule::Schedule,
    plan: plan::Plan,
    run: run::Run,
    grants: run::grant::Grants,
    credentials: run::credential::Credentials,
    permissions: intake::permission::PermissionIntake,
}

/// What the stages reach instead of the servers in memory.
#[derive(Clone)]
pub struct Outside {
    /// Messages.
    pub mailroom: Arc<dyn Mailroom>,
    /// Permissions.
    pub target: Arc<dyn AccessTarget>,
    /// Permissions, to be read alone.
    pub reader: Arc<dyn PermissionReader>,
}

/// Everything.
pub struct World {
    /// The clock of the store and the stages.
    pub clock: ManualClock,
    /// What stops the world.
    pub gate: Arc<CrashGate>,
    /// What breaks exports.
    pub archive: Arc<FaultyArchive>,
    /// The mail server.
    pub mail: Arc<MailServer>,
    /// Mailboxes whose permissions are given and taken back.
    pub mailboxes: Mailboxes,
    /// What must be true.
    pub model: Model,
    /// What looks whether it is.
    pub checker: Checker,
    /// How often it stopped, or was stopped, and was opened again.
    pub crashes: u32,
    outside: Option<Outside>,
    sagas_at_once: usize,
    erasures_encrypt_to: BTreeSet<AgeRecipient>,
    reread: run::BundlesReread,
    judged_at_once: usize,
    options: Options,
    stages: Option<Stages>,
    store: Option<Arc<Store>>,
    layout: LayoutId,
    dir: TempDir,
}

fn layout() -> Layout {
    let column = |name: &str, field: &str| Column {
        name: name.to_owned(),
        field: field.to_owned(),
        field_type: FieldType::Text,
    };
    Layout {
        source: "crm".to_owned(),
        kind: Kind::Contact,
        columns: vec![column("XrmId", "id"), column("DisplayName", "display_name")],
        named_dates: Vec::new(),
    }
}

impl World {
    /// A new world with one policy, taken in and active.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(quarantine: &str) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let clock = ManualClock::starting_at(BEGINNING.parse().expect("an instant"));
        let state = dir.path().join("state");
        for name in ["exports", "policies", "drop"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        drop(RootKey::generate_file(&dir.path().join("root.key")).expect("a root key"));
        let gate = Arc::new(CrashGate::of(&state));
        let shared_clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut options =
            Options::usual(&state, &dir.path().join("root.key"), shared_clock).expect("the usual options");
        options.cache_bytes = 1024 * 1024;
        let shared_gate: Arc<CrashGate> = Arc::clone(&gate);
        options.gate = shared_gate;
        Store::init(&options).expect("a store");
        let export_gate: Arc<dyn FlushGate> = Arc::<CrashGate>::clone(&gate);
        let archive = Arc::new(FaultyArchive::at(&dir.path().join("exports"), clock.clone(), export_gate));
        let mail = Arc::new(MailServer::new(clock.clone()));
        let mut world = Self {
            clock,
            gate,
            archive,
            mail,
            mailboxes: Mailboxes::default(),
            model: Model::default(),
            checker: Checker::default(),
            crashes: 0,
            outside: None,
            sagas_at_once: 1,
            erasures_encrypt_to: BTreeSet::new(),
            reread: run::BundlesReread::default(),
            judged_at_once: 2,
            options,
            stages: None,
            store: None,
            layout: LayoutId(1),
            dir,
        };
        world.write_policy("contacts", &policy("contacts", quarantine));
        world.open();
        let event = Event::LayoutRecorded(LayoutRecorded { id: world.layout, layout: layout() });
        world.append(Actor::Daemon, Position::NONE, event, Condition::None).expect("a layout");
        world.settle();
        world
    }

    fn open(&mut self) {
        self.options.halt = Halt::default();
        self.archive.stops_by(&self.options.halt);
        let store = Arc::new(Store::open(&self.options, &mut |_, _| {}).expect("the store opens"));
        assert_eq!(store.read_only_reason(), None, "the store is damaged");
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let archive: Arc<dyn ExportTarget> = Arc::<FaultyArchive>::clone(&self.archive);
        let outside = self.outside.clone().unwrap_or_else(|| Outside {
            mailroom: Arc::<MailServer>::clone(&self.mail),
            target: Arc::new(self.mailboxes.clone()),
            reader: Arc::new(self.mailboxes.clone()),
        });
        let mailroom = outside.mailroom;
        let source = Source {
            name: "ocm".to_owned(),
            kind: SourceKind::Ocm,
            drop_dir: self.dir.path().join("drop"),
            zone: Some(TimeZone::UTC),
            delivers: Delivers::Snapshot,
            max_bytes: 1 << 30,
            keep_done: KeepDone::Forever,
            keep_rejected: KeepDone::Forever,
            mailbox: None,
            activities: Arc::default(),
        };
        self.reread = run::BundlesReread::default();
        self.stages = Some(Stages {
            intake: intake::Intake::new(Arc::clone(&store), Arc::clone(&clock), vec![source]),
            mail: intake::mail::MailIntake::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&mailroom)),
            policies: policies::Policies::new(Arc::clone(&store), Arc::clone(&clock), self.dir.path().join("policies")),
            project: project::Project::new(Arc::clone(&store)),
            catch: catch::Catch::new(Arc::clone(&store)).judging_at_once(self.judged_at_once),
            schedule: schedule::Schedule::new(Arc::clone(&store), Arc::clone(&clock)),
            plan: plan::Plan::new(Arc::clone(&store), Arc::clone(&clock)),
            grants: run::grant::Grants::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&outside.target)),
            credentials: run::credential::Credentials::new(Arc::clone(&store)),
            permissions: intake::permission::PermissionIntake::new(
                Arc::clone(&store),
                Arc::clone(&clock),
                Arc::clone(&outside.reader),
            ),
            run: run::Run::new(Arc::clone(&store), clock, archive, TimeZone::UTC)
                .with_mailroom(mailroom)
                .with_sagas_at_once(self.sagas_at_once)
                .telling(Arc::clone(&self.reread)),
        });
        self.store = Some(store);
        self.encrypt_erasures_to(self.erasures_encrypt_to.clone());
    }

    /// Lets the bundles of erasures be encrypted to these, in this life of the daemon and in those that follow.
    ///
    /// # Panics
    /// When the world is not open.
    pub fn encrypt_erasures_to(&mut self, recipients: BTreeSet<AgeRecipient>) {
        self.erasures_encrypt_to.clone_from(&recipients);
        self.stages.as_mut().expect("the world is open").run.set_erasures_encrypt_to(recipients);
    }

    /// Drives so many sagas beside each other, in this life of the daemon and in those that follow.
    ///
    /// # Panics
    /// As [`Self::reopen`].
    pub fn drive_at_once(&mut self, sagas: usize) {
        self.sagas_at_once = sagas;
        self.mail.with_room_for(sagas);
        self.reopen();
    }

    /// Lets the stages reach other servers than those in memory, which the checker then knows nothing of.
    ///
    /// # Panics
    /// As [`Self::reopen`].
    pub fn reach(&mut self, outside: Outside) {
        self.outside = Some(outside);
        self.reopen();
    }

    /// Drops everything as a crash would, and opens it again.
    ///
    /// # Panics
    /// When it does not open, or something is not as it must be.
    pub fn reopen(&mut self) {
        self.open_again();
        self.check();
    }

    fn open_again(&mut self) {
        self.stages = None;
        self.store = None;
        self.gate.recover();
        let violations = self.checker.scan_all(&self.state_dir());
        assert_eq!(violations, [], "files of the store");
        self.open();
    }

    /// What a person or a source said in the moment of a crash may stand in the log, although nobody was told so.
    fn learn_after(&mut self, before: Position) {
        for recorded in self.log().into_iter().filter(|recorded| recorded.envelope.position > before) {
            match (recorded.event(), recorded.envelope.entity) {
                (Some(Event::EntityChanged(body)), Some(entity)) => {
                    self.model.told.insert(entity, body.record.cells.clone());
                }
                (Some(Event::HoldPlaced(body)), _) => {
                    let entities = body.entities.iter().copied().collect();
                    self.model.holds.insert(HoldId(recorded.envelope.position), entities);
                }
                (Some(Event::HoldReleased(body)), _) => drop(self.model.holds.remove(&body.hold)),
                _ => {}
            }
        }
    }

    /// Removes what nobody can open from the disk, and opens the store again.
    ///
    /// # Panics
    /// As [`Self::reopen`].
    pub fn compact(&mut self) {
        self.stages = None;
        drop(self.store.take());
        let (store, _) = Store::compact(&self.options, &mut |_, _| {}).expect("a compaction");
        drop(store);
        self.open();
        self.settle();
        self.check();
    }

    /// Loses sled, and opens the store again.
    ///
    /// # Panics
    /// As [`Self::reopen`].
    pub fn lose_sled(&mut self) {
        self.stages = None;
        self.store = None;
        fs::remove_dir_all(self.state_dir().join("events")).expect("sled is there");
        self.reopen();
    }

    /// The store.
    ///
    /// # Panics
    /// When it is not open.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        self.store.as_ref().expect("the store is open")
    }

    /// The directory of the store.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.options.dir.clone()
    }

    /// The directory of the bundles.
    #[must_use]
    pub fn exports(&self) -> PathBuf {
        self.dir.path().join("exports")
    }

    /// Drops an export of Outlook Customer Manager: the CSV files of a directory, with a word of each edited.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn drop_export(&self, from: &Path, edit: impl Fn(String) -> String) {
        let name = from.file_name().expect("an export has a name");
        let to = self.dir.path().join("drop").join(name);
        if fs::create_dir(&to).is_err() {
            // An earlier one of that name waits to be claimed.
            return;
        }
        for entry in fs::read_dir(from).expect("an export") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "csv") {
                let text = fs::read_to_string(&path).expect("text");
                fs::write(to.join(path.file_name().expect("a name")), edit(text)).expect("a copy");
            }
        }
    }

    /// Takes in everything that was dropped.
    ///
    /// # Panics
    /// When the drop folder never comes to rest.
    pub fn take_in(&mut self) {
        for _ in 0..STEPS_MAX {
            let mut idle = 0;
            while idle < 3 {
                match self.step(Stage::Intake) {
                    Stepped::Worked | Stepped::Crashed => break,
                    Stepped::Idle | Stepped::Until(_) => idle += 1,
                }
                self.clock.advance(Duration::from_secs(3));
            }
            if idle == 3 {
                return;
            }
        }
        panic!("the drop folder never comes to rest");
    }

    /// Writes a policy file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_policy(&self, id: &str, text: &str) {
        fs::write(self.dir.path().join("policies").join(format!("{id}.toml")), text).expect("a policy file");
    }

    /// Removes a policy file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove_policy(&self, id: &str) {
        fs::remove_file(self.dir.path().join("policies").join(format!("{id}.toml"))).expect("a policy file");
    }

    /// Looks whether everything is as it must be.
    ///
    /// # Panics
    /// When it is not: with every violation by name.
    pub fn check(&mut self) {
        let store = Arc::clone(self.store());
        let mut violations = self.checker.check(&store, &self.exports(), &self.model);
        violations.extend(self.checker.check_mail(&store, &self.exports(), &self.model, &self.mail.expunged()));
        violations.extend(crate::invariants::registry::check(&store));
        violations.extend(crate::invariants::notices::check(&store));
        violations.extend(crate::invariants::grants::check(&store, &self.mailboxes));
        violations.extend(crate::invariants::access::check(&store));
        assert!(violations.is_empty(), "{violations:#?}\n{}", self.story());
    }

    /// Lets a stage do one thing, and looks at everything.
    ///
    /// # Panics
    /// When the stage fails without a crash, or something is not as it must be.
    pub fn step(&mut self, stage: Stage) -> Stepped {
        let before = self.store().view(|views| views.position);
        let stages = self.stages.as_mut().expect("the store is open");
        if stage == Stage::Policies {
            stages.policies.look_now();
        }
        let step = match stage {
            Stage::Intake | Stage::Mail => return self.step_intake(stage, before),
            Stage::Policies => stages.policies.step(),
            Stage::Project => stages.project.step(),
            Stage::Catch => stages.catch.step(),
            Stage::Schedule => stages.schedule.step(),
            Stage::Plan => stages.plan.step(),
            Stage::Run => stages.run.step(),
            Stage::Grant => stages.grants.step(),
            Stage::Credential => stages.credentials.step(),
            Stage::Permission => stages.permissions.step(),
        };
        let step = step.map_err(|error| error.to_string());
        self.stepped(stage, before, step)
    }

    fn step_intake(&mut self, stage: Stage, before: Position) -> Stepped {
        let stages = self.stages.as_mut().expect("the store is open");
        let step = match stage {
            Stage::Mail => stages.mail.step(),
            _ => stages.intake.step(&mut |_| {}),
        };
        let step = step.map_err(|error| error.to_string());
        if !self.gate.has_crashed() {
            self.learn_after(before);
        }
        self.stepped(stage, before, step)
    }

    fn stepped(&mut self, stage: Stage, before: Position, step: Result<Step, String>) -> Stepped {
        if self.gate.has_crashed() || (self.options.halt.is_asked() && step.is_err()) {
            self.crashes += 1;
            self.open_again();
            self.learn_after(before);
            self.check();
            return Stepped::Crashed;
        }
        match step.unwrap_or_else(|error| panic!("{stage:?} failed: {error}\n{}", self.story())) {
            Step::Worked => {
                if self.sagas_at_once > 1 {
                    // In such a step people may speak as well.
                    self.learn_after(before);
                }
                self.check();
                Stepped::Worked
            }
            Step::Idle => Stepped::Idle,
            Step::IdleUntil(at) => Stepped::Until(at),
        }
    }

    /// Lets the run stage do so many things; what it waits for comes at once. Returns whether it had nothing to do any
    /// more.
    ///
    /// # Panics
    /// As [`Self::step`].
    pub fn run_for(&mut self, steps: usize) -> bool {
        let mut is_over = false;
        for _ in 0..steps {
            match self.step(Stage::Run) {
                Stepped::Worked | Stepped::Crashed => {}
                Stepped::Until(at) => self.clock.pass_until(at),
                Stepped::Idle => is_over = true,
            }
        }
        is_over
    }

    /// Returns how many purges of records were begun: past that there is no way back.
    #[must_use]
    pub fn pivots(&self) -> usize {
        let is_pivot = |event: &Event| matches!(event, Event::StepStarted(body) if body.step == saga::Step::Purge);
        self.log().iter().filter(|recorded| recorded.event().is_some_and(is_pivot)).count()
    }

    /// Returns why runs left items alone, item by item.
    #[must_use]
    pub fn left_alone(&self) -> Vec<SkipReason> {
        let log = self.log();
        let skipped = log.iter().filter_map(|recorded| match recorded.event() {
            Some(Event::ItemsSkipped(body)) => Some(body.items.iter().map(|(_, reason)| *reason)),
            _ => None,
        });
        skipped.flatten().collect()
    }

    /// Lets all stages work until nothing is left to do now. Returns when runs or grants want to go on.
    ///
    /// # Panics
    /// When that never comes.
    pub fn settle(&mut self) -> Option<Timestamp> {
        for _ in 0..STEPS_MAX {
            let mut until = None;
            let mut worked = false;
            for stage in Stage::ALL {
                match self.step(stage) {
                    Stepped::Worked | Stepped::Crashed => worked = true,
                    Stepped::Until(at) if matches!(stage, Stage::Run | Stage::Grant) => {
                        until = Some(until.map_or(at, |until: Timestamp| until.min(at)));
                    }
                    Stepped::Until(_) | Stepped::Idle => {}
                }
            }
            if !worked {
                let left = crate::invariants::access::check_at_rest(self.store(), self.clock.now());
                assert!(left.is_empty(), "{left:#?}\n{}", self.story());
                return until;
            }
        }
        panic!("the stages never rest\n{}", self.story());
    }

    /// Lets all stages work, and time pass, until no run is open.
    ///
    /// # Panics
    /// When that never comes.
    pub fn finish(&mut self) {
        for _ in 0..STEPS_MAX {
            match self.settle() {
                Some(at) => self.clock.pass_until(at),
                None => return,
            }
        }
        panic!("a run never ends\n{}", self.story());
    }

    /// Does whatever is next until a run of a policy is over, whatever crashes on the way.
    ///
    /// # Panics
    /// When that never comes.
    pub fn drive_to_the_end(&mut self, policy: &str) -> RunId {
        for _ in 0..STEPS_MAX {
            let now = self.clock.now();
            let plan =
                self.store().view(|views| views.small.plans.iter().next().map(|(id, plan)| (id, plan.state(now))));
            let run = self.store().view(|views| {
                let mut runs = views.small.runs.iter().filter(|(_, run)| run.state != RunState::Refused);
                runs.next().map(|(id, run)| (id, run.ended_at.is_some()))
            });
            match (plan, run) {
                (None, _) => {
                    self.request_plan(policy);
                }
                (Some((plan, PlanState::AwaitingApproval)), _) => self.approve(plan, APPROVER),
                (Some((plan, PlanState::Ready)), None) => {
                    self.request_run(plan);
                }
                (_, Some((run, true))) => return run,
                _ => {
                    if let Some(at) = self.settle() {
                        self.clock.pass_until(at);
                    }
                }
            }
        }
        panic!("the run never ends\n{}", self.story());
    }

    /// The state of a run.
    ///
    /// # Panics
    /// When there is no such run.
    #[must_use]
    pub fn run_state(&self, run: RunId) -> RunState {
        self.store().view(|views| views.small.runs.run(run).expect("a run").state)
    }

    /// The state of an entity.
    ///
    /// # Panics
    /// When there is no such entity.
    #[must_use]
    pub fn state_of(&self, entity: EntityId) -> EntityState {
        self.store().view(|views| views.entities.row(entity).expect("a row").state)
    }

    /// The log.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn log(&self) -> Vec<Recorded> {
        let last = self.store().view(|views| views.position);
        (1..=last.0).filter_map(|n| self.store().read(Position(n)).expect("a readable event")).collect()
    }

    /// The log, one line an event.
    #[must_use]
    pub fn story(&self) -> String {
        let lines: Vec<String> = self.log().iter().map(crate::story::line).collect();
        lines.join("\n") + "\n"
    }

    /// How many bundles there are.
    ///
    /// # Panics
    /// When the exports cannot be read.
    #[must_use]
    pub fn bundles(&self) -> usize {
        self.archive.disk().list().expect("the exports can be read").count()
    }

    /// Every entry of the exports directory, unfinished bundles too.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn export_entries(&self) -> usize {
        let exports: &Path = &self.exports();
        fs::read_dir(exports).expect("the exports can be read").count()
    }

    /// Returns why bundles could not be read again, in no order.
    #[must_use]
    pub fn bundles_missed(&self) -> Vec<&'static str> {
        self.reread.lock().values().filter_map(|reread| reread.missed).collect()
    }
}
