//! A run of which too much is not any more as it was planned ends before its next effect.

use retention_core::event::Event;
use retention_core::event::saga::SagaEnd;
use retention_core::id::{EntityId, RunId};
use retention_core::view::{Drift, EntityState, RunState};
use retention_tests::world::{APPROVER, Stage, Stepped, World, policy};

/// How many contacts fall due: at a fifth of them, five, a run goes on.
const CONTACTS: u64 = 25;

struct Due {
    world: World,
    contacts: Vec<EntityId>,
}

impl Due {
    fn under(quarantine: &str, edit: impl Fn(String) -> String) -> Self {
        let mut world = World::new(quarantine);
        world.write_policy("contacts", &edit(policy("contacts", quarantine)));
        let contacts = (0..CONTACTS).map(|number| world.add(&format!("c{number}"), "2020-01-01")).collect();
        world.settle();
        Self { world, contacts }
    }

    fn new(quarantine: &str) -> Self {
        Self::under(quarantine, |text| text)
    }

    /// Lets a run come to its quarantine.
    fn waiting(&mut self) -> RunId {
        let (_, run) = self.world.approved_run("contacts");
        self.world.settle();
        run
    }

    fn change(&mut self, count: usize) {
        for contact in &self.contacts[..count] {
            self.world.change(*contact, "again");
        }
    }

    fn stopped(&self, run: RunId) -> Option<Drift> {
        self.world.store().view(|views| views.small.runs.run(run).expect("a run").stopped)
    }

    fn to_plan_anew(&self) -> Vec<RunId> {
        self.world.store().view(|views| views.small.runs_to_plan_anew().map(|(run, _)| run).collect())
    }

    fn assert_purged_but(&self, kept: &[EntityId]) {
        for contact in &self.contacts {
            let state = if kept.contains(contact) { EntityState::Visible } else { EntityState::Purged };
            assert_eq!(self.world.state_of(*contact), state, "{contact}\n{}", self.world.story());
        }
    }

    fn assert_stopped(&self, run: RunId, drifted: u64) {
        let found = (self.world.run_state(run), self.stopped(run));
        assert_eq!(
            found,
            (RunState::Cancelled, Some(Drift { looked_at: CONTACTS, drifted })),
            "{}",
            self.world.story()
        );
        self.assert_purged_but(&self.contacts);
        assert_eq!(self.world.export_entries(), 0, "what it exported is undone: {}", self.world.story());
    }
}

#[test]
fn a_run_ends_when_more_than_a_fifth_changed_in_quarantine_and_goes_on_at_a_fifth() {
    let mut due = Due::new("P7D");
    let run = due.waiting();
    due.change(5);
    due.world.finish();
    assert_eq!((due.world.run_state(run), due.stopped(run)), (RunState::Completed, None), "{}", due.world.story());
    due.assert_purged_but(&due.contacts[..5]);

    let mut due = Due::new("P7D");
    let run = due.waiting();
    due.change(6);
    due.world.finish();
    due.assert_stopped(run, 6);
}

#[test]
fn what_changed_before_the_run_ends_it_before_its_first_effect() {
    let mut due = Due::new("P0D");
    let plan = due.world.request_plan("contacts").expect("a plan");
    due.world.settle();
    due.world.approve(plan, APPROVER);
    due.change(6);
    let run = due.world.request_run(plan).expect("a run");
    due.world.finish();
    due.assert_stopped(run, 6);
    let log = due.world.log();
    assert!(!log.iter().any(|recorded| matches!(recorded.event(), Some(Event::StepStarted(_)))));
}

#[test]
fn what_came_under_a_hold_counts_and_the_limit_is_that_of_the_policy() {
    for (percent, is_stopped) in [(23, true), (24, false), (100, false)] {
        let limit = format!("max_percent = 100\nmax_drift_percent = {percent}");
        let mut due = Due::under("P7D", |text| text.replace("max_percent = 100", &limit));
        let run = due.waiting();
        let held = due.contacts[..6].to_vec();
        due.world.hold(&held);
        due.world.finish();
        if is_stopped {
            due.assert_stopped(run, 6);
        } else {
            assert_eq!(due.world.run_state(run), RunState::Completed, "{}", due.world.story());
            due.assert_purged_but(&held);
        }
    }
}

#[test]
fn what_a_person_took_out_of_the_run_does_not_count() {
    let mut due = Due::new("P7D");
    let run = due.waiting();
    let taken_out = due.contacts[..10].to_vec();
    for contact in &taken_out {
        assert!(due.world.restore(*contact));
    }
    due.world.finish();
    assert_eq!(due.world.run_state(run), RunState::Completed, "{}", due.world.story());
    due.assert_purged_but(&taken_out);
}

#[test]
fn of_few_items_any_part_may_have_changed() {
    let mut world = World::new("P7D");
    let contacts: Vec<EntityId> = ["a", "b", "c"].iter().map(|id| world.add(id, "2020-01-01")).collect();
    world.settle();
    let (_, run) = world.approved_run("contacts");
    world.settle();
    world.change(contacts[0], "again");
    world.change(contacts[1], "again");
    world.finish();
    assert_eq!((world.run_state(run), world.state_of(contacts[2])), (RunState::Completed, EntityState::Purged));
}

#[test]
fn a_saga_that_is_done_stays_done_and_what_changed_in_it_stops_the_next() {
    let mut world = World::new("P7D");
    let mailbox = world.add("m", "2026-01-01");
    let first: Vec<EntityId> =
        (0..15).map(|number| world.add_in(mailbox, &format!("a{number}"), "2020-01-01")).collect();
    let second: Vec<EntityId> = (0..15).map(|number| world.add(&format!("b{number}"), "2020-01-01")).collect();
    world.settle();
    let (_, run) = world.approved_run("contacts");
    world.settle();
    for contact in &first[..10] {
        world.change(*contact, "again");
    }
    world.finish();
    let stopped = world.store().view(|views| views.small.runs.run(run).expect("a run").stopped);
    assert_eq!(stopped, Some(Drift { looked_at: 30, drifted: 10 }), "{}", world.story());
    assert_eq!(world.run_state(run), RunState::Cancelled);
    let is = |contact: &EntityId, state| world.state_of(*contact) == state;
    assert!(first[10..].iter().all(|contact| is(contact, EntityState::Purged)), "{}", world.story());
    assert!(first[..10].iter().chain(&second).all(|contact| is(contact, EntityState::Visible)), "{}", world.story());
    let ends: Vec<SagaEnd> = (world.log().iter())
        .filter_map(|recorded| match recorded.event() {
            Some(Event::SagaEnded(body)) => Some(body.end),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [SagaEnd::Completed, SagaEnd::Compensated]);
}

#[test]
fn a_restart_at_any_step_lets_no_purge_begin_that_had_to_be_stopped() {
    for steps in 0.. {
        let mut due = Due::new("P7D");
        let run = due.waiting();
        due.change(6);
        let until = due.world.settle().expect("the end of the quarantine");
        due.world.clock.pass_until(until);
        let mut is_over = false;
        for _ in 0..steps {
            is_over |= due.world.step(Stage::Run) != Stepped::Worked;
        }
        due.world.reopen();
        due.world.finish();
        due.assert_stopped(run, 6);
        if is_over {
            assert!(steps > 3, "to look again, to stop, and to undo take more than {steps} steps");
            return;
        }
    }
}

#[test]
fn a_stopped_run_is_told_until_a_plan_is_made_anew_and_that_takes_what_is_as_it_says() {
    let mut due = Due::new("P7D");
    let run = due.waiting();
    due.change(6);
    due.world.finish();
    due.world.lose_sled();
    due.assert_stopped(run, 6);
    assert_eq!(due.to_plan_anew(), [run], "folded anew");
    due.world.settle();
    due.world.approved_run("contacts");
    assert_eq!(due.to_plan_anew(), []);
    due.world.finish();
    due.assert_purged_but(&[]);
}
