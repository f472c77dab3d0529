//! Certificates of disposition: what the log says of a run or of an entity, gathered, proven and signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use retention_core::control::{ErrorBody, ErrorCode};
use retention_core::event::codec::Bodies as _;
use retention_core::event::{Event, EventType};
use retention_core::evidence::certificate::{
    CERTIFICATE_BYTES_MAX, Certificate, Proven, Said, Statement, Subject, Told, belongs, carries_body,
};
use retention_core::evidence::checkpoint::{origin_of, verifier_of};
use retention_core::id::{Digest, EntityId, GrantId, PlanId, Position, RunId, SagaId};
use retention_core::view::Grant;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::tree::Tree;
use crate::store::{Order, Query, Store};

mod copies;
mod request;

/// What writes certificates.
pub(super) struct Certificates {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tree: Arc<Tree>,
    pub(super) signer: Zeroizing<String>,
    /// Which says until when deliveries stay.
    pub(super) config: Arc<RwLock<Config>>,
}

/// The most events of one certificate. A run of a million items has some hundred sagas of about ten events.
const EVENTS_MAX: usize = 20_000;

/// How many events are asked for together.
const PAGE: usize = 1_000;

impl Certificates {
    /// Writes the certificate of a run, of an entity or of a request.
    pub(super) fn write(&self, subject: Subject) -> Result<String, ErrorBody> {
        let mut positions = match subject {
            Subject::Run(run) => {
                let sagas = self.store.view(|views| views.small.runs.run(run).map(|run| run.sagas.clone()));
                let mut positions = self.positions_of_run(run, &belongs)?;
                positions.extend(self.positions_of_bundles(run, &sagas.unwrap_or_default())?);
                positions
            }
            Subject::Entity(entity) => self.positions_of_entity(entity)?,
            Subject::Request(request) => self.positions_of_request(request)?,
        };
        // `verify` takes them in the order of the log, each once.
        positions.sort_unstable();
        positions.dedup();
        // All are proven by one checkpoint. What witnesses signed over it stands in the last proof and holds for every other.
        let last = positions.last().copied().unwrap_or(Position(1));
        let covering = self.tree.covering(last).map_err(failed)?.ok_or_else(|| not_yet(last))?;
        let mut told: Vec<Told> = Vec::with_capacity(positions.len());
        let mut events = Vec::with_capacity(positions.len());
        for position in positions {
            self.store.halt().check().map_err(|_| ErrorBody::of(ErrorCode::Stopping))?;
            let recorded = self.store.read(position).map_err(failed)?.ok_or_else(|| not_there(position))?;
            let checkpoint = if position == last { &covering.note } else { &covering.plain };
            let proof = self.tree.prove_by(covering.size, checkpoint.clone(), &recorded.envelope);
            let proof = proof.map_err(failed)?.text();
            let event = recorded.event().filter(|event| carries_body(subject, event));
            let body = event.and_then(|event| event.encode_body().ok());
            // What an older program encoded otherwise is told by its envelope alone.
            let body = body.filter(|body| Digest::of(body) == recorded.envelope.body_digest);
            told.push((recorded.envelope, event.filter(|_| body.is_some()).cloned()));
            events.push(Proven { proof, body: body.map(hex::encode) });
        }
        let log = verifier_of(&self.signer).and_then(|key| origin_of(&key)).map_err(failed)?;
        let certificate = Certificate::of(log, self.clock.now(), subject, &told, events).map_err(|error| {
            ErrorBody::saying(ErrorCode::WrongState, format!("there is nothing to certify yet: {error}"))
                .hint("a certificate is written once a run has begun its first saga, or a plan of the request is there")
        })?;
        let said = match &certificate.statement {
            Statement::Run(statement) => Said::Run(self.said_of_run(subject, statement, &told)?),
            Statement::Request(statement) => Said::Request(Box::new(self.said_of_request(subject, statement, &told)?)),
        };
        let certificate = certificate.saying(said).map_err(failed)?;
        tracing::info!(?subject, events = certificate.events.len(), "a certificate was written");
        let text = certificate.sign(&self.signer).map_err(failed)?;
        if text.len() > CERTIFICATE_BYTES_MAX {
            return Err(too_large());
        }
        Ok(text)
    }

    /// Returns the events of a run: of its own those that are wanted, and those by which its plan was decided.
    fn positions_of_run(&self, run: RunId, wanted: &dyn Fn(&Event) -> bool) -> Result<Vec<Position>, ErrorBody> {
        let plan = self.store.view(|views| views.small.runs.run(run).map(|run| run.plan));
        let plan = plan.ok_or_else(|| {
            ErrorBody::saying(ErrorCode::NotFound, format!("there is no run {run}")).hint("retentionctl run list")
        })?;
        let mut positions = self.asked(&Query { run: Some(run), ..Query::default() }, wanted)?;
        positions.extend(self.positions_of_plan(plan)?);
        // Keys are destroyed until the run is over: a backup that was made meanwhile may hold them too.
        let last = positions.iter().copied().max().unwrap_or(run.0);
        positions.extend(self.longest_kept_backup(last)?);
        Ok(positions)
    }

    /// Returns the events by which a plan was decided.
    fn positions_of_plan(&self, plan: PlanId) -> Result<Vec<Position>, ErrorBody> {
        let decided = Query {
            types: vec![EventType::PlanFrozen, EventType::PlanApproved, EventType::PlanReviewed],
            ..Query::default()
        };
        let mut positions = self.asked(&Query { after: Some(plan.0), ..decided }, &|event| match event {
            Event::PlanFrozen(body) => body.plan == plan,
            Event::PlanApproved(body) => body.plan == plan,
            Event::PlanReviewed(body) => body.plan == plan,
            _ => false,
        })?;
        // What the items rest on was decided before the plan was asked for, or while it was made.
        let rests_on = self.store.view(|views| {
            let plan = views.small.plans.get(plan)?;
            Some(plan.reviews.iter().map(|review| review.review.0).collect::<Vec<_>>())
        });
        positions.extend(rests_on.unwrap_or_default());
        Ok(positions)
    }

    fn positions_of_entity(&self, entity: EntityId) -> Result<Vec<Position>, ErrorBody> {
        let types = vec![EventType::KeyDestroyed];
        let destroyed = Query { entity: Some(entity), types, limit: 1, ..Query::default() };
        let found = self.store.query(&destroyed).map_err(failed)?.rows.first().map(|(position, _)| *position);
        let not_purged = || {
            ErrorBody::saying(ErrorCode::NotFound, format!("{entity} was not purged by a run of this log"))
                .hint(format!("retentionctl entity history {entity}"))
        };
        let position = found.ok_or_else(not_purged)?;
        let recorded = self.store.read(position).map_err(failed)?.ok_or_else(not_purged)?;
        let Some(Event::KeyDestroyed(body)) = recorded.event() else { return Err(not_purged()) };
        let (run, saga) = (body.run, body.saga);
        let taken = self.access_beside(run, saga, position)?;
        let mut positions = Vec::new();
        for at in self.positions_of_run(run, &belongs)? {
            let of_another =
                match self.store.read(at).map_err(failed)?.as_ref().and_then(|recorded| recorded.event().cloned()) {
                    // That a grant is of the run, the saga tells that asked for it.
                    Some(Event::SagaStarted(_)) => at != saga.0 && !taken.values().any(|asked_by| *asked_by == at),
                    Some(Event::StepSucceeded(body)) => body.saga != saga,
                    Some(Event::SagaEnded(body)) => body.saga != saga,
                    Some(Event::GrantRequested(_)) => !taken.contains_key(&GrantId(at)),
                    Some(Event::GrantStepSucceeded(body)) => !taken.contains_key(&body.grant),
                    Some(Event::GrantEnded(body)) => !taken.contains_key(&body.grant),
                    _ => false,
                };
            if !of_another {
                positions.push(at);
            }
        }
        positions.push(position);
        positions.extend(self.positions_of_bundles(run, &[saga])?);
        Ok(positions)
    }

    /// Returns the access that a run had to the mailbox of one of its sagas while that worked there, until a key was
    /// destroyed at a position: each grant, and which saga asked for it.
    fn access_beside(
        &self,
        run: RunId,
        saga: SagaId,
        destroyed: Position,
    ) -> Result<BTreeMap<GrantId, Position>, ErrorBody> {
        let begun = self.store.read(saga.0).map_err(failed)?.map(|recorded| recorded.envelope.recorded_at);
        let beside: Vec<GrantId> = self.store.view(|views| {
            let mailbox = views.small.runs.saga(saga).and_then(|saga| saga.started.mailbox);
            let is_beside = |id: GrantId, grant: &Grant| {
                let was_over_before = grant.ended_at.is_some_and(|at| begun.is_some_and(|begun| at < begun));
                Some(grant.mailbox) == mailbox && id.0 < destroyed && !was_over_before
            };
            let taken = views.small.grants.of_run(run).filter(|(id, grant)| is_beside(*id, grant));
            taken.map(|(id, _)| id).collect()
        });
        let mut taken = BTreeMap::new();
        for grant in beside {
            let asked = self.store.read(grant.0).map_err(failed)?.ok_or_else(|| not_there(grant.0))?;
            taken.insert(grant, asked.envelope.cause);
        }
        Ok(taken)
    }

    /// Returns the backup before a position whose copy of the keys is kept the longest.
    fn longest_kept_backup(&self, before: Position) -> Result<Option<Position>, ErrorBody> {
        let query = Query { types: vec![EventType::BackupMade], ..Query::default() };
        let mut longest = None;
        for position in self.asked(&query, &|_| true)?.into_iter().filter(|position| *position < before) {
            if let Some(Event::BackupMade(body)) =
                self.store.read(position).map_err(failed)?.as_ref().and_then(|recorded| recorded.event())
            {
                longest = longest.max(Some((body.keys_until, position)));
            }
        }
        Ok(longest.map(|(_, position)| position))
    }

    /// Returns the positions that a question finds and that are wanted, the oldest first.
    fn asked(&self, query: &Query, wanted: &dyn Fn(&Event) -> bool) -> Result<Vec<Position>, ErrorBody> {
        let mut query = Query { order: Order::OldestFirst, limit: PAGE, ..query.clone() };
        let mut positions = Vec::new();
        loop {
            self.store.halt().check().map_err(|_| ErrorBody::of(ErrorCode::Stopping))?;
            let page = self.store.query(&query).map_err(failed)?;
            for (position, row) in page.rows {
                // Keys are destroyed one by one, and only that of the entity itself is wanted.
                if row.event_type == EventType::KeyDestroyed as u16 {
                    continue;
                }
                let recorded = self.store.read(position).map_err(failed)?;
                if recorded.as_ref().and_then(|recorded| recorded.event()).is_some_and(wanted) {
                    positions.push(position);
                }
            }
            if positions.len() > EVENTS_MAX {
                return Err(too_large());
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(positions),
            }
        }
    }
}

fn too_large() -> ErrorBody {
    ErrorBody::saying(ErrorCode::TooLarge, "this is too large for one certificate")
        .hint("retentionctl certificate item writes one for a single entity")
}

fn not_yet(position: Position) -> ErrorBody {
    ErrorBody::saying(ErrorCode::WrongState, format!("no checkpoint covers event {position} yet"))
        .hint("one is signed each second while the log grows; if none comes, see retentionctl status")
}

/// A certificate that leaves out what it should carry would state something else, and nobody could see it.
fn not_there(position: Position) -> ErrorBody {
    ErrorBody::saying(ErrorCode::Internal, format!("event {position} cannot be found in the log"))
        .hint("retentionctl store verify")
}

fn failed(error: impl std::fmt::Display) -> ErrorBody {
    ErrorBody::saying(ErrorCode::Internal, error.to_string())
}
