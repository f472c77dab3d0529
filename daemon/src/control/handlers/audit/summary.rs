//! What an event says, in one line, without personal data and without free text of persons.

use retention_core::event::change::IntakeCompleted;
use retention_core::event::decision::PlanFrozen;
use retention_core::event::operation::DaemonStarted;
use retention_core::event::{Event, Readable};
use retention_core::id::{Position, RunId, SagaId};
use retention_core::view::Views;

/// Returns the line.
pub(super) fn of(event: &Readable) -> String {
    match event {
        Readable::Event(event) => of_event(event),
        Readable::Gone => "its key is destroyed".to_owned(),
        Readable::Unknown => "written by a newer program".to_owned(),
    }
}

fn of_event(event: &Event) -> String {
    match event {
        Event::LayoutRecorded(body) => {
            format!("layout {} of {} {}", body.id.0, body.layout.source, body.layout.kind)
        }
        Event::EntityChanged(body) => format!("layout {}, content sealed", body.record.layout.0),
        Event::EntityAbsent(body) => format!("not in intake {}", body.intake),
        Event::EntityLinked(body) => format!("{} links", body.links.len()),
        Event::IntakeStarted(body) => format!("source {}, content {}", body.source, body.content.short()),
        Event::IntakeCompleted(body) => intake(body),
        Event::HoldPlaced(body) => format!("on {} entities", body.entities.len()),
        Event::HoldReleased(body) => format!("hold {}", body.hold),
        Event::PolicySetActivated(body) => format!("{} policies, set {}", body.policies.len(), body.digest.short()),
        Event::ScheduleFired(body) => {
            let how = if body.catch_up { ", catching up" } else { "" };
            format!("policy {} for {}{how}", body.policy, body.nominal_at)
        }
        Event::ScheduleMissed(body) => format!("policy {}, {} times", body.policy, body.count),
        Event::RecordsOpened(body) => format!("{} entities, by {}", body.entities, body.operation),
        Event::StoreInitialised(body) => format!("by {}", body.program),
        Event::DaemonStarted(body) => daemon(body),
        Event::DaemonStopped(_) => "in good order".to_owned(),
        Event::ClockJumped(body) => format!("from {} to {}", body.expected_at, body.seen_at),
        Event::StoreRebuilt(body) => format!("{} events, because of {}", body.events, body.code),
        Event::PolicyRecorded(body) => format!("policy {}, version {}", body.id, body.digest.short()),
        Event::PlanRequested(body) => format!("policy {}", body.policy),
        Event::PlanItems(body) => format!("{}, part {}: {} items", body.plan, body.chunk, body.items.len()),
        Event::PlanFrozen(body) => frozen(body),
        Event::PlanRefused(body) => format!("{}: {}", body.plan, body.code),
        Event::PlanApproved(body) => format!("{}, digest {}", body.plan, body.digest.short()),
        Event::PlanRejected(body) => format!("{}, digest {}", body.plan, body.digest.short()),
        Event::RunRequested(body) => format!("{}, digest {}", body.plan, body.digest.short()),
        Event::RunStarted(body) => format!("{} of {}: {} items", body.run, body.plan, body.items),
        Event::RunPaused(body) => body.run.to_string(),
        Event::RunResumed(body) => body.run.to_string(),
        Event::RunCancelled(body) => body.run.to_string(),
        Event::RunEnded(body) => format!("{}: {} purged, {} skipped", body.run, body.purged, body.skipped),
        Event::RunRefused(body) => format!("{} of {}: {}", body.run, body.plan, body.code),
        Event::SagaStarted(body) => format!("{}, {} items", body.run, body.items.len()),
        Event::StepStarted(body) => format!("{} {}, attempt {}", body.saga, body.step.name(), body.attempt),
        Event::StepSucceeded(body) => {
            let what = if body.compensation { " undone" } else { "" };
            format!("{} {}{what}", body.saga, body.step.name())
        }
        Event::StepFailed(body) => {
            format!("{} {}, attempt {}: {}", body.saga, body.step.name(), body.attempt, body.code)
        }
        Event::ItemsSkipped(body) => format!("{}, {} items", body.saga, body.items.len()),
        Event::SagaEnded(body) => format!("{}, {} purged", body.saga, body.purged),
        Event::KeyDestroyed(body) => format!("{} {}, item {}", body.run, body.saga, body.item),
        Event::EntityRestored(body) => body.saga.to_string(),
        Event::GrantRequested(body) => format!("on {} under policy {}", body.mailbox, body.policy),
        Event::GrantApproved(body) => body.grant.to_string(),
        Event::GrantRejected(body) => body.grant.to_string(),
        Event::GrantRenewed(body) => format!("{}, {} s from then on", body.grant, body.duration_ms / 1_000),
        Event::GrantRevokeRequested(body) => body.grant.to_string(),
        Event::GrantFoldersRead(body) => format!("{}, {} folders", body.grant, body.folders.len()),
        Event::GrantStepStarted(body) => format!("{} {}, attempt {}", body.grant, body.step.name(), body.attempt),
        Event::GrantStepSucceeded(body) => format!("{} {}", body.grant, body.step.name()),
        Event::GrantStepFailed(body) => {
            format!("{} {}, attempt {}: {}", body.grant, body.step.name(), body.attempt, body.code)
        }
        Event::GrantEnded(body) => body.grant.to_string(),
    }
}

fn intake(body: &IntakeCompleted) -> String {
    format!(
        "source {}: {} rows, {} added, {} changed, {} unchanged, {} rejected, {} absent",
        body.source, body.rows, body.added, body.changed, body.unchanged, body.rejected, body.absent
    )
}

fn frozen(body: &PlanFrozen) -> String {
    let digest = body.digest.short();
    format!("{} of {}: {} of {} entities, digest {digest}", body.plan, body.policy, body.items, body.population)
}

fn daemon(body: &DaemonStarted) -> String {
    let after = if body.after_clean_stop { "a clean stop" } else { "no clean stop" };
    format!("{} after {after}, {} bytes cut", body.program, body.cut_bytes)
}

/// Returns the run that an event is part of.
pub(super) fn run_of(views: &Views, position: Position, event: &Event) -> Option<RunId> {
    let of_saga = |saga: SagaId| views.small.runs.saga(saga).map(|saga| saga.started.run);
    match event {
        Event::RunRequested(_) => Some(RunId(position)),
        Event::RunStarted(body) => Some(body.run),
        Event::RunPaused(body) => Some(body.run),
        Event::RunResumed(body) => Some(body.run),
        Event::RunCancelled(body) => Some(body.run),
        Event::RunEnded(body) => Some(body.run),
        Event::RunRefused(body) => Some(body.run),
        Event::SagaStarted(body) => Some(body.run),
        Event::StepStarted(body) => of_saga(body.saga),
        Event::StepSucceeded(body) => of_saga(body.saga),
        Event::StepFailed(body) => of_saga(body.saga),
        Event::ItemsSkipped(body) => of_saga(body.saga),
        Event::SagaEnded(body) => of_saga(body.saga),
        Event::KeyDestroyed(body) => Some(body.run),
        Event::EntityRestored(body) => of_saga(body.saga),
        Event::LayoutRecorded(_)
        | Event::EntityChanged(_)
        | Event::EntityAbsent(_)
        | Event::EntityLinked(_)
        | Event::IntakeStarted(_)
        | Event::IntakeCompleted(_)
        | Event::HoldPlaced(_)
        | Event::HoldReleased(_)
        | Event::PolicySetActivated(_)
        | Event::PolicyRecorded(_)
        | Event::PlanRequested(_)
        | Event::PlanItems(_)
        | Event::PlanFrozen(_)
        | Event::PlanRefused(_)
        | Event::PlanApproved(_)
        | Event::PlanRejected(_)
        | Event::ScheduleFired(_)
        | Event::ScheduleMissed(_)
        | Event::RecordsOpened(_)
        | Event::StoreInitialised(_)
        | Event::DaemonStarted(_)
        | Event::DaemonStopped(_)
        | Event::ClockJumped(_)
        | Event::StoreRebuilt(_)
        | Event::GrantRequested(_)
        | Event::GrantApproved(_)
        | Event::GrantRejected(_)
        | Event::GrantRenewed(_)
        | Event::GrantRevokeRequested(_)
        | Event::GrantFoldersRead(_)
        | Event::GrantStepStarted(_)
        | Event::GrantStepSucceeded(_)
        | Event::GrantStepFailed(_)
        | Event::GrantEnded(_) => None,
    }
}
