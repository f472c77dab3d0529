//! Questions about the event log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use retention_core::control::{ActorName, AuditQuery, Cursor, ErrorCode, EventRow, ListQuery, Order};
use retention_core::event::{Event, EventType, Recorded};
use retention_core::id::{EntityId, Position, RunId};
use retention_core::time::Timestamp;
use retention_core::view::Views;
use retention_core::view::index::Key;
use roaring::RoaringBitmap;

use super::super::answer::{Batch, Wanted, blocking, list as answer_list};
use super::super::error::ApiError;
use super::super::input::{Argument, Asked};
use super::super::log::{self, Log, LogError};
use super::{Shared, not_found};

mod summary;

/// Event types that belong to a policy without belonging to a run.
const POLICY_TYPES: [EventType; 10] = [
    EventType::PolicyRecorded,
    EventType::PlanRequested,
    EventType::PlanItems,
    EventType::PlanFrozen,
    EventType::PlanRefused,
    EventType::PlanApproved,
    EventType::PlanRejected,
    EventType::RunRequested,
    EventType::ScheduleFired,
    EventType::ScheduleMissed,
];

pub(crate) async fn query(
    State(control): State<Shared>,
    wanted: Wanted,
    Asked(query): Asked<AuditQuery>,
) -> Result<Response, ApiError> {
    let log = Arc::clone(&control.log);
    let (after, limit) = (query.after, query.limit);
    let question = blocking(move || Question::of(log, query)).await?;
    answer_list(wanted, after, limit, move |after, limit| question.batch(after, limit)).await
}

/// The events of one entity, oldest first: its story.
pub(crate) async fn history(
    State(control): State<Shared>,
    wanted: Wanted,
    Argument(id): Argument<EntityId>,
    Asked(list): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let known = control.see(move |views| Ok(views.entities.row(id).is_some())).await?;
    if !known {
        return Err(not_found("entity", id).hint("retentionctl entity list"));
    }
    let log = Arc::clone(&control.log);
    let query = AuditQuery { entity: Some(id), order: Order::OldestFirst, ..AuditQuery::default() };
    let question = blocking(move || Question::of(log, query)).await?;
    answer_list(wanted, list.after, list.limit, move |after, limit| question.batch(after, limit)).await
}

/// A question with the positions that may answer it, as they were when it was asked.
struct Question {
    log: Arc<dyn Log>,
    candidates: RoaringBitmap,
    /// Some candidates only share their type with the policy that was asked for.
    policy: Option<String>,
    order: Order,
}

impl Question {
    fn of(log: Arc<dyn Log>, query: AuditQuery) -> Result<Self, ApiError> {
        let kind = query.kind.as_deref().map(parse_kind).transpose()?;
        let newest = log::look(&log, |views| views.position).unwrap_or(Position::NONE);
        let first = match query.since {
            Some(since) => first_recorded_at(&log, newest, since)?,
            None => 1,
        };
        let end = match query.until {
            Some(until) => first_recorded_at(&log, newest, until)?,
            None => newest.0.saturating_add(1),
        };
        let mut candidates = RoaringBitmap::new();
        candidates.insert_range(low(first)..low(end).max(low(first)));
        if let Some(entity) = query.entity {
            candidates &=
                log.positions_of(entity)?.into_iter().map(|position| low(position.0)).collect::<RoaringBitmap>();
        }
        let keys = [
            kind.map(|kind| Key::Type(kind as u16)),
            query.actor.map(|ActorName(actor)| Key::Actor(actor)),
            query.run.map(Key::Run),
        ];
        let narrowed = log::look(&log, |views| {
            for key in keys.into_iter().flatten() {
                match views.index.get(key) {
                    Some(positions) => candidates &= positions,
                    None => candidates.clear(),
                }
            }
            if let Some(policy) = &query.policy {
                candidates &= of_policy(views, policy);
            }
            candidates
        });
        let candidates = narrowed.ok_or_else(|| ApiError::of(ErrorCode::Internal))?;
        Ok(Self { log, candidates, policy: query.policy, order: query.order })
    }

    fn batch(&self, after: Option<Cursor>, limit: usize) -> Result<Batch<EventRow>, ApiError> {
        let positions: Vec<u32> = match (self.order, after) {
            (Order::OldestFirst, None) => self.candidates.iter().take(limit).collect(),
            (Order::OldestFirst, Some(Cursor(after))) => {
                self.candidates.range(low(after.saturating_add(1))..).take(limit).collect()
            }
            (Order::NewestFirst, None) => self.candidates.iter().rev().take(limit).collect(),
            (Order::NewestFirst, Some(Cursor(after))) => {
                self.candidates.range(..low(after)).rev().take(limit).collect()
            }
        };
        let next = positions.last().filter(|_| positions.len() == limit).map(|last| Cursor((*last).into()));
        let mut events = Vec::with_capacity(positions.len());
        for position in positions {
            events.extend(self.log.event(Position(position.into()))?);
        }
        let rows = log::look(&self.log, |views| {
            events.iter().filter(|recorded| self.concerns(views, recorded)).map(|event| row(views, event)).collect()
        });
        Ok(Batch { rows: rows.unwrap_or_default(), next })
    }

    fn concerns(&self, views: &Views, recorded: &Recorded) -> bool {
        let Some(policy) = &self.policy else { return true };
        policy_of(views, recorded).as_ref() == Some(policy)
    }
}

fn parse_kind(name: &str) -> Result<EventType, ApiError> {
    EventType::from_name(name).ok_or_else(|| {
        let names = EventType::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>();
        ApiError::saying(ErrorCode::BadRequest, "there is no event type of that name")
            .hint(format!("one of: {}", names.join(", ")))
    })
}

/// Positions beyond what the sets hold are never appended, so the highest number stands for all of them.
fn low(position: u64) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// Finds the first event that was recorded at or after an instant: recorded-at never decreases along the log.
fn first_recorded_at(log: &Arc<dyn Log>, newest: Position, at: Timestamp) -> Result<u64, LogError> {
    let (mut from, mut to) = (1, newest.0.saturating_add(1));
    while from < to {
        let middle = from + (to - from) / 2;
        let is_before = log.recorded_at(Position(middle))?.is_some_and(|recorded_at| recorded_at < at);
        if is_before {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    Ok(from)
}

fn of_policy(views: &Views, policy: &str) -> RoaringBitmap {
    let is_under = |run: RunId| policy_of_run(views, run).is_some_and(|name| name == policy);
    let runs = views.small.runs.iter().map(|(id, _)| id).filter(|run| is_under(*run));
    let keys = runs.map(Key::Run).chain(POLICY_TYPES.map(|kind| Key::Type(kind as u16)));
    keys.filter_map(|key| views.index.get(key)).fold(RoaringBitmap::new(), |all, part| all | part)
}

fn policy_of_run(views: &Views, run: RunId) -> Option<&str> {
    let plan = views.small.runs.run(run)?.plan;
    views.small.plans.get(plan).map(|plan| plan.request.policy.as_str())
}

fn policy_of(views: &Views, recorded: &Recorded) -> Option<String> {
    let of_plan = |plan| views.small.plans.get(plan).map(|plan| plan.request.policy.clone());
    match recorded.event()? {
        Event::PolicyRecorded(body) => Some(body.id.clone()),
        Event::PlanRequested(body) => Some(body.policy.clone()),
        Event::PlanItems(body) => of_plan(body.plan),
        Event::PlanFrozen(body) => Some(body.policy.clone()),
        Event::PlanRefused(body) => of_plan(body.plan),
        Event::PlanApproved(body) => of_plan(body.plan),
        Event::PlanRejected(body) => of_plan(body.plan),
        Event::RunRequested(body) => of_plan(body.plan),
        Event::ScheduleFired(body) => Some(body.policy.clone()),
        Event::ScheduleMissed(body) => Some(body.policy.clone()),
        event => policy_of_run(views, summary::run_of(views, recorded.envelope.position, event)?).map(str::to_owned),
    }
}

fn row(views: &Views, recorded: &Recorded) -> EventRow {
    let envelope = &recorded.envelope;
    EventRow {
        position: envelope.position,
        recorded_at: envelope.recorded_at,
        occurred_at: envelope.occurred_at,
        kind: EventType::from_number(envelope.event_type)
            .map_or_else(|| format!("unknown({})", envelope.event_type), |kind| kind.name().to_owned()),
        actor: ActorName(envelope.actor),
        cause: envelope.cause,
        entity: envelope.entity,
        run: recorded.event().and_then(|event| summary::run_of(views, envelope.position, event)),
        summary: summary::of(&recorded.event),
        body: envelope.body_digest,
    }
}
