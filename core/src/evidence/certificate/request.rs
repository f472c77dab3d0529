//! What follows from the events of one request for erasure.
//!
//! Words of people are sealed, and with them on which ground records were excepted and how the answer was called. What is
//! public says the rest: how many records there were, what was planned, kept and why, destroyed, and copied.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::copies::{Bundle, Copies, Recipient, recipients};
use super::run::{RunStatement, copies_of_keys_until};
use super::{Approval, CertificateError, Told};
use crate::event::notice::Notice;
use crate::event::saga::{Receipt, SkipReason};
use crate::event::subject::KeptWhy;
use crate::event::{Event, EventType};
use crate::id::{Digest, EntityId, PlanId, Position, RequestId, RunId, SagaId};
use crate::time::Timestamp;

/// Something that a person did, by its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deed {
    /// The event.
    pub event: Position,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// One plan of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The plan.
    pub plan: PlanId,
    /// SHA-256 that names exactly what was planned.
    pub digest: Digest,
    /// The instant that it was judged for.
    pub judged_at: Timestamp,
    /// How many records somebody had identified by then.
    pub records: u64,
    /// How many of them it was to erase.
    pub items: u64,
    /// How many of them it left out, each for a reason.
    pub kept: u64,
    /// Who approved it.
    pub approvals: Vec<Approval>,
}

/// What follows from the events of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestStatement {
    /// Who entered the request, and when.
    pub entered: Approval,
    /// Who made sure who asks and which records are theirs; the last one counts.
    pub identified: Vec<Approval>,
    /// Who made the time for the answer longer.
    pub extended: Vec<Approval>,
    /// Who excepted records from it.
    pub excepted: Vec<Deed>,
    /// Who ended such an exception.
    pub exceptions_ended: Vec<Deed>,
    /// Who gave the answer.
    pub answered: Option<Approval>,
    /// How many records were identified, as the newest plan found them.
    pub records: u64,
    /// The plans, in order.
    pub plans: Vec<Planned>,
    /// What the runs of these plans did, in order.
    pub runs: Vec<RunStatement>,
    /// The records whose key was destroyed, as far as the certificate carries the event of each.
    pub destroyed: BTreeMap<EntityId, Timestamp>,
    /// What the newest plan leaves out, and is not destroyed since.
    pub kept: BTreeMap<EntityId, KeptWhy>,
    /// What the newest run left alone, and is not destroyed since.
    pub left_alone: BTreeMap<EntityId, SkipReason>,
    /// The bundles with copies.
    pub copies: BTreeMap<SagaId, Copies>,
    /// Who got copies.
    pub recipients: Vec<Recipient>,
    /// Who told a recipient what became of the records, without a channel.
    pub told_by_hand: Vec<Deed>,
    /// When what was destroyed last had left the disk, ciphertext and old wrapping keys with it.
    pub compacted_at: Option<Timestamp>,
    /// Until when copies of the keys from before may be kept, as far as backups were made by the daemon.
    pub copies_of_keys_until: Option<Timestamp>,
}

impl RequestStatement {
    /// Makes the statement about a request.
    ///
    /// # Errors
    /// When the events tell of no such request, or of no plan to erase anything for it.
    pub(super) fn of(id: RequestId, told: &[Told]) -> Result<Self, CertificateError> {
        let incomplete = || CertificateError::Incomplete;
        let asked = EventType::SubjectRequested as u16;
        let entered = told.iter().find(|(envelope, _)| envelope.position == id.0 && envelope.event_type == asked);
        let (entered, _) = entered.ok_or_else(incomplete)?;
        let plans = plans(id, told);
        if plans.is_empty() {
            return Err(incomplete());
        }
        let runs = runs(&plans, told);
        let is_own = |saga: &SagaId| runs.iter().any(|run| run.sagas.contains_key(saga));
        let kept = kept(id, &plans, told);
        let mut known: BTreeSet<EntityId> = kept.values().flat_map(BTreeMap::keys).copied().collect();
        for (saga, items) in items_of_sagas(told) {
            if is_own(&saga) {
                known.extend(items);
            }
        }
        let mut destroyed = BTreeMap::new();
        let mut last_destroyed = Position::NONE;
        for (entity, position, at) in destructions(told).filter(|(entity, ..)| known.contains(entity)) {
            destroyed.insert(entity, at);
            last_destroyed = last_destroyed.max(position);
        }
        let compacted = told.iter().map(|(envelope, _)| envelope).find(|envelope| {
            envelope.event_type == EventType::StoreCompacted as u16
                && last_destroyed != Position::NONE
                && envelope.position > last_destroyed
        });
        let mut left_alone = BTreeMap::new();
        if let Some(run) = runs.last() {
            let skipped = told.iter().filter_map(|(_, event)| match event {
                Some(Event::ItemsSkipped(body)) if run.sagas.contains_key(&body.saga) => Some(&body.items),
                _ => None,
            });
            left_alone.extend(skipped.flatten().copied().filter(|(entity, _)| !destroyed.contains_key(entity)));
        }
        let newest_kept = kept.into_iter().next_back().map(|(_, records)| records).unwrap_or_default();
        let copies = copies(&known, is_own, told);
        Ok(Self {
            entered: Approval::of(entered),
            identified: caused(id.0, EventType::SubjectIdentified, told),
            extended: caused(id.0, EventType::SubjectRequestExtended, told),
            excepted: caused(id.0, EventType::ErasureExcepted, told),
            exceptions_ended: caused(id.0, EventType::ErasureExceptionEnded, told),
            answered: caused(id.0, EventType::SubjectRequestCompleted, told).into_iter().next(),
            records: plans.last().map_or(0, |plan| plan.records),
            recipients: recipients(|saga| copies.contains_key(&saga), |recipient| told_at(id, recipient, told), told),
            told_by_hand: caused(id.0, EventType::RecipientTold, told),
            kept: newest_kept.into_iter().filter(|(entity, _)| !destroyed.contains_key(entity)).collect(),
            plans,
            runs,
            destroyed,
            left_alone,
            copies,
            compacted_at: compacted.map(|envelope| envelope.recorded_at),
            copies_of_keys_until: copies_of_keys_until(told),
        })
    }
}

/// Returns the sealed or public events of a type that something caused, each as who did it and when.
fn caused<T: From<Deed>>(cause: Position, of: EventType, told: &[Told]) -> Vec<T> {
    let wanted = told.iter().filter(|(envelope, _)| envelope.event_type == of as u16 && envelope.cause == cause);
    let deed = |(envelope, _): &Told| Deed {
        event: envelope.position,
        by: envelope.actor.to_string(),
        at: envelope.recorded_at,
    };
    wanted.map(|told| T::from(deed(told))).collect()
}

impl From<Deed> for Approval {
    fn from(deed: Deed) -> Self {
        Self { by: deed.by, at: deed.at }
    }
}

fn plans(id: RequestId, told: &[Told]) -> Vec<Planned> {
    let asked_for = told.iter().filter_map(|(envelope, event)| match event {
        Some(Event::ErasurePlanRequested(body)) if body.request == id => Some(PlanId(envelope.position)),
        _ => None,
    });
    let planned = asked_for.filter_map(|plan| {
        let frozen = told.iter().find_map(|(_, event)| match event {
            Some(Event::PlanFrozen(body)) if body.plan == plan => Some(body),
            _ => None,
        })?;
        let kept = told.iter().find_map(|(_, event)| match event {
            Some(Event::ErasureKept(body)) if body.plan == plan && body.request == id => Some(body.records.len()),
            _ => None,
        });
        Some(Planned {
            plan,
            digest: frozen.digest,
            judged_at: frozen.as_of,
            records: frozen.population,
            items: frozen.items,
            kept: kept.unwrap_or(0) as u64,
            approvals: caused(plan.0, EventType::PlanApproved, told),
        })
    });
    planned.collect()
}

/// A run that was refused, or has not begun, has done nothing.
fn runs(plans: &[Planned], told: &[Told]) -> Vec<RunStatement> {
    let asked_for = told.iter().filter_map(|(envelope, event)| match event {
        Some(Event::RunRequested(body)) if plans.iter().any(|known| known.plan == body.plan) => {
            Some(RunId(envelope.position))
        }
        _ => None,
    });
    asked_for.filter_map(|run| RunStatement::of_run(run, told).ok().map(RunStatement::within_request)).collect()
}

/// Returns what each plan left out.
fn kept(id: RequestId, plans: &[Planned], told: &[Told]) -> BTreeMap<PlanId, BTreeMap<EntityId, KeptWhy>> {
    let all = told.iter().filter_map(|(_, event)| match event {
        Some(Event::ErasureKept(body)) if body.request == id => Some(body),
        _ => None,
    });
    all.filter(|body| plans.iter().any(|known| known.plan == body.plan))
        .map(|body| (body.plan, body.records.iter().map(|record| (record.record, record.why)).collect()))
        .collect()
}

/// Returns the sagas whose items are told, and what is in the bundle of each: not what was left alone before it was
/// written.
fn items_of_sagas(told: &[Told]) -> BTreeMap<SagaId, BTreeSet<EntityId>> {
    let mut sagas: BTreeMap<SagaId, BTreeSet<EntityId>> = BTreeMap::new();
    let mut exported: BTreeMap<SagaId, BTreeSet<EntityId>> = BTreeMap::new();
    for (envelope, event) in told {
        match event {
            Some(Event::SagaStarted(body)) => {
                sagas.insert(SagaId(envelope.position), body.items.iter().map(|item| item.entity).collect());
            }
            // The last one counts: a bundle that nobody could read back any more was written anew.
            Some(Event::StepSucceeded(body)) if matches!(body.receipt, Receipt::Exported { .. }) => {
                exported.extend(sagas.get(&body.saga).map(|items| (body.saga, items.clone())));
            }
            Some(Event::ItemsSkipped(body)) => {
                if let Some(items) = sagas.get_mut(&body.saga) {
                    for (skipped, _) in &body.items {
                        items.remove(skipped);
                    }
                }
            }
            _ => {}
        }
    }
    sagas.extend(exported);
    sagas
}

/// A restored store recorded again what the log that was lost had destroyed.
fn destructions(told: &[Told]) -> impl Iterator<Item = (EntityId, Position, Timestamp)> {
    told.iter().filter_map(|(envelope, event)| match event {
        Some(Event::KeyDestroyed(_)) => Some((envelope.entity?, envelope.position, envelope.recorded_at)),
        Some(Event::KeyDestroyedAgain(body)) => Some((envelope.entity?, envelope.position, body.destroyed_at)),
        _ => None,
    })
}

/// Returns the bundles with copies of records, also of what a record was before a redaction gave it another number.
fn copies(known: &BTreeSet<EntityId>, is_own: impl Fn(&SagaId) -> bool, told: &[Told]) -> BTreeMap<SagaId, Copies> {
    let followed = told.iter().filter_map(|(envelope, event)| match event {
        // Numbers are given out upwards, so nobody comes round to themselves.
        Some(Event::EntitySucceeded(body)) => envelope.entity.filter(|now| *now > body.of).map(|now| (body.of, now)),
        _ => None,
    });
    let followed: BTreeMap<EntityId, EntityId> = followed.collect();
    let is_of_request = |item: &&EntityId| {
        let mut numbers = std::iter::successors(Some(**item), |number| followed.get(number).copied());
        numbers.any(|number| known.contains(&number))
    };
    let mut copies = BTreeMap::new();
    for (saga, items) in items_of_sagas(told) {
        let records = items.iter().filter(is_of_request).count() as u64;
        let Some(bundle) = Bundle::of(saga, told).filter(|_| records > 0) else { continue };
        copies.insert(saga, bundle.copies(records, is_own(&saga), told));
    }
    copies
}

/// Returns when the channel of a recipient last took a notice of what became of the records.
fn told_at(id: RequestId, recipient: Position, told: &[Told]) -> Option<Timestamp> {
    let notices = told.iter().filter_map(|(envelope, event)| match event {
        Some(Event::NoticeSent(body)) => Some((envelope, &body.notice)),
        _ => None,
    });
    let of = notices.filter(|(_, notice)| match notice {
        Notice::RecipientToTell { request, recipient: of, .. } => *request == id && *of == recipient,
        _ => false,
    });
    of.map(|(envelope, _)| envelope.recorded_at).max()
}

/// Says which events belong into the certificate of a request, of all that the indexes of its runs have.
#[must_use]
pub fn belongs(event: &Event) -> bool {
    super::run::belongs(event) || matches!(event, Event::ItemsSkipped(_))
}
