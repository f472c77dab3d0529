//! What a run destroyed, and what can still be brought back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use retention_core::control::{ActorName, CopyState, Incident, IncidentPart};
use retention_core::event::Actor;
use retention_core::event::saga::{Receipt, Step};
use retention_core::id::{RunId, SagaId};
use retention_core::view::{BundleState, Saga, Views};

use super::super::answer::blocking;
use super::super::error::ApiError;
use super::super::input::Argument;
use super::super::works::BundleThere;
use super::{Shared, not_found, requester};

pub(crate) async fn show(
    State(control): State<Shared>,
    Argument(id): Argument<RunId>,
) -> Result<Json<Incident>, ApiError> {
    let mut incident = control.see(move |views| told(views, id)).await?;
    let works = Arc::clone(&control.works);
    blocking(move || {
        let mut encrypted = 0;
        for part in incident.parts.iter_mut().filter(|part| part.copy == CopyState::There) {
            let there = part.bundle.map(|manifest| works.bundle_there(manifest)).transpose().map_err(ApiError)?;
            match there.flatten() {
                Some(BundleThere::Encrypted) => encrypted += part.purged,
                Some(BundleThere::InTheClear) => {}
                None => part.copy = CopyState::Missing,
            }
        }
        incident.encrypted = encrypted;
        let with_copy = incident.parts.iter().filter(|part| part.copy == CopyState::There);
        incident.with_copy = with_copy.map(|part| part.purged).sum();
        incident.text = incident.sentences();
        Ok(Json(incident))
    })
    .await
}

/// What the views know: whether a bundle that should be there is there, only the disk can tell.
fn told(views: &Views, id: RunId) -> Result<Incident, ApiError> {
    let run = views.small.runs.run(id).ok_or_else(|| not_found("run", id).hint("retentionctl run list"))?;
    let plan = views.small.plans.get(run.plan);
    let frozen = plan.and_then(|plan| plan.frozen.as_ref());
    let parts: Vec<IncidentPart> =
        run.sagas.iter().filter_map(|saga| Some(part(views, *saga, views.small.runs.saga(*saga)?))).collect();
    let sagas = || run.sagas.iter().filter_map(|saga| views.small.runs.saga(*saga));
    Ok(Incident {
        run: id,
        state: run.state,
        plan: run.plan,
        plan_digest: frozen.map(|frozen| frozen.digest),
        policy: plan.map(|plan| plan.request.policy.clone()).unwrap_or_default(),
        policy_digest: frozen.map(|frozen| frozen.policy_digest),
        requested_by: requester(run.requested_by),
        approved_by: plan
            .map(|plan| plan.approvals.iter().map(|given| ActorName(Actor::Person(given.uid))).collect())
            .unwrap_or_default(),
        started_at: run.started_at,
        ended_at: run.ended_at,
        items: run.items,
        purged: run.purged,
        redacted: sagas().map(Saga::redacted).sum(),
        restricted: sagas().map(Saga::restricted).sum(),
        left_alone: run.skipped,
        hidden: parts.iter().map(|part| part.hidden).sum(),
        with_copy: 0,
        encrypted: 0,
        parts,
        text: Vec::new(),
    })
}

fn part(views: &Views, id: SagaId, saga: &Saga) -> IncidentPart {
    let bundle = match saga.receipt(Step::Export) {
        Some(Receipt::Exported { manifest, .. }) => Some(*manifest),
        _ => None,
    };
    let copy = match (bundle, saga.bundle) {
        (None, _) => CopyState::None,
        (Some(_), Some(BundleState::Destroyed(_))) => CopyState::Destroyed,
        (Some(_), Some(BundleState::NotFound(_))) => CopyState::Missing,
        (Some(_), Some(BundleState::BeingDestroyed) | None) => CopyState::There,
    };
    let hidden = saga.open_items().filter(|item| views.entities.is_quarantined(item.entity)).count() as u64;
    IncidentPart {
        saga: id,
        mailbox: saga.started.mailbox,
        purged: saga.purged,
        hidden,
        hidden_until: saga.quarantine_until().filter(|_| hidden > 0),
        bundle,
        copy,
    }
}
