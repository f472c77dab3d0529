//! The one checker: looks at a whole store, its exports and the model, and names what must never be.
//!
//! It reads the log from its first event and believes nothing else: neither the views nor the stages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use retention_core::event::codec::Bodies;
use retention_core::event::erasure::BundleDestructionStarted;
use retention_core::event::restriction::EntitiesRestricted;
use retention_core::event::saga::{Receipt, SagaItem, ScriptKind, Step};
use retention_core::event::{Actor, Envelope, Event, EventType, Recorded};
use retention_core::evidence::ParsedItem;
use retention_core::id::{Digest, EntityId, Handle, HoldId, PlanId, Position, RequestId, RestrictionId, RunId, SagaId};
use retention_core::policy::{Assessment, OnMissingStart};
use retention_core::time::Timestamp;
use retention_core::view::due::Standing;
use retention_core::view::{EntityState, Keyed, Views};
use retentiond::connector::archive::{DiskArchive, ITEMS_FILE, MBOX_FILE, TEXTS_DIRECTORY};
use retentiond::store::vault::KeyState;
use retentiond::store::{Store, facts};

use crate::bundle;
use crate::disk;
use crate::filters::{Remembered, Standings};
use crate::mail::Expunged;
use crate::model::Model;

// Of the access that runs take.
pub mod access;
// Of grants.
pub mod grants;
pub mod notices;
pub mod registry;
mod reviews;
mod subjects;

/// Stands in every cell and every free text of the tests: nothing outside `exports/` may hold it.
pub const MARKER: &str = "PLAINTEXT-MARKER";

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// Where in the log.
    pub position: Option<Position>,
    /// Of what.
    pub entity: Option<EntityId>,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// Names one that stands at no place of the log.
    #[must_use]
    pub fn of(invariant: &'static str, entity: Option<EntityId>, detail: &str) -> Self {
        Self { invariant, position: None, entity, detail: detail.to_owned() }
    }
}

/// What the log tells, read from its beginning.
#[derive(Default)]
struct History {
    /// What each hold names, and until when it protects once it was released.
    holds: BTreeMap<HoldId, (Vec<EntityId>, Option<Timestamp>)>,
    /// What their standing queries cover beside that.
    standings: Standings,
    /// When the event at hand was recorded.
    now: Timestamp,
    versions: BTreeMap<EntityId, Position>,
    plans: BTreeMap<PlanId, PlanSeen>,
    runs: BTreeMap<RunId, (PlanId, Digest, bool)>,
    sagas: BTreeMap<SagaId, SagaSeen>,
    destroyed: BTreeMap<EntityId, Position>,
    /// What was destroyed after the backup that the store was restored from.
    lost: BTreeSet<EntityId>,
    /// What is left of what was redacted.
    rests: BTreeMap<EntityId, EntityId>,
    subjects: subjects::Subjects,
    reviews: reviews::Reviews,
    /// The bundles whose destruction was begun, and whether it is over.
    dismissed: BTreeMap<SagaId, (Digest, bool)>,
    violations: Vec<Violation>,
}

#[derive(Default)]
struct PlanSeen {
    erases: Option<RequestId>,
    requested_by: Option<u32>,
    items: BTreeMap<EntityId, Position>,
    digest: Option<Digest>,
    needed: u32,
    approvers: BTreeSet<u32>,
    is_refused: bool,
    runs: u32,
}

struct SagaSeen {
    run: RunId,
    script: ScriptKind,
    items: Vec<SagaItem>,
    left_alone: BTreeSet<EntityId>,
    verified: Option<Digest>,
    pivot: BTreeMap<EntityId, Position>,
}

impl History {
    /// The copy of what was erased goes with the answer, and never while a hold covers what it is a copy of.
    fn bundle_dismissed(&mut self, position: Position, body: &BundleDestructionStarted) {
        self.dismissed.insert(body.saga, (body.manifest, false));
        if body.request.is_some_and(|request| !self.subjects.is_answered(request)) {
            self.blame("copy_destroyed_before_the_answer", position, None, "its data subject has none");
        }
        let purged: Vec<EntityId> =
            self.sagas.get(&body.saga).map(|saga| saga.pivot.keys().copied().collect()).unwrap_or_default();
        if let Some(entity) = purged.into_iter().find(|entity| self.is_held(*entity)) {
            self.blame("copy_destroyed_under_hold", position, Some(entity), "a hold covers it");
        }
    }

    /// Says whether a hold covers an entity now.
    fn is_held(&self, entity: EntityId) -> bool {
        self.holds.iter().any(|(hold, (named, until))| {
            until.is_none_or(|until| self.now < until)
                && (named.contains(&entity) || self.standings.has_caught(*hold, entity))
        })
    }

    fn blame(&mut self, invariant: &'static str, position: Position, entity: Option<EntityId>, detail: &str) {
        let detail = detail.to_owned();
        self.violations.push(Violation { invariant, position: Some(position), entity, detail });
    }

    fn see(&mut self, recorded: &Recorded) {
        let Envelope { position, entity, actor, recorded_at, .. } = recorded.envelope;
        self.now = recorded_at;
        self.standings.see(recorded);
        if recorded.envelope.event_type == EventType::EntityChanged as u16
            && let Some(entity) = entity
        {
            self.versions.insert(entity, position);
            if self.destroyed.contains_key(&entity) {
                self.blame("change_after_purge", position, Some(entity), "its key is destroyed");
            }
        }
        let Some(event) = recorded.event() else { return };
        self.subjects.see(position, actor, event);
        self.reviews.see(position, actor, event);
        match event {
            Event::HoldPlaced(body) => drop(self.holds.insert(HoldId(position), (body.entities.clone(), None))),
            Event::HoldReleased(body) => {
                if let Some((_, until)) = self.holds.get_mut(&body.hold) {
                    until.get_or_insert(body.until);
                }
            }
            Event::RunRequested(body) => drop(self.runs.insert(RunId(position), (body.plan, body.digest, false))),
            Event::RunStarted(body) => self.run_started(position, body.run),
            Event::SagaStarted(body) => {
                let left_alone = BTreeSet::new();
                let (run, script, items, pivot) = (body.run, body.script, body.items.clone(), BTreeMap::new());
                self.sagas.insert(SagaId(position), SagaSeen { run, script, items, left_alone, verified: None, pivot });
            }
            Event::EntitiesRestricted(body) => self.restricted(position, body),
            Event::EntitySucceeded(body) => {
                self.rests.extend(entity.map(|entity| (body.of, entity)));
                let named = self.holds.values_mut().map(|(named, _)| named);
                named.filter(|named| named.contains(&body.of)).for_each(|named| named.extend(entity));
            }
            Event::ItemsSkipped(body) => self.left_alone(body.saga, body.items.iter().map(|(entity, _)| *entity)),
            Event::EntityRestored(body) => self.left_alone(body.saga, entity.into_iter()),
            Event::BundleDestructionStarted(body) => self.bundle_dismissed(position, body),
            Event::BundleDestroyed(body) => drop(self.dismissed.insert(body.saga, (body.manifest, true))),
            Event::StepSucceeded(body) if body.step == Step::VerifyExport => {
                if let Some(saga) = self.sagas.get_mut(&body.saga) {
                    saga.verified = match (&body.receipt, body.compensation) {
                        (Receipt::ExportVerified { manifest, .. }, false) => Some(*manifest),
                        _ => None,
                    };
                }
            }
            Event::StepStarted(body) if body.step.is_pivot() => self.pivot(position, body.saga, &body.items),
            Event::KeyDestroyed(body) => self.key_destroyed(position, body.saga, entity),
            Event::KeyDestroyedAgain(_) => {
                self.lost.extend(entity);
                self.destroyed.extend(entity.map(|entity| (entity, position)));
            }
            _ => self.see_plan(position, actor, event),
        }
    }

    fn see_plan(&mut self, position: Position, actor: Actor, event: &Event) {
        let person = match actor {
            Actor::Person(uid) => Some(uid),
            Actor::Daemon | Actor::Schedule => None,
        };
        match event {
            Event::ErasurePlanRequested(body) => {
                let requested_by = self.subjects.identified_by(body.request);
                let erases = Some(body.request);
                self.plans.insert(PlanId(position), PlanSeen { requested_by, erases, ..PlanSeen::default() });
            }
            Event::PlanRequested(_) => {
                self.plans.insert(PlanId(position), PlanSeen { requested_by: person, ..PlanSeen::default() });
            }
            Event::PlanItems(body) => {
                let plan = self.plans.entry(body.plan).or_default();
                if body.chunk == 0 {
                    plan.items.clear();
                }
                plan.items.extend(body.items.iter().map(|item| (item.entity, item.version)));
            }
            Event::PlanFrozen(body) => {
                let plan = self.plans.entry(body.plan).or_default();
                let is_free = body.tripped.is_empty() && !body.needs_approval;
                plan.needed = if is_free { 0 } else { body.approvals_needed.max(1) };
                plan.digest = Some(body.digest);
            }
            Event::PlanApproved(body) => {
                let plan = self.plans.entry(body.plan).or_default();
                if let Some(uid) = person
                    && plan.digest == Some(body.digest)
                    && plan.requested_by != Some(uid)
                    && !self.reviews.is_reviewer(body.plan, uid)
                {
                    plan.approvers.insert(uid);
                }
            }
            Event::PlanRejected(body) => self.plans.entry(body.plan).or_default().is_refused = true,
            _ => {}
        }
    }

    fn run_started(&mut self, position: Position, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else {
            return self.blame("run_without_request", position, None, "nobody asked for it");
        };
        run.2 = true;
        let (plan, digest, _) = *run;
        let plan = self.plans.entry(plan).or_default();
        plan.runs += 1;
        let is_approved = plan.approvers.len() >= plan.needed as usize;
        let is_sound = plan.digest == Some(digest) && !plan.is_refused && is_approved;
        let runs = plan.runs;
        if !is_sound {
            self.blame("run_of_an_unapproved_plan", position, None, "digest, approvals or refusal do not allow it");
        }
        if runs > 1 {
            self.blame("plan_used_twice", position, None, "another run took it before");
        }
    }

    fn left_alone(&mut self, saga: SagaId, entities: impl Iterator<Item = EntityId>) {
        if let Some(saga) = self.sagas.get_mut(&saga) {
            saga.left_alone.extend(entities);
        }
    }

    /// All that must be true when a purge becomes irreversible.
    fn pivot(&mut self, position: Position, id: SagaId, items: &[EntityId]) {
        let held: Vec<EntityId> = items.iter().copied().filter(|entity| self.is_held(*entity)).collect();
        let Some(saga) = self.sagas.get_mut(&id) else {
            return self.blame("intent_without_saga", position, None, "no such saga began");
        };
        let is_repetition = !saga.pivot.is_empty();
        saga.pivot.extend(items.iter().map(|entity| (*entity, position)));
        if is_repetition {
            return;
        }
        let run = self.runs.get(&saga.run).copied();
        let planned = run.and_then(|(plan, _, _)| self.plans.get(&plan));
        let mut found: Vec<(&'static str, EntityId)> = Vec::new();
        for entity in items {
            // A restriction destroys nothing.
            if saga.verified.is_none() && saga.script != ScriptKind::Restrict {
                found.push(("purge_without_verified_export", *entity));
            }
            if held.contains(entity) {
                found.push(("purge_under_hold", *entity));
            }
            let erases = planned.and_then(|plan| plan.erases);
            found.extend(self.subjects.blame(erases, *entity).into_iter().map(|invariant| (invariant, *entity)));
            if saga.left_alone.contains(entity) || !saga.items.iter().any(|item| item.entity == *entity) {
                found.push(("purge_of_an_item_left_alone", *entity));
            }
            let version = planned.and_then(|plan| plan.items.get(entity));
            let reviewed = run.and_then(|(plan, _, _)| self.reviews.blame(plan, *entity, version.copied(), self.now));
            found.extend(reviewed.map(|invariant| (invariant, *entity)));
            if version.is_none() || !run.is_some_and(|(_, _, started)| started) {
                found.push(("purge_outside_a_plan", *entity));
            }
            if version != self.versions.get(entity) {
                found.push(("purge_of_a_changed_entity", *entity));
            }
        }
        for (invariant, entity) in found {
            self.blame(invariant, position, Some(entity), "named by the intent of the pivot");
        }
    }

    fn key_destroyed(&mut self, position: Position, saga: SagaId, entity: Option<EntityId>) {
        let Some(entity) = entity else {
            return self.blame("key_of_nobody_destroyed", position, None, "the envelope names no entity");
        };
        match self.sagas.get(&saga) {
            Some(saga) if saga.pivot.contains_key(&entity) => {}
            _ => self.blame("purge_without_intent", position, Some(entity), "no intent names it"),
        }
        let is_redaction = self.sagas.get(&saga).is_some_and(|saga| saga.script == ScriptKind::ExportRedact);
        if is_redaction && self.rests.get(&entity).is_none_or(|rest| !self.versions.contains_key(rest)) {
            self.blame("redacted_before_the_rest_was_recorded", position, Some(entity), "nothing is left of it");
        }
        if self.sagas.get(&saga).is_none_or(|saga| saga.verified.is_none()) {
            self.blame("purge_without_verified_export", position, Some(entity), "no export of its saga was verified");
        }
        if self.destroyed.insert(entity, position).is_some() {
            self.blame("purged_twice", position, Some(entity), "its key was destroyed before");
        }
    }

    /// The use of an entity ends once, by a saga that said so before, and under no hold.
    fn restricted(&mut self, position: Position, body: &EntitiesRestricted) {
        for entity in &body.entities {
            let saga = self.sagas.get(&body.saga).filter(|saga| saga.script == ScriptKind::Restrict);
            let is_named = |saga: &SagaSeen| saga.pivot.contains_key(entity) && !saga.left_alone.contains(entity);
            if !saga.is_some_and(is_named) {
                self.blame("restricted_without_intent", position, Some(*entity), "no intent names it");
            }
            if self.is_held(*entity) {
                self.blame("restricted_under_hold", position, Some(*entity), "a hold covers it");
            }
            if !self.subjects.end_use(RestrictionId(position), *entity) {
                self.blame("restricted_twice", position, Some(*entity), "its use had ended before");
            }
        }
    }

    fn intends_to_purge(&self, entity: EntityId) -> bool {
        self.sagas.values().any(|saga| saga.script != ScriptKind::Restrict && saga.pivot.contains_key(&entity))
    }
}

/// Remembers what was acknowledged, and looks at everything.
#[derive(Default)]
pub struct Checker {
    /// Where each message was found, as long as its key was there.
    messages: BTreeMap<(EntityId, String), EntityId>,
    /// How many removals were looked at.
    expunged: usize,
    /// How far the log went then.
    looked_at: Position,
    acknowledged: Vec<Envelope>,
    /// What holds are judged by, of which keys are destroyed in the meantime.
    remembered: Remembered,
    scanned: BTreeMap<PathBuf, u64>,
}

impl Checker {
    /// Looks at everything and returns what must never be.
    pub fn check(&mut self, store: &Store, exports: &Path, model: &Model) -> Vec<Violation> {
        let standings = Standings::with(std::mem::take(&mut self.remembered));
        let mut history = History { standings, ..History::default() };
        let log = self.read_log(store, &mut history);
        log.iter().for_each(|recorded| history.see(recorded));
        bundles(exports, &mut history);
        encrypted(exports, &mut history.violations);
        gone(store, &mut history);
        rebuild(store, &log, &mut history.violations);
        model.compare(store, &mut history.violations);
        self.scan(&store.dir().join("journal"), &mut history.violations);
        self.remembered = history.standings.remembered();
        history.violations
    }

    /// Looks at every message that was removed from its server since the last time: an intent names it, no hold covers
    /// it, and a bundle on disk has its text byte for byte.
    pub fn check_mail(
        &mut self,
        store: &Store,
        exports: &Path,
        model: &Model,
        expunged: &[Expunged],
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        let position = store.view(|views| views.position);
        let log = (1..=position.0).filter_map(|number| store.read(Position(number)).ok().flatten());
        // The first intent since the last look that names it, for it was there then; or else the newest before.
        let mut intended: BTreeMap<EntityId, Position> = BTreeMap::new();
        for recorded in log {
            match (recorded.event(), recorded.envelope.entity) {
                (Some(Event::EntityChanged(body)), Some(entity)) => {
                    if let Some(mailbox) = body.record.mailbox {
                        self.messages.insert((mailbox, body.record.external_id.clone()), entity);
                    }
                }
                (Some(Event::StepStarted(body)), _) if body.step == Step::Expunge => {
                    for item in &body.items {
                        let named = intended.entry(*item).or_insert(recorded.envelope.position);
                        if *named <= self.looked_at {
                            *named = recorded.envelope.position;
                        }
                    }
                }
                _ => {}
            }
        }
        for gone in expunged.iter().skip(self.expunged) {
            let Some(entity) = self.messages.get(&(gone.mailbox, gone.key.external_id())).copied() else {
                violations.push(Violation::of("expunge_of_an_unknown_message", None, "it was never taken in"));
                continue;
            };
            let mut blame = |invariant, detail| violations.push(Violation::of(invariant, Some(entity), detail));
            let intent = intended.get(&entity).copied();
            if intent.is_none() {
                blame("expunge_without_intent", "no intent names it");
            }
            // What stands in an intent goes: a hold that comes after it comes too late.
            let counts = |hold: &HoldId| intent.is_none_or(|intent| hold.0 < intent);
            if model.holds.iter().any(|(hold, held)| counts(hold) && held.contains(&entity)) {
                blame("expunge_under_hold", "a hold covers it");
            }
            if !has_text(exports, entity, &gone.text) {
                blame("expunge_without_verified_export", "no bundle on disk holds its text");
            }
        }
        (self.expunged, self.looked_at) = (expunged.len(), position);
        violations
    }

    /// Looks for plaintext in every file of the store, whole.
    pub fn scan_all(&mut self, state: &Path) -> Vec<Violation> {
        let mut violations = Vec::new();
        self.scanned.clear();
        for path in disk::files(state) {
            scan_file(&path, 0, &mut violations);
        }
        violations
    }

    /// An event that was folded was acknowledged, and must stand in the log for ever, byte for byte.
    fn read_log(&mut self, store: &Store, history: &mut History) -> Vec<Recorded> {
        let position = store.view(|views| views.position);
        let mut log = Vec::new();
        for number in 1..=position.0 {
            match store.read(Position(number)) {
                Ok(Some(recorded)) => log.push(recorded),
                other => {
                    let detail = format!("{:?}", other.err().map(|error| error.to_string()));
                    history.blame("acknowledged_event_lost", Position(number), None, &detail);
                }
            }
        }
        for (index, known) in self.acknowledged.iter().enumerate() {
            if log.get(index).map(|recorded| &recorded.envelope) != Some(known) {
                history.blame("acknowledged_event_lost", known.position, known.entity, "it is gone or another");
            }
        }
        self.acknowledged.extend(log.iter().skip(self.acknowledged.len()).map(|recorded| recorded.envelope));
        log
    }

    /// Looks for plaintext in what is new at the end of files that only grow.
    fn scan(&mut self, dir: &Path, violations: &mut Vec<Violation>) {
        for path in disk::files(dir) {
            let from = self.scanned.get(&path).copied().unwrap_or(0);
            let length = scan_file(&path, from, violations);
            self.scanned.insert(path, length);
        }
    }
}

/// Says whether a bundle holds the text of a message as it was, in a file of its own.
fn has_text(exports: &Path, entity: EntityId, text: &[u8]) -> bool {
    let bundles = fs::read_dir(exports).into_iter().flatten().flatten();
    let visible = bundles.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    visible.into_iter().any(|bundle| {
        let alone = bundle::read(&bundle.path().join(TEXTS_DIRECTORY), &format!("{entity}.eml"));
        let among_all = || bundle::read(&bundle.path(), MBOX_FILE);
        alone.is_some_and(|bytes| bytes == text)
            || among_all().is_some_and(|bytes| memchr::memmem::find(&bytes, &quoted(text)).is_some())
    })
}

/// A text as it stands in an mbox: a `>` before each line that is `From ` after any number of them (mboxrd).
fn quoted(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let arrows = line.iter().take_while(|byte| **byte == b'>').count();
        let is_quoted = line.get(arrows..).is_some_and(|rest| rest.starts_with(b"From "));
        [if is_quoted { b">".as_slice() } else { b"" }, line].concat()
    });
    lines.flatten().collect()
}

/// Returns the length of the file.
fn scan_file(path: &Path, from: u64, violations: &mut Vec<Violation>) -> u64 {
    let bytes = fs::read(path).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(0).saturating_sub(MARKER.len());
    if bytes.get(from..).is_some_and(|new| memchr::memmem::find(new, MARKER.as_bytes()).is_some()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        violations.push(Violation::of("plaintext_outside_exports", None, &name));
    }
    bytes.len() as u64
}

/// What an encrypted bundle says of people, whole or not, can nobody read who has no key.
fn encrypted(exports: &Path, violations: &mut Vec<Violation>) {
    let bundles = fs::read_dir(exports).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in bundles.filter(|path| bundle::is_encrypted(path)).flat_map(|path| disk::files(&path)) {
        if fs::read(&path).is_ok_and(|bytes| memchr::memmem::find(&bytes, MARKER.as_bytes()).is_some()) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            violations.push(Violation::of("plaintext_in_an_encrypted_bundle", None, &name));
        }
    }
}

/// What is purged, or about to be, stands in the bundle that was verified, in the planned version.
fn bundles(exports: &Path, history: &mut History) {
    if history.sagas.values().all(|saga| saga.pivot.is_empty()) {
        return;
    }
    let archive = DiskArchive::at(exports);
    let mut held: BTreeMap<Digest, BTreeMap<EntityId, Position>> = BTreeMap::new();
    for name in archive.list().into_iter().flatten().flatten() {
        let Ok((_, digest)) = archive.manifest(&name) else { continue };
        let text = bundle::read(&exports.join(name.as_str()), ITEMS_FILE).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let items = text.lines().filter_map(|line| ParsedItem::parse_line(line.as_bytes()).ok());
        held.insert(digest, items.map(|item| (item.entity, item.version)).collect());
    }
    let mut missing = Vec::new();
    for (id, saga) in &history.sagas {
        // Its purge was looked at when it happened, or it purges nothing.
        if history.dismissed.contains_key(id) || saga.script == ScriptKind::Restrict {
            continue;
        }
        let bundle = saga.verified.and_then(|manifest| held.get(&manifest));
        for (entity, position) in &saga.pivot {
            let planned = saga.items.iter().find(|item| item.entity == *entity).map(|item| item.version);
            if planned.is_none() || bundle.and_then(|bundle| bundle.get(entity)).copied() != planned {
                missing.push((*position, *entity));
            }
        }
    }
    let left = history.dismissed.values().any(|(manifest, is_over)| *is_over && held.contains_key(manifest));
    if left {
        history.violations.push(Violation::of("destroyed_copy_is_there", None, "a bundle that is said to be gone"));
    }
    for (position, entity) in missing {
        history.blame("purge_without_verified_export", position, Some(entity), "no bundle on disk holds it");
    }
}

/// What is purged is gone for ever; what looks purged was meant to be.
fn gone(store: &Store, history: &mut History) {
    let rows: Vec<_> = store.view(|views| {
        views.entities.numbers_from(0).filter_map(|entity| Some((entity, views.entities.row(entity)?))).collect()
    });
    for (entity, row) in rows {
        let key = store.key_of(entity).ok();
        let is_gone = row.state == EntityState::Purged || key == Some(KeyState::Destroyed);
        // The intent of what a ledger of erasures names is lost with the part of the log behind the backup.
        if is_gone && !history.intends_to_purge(entity) && !history.lost.contains(&entity) {
            history.violations.push(Violation::of("purge_without_intent", Some(entity), "no intent names it"));
        }
        let Some(position) = history.destroyed.get(&entity).copied() else { continue };
        if key != Some(KeyState::Destroyed) {
            history.blame("destroyed_key_is_there", position, Some(entity), "its slot holds no tombstone");
        }
        if row.state != EntityState::Purged || row.handle != Handle::NONE {
            history.blame("purged_entity_is_found", position, Some(entity), "a view still has it");
        }
        if !matches!(store.record_at(row.version), Ok(None)) {
            history.blame("purged_record_is_readable", position, Some(entity), "its body can be opened");
        }
    }
}

fn keyed(store: &Store, views: &Views, event: &Event) -> Option<Keyed> {
    let Event::EntityChanged(body) = event else { return None };
    let record = &body.record;
    let layout = views.small.layouts.get(record.layout)?;
    let handle = |id: &str| store.handle_of(&layout.source, record.mailbox, layout.kind, id);
    Some(Keyed {
        handle: handle(&record.external_id),
        others: record.other_ids.iter().filter(|id| **id != record.external_id).map(|id| handle(id)).collect(),
        digest: store.digest_of(&event.encode_body().ok()?),
    })
}

/// Folds the log anew and compares every view.
fn rebuild(store: &Store, log: &[Recorded], violations: &mut Vec<Violation>) {
    let mut views = Views::default();
    for recorded in log {
        let keyed = recorded.event().and_then(|event| keyed(store, &views, event));
        views.fold(recorded, keyed.as_ref());
    }
    judge(store, &mut views);
    let is_installed = store.view(|live| live.small.policies.digest) == Some(store.policies().digest());
    let mut differ = |what: &str, entity| violations.push(Violation::of("view_is_not_its_rebuild", entity, what));
    store.view(|live| {
        if live.position != views.position || live.entities.bound() != views.entities.bound() {
            differ("position or number of entities", None);
        }
        for number in 0..live.entities.bound().max(views.entities.bound()) {
            let entity = EntityId(number);
            let is_gone = views.entities.row(entity).is_some_and(|row| row.state == EntityState::Purged);
            // A body that cannot be opened any more makes a rebuild run ahead of its `KeyDestroyed`.
            let is_ahead = is_gone && live.entities.row(entity).is_some_and(|row| row.state != EntityState::Purged);
            if !is_ahead && live.entities.row(entity) != views.entities.row(entity) {
                differ("row", Some(entity));
            }
        }
        if !live.links.iter().eq(views.links.iter()) {
            differ("links", None);
        }
        if !live.activities.iter().eq(views.activities.iter()) {
            differ("activities", None);
        }
        if live.index != views.index {
            differ("index", None);
        }
        if live.small != views.small {
            differ("small views", None);
        }
        if is_installed && live.due.is_complete() {
            for (id, column) in live.due.policies() {
                let Some(anew) = views.due.policy(id) else {
                    differ("due index", None);
                    continue;
                };
                let is_same = column.population() == anew.population()
                    && column.days().eq(anew.days())
                    && column.due_by(retention_core::time::Timestamp::NEVER)
                        == anew.due_by(retention_core::time::Timestamp::NEVER);
                if !is_same {
                    differ(&format!("due index of {id}"), None);
                }
            }
        }
    });
}

/// Judges every entity by the active policies, from its record.
fn judge(store: &Store, views: &mut Views) {
    let entities: Vec<EntityId> = views.entities.numbers_from(0).collect();
    for entity in entities {
        let Some(row) = views.entities.row(entity).filter(|row| row.state != EntityState::Purged) else { continue };
        let Ok(Some(record)) = store.record_at(row.version) else { continue };
        let Some(bound) = store.bound(record.layout) else { continue };
        let activities = views.activities_of(entity);
        let facts = facts(&bound.layout, &record, &row, views.open_deals(entity), &activities);
        for policy in bound.set.policies() {
            let standing = match policy.assess(&facts) {
                Assessment::OutOfScope => Standing::OutOfScope,
                // What waits for a person because it has no start is looked at from when it was first seen.
                Assessment::NoStart { .. } if policy.policy().retention.on_missing_start == OnMissingStart::Review => {
                    Standing::DueAt(facts.first_seen)
                }
                Assessment::NoStart { .. }
                | Assessment::CannotEvaluate { .. }
                | Assessment::NotRedacted { .. }
                | Assessment::Suspended => Standing::NeverDue,
                Assessment::Due { due_at, .. } => Standing::DueAt(due_at),
            };
            views.due.set(&policy.policy().id, policy.policy().digest(), entity, standing);
        }
    }
}
