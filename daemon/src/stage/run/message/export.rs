//! Export of messages: their records and their texts, streamed from the server into the bundle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use retention_core::event::Event;
use retention_core::event::saga::{Failure, ItemsSkipped, Receipt, SkipReason, Step, StepFailed};
use retention_core::evidence::{ExpectedItem, ExportItem, ExportLayout};
use retention_core::id::{EntityId, LayoutId, SagaId};
use retention_core::view::{Condition, Saga};

use super::super::super::StageError;
use super::super::Run;
use super::{CHANGED_MEANWHILE, Flags, NO_UIDPLUS, Parts, TextEvent, Texts, UIDS_TOGETHER, item_of};
use crate::connector::archive::{ArchiveError, Encryption, ItemSink};
use crate::connector::mail::{MailFailure, MailSession, Uid};
use crate::connector::outcome::Outcome;

/// Why a bundle could not be filled.
enum Stopped {
    Store(StageError),
    Server(MailFailure),
    /// A message that was there a moment before was not handed out, or not as it was announced.
    Differs,
    /// Messages that are there, and whose texts cannot be had as they are.
    Withheld(Vec<EntityId>),
}

impl Run {
    /// Writes a bundle with all messages of the saga, after asking the server how each of them stands. `None` when how that
    /// ended is recorded already.
    pub(in super::super) fn export_messages(
        &self,
        id: SagaId,
        saga: &Saga,
        attempt: u32,
    ) -> Result<Option<Outcome<Receipt>>, StageError> {
        let spec = match self.bundle_spec(id, saga)? {
            Ok(spec) => spec,
            Err(refusal) => return Ok(Some(Outcome::Refused(refusal))),
        };
        let key = spec.encryption.as_ref().map(Encryption::own_key);
        let parts = match self.parts(saga.open_items().map(|item| (item.entity, item.version)))? {
            Ok(parts) => parts,
            Err(refusal) => return Ok(Some(Outcome::Refused(refusal))),
        };
        let mut session = match self.new_login(saga) {
            Ok(session) => session,
            Err(refusal) => return Ok(Some(Outcome::Refused(refusal))),
        };
        if !session.can_expunge_exactly() {
            tracing::error!(
                saga = %id,
                "the mail server cannot remove named messages alone (UIDPLUS, RFC 4315), or keeps what is expunged, so nothing is \
                 exported or purged there; `retentionctl mailbox check` says which: let its administrator change that, or take the \
                 mailbox out of the policy's scope"
            );
            return Ok(Some(Outcome::Refused(NO_UIDPLUS)));
        }
        let found = match self.find_where_it_opens(session.as_mut(), saga, &parts, Flags::AsRecorded)? {
            Ok(found) => found,
            Err(failure) => return Ok(Some(Outcome::Refused(failure.of_question()))),
        };
        let left = self.left_alone(&found);
        if !left.is_empty() {
            self.skip(id, left)?;
            return Ok(Some(Outcome::Refused(CHANGED_MEANWHILE)));
        }
        if !found.closed.is_empty() {
            self.leave_withheld(id, attempt, found.closed)?;
            return Ok(None);
        }
        let vanished: BTreeSet<EntityId> = found.gone.iter().copied().collect();
        let mut expected = Vec::with_capacity(saga.started.items.len());
        let mut stopped = None;
        let mut fill = |sink: &mut dyn ItemSink| {
            expected.clear();
            let filled = self.fill_messages(saga, &parts, &vanished, session.as_mut(), sink, &mut expected);
            filled.unwrap_or_else(|reason| {
                stopped = Some(reason);
                Err(ArchiveError::Items { code: "messages" })
            })
        };
        let written = self.archive.write(spec, &mut fill);
        match stopped {
            Some(Stopped::Store(error)) => return Err(error),
            Some(Stopped::Server(failure)) => return Ok(Some(Outcome::Refused(failure.of_question()))),
            Some(Stopped::Differs) => return Ok(Some(Outcome::Refused(CHANGED_MEANWHILE))),
            Some(Stopped::Withheld(entities)) => {
                self.leave_withheld(id, attempt, entities)?;
                return Ok(None);
            }
            None => {}
        }
        Ok(Some(self.exported(id, written, expected, key)))
    }

    /// Leaves messages alone whose texts cannot be had as they are, and records that the attempt failed because of them.
    fn leave_withheld(&self, id: SagaId, attempt: u32, entities: Vec<EntityId>) -> Result<(), StageError> {
        tracing::warn!(
            saga = %id,
            items = entities.len(),
            first = ?entities.first(),
            "the mail server does not hand out the texts of messages, or in another size than it tells, or does not open their \
             folder; they are not exported, so they are left alone"
        );
        let items = entities.into_iter().map(|entity| (entity, SkipReason::Changed)).collect();
        let failed = StepFailed {
            saga: id,
            step: Step::Export,
            attempt,
            failure: Failure::Refused,
            code: StepFailed::TEXT_WITHHELD.to_owned(),
            retry_at: Some(self.clock.now()),
        };
        // Together: that they are left alone ends no run, since they have not changed, and this says so.
        let events = vec![Event::ItemsSkipped(ItemsSkipped { saga: id, items }), Event::StepFailed(failed)];
        self.append(id.0, events, Condition::None).map(drop)
    }

    /// The outer error is of the server or the store, the inner one of the bundle.
    fn fill_messages(
        &self,
        saga: &Saga,
        parts: &Parts,
        vanished: &BTreeSet<EntityId>,
        session: &mut dyn MailSession,
        sink: &mut dyn ItemSink,
        expected: &mut Vec<ExpectedItem>,
    ) -> Result<Result<(), ArchiveError>, Stopped> {
        let mut layouts: HashMap<LayoutId, ExportLayout> = HashMap::new();
        for entity in vanished {
            let added = self.with_item(saga, *entity, &mut layouts, &mut |item| {
                let line = item.line();
                expected.push(line.expected());
                sink.add(item, &line)
            })?;
            if added.is_err() {
                return Ok(added);
            }
        }
        let has_exact_sizes = session.tells_exact_sizes();
        let mut withheld: Vec<EntityId> = Vec::new();
        for (place, part) in parts {
            let wanted: BTreeMap<Uid, EntityId> =
                part.wanted.iter().filter(|(_, entity)| !vanished.contains(entity)).map(|(u, e)| (*u, *e)).collect();
            if wanted.is_empty() {
                continue;
            }
            match session.look_into(&place.0).map_err(Stopped::Server)? {
                Some(state) if state.uid_validity == place.1 => {}
                Some(_) | None => return Err(Stopped::Differs),
            }
            let uids: Vec<Uid> = wanted.keys().copied().collect();
            for uids in uids.chunks(UIDS_TOGETHER) {
                let mut missing: BTreeSet<Uid> = uids.iter().copied().collect();
                let mut ended: Result<Result<(), ArchiveError>, Stopped> = Ok(Ok(()));
                let mut is_open = false;
                let mut other_size: Vec<EntityId> = Vec::new();
                let mut take = |event: TextEvent<'_>| {
                    let done = match event {
                        TextEvent::Begin(uid, bytes) => match wanted.get(&uid) {
                            Some(entity) if missing.remove(&uid) => {
                                self.with_item(saga, *entity, &mut layouts, &mut |item| {
                                    // The record has the size that the server has just told: a text of another one is cut,
                                    // or is not the one of the message.
                                    let size =
                                        item.layout.layout().column_of("size").and_then(|c| item.record.cells.get(c));
                                    if has_exact_sizes && size != Some(bytes.to_string().as_str()) {
                                        other_size.push(*entity);
                                        return Ok(());
                                    }
                                    is_open = true;
                                    let line = item.line();
                                    expected.push(line.expected());
                                    sink.begin_text(item, &line, bytes)
                                })
                            }
                            // Nobody asked for it, or it comes a second time: it is not taken.
                            _ => Ok(Ok(())),
                        },
                        TextEvent::Part(bytes) if is_open => Ok(sink.text(bytes)),
                        TextEvent::End if is_open => {
                            is_open = false;
                            Ok(sink.end_text())
                        }
                        TextEvent::Part(_) | TextEvent::End => Ok(Ok(())),
                    };
                    match done {
                        Ok(Ok(())) => ControlFlow::Continue(()),
                        failed => {
                            ended = failed;
                            ControlFlow::Break(())
                        }
                    }
                };
                let told = session.texts(uids, &mut Texts { take: &mut take });
                if !matches!(ended, Ok(Ok(()))) {
                    return ended;
                }
                for uid in told.map_err(Stopped::Server)? {
                    missing.remove(&uid);
                    withheld.extend(wanted.get(&uid));
                }
                withheld.append(&mut other_size);
                if is_open || !missing.is_empty() {
                    return Err(Stopped::Differs);
                }
            }
        }
        if withheld.is_empty() { Ok(Ok(())) } else { Err(Stopped::Withheld(withheld)) }
    }

    fn with_item(
        &self,
        saga: &Saga,
        entity: EntityId,
        layouts: &mut HashMap<LayoutId, ExportLayout>,
        take: &mut dyn FnMut(&ExportItem<'_>) -> Result<(), ArchiveError>,
    ) -> Result<Result<(), ArchiveError>, Stopped> {
        let Some(item) = item_of(saga, entity) else { return Ok(Err(ArchiveError::Items { code: "item_gone" })) };
        let record = self.store.record_at(item.version).map_err(|error| Stopped::Store(error.into()))?;
        let Some(record) = record else { return Ok(Err(ArchiveError::Items { code: "item_gone" })) };
        let Some(layout) = self.layout_of(layouts, &record) else {
            return Ok(Err(ArchiveError::Items { code: "layout_missing" }));
        };
        Ok(take(&ExportItem { entity, version: item.version, layout, record: &record }))
    }
}
