//! Which events are about a mailbox: its own, those of what lives in it, and those of the work that was done there.
//!
//! No set is kept for each mailbox: where something lived is sealed with its key, so a set would know more of what was
//! erased than the log does, and would not be the same once it is made again. The sets of the types that can be about a
//! mailbox narrow the search instead, and each event that is left is asked: by its row, and only where a row cannot
//! tell, by its body. So a mailbox of a million items costs no memory.
//!
//! What was purged is known to have lived in a mailbox by the saga that destroyed its key.

use retention_core::event::hold::PauseScope;
use retention_core::event::{Event, EventType};
use retention_core::id::{EntityId, GrantId, HoldId, MigrationId, PlanId, Position, RestrictionId, RunId, SagaId};
use retention_core::record::Kind;
use retention_core::view::{EntityState, Views};
use roaring::RoaringBitmap;

use super::super::state::handle_of;
use super::super::{Inner, ReadError, Store};
use super::{GRANT_TYPES, Spent, of_types};

/// How many events of a stream are looked at, from its end, for the one that tells that its key was destroyed: it is
/// the last or nearly so.
const STREAM_END_MAX: usize = 16;

/// The events of a stream: their envelopes name a mailbox, or what lives in one.
const OF_STREAMS: [EventType; 16] = [
    EventType::EntityChanged,
    EventType::EntityAbsent,
    EventType::EntityLinked,
    EventType::EntitySucceeded,
    EventType::EntityRestored,
    EventType::KeyDestroyed,
    EventType::KeyDestroyedAgain,
    EventType::MailboxRegistered,
    EventType::MailboxRemoved,
    EventType::MailboxScanRequested,
    EventType::MailboxScanned,
    EventType::PermissionObserved,
    EventType::PermissionScanRequested,
    EventType::PermissionsScanned,
    EventType::GrantFoldersRead,
    EventType::MigrationFolderOpened,
];

/// The other events that can be about a mailbox, beside those of grants.
const OF_OTHERS: [EventType; 31] = [
    EventType::CredentialStored,
    EventType::CredentialDestroyed,
    EventType::HoldPlaced,
    EventType::HoldReleased,
    EventType::HoldsJudged,
    EventType::DisposalPaused,
    EventType::DisposalResumed,
    EventType::RestrictionPlaced,
    EventType::EntitiesRestricted,
    EventType::RestrictionLifted,
    EventType::ReviewDecided,
    EventType::PlanRequested,
    EventType::ErasurePlanRequested,
    EventType::RunRequested,
    EventType::SagaStarted,
    EventType::StepStarted,
    EventType::StepSucceeded,
    EventType::StepFailed,
    EventType::ItemsSkipped,
    EventType::SagaEnded,
    EventType::BundleDestructionStarted,
    EventType::BundleDestroyed,
    EventType::BundleHandedOver,
    EventType::RedactionBegan,
    EventType::MigrationRequested,
    EventType::MigrationCopyStarted,
    EventType::MigrationCopied,
    EventType::MigrationFolderVerified,
    EventType::MigrationFailed,
    EventType::MigrationStopRequested,
    EventType::MigrationEnded,
];

/// What an event that names no mailbox in its envelope is part of.
pub(super) enum Part {
    Saga(SagaId),
    Grant(GrantId),
    Migration(MigrationId),
    Hold(HoldId),
    Scope(PauseScope),
    /// The end of a restriction, for these alone if there are any.
    Lifted(RestrictionId, Vec<EntityId>),
    /// What it names is to be looked at one by one.
    Entities(Vec<EntityId>),
    Nothing,
}

impl Part {
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::StepStarted(body) => Self::Saga(body.saga),
            Event::StepSucceeded(body) => Self::Saga(body.saga),
            Event::StepFailed(body) => Self::Saga(body.saga),
            Event::ItemsSkipped(body) => Self::Saga(body.saga),
            Event::EntitiesRestricted(body) => Self::Saga(body.saga),
            Event::SagaEnded(body) => Self::Saga(body.saga),
            Event::KeyDestroyed(body) => Self::Saga(body.saga),
            Event::BundleDestructionStarted(body) => Self::Saga(body.saga),
            Event::BundleDestroyed(body) => Self::Saga(body.saga),
            Event::BundleHandedOver(body) => Self::Saga(body.saga),
            Event::RedactionBegan(body) => Self::Saga(body.saga),
            Event::GrantApproved(body) => Self::Grant(body.grant),
            Event::GrantRejected(body) => Self::Grant(body.grant),
            Event::GrantRenewed(body) => Self::Grant(body.grant),
            Event::GrantRevokeRequested(body) => Self::Grant(body.grant),
            Event::GrantStepStarted(body) => Self::Grant(body.grant),
            Event::GrantStepSucceeded(body) => Self::Grant(body.grant),
            Event::GrantStepFailed(body) => Self::Grant(body.grant),
            Event::GrantEnded(body) => Self::Grant(body.grant),
            Event::MigrationFolderOpened(body) => Self::Migration(body.migration),
            Event::MigrationCopyStarted(body) => Self::Migration(body.migration),
            Event::MigrationCopied(body) => Self::Migration(body.migration),
            Event::MigrationFolderVerified(body) => Self::Migration(body.migration),
            Event::MigrationFailed(body) => Self::Migration(body.migration),
            Event::MigrationStopRequested(body) => Self::Migration(body.migration),
            Event::MigrationEnded(body) => Self::Migration(body.migration),
            Event::HoldReleased(body) => Self::Hold(body.hold),
            Event::DisposalPaused(body) => Self::Scope(body.scope.clone()),
            Event::DisposalResumed(body) => Self::Scope(body.scope.clone()),
            Event::HoldPlaced(body) => Self::Entities(body.entities.clone()),
            Event::HoldsJudged(body) => {
                let caught = body.holds.iter().flat_map(|one| one.caught.iter().chain(&one.unreadable));
                Self::Entities(caught.copied().collect())
            }
            Event::RestrictionPlaced(body) => Self::Entities(body.entities.clone()),
            Event::RestrictionLifted(body) => Self::Lifted(body.restriction, body.entities.clone()),
            Event::ReviewDecided(body) => Self::Entities(body.items.iter().map(|item| item.entity).collect()),
            _ => Self::Nothing,
        }
    }
}

/// The mailboxes that a question is about.
#[derive(Debug, Default)]
pub(super) struct Sought {
    mailboxes: Vec<EntityId>,
    /// The sagas that purge a mailbox itself, or did: such a saga works in none.
    sagas: Vec<SagaId>,
}

impl Sought {
    pub(super) fn is_empty(&self) -> bool {
        self.mailboxes.is_empty()
    }

    fn has(&self, mailbox: EntityId) -> bool {
        self.mailboxes.contains(&mailbox)
    }
}

/// What is known of a mailbox without opening anything.
struct Known<'a> {
    sought: &'a Sought,
    views: &'a Views,
}

impl Known<'_> {
    fn is_it(&self, mailbox: EntityId) -> bool {
        self.sought.has(mailbox)
    }

    fn has_saga(&self, id: SagaId) -> bool {
        if self.sought.sagas.contains(&id) {
            return true;
        }
        let saga = self.views.small.runs.saga(id);
        saga.and_then(|saga| saga.started.mailbox).is_some_and(|mailbox| self.is_it(mailbox))
    }

    fn has_run(&self, id: RunId) -> bool {
        self.views.small.runs.run(id).is_some_and(|run| run.sagas.iter().any(|saga| self.has_saga(*saga)))
    }

    fn has_plan(&self, id: PlanId) -> bool {
        self.views.small.runs.iter().any(|(run, of)| of.plan == id && self.has_run(run))
    }

    fn has_grant(&self, id: GrantId) -> bool {
        self.views.small.grants.get(id).is_some_and(|grant| self.is_it(grant.mailbox))
    }

    fn has_migration(&self, id: MigrationId) -> bool {
        let migration = self.views.small.migrations.get(id);
        migration.is_some_and(|one| self.is_it(one.source) || self.is_it(one.target))
    }

    /// Says whether a hold names the mailbox, as one of which it covers everything or as a record.
    fn has_hold(&self, id: HoldId) -> bool {
        let hold = self.views.small.holds.get_placed(id);
        hold.is_some_and(|hold| hold.mailboxes.iter().chain(&hold.entities).any(|named| self.is_it(*named)))
    }

    /// Says whether an event that something is named by is about the mailbox; `None` when it names nothing.
    fn has_begun_at(&self, at: Position, event_type: EventType) -> Option<bool> {
        match event_type {
            EventType::SagaStarted => Some(self.has_saga(SagaId(at))),
            EventType::RunRequested => Some(self.has_run(RunId(at))),
            EventType::PlanRequested | EventType::ErasurePlanRequested => Some(self.has_plan(PlanId(at))),
            EventType::GrantRequested => Some(self.has_grant(GrantId(at))),
            EventType::MigrationRequested => Some(self.has_migration(MigrationId(at))),
            EventType::HoldPlaced if self.has_hold(HoldId(at)) => Some(true),
            _ => None,
        }
    }
}

/// Returns the positions of all events that can be about a mailbox.
pub(super) fn candidates(views: &Views) -> RoaringBitmap {
    of_types(views, OF_STREAMS.iter().chain(&OF_OTHERS).chain(&GRANT_TYPES))
}

impl Store {
    /// Returns the mailboxes of an address, in whatever source: those whose record is there. In small letters it is
    /// looked for, too.
    #[must_use]
    pub fn mailboxes_at(&self, address: &str) -> Vec<EntityId> {
        let address = address.trim();
        let small = address.to_lowercase();
        let key = &self.inner.index_key;
        self.view(|views| {
            let sources = views.small.layouts.iter().filter(|(_, layout)| layout.kind == Kind::Mailbox);
            let handles = sources.flat_map(|(_, layout)| {
                [address, &small].map(|address| handle_of(key, &layout.source, None, Kind::Mailbox, address))
            });
            let mut found: Vec<EntityId> = handles.filter_map(|handle| views.entities.find(handle)).collect();
            found.sort_unstable();
            found.dedup();
            found
        })
    }
}

impl Inner {
    /// Finds out what there is to know of the mailboxes that a question is about.
    pub(super) fn sought(&self, mailboxes: &[EntityId]) -> Result<Sought, ReadError> {
        let mut sought = Sought { mailboxes: mailboxes.to_vec(), sagas: Vec::new() };
        for mailbox in mailboxes {
            let (row, open) = {
                let views = &self.state.read().views;
                let open = views.small.runs.saga_of_entity(*mailbox).map(|(id, _)| id);
                (views.entities.row(*mailbox), open)
            };
            sought.sagas.extend(open);
            if let Some(row) = row.filter(|row| row.state == EntityState::Purged) {
                sought.sagas.extend(self.destroyed_by(row.last_event, &mut Spent::default())?);
            }
        }
        Ok(sought)
    }

    /// Says whether one of the candidates is about one of these mailboxes.
    pub(super) fn is_about_mailbox(
        &self,
        position: Position,
        sought: &Sought,
        spent: &mut Spent,
    ) -> Result<bool, ReadError> {
        spent.rows += 1;
        let Some(row) = self.row(position)? else { return Ok(false) };
        let Some(event_type) = EventType::from_number(row.event_type) else { return Ok(false) };
        match event_type {
            EventType::CredentialStored => return self.registers(position.next(), sought, spent),
            EventType::CredentialDestroyed => return self.registers(row.cause, sought, spent),
            // Its envelope names the source, and the migration the target as well.
            EventType::MigrationFolderOpened if row.entity.is_none_or(|source| !sought.has(source)) => {}
            _ => {
                if let Some(entity) = row.entity.filter(|_| OF_STREAMS.contains(&event_type)) {
                    return self.lives_in(entity, sought, spent);
                }
            }
        }
        let begun = {
            let views = &self.state.read().views;
            Known { sought, views }.has_begun_at(position, event_type)
        };
        if let Some(is_about) = begun {
            return Ok(is_about);
        }
        let part = self.part(position, spent)?;
        let named = {
            let views = &self.state.read().views;
            let known = Known { sought, views };
            match part {
                Part::Saga(id) => return Ok(known.has_saga(id)),
                Part::Grant(id) => return Ok(known.has_grant(id)),
                Part::Migration(id) => return Ok(known.has_migration(id)),
                Part::Hold(id) if known.has_hold(id) => return Ok(true),
                Part::Hold(id) => {
                    views.small.holds.get_placed(id).map(|hold| hold.entities.clone()).unwrap_or_default()
                }
                Part::Scope(PauseScope::Mailbox(mailbox)) => return Ok(known.is_it(mailbox)),
                Part::Scope(PauseScope::All | PauseScope::Policy(_) | PauseScope::Request(_)) | Part::Nothing => {
                    return Ok(false);
                }
                Part::Lifted(_, named) if !named.is_empty() => named,
                Part::Lifted(restriction, _) => {
                    let placed = views.small.restrictions.get_placed(restriction);
                    placed.map(|placed| placed.entities.clone()).unwrap_or_default()
                }
                Part::Entities(named) => named,
            }
        };
        for entity in named {
            if self.lives_in(entity, sought, spent)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn part(&self, position: Position, spent: &mut Spent) -> Result<Part, ReadError> {
        spent.bodies += 1;
        let recorded = self.read(position)?;
        Ok(recorded.as_ref().and_then(|recorded| recorded.event()).map_or(Part::Nothing, Part::of))
    }

    /// Says whether an entity is one of the mailboxes, or lives in one, or did until it was purged.
    fn lives_in(&self, entity: EntityId, sought: &Sought, spent: &mut Spent) -> Result<bool, ReadError> {
        if sought.has(entity) {
            return Ok(true);
        }
        let known = self.state.read().views.entities.row(entity);
        let Some(known) = known else { return Ok(false) };
        if known.state != EntityState::Purged {
            return Ok(known.mailbox.is_some_and(|mailbox| sought.has(mailbox)));
        }
        let Some(saga) = self.destroyed_by(known.last_event, spent)? else { return Ok(false) };
        let views = &self.state.read().views;
        Ok(Known { sought, views }.has_saga(saga))
    }

    /// Returns the saga that destroyed the key of a stream, which its end tells.
    fn destroyed_by(&self, mut at: Position, spent: &mut Spent) -> Result<Option<SagaId>, ReadError> {
        for _ in 0..STREAM_END_MAX {
            spent.rows += 1;
            let Some(row) = self.row(at)? else { return Ok(None) };
            if row.event_type == EventType::KeyDestroyed as u16 {
                let saga = SagaId(row.cause);
                if self.state.read().views.small.runs.saga(saga).is_some() {
                    return Ok(Some(saga));
                }
                return Ok(match self.part(at, spent)? {
                    Part::Saga(saga) => Some(saga),
                    _ => None,
                });
            }
            if row.previous >= at {
                return Ok(None);
            }
            at = row.previous;
        }
        Ok(None)
    }

    /// Says whether an event registers or removes one of the mailboxes. The credential of a registration stands right
    /// before it, and the event that makes a credential needless is the cause of its destruction.
    fn registers(&self, position: Position, sought: &Sought, spent: &mut Spent) -> Result<bool, ReadError> {
        spent.rows += 1;
        let types = [EventType::MailboxRegistered as u16, EventType::MailboxRemoved as u16];
        let row = self.row(position)?.filter(|row| types.contains(&row.event_type));
        Ok(row.and_then(|row| row.entity).is_some_and(|mailbox| sought.has(mailbox)))
    }
}
