//! The stages of the daemon at work, each on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::RwLock;
use retention_core::policy::CsvProfile;

use super::evidence::EvidenceStages;
use super::hints::Hints;
use super::worker::{self, Shared};
use super::write_out::WriteOut;
use crate::config::{self, Config};
use crate::connector::access::{AccessTarget, PermissionReader};
use crate::connector::archive::DiskArchive;
use crate::connector::mail::Mailroom;
use crate::connector::moving::Mover;
use crate::stage::intake::batch_file::BatchFiles;
use crate::stage::intake::mail::MailIntake;
use crate::stage::intake::permission::PermissionIntake;
use crate::stage::intake::registry::Registrar;
use crate::stage::intake::{Intake, IntakeError, IntakeHealth};
use crate::stage::notify::Notify;
use crate::stage::policies::Policies;
use crate::stage::{StageError, Step, catch, plan, project, run, schedule};
use crate::store::Store;

/// What stages reach beyond this machine.
pub(super) struct Outside {
    pub(super) mailroom: Arc<dyn Mailroom>,
    pub(super) access: Arc<dyn AccessTarget>,
    pub(super) permissions: Arc<dyn PermissionReader>,
    pub(super) mover: Arc<dyn Mover>,
}

/// What all stages work with.
pub(super) struct Stages<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) shared: &'a Shared,
    pub(super) config: &'a Arc<RwLock<Config>>,
    pub(super) hints: &'a Hints,
    /// Where the intake says what it does not take in.
    pub(super) intake: IntakeHealth,
    /// The same of the folders of migration batches.
    pub(super) batches: IntakeHealth,
    /// Where bundles are written.
    pub(super) archive: Arc<DiskArchive>,
    /// Where runs say what they found of bundles that they read again.
    pub(super) bundles: run::BundlesReread,
}

/// Whether the growth of the log is news for a stage.
#[derive(Clone, Copy)]
enum Wakes {
    OnTheLog,
    OnHints,
}

impl Stages<'_> {
    /// Starts them all, after the policies are loaded.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        self,
        mut policies: Policies,
        outside: Outside,
        evidence: EvidenceStages,
        notify: Vec<Notify>,
        registrar: Arc<Registrar>,
    ) -> std::io::Result<Vec<JoinHandle<()>>> {
        policies.load_at_start();
        let Self { store, shared, hints, .. } = self;
        let config = self.config.read();
        let clock = &shared.clock;
        let start = |name, wakes, hint: &Arc<tokio::sync::Notify>, step: Box<dyn FnMut() -> Result<Step, _> + Send>| {
            let log = match wakes {
                Wakes::OnTheLog => Some(store.subscribe()),
                Wakes::OnHints => None,
            };
            worker::start(name, shared.clone(), log, Arc::clone(hint), step)
        };
        let mut run = run::Run::new(Arc::clone(store), Arc::clone(clock), self.archive, config.export.zone.clone())
            .with_mailroom(Arc::clone(&outside.mailroom))
            .with_sagas_at_once(run::SAGAS_AT_ONCE)
            .telling(Arc::clone(&self.bundles));
        let mut permissions = PermissionIntake::new(Arc::clone(store), Arc::clone(clock), outside.permissions);
        let mut grants = run::grant::Grants::new(Arc::clone(store), Arc::clone(clock), outside.access);
        let mut migrations = run::migrate::Migrations::new(Arc::clone(store), Arc::clone(clock), outside.mover);
        let mut credentials = run::credential::Credentials::new(Arc::clone(store));
        let mut mail = MailIntake::new(Arc::clone(store), Arc::clone(clock), outside.mailroom);
        let mut plan = plan::Plan::new(Arc::clone(store), Arc::clone(clock));
        let mut project = project::Project::new(Arc::clone(store));
        let mut catch = catch::Catch::new(Arc::clone(store));
        let mut schedule = schedule::Schedule::new(Arc::clone(store), Arc::clone(clock));
        let mut intake =
            Intake::new(Arc::clone(store), Arc::clone(clock), config.sources.clone()).telling(Arc::clone(&self.intake));
        let mut write_out = WriteOut::new(Arc::clone(store), Arc::clone(clock));
        let live = Arc::clone(self.config);
        let edited = Arc::clone(&hints.edited);
        let reloaded = Arc::clone(&hints.reloaded);
        let renamed_in = Arc::clone(&hints.renamed_in);
        let mut batches = BatchFiles::new(registrar, Arc::clone(clock)).telling(Arc::clone(&self.batches));
        let servers = Arc::clone(self.config);
        let mut workers = Vec::new();
        if let Some(mut attest) = evidence.attest {
            workers.push(start("attest", Wakes::OnTheLog, &hints.none, Box::new(move || attest.step()))?);
        }
        // Each place has a thread of its own: one that hangs keeps no other waiting.
        for mut publish in evidence.publish {
            workers.push(start("publish", Wakes::OnTheLog, &hints.none, Box::new(move || publish.step()))?);
        }
        for mut witness in evidence.witness {
            workers.push(start("witness", Wakes::OnTheLog, &hints.none, Box::new(move || witness.step()))?);
        }
        for mut forward in evidence.forward {
            workers.push(start("forward", Wakes::OnTheLog, &hints.none, Box::new(move || forward.step()))?);
        }
        if let Some(mut ledger) = evidence.ledger {
            workers.push(start("ledger", Wakes::OnTheLog, &hints.none, Box::new(move || ledger.step()))?);
        }
        for mut stage in notify {
            workers.push(start("notify", Wakes::OnTheLog, &hints.none, Box::new(move || stage.step()))?);
        }
        let backups = evidence.backups;
        workers.push(start("backup", Wakes::OnHints, &hints.backups, Box::new(move || Ok(backups.step())))?);
        workers.extend([
            start(
                "policies",
                Wakes::OnHints,
                &hints.policies,
                Box::new(move || {
                    if std::mem::take(&mut *edited.lock()) {
                        policies.look_now();
                    }
                    policies.step()
                }),
            )?,
            start("project", Wakes::OnTheLog, &hints.none, Box::new(move || project.step()))?,
            start("catch", Wakes::OnTheLog, &hints.none, Box::new(move || catch.step()))?,
            start("plan", Wakes::OnTheLog, &hints.none, Box::new(move || plan.step()))?,
            start("schedule", Wakes::OnTheLog, &hints.none, Box::new(move || schedule.step()))?,
            start(
                "run",
                Wakes::OnTheLog,
                &hints.none,
                Box::new(move || {
                    let (export, subjects) = {
                        let config = live.read();
                        (config.export.clone(), config.subjects.clone())
                    };
                    run.set_zone(export.zone);
                    run.set_erasures_encrypt_to(subjects.encrypt_to);
                    run.set_csv_profile(match export.csv_profile {
                        config::CsvProfile::Exact => CsvProfile::Exact,
                        config::CsvProfile::SpreadsheetSafe => CsvProfile::SpreadsheetSafe,
                    });
                    run.step()
                }),
            )?,
            {
                let live = Arc::clone(self.config);
                start(
                    "intake",
                    Wakes::OnHints,
                    &hints.drops,
                    Box::new(move || {
                        if std::mem::take(&mut *reloaded.lock()) {
                            intake.set_sources(live.read().sources.clone());
                        }
                        for path in renamed_in.lock().drain(..) {
                            intake.renamed_in(&path);
                        }
                        resting(intake.step(&mut |_| {}))
                    }),
                )?
            },
            start(
                "batches",
                Wakes::OnHints,
                &hints.batches,
                Box::new(move || {
                    batches.serve(&servers.read().servers);
                    Ok(batches.step()?)
                }),
            )?,
            start("permissions", Wakes::OnTheLog, &hints.none, Box::new(move || permissions.step()))?,
            start("grants", Wakes::OnTheLog, &hints.none, Box::new(move || grants.step()))?,
            start("migrations", Wakes::OnTheLog, &hints.none, Box::new(move || migrations.step()))?,
            start("credentials", Wakes::OnTheLog, &hints.none, Box::new(move || credentials.step()))?,
            start("mail", Wakes::OnTheLog, &hints.none, Box::new(move || Ok(mail.step()?)))?,
            start("write-out", Wakes::OnTheLog, &hints.none, Box::new(move || write_out.step()))?,
        ]);
        Ok(workers)
    }
}

/// A delivery that could not be taken in rests where it was claimed, which is told: the others are not held up by it.
fn resting(stepped: Result<Step, IntakeError>) -> Result<Step, StageError> {
    match stepped {
        Err(error) if !error.is_of_the_store() && !matches!(error, IntakeError::Halted(_)) => {
            tracing::error!(stage = "intake", %error, "a delivery could not be taken in; it is tried again");
            Ok(Step::Worked)
        }
        stepped => Ok(stepped?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::halt::Halted;
    use crate::store::AppendError;

    #[test]
    fn a_delivery_that_fails_holds_up_no_other_and_what_ends_the_stage_goes_on_to_it() {
        assert_eq!(resting(Err(IntakeError::ReaderFailed)).unwrap(), Step::Worked);
        assert_eq!(resting(Ok(Step::Idle)).unwrap(), Step::Idle);
        assert!(matches!(resting(Err(Halted.into())), Err(StageError::Intake(IntakeError::Halted(_)))));
        assert!(resting(Err(AppendError::Closed.into())).is_err());
    }
}
