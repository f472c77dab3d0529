//! Samples about months of the log, and of what was written before there were any.

use retention_core::event::hold::HoldPlaced;
use retention_core::event::operation::MonthBegun;
use retention_core::event::{Envelope, Event, EventType};
use retention_core::id::EntityId;
use retention_core::record::Kind;
use retention_core::time::Timestamp;

pub(crate) fn events() -> Vec<Event> {
    let (begins_at, ends_at) =
        (Timestamp::from_unix_seconds(1_793_491_200), Timestamp::from_unix_seconds(1_796_083_200));
    vec![Event::MonthBegun(MonthBegun { begins_at, ends_at })]
}

/// Events of today that could be written in the version before: those that name no month.
pub(crate) fn older(today: &[Event]) -> Vec<(EventType, u16, Event)> {
    let without_months = |event: &Event| match event {
        Event::LayoutRecorded(body) if body.layout.kind != Kind::AuditMonth => Some((1, event.clone())),
        Event::HoldPlaced(body) => {
            let mut body = HoldPlaced { filter: String::new(), ..body.clone() };
            if let Some(standing) = &mut body.standing {
                standing.kinds.retain(|kind| *kind != Kind::AuditMonth);
            }
            Some((2, Event::HoldPlaced(body)))
        }
        _ => None,
    };
    today.iter().filter_map(without_months).map(|(schema, event)| (event.event_type(), schema, event)).collect()
}

/// An envelope whose texts are sealed apart.
pub(crate) fn envelopes(sealed: Envelope) -> Vec<Envelope> {
    [EntityId(77), EntityId(u32::MAX)].map(|month| Envelope { texts: Some(month), entity: None, ..sealed }).to_vec()
}
