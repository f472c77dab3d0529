//! The certificate of a request for erasure: its own events, those of its plans and runs, the destruction of every key,
//! and the bundles with copies.

use std::collections::BTreeSet;

use retention_core::control::{ErrorBody, ErrorCode};
use retention_core::event::notice::Notice;
use retention_core::event::saga::{Receipt, Step};
use retention_core::event::subject::RequestKind;
use retention_core::event::{Event, EventType};
use retention_core::evidence::certificate::{
    RequestStatement, SaidCopies, SaidException, SaidOfRequest, SaidTold, Subject, Told, belongs_to_request,
};
use retention_core::id::{EntityId, Position, RequestId, RunId, SagaId};
use retention_core::view::SubjectRequest;

use super::{Certificates, failed};
use crate::store::{Order, Query};

/// How many destructions of keys are proven one by one; of more, the receipts of the runs tell how many there were.
const KEYS_PROVEN_MAX: usize = 4_000;

/// What people did for a request, and what was planned and told for it.
const OF_REQUEST: [EventType; 9] = [
    EventType::SubjectIdentified,
    EventType::SubjectRequestExtended,
    EventType::ErasureExcepted,
    EventType::ErasureExceptionEnded,
    EventType::ErasurePlanRequested,
    EventType::ErasureKept,
    EventType::SubjectRequestCompleted,
    EventType::RecipientTold,
    EventType::NoticeSent,
];

impl Certificates {
    pub(super) fn positions_of_request(&self, id: RequestId) -> Result<Vec<Position>, ErrorBody> {
        let (request, runs, own) = self.store.view(|views| {
            let request = found(views.small.subjects.get(id), id)?.clone();
            let runs = views.small.runs.iter().filter(|(_, run)| request.plans.contains(&run.plan));
            let (runs, sagas): (Vec<RunId>, Vec<Vec<SagaId>>) = runs.map(|(id, run)| (id, run.sagas.clone())).unzip();
            Ok((request, runs, sagas.concat()))
        })?;
        if request.kind != RequestKind::Erase {
            let message = format!("{id} asks for no erasure, so there is nothing to certify");
            return Err(
                ErrorBody::saying(ErrorCode::WrongState, message).hint(format!("retentionctl subject show {id}"))
            );
        }
        if request.plans.is_empty() {
            let message = format!("there is nothing to certify yet: no plan was made for {id}");
            return Err(
                ErrorBody::saying(ErrorCode::WrongState, message).hint(format!("retentionctl subject show {id}"))
            );
        }
        let types = OF_REQUEST.to_vec();
        let mut positions =
            self.asked(&Query { types, after: Some(id.0), ..Query::default() }, &|event| is_of(event, id))?;
        positions.push(id.0);
        for plan in &request.plans {
            positions.extend(self.positions_of_plan(*plan)?);
        }
        for run in runs {
            positions.extend(self.positions_of_run(run, &belongs_to_request)?);
        }
        positions.extend(self.positions_of_copies(&request, &own)?);
        positions.extend(self.positions_of_keys(&own, &positions)?);
        Ok(positions)
    }

    /// Returns the events of the bundles with copies: who wrote those that policies had written before, what is in
    /// them, who got them, and which are destroyed.
    fn positions_of_copies(&self, request: &SubjectRequest, own: &[SagaId]) -> Result<Vec<Position>, ErrorBody> {
        let mut positions = Vec::new();
        let mut with_copies: BTreeSet<SagaId> = own.iter().copied().collect();
        // Also those that are gone or were taken back: who got a copy has it still.
        let written: Vec<SagaId> = self.store.view(|views| {
            let sagas = views.small.runs.sagas();
            let wrote = sagas.filter(|(_, saga)| {
                matches!(saga.receipt(Step::Export), Some(Receipt::Exported { .. })) || !saga.handed_over.is_empty()
            });
            wrote.map(|(id, _)| id).collect()
        });
        for saga in written.into_iter().filter(|saga| !own.contains(saga)) {
            self.store.halt().check().map_err(|_| ErrorBody::of(ErrorCode::Stopping))?;
            let items = self.store.in_bundle(saga).map_err(failed)?;
            let run = self.store.view(|views| {
                let run = views.small.runs.saga(saga).map(|saga| saga.started.run);
                run.filter(|_| !views.items_of(request, &items).is_empty())
            });
            let Some(run) = run else { continue };
            with_copies.insert(saga);
            positions.push(saga.0);
            let types = vec![EventType::StepSucceeded, EventType::ItemsSkipped];
            positions.extend(self.asked(
                &Query { run: Some(run), types, ..Query::default() },
                &|event| match event {
                    Event::StepSucceeded(body) => body.saga == saga && body.step == Step::Export,
                    Event::ItemsSkipped(body) => body.saga == saga,
                    _ => false,
                },
            )?);
        }
        let before: BTreeSet<EntityId> = self.store.view(|views| {
            let redactions = &views.small.redactions;
            request.records().iter().flat_map(|record| redactions.all_of(*record).skip(1)).collect()
        });
        let mut types = vec![EventType::BundleHandedOver, EventType::BundleDestroyed];
        // There is one for every redaction of the whole log.
        if !before.is_empty() {
            types.push(EventType::EntitySucceeded);
        }
        positions.extend(self.asked(&Query { types, ..Query::default() }, &|event| match event {
            Event::BundleHandedOver(body) => with_copies.contains(&body.saga),
            Event::BundleDestroyed(body) => with_copies.contains(&body.saga),
            Event::EntitySucceeded(body) => before.contains(&body.of),
            _ => false,
        })?);
        Ok(positions)
    }

    /// Returns where the keys were destroyed of what was planned or kept, and after that when it left the disk and
    /// which backup has a copy of the keys the longest.
    fn positions_of_keys(&self, own: &[SagaId], told: &[Position]) -> Result<Vec<Position>, ErrorBody> {
        let mut records: BTreeSet<EntityId> = BTreeSet::new();
        for position in own.iter().map(|saga| saga.0).chain(told.iter().copied()) {
            match self.store.read(position).map_err(failed)?.as_ref().and_then(|recorded| recorded.event()) {
                Some(Event::SagaStarted(body)) if own.contains(&SagaId(position)) => {
                    records.extend(body.items.iter().map(|item| item.entity));
                }
                Some(Event::ErasureKept(body)) => records.extend(body.records.iter().map(|kept| kept.record)),
                _ => {}
            }
        }
        let mut positions = Vec::new();
        // Of all of them, also of those that are not proven one by one: what came before it does not cover them all.
        let mut last = None;
        for record in records {
            self.store.halt().check().map_err(|_| ErrorBody::of(ErrorCode::Stopping))?;
            let types = vec![EventType::KeyDestroyed, EventType::KeyDestroyedAgain];
            let destroyed = Query { entity: Some(record), types, limit: 1, ..Query::default() };
            let page = self.store.query(&destroyed).map_err(failed)?;
            let Some((position, _)) = page.rows.first() else { continue };
            last = last.max(Some(*position));
            if positions.len() < KEYS_PROVEN_MAX {
                positions.push(*position);
            }
        }
        if let Some(last) = last {
            let types = vec![EventType::StoreCompacted];
            let compacted = Query { types, after: Some(last), order: Order::OldestFirst, limit: 1, ..Query::default() };
            let page = self.store.query(&compacted).map_err(failed)?;
            positions.extend(page.rows.first().map(|(position, _)| *position));
            positions.extend(self.longest_kept_backup(last)?);
        }
        Ok(positions)
    }

    /// Returns what stands in sealed events, of what the certificate is about.
    pub(super) fn said_of_request(
        &self,
        subject: Subject,
        statement: &RequestStatement,
        told: &[Told],
    ) -> Result<SaidOfRequest, ErrorBody> {
        let Subject::Request(id) = subject else { return Err(ErrorBody::of(ErrorCode::Internal)) };
        let request = self.store.view(|views| found(views.small.subjects.get(id), id).cloned())?;
        let exceptions = statement.excepted.iter().filter_map(|deed| {
            let exception = request.exceptions.get(&deed.event)?;
            Some(SaidException {
                exception: deed.event,
                ground: exception.exception,
                records: exception.records.len() as u64,
                review_at: exception.review_at,
                ended_at: exception.ended_at,
            })
        });
        let mut told_by_hand = Vec::new();
        for deed in &statement.told_by_hand {
            let recorded = self.store.read(deed.event).map_err(failed)?;
            if let Some(Event::RecipientTold(body)) = recorded.as_ref().and_then(|recorded| recorded.event()) {
                told_by_hand.push(SaidTold { event: deed.event, recipient: body.recipient });
            }
        }
        let mut copies = Vec::new();
        for (saga, bundle) in &statement.copies {
            if !bundle.goes_with_the_answer && bundle.destroyed_at.is_none() {
                let kept_until = self.kept_until(*saga, bundle.exported_at)?;
                copies.push(SaidCopies { saga: *saga, kept_until });
            }
        }
        let records: Vec<EntityId> = request.records().iter().chain(statement.destroyed.keys()).copied().collect();
        Ok(SaidOfRequest {
            ground: request.ground,
            received_at: request.received_at,
            due_at: request.due_at,
            end: request.ended.map(|(_, end)| end).filter(|_| statement.answered.is_some()),
            exceptions: exceptions.collect(),
            told_by_hand,
            copies,
            deliveries: self.deliveries(&self.sources_of(&records)?, told),
        })
    }
}

fn found(request: Option<&SubjectRequest>, id: RequestId) -> Result<&SubjectRequest, ErrorBody> {
    request.ok_or_else(|| {
        ErrorBody::saying(ErrorCode::NotFound, format!("there is no request {id}"))
            .hint("retentionctl subject list --all")
    })
}

fn is_of(event: &Event, id: RequestId) -> bool {
    match event {
        Event::SubjectIdentified(body) => body.request == id,
        Event::SubjectRequestExtended(body) => body.request == id,
        Event::ErasureExcepted(body) => body.request == id,
        Event::ErasureExceptionEnded(body) => body.request == id,
        Event::ErasurePlanRequested(body) => body.request == id,
        Event::ErasureKept(body) => body.request == id,
        Event::SubjectRequestCompleted(body) => body.request == id,
        Event::RecipientTold(body) => body.request == id,
        Event::NoticeSent(body) => matches!(&body.notice, Notice::RecipientToTell { request, .. } if *request == id),
        _ => false,
    }
}
