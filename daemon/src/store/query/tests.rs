use std::time::Duration;

use retention_core::event::Draft;
use retention_core::event::change::{EntityAbsent, EntityChanged, LayoutRecorded, MailboxScanRequested};
use retention_core::event::decision::{PlanPurpose, PlanRequested, RunRequested};
use retention_core::event::erasure::{BundleDestroyed, BundleDestructionStarted, BundleHandedOver};
use retention_core::event::grant::{GrantPurpose, GrantRequested, GrantStep, GrantStepStarted};
use retention_core::event::hold::{DisposalPaused, HoldPlaced, HoldReleased, PauseScope, v1};
use retention_core::event::mailbox::{
    CredentialDestroyed, CredentialStored, MailboxRegistered, MailboxRemoved, SealedSecret,
};
use retention_core::event::migration::{MigrationFolderOpened, MigrationRequested, MigrationStopRequested};
use retention_core::event::redaction::EntitySucceeded;
use retention_core::event::restriction::{EntitiesRestricted, RestrictionGround, RestrictionLifted, RestrictionPlaced};
use retention_core::event::saga::{ItemsSkipped, SagaEnd, SagaEnded, SagaItem, SagaStarted, ScriptKind, SkipReason};
use retention_core::event::subject::{RequestKind, SubjectIdentified, SubjectRequested};
use retention_core::id::{Digest, GrantId, Handle, HoldId, LayoutId, MigrationId, PlanId, RestrictionId, RunId};
use retention_core::record::{EntityRecord, Kind, Layout};
use retention_core::view::Condition;

use super::super::tests::{add_contacts, add_layout, init, open, open_with_clock, purge, record};
use super::*;

/// Everything that a question answers, in pages.
fn all(store: &Store, query: &Query) -> Vec<u64> {
    let mut query = query.clone();
    let mut found = Vec::new();
    for _ in 0..10_000 {
        let page = store.query(&query).unwrap();
        assert!(page.rows.len() <= query.limit);
        found.extend(page.rows.iter().map(|(position, _)| position.0));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
    panic!("paging does not end");
}

struct World {
    _dir: tempfile::TempDir,
    store: std::sync::Arc<Store>,
    entities: Vec<EntityId>,
    run: RunId,
}

impl World {
    fn happens(&self, event: Event) -> Position {
        let draft = super::super::open::daemon_draft(event);
        self.store.append_drafts(vec![draft], Condition::None).unwrap().last
    }

    /// Somebody asks for a plan, and for a run of it.
    fn asks_for_run(&self) -> (Position, Position) {
        let asked = PlanRequested { policy: "old-contacts".into(), purpose: PlanPurpose::Run, as_of: None };
        let plan = self.happens(Event::PlanRequested(asked));
        (plan, self.happens(Event::RunRequested(RunRequested { plan: PlanId(plan), digest: Digest([1; 32]) })))
    }
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let (store, clock) = open_with_clock(dir.path());
    let layout = add_layout(&store);
    let entities = add_contacts(&store, layout, 0..200);
    clock.advance(Duration::from_secs(60));
    let run = purge(&store, &entities[3..6]);
    World { _dir: dir, store, entities, run }
}

#[test]
fn every_question_and_page_size_answers_what_a_scan_of_all_rows_answers() {
    let world = world();
    let store = &world.store;
    let end = store.view(|views| views.position).0;
    let rows: Vec<(u64, EventRow)> = (1..=end).map(|n| (n, store.row(Position(n)).unwrap().unwrap())).collect();
    let later = Timestamp::from_unix_seconds(1_700_000_030);
    let types = vec![EventType::EntityChanged, EventType::KeyDestroyed];
    let is_of = |row: &EventRow| types.iter().any(|known| *known as u16 == row.event_type);
    let everything = Query::default();
    let of_types = Query { types: types.clone(), ..Query::default() };
    let since = Query { since: Some(later), ..of_types.clone() };
    let until = Query { until: Some(later), actor: Some(Actor::Daemon), ..of_types.clone() };
    let nobody = Query { actor: Some(Actor::Person(9)), ..Query::default() };
    let expected: [(Query, Vec<u64>); 5] = [
        (everything, rows.iter().map(|(n, _)| *n).collect()),
        (of_types, rows.iter().filter(|(_, row)| is_of(row)).map(|(n, _)| *n).collect()),
        (since, rows.iter().filter(|(_, row)| is_of(row) && row.recorded_at >= later).map(|(n, _)| *n).collect()),
        (until, rows.iter().filter(|(_, row)| is_of(row) && row.recorded_at < later).map(|(n, _)| *n).collect()),
        (nobody, Vec::new()),
    ];
    for (query, expected) in expected {
        for limit in [1, 7, 200, 10_000] {
            let query = Query { limit, order: Order::OldestFirst, ..query.clone() };
            assert_eq!(all(store, &query), expected, "{query:?}");
            let back: Vec<u64> = expected.iter().rev().copied().collect();
            assert_eq!(all(store, &Query { order: Order::NewestFirst, ..query }), back);
        }
    }
}

#[test]
fn the_story_of_an_entity_holds_its_events_and_those_of_its_saga() {
    let world = world();
    let run = world.run.0.0;
    let story = Query { entity: Some(world.entities[4]), order: Order::OldestFirst, ..Query::default() };
    let changed = world.store.history(world.entities[4]).unwrap()[0].0;
    // Plan, run, saga, intent; then its own key, the second of three; then the end of the saga.
    assert_eq!(all(&world.store, &story), [changed, run - 1, run, run + 1, run + 2, run + 4, run + 6]);
    let other = Query { entity: Some(world.entities[0]), ..Query::default() };
    assert_eq!(all(&world.store, &other).len(), 1);
    let unknown = Query { entity: Some(EntityId(999_999)), ..Query::default() };
    assert!(all(&world.store, &unknown).is_empty());
}

#[test]
fn the_story_of_an_entity_tells_what_was_decided_of_it_also_once_that_is_over() {
    let world = world();
    let happens = |event| world.happens(event);
    let (mine, other) = (world.entities[0], world.entities[1]);
    let case = v1::HoldPlaced { name: "case".into(), reason: "court".into(), entities: vec![mine] };
    let hold = happens(Event::HoldPlaced(case.into()));
    let end = HoldReleased { hold: HoldId(hold), reason: "over".into(), until: Timestamp(0) };
    let released = happens(Event::HoldReleased(end));
    let place = |entities| {
        let (ground, reason) = (RestrictionGround::NeededForClaims, "a claim".into());
        happens(Event::RestrictionPlaced(RestrictionPlaced { entities, ground, request: None, reason }))
    };
    let lift = |restriction, entities| {
        let restriction = RestrictionId(restriction);
        happens(Event::RestrictionLifted(RestrictionLifted { restriction, entities, reason: "settled".into() }))
    };
    let restricted = place(vec![mine, other]);
    let _of_the_other = lift(restricted, vec![other]);
    let lifted = lift(restricted, Vec::new());
    let elsewhere = place(vec![other]);
    let _elsewhere = lift(elsewhere, Vec::new());

    // A run takes both, and leaves the one alone.
    let (plan, run) = world.asks_for_run();
    let items = [mine, other].map(|entity| SagaItem { entity, version: Position(1), item: 0 }).to_vec();
    let script = ScriptKind::ExportPurge;
    let saga =
        happens(Event::SagaStarted(SagaStarted { run: RunId(run), script, script_version: 1, mailbox: None, items }));
    let items = vec![(mine, SkipReason::Held)];
    let skipped = happens(Event::ItemsSkipped(ItemsSkipped { saga: SagaId(saga), items }));
    let over = happens(Event::SagaEnded(SagaEnded { saga: SagaId(saga), end: SagaEnd::Completed, purged: 0 }));

    let (saga, manifest) = (SagaId(saga), Digest([3; 32]));
    let (to, reason) = ("tax adviser".into(), "audit".into());
    let given = happens(Event::BundleHandedOver(BundleHandedOver { saga, manifest, to, reason }));
    let began = BundleDestructionStarted { saga, manifest, request: None };
    let began = happens(Event::BundleDestructionStarted(began));
    let gone = happens(Event::BundleDestroyed(BundleDestroyed { request: None, saga, manifest, was_there: true }));

    let story = Query { entity: Some(mine), order: Order::OldestFirst, ..Query::default() };
    let told = all(&world.store, &story);
    let expected = [hold, released, restricted, lifted, plan, run, saga.0, skipped, over, given, began, gone];
    assert_eq!(told.get(1..).unwrap(), expected.map(|position| position.0));
    tells_the_same_by_types(&world.store, &story);
}

/// Whoever asks for events of one type is told those of the whole answer.
fn tells_the_same_by_types(store: &Store, question: &Query) {
    let told = all(store, question);
    let kind = |position: u64| store.read(Position(position)).unwrap().unwrap().event().unwrap().event_type();
    for wanted in told.iter().map(|position| kind(*position)) {
        let expected: Vec<u64> = told.iter().copied().filter(|position| kind(*position) == wanted).collect();
        assert_eq!(all(store, &Query { types: vec![wanted], ..question.clone() }), expected, "{wanted:?}");
    }
}

#[test]
fn the_story_of_an_entity_tells_of_runs_that_took_it_and_were_undone_and_of_those_that_ended_its_use() {
    let world = world();
    let happens = |event| world.happens(event);
    let (mine, other) = (world.entities[0], world.entities[1]);
    let takes = |entity, script, end| {
        let (plan, run) = world.asks_for_run();
        let items = vec![SagaItem { entity, version: Position(1), item: 0 }];
        let started = SagaStarted { run: RunId(run), script, script_version: 1, mailbox: None, items };
        let saga = SagaId(happens(Event::SagaStarted(started)));
        let (policy, policy_digest, entities) = ("old-contacts".into(), Digest([2; 32]), vec![entity]);
        let restricted = EntitiesRestricted { saga, policy, policy_digest, entities };
        let restricted = (script == ScriptKind::Restrict).then(|| happens(Event::EntitiesRestricted(restricted)));
        let over = happens(Event::SagaEnded(SagaEnded { saga, end, purged: 0 }));
        [Some(plan), Some(run), Some(saga.0), restricted, Some(over)].into_iter().flatten()
    };
    let undone = takes(mine, ScriptKind::ExportPurge, SagaEnd::Compensated);
    let _of_the_other = takes(other, ScriptKind::ExportPurge, SagaEnd::Compensated);
    let restricted = takes(mine, ScriptKind::Restrict, SagaEnd::Completed);
    let _of_the_other = takes(other, ScriptKind::Restrict, SagaEnd::Completed);
    let restricted_again = takes(mine, ScriptKind::Restrict, SagaEnd::Completed);
    let story = Query { entity: Some(mine), order: Order::OldestFirst, ..Query::default() };
    let told = all(&world.store, &story);
    let expected: Vec<u64> = undone.chain(restricted).chain(restricted_again).map(|position| position.0).collect();
    assert_eq!(told.get(1..).unwrap(), expected);
    tells_the_same_by_types(&world.store, &story);
}

#[test]
fn a_policy_and_a_run_are_told_with_all_that_belongs_to_them() {
    let world = world();
    let run = world.run.0.0;
    let of_run = Query { run: Some(world.run), order: Order::OldestFirst, limit: 2, ..Query::default() };
    assert_eq!(all(&world.store, &of_run), (run..=run + 6).collect::<Vec<_>>());
    let policy = Query { policy: Some("old-contacts".into()), run: None, ..of_run };
    assert_eq!(all(&world.store, &policy), (run - 1..=run + 6).collect::<Vec<_>>());
    let other = Query { policy: Some("another".into()), ..policy.clone() };
    assert!(all(&world.store, &other).is_empty());
    // And the holds, pauses and grants that name it.
    let happens = |event| world.happens(event);
    let case = |policies: &[&str]| {
        let case = v1::HoldPlaced { name: "case".into(), reason: "court".into(), entities: Vec::new() };
        let policies = policies.iter().map(|policy| (*policy).to_owned()).collect();
        Event::HoldPlaced(HoldPlaced { policies, ..case.into() })
    };
    let pause = |policy: &str| {
        let (scope, reason) = (PauseScope::Policy(policy.to_owned()), "wait".to_owned());
        Event::DisposalPaused(DisposalPaused { scope, reason })
    };
    let hold = HoldId(happens(case(&["another", "old-contacts"])));
    happens(case(&["a-third"]));
    let paused = happens(pause("old-contacts"));
    happens(pause("a-third"));
    let released = happens(Event::HoldReleased(HoldReleased { hold, reason: "over".into(), until: Timestamp(0) }));
    let expected: Vec<u64> = (run - 1..=run + 6).chain([hold.0.0, paused.0, released.0]).collect();
    assert_eq!(all(&world.store, &policy), expected);
    let other = Query { policy: Some("another".into()), ..policy };
    assert_eq!(all(&world.store, &other), [hold.0.0, released.0]);
    assert_eq!(world.store.view(|views| views.small.runs.run(world.run).unwrap().plan), PlanId(Position(run - 1)));
}

/// Records what is left of an entity, as a redaction does.
fn redact(store: &Store, of: EntityId) -> EntityId {
    let (rest, key) = store.issue(1).unwrap().pop().unwrap();
    let first_seen = store.view(|views| views.entities.row(of).unwrap().first_seen);
    let record = store.record(of).unwrap().unwrap();
    let body = EntitySucceeded {
        saga: SagaId(Position(1)),
        item: 1,
        of,
        first_seen,
        last_activity: None,
        activities: Vec::new(),
        absent: false,
        links: Vec::new(),
    };
    let draft =
        |event| Draft { stream: store.stream_of(rest), entity: Some(rest), ..super::super::open::daemon_draft(event) };
    let events = vec![
        store.prepare(draft(Event::EntitySucceeded(body)), None).unwrap(),
        store.prepare(draft(Event::EntityChanged(EntityChanged { record })), Some(&key)).unwrap(),
    ];
    store.append(events, Condition::None).unwrap();
    rest
}

#[test]
fn a_request_is_told_the_same_in_pages_and_with_what_is_recorded_later() {
    let world = world();
    let happens = |event| world.happens(event);
    let asked = SubjectRequested {
        kind: RequestKind::Erase,
        ground: None,
        marks: Vec::new(),
        named: vec![world.entities[7]],
        received_at: Timestamp(0),
        due_at: Timestamp(i64::MAX),
        timezone: "UTC".into(),
        reference: String::new(),
    };
    let request = RequestId(happens(Event::SubjectRequested(asked)));
    let changed = world.store.history(world.entities[7]).unwrap()[0].0;
    let query = Query { request: Some(request), order: Order::OldestFirst, limit: 1, ..Query::default() };
    for _ in 0..2 {
        assert_eq!(all(&world.store, &query), [changed, request.0.0]);
    }
    let records = vec![world.entities[7], world.entities[8]];
    let identified = happens(Event::SubjectIdentified(SubjectIdentified { request, records, how: "asked".into() }));
    let other = world.store.history(world.entities[8]).unwrap()[0].0;
    assert_eq!(all(&world.store, &query), [changed, other, request.0.0, identified.0]);

    // What is added to an answer that is known is what an answer without it has.
    let case = |entity| {
        let case = v1::HoldPlaced { name: "case".into(), reason: "court".into(), entities: vec![entity] };
        Event::HoldPlaced(case.into())
    };
    let hold = HoldId(happens(case(world.entities[8])));
    let _elsewhere = happens(case(world.entities[9]));
    let with_hold = [changed, other, request.0.0, identified.0, hold.0.0];
    assert_eq!(all(&world.store, &query), with_hold);
    let released = happens(Event::HoldReleased(HoldReleased { hold, reason: "over".into(), until: Timestamp(0) }));
    let added = all(&world.store, &query);
    assert_eq!(added, [&with_hold[..], &[released.0]].concat());
    *world.store.inner.last_request.lock() = None;
    assert_eq!(all(&world.store, &query), added);

    // What is left of a record after a redaction is theirs too.
    let rest = redact(&world.store, world.entities[7]);
    let of_rest: Vec<u64> = world.store.history(rest).unwrap().iter().map(|position| position.0).collect();
    assert_eq!(of_rest.len(), 2, "that it follows, and its state");
    let redacted = all(&world.store, &query);
    assert!(of_rest.iter().all(|position| redacted.contains(position)), "{of_rest:?} {redacted:?}");
    *world.store.inner.last_request.lock() = None;
    assert_eq!(all(&world.store, &query), redacted);
    let unknown = Query { request: Some(RequestId(identified)), ..query };
    assert!(all(&world.store, &unknown).is_empty());
}

#[test]
fn paging_backwards_is_not_moved_by_what_is_appended_meanwhile() {
    let world = world();
    let query = Query { limit: 10, ..Query::default() };
    let before = all(&world.store, &query);
    let first = world.store.query(&query).unwrap();
    purge(&world.store, &world.entities[20..25]);
    let mut told: Vec<u64> = first.rows.iter().map(|(position, _)| position.0).collect();
    told.extend(all(&world.store, &Query { after: first.next, ..query }));
    assert_eq!(told, before);
}

/// Two mailboxes and what happens to them, with what is expected to be told of each.
struct Mailboxes {
    dir: tempfile::TempDir,
    store: Store,
    boxes: [EntityId; 2],
    expected: [Vec<u64>; 2],
    /// Something lives in none of them.
    elsewhere: EntityId,
}

impl Mailboxes {
    /// Appends events that are about some of the mailboxes. Returns the position of the last.
    fn happens(&mut self, of: &[usize], entity: Option<EntityId>, events: Vec<Event>) -> Position {
        let stream = entity.map_or_else(retention_core::event::stream_of_daemon, |entity| self.store.stream_of(entity));
        let draft = |event| Draft { stream, entity, ..super::super::open::daemon_draft(event) };
        let count = events.len() as u64;
        let last = self.store.append_drafts(events.into_iter().map(draft).collect(), Condition::None).unwrap().last;
        for which in of {
            self.expected[*which].extend(last.0 + 1 - count..=last.0);
        }
        last
    }

    /// Records something new, which lives in a mailbox or nowhere.
    fn arrives(&mut self, of: &[usize], layout: LayoutId, id: &str, mailbox: Option<usize>) -> EntityId {
        let (entity, key) = self.store.issue(1).unwrap().pop().unwrap();
        let mailbox = mailbox.map(|which| self.boxes[which]);
        let record = EntityRecord { mailbox, other_ids: Vec::new(), ..record(layout, id) };
        let event = Event::EntityChanged(EntityChanged { record });
        let stream = self.store.stream_of(entity);
        let draft = Draft { stream, entity: Some(entity), ..super::super::open::daemon_draft(event) };
        let prepared = self.store.prepare(draft, Some(&key)).unwrap();
        let position = self.store.append(vec![prepared], Condition::None).unwrap().last;
        for which in of {
            self.expected[*which].push(position.0);
        }
        entity
    }

    /// Registers a mailbox with a credential of its own, as intake does.
    fn register(&mut self, which: usize) -> EntityId {
        let (credential, key) = self.store.issue(1).unwrap().pop().unwrap();
        let mailbox = self.boxes[which];
        let stored =
            Event::CredentialStored(CredentialStored { secret: SealedSecret::new("secret".to_owned().into()) });
        let registered =
            Event::MailboxRegistered(MailboxRegistered { server: "mail".into(), credential: Some(credential) });
        let prepare = |entity, event, key| {
            let stream = self.store.stream_of(entity);
            let draft = Draft { stream, entity: Some(entity), ..super::super::open::daemon_draft(event) };
            self.store.prepare(draft, key).unwrap()
        };
        let both = vec![prepare(credential, stored, Some(&key)), prepare(mailbox, registered, None)];
        let last = self.store.append(both, Condition::None).unwrap().last.0;
        self.expected[which].extend([last - 1, last]);
        credential
    }

    /// Purges things by one saga, which works in the mailbox of the first.
    fn purge(&mut self, of: &[usize], entities: &[EntityId]) {
        let before = self.store.view(|views| views.position.0);
        purge(&self.store, entities);
        let last = self.store.view(|views| views.position.0);
        for which in of {
            self.expected[*which].extend(before + 1..=last);
        }
    }

    fn told(&self, which: usize, query: &Query) -> Vec<u64> {
        all(&self.store, &Query { mailboxes: vec![self.boxes[which]], order: Order::OldestFirst, ..query.clone() })
    }
}

fn mailboxes() -> Mailboxes {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&init(dir.path()));
    let contacts = add_layout(&store);
    let of_boxes = LayoutId(contacts.0 + 1);
    let layout = Layout { kind: Kind::Mailbox, source: "mail".into(), ..super::super::tests::layout() };
    let event = Event::LayoutRecorded(LayoutRecorded { id: of_boxes, layout });
    store.append_drafts(vec![super::super::open::daemon_draft(event)], Condition::None).unwrap();
    let nobody = EntityId(u32::MAX);
    let mut world =
        Mailboxes { dir, store, boxes: [nobody; 2], expected: [const { Vec::new() }; 2], elsewhere: nobody };
    for (which, address) in ["jana@example.org", "petr@example.org"].into_iter().enumerate() {
        world.boxes[which] = world.arrives(&[which], of_boxes, address, None);
    }
    let credential = world.register(0);
    let _other = world.register(1);
    let items: Vec<EntityId> = (0..40)
        .map(|n| match n % 3 {
            2 => world.arrives(&[], contacts, &format!("x{n}"), None),
            which => world.arrives(&[which], contacts, &format!("m{n}"), Some(which)),
        })
        .collect();
    let [jana, petr] = world.boxes;
    world.elsewhere = items[2];
    let _ = world.happens(&[0], Some(items[3]), vec![Event::EntityAbsent(EntityAbsent { intake: nobody })]);
    let _ = world.happens(&[], Some(items[2]), vec![Event::EntityAbsent(EntityAbsent { intake: nobody })]);
    let _ = world.happens(&[0], Some(jana), vec![Event::MailboxScanRequested(MailboxScanRequested {})]);
    world.grant_and_migrate(jana, petr);
    world.hold_and_pause(jana, petr, &items);
    world.purge(&[0], &[items[0], items[9], items[12]]);
    world.purge(&[1], &[items[1]]);
    world.purge(&[], &[items[5]]);
    let removed =
        world.happens(&[0], Some(jana), vec![Event::MailboxRemoved(MailboxRemoved { reason: "left".into() })]);
    let gone = Draft {
        stream: world.store.stream_of(credential),
        entity: Some(credential),
        cause: removed,
        ..super::super::open::daemon_draft(Event::CredentialDestroyed(CredentialDestroyed {}))
    };
    let gone = world.store.append_drafts(vec![gone], Condition::None).unwrap().last.0;
    world.expected[0].push(gone);
    world
}

impl Mailboxes {
    fn grant_and_migrate(&mut self, jana: EntityId, petr: EntityId) {
        let grant = GrantRequested {
            mailbox: petr,
            principal: Handle([3; 16]),
            identifier: "clerk".into(),
            purpose: GrantPurpose::Request,
            policy: "access".into(),
            policy_digest: Digest([4; 32]),
            duration_ms: 1,
            max_ms: 1,
            alarm_after_ms: 1,
            approvals: 0,
            approval_valid_ms: 1,
            reason: "because".into(),
            ticket: None,
        };
        let grant = GrantId(self.happens(&[1], None, vec![Event::GrantRequested(grant)]));
        let started = GrantStepStarted { grant, step: GrantStep::Read, attempt: 1 };
        let _ = self.happens(&[1], None, vec![Event::GrantStepStarted(started)]);
        let asked = MigrationRequested { source: jana, target: petr, exclude: Vec::new(), max_bytes: None };
        let migration = MigrationId(self.happens(&[0, 1], None, vec![Event::MigrationRequested(asked)]));
        let opened = MigrationFolderOpened {
            migration,
            folder: 0,
            path: "INBOX".into(),
            into: "INBOX".into(),
            source_validity: 1,
            target_validity: 1,
        };
        let _ = self.happens(&[0, 1], Some(jana), vec![Event::MigrationFolderOpened(opened)]);
        let stop = MigrationStopRequested { migration, reason: "enough".into() };
        let _ = self.happens(&[0, 1], None, vec![Event::MigrationStopRequested(stop)]);
    }

    fn hold_and_pause(&mut self, jana: EntityId, petr: EntityId, items: &[EntityId]) {
        let hold = |entities: Vec<EntityId>, mailboxes: Vec<EntityId>| {
            Event::HoldPlaced(HoldPlaced {
                name: "case".into(),
                reason: "court".into(),
                owner: String::new(),
                reference: String::new(),
                review_at: None,
                entities,
                mailboxes,
                policies: Vec::new(),
                standing: None,
                filter: String::new(),
            })
        };
        let whole = HoldId(self.happens(&[0], None, vec![hold(Vec::new(), vec![jana])]));
        let released = HoldReleased { hold: whole, reason: "over".into(), until: Timestamp(0) };
        let _ = self.happens(&[0], None, vec![Event::HoldReleased(released)]);
        let single = HoldId(self.happens(&[1], None, vec![hold(vec![items[4]], Vec::new())]));
        let released = HoldReleased { hold: single, reason: "over".into(), until: Timestamp(0) };
        let _ = self.happens(&[1], None, vec![Event::HoldReleased(released)]);
        let _ = self.happens(&[], None, vec![hold(vec![items[8]], Vec::new())]);
        let place = |entities| RestrictionPlaced {
            entities,
            ground: RestrictionGround::NeededForClaims,
            request: None,
            reason: "a claim".into(),
        };
        let lift = |restriction, entities| RestrictionLifted { restriction, entities, reason: "settled".into() };
        let placed = self.happens(&[1], None, vec![Event::RestrictionPlaced(place(vec![items[4], items[8]]))]);
        let placed = RestrictionId(placed);
        let _ = self.happens(&[], None, vec![Event::RestrictionLifted(lift(placed, vec![items[8]]))]);
        let _ = self.happens(&[1], None, vec![Event::RestrictionLifted(lift(placed, Vec::new()))]);
        let pause = |scope| Event::DisposalPaused(DisposalPaused { scope, reason: "wait".into() });
        let _ = self.happens(&[1], None, vec![pause(PauseScope::Mailbox(petr))]);
        let _ = self.happens(&[], None, vec![pause(PauseScope::All)]);
    }
}

#[test]
fn a_mailbox_is_told_with_what_lives_or_lived_in_it_and_nothing_else() {
    let world = mailboxes();
    let Mailboxes { store, boxes, expected, .. } = &world;
    for which in [0, 1] {
        for limit in [1, 7, 10_000] {
            let query = Query { limit, ..Query::default() };
            assert_eq!(world.told(which, &query), expected[which], "mailbox {which}, pages of {limit}");
            let back: Vec<u64> = expected[which].iter().rev().copied().collect();
            assert_eq!(all(store, &Query { mailboxes: vec![boxes[which]], ..query }), back);
        }
    }
    let mut both: Vec<u64> = expected.concat();
    both.sort_unstable();
    both.dedup();
    let query = Query { mailboxes: boxes.to_vec(), order: Order::OldestFirst, ..Query::default() };
    assert_eq!(all(store, &query), both);
    let nowhere = Query { mailboxes: vec![world.elsewhere], ..Query::default() };
    assert_eq!(all(store, &nowhere), all(store, &Query { entity: Some(world.elsewhere), ..Query::default() }));
}

#[test]
fn a_mailbox_combines_with_every_other_filter() {
    let world = mailboxes();
    let is_of = |position: u64, types: &[EventType]| {
        let row = world.store.row(Position(position)).unwrap().unwrap();
        types.iter().any(|known| *known as u16 == row.event_type)
    };
    let types = vec![EventType::KeyDestroyed, EventType::MailboxRegistered];
    let expected: Vec<u64> = world.expected[0].iter().copied().filter(|at| is_of(*at, &types)).collect();
    assert_eq!(expected.len(), 4);
    assert_eq!(world.told(0, &Query { types, limit: 3, ..Query::default() }), expected);
    let policy = Query { policy: Some("old-contacts".into()), ..Query::default() };
    let run = world.store.view(|views| views.small.runs.iter().next().map(|(id, _)| id)).unwrap();
    let of_policy = world.told(0, &policy);
    assert_eq!(of_policy.len(), 8, "plan, run, saga, intent, three keys, the end: {of_policy:?}");
    assert_eq!(world.told(0, &Query { run: Some(run), ..policy.clone() }), of_policy[1..]);
    assert!(world.told(1, &Query { run: Some(run), ..policy }).is_empty());
    let person = Query { actor: Some(Actor::Person(9)), ..Query::default() };
    assert!(world.told(0, &person).is_empty());
}

#[test]
fn a_mailbox_is_told_alike_when_the_views_are_made_again_and_when_it_is_purged_itself() {
    let mut world = mailboxes();
    let jana = world.boxes[0];
    // The saga that purges a mailbox works in none, and yet is a part of what happened to it.
    world.purge(&[0], &[jana]);
    assert!(world.store.mailboxes_at("jana@example.org").is_empty());
    assert_eq!(world.told(0, &Query::default()), world.expected[0]);
    let Mailboxes { dir, store, expected, .. } = world;
    store.close().unwrap();
    let store = Store::rebuild(&super::super::tests::options(dir.path()), &mut |_, _| {}).unwrap();
    let query = Query { mailboxes: vec![jana], order: Order::OldestFirst, ..Query::default() };
    assert_eq!(all(&store, &query), expected[0]);
}

#[test]
fn an_address_finds_its_mailbox_in_every_source_and_nothing_that_is_no_mailbox() {
    let world = mailboxes();
    let at = |address: &str| world.store.mailboxes_at(address);
    assert_eq!(at("jana@example.org"), [world.boxes[0]]);
    assert_eq!(at(" Petr@Example.org "), [world.boxes[1]]);
    assert!(at("nobody@example.org").is_empty() && at("m0").is_empty() && at("").is_empty());
}

#[test]
fn rows_and_bodies_each_are_enough_for_a_page() {
    let mut spent = Spent { rows: ROWS_MAX - 1, bodies: 0 };
    assert!(!spent.is_enough());
    spent.rows += 1;
    assert!(spent.is_enough());
    assert!(Spent { rows: 0, bodies: BODIES_MAX }.is_enough());
}
