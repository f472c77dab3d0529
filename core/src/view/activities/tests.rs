//! The view against a list of everything that was ever said, over purges, redactions and changed links.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::event::change::{self, EntityChanged, EntityLinked, Link};
use crate::event::erasure::KeyDestroyed;
use crate::event::redaction::{self, EntitySucceeded};
use crate::event::{Actor, Envelope, Event, Readable, Recorded, codec, stream_of_daemon};
use crate::id::{Digest, LayoutId, Position, RunId, SagaId};
use crate::record::{Cells, EntityRecord, Relation, Visibility};
use crate::view::Views;

const CLASSES: [Option<&str>; 4] = [None, Some("call_logged"), Some("newsletter_sent"), Some("custom:site_visit")];
const ENTITIES: u32 = 6;
const SAGA: SagaId = SagaId(Position(1));

/// What happens to an entity.
#[derive(Debug, Clone)]
enum Deed {
    /// It is told, with what it is about, when it took place, and its class.
    Told {
        links: Vec<(bool, u32)>,
        at: Option<i64>,
        class: usize,
    },
    /// The same, as it was recorded before there were classes.
    ToldBefore {
        links: Vec<(bool, u32)>,
        at: Option<i64>,
    },
    Purged,
    Redacted,
}

fn any_links() -> impl Strategy<Value = Vec<(bool, u32)>> {
    prop::collection::vec((prop::bool::weighted(0.8), 0..ENTITIES), 0..4)
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let at = || prop::option::weighted(0.9, 0_i64..50);
    prop_oneof![
        6 => (any_links(), at(), 0..CLASSES.len()).prop_map(|(links, at, class)| Deed::Told { links, at, class }),
        2 => (any_links(), at()).prop_map(|(links, at)| Deed::ToldBefore { links, at }),
        1 => Just(Deed::Purged),
        1 => Just(Deed::Redacted),
    ]
}

fn class(number: usize) -> Option<ActivityClass> {
    CLASSES[number].and_then(ActivityClass::from_name)
}

fn links_of(links: &[(bool, u32)]) -> Vec<Link> {
    let relation = |about| if about { Relation::About } else { Relation::Associated };
    links.iter().map(|&(about, to)| Link { relation: relation(about), to: EntityId(to) }).collect()
}

/// Everything that was said of each record: class, date, and which activity.
type Said = BTreeMap<u32, Vec<(Option<ActivityClass>, Timestamp, Option<EntityId>)>>;

/// A log with its views, and what an oracle remembers.
#[derive(Default)]
struct World {
    log: Vec<Recorded>,
    views: Views,
    said: Said,
    next: u32,
}

impl World {
    fn record(&mut self, entity: u32, event: Event) {
        // As it comes back from the log.
        let bytes = codec::Bodies::encode_body(&event).unwrap();
        let (number, schema) = (event.event_type() as u16, codec::schema_of(event.event_type()));
        let event = codec::read(number, schema, &bytes).unwrap();
        let position = Position(self.log.len() as u64 + 1);
        let envelope = Envelope {
            event_type: number,
            schema,
            sealed: false,
            position,
            recorded_at: Timestamp(1),
            occurred_at: Timestamp(1),
            stream: stream_of_daemon(),
            actor: Actor::Daemon,
            cause: Position::NONE,
            entity: Some(EntityId(entity)),
            texts: None,
            body_len: 0,
            body_digest: Digest([0; 32]),
        };
        let recorded = Recorded { envelope, event: Readable::Event(Box::new(event)) };
        self.views.fold(&recorded, None);
        self.log.push(recorded);
    }

    fn say(&mut self, by: u32, links: &[(bool, u32)], at: Option<i64>, class: Option<&ActivityClass>) {
        let Some(at) = at else { return };
        for (_, to) in links.iter().filter(|(about, _)| *about) {
            self.said.entry(*to).or_default().push((class.cloned(), Timestamp(at), Some(EntityId(by))));
        }
    }

    fn changed(&mut self, entity: u32) {
        let record = EntityRecord {
            layout: LayoutId(1),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: "a".to_owned(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: Cells::default(),
        };
        self.record(entity, Event::EntityChanged(EntityChanged { record }));
    }

    fn destroyed(&mut self, entity: u32) {
        let run = RunId(Position(1));
        self.record(entity, Event::KeyDestroyed(KeyDestroyed { run, saga: SAGA, item: 1 }));
    }

    fn act(&mut self, entity: u32, deed: &Deed) {
        match deed {
            Deed::Told { links, at, class: number } => {
                let class = class(*number);
                self.say(entity, links, *at, class.as_ref());
                let (links, at) = (links_of(links), at.map(Timestamp));
                self.record(entity, Event::EntityLinked(EntityLinked { links, at, class }));
            }
            Deed::ToldBefore { links, at } => {
                self.say(entity, links, *at, None);
                let body = change::v1::EntityLinked { links: links_of(links), at: at.map(Timestamp) };
                self.record(entity, Event::EntityLinked(body.into()));
            }
            Deed::Purged => {
                self.destroyed(entity);
                self.said.remove(&entity);
            }
            Deed::Redacted => {
                self.next += 1;
                let rest = ENTITIES + self.next;
                let activities = self.views.activities_of(EntityId(entity));
                let body = EntitySucceeded {
                    saga: SAGA,
                    item: 1,
                    of: EntityId(entity),
                    first_seen: Timestamp(0),
                    last_activity: activities.iter().map(|activity| activity.at).max(),
                    activities,
                    absent: false,
                    links: Vec::new(),
                };
                self.record(rest, Event::EntitySucceeded(body));
                self.changed(rest);
                self.destroyed(entity);
                if let Some(said) = self.said.remove(&entity) {
                    self.said.insert(rest, said);
                }
            }
        }
    }
}

fn all(views: &Views) -> Vec<(EntityId, Vec<Activity>)> {
    let entities: BTreeSet<EntityId> = views.activities.iter().map(|(entity, ..)| entity).collect();
    entities.into_iter().map(|entity| (entity, views.activities_of(entity))).collect()
}

fn world(deeds: &[(u32, Deed)]) -> World {
    let mut world = World::default();
    (0..ENTITIES).for_each(|entity| world.changed(entity));
    deeds.iter().for_each(|(entity, deed)| world.act(*entity, deed));
    world
}

proptest! {
    #[test]
    fn the_view_knows_the_newest_of_each_class_of_all_that_was_said(
        deeds in prop::collection::vec((0..ENTITIES, any_deed()), 0..40)
    ) {
        let world = world(&deeds);
        let entities = 0..ENTITIES + world.next + 1;
        for entity in entities {
            let mut newest: BTreeMap<Option<ActivityClass>, (Timestamp, Option<EntityId>)> = BTreeMap::new();
            for (class, at, by) in world.said.get(&entity).into_iter().flatten() {
                let known = newest.entry(class.clone()).or_insert((*at, *by));
                *known = (*known).max((*at, *by));
            }
            let mut known = world.views.activities_of(EntityId(entity));
            known.sort();
            let expected: Vec<_> =
                newest.into_iter().map(|(class, (at, by))| Activity { class, at, by }).collect();
            prop_assert_eq!(&known, &expected);
            // What policies without a list count from is the newest of all classes.
            let row = world.views.entities.row(EntityId(entity));
            let last = row.and_then(|row| row.last_activity);
            prop_assert_eq!(last, known.iter().map(|activity| activity.at).max());
        }
    }

    #[test]
    fn blocks_that_are_ahead_come_out_right_and_a_rebuild_is_the_same(
        deeds in prop::collection::vec((0..ENTITIES, any_deed()), 1..40), at in any::<prop::sample::Index>()
    ) {
        let world = world(&deeds);
        let written = at.index(world.log.len());
        let mut views = Views::default();
        world.log[..written].iter().for_each(|recorded| views.fold(recorded, None));
        // A write-out that was killed: blocks of the end, the note of the middle.
        views.activities = Activities::default();
        for (entity, class, newest) in world.views.activities.iter() {
            views.activities.note(entity, class, newest);
        }
        world.log[written..].iter().for_each(|recorded| views.fold(recorded, None));
        prop_assert_eq!(all(&views), all(&world.views));
        prop_assert_eq!(&views.small.activity_classes, &world.views.small.activity_classes);
        prop_assert!(views.activities.iter().eq(world.views.activities.iter()));
        let mut rebuilt = Views::default();
        world.log.iter().for_each(|recorded| rebuilt.fold(recorded, None));
        prop_assert!(rebuilt.activities.iter().eq(world.views.activities.iter()));
    }
}

#[test]
fn what_was_left_of_a_redaction_before_classes_counts_as_unclassified() {
    let body = redaction::v1::EntitySucceeded {
        saga: SAGA,
        item: 1,
        of: EntityId(0),
        first_seen: Timestamp(0),
        last_activity: Some(Timestamp(9)),
        absent: false,
        links: Vec::new(),
    };
    let mut world = world(&[]);
    world.record(ENTITIES, Event::EntitySucceeded(body.into()));
    world.changed(ENTITIES);
    let known = world.views.activities_of(EntityId(ENTITIES));
    assert_eq!(known, [Activity { class: None, at: Timestamp(9), by: None }]);
}

#[test]
fn what_is_left_names_what_is_left_of_what_it_named_whichever_is_recorded_first() {
    for order in [[0, 1], [1, 0]] {
        let mut world = world(&[(0, Deed::Told { links: vec![(false, 1)], at: None, class: 0 })]);
        // Both are read before what is left of either is recorded, as by two sagas beside each other.
        let rests = order.map(|of| (of, world.views.links.of(EntityId(of)).collect::<Vec<Link>>()));
        for (of, links) in rests {
            let body = EntitySucceeded {
                saga: SAGA,
                item: 1,
                of: EntityId(of),
                first_seen: Timestamp(0),
                last_activity: None,
                activities: Vec::new(),
                absent: false,
                links,
            };
            world.record(ENTITIES + of, Event::EntitySucceeded(body));
            world.changed(ENTITIES + of);
        }
        order.iter().for_each(|of| world.destroyed(*of));
        let named: Vec<EntityId> = world.views.links.of(EntityId(ENTITIES)).map(|link| link.to).collect();
        assert_eq!(named, [EntityId(ENTITIES + 1)], "{order:?}");
    }
}

#[test]
fn an_activity_is_news_for_its_class_alone() {
    let mut world = world(&[]);
    let [call, newsletter] = [1, 2].map(class);
    let told = |number, at| Deed::Told { links: vec![(true, 1)], at: Some(at), class: number };
    world.act(0, &told(2, 50));
    let is_news = |class: &Option<ActivityClass>, at| {
        world.views.is_newer_activity(EntityId(1), class.as_ref(), Some(Timestamp(at)))
    };
    assert!(is_news(&call, 3) && is_news(&None, 3), "an older call is not known yet");
    assert!(is_news(&newsletter, 51) && !is_news(&newsletter, 50));
    assert!(!world.views.is_newer_activity(EntityId(1), call.as_ref(), None));
}
