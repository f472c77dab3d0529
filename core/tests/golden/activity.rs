//! What activities are recorded as: links with a class, and what is left of a redaction with all that it inherits.

use retention_core::event::change::{self, EntityLinked, Link};
use retention_core::event::redaction::{self, EntitySucceeded};
use retention_core::event::{Event, EventType};
use retention_core::id::EntityId;
use retention_core::record::Relation;
use retention_core::record::activity::{Activity, ActivityClass};

use super::{SAGA, at};

fn links() -> Vec<Link> {
    let relations = every!(Relation: Associated, About);
    relations.into_iter().map(|relation| Link { relation, to: EntityId(u32::MAX) }).collect()
}

pub(super) fn events() -> Vec<Event> {
    let linked = |class| {
        let class = ActivityClass::from_name(class);
        Event::EntityLinked(EntityLinked { links: links(), at: Some(at(-1)), class })
    };
    let activities = vec![
        Activity { class: None, at: at(-1), by: None },
        Activity { class: ActivityClass::from_name("meeting_held"), at: at(60), by: Some(EntityId(9)) },
    ];
    vec![
        linked("call_logged"),
        linked("custom:site_visit"),
        linked("unclassified"),
        Event::EntityLinked(EntityLinked { links: vec![], at: None, class: None }),
        Event::EntitySucceeded(EntitySucceeded { activities, ..succeeded() }),
        Event::EntitySucceeded(EntitySucceeded {
            item: u32::MAX,
            of: EntityId(300),
            last_activity: None,
            activities: Vec::new(),
            absent: false,
            links: Vec::new(),
            ..succeeded()
        }),
    ]
}

fn succeeded() -> EntitySucceeded {
    EntitySucceeded {
        saga: SAGA,
        item: 1,
        of: EntityId(41),
        first_seen: at(0),
        last_activity: Some(at(60)),
        activities: vec![Activity { class: None, at: at(60), by: None }],
        absent: true,
        links: vec![Link { relation: Relation::About, to: EntityId(7) }],
    }
}

/// What was written before activities had classes: nobody can tell them.
pub(super) fn older() -> Vec<(EventType, u16, Event)> {
    let linked = |links, at| Event::EntityLinked(change::v1::EntityLinked { links, at }.into());
    let last = redaction::v1::EntitySucceeded {
        saga: SAGA,
        item: u32::MAX,
        of: EntityId(300),
        first_seen: at(0),
        last_activity: None,
        absent: false,
        links: Vec::new(),
    };
    vec![
        (EventType::EntityLinked, 1, linked(links(), Some(at(-1)))),
        (EventType::EntityLinked, 1, linked(vec![], None)),
        (EventType::EntitySucceeded, 1, Event::EntitySucceeded(succeeded())),
        (EventType::EntitySucceeded, 1, Event::EntitySucceeded(last.into())),
    ]
}
