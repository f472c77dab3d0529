//! Which handler answers which operation, and what every request goes through first.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use retention_core::control::{ErrorCode, Operation, REQUEST_BYTES_MAX};

use super::error::ApiError;
use super::handlers::{
    audit, backup, clock, entity, evidence, follow, grant, hold, incident, intake, key, mailbox, migration, notice,
    plan, policy, restriction, review, run, status, subject,
};
use super::server::Caller;
use super::{Control, openapi};

/// How long an answer may take to begin. Waits end at half of it; streams begin at once and may take as long as they
/// need.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// Returns the whole API. Each connection adds its [`Caller`].
pub fn router(control: Control) -> Router {
    let mut router = Router::new();
    for &operation in Operation::ALL {
        let check = from_fn(move |caller: Extension<Caller>, request: Request, next: Next| {
            guard(operation, caller, request, next)
        });
        router = router.route(operation.path(), handler(operation).layer(check));
    }
    router
        .route("/healthz", get(async || "ok\n"))
        .route("/openapi.json", get(async || Json(openapi::document())))
        .route("/metrics", get(metrics))
        .fallback(async || ApiError::of(ErrorCode::UnknownOperation))
        .method_not_allowed_fallback(async || ApiError::of(ErrorCode::UnknownOperation))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(control))
}

fn handler(operation: Operation) -> MethodRouter<Arc<Control>> {
    match operation {
        Operation::Status => get(status::status),
        Operation::ConfigCheck => post(status::check_config),
        Operation::PolicyList => get(policy::list),
        Operation::PolicyShow => get(policy::show),
        Operation::PolicyDiff => post(policy::diff),
        Operation::PolicyCoverage => get(policy::coverage),
        Operation::PolicyExplain => get(policy::explain),
        Operation::ScheduleNext => get(policy::schedule),
        Operation::IntakeList => get(intake::list),
        Operation::IntakeLeft => get(intake::left),
        Operation::IntakeShow => get(intake::show),
        Operation::EntityList => get(entity::list),
        Operation::EntityShow => get(entity::show),
        Operation::EntityHistory => get(audit::history),
        Operation::PlanMake => post(plan::make),
        Operation::PlanList => get(plan::list),
        Operation::PlanShow => get(plan::show),
        Operation::PlanItems => get(plan::items),
        Operation::PlanApprove => post(plan::approve),
        Operation::PlanReject => post(plan::reject),
        Operation::ReviewList => get(review::list),
        Operation::ReviewDecide => post(review::decide),
        Operation::ReviewShow => get(review::show),
        Operation::RunStart => post(run::start),
        Operation::RunList => get(run::list),
        Operation::RunShow => get(run::show),
        Operation::RunWatch => get(run::watch),
        Operation::RunIncident => get(incident::show),
        Operation::RunPause => post(run::pause),
        Operation::RunResume => post(run::resume),
        Operation::RunCancel => post(run::cancel),
        Operation::HoldPlace => post(hold::place),
        Operation::HoldList => get(hold::list),
        Operation::HoldShow => get(hold::show),
        Operation::HoldRelease => post(hold::release),
        Operation::SubjectFind => post(subject::find),
        Operation::SubjectReach => get(subject::reach),
        Operation::SubjectAsk => post(subject::ask),
        Operation::SubjectRequestList => get(subject::list),
        Operation::SubjectRequestShow => get(subject::show),
        Operation::SubjectRequestRecords => get(subject::records),
        Operation::SubjectIdentify => post(subject::identify),
        Operation::SubjectExtend => post(subject::extend),
        Operation::SubjectExcept => post(subject::except),
        Operation::SubjectExceptionEnd => post(subject::end_exception),
        Operation::SubjectPackage => post(subject::package),
        Operation::SubjectTold => post(subject::told),
        Operation::ExportHandOver => post(evidence::hand_over),
        Operation::SubjectComplete => post(subject::complete),
        Operation::RestrictionPlace => post(restriction::place),
        Operation::RestrictionList => get(restriction::list),
        Operation::RestrictionLift => post(restriction::lift),
        Operation::Pause => post(hold::pause),
        Operation::Resume => post(hold::resume),
        Operation::ExportList => get(evidence::exports),
        Operation::ExportVerify => post(evidence::verify_export),
        Operation::QuarantineList => get(evidence::quarantine),
        Operation::QuarantineRestore => post(evidence::restore),
        Operation::MailboxAdd => post(mailbox::add),
        Operation::MailboxList => get(mailbox::list),
        Operation::MailboxShow => get(mailbox::show),
        Operation::MailboxCheck => post(mailbox::check),
        Operation::MailboxPermissions => get(mailbox::permissions),
        Operation::GrantReconcile => post(mailbox::reconcile),
        Operation::MailboxScan => post(mailbox::scan),
        Operation::MailboxRemove => post(mailbox::remove),
        Operation::MailboxMigrate => post(migration::request),
        Operation::MigrationList => get(migration::list),
        Operation::MigrationShow => get(migration::show),
        Operation::MigrationStop => post(migration::stop),
        Operation::GrantGive => post(grant::give),
        Operation::GrantList => get(grant::list),
        Operation::GrantShow => get(grant::show),
        Operation::GrantApprove => post(grant::approve),
        Operation::GrantReject => post(grant::reject),
        Operation::GrantRenew => post(grant::renew),
        Operation::GrantRevoke => post(grant::revoke),
        Operation::ClockConfirm => post(clock::confirm),
        Operation::NoticeList => get(notice::list),
        Operation::NoticeAcknowledge => post(notice::acknowledge),
        Operation::NoticeTest => post(notice::test),
        Operation::AuditCheckpoints => get(audit::checkpoints),
        Operation::AuditCheckpoint => get(audit::checkpoint),
        Operation::AuditKeys => get(audit::keys),
        Operation::AuditProof => get(audit::proof),
        Operation::AuditGrowth => get(audit::growth),
        Operation::AuditEnvelopes => get(audit::envelopes),
        Operation::CertificateRun => get(audit::certificate_of_run),
        Operation::CertificateEntity => get(audit::certificate_of_entity),
        Operation::CertificateRequest => get(audit::certificate_of_request),
        Operation::AuditQuery => get(audit::query),
        Operation::AuditFollow => get(follow::follow),
        Operation::KeyStatus => get(key::status),
        Operation::KeyRotate => post(key::rotate),
        Operation::BackupMake => post(backup::make),
        Operation::BackupList => get(backup::list),
        Operation::BackupVerify => post(backup::verify),
        Operation::RestoreConfirm => post(backup::confirm_restore),
        Operation::StoreVerify => post(evidence::verify_store),
        Operation::StoreCompact => post(evidence::compact_store),
        Operation::StoreRebuild => post(evidence::rebuild_store),
    }
}

/// Checks the role, bounds the time, and notes who asked for which operation: never what about.
async fn guard(operation: Operation, Extension(caller): Extension<Caller>, request: Request, next: Next) -> Response {
    let needed = operation.role();
    let response = if caller.roles.iter().any(|role| role.covers(needed)) {
        match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
            Ok(response) => response,
            Err(_) => ApiError::of(ErrorCode::TimedOut).into_response(),
        }
    } else {
        refusal(needed.name(), &caller).into_response()
    };
    let status = response.status().as_u16();
    tracing::info!(operation = operation.name(), uid = caller.peer.uid, status, "control request");
    response
}

fn refusal(needed: &str, caller: &Caller) -> ApiError {
    let has = match caller.roles.as_slice() {
        [] => "no role".to_owned(),
        roles => roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", "),
    };
    let uid = caller.peer.uid;
    ApiError::saying(ErrorCode::NotPermitted, format!("this needs the role {needed}; uid {uid} has {has}"))
        .hint(format!("an administrator can add uid:{uid} to `{needed}` in `[control.roles]` of config.toml"))
}

async fn metrics(State(control): State<Arc<Control>>, Extension(caller): Extension<Caller>) -> Response {
    if caller.roles.is_empty() {
        return refusal("auditor", &caller).into_response();
    }
    match control.works.metrics() {
        Some(text) => {
            ([(axum::http::header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        None => ApiError::saying(ErrorCode::NotFound, "metrics are off")
            .hint("set `serve = \"socket\"` in `[metrics]` of config.toml")
            .into_response(),
    }
}
