//! What the control API asks of the daemon beside views and events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use retention_core::control::{
    AddMailboxes, AskForSubject, BackupRow, Checked, CheckpointRow, CosignedBy, EntryLeftRow, EnvelopeRow, ErrorBody,
    ErrorCode, Explanation, Finding, GiveGrant, IdentifySubject, KeySlots, Line, MailboxFinding, NoticeTested, PartRow,
    PartState, PolicyDiffRow, PolicyFileText, Progress, RunAccessTerms, Severity, SoughtSubject, SubjectRow,
};
use retention_core::event::Actor;
use retention_core::event::grant::GrantRequested;
use retention_core::event::key::StoreKeys;
use retention_core::event::subject::SubjectRequested;
use retention_core::evidence::certificate::Subject;
use retention_core::evidence::checkpoint::Checkpoint;
use retention_core::evidence::cosignature::WitnessState;
use retention_core::id::{Digest, EntityId, Position, RequestId, RunId, SagaId};
use retention_core::policy::State;
use retention_core::time::{Timestamp, Zone};
use tokio::sync::mpsc;

use super::evidence::EvidenceTold;
use super::mailboxes::Mailboxes;
use super::metrics;
use super::moved;
use super::notices::Channels;
use super::signing_key;
use super::worker::StagesFailing;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Metrics, NotifyChannel, Problem, named_file_problems, unwise_places};
use crate::connector::archive::DiskArchive;
use crate::connector::mail::Mailroom;
use crate::connector::texts;
use crate::control::package::{PackageWanted, Parts};
use crate::control::reviews::{self, Decided, Waiting};
use crate::control::{
    BundleThere, OwedNotice, PolicyFacts, Sink, Works, judgement, package, subjects, terms, unknown_accounts,
};
use crate::stage::intake::{EntryLeft, IntakeHealth, SpecError, mapping_problems};
use crate::stage::notify::{NotifyHealth, Owed};
use crate::stage::policies::PolicyHealth;
use crate::stage::run::BundlesReread;
use crate::stage::witness::WitnessHealth;
use crate::store::tree::{Told, Tree, TreeFileError};
use crate::store::vault::SlotCounts;
use crate::store::{ReadError, Store};

/// What the daemon's main loop is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Stop the stages, make everything in sled again from the journal, and go on.
    Rebuild,
    /// Stop the stages, take what was erased off the disk, and go on.
    Compact,
    /// Stop the stages, rotate the wrapping keys, and go on.
    RotateWrapping,
    /// Stop the stages, and go on with the new signing key that the log asks for.
    RotateSigning,
}

/// The daemon, as the control API sees it.
pub(super) struct DaemonWorks {
    /// The store.
    pub(super) store: Arc<Store>,
    /// The clock.
    pub(super) clock: Arc<dyn Clock>,
    /// The configuration in force.
    pub(super) config: Arc<RwLock<Config>>,
    /// What is wrong with the policies on disk.
    pub(super) policy_health: Arc<Mutex<PolicyHealth>>,
    /// What of drop folders and of folders of migration batches is not taken in.
    pub(super) intake: [IntakeHealth; 2],
    /// The bundles.
    pub(super) archive: Arc<DiskArchive>,
    /// What was found of bundles that were read again.
    pub(super) bundles: BundlesReread,
    /// What proves the log.
    pub(super) evidence: EvidenceTold,
    /// What tests channels of notices.
    pub(super) channels: Channels,
    /// How the channels of notices stand, by name.
    pub(super) notices: Vec<(String, NotifyHealth)>,
    /// The registered mailboxes.
    pub(super) mailboxes: Arc<Mailboxes>,
    /// What gets into them.
    pub(super) mailroom: Arc<dyn Mailroom>,
    /// Why the wrapping keys were not rotated before this life began.
    pub(super) rotation_failed: Option<String>,
    /// The stages whose steps fail.
    pub(super) stages: StagesFailing,
    /// Leads to the main loop.
    pub(super) orders: mpsc::Sender<Order>,
}

impl Works for DaemonWorks {
    fn check_config(&self, text: Option<&str>) -> Checked {
        let path = self.config.read().path.clone();
        let checked = match text {
            Some(text) => Config::parse(&path, text.as_bytes()),
            None => Config::load(&path),
        };
        // Of files that the text of somebody else names, nobody is told through the daemon whether they are there.
        let is_own = text.is_none();
        let findings = match checked {
            Ok(config) => {
                let told = |severity, message| Finding {
                    severity,
                    file: file_name(&path),
                    line: None,
                    column: None,
                    message,
                    hint: None,
                };
                let renamed = self.renamed(&config).filter(|_| is_own);
                let renamed = renamed.map(|message| told(Severity::Error, message));
                let named = is_own.then(|| named_file_findings(&config)).into_iter().flatten();
                let unknown = is_own.then(|| unknown_accounts(&config.control));
                let moved = moved::problem(&self.store, &self.config.read(), &config);
                let unwise = is_own.then(|| unwise_places(&config));
                let warned = unknown.into_iter().chain(unwise).flatten().chain(moved);
                let warned = warned.map(|message| told(Severity::Warning, message));
                mapping_findings(&config).into_iter().chain(renamed).chain(named).chain(warned).collect()
            }
            Err(error) => findings(&path, &error),
        };
        Checked { findings }
    }

    fn config_problems(&self) -> Vec<String> {
        let path = self.config.read().path.clone();
        let loaded = Config::load(&path);
        let renamed = loaded.as_ref().ok().and_then(|new| self.renamed(new));
        let reloaded = loaded.and_then(|new| moved::reloaded(&self.store, &self.config.read(), &new));
        let file = file_name(&path);
        let Err(error) = reloaded else {
            return renamed.map(|message| format!("{file}: {message}")).into_iter().collect();
        };
        let told = |problem: &Problem| match problem.line {
            0 => format!("{file}: {}", problem.message),
            line => format!("{file}:{line}:{}: {}", problem.column, problem.message),
        };
        error.problems.iter().map(told).collect()
    }

    fn source_names(&self) -> BTreeSet<String> {
        let config = self.config.read();
        let sources = config.sources.iter().map(|source| source.name.clone());
        sources.chain(config.servers.iter().map(|server| server.name.clone())).collect()
    }

    fn policies(&self) -> Vec<PolicyFacts> {
        judgement::policies(&self.store, self.clock.now())
    }

    fn policy_problems(&self) -> Vec<String> {
        self.policy_health.lock().errors.clone()
    }

    fn policies_of_no_source(&self) -> Vec<(String, String)> {
        let mut there_are = self.source_names();
        self.store.view(|views| there_are.extend(views.small.layouts.iter().map(|(_, layout)| layout.source.clone())));
        let set = self.store.policies();
        let mut unknown = Vec::new();
        for policy in set.policies().iter().filter(|policy| policy.state == State::Enforce) {
            let sources = policy.scope.sources.iter().filter(|source| !there_are.contains(*source));
            unknown.extend(sources.map(|source| (policy.id.clone(), source.clone())));
        }
        unknown
    }

    fn diff_policies(&self, files: &[PolicyFileText]) -> Result<Vec<PolicyDiffRow>, ErrorBody> {
        judgement::diff(&self.store, files, self.clock.now())
    }

    fn explain(&self, entity: EntityId, now: Timestamp) -> Result<Explanation, ErrorBody> {
        judgement::explain(&self.store, entity, now)
    }

    fn waiting_for_review(
        &self,
        policy: &str,
        entities: &[EntityId],
        decided: Decided,
        now: Timestamp,
    ) -> Result<Option<Waiting>, ErrorBody> {
        reviews::waiting(&self.store, policy, entities, decided, now)
    }

    fn verify_export(&self, manifest: Digest, sink: Sink<'_>) -> Result<(), ErrorBody> {
        super::bundles::verify(&self.archive, manifest, self.store.halt(), sink)
    }

    fn bundle_there(&self, manifest: Digest) -> Result<Option<BundleThere>, ErrorBody> {
        let found = super::bundles::find(&self.archive, manifest)?;
        Ok(found.map(|bundle| if bundle.is_encrypted { BundleThere::Encrypted } else { BundleThere::InTheClear }))
    }

    fn verify_store(&self, sink: Sink<'_>) -> Result<(), ErrorBody> {
        let mut report = self
            .store
            .verify(&mut |done, total| {
                let _audience = sink(Line::Progress(Progress { unit: "events".to_owned(), done, total: Some(total) }));
            })
            .map_err(|error| match error {
                ReadError::Halted(_) => ErrorBody::of(ErrorCode::Stopping),
                error => ErrorBody::saying(ErrorCode::Internal, error.to_string()),
            })?;
        let backup = self.config.read().backup.clone();
        let beside = super::verified::look_beside(&mut report, self.store.dir(), backup.as_ref(), self.store.halt());
        if let Err(error) = beside {
            tracing::warn!(%error, "the checkpoints were not compared with those of the newest backup");
        }
        for part in super::verified::parts(&report) {
            let _audience = sink(Line::Row(part));
        }
        Ok(())
    }

    fn rebuild_store(&self, sink: Sink<'_>) -> Result<(), ErrorBody> {
        self.order(Order::Rebuild, "sled", "rebuilding", sink)
    }

    fn compact_store(&self, sink: Sink<'_>) -> Result<(), ErrorBody> {
        if let Some(damage) = self.store.read_only_reason() {
            return Err(ErrorBody::saying(ErrorCode::WrongState, format!("the store is read-only: {damage}")));
        }
        self.order(Order::Compact, "journal", "compacting", sink)
    }

    fn count_keys(&self) -> Result<KeySlots, ErrorBody> {
        let counts = self.store.count_keys();
        let counts = counts.map_err(|error| ErrorBody::saying(ErrorCode::Internal, error.to_string()))?;
        let SlotCounts { live, destroyed, retired, damaged } = counts;
        Ok(KeySlots { live, destroyed, retired, damaged })
    }

    fn take_up_rotation(&self, keys: StoreKeys) {
        let order = match keys {
            StoreKeys::Signing => Order::RotateSigning,
            StoreKeys::Wrapping => Order::RotateWrapping,
        };
        if self.orders.try_send(order).is_err() {
            tracing::info!("the daemon is already stopping, rebuilding or compacting; the next start rotates the keys");
        }
    }

    fn register_mailboxes(&self, uid: u32, wanted: AddMailboxes) -> Result<Vec<EntityId>, ErrorBody> {
        self.mailboxes.register(uid, wanted)
    }

    fn remove_mailbox(&self, uid: u32, mailbox: EntityId, reason: String) -> Result<Position, ErrorBody> {
        self.mailboxes.remove(uid, mailbox, reason)
    }

    fn check_mailbox(&self, mailbox: EntityId) -> Result<Vec<MailboxFinding>, ErrorBody> {
        self.mailboxes.check(mailbox)
    }

    fn grant_terms(&self, wanted: GiveGrant) -> Result<GrantRequested, ErrorBody> {
        terms::of(&self.store, wanted)
    }

    fn run_access(&self, policy_digest: Digest) -> Result<Option<RunAccessTerms>, ErrorBody> {
        terms::of_runs(&self.store, policy_digest)
    }

    fn zone(&self) -> Zone {
        let name = self.config.read().policies.timezone.iana_name().map(str::to_owned);
        name.and_then(|name| name.parse().ok()).unwrap_or_else(Zone::utc)
    }

    fn find_subject(&self, uid: u32, sought: &SoughtSubject, sink: Sink<'_, SubjectRow>) -> Result<(), ErrorBody> {
        subjects::find_for(&self.store, uid, sought, sink)
    }

    fn subject_terms(&self, wanted: AskForSubject) -> Result<SubjectRequested, ErrorBody> {
        subjects::terms(&self.store, wanted, &self.zone(), self.clock.now())
    }

    fn identify_subject(
        &self,
        uid: u32,
        request: RequestId,
        wanted: IdentifySubject,
        sink: Sink<'_, SubjectRow>,
    ) -> Result<(), ErrorBody> {
        subjects::identify(&self.store, uid, request, wanted, sink)
    }

    fn package_subject(
        &self,
        uid: u32,
        request: RequestId,
        recipients: &[String],
        parts: Parts<'_>,
    ) -> Result<(), ErrorBody> {
        let (zone, now) = (self.zone(), self.clock.now());
        let wanted = PackageWanted { uid, request, recipients, zone: &zone, now };
        let fetch =
            |mailbox, messages: &[_], take: texts::Take<'_>| texts::fetch(&*self.mailroom, mailbox, messages, take);
        package::make(&self.store, &wanted, &fetch, parts)
    }

    fn checkpoints(&self, from: u64, limit: usize) -> Result<Vec<CheckpointRow>, ErrorBody> {
        let notes = self.tree()?.checkpoints(from, limit).map_err(|error| tree_failed(&error))?;
        Ok(notes.into_iter().filter_map(checkpoint_row).collect())
    }

    fn newest_checkpoint(&self) -> Result<CheckpointRow, ErrorBody> {
        let newest = self.tree()?.newest_told().map_err(|error| tree_failed(&error))?;
        newest.and_then(told_row).ok_or_else(|| {
            ErrorBody::saying(ErrorCode::WrongState, "no checkpoint is signed yet")
                .hint("one is signed each second while the log grows; if none comes, see retentionctl status")
        })
    }

    fn cosigned_checkpoint(&self) -> Result<CheckpointRow, ErrorBody> {
        let cosigned = self.tree()?.newest_cosigned().map_err(|error| tree_failed(&error))?;
        cosigned.and_then(told_row).ok_or_else(|| {
            ErrorBody::saying(ErrorCode::WrongState, "no witness has cosigned a checkpoint yet")
                .hint("witnesses are named in [[audit.witness]]; how they stand, retentionctl status says")
        })
    }

    fn prove(&self, position: Position) -> Result<String, ErrorBody> {
        let envelope = self
            .store
            .envelope(position)
            .map_err(|error| ErrorBody::saying(ErrorCode::Internal, error.to_string()))?
            .ok_or_else(|| ErrorBody::saying(ErrorCode::NotFound, format!("there is no event {}", position.0)))?;
        let proof = self.tree()?.prove(&envelope).map_err(|error| tree_failed(&error))?;
        proof.map(|proof| proof.text()).ok_or_else(|| {
            ErrorBody::saying(ErrorCode::WrongState, format!("no checkpoint covers event {} yet", position.0))
                .hint("one is signed each second while the log grows; if none comes, see retentionctl status")
        })
    }

    fn prove_growth(&self, before: u64, after: u64) -> Result<String, ErrorBody> {
        if before == 0 || before > after {
            return Err(ErrorBody::saying(
                ErrorCode::BadRequest,
                "a log grows from the smaller size to the larger one",
            ));
        }
        let proof = self.tree()?.prove_growth(before, after).map_err(|error| tree_failed(&error))?;
        proof.map(|proof| proof.text()).ok_or_else(|| {
            ErrorBody::saying(ErrorCode::NotFound, "no checkpoint was signed over one of these numbers of events")
                .hint("retentionctl audit checkpoints")
        })
    }

    fn envelopes(&self, from: Position, limit: usize) -> Result<Vec<EnvelopeRow>, ErrorBody> {
        let newest = self.store.view(|views| views.position);
        let upto = newest.0.min(from.0.saturating_add(limit as u64).saturating_sub(1));
        let mut rows = Vec::with_capacity(limit.min(1_000));
        for position in (from.0.max(1)..=upto).map(Position) {
            let envelope = self.store.envelope(position);
            match envelope.map_err(|error| ErrorBody::saying(ErrorCode::Internal, error.to_string()))? {
                Some(envelope) => rows.push(EnvelopeRow::of(&envelope)),
                None => break,
            }
        }
        Ok(rows)
    }

    fn certificate(&self, subject: Subject) -> Result<String, ErrorBody> {
        self.evidence.certificates.as_ref().ok_or_else(no_tree)?.write(subject)
    }

    fn make_backup(&self, uid: u32, sink: Sink<'_>) -> Result<(), ErrorBody> {
        self.evidence.backups.make(Actor::Person(uid), sink)
    }

    fn backups(&self) -> Result<Vec<BackupRow>, ErrorBody> {
        self.evidence.backups.list()
    }

    fn verify_backup(&self, last: Position, sink: Sink<'_>) -> Result<(), ErrorBody> {
        self.evidence.backups.verify(last, sink)
    }

    fn publishing_behind(&self) -> Vec<(String, String)> {
        self.evidence.publish_health.iter().filter_map(|health| health.lock().clone()).collect()
    }

    fn witnesses(&self) -> Vec<(String, WitnessState)> {
        let of = |(name, health): &(String, WitnessHealth)| (name.clone(), health.lock().clone());
        self.evidence.witness_health.iter().map(of).collect()
    }

    fn forwarding_behind(&self) -> Vec<(String, String)> {
        self.evidence.forward_health.iter().filter_map(|health| health.lock().clone()).collect()
    }

    fn sources_stopped(&self) -> Vec<(String, String)> {
        self.intake.iter().flat_map(|health| health.lock().stopped.clone()).collect()
    }

    fn entries_left(&self) -> Vec<EntryLeftRow> {
        let row = |left: &EntryLeft| {
            let EntryLeft { source, name, code, message, since } = left.clone();
            EntryLeftRow { source, name, why: code.to_owned(), since, message }
        };
        self.intake.iter().flat_map(|health| health.lock().left.iter().map(row).collect::<Vec<_>>()).collect()
    }

    fn rotation_failed(&self) -> Option<String> {
        self.rotation_failed.clone()
    }

    fn test_channel(&self, channel: &str) -> Result<NoticeTested, ErrorBody> {
        self.channels.test(&self.config.read().notify.clone(), channel, self.clock.now())
    }

    fn notices_failing(&self) -> Vec<(String, u64, String)> {
        let failing = |(name, health): &(String, NotifyHealth)| {
            health.lock().failing.clone().map(|failing| (name.clone(), failing.waiting, failing.code))
        };
        self.notices.iter().filter_map(failing).collect()
    }

    fn notices_owed(&self) -> Vec<OwedNotice> {
        let of = |(name, health): &(String, NotifyHealth)| {
            let owed = health.lock().owed.clone();
            let channel = name.clone();
            owed.into_iter().map(move |owed| {
                let Owed { notice, since, tries, code } = owed;
                OwedNotice { channel: channel.clone(), notice, since, tries, code }
            })
        };
        self.notices.iter().flat_map(of).collect()
    }

    fn channel_of_recipient(&self, name: &str) -> Option<String> {
        let config = self.config.read();
        let is_theirs = |channel: &&NotifyChannel| {
            channel.recipient.as_ref().is_some_and(|recipient| recipient.reveal() == name.trim())
        };
        config.notify.iter().find(is_theirs).map(|channel| channel.name.clone())
    }

    fn bundles_missed(&self) -> BTreeMap<RunId, String> {
        let missed: Vec<(SagaId, &str)> =
            self.bundles.lock().iter().filter_map(|(saga, reread)| Some((*saga, reread.missed?))).collect();
        self.store.view(|views| {
            let run_of = |saga| views.small.runs.saga(saga).map(|saga| saga.started.run);
            missed.into_iter().filter_map(|(saga, code)| Some((run_of(saga)?, code.to_owned()))).collect()
        })
    }

    fn ledger_behind(&self) -> Option<String> {
        self.evidence.backups.ledger_behind()
    }

    fn stages_failing(&self) -> Vec<(String, String)> {
        self.stages.told()
    }

    fn backup_failed(&self) -> Option<String> {
        self.evidence.backups.failed()
    }

    fn tree_stopped(&self) -> Option<String> {
        self.evidence.tree_health.lock().clone()
    }

    fn metrics(&self) -> Option<String> {
        match self.config.read().metrics {
            Metrics::Off => None,
            Metrics::Socket => {
                let problems = self.policy_problems().len() as u64;
                Some(metrics::text(&self.store, problems, &self.witnesses(), self.clock.now()))
            }
        }
    }
}

impl DaemonWorks {
    /// Says why a configuration cannot call the log as it does: a start with it would end.
    fn renamed(&self, config: &Config) -> Option<String> {
        let refused = signing_key::refuse_another_name(&self.store, config.origin.as_deref());
        refused.err().map(|error| error.to_string())
    }

    fn order(&self, order: Order, part: &str, code: &str, sink: Sink<'_>) -> Result<(), ErrorBody> {
        self.orders.try_send(order).map_err(|_| {
            ErrorBody::saying(ErrorCode::Internal, "the daemon is already stopping, rebuilding or compacting")
        })?;
        let row = PartRow {
            part: part.to_owned(),
            state: PartState::Intact,
            checked: 0,
            code: Some(code.to_owned()),
            message: Some("begun: the daemon stops its work for it, and goes on".to_owned()),
        };
        let _audience = sink(Line::Row(row));
        Ok(())
    }

    fn tree(&self) -> Result<&Tree, ErrorBody> {
        self.evidence.tree.as_deref().ok_or_else(no_tree)
    }
}

fn no_tree() -> ErrorBody {
    ErrorBody::saying(ErrorCode::WrongState, "the tree over the log is not open, so nothing can be said of it")
        .hint("retentionctl status says why")
}

fn checkpoint_row(note: String) -> Option<CheckpointRow> {
    let read = Checkpoint::unverified(&note).ok()?;
    Some(CheckpointRow { size: read.size, root: read.root, note, cosigned_by: None })
}

fn told_row(told: Told) -> Option<CheckpointRow> {
    let by = told.cosignatures.iter();
    let by = by.map(|one| CosignedBy { witness: one.witness().to_owned(), at: one.at() }).collect();
    Some(CheckpointRow { cosigned_by: Some(by), ..checkpoint_row(told.note)? })
}

fn tree_failed(error: &TreeFileError) -> ErrorBody {
    ErrorBody::saying(ErrorCode::Internal, error.to_string())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn mapping_findings(config: &Config) -> Vec<Finding> {
    let finding = |(path, error): (PathBuf, SpecError)| Finding {
        severity: Severity::Error,
        file: file_name(&path),
        line: None,
        column: None,
        message: error.to_string(),
        hint: None,
    };
    mapping_problems(&config.sources).into_iter().map(finding).collect()
}

/// A file that is not there does not keep the daemon from starting, so it is a warning.
fn named_file_findings(config: &Config) -> impl Iterator<Item = Finding> {
    named_file_problems(config).into_iter().map(|(path, problem)| Finding {
        severity: Severity::Warning,
        file: path.display().to_string(),
        line: None,
        column: None,
        message: problem.to_string(),
        hint: None,
    })
}

fn findings(path: &Path, error: &ConfigError) -> Vec<Finding> {
    let file = file_name(path);
    error
        .problems
        .iter()
        .map(|problem| Finding {
            severity: Severity::Error,
            file: file.clone(),
            line: known(problem.line),
            column: known(problem.column),
            message: problem.message.clone(),
            hint: None,
        })
        .collect()
}

/// Lines and columns count from 1; 0 stands for the whole file.
fn known(number: usize) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}
