//! The effects on messages: export with their texts, expunge, look with a new login for what should be gone.
//!
//! What a server says now is compared with the record before each effect. A message that differs in anything that
//! policies look at is left alone, and so is one that cannot be found although nothing said before that it was gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use retention_core::event::saga::{Receipt, SagaItem, SkipReason, Step as ScriptStep};
use retention_core::evidence::ExportLayout;
use retention_core::id::{EntityId, LayoutId, Position, SagaId};
use retention_core::record::EntityRecord;
use retention_core::record::message::{self, MessageKey};
use retention_core::saga;
use retention_core::view::{Condition, Conflict, Saga};

use super::super::{StageError, Step};
use super::Run;
use super::access::MayBegin;
use crate::ahead;
use crate::connector::mail::{
    DELETED, Depth, FolderState, MailFailure, MailSession, REFUSALS_OF_A_FOLDER, TextSink, Uid, Which,
};
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};
use crate::store::AppendError;

mod export;
mod probe;

/// How long to wait before a server is asked again that could not be asked before the pivot: long enough for it to
/// be started anew, short against any quarantine.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How many messages are asked for together: a lost answer concerns few.
const UIDS_TOGETHER: usize = 1_000;

/// How many records are read in one piece.
const RECORDS_PER_PIECE: usize = 250;

/// How many messages are compared with their records together, while the server goes on telling.
const TOLD_TOGETHER: usize = 1_000;

/// The plan's picture of the mailbox is no longer true; what differs was left alone, and the rest is tried at once.
const CHANGED_MEANWHILE: Refusal = Refusal { code: "messages_changed", retry: Retry::AfterProbe };

/// The server can remove only everything that anybody flagged as deleted, never named messages alone.
const NO_UIDPLUS: Refusal = Refusal { code: "no_uidplus", retry: Retry::Never };

/// One folder's part of a saga.
#[derive(Default)]
struct Part {
    wanted: BTreeMap<Uid, EntityId>,
}

/// Messages by folder and its numbering.
type Parts = BTreeMap<(String, u32), Part>;

/// How the messages of a saga stand on their server.
#[derive(Default)]
struct Found {
    /// As they are recorded.
    there: Vec<EntityId>,
    /// Nowhere.
    gone: Vec<EntityId>,
    /// Those of them whose folder is nowhere either: it may have another name.
    folder_gone: Vec<EntityId>,
    /// Otherwise than recorded, or in a folder that is numbered anew or only shows messages of others since they were
    /// recorded.
    differ: Vec<EntityId>,
    /// In folders that do not open, while others do.
    closed: Vec<EntityId>,
    /// How the server refused the last of those folders.
    refusal: Option<MailFailure>,
    /// The folders that hold any of them, as they were when they were looked at.
    folders: BTreeMap<(String, u32), FolderState>,
}

/// What a server tells of a message of a saga.
struct Told {
    uid: Uid,
    entity: EntityId,
    /// The version that was planned.
    version: Position,
    now: message::MessageStanding,
}

/// Which flags may differ from the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flags {
    /// None.
    AsRecorded,
    /// `\Deleted` may have been set by an earlier attempt of ours.
    OrDeletedByUs,
}

impl Run {
    /// Sorts messages by folder; the error is the code of what cannot be read.
    fn parts(
        &self,
        entities: impl Iterator<Item = (EntityId, Position)>,
    ) -> Result<Result<Parts, Refusal>, StageError> {
        let items: Vec<(EntityId, Position)> = entities.collect();
        let mut parts = Parts::new();
        let mut is_whole = true;
        self.each_record(
            &items,
            |(_, version)| *version,
            |(entity, _), record| {
                let key = record.and_then(|record| MessageKey::parse(&record.external_id));
                is_whole &= key.is_some();
                if let Some(MessageKey { folder, uid_validity, uid }) = key {
                    parts.entry((folder, uid_validity)).or_default().wanted.insert(uid, *entity);
                }
                Ok(())
            },
        )?;
        Ok(if is_whole { Ok(parts) } else { Err(Refusal { code: "item_gone", retry: Retry::AfterProbe }) })
    }

    /// Goes through things with the records of their versions, which are read on every processor.
    fn each_record<T: Sync>(
        &self,
        items: &[T],
        version_of: impl Fn(&T) -> Position,
        mut take: impl FnMut(&T, Option<EntityRecord>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let pieces = self.store.pieces(items, version_of, RECORDS_PER_PIECE)?;
        ahead::in_order(
            &pieces,
            |piece| (piece.items, self.store.records_of(piece)),
            |(items, records)| items.iter().zip(records?).try_for_each(|(item, record)| take(item, record)),
        )
    }

    /// Asks the server for every message, and compares. A folder that does not open is a failure.
    fn find(
        &self,
        session: &mut dyn MailSession,
        saga: &Saga,
        parts: &Parts,
        flags: Flags,
    ) -> Result<Result<Found, MailFailure>, StageError> {
        let found = self.find_where_it_opens(session, saga, parts, flags)?;
        Ok(found.and_then(|found| match found.refusal {
            Some(failure) => Err(failure),
            None => Ok(found),
        }))
    }

    /// As [`Self::find`], but a folder that does not open is a failure only where none does.
    fn find_where_it_opens(
        &self,
        session: &mut dyn MailSession,
        saga: &Saga,
        parts: &Parts,
        flags: Flags,
    ) -> Result<Result<Found, MailFailure>, StageError> {
        let mut found = Found::default();
        let mut has_opened = false;
        for (place, part) in parts {
            let state = match session.look_into(&place.0) {
                Ok(state) => state,
                Err(failure) if REFUSALS_OF_A_FOLDER.contains(&failure.code()) => {
                    found.refusal = Some(failure);
                    found.closed.extend(part.wanted.values());
                    continue;
                }
                Err(failure) => return Ok(Err(failure)),
            };
            has_opened = true;
            let Some(state) = state else {
                found.gone.extend(part.wanted.values());
                found.folder_gone.extend(part.wanted.values());
                continue;
            };
            if state.uid_validity != place.1 {
                // What a look found gone under the old numbers is gone for good; of the rest nobody can say anything.
                let all: Vec<EntityId> = part.wanted.values().copied().collect();
                let known = self.known_absent(&all);
                let (gone, differ): (Vec<_>, Vec<_>) = all.into_iter().partition(|entity| known.contains(entity));
                found.gone.extend(gone);
                found.differ.extend(differ);
                continue;
            }
            found.folders.insert(place.clone(), state);
            let mut missing: BTreeSet<Uid> = part.wanted.keys().copied().collect();
            let uids: Vec<Uid> = missing.iter().copied().collect();
            let compared = self.compare(session, saga, &uids, &part.wanted, flags, &mut |told, differs| {
                missing.remove(&told.uid);
                if differs { found.differ.push(told.entity) } else { found.there.push(told.entity) }
            })?;
            if let Err(failure) = compared {
                return Ok(Err(failure));
            }
            found.gone.extend(missing.iter().filter_map(|uid| part.wanted.get(uid)));
        }
        Ok(match found.refusal {
            Some(failure) if !has_opened => Err(failure),
            _ => Ok(found),
        })
    }

    /// Asks the server for messages of the open folder, and tells of each that is there, once, whether it differs from
    /// its record.
    fn compare(
        &self,
        session: &mut dyn MailSession,
        saga: &Saga,
        uids: &[Uid],
        wanted: &BTreeMap<Uid, EntityId>,
        flags: Flags,
        each: &mut dyn FnMut(&Told, bool),
    ) -> Result<Result<(), MailFailure>, StageError> {
        let mut missing: BTreeSet<Uid> = uids.iter().copied().collect();
        let mut layouts: HashMap<LayoutId, ExportLayout> = HashMap::new();
        let mut told: Vec<Told> = Vec::new();
        let mut failed = None;
        let mut judge = |told: &mut Vec<Told>| {
            let judged = self.each_record(
                told.as_slice(),
                |told| told.version,
                |told, record| {
                    each(told, self.differs(record, told.now.clone(), flags, &mut layouts));
                    Ok(())
                },
            );
            told.clear();
            judged
        };
        let ended = session.messages(Which::Uids(uids), Depth::State, &mut |now| {
            let Some(&entity) = wanted.get(&now.uid) else { return ControlFlow::Continue(()) };
            if !missing.remove(&now.uid) {
                return ControlFlow::Continue(());
            }
            // What is not among the items has no version, and so no record to be like.
            let version = item_of(saga, entity).map_or(Position::NONE, |item| item.version);
            told.push(Told { uid: now.uid, entity, version, now: now.standing });
            if told.len() >= TOLD_TOGETHER
                && let Err(error) = judge(&mut told)
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        match failed {
            Some(error) => return Err(error),
            None => judge(&mut told)?,
        }
        Ok(ended)
    }

    fn differs(
        &self,
        record: Option<EntityRecord>,
        mut now: message::MessageStanding,
        flags: Flags,
        layouts: &mut HashMap<LayoutId, ExportLayout>,
    ) -> bool {
        let Some(record) = record else { return true };
        let Some(layout) = self.layout_of(layouts, &record) else { return true };
        let is_same = |now: &message::MessageStanding| message::difference(&record, layout.layout(), now).is_none();
        let is_as_recorded = is_same(&now);
        let is_ours = flags == Flags::OrDeletedByUs && now.flags.remove(DELETED) && is_same(&now);
        !(is_as_recorded || is_ours)
    }

    fn layout_of<'a>(
        &self,
        layouts: &'a mut HashMap<LayoutId, ExportLayout>,
        record: &EntityRecord,
    ) -> Option<&'a ExportLayout> {
        if let std::collections::hash_map::Entry::Vacant(e) = layouts.entry(record.layout) {
            let layout = self.store.view(|views| views.small.layouts.get(record.layout).cloned())?;
            e.insert(ExportLayout::of(layout));
        }
        layouts.get(&record.layout)
    }

    /// Returns the record of an item as it was planned.
    fn planned(&self, saga: &Saga, entity: EntityId) -> Result<Option<EntityRecord>, StageError> {
        match item_of(saga, entity) {
            Some(item) => Ok(self.store.record_at(item.version)?),
            None => Ok(None),
        }
    }

    /// Returns which of these messages a scan had found gone already.
    fn known_absent(&self, entities: &[EntityId]) -> BTreeSet<EntityId> {
        self.store.view(|views| {
            let is_absent = |entity: &EntityId| views.entities.row(*entity).is_some_and(|row| row.absent);
            entities.iter().copied().filter(is_absent).collect()
        })
    }

    /// Returns how many of these messages no look had found gone: what was gone before, nobody removed.
    fn were_there(&self, entities: &[EntityId]) -> u64 {
        (entities.len() - self.known_absent(entities).len()) as u64
    }

    /// Returns the messages of a folder that is not there that no scan had found gone: a folder that somebody renamed takes
    /// its messages along, so nobody can tell any more what became of them.
    fn out_of_sight(&self, folder_gone: &[EntityId]) -> Vec<EntityId> {
        let known = self.known_absent(folder_gone);
        folder_gone.iter().filter(|entity| !known.contains(entity)).copied().collect()
    }

    /// Returns what must be left alone because of what the server says. What a scan had found gone, and is gone, goes
    /// on: only its record is left, and that is exported and erased like any other.
    fn left_alone(&self, found: &Found) -> Vec<(EntityId, SkipReason)> {
        let changed = found.differ.iter().map(|entity| (*entity, SkipReason::Changed));
        let back = self.known_absent(&found.there).into_iter().map(|entity| (entity, SkipReason::Changed));
        let known = self.known_absent(&found.gone);
        let lost = found.gone.iter().filter(|entity| !known.contains(entity)).map(|entity| (*entity, SkipReason::Gone));
        changed.chain(back).chain(lost).collect()
    }

    fn mailbox_of_saga(saga: &Saga) -> Result<EntityId, Refusal> {
        saga.started.mailbox.ok_or(Refusal { code: "no_mailbox", retry: Retry::Never })
    }

    /// The pivot of messages. The server is asked once more before the intent; then the intent is appended on the same
    /// condition as any purge. An attempt after the first looks only at what is still there.
    pub(super) fn start_expunge(&self, id: SagaId, saga: &Saga, attempt: u32) -> Result<Step, StageError> {
        let open: Vec<_> = saga.open_items().copied().collect();
        let is_first = saga.pivot.is_empty();
        let mut grounds = Condition::None;
        if is_first {
            grounds = self.grounds(&open);
            let drifted = self.drifted(id, &open)?;
            if !drifted.is_empty() {
                self.skip(id, drifted)?;
                return Ok(Step::Worked);
            }
        }
        let parts = match self.parts(open.iter().map(|item| (item.entity, item.version)))? {
            Ok(parts) => parts,
            Err(refusal) => return self.cannot_ask(id, saga, attempt, refusal.code),
        };
        let mailbox = match Self::mailbox_of_saga(saga) {
            Ok(mailbox) => mailbox,
            Err(refusal) => return self.cannot_ask(id, saga, attempt, refusal.code),
        };
        let mut session = match self.mailroom.open(mailbox) {
            Ok(session) => session,
            Err(failure) => return self.cannot_ask(id, saga, attempt, failure.code()),
        };
        let flags = if is_first { Flags::AsRecorded } else { Flags::OrDeletedByUs };
        let asked = if is_first {
            self.find_where_it_opens(session.as_mut(), saga, &parts, flags)?
        } else {
            self.find(session.as_mut(), saga, &parts, flags)?
        };
        let found = match asked {
            Ok(found) => found,
            Err(failure) => return self.cannot_ask(id, saga, attempt, failure.code()),
        };
        let there: BTreeSet<EntityId> = found.there.iter().copied().collect();
        let still: Vec<_> = open.iter().filter(|item| there.contains(&item.entity)).copied().collect();
        let left: Vec<(EntityId, SkipReason)> = if is_first {
            // What cannot be looked at any more, nobody can tell whether it changed.
            let closed = found.closed.iter().map(|entity| (*entity, SkipReason::Changed));
            self.left_alone(&found).into_iter().chain(closed).collect()
        } else {
            grounds = self.grounds(&still);
            // What a look had found gone was not exported with its text: once it is back, it stays.
            let back = self.known_absent(&found.there);
            let changed = found.differ.iter().copied().chain(self.out_of_sight(&found.folder_gone)).chain(back);
            changed.map(|entity| (entity, SkipReason::Changed)).chain(self.drifted(id, &still)?).collect()
        };
        if !left.is_empty() {
            if !is_first && let Err(failure) = self.unflag(session.as_mut(), saga, &parts, &found, &left)? {
                return self.cannot_ask(id, saga, attempt, failure.code());
            }
            self.skip(id, left)?;
            return Ok(Step::Worked);
        }
        let named: Vec<EntityId> = open.iter().map(|item| item.entity).collect();
        let judged = if is_first { &open } else { &still };
        self.doubts_clock()?;
        // Asking the server took its time.
        let access = match self.may_begin(id, saga, saga::Next::Start { step: ScriptStep::Expunge, attempt })? {
            MayBegin::On(condition) => condition,
            MayBegin::NotNow(step) => return Ok(step),
        };
        let items = judged.iter().map(|item| (item.entity, item.version)).collect();
        let intent = self.intent(id, ScriptStep::Expunge, attempt, named);
        let may_purge = Condition::MayPurge { saga: id, items };
        match self.append(id.0, vec![intent], may_purge.and(grounds).and(access)) {
            Ok(_) => {
                let outcome = self.expunge(session.as_mut(), id, saga, &parts, &found)?;
                self.record(id, ScriptStep::Expunge, attempt, outcome)?;
            }
            Err(StageError::Append(AppendError::Conflict(Conflict::Entities(conflicts)))) => {
                let left: Vec<_> =
                    conflicts.into_iter().filter(|(entity, _)| !saga.skipped.contains_key(entity)).collect();
                if !is_first && let Err(failure) = self.unflag(session.as_mut(), saga, &parts, &found, &left)? {
                    return self.cannot_ask(id, saga, attempt, failure.code());
                }
                self.skip(id, left)?;
            }
            Err(StageError::Append(AppendError::Conflict(_))) => {}
            Err(error) => return Err(error),
        }
        Ok(Step::Worked)
    }

    /// What keeps the server from being asked is not recorded before the pivot: nothing was begun. Past it, it counts as an
    /// attempt, so that it is tried ever more seldom and people are told.
    fn cannot_ask(&self, id: SagaId, saga: &Saga, attempt: u32, code: &'static str) -> Result<Step, StageError> {
        if saga.pivot.is_empty() {
            return Ok(self.ask_later(id, code));
        }
        let refusal = Refusal { code, retry: Retry::Operator };
        self.record(id, ScriptStep::Expunge, attempt, Outcome::Refused(refusal))?;
        Ok(Step::Worked)
    }

    fn ask_later(&self, id: SagaId, code: &'static str) -> Step {
        tracing::warn!(saga = %id, code, "the mail server could not be asked before messages are expunged; nothing was changed, and it is asked again");
        Step::IdleUntil(self.clock.now().after(ASK_AGAIN_AFTER))
    }

    /// Takes back the flag that an earlier attempt set on messages that are now left alone.
    fn unflag(
        &self,
        session: &mut dyn MailSession,
        saga: &Saga,
        parts: &Parts,
        found: &Found,
        left: &[(EntityId, SkipReason)],
    ) -> Result<Result<(), MailFailure>, StageError> {
        let left: BTreeSet<EntityId> = left.iter().map(|(entity, _)| *entity).collect();
        for place in found.folders.keys() {
            let Some(part) = parts.get(place) else { continue };
            let mut uids = Vec::new();
            for (uid, entity) in part.wanted.iter().filter(|(_, entity)| left.contains(entity)) {
                if !self.was_flagged_deleted(saga, *entity)? {
                    uids.push(*uid);
                }
            }
            if uids.is_empty() {
                continue;
            }
            let undone = match session.work_on(&place.0) {
                Ok(Some(state)) if state.uid_validity == place.1 => session.unflag_deleted(&uids),
                Ok(_) => Ok(()),
                Err(failure) => Err(failure),
            };
            if undone.is_err() {
                return Ok(undone);
            }
        }
        Ok(Ok(()))
    }

    fn was_flagged_deleted(&self, saga: &Saga, entity: EntityId) -> Result<bool, StageError> {
        let Some(record) = self.planned(saga, entity)? else { return Ok(false) };
        let mut layouts = HashMap::new();
        let Some(layout) = self.layout_of(&mut layouts, &record) else { return Ok(false) };
        let flags = layout.layout().column_of("flags").and_then(|column| record.cells.get(column));
        Ok(flags.is_some_and(|flags| flags.split('|').any(|flag| flag == DELETED)))
    }

    /// Removes exactly the messages that are there as recorded, folder by folder. From the first command on, whatever
    /// goes wrong leaves the outcome unknown, and only a look with a new login tells.
    fn expunge(
        &self,
        session: &mut dyn MailSession,
        id: SagaId,
        saga: &Saga,
        parts: &Parts,
        found: &Found,
    ) -> Result<Outcome<Receipt>, StageError> {
        let there: BTreeSet<EntityId> = found.there.iter().copied().collect();
        let mut spared = Vec::new();
        for (place, looked_at) in &found.folders {
            let Some(part) = parts.get(place) else { continue };
            let wanted: BTreeMap<Uid, EntityId> =
                part.wanted.iter().filter(|(_, entity)| there.contains(entity)).map(|(u, e)| (*u, *e)).collect();
            if wanted.is_empty() {
                continue;
            }
            match self.expunge_folder(session, saga, place, *looked_at, &wanted)? {
                Ok(left) => spared.extend(left),
                Err(failure) => return Ok(Outcome::Unknown(Cause { code: failure.code() })),
            }
        }
        // Those that were there a moment ago are the ones: a look that is under way may have found some of them gone since.
        // What earlier attempts removed is not among them.
        let items = if saga.pivot.is_empty() {
            there.len() as u64
        } else {
            let open: Vec<EntityId> = saga.open_items().map(|item| item.entity).collect();
            self.were_there(&open)
        };
        let items = items.saturating_sub(spared.len() as u64);
        if !spared.is_empty() {
            self.skip(id, spared.into_iter().map(|entity| (entity, SkipReason::Changed)).collect())?;
        }
        Ok(Outcome::Applied(Receipt::Expunged { items }))
    }

    /// Returns the messages that changed in the very moment and were spared.
    fn expunge_folder(
        &self,
        session: &mut dyn MailSession,
        saga: &Saga,
        place: &(String, u32),
        looked_at: FolderState,
        wanted: &BTreeMap<Uid, EntityId>,
    ) -> Result<Result<Vec<EntityId>, MailFailure>, StageError> {
        let renumbered = MailFailure::Lost(Cause { code: "uidvalidity_changed" });
        match session.work_on(&place.0) {
            Ok(Some(state)) if state.uid_validity == place.1 => {}
            Ok(_) => return Ok(Err(renumbered)),
            Err(failure) => return Ok(Err(failure)),
        }
        let (mut spared, mut expunged) = (Vec::new(), Vec::new());
        let all: Vec<Uid> = wanted.keys().copied().collect();
        // Few at a time: what somebody does to a message between its flag and its end goes unnoticed.
        for uids in all.chunks(UIDS_TOGETHER) {
            let changed = match session.flag_deleted(uids, looked_at.highest_modseq) {
                Ok(changed) => changed,
                Err(failure) => return Ok(Err(failure)),
            };
            let mut doomed: BTreeMap<Uid, EntityId> =
                uids.iter().filter(|uid| !changed.contains(uid)).filter_map(|u| Some((*u, *wanted.get(u)?))).collect();
            spared.extend(changed.iter().filter_map(|uid| wanted.get(uid)));
            if looked_at.highest_modseq.is_none() {
                // Nobody counts changes here, so what changed between the look and the flag is looked for.
                let late = match self.changed_under_us(session, saga, &doomed)? {
                    Ok(late) => late,
                    Err(failure) => return Ok(Err(failure)),
                };
                if !late.is_empty() {
                    if let Err(failure) = session.unflag_deleted(&late) {
                        return Ok(Err(failure));
                    }
                    spared.extend(late.iter().filter_map(|uid| doomed.remove(uid)));
                }
            }
            let doomed: Vec<Uid> = doomed.into_keys().collect();
            if doomed.is_empty() {
                continue;
            }
            if let Err(failure) = session.expunge(&doomed) {
                return Ok(Err(failure));
            }
            expunged.extend(doomed);
        }
        // A server may say OK and keep what it was not allowed to remove.
        let mut kept = false;
        let told = match expunged.is_empty() {
            true => Ok(()),
            false => session.messages(Which::Uids(&expunged), Depth::State, &mut |now| {
                kept |= expunged.binary_search(&now.uid).is_ok();
                ControlFlow::Continue(())
            }),
        };
        Ok(match told {
            Ok(()) if kept => Err(MailFailure::Lost(Cause { code: "not_all_expunged" })),
            Ok(()) => Ok(spared),
            Err(failure) => Err(failure),
        })
    }

    fn changed_under_us(
        &self,
        session: &mut dyn MailSession,
        saga: &Saga,
        doomed: &BTreeMap<Uid, EntityId>,
    ) -> Result<Result<Vec<Uid>, MailFailure>, StageError> {
        let uids: Vec<Uid> = doomed.keys().copied().collect();
        let mut late = Vec::new();
        let compared = self.compare(session, saga, &uids, doomed, Flags::OrDeletedByUs, &mut |told, differs| {
            late.extend(differs.then_some(told.uid));
        })?;
        Ok(compared.map(|()| late))
    }
}

fn item_of(saga: &Saga, entity: EntityId) -> Option<&SagaItem> {
    let items = &saga.started.items;
    items.binary_search_by_key(&entity, |item| item.entity).ok().and_then(|index| items.get(index))
}

/// Takes texts off a session; what stops it is kept.
struct Texts<'a> {
    take: &'a mut dyn FnMut(TextEvent<'_>) -> ControlFlow<()>,
}

/// What happens while a text is taken.
enum TextEvent<'a> {
    Begin(Uid, u64),
    Part(&'a [u8]),
    End,
}

impl TextSink for Texts<'_> {
    fn begin(&mut self, uid: Uid, bytes: u64) -> ControlFlow<()> {
        (self.take)(TextEvent::Begin(uid, bytes))
    }

    fn part(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        (self.take)(TextEvent::Part(bytes))
    }

    fn end(&mut self) -> ControlFlow<()> {
        (self.take)(TextEvent::End)
    }
}
