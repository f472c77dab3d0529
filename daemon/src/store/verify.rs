//! Reading everything durable and comparing it: the journal with itself, sled and the views with the journal, the keys
//! with the log. Nothing that is trusted is changed.
//!
//! The log is folded once more into fresh views, so a verification needs as much memory as the views again.

use std::collections::BTreeMap;
use std::sync::Arc;

use retention_core::event::{Event, EventType, Readable, Recorded};
use retention_core::id::{Digest, EntityId, Position};
use retention_core::policy::PolicySet;
use retention_core::time::Timestamp;
use retention_core::view::{EntityState, Views};
use roaring::RoaringBitmap;

use super::events::EventRow;
use super::journal::{Damage, HEADER_BYTES, JournalError, JournalReader, Place, StoredEvent, recover};
use super::judge::ActivePolicies;
use super::open;
use super::state::State;
use super::tree::TreeCheck;
use super::vault::{Vault, VaultVerification, wrapping};
use super::{Inner, OpenError, Options, Progress, ReadError, Store};
use crate::ahead;

mod finding;

pub use finding::Finding;

#[cfg(test)]
mod tests;

/// Findings that are named one by one; more are only counted.
pub const FINDINGS_MAX: usize = 1_000;

/// Progress is told after this many events.
const PROGRESS_EVERY: u64 = 10_000;

/// How long a log grows under its first key before one checkpoint at least must be there, in microseconds: an hour. One is
/// signed with the first events of every start.
const SIGNED_BY_THEN_US: i64 = 60 * 60 * 1_000_000;

/// What is done about what follows from damage of the journal.
const FOLLOWS: &str =
    "this can follow from what is wrong with the journal: see to that first, and change nothing of this before";

/// Why sled is not opened where nothing can be written.
const ONLY_READ: &str = "the store lies where nothing can be written, and the event store cannot be opened there; copy the state directory to where that can be done to have it compared as well";

/// Events whose bodies are opened together, and how much memory they may take.
const EVENTS_TOGETHER: usize = 8_192;
const BYTES_TOGETHER: usize = 32 * 1024 * 1024;

/// Of these, how many one processor opens at a time.
const EVENTS_PER_PIECE: usize = 256;

/// Events whose bodies are opened together.
#[derive(Default)]
struct Together {
    events: Vec<(Place, StoredEvent)>,
    bytes: usize,
}

impl Together {
    fn push(&mut self, place: Place, stored: StoredEvent) {
        self.bytes += stored.envelope.body_len as usize;
        self.events.push((place, stored));
    }

    fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_TOGETHER || self.bytes >= BYTES_TOGETHER
    }
}

/// What a verification looked at and found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Events whose frame, hash and place in the log were checked.
    pub events: u64,
    /// Bodies that were opened and decoded.
    pub bodies_read: u64,
    /// Bodies that nobody can open any more, because their key is destroyed.
    pub bodies_gone: u64,
    /// Bytes after the last whole group: they were never acknowledged, and the next start cuts them.
    pub torn_bytes: u64,
    /// Whether the views were compared; not when the journal or sled is damaged.
    pub views_compared: bool,
    /// Whether the due index was compared; only with the policies of the log, and when it is complete.
    pub due_compared: bool,
    /// Why nothing that follows from the journal was compared with it, where that is no damage.
    pub not_compared: Option<String>,
    /// Signed checkpoints that were compared with the log; `None` without a tree.
    pub checkpoints: Option<u64>,
    /// Cosignatures of witnesses that were held against their checkpoints; `None` when there never was one.
    pub cosignatures: Option<u64>,
    /// Whether the log adopted a key that signs checkpoints.
    pub has_signing_key: bool,
    /// Where the log adopted its first such key, when that was long before its end and there is no checkpoint. A backup that
    /// was made before the next one was signed may be restored so.
    pub unsigned_since: Option<Position>,
    /// The backups that the log tells of, by their last event, each with the SHA-256 of its manifest.
    pub backups: BTreeMap<Position, Digest>,
    /// What the key slots hold.
    pub keys: VaultVerification,
    /// Entities whose key is destroyed and whose event is not written yet: their intent is in the log, and the next
    /// start goes on with it.
    pub in_flight: Vec<EntityId>,
    /// What is wrong, the first [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings are not named.
    pub unnamed: u64,
}

impl VerifyReport {
    /// Says whether everything is as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns what to do about one of the findings. Where the journal itself is not what it was, what differs from it is not
    /// to blame.
    #[must_use]
    pub fn what_to_do(&self, finding: &Finding) -> &'static str {
        let follows = finding.may_follow_from_the_journal() && self.findings.iter().any(Finding::blames_the_journal);
        if follows { FOLLOWS } else { finding.what_to_do() }
    }

    /// Adds what was found beside the store: in the copies that its log tells of, and in what only a start reads.
    pub(crate) fn found(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.unnamed += 1;
        }
    }
}

impl Store {
    /// Verifies the store while it is used. The log waits only for the last comparison.
    ///
    /// # Errors
    /// When something could not be looked at. Damage is no error: it is what the report tells.
    pub fn verify(&self, progress: Progress<'_>) -> Result<VerifyReport, ReadError> {
        let inner = &self.inner;
        let policies = Arc::clone(inner.state.read().policies());
        let mut check = Check::of(inner, policies, Compare::Live, Live::Running);
        let upto = inner.state.read().views.position;
        // A damaged journal was folded only up to its damage. Nothing is appended to it, so it has an end to read to.
        let is_growing = inner.read_only.lock().is_none();
        check.begin_tree()?;
        check.journal(Position::NONE, if is_growing { upto } else { Position(u64::MAX) }, progress)?;
        check.judge_all()?;
        let state = inner.state.read();
        let compared = state.views.position;
        check.journal(upto, compared, &mut |_, _| {})?;
        // What changed since then was not judged again here.
        check.report.due_compared &= compared == upto;
        check.views(&state);
        drop(state);
        let destroyed = check.destroyed.clone();
        check.report.keys = inner.vault.verify(&inner.halt)?;
        inner.halt.check()?;
        // A tombstone that was met a moment ago has its event, or at least its intent, by now.
        let newest = inner.state.read().views.position;
        check.journal(compared, newest, &mut |_, _| {})?;
        check.keys(&destroyed);
        check.end_tree();
        Ok(check.report)
    }

    /// Verifies a store whose daemon is stopped. The due index is compared with what the active policies of the log
    /// say, if sled holds all of it: after a kill it may not.
    ///
    /// sled is opened and may rearrange its own files; what they say stays.
    ///
    /// # Errors
    /// As [`Store::open`] when there is no store, it is in use, or the keys do not open at all.
    pub fn verify_stopped(options: &Options, progress: Progress<'_>) -> Result<VerifyReport, OpenError> {
        let (lock, is_read_only) = open::Lock::to_verify(&options.dir)?;
        let report = Self::verify_locked(options, is_read_only, progress);
        drop(lock);
        report
    }

    /// Verifies a store that nobody else has open. Where it may only be read, sled stays closed: it opens nothing that it
    /// cannot write to.
    fn verify_locked(options: &Options, is_read_only: bool, progress: Progress<'_>) -> Result<VerifyReport, OpenError> {
        let mut early = VerifyReport::default();
        let last = end_of_journal(options, &mut early)?;
        let as_written = if is_read_only { None } else { Some(open::inner_as_written(options)) };
        let (inner, compare) = match as_written {
            Some(Ok(Some(inner))) => (inner, Compare::Live),
            None => {
                early.not_compared = Some(ONLY_READ.to_owned());
                (open::inner_without_sled(options)?, Compare::Nothing)
            }
            Some(Ok(None)) => {
                early.found(Finding::EventStoreDamaged("it is not there".to_owned()));
                (open::inner_without_sled(options)?, Compare::Nothing)
            }
            Some(Err(OpenError::Blocks(error))) if error.is_made_anew() => {
                early.not_compared = Some(error.to_string());
                (open::inner_without_sled(options)?, Compare::Nothing)
            }
            Some(Err(OpenError::Blocks(error))) if error.is_damage() => {
                early.found(Finding::EventStoreDamaged(error.to_string()));
                (open::inner_without_sled(options)?, Compare::Nothing)
            }
            Some(Err(error)) => return Err(error),
        };
        let known = inner.state.read().views.position;
        if let Some(last) = last
            && known > last
        {
            early.found(Finding::JournalShorter { journal: last, known });
        }
        let mut check = Check::of(&inner, Arc::new(PolicySet::empty()), compare, Live::Stopped);
        check.report = early;
        check.begin_tree()?;
        check.journal(Position::NONE, last.unwrap_or(Position(u64::MAX)), progress)?;
        check.end_tree();
        check.install_policies_of_log()?;
        check.judge_all()?;
        check.views(&inner.state.read());
        let used = check.shadow.views.entities.bound();
        let vault =
            Vault::open_read_only(&options.dir.join("keys"), super::vault::RootKey::read(&options.root_key)?, used)?;
        check.report.keys = vault.verify(&inner.halt)?;
        inner.halt.check().map_err(ReadError::from)?;
        let destroyed = check.destroyed.clone();
        check.keys(&destroyed);
        let report = check.report;
        if let Some(blocks) = inner.blocks {
            blocks.close()?;
        }
        Ok(report)
    }
}

/// Looks for the end of the journal; `None` when it is damaged, so that its end is where reading ends.
fn end_of_journal(options: &Options, report: &mut VerifyReport) -> Result<Option<Position>, OpenError> {
    let dir = options.dir.join("journal");
    let reader = JournalReader::at(&dir);
    let Some(&last) = reader.segments_present()?.last() else { return Ok(None) };
    let length = recover::length_of(&dir, last)?;
    // A crash can leave a segment without its header; the next start removes it.
    let segment = if length < HEADER_BYTES && last > 1 { last - 1 } else { last };
    match recover::tail_of(&dir, &reader, segment) {
        Ok(tail) => {
            report.torn_bytes = tail.torn_bytes + if segment == last { 0 } else { length };
            Ok(Some(tail.last))
        }
        Err(JournalError::Damaged { .. } | JournalError::Format { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the folded log is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// The views and rows of the store.
    Live,
    /// Nothing: sled is not there, is damaged or is not opened, which was noted before.
    Nothing,
}

/// Whether the daemon goes on while it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Live {
    /// The views are always at the end of the log.
    Running,
    /// The views are where they were last written out.
    Stopped,
}

/// A verification under way.
struct Check<'a> {
    inner: &'a Inner,
    compare: Compare,
    shadow: State,
    /// What comes next, if the event before was readable.
    next: Option<Position>,
    recorded_at: Timestamp,
    /// Entities of which the log says that their key is destroyed.
    destroyed: RoaringBitmap,
    journal_is_whole: bool,
    /// Up to here, the rows and views of the store stood by themselves when the verification began.
    written: Position,
    /// The tree, as far as the journal is whole.
    tree: Option<TreeCheck>,
    /// Where and when the log adopted its first key that signs checkpoints.
    adopted: Option<(Position, Timestamp)>,
    report: VerifyReport,
}

impl<'a> Check<'a> {
    fn of(inner: &'a Inner, policies: Arc<PolicySet>, compare: Compare, live: Live) -> Self {
        let mut shadow = State::default();
        shadow.install(policies);
        Self {
            inner,
            compare,
            shadow,
            next: Some(Position(1)),
            recorded_at: Timestamp(i64::MIN),
            destroyed: RoaringBitmap::new(),
            journal_is_whole: true,
            written: match live {
                Live::Running => Position(u64::MAX),
                Live::Stopped => inner.state.read().views.position,
            },
            tree: None,
            adopted: None,
            report: VerifyReport::default(),
        }
    }

    fn begin_tree(&mut self) -> Result<(), ReadError> {
        let report = &mut self.report;
        self.tree = Some(TreeCheck::begin(&self.inner.dir, &mut |finding| report.found(finding))?);
        Ok(())
    }

    fn tree_event(&mut self, recorded: &Recorded) -> Result<(), ReadError> {
        let envelope = &recorded.envelope;
        match recorded.event() {
            Some(Event::SigningKeyAdopted(body)) => {
                self.report.has_signing_key = true;
                self.adopted.get_or_insert((envelope.position, envelope.recorded_at));
                if let Some(tree) = &mut self.tree {
                    tree.adopted(&body.verifier_key);
                }
            }
            Some(Event::BackupMade(body)) => {
                self.report.backups.insert(body.last, body.manifest);
            }
            _ => {}
        }
        let Self { tree: Some(tree), report, .. } = self else { return Ok(()) };
        Ok(tree.event(&recorded.envelope, &mut |finding| report.found(finding))?)
    }

    /// After damage of the journal nothing can be said of the checkpoints beyond it.
    fn end_tree(&mut self) {
        let Some(mut tree) = self.tree.take() else { return };
        let report = &mut self.report;
        let checked = tree.end(&mut |finding| report.found(finding));
        (report.checkpoints, report.cosignatures) = (checked, tree.cosignatures());
        let beyond = tree.beyond(&mut |finding| report.found(finding));
        if let Some((position, since)) = self.adopted
            && tree.is_empty()
            && self.recorded_at.0.saturating_sub(since.0) >= SIGNED_BY_THEN_US
        {
            self.report.unsigned_since = Some(position);
        }
        if let (true, Some(size), Some(next)) = (self.journal_is_whole, beyond, self.next) {
            let journal = Position(next.0.saturating_sub(1));
            self.report.found(Finding::JournalShorter { journal, known: Position(size) });
        }
    }

    /// Goes through the events after a position, up to and including `last`; past damage, it goes on in the next
    /// segment.
    fn journal(&mut self, after: Position, last: Position, progress: Progress<'_>) -> Result<(), ReadError> {
        let inner = self.inner;
        let total = if last.0 == u64::MAX { 0 } else { last.0 };
        let present = inner.reader.segments_present()?;
        let end = present.last().copied().unwrap_or(1);
        for segment in 1..=end {
            if !present.contains(&segment) {
                self.damaged(Finding::SegmentMissing { segment });
                continue;
            }
            // Segments that were gone through before need no second look.
            if present.contains(&(segment + 1)) && inner.reader.first_of(segment + 1).is_ok_and(|first| first <= after)
            {
                continue;
            }
            let events = match inner.reader.events_of_segment(segment, last) {
                Ok(events) => events,
                // The beginning of a segment that a crash left unfinished.
                Err(_) if segment == end && last.0 != u64::MAX && self.next > Some(last) => continue,
                Err(error) => {
                    self.segment_damaged(segment, error)?;
                    continue;
                }
            };
            let mut together = Together::default();
            for entry in events {
                match entry {
                    Ok((_, stored)) if stored.envelope.position <= after => {}
                    Ok((place, stored)) => {
                        together.push(place, stored);
                        if together.is_full() {
                            self.events(&mut together, total, progress)?;
                        }
                    }
                    Err(error) => {
                        self.events(&mut together, total, progress)?;
                        self.segment_damaged(segment, error)?;
                    }
                }
            }
            self.events(&mut together, total, progress)?;
        }
        progress(self.report.events, total.max(self.report.events));
        if last.0 != u64::MAX && self.journal_is_whole && self.next.is_some_and(|next| next <= last) {
            let journal = Position(self.next.map_or(0, |next| next.0.saturating_sub(1)));
            self.damaged(Finding::JournalShorter { journal, known: last });
        }
        Ok(())
    }

    fn segment_damaged(&mut self, segment: u32, error: JournalError) -> Result<(), ReadError> {
        match error {
            JournalError::Damaged { .. } | JournalError::Format { .. } => {
                self.damaged(Finding::JournalDamaged { segment, what: error.to_string() });
                Ok(())
            }
            // A file that ends within its header.
            JournalError::Io { source, .. } if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                let error = JournalError::damaged(segment, 0, Damage::Header);
                self.damaged(Finding::JournalDamaged { segment, what: error.to_string() });
                Ok(())
            }
            JournalError::Io { .. } | JournalError::Poisoned | JournalError::TooLarge { .. } => Err(error.into()),
        }
    }

    /// Notes damage of the journal: what follows it cannot be compared.
    fn damaged(&mut self, finding: Finding) {
        self.report.found(finding);
        self.journal_is_whole = false;
        self.next = None;
        self.tree = None;
    }

    /// Opens bodies on every processor, which is most of the work, and takes the events one after another.
    fn events(&mut self, together: &mut Together, total: u64, progress: Progress<'_>) -> Result<(), ReadError> {
        let inner = self.inner;
        let pieces: Vec<&[(Place, StoredEvent)]> = together.events.chunks(EVENTS_PER_PIECE).collect();
        let mut events = together.events.iter();
        let open = |piece: &&[(Place, StoredEvent)]| -> Vec<Result<Recorded, ReadError>> {
            piece.iter().map(|(_, stored)| inner.open_to_verify(stored)).collect()
        };
        ahead::in_order(&pieces, open, |opened| {
            // What was opened is asked first, so that no event is taken for which nothing was.
            for (opened, (place, stored)) in opened.into_iter().zip(events.by_ref()) {
                self.event(*place, stored, opened)?;
                if self.report.events.is_multiple_of(PROGRESS_EVERY) {
                    progress(self.report.events, total.max(self.report.events));
                }
            }
            Ok::<(), ReadError>(())
        })?;
        drop(pieces);
        *together = Together::default();
        Ok(())
    }

    fn event(
        &mut self,
        place: Place,
        stored: &StoredEvent,
        opened: Result<Recorded, ReadError>,
    ) -> Result<(), ReadError> {
        self.inner.halt.check()?;
        let envelope = &stored.envelope;
        let position = envelope.position;
        if let Some(expected) = self.next
            && expected != position
        {
            self.damaged(Finding::PositionsBroken { segment: place.segment, expected, found: position });
        }
        self.next = Some(position.next());
        if envelope.recorded_at < self.recorded_at {
            self.report.found(Finding::TimeGoesBack(position));
        }
        self.recorded_at = envelope.recorded_at;
        self.report.events += 1;
        let recorded = self.opened(stored, opened)?;
        self.tree_event(&recorded)?;
        if let (true, Some(entity)) = (EventType::is_destruction(envelope.event_type), envelope.entity) {
            self.destroyed.insert(entity.0);
        }
        let known = envelope.entity.map_or(Position::NONE, |entity| self.shadow.views.entities.last_event(entity));
        self.compare_row(position, &EventRow::of(envelope, known, place));
        if self.compare == Compare::Live && position > self.written {
            // Not in sled yet: an open would fold it on top, so that is what is compared in the end.
            if self.journal_is_whole {
                self.inner.fold_recorded(place, &recorded);
            }
        }
        let keyed = self.inner.keyed_of(&recorded, &self.shadow);
        self.shadow.fold(&recorded, keyed.as_ref());
        Ok(())
    }

    /// Takes a body that was opened. What should open and does not counts as gone from here on.
    fn opened(&mut self, stored: &StoredEvent, opened: Result<Recorded, ReadError>) -> Result<Recorded, ReadError> {
        let position = stored.envelope.position;
        match opened {
            Ok(recorded) => {
                match recorded.event {
                    Readable::Event(_) | Readable::Facts(_) => self.report.bodies_read += 1,
                    Readable::Gone => self.report.bodies_gone += 1,
                    Readable::Unknown => {}
                }
                return Ok(recorded);
            }
            // The slot itself is found and named when the keys are checked.
            Err(ReadError::SlotDamaged(_) | ReadError::Sealed(_) | ReadError::Body { .. }) => {}
            Err(
                error @ (ReadError::Journal(_)
                | ReadError::Sled(_)
                | ReadError::Vault(_)
                | ReadError::Tree(_)
                | ReadError::Halted(_)),
            ) => return Err(error),
        }
        self.report.found(Finding::BodyUnreadable(position));
        self.journal_is_whole = false;
        Ok(Recorded { envelope: stored.envelope, event: Readable::Gone })
    }

    fn compare_row(&mut self, position: Position, expected: &EventRow) {
        if self.compare == Compare::Nothing || !self.journal_is_whole || position > self.written {
            return;
        }
        match self.inner.row(position) {
            Ok(Some(row)) if row == *expected => {}
            Ok(_) => self.report.found(Finding::RowDiffers(position)),
            Err(error) => {
                self.report.found(Finding::EventStoreDamaged(error.to_string()));
                self.compare = Compare::Nothing;
            }
        }
    }

    fn install_policies_of_log(&mut self) -> Result<(), ReadError> {
        if self.compare == Compare::Live
            && self.journal_is_whole
            && let Some(set) = self.inner.policies_of_log(&ActivePolicies::of(&self.shadow.views))?
        {
            self.shadow.install(Arc::new(set));
        }
        Ok(())
    }

    /// Judges every entity as the policies of the log do, so that the due index can be compared.
    fn judge_all(&mut self) -> Result<(), ReadError> {
        let is_installed = self.shadow.views.small.policies.digest == Some(self.shadow.policies().digest());
        if !is_installed || self.compare == Compare::Nothing || !self.journal_is_whole {
            return Ok(());
        }
        let entities: Vec<EntityId> = self.shadow.views.entities.numbers_from(0).collect();
        for entity in entities {
            self.inner.halt.check()?;
            let row = self.shadow.views.entities.row(entity);
            let Some(row) = row.filter(|row| row.state != EntityState::Purged) else { continue };
            if let Some(record) = self.inner.record_at(row.version)? {
                self.shadow.judge(entity, &record);
            }
        }
        self.report.due_compared = true;
        Ok(())
    }

    fn views(&mut self, live: &State) {
        if self.compare == Compare::Nothing || !self.journal_is_whole {
            self.report.due_compared = false;
            return;
        }
        self.report.views_compared = true;
        let (views, shadow) = (&live.views, &self.shadow.views);
        let in_flight: RoaringBitmap = intents(views).iter().map(|entity| entity.0).collect();
        let mut findings: Vec<Finding> = Vec::new();
        let left_out = |entity: EntityId| in_flight.contains(entity.0);
        findings.extend(views.entities.differences(&shadow.entities, left_out).map(Finding::EntityDiffers));
        let same = [
            ("entities", !in_flight.is_empty() || views.entities.same_totals(&shadow.entities)),
            ("links", views.links.iter().eq(shadow.links.iter())),
            ("activities", views.activities.iter().eq(shadow.activities.iter())),
            ("small", views.small == shadow.small),
            ("index", views.index == shadow.index),
        ];
        findings.extend(same.iter().filter(|(_, same)| !same).map(|(name, _)| Finding::ViewDiffers(name)));
        self.report.due_compared &= views.due.is_complete();
        if self.report.due_compared {
            findings.extend(due_differences(views, shadow, &in_flight));
        }
        findings.into_iter().for_each(|finding| self.report.found(finding));
    }

    /// Compares the slots with what the log says of them; `destroyed` is what it said before they were read.
    fn keys(&mut self, destroyed: &RoaringBitmap) {
        let named: RoaringBitmap = self.shadow.views.entities.numbers_from(0).map(|entity| entity.0).collect();
        for copy in wrapping::damaged_copies(&self.inner.dir.join("keys")) {
            self.report.found(Finding::WrappingCopyDamaged(copy));
        }
        for slot in self.report.keys.damaged_slots.clone() {
            self.report.found(Finding::SlotDamaged(EntityId(slot)));
        }
        let tombstones = self.report.keys.destroyed_slots.clone();
        for entity in destroyed - &tombstones {
            self.report.found(Finding::KeyNotDestroyed(EntityId(entity)));
        }
        // What could not be read may say it.
        if !self.journal_is_whole {
            return;
        }
        let intents: RoaringBitmap = intents(&self.shadow.views).iter().map(|entity| entity.0).collect();
        for entity in (&tombstones - &self.destroyed).iter().filter(|entity| named.contains(*entity)) {
            if intents.contains(entity) {
                self.report.in_flight.push(EntityId(entity));
            } else {
                self.report.found(Finding::KeyDestroyedWithoutEvent(EntityId(entity)));
            }
        }
    }
}

fn due_differences(views: &Views, shadow: &Views, in_flight: &RoaringBitmap) -> Vec<Finding> {
    if !views.due.policies().map(|(id, _)| id).eq(shadow.due.policies().map(|(id, _)| id)) {
        return vec![Finding::ViewDiffers("due")];
    }
    let mut wrong = RoaringBitmap::new();
    for (id, column) in views.due.policies() {
        match shadow.due.policy(id) {
            Some(other) if other.digest() == column.digest() => {
                wrong.extend(column.differences(other).map(|entity| entity.0));
            }
            Some(_) | None => return vec![Finding::ViewDiffers("due")],
        }
    }
    (wrong - in_flight).iter().map(|entity| Finding::DueDiffers(EntityId(entity))).collect()
}

/// Returns the entities that the open sagas' pivots mean to purge, and the credentials that nobody needs.
fn intents(views: &Views) -> Vec<EntityId> {
    let open = views.small.runs.sagas().filter(|(_, saga)| saga.end.is_none());
    let purged = open.flat_map(|(_, saga)| saga.pivot.iter().copied());
    purged.chain(views.small.registry.unneeded().map(|(credential, _)| credential)).collect()
}
