//! Stories: the log, one line an event, without what differs from store to store.

use retention_core::event::saga::Receipt;
use retention_core::event::{Event, Readable, Recorded};

/// Tells one event.
#[must_use]
pub fn line(recorded: &Recorded) -> String {
    let envelope = &recorded.envelope;
    let about = envelope.entity.map_or_else(String::new, |entity| format!(" {entity}"));
    let cause = if envelope.cause.0 == 0 { String::new() } else { format!(" because of {}", envelope.cause) };
    let what = match &recorded.event {
        Readable::Gone => "gone".to_owned(),
        Readable::Unknown => "unknown".to_owned(),
        Readable::Event(event) => format!("{}{}", event.event_type().name(), detail(event)),
    };
    format!("{:>3} {} {}{about}: {what}{cause}", envelope.position, envelope.recorded_at, envelope.actor)
}

fn detail(event: &Event) -> String {
    match event {
        Event::PlanItems(body) => {
            let items: Vec<String> =
                body.items.iter().map(|item| format!("{}@{}", item.entity, item.version)).collect();
            format!(" {} [{}]", body.plan, items.join(" "))
        }
        Event::PlanFrozen(body) => {
            let guards: Vec<&str> = body.tripped.iter().map(|tripped| tripped.guard.as_str()).collect();
            format!(" {} {} of {} tripped [{}]", body.plan, body.items, body.population, guards.join(" "))
        }
        Event::PlanApproved(body) => format!(" {}", body.plan),
        Event::RunRequested(body) => format!(" {}", body.plan),
        Event::RunStarted(body) => format!(" {} of {}", body.run, body.plan),
        Event::RunEnded(body) => format!(" {:?} purged {} skipped {}", body.end, body.purged, body.skipped),
        Event::SagaStarted(body) => format!(" {} items", body.items.len()),
        Event::StepStarted(body) => format!(" {} attempt {}", body.step.name(), body.attempt),
        Event::StepSucceeded(body) => format!(" {} {}", body.step.name(), receipt(&body.receipt)),
        Event::StepFailed(body) => {
            format!(" {} attempt {} {:?} {}", body.step.name(), body.attempt, body.failure, body.code)
        }
        Event::ItemsSkipped(body) => {
            let items: Vec<String> = body.items.iter().map(|(entity, reason)| format!("{entity} {reason:?}")).collect();
            format!(" [{}]", items.join(" "))
        }
        Event::SagaEnded(body) => format!(" {:?} purged {}", body.end, body.purged),
        Event::KeyDestroyed(body) => format!(" {} item {}", body.run, body.item),
        _ => String::new(),
    }
}

fn receipt(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Exported { items, .. } => format!("exported {items}"),
        Receipt::ExportVerified { items, .. } => format!("verified {items}"),
        Receipt::Quarantined { until, items } => format!("hidden {items} until {until}"),
        Receipt::Purged { items } => format!("purged {items}"),
        Receipt::Absent { items } => format!("absent {items}"),
        Receipt::Undone => "undone".to_owned(),
    }
}
