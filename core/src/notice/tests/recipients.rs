//! What recipients of copies are told.

use std::collections::BTreeMap;

use super::*;
use crate::event::change::{EntityChanged, LayoutRecorded};
use crate::event::erasure::{BundleHandedOver, KeyDestroyed};
use crate::event::redaction::EntitySucceeded;
use crate::event::restriction::{RestrictionGround, RestrictionLifted, RestrictionPlaced};
use crate::event::saga::{ItemsSkipped, SkipReason};
use crate::event::subject::{ErasurePlanRequested, RecipientTold, SubjectIdentified};
use crate::id::{LayoutId, RestrictionId};
use crate::record::{Cells, EntityRecord, Kind, Layout, Visibility};
use crate::view::recipients::Told;

const ITEMS: u32 = 6;

impl World {
    /// One with records 1 to [`ITEMS`], and a channel that is told of what becomes of the copies.
    fn with_records() -> Self {
        let mut world = Self::silent();
        world.declare(&[Thing::RecipientToTell]);
        let layout = Layout { source: "crm".to_owned(), kind: Kind::Contact, columns: vec![], named_dates: vec![] };
        world.happens(Event::LayoutRecorded(LayoutRecorded { id: LayoutId(1), layout }));
        for number in 1..=ITEMS {
            world.changes(number);
        }
        world
    }

    fn changes(&mut self, number: u32) {
        let record = EntityRecord {
            layout: LayoutId(1),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: number.to_string(),
            other_ids: Vec::new(),
            dates: Vec::new(),
            links: Vec::new(),
            cells: Cells::default(),
        };
        let event = Event::EntityChanged(EntityChanged { record });
        self.about(Some(EntityId(number)), Actor::Daemon, event);
    }

    fn next_number(&self) -> u32 {
        self.views.entities.bound()
    }

    /// Redacts a record, and returns the number of what is left.
    fn redact(&mut self, record: u32) -> u32 {
        let rest = self.next_number();
        let body = EntitySucceeded {
            saga: SagaId(Position(2)),
            item: 0,
            of: EntityId(record),
            first_seen: self.now,
            last_activity: None,
            activities: Vec::new(),
            absent: false,
            links: Vec::new(),
        };
        self.about(Some(EntityId(rest)), Actor::Daemon, Event::EntitySucceeded(body));
        self.changes(rest);
        self.erase(record);
        rest
    }

    fn asks(&mut self, kind: RequestKind, records: &[u32]) -> RequestId {
        let body = SubjectRequested {
            kind,
            ground: None,
            marks: Vec::new(),
            named: Vec::new(),
            received_at: self.now,
            due_at: day(20_030),
            timezone: "UTC".to_owned(),
            reference: String::new(),
        };
        let request = RequestId(self.happens(Event::SubjectRequested(body)));
        let records = entities(records);
        self.happens(Event::SubjectIdentified(SubjectIdentified { request, records, how: String::new() }));
        request
    }

    fn gives_copy(&mut self, items: &[u32]) -> Position {
        self.gives_copy_of(&items.iter().copied().collect(), 0, 0)
    }

    /// Gives away a bundle of some items without that which is left alone before it is written.
    fn gives_copy_of(&mut self, items: &BTreeSet<u32>, before: u32, after: u32) -> Position {
        let saga = self.saga(RunId(Position(1)), ScriptKind::ExportPurge);
        let manifest = Digest::of(&saga.0.0.to_le_bytes());
        let skip = |item| Event::ItemsSkipped(ItemsSkipped { saga, items: vec![(EntityId(item), SkipReason::Held)] });
        if before > 0 {
            self.happens(skip(before));
        }
        self.does_step(saga, Step::Export, Receipt::Exported { manifest, exported_at: self.now, items: 1, bytes: 1 });
        if after > 0 && after != before {
            self.happens(skip(after));
        }
        let (to, reason) = ("PLAINTEXT".to_owned(), String::new());
        let recipient = self.happens(Event::BundleHandedOver(BundleHandedOver { saga, manifest, to, reason }));
        let left = self.views.small.runs.saga(saga).unwrap().not_exported.clone();
        let items = items.iter().copied().map(EntityId).filter(|item| !left.contains(item)).collect();
        self.copies.push(HandedOver { recipient, saga, manifest, items });
        assert_eq!(
            self.views.handed_over().map(|(at, ..)| at).collect::<Vec<_>>(),
            self.copies.iter().map(|copy| copy.recipient).collect::<Vec<_>>()
        );
        recipient
    }

    fn erase(&mut self, record: u32) {
        self.erase_by(RunId(Position(1)), SagaId(Position(2)), record);
    }

    /// Erases a record by a run for a request.
    fn erase_for(&mut self, request: RequestId, record: u32) {
        let plan = PlanId(self.happens(Event::ErasurePlanRequested(ErasurePlanRequested { request })));
        self.freeze(plan, "subject-request".to_owned(), Vec::new(), Vec::new());
        let run = self.run(plan);
        let saga = self.saga(run, ScriptKind::ExportPurge);
        self.erase_by(run, saga, record);
        self.end(run, RunEnd::Completed);
    }

    fn erase_by(&mut self, run: RunId, saga: SagaId, record: u32) {
        let body = KeyDestroyed { run, saga, item: 0 };
        self.about(Some(EntityId(record)), Actor::Daemon, Event::KeyDestroyed(body));
    }

    fn restrict(&mut self, record: u32, request: Option<RequestId>) -> RestrictionId {
        let (ground, entities) = (RestrictionGround::AccuracyContested, entities(&[record]));
        let body = RestrictionPlaced { entities, ground, request, reason: String::new() };
        RestrictionId(self.happens(Event::RestrictionPlaced(body)))
    }

    fn answer(&mut self, request: RequestId, end: RequestEnd) {
        let body = SubjectRequestCompleted { request, end, reason: String::new() };
        self.happens(Event::SubjectRequestCompleted(body));
    }

    fn told(&self, request: RequestId, recipient: Position) -> Option<&Told> {
        self.views.small.subjects.get(request).unwrap().told.get(&recipient)
    }
}

fn entities(numbers: &[u32]) -> Vec<EntityId> {
    numbers.iter().copied().map(EntityId).collect()
}

fn to_tell(request: RequestId, recipient: Position, erased: &[u32], restricted: &[u32]) -> Notice {
    let (erased, restricted) = (entities(erased), entities(restricted));
    Notice::RecipientToTell { request, recipient, erased, restricted }
}

#[test]
fn a_recipient_is_told_once_of_what_was_erased_in_their_copy_and_of_nothing_else() {
    let mut world = World::with_records();
    let request = world.asks(RequestKind::Erase, &[1, 2, 3]);
    let (hers, others) = (world.gives_copy(&[2, 3, 4]), world.gives_copy(&[5, 6]));
    world.erase(2);
    world.erase(5);
    assert_eq!(world.owed(), [], "nobody is told in pieces");
    world.erase(3);
    let notice = to_tell(request, hers, &[2, 3], &[]);
    let said = text(&world.views, &world.copies, &notice, world.now).unwrap();
    let fact = |name: &str| said.facts.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    assert_eq!((fact("erased"), fact("restricted")), (Some("E2, E3"), None), "{said:?}");
    assert_eq!(fact("manifest"), Some(world.copies[0].manifest.to_string().as_str()));
    assert!(said.hint.is_empty() && !format!("{said:?}").contains("PLAINTEXT"), "{said:?}");
    assert_eq!(text(&world.views, &[], &notice, world.now), None, "it is about no copy of this reader");
    assert_eq!(world.sent(), [notice]);
    assert_eq!(world.told(request, hers).unwrap().through.as_deref(), Some(CHANNEL));
    assert_eq!(world.told(request, others), None);
    world.answer(request, RequestEnd::Fulfilled);
    assert_eq!(world.owed(), []);
}

#[test]
fn whoever_got_a_copy_of_a_bundle_that_was_taken_back_is_told_all_the_same() {
    let mut world = World::with_records();
    let request = world.asks(RequestKind::Erase, &[1]);
    let recipient = world.gives_copy(&[1, 2]);
    let saga = world.copies[0].saga;
    let undone = StepSucceeded { saga, step: Step::Export, receipt: Receipt::Undone, compensation: true };
    world.happens(Event::StepSucceeded(undone));
    assert_eq!(world.views.handed_over().collect::<Vec<_>>(), [(recipient, saga)]);
    world.erase(1);
    assert_eq!(world.sent(), [to_tell(request, recipient, &[1], &[])]);
}

#[test]
fn what_is_erased_after_an_answer_in_part_is_told_again_and_what_was_told_is_not() {
    let mut world = World::with_records();
    let request = world.asks(RequestKind::Erase, &[1, 2, 3]);
    let (by_notice, by_hand) = (world.gives_copy(&[1, 2, 3]), world.gives_copy(&[1, 2]));
    world.erase(1);
    let _other = world.restrict(2, None);
    assert_eq!(world.owed(), [], "the use of 2 is restricted for another reason");
    world.restrict(2, Some(request));
    assert_eq!(world.owed(), [to_tell(request, by_hand, &[1], &[2])], "3 may still be erased");
    world.happens(Event::RecipientTold(RecipientTold { request, recipient: by_hand, how: String::new() }));
    world.answer(request, RequestEnd::RefusedInPart);
    assert_eq!(world.sent(), [to_tell(request, by_notice, &[1], &[2])]);
    // What was restricted and is erased now is as many items as before, and yet news.
    world.erase(2);
    assert_eq!(world.owed(), [to_tell(request, by_notice, &[1, 2], &[]), to_tell(request, by_hand, &[1, 2], &[])]);
    world.happens(Event::RecipientTold(RecipientTold { request, recipient: by_hand, how: String::new() }));
    assert_eq!(world.sent(), [to_tell(request, by_notice, &[1, 2], &[])]);
    world.erase(3);
    assert_eq!(world.sent(), [to_tell(request, by_notice, &[1, 2, 3], &[])]);
}

#[test]
fn what_is_disposed_of_for_another_reason_tells_nobody() {
    let mut world = World::with_records();
    let withdrawn = world.asks(RequestKind::Erase, &[1, 2, 5]);
    let refused = world.asks(RequestKind::Erase, &[2, 3]);
    let restricted = world.asks(RequestKind::Restrict, &[4]);
    let recipient = world.gives_copy(&[1, 2, 3, 4, 5]);
    world.erase_for(withdrawn, 1);
    // A policy disposes of it while the request is open.
    world.erase(5);
    world.answer(withdrawn, RequestEnd::Withdrawn);
    world.answer(refused, RequestEnd::Refused);
    world.restrict(4, Some(restricted));
    assert_eq!(world.sent(), [to_tell(withdrawn, recipient, &[1], &[]), to_tell(restricted, recipient, &[], &[4])]);
    // A policy disposes of them when their time is over.
    for record in 2..=4 {
        world.erase(record);
    }
    assert_eq!(world.owed(), []);
    assert_eq!(world.views.to_tell(&world.copies, world.now).count(), 0);
}

#[test]
fn a_plan_that_waits_or_runs_keeps_recipients_waiting() {
    let mut world = World::with_records();
    let request = world.asks(RequestKind::Erase, &[1]);
    let recipient = world.gives_copy(&[1]);
    let body = ErasurePlanRequested { request };
    world.happens(Event::ErasurePlanRequested(body));
    world.erase(1);
    assert_eq!(world.owed(), []);
    let plan = *world.views.small.subjects.get(request).unwrap().plans.last().unwrap();
    world.happens(Event::PlanRefused(crate::event::decision::PlanRefused { plan, code: "x".to_owned() }));
    assert_eq!(world.sent(), [to_tell(request, recipient, &[1], &[])]);
}

#[test]
fn access_tells_nobody_a_restriction_does_and_only_a_channel_that_is_for_a_recipient_hears_of_it() {
    let mut world = World::with_records();
    world.asks(RequestKind::Access, &[1]);
    let request = world.asks(RequestKind::Restrict, &[1]);
    let recipient = world.gives_copy(&[1]);
    world.restrict(1, None);
    let notice = to_tell(request, recipient, &[], &[1]);
    assert_eq!(world.owed(), std::slice::from_ref(&notice));
    let copies = std::mem::take(&mut world.copies);
    assert_eq!(world.owed(), [], "a channel of somebody else");
    world.copies = copies;
    let code = "http-503".to_owned();
    let body = NoticeFailed { channel: CHANNEL.to_owned(), notice, tries: 80, code };
    world.happens(Event::NoticeFailed(body));
    assert_eq!(world.owed(), []);
    assert_eq!(world.told(request, recipient), None, "what a channel did not take tells nobody");
    assert_eq!(world.views.to_tell(&world.copies, world.now).count(), 1);
    world.now = day(20_400);
    assert_eq!(world.owed(), []);
}

#[test]
fn what_a_person_told_is_what_had_become_of_the_copy_by_then() {
    let mut world = World::with_records();
    let request = world.asks(RequestKind::Erase, &[1, 2]);
    let recipient = world.gives_copy(&[1, 2]);
    world.erase(1);
    world.answer(request, RequestEnd::RefusedInPart);
    let tell = |world: &mut World| {
        world.happens(Event::RecipientTold(RecipientTold { request, recipient, how: String::new() }));
    };
    tell(&mut world);
    assert_eq!(world.owed(), []);
    world.erase(2);
    assert_eq!(world.owed(), [to_tell(request, recipient, &[1, 2], &[])]);
    tell(&mut world);
    assert_eq!(world.owed(), []);
    // Who says so before anything happened says nothing.
    let object = world.asks(RequestKind::Object, &[3]);
    let early = world.gives_copy(&[3]);
    world.happens(Event::RecipientTold(RecipientTold { request: object, recipient: early, how: String::new() }));
    world.restrict(3, None);
    assert_eq!(world.sent(), [to_tell(object, early, &[], &[3])]);
}

#[test]
fn as_many_items_are_not_the_same_items() {
    let mut world = World::with_records();
    let request = world.asks(RequestKind::Object, &[1, 2]);
    let recipient = world.gives_copy(&[1, 2]);
    world.answer(request, RequestEnd::Fulfilled);
    let first = world.restrict(1, None);
    let of_first = world.sent();
    assert_eq!(of_first, [to_tell(request, recipient, &[], &[1])]);
    let body = RestrictionLifted { restriction: first, entities: Vec::new(), reason: String::new() };
    world.happens(Event::RestrictionLifted(body));
    assert_eq!(world.owed(), [], "nobody hears of what was lifted");
    world.restrict(2, None);
    let of_second = world.sent();
    assert_eq!(of_second, [to_tell(request, recipient, &[], &[2])]);
    assert_ne!(of_first[0].to_string(), of_second[0].to_string());
    assert_ne!(
        to_tell(request, recipient, &[1], &[2]).to_string(),
        to_tell(request, recipient, &[2], &[1]).to_string()
    );
    world.restrict(1, None);
    assert_eq!(world.owed(), [], "they were told of both");
}

#[test]
fn what_was_sent_before_a_notice_said_which_items_counts_for_what_had_become_of_them() {
    let mut world = World::with_records();
    let request = world.asks(RequestKind::Erase, &[1, 2]);
    let recipient = world.gives_copy(&[1, 2]);
    world.erase(1);
    world.answer(request, RequestEnd::RefusedInPart);
    world.send(&to_tell(request, recipient, &[], &[]));
    assert_eq!(world.owed(), []);
    assert_eq!(world.told(request, recipient).unwrap().through.as_deref(), Some(CHANNEL));
    world.erase(2);
    assert_eq!(world.sent(), [to_tell(request, recipient, &[1, 2], &[])]);
}

#[test]
fn a_bundle_that_is_older_than_a_redaction_has_the_record_whole() {
    let mut world = World::with_records();
    let recipient = world.gives_copy(&[2, 5]);
    let rest = world.redact(5);
    let last = world.redact(rest);
    let later = world.gives_copy(&[last]);
    let request = world.asks(RequestKind::Erase, &[last]);
    assert_eq!(world.owed(), []);
    let restriction = world.restrict(last, Some(request));
    assert_eq!(world.owed(), [to_tell(request, recipient, &[], &[5]), to_tell(request, later, &[], &[last])]);
    world.happens(Event::RecipientTold(RecipientTold { request, recipient: later, how: String::new() }));
    world.happens(Event::RecipientTold(RecipientTold { request, recipient, how: String::new() }));
    assert_eq!(world.owed(), []);
    let body = RestrictionLifted { restriction, entities: Vec::new(), reason: String::new() };
    world.happens(Event::RestrictionLifted(body));
    world.erase(last);
    assert_eq!(world.sent(), [to_tell(request, recipient, &[5], &[]), to_tell(request, later, &[last], &[])]);
    let views = &world.views;
    let of = |request| views.items_of(views.small.subjects.get(request).unwrap(), &entities(&[2, 5]));
    assert_eq!(of(request), entities(&[5]));
}

#[test]
fn an_item_of_which_the_rest_is_a_record_too_is_erased_when_the_rest_is() {
    let mut world = World::with_records();
    let recipient = world.gives_copy(&[5]);
    let rest = world.next_number();
    let request = world.asks(RequestKind::Erase, &[5, rest]);
    assert_eq!(world.redact(5), rest);
    assert_eq!(world.owed(), [], "the rest is still there");
    world.erase(rest);
    assert_eq!(world.sent(), [to_tell(request, recipient, &[5], &[])]);
}

#[test]
fn what_is_gone_and_not_recorded_as_destroyed_is_told_to_nobody_yet() {
    let mut world = World::with_records();
    let record = world.next_number();
    let body = LayoutRecorded { id: LayoutId(1), layout: world.views.small.layouts.get(LayoutId(1)).unwrap().clone() };
    // Its body cannot be opened any more, as after a crash between a key and the event of its destruction.
    let mut envelope = world.envelope(Some(EntityId(record)), Actor::Daemon, &Event::LayoutRecorded(body));
    envelope.event_type = crate::event::EventType::EntityChanged as u16;
    assert_eq!(world.views.fold_unindexed(&envelope, None, None), None);
    let request = world.asks(RequestKind::Erase, &[record]);
    let recipient = world.gives_copy(&[record]);
    assert!(world.views.left_of(world.views.small.subjects.get(request).unwrap()).is_empty());
    assert_eq!(world.owed(), []);
    world.erase(record);
    assert_eq!(world.sent(), [to_tell(request, recipient, &[record], &[])]);
}

/// What is asked, known and so, from the deeds alone.
#[derive(Default)]
struct Oracle {
    requests: Vec<Asked>,
    copies: Vec<(Position, BTreeSet<u32>)>,
    /// Which records are gone, and for which request a run erased them.
    gone: BTreeMap<u32, Option<RequestId>>,
    restricted: BTreeMap<RestrictionId, (u32, Option<RequestId>)>,
    /// What each record is left of.
    left_of: BTreeMap<u32, u32>,
    known: BTreeMap<(RequestId, Position), (BTreeSet<u32>, BTreeSet<u32>)>,
}

struct Asked {
    id: RequestId,
    kind: RequestKind,
    records: Vec<u32>,
    /// How it ended, and what was gone by then.
    ended: Option<(RequestEnd, BTreeSet<u32>)>,
}

impl Oracle {
    /// Returns the erased and the restricted items of a copy, and how many are neither.
    fn became(&self, asked: &Asked, items: &BTreeSet<u32>) -> (BTreeSet<u32>, BTreeSet<u32>, usize) {
        let (mut erased, mut restricted, mut untouched) = (BTreeSet::new(), BTreeSet::new(), 0);
        for item in items {
            let is_of = |record: &&u32| {
                let mut one = **record;
                loop {
                    match self.left_of.get(&one) {
                        _ if one == *item => return true,
                        Some(of) => one = *of,
                        None => return false,
                    }
                }
            };
            let mine: Vec<u32> = asked.records.iter().filter(is_of).copied().collect();
            let is_restricted = |record: &u32| {
                self.restricted.values().any(|(of, answers)| {
                    of == record
                        && match asked.kind {
                            RequestKind::Erase => *answers == Some(asked.id),
                            RequestKind::Restrict | RequestKind::Object => true,
                            RequestKind::Access | RequestKind::Portability => false,
                        }
                })
            };
            let left: Vec<u32> = mine.iter().filter(|record| !self.gone.contains_key(record)).copied().collect();
            let counts = |record: &u32| match &asked.ended {
                None | Some((RequestEnd::RefusedInPart, _)) => true,
                Some((RequestEnd::Withdrawn, _)) => self.gone[record] == Some(asked.id),
                Some((_, by_then)) => by_then.contains(record),
            };
            if left.iter().any(|record| !is_restricted(record)) {
                untouched += 1;
            } else if !left.is_empty() {
                restricted.insert(*item);
            } else if asked.kind == RequestKind::Erase && mine.iter().any(counts) {
                erased.insert(*item);
            }
        }
        (erased, restricted, untouched)
    }

    /// Returns what is owed to recipients now.
    fn owed(&self) -> BTreeSet<Notice> {
        let mut owed = BTreeSet::new();
        for asked in &self.requests {
            for (recipient, items) in &self.copies {
                let (erased, restricted, untouched) = self.became(asked, items);
                let nothing = (BTreeSet::new(), BTreeSet::new());
                let (known_erased, known_restricted) = self.known.get(&(asked.id, *recipient)).unwrap_or(&nothing);
                let knows = |item: &u32| known_erased.contains(item) || known_restricted.contains(item);
                let knows_all = erased.is_subset(known_erased) && restricted.iter().all(knows);
                if !knows_all && (asked.ended.is_some() || untouched == 0) {
                    let all = |items: BTreeSet<u32>| items.into_iter().collect::<Vec<_>>();
                    owed.insert(to_tell(asked.id, *recipient, &all(erased), &all(restricted)));
                }
            }
        }
        owed
    }

    fn know(&mut self, notice: &Notice) {
        let Notice::RecipientToTell { request, recipient, erased, restricted } = notice else { return };
        let known = self.known.entry((*request, *recipient)).or_default();
        known.0.extend(erased.iter().map(|item| item.0));
        known.1.extend(restricted.iter().map(|item| item.0));
    }

    fn tell_by_hand(&mut self, request: usize, copy: usize) -> Option<(RequestId, Position)> {
        let (asked, (recipient, items)) = (self.requests.get(request)?, self.copies.get(copy)?);
        let (erased, restricted, _) = self.became(asked, items);
        let (id, recipient) = (asked.id, *recipient);
        let known = self.known.entry((id, recipient)).or_default();
        known.0.extend(erased);
        known.1.extend(restricted);
        Some((id, recipient))
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Ask(RequestKind, Vec<u32>),
    /// What is in the plan, and what is left alone before and after the export.
    Give(Vec<u32>, u32, u32),
    Erase(usize),
    EraseFor(usize, usize),
    Restrict(usize, usize),
    Lift(usize),
    Redact(usize),
    Answer(usize, RequestEnd),
    TellByHand(usize, usize),
    Send,
    GiveUp,
    Wait,
}

fn deed() -> impl Strategy<Value = Deed> {
    // Some numbers are given to what redactions leave.
    let records = || proptest::collection::btree_set(1..=ITEMS + 3, 1..5).prop_map(|set| set.into_iter().collect());
    let kind = prop_oneof![
        2 => Just(RequestKind::Erase),
        1 => Just(RequestKind::Restrict),
        1 => Just(RequestKind::Object),
        1 => Just(RequestKind::Access)
    ];
    let end = prop_oneof![Just(RequestEnd::RefusedInPart), Just(RequestEnd::Withdrawn), Just(RequestEnd::Fulfilled)];
    let any = || 0..ITEMS as usize + 3;
    prop_oneof![
        2 => (kind, records()).prop_map(|(kind, records)| Deed::Ask(kind, records)),
        2 => (records(), 1..=ITEMS, 1..=ITEMS).prop_map(|(items, before, after)| Deed::Give(items, before, after)),
        2 => any().prop_map(Deed::Erase),
        1 => (0..4usize, any()).prop_map(|(request, record)| Deed::EraseFor(request, record)),
        2 => (any(), 0..8usize).prop_map(|(record, request)| Deed::Restrict(record, request)),
        1 => (0..4usize).prop_map(Deed::Lift),
        1 => any().prop_map(Deed::Redact),
        1 => (0..4usize, end).prop_map(|(request, end)| Deed::Answer(request, end)),
        1 => (0..4usize, 0..4usize).prop_map(|(request, copy)| Deed::TellByHand(request, copy)),
        2 => Just(Deed::Send),
        1 => Just(Deed::GiveUp),
        1 => Just(Deed::Wait),
    ]
}

proptest! {
    // Most deeds of a short story are about different records: it takes many stories to find one in which they meet.
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    /// Whatever happens in whatever order: at any time exactly that is owed which became of somebody's copy and of which they do
    /// not know; a notice is told once; and of what was given up nobody knows.
    #[test]
    fn each_notice_is_told_once_and_nobody_is_forgotten(deeds in proptest::collection::vec(deed(), 1..60)) {
        let mut world = World::with_records();
        let (mut oracle, mut told, mut given_up) = (Oracle::default(), BTreeSet::new(), BTreeSet::new());
        for deed in deeds {
            let alive: Vec<u32> = (1..world.next_number()).filter(|one| !oracle.gone.contains_key(one)).collect();
            match deed {
                Deed::Ask(kind, records) => {
                    let records: Vec<u32> = records.into_iter().filter(|one| alive.contains(one)).collect();
                    let id = world.asks(kind, &records);
                    oracle.requests.push(Asked { id, kind, records, ended: None });
                }
                Deed::Give(items, before, after) => {
                    let items: BTreeSet<u32> = items.into_iter().filter(|one| *one < world.next_number()).collect();
                    let recipient = world.gives_copy_of(&items, before, after);
                    oracle.copies.push((recipient, items.into_iter().filter(|item| *item != before).collect()));
                }
                Deed::Erase(at) => {
                    if let Some(record) = alive.get(at) {
                        world.erase(*record);
                        oracle.gone.insert(*record, None);
                    }
                }
                Deed::EraseFor(request, at) => {
                    if let (Some(asked), Some(record)) = (oracle.requests.get(request), alive.get(at)) {
                        world.erase_for(asked.id, *record);
                        oracle.gone.insert(*record, Some(asked.id));
                    }
                }
                Deed::Restrict(at, request) => {
                    if let Some(record) = alive.get(at) {
                        let request = oracle.requests.get(request).map(|asked| asked.id);
                        oracle.restricted.insert(world.restrict(*record, request), (*record, request));
                    }
                }
                Deed::Lift(at) => {
                    if let Some(restriction) = oracle.restricted.keys().nth(at).copied() {
                        oracle.restricted.remove(&restriction);
                        let body = RestrictionLifted { restriction, entities: Vec::new(), reason: String::new() };
                        world.happens(Event::RestrictionLifted(body));
                    }
                }
                Deed::Redact(at) => {
                    if let Some(record) = alive.get(at) {
                        oracle.left_of.insert(world.redact(*record), *record);
                        oracle.gone.insert(*record, None);
                    }
                }
                Deed::Answer(at, end) => {
                    if let Some(asked) = oracle.requests.get_mut(at).filter(|asked| asked.ended.is_none()) {
                        world.answer(asked.id, end);
                        asked.ended = Some((end, oracle.gone.keys().copied().collect()));
                    }
                }
                Deed::TellByHand(request, copy) => {
                    if let Some((request, recipient)) = oracle.tell_by_hand(request, copy) {
                        world.happens(Event::RecipientTold(RecipientTold { request, recipient, how: String::new() }));
                    }
                }
                Deed::Send => {
                    for notice in world.sent() {
                        prop_assert!(told.insert(id([1; 16], CHANNEL, &notice)), "{} is told twice", notice);
                        oracle.know(&notice);
                    }
                }
                Deed::GiveUp => {
                    if let Some(notice) = world.owed().first().cloned() {
                        let (channel, code) = (CHANNEL.to_owned(), String::new());
                        given_up.insert(notice.clone());
                        world.happens(Event::NoticeFailed(NoticeFailed { channel, notice, tries: 1, code }));
                    }
                }
                Deed::Wait => world.now = Timestamp(world.now.0 + 100 * DAY_US),
            }
            let by_oracle: BTreeSet<Notice> = oracle.owed().difference(&given_up).cloned().collect();
            prop_assert_eq!(world.owed().into_iter().collect::<BTreeSet<_>>(), by_oracle);
        }
    }
}
