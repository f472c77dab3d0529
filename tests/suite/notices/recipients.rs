//! Recipients of copies: each is told what became of them once, by their own channel, whatever crashes on the way.

use retention_core::event::erasure::BundleHandedOver;
use retention_core::event::{Actor, Recorded};
use retention_core::id::{EntityId, Position, RequestId};
use retention_core::view::Condition;
use retention_tests::invariants::MARKER;
use retention_tests::world::{APPROVER, OFFICER};
use retentiond::diagnostics::Redacted;

use super::*;

const CHANNEL: &str = "adviser";

/// Who has this channel. A recipient may be a person, so nothing of it may be found in any file.
fn adviser() -> String {
    format!("{MARKER} adviser")
}

/// Tells the adviser everything that is owed, in as many lives as it takes, and returns how many those were.
fn tell(world: &mut World, far: &Far) -> usize {
    tell_on(world, &[Thing::RecipientToTell], || ChannelOf {
        name: CHANNEL.to_owned(),
        before: Vec::new(),
        recipient: Some(Redacted(adviser())),
        carrier: Box::new(far.clone()),
    })
}

fn manifest(recorded: &Recorded) -> Option<BundleHandedOver> {
    use retention_core::event::saga::Receipt;
    let Some(Event::StepSucceeded(body)) = recorded.event() else { return None };
    match &body.receipt {
        Receipt::Exported { manifest, .. } => {
            let (to, reason) = (String::new(), MARKER.to_owned());
            Some(BundleHandedOver { saga: body.saga, manifest: *manifest, to, reason })
        }
        _ => None,
    }
}

/// An erasure that is done, with a copy of its bundle for the adviser and one for somebody else.
fn erased() -> (World, RequestId, Position) {
    let mut world = World::new("P7D");
    let records: [EntityId; 2] = [world.add("a", "2026-01-01"), world.add("b", "2026-01-02")];
    world.settle();
    let request = world.ask_for_erasure().expect("a request");
    world.identify(request, &records);
    world.settle();
    let plan = world.plans_of(request)[0];
    world.approve(plan, APPROVER);
    world.finish();
    let copy = world.log().iter().find_map(manifest).expect("a bundle");
    let mut give = |to: String| {
        let event = Event::BundleHandedOver(BundleHandedOver { to, ..copy.clone() });
        let given = world.append(Actor::Person(OFFICER), copy.saga.0, event, Condition::None);
        given.expect("the log takes it").first
    };
    let to_adviser = give(adviser());
    give(format!("{MARKER} auditors"));
    (world, request, to_adviser)
}

#[test]
fn a_recipient_is_told_once_of_their_own_copy_also_by_views_that_were_made_again() {
    let (mut world, request, recipient) = erased();
    let far = Far::default();
    tell(&mut world, &far);
    world.lose_sled();
    tell(&mut world, &far);
    let erased = world.store().view(|views| views.small.subjects.get(request).expect("it").records().to_vec());
    assert_eq!(erased.len(), 2);
    assert_eq!(sent(&world), [Notice::RecipientToTell { request, recipient, erased, restricted: Vec::new() }]);
    assert_eq!(far.things(), [Thing::RecipientToTell]);
    let left = |world: &World| {
        let copies = world.store().handed_over().expect("the copies");
        let now = world.clock.now();
        world.store().view(|views| views.to_tell(&copies, now).map(|told| told.copy.recipient).collect::<Vec<_>>())
    };
    assert!(!left(&world).contains(&recipient) && left(&world).len() == 1, "the other one has no channel");
    world.check();
}

#[test]
fn a_crash_at_any_flush_tells_a_recipient_again_only_under_the_same_id() {
    for remains in Remains::ALL {
        at_every_flush("a notice to a recipient", remains, 2, |nth, remains| {
            let (mut world, _, _) = erased();
            let far = Far::default();
            world.gate.crash_at(nth, remains);
            let lives = tell(&mut world, &far);
            let counts = far.counts();
            assert_eq!((sent(&world).len(), counts.len()), (1, 1), "{remains:?} {nth}: {counts:?}\n{}", world.story());
            assert!(counts.values().all(|count| *count <= 2), "{remains:?} {nth}: {counts:?}");
            lives > 1
        });
    }
}
