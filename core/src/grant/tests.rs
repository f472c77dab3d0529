//! The machine against a mailbox with faults: from every state that can be reached, driving ends with everything taken
//! back that was given, and with everything there that stood before.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::event::grant::GrantPurpose;
use crate::event::grant::{
    GrantEnded, GrantReceipt, GrantRenewed, GrantRequested, GrantRevokeRequested, GrantStepFailed, GrantStepStarted,
    GrantStepSucceeded, OpenSessions, VerifiedAs,
};
use crate::event::{Actor, Envelope, Event, Readable, Recorded, stream_of_daemon};
use crate::id::{Digest, EntityId, Handle, Position, RunId};
use crate::view::{GrantState, Grants};

const HOUR_MS: u64 = 3_600_000;
const MINUTE_US: i64 = 60_000_000;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Refused,
    LostNotApplied,
    LostButApplied,
    /// On the first folder only, and then the connection is lost.
    HalfApplied,
    /// The daemon stops before the end is recorded; it happened.
    Crash,
}

/// What somebody does in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Drive(usize, Fault),
    Ask,
    Renew(usize),
    Revoke(usize),
    Wait(i64),
    CreateFolder(u8),
    Reduce(u8),
}

/// A mailbox with one principal, and the log of its grants.
struct World {
    rights: BTreeMap<String, Rights>,
    /// What stood there before.
    standing: BTreeMap<String, Rights>,
    readings: BTreeMap<Position, Vec<FolderRights>>,
    grants: Grants,
    position: u64,
    now: Timestamp,
}

impl World {
    fn new(standing: &[&str]) -> Self {
        let names = ["INBOX", "INBOX/Projects", "Archive"];
        let standing: BTreeMap<String, Rights> = names
            .iter()
            .zip(standing.iter().chain(std::iter::repeat(&"")))
            .map(|(name, rights)| ((*name).to_owned(), rights.parse().unwrap()))
            .collect();
        let (grants, readings) = (Grants::default(), BTreeMap::new());
        Self { rights: standing.clone(), standing, readings, grants, position: 0, now: Timestamp(1_000_000) }
    }

    fn append(&mut self, actor: Actor, event: Event) -> Position {
        self.position += 1;
        let position = Position(self.position);
        let envelope = Envelope {
            event_type: event.event_type() as u16,
            schema: 1,
            sealed: false,
            position,
            recorded_at: self.now,
            occurred_at: self.now,
            stream: stream_of_daemon(),
            actor,
            cause: Position::NONE,
            entity: None,
            texts: None,
            body_len: 0,
            body_digest: Digest([0; 32]),
        };
        let recorded = Recorded { envelope, event: Readable::Event(Box::new(event.clone())) };
        self.grants.fold(&recorded.envelope, &event);
        position
    }

    fn ask(&mut self, purpose: GrantPurpose) -> GrantId {
        GrantId(self.append(
            Actor::Person(1),
            Event::GrantRequested(GrantRequested {
                mailbox: EntityId(1),
                principal: Handle([1; 16]),
                identifier: "helper".to_owned(),
                purpose,
                policy: "access".to_owned(),
                policy_digest: Digest([0; 32]),
                duration_ms: if purpose.is_removal() { 0 } else { HOUR_MS },
                max_ms: 3 * HOUR_MS,
                alarm_after_ms: HOUR_MS / 4,
                approvals: 0,
                approval_valid_ms: HOUR_MS,
                reason: String::new(),
                ticket: None,
            }),
        ))
    }

    fn set(&mut self, wanted: Vec<(String, Rights)>, fault: Fault) {
        let applied = match fault {
            Fault::Refused | Fault::LostNotApplied => 0,
            Fault::HalfApplied => 1,
            Fault::None | Fault::LostButApplied | Fault::Crash => wanted.len(),
        };
        self.rights.extend(wanted.into_iter().take(applied));
    }

    fn base(&self, id: GrantId) -> Standing {
        let newest = self.grants.newest_reading(id).last().expect("a reading");
        Standing::of(self.readings[newest].clone())
    }

    fn wanted(&self, id: GrantId, step: GrantStep) -> Vec<(String, Rights)> {
        let base = self.base(id);
        let gone = base.gone(self.rights.keys().map(String::as_str));
        self.rights
            .iter()
            .map(|(folder, present)| {
                let wanted = match step {
                    GrantStep::Give => present.and(Rights::FULL_ACCESS),
                    GrantStep::Read | GrantStep::Revoke | GrantStep::VerifyRevoked => {
                        present.after_revoking(Rights::FULL_ACCESS, base.on(folder, Some('/'), gone))
                    }
                };
                (folder.clone(), wanted)
            })
            .filter(|(folder, wanted)| !self.rights[folder].is_same_as(*wanted))
            .collect()
    }

    fn read(&mut self, id: GrantId) {
        let base = self.grants.beside(id).next().map(|_| self.base(id));
        let is_removal = self.grants.get(id).unwrap().purpose.is_removal();
        let folders = self
            .rights
            .iter()
            .map(|(folder, present)| {
                let after = match &base {
                    _ if is_removal => Rights::NONE,
                    Some(base) => present.after_revoking(Rights::FULL_ACCESS, base.on(folder, Some('/'), Rights::NONE)),
                    None => *present,
                };
                FolderRights { folder: folder.clone(), before: *present, asked: *present, after }
            })
            .collect();
        self.position += 1;
        self.readings.insert(Position(self.position), folders);
    }

    /// Does the one thing that comes next. Returns whether there was one.
    fn drive(&mut self, id: GrantId, fault: Fault) -> bool {
        let grant = self.grants.get(id).unwrap().clone();
        let (step, attempt) = match next(&grant, self.grants.standing_beside(id, self.now), self.now, self.now) {
            Next::Start { step, attempt } => {
                self.append(Actor::Daemon, Event::GrantStepStarted(GrantStepStarted { grant: id, step, attempt }));
                (step, attempt)
            }
            Next::Probe { step, attempt } => {
                let is_done = step != GrantStep::Read && self.wanted(id, step).is_empty();
                if fault == Fault::None && !is_done && step == GrantStep::Give {
                    let (failure, code) = (Failure::Refused, "not_applied".to_owned());
                    let retry_at = Some(self.now);
                    let body = GrantStepFailed { grant: id, step, attempt, failure, code, retry_at };
                    self.append(Actor::Daemon, Event::GrantStepFailed(body));
                    return true;
                }
                (step, attempt)
            }
            Next::WaitUntil(_) | Next::Nothing => return false,
            Next::End(end) => {
                self.append(Actor::Daemon, Event::GrantEnded(GrantEnded { grant: id, end }));
                return true;
            }
        };
        self.apply(id, step, attempt, fault);
        true
    }

    fn apply(&mut self, id: GrantId, step: GrantStep, attempt: u32, fault: Fault) {
        match step {
            GrantStep::Read => self.read(id),
            GrantStep::Give | GrantStep::Revoke | GrantStep::VerifyRevoked => {
                let wanted = self.wanted(id, step);
                self.set(wanted, fault);
            }
        }
        let fail = |failure, retry_at| {
            let code = "fault".to_owned();
            Event::GrantStepFailed(GrantStepFailed { grant: id, step, attempt, failure, code, retry_at })
        };
        let event = match fault {
            Fault::Crash => return,
            Fault::Refused => fail(Failure::Refused, retry_at(step, attempt, self.now)),
            Fault::LostNotApplied | Fault::LostButApplied | Fault::HalfApplied => {
                fail(Failure::Unknown, Some(Timestamp(self.now.0 + MINUTE_US)))
            }
            Fault::None => {
                let receipt = match step {
                    GrantStep::Read => GrantReceipt::Read { folders: 0, standing: 0, parts: 1 },
                    GrantStep::Give => GrantReceipt::Given { folders: 0, changed: 0, parts: 0 },
                    GrantStep::Revoke => GrantReceipt::Revoked { folders: 0, changed: 0, standing: 0, parts: 0 },
                    GrantStep::VerifyRevoked => GrantReceipt::VerifiedGone {
                        verified_as: VerifiedAs::Admin,
                        folders: 0,
                        sessions: OpenSessions::Ended,
                    },
                };
                Event::GrantStepSucceeded(GrantStepSucceeded { grant: id, step, receipt })
            }
        };
        self.append(Actor::Daemon, event);
    }

    fn ids(&self) -> Vec<GrantId> {
        self.grants.iter().map(|(id, _)| id).collect()
    }

    fn act(&mut self, deed: Deed) {
        let ids = self.ids();
        let pick = |n: usize| ids.get(n % ids.len().max(1)).copied();
        match deed {
            Deed::Drive(n, fault) => {
                if let Some(id) = pick(n) {
                    self.drive(id, fault);
                }
            }
            Deed::Ask => {
                self.ask(GrantPurpose::Request);
            }
            Deed::Renew(n) => {
                if let Some(grant) = pick(n) {
                    let body = GrantRenewed { grant, duration_ms: HOUR_MS, reason: String::new() };
                    self.append(Actor::Person(1), Event::GrantRenewed(body));
                }
            }
            Deed::Revoke(n) => {
                if let Some(grant) = pick(n) {
                    let body = GrantRevokeRequested { grant, reason: String::new() };
                    self.append(Actor::Person(1), Event::GrantRevokeRequested(body));
                }
            }
            Deed::Wait(minutes) => self.now = Timestamp(self.now.0 + minutes * MINUTE_US),
            // Servers copy the permissions of the folder above.
            Deed::CreateFolder(n) => {
                let inherited = self.rights["INBOX"];
                let name = format!("INBOX/new {n}");
                self.rights.entry(name.clone()).or_insert(inherited);
                let stood = self.standing["INBOX"];
                self.standing.entry(name).or_insert(stood);
            }
            // The owner takes something away meanwhile: it is never given back. Between the reading of what stands and
            // the end of giving nobody can tell, since the protocol has no condition on a change.
            Deed::Reduce(_) if self.is_giving() => {}
            Deed::Reduce(n) => {
                let name = ["INBOX", "INBOX/Projects", "Archive"][usize::from(n) % 3];
                let less: Rights = "lr".parse().unwrap();
                let (now, stood) = (self.rights[name].without(less), self.standing[name].without(less));
                self.rights.insert(name.to_owned(), now);
                self.standing.insert(name.to_owned(), stood);
            }
        }
        self.check_standing();
    }

    fn is_giving(&self) -> bool {
        self.grants.open().any(|(_, grant)| {
            grant.receipt(GrantStep::Read).is_some()
                && grant.receipt(GrantStep::Give).is_none()
                && grant.step(GrantStep::Revoke).is_none()
        })
    }

    /// What stood before is there at every moment.
    fn check_standing(&self) {
        for (folder, stood) in &self.standing {
            assert!(self.rights[folder].covers(*stood), "{folder}: {:?} lost from {:?}", stood, self.rights[folder]);
        }
    }

    /// Drives everything, with time passing, until nothing is open.
    fn finish(&mut self) {
        for _ in 0..1_000 {
            let mut worked = false;
            for id in self.ids() {
                worked |= self.drive(id, Fault::None);
            }
            self.check_standing();
            if !worked {
                if self.grants.open().next().is_none() {
                    return;
                }
                self.now = Timestamp(self.now.0 + 10 * MINUTE_US);
            }
        }
        panic!("a grant never ends: {:?}", self.grants);
    }

    fn check_end(&self) {
        for (folder, rights) in &self.rights {
            let stood = self.standing[folder];
            assert!(rights.is_same_as(stood), "{folder}: {rights:?} is left, {stood:?} stood before");
        }
        assert!(self.grants.iter().all(|(_, grant)| !grant.is_inconsistent));
    }
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::None,
        Fault::None,
        Fault::None,
        Fault::Refused,
        Fault::LostNotApplied,
        Fault::LostButApplied,
        Fault::HalfApplied,
        Fault::Crash,
    ])
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        10 => (any::<usize>(), any_fault()).prop_map(|(n, fault)| Deed::Drive(n, fault)),
        1 => Just(Deed::Ask),
        1 => any::<usize>().prop_map(Deed::Renew),
        1 => any::<usize>().prop_map(Deed::Revoke),
        3 => (0..50_i64).prop_map(Deed::Wait),
        1 => (0..3_u8).prop_map(Deed::CreateFolder),
        1 => any::<u8>().prop_map(Deed::Reduce),
    ]
}

proptest! {
    #[test]
    fn whatever_goes_wrong_nothing_is_left_behind_and_what_stood_stays(
        standing in prop::collection::vec(prop::sample::select(vec!["", "lr", "lrs", "lrswipkxtea"]), 3),
        deeds in prop::collection::vec(any_deed(), 0..80),
    ) {
        let mut world = World::new(&standing);
        world.ask(GrantPurpose::Request);
        deeds.into_iter().for_each(|deed| world.act(deed));
        world.finish();
        world.check_end();
    }

    #[test]
    fn a_lease_never_lasts_longer_than_the_policy_allows(deeds in prop::collection::vec(any_deed(), 0..60)) {
        let mut world = World::new(&[""]);
        world.ask(GrantPurpose::Request);
        for deed in deeds {
            world.act(deed);
            for (_, grant) in world.grants.iter() {
                if let (Some(begun), Some(end)) = (grant.begun_at, grant.lease_ends_at()) {
                    prop_assert!(end.0 <= begun.0 + 3 * 60 * MINUTE_US);
                    prop_assert!(world.now < end || grant.ends_since(world.now).is_some());
                }
            }
        }
    }
}

#[test]
fn a_revoke_that_never_succeeds_is_tried_for_ever_and_alarms() {
    let mut world = World::new(&[""]);
    let id = world.ask(GrantPurpose::Request);
    for _ in 0..3 {
        world.drive(id, Fault::None);
    }
    world.now = Timestamp(world.now.0 + 61 * MINUTE_US);
    for _ in 0..200 {
        world.drive(id, Fault::Refused);
        assert!(world.grants.get(id).unwrap().end.is_none());
        world.now = Timestamp(world.now.0 + 2 * MINUTE_US);
    }
    let grant = world.grants.get(id).unwrap();
    assert!(grant.is_alarming(world.now));
    assert_eq!(grant.state(world.now), GrantState::Revoking);
    world.finish();
    world.check_end();
    assert!(!world.grants.get(id).unwrap().is_alarming(world.now));
}

#[test]
fn a_clock_that_was_ahead_neither_holds_up_a_revoke_nor_hurries_it() {
    let mut world = World::new(&[""]);
    let id = world.ask(GrantPurpose::Request);
    for _ in 0..3 {
        world.drive(id, Fault::None);
    }
    world.now = Timestamp(world.now.0 + 61 * MINUTE_US);
    world.drive(id, Fault::Refused);
    let grant = world.grants.get(id).unwrap();
    let month_us = 30 * 24 * 60 * MINUTE_US;
    let waits = |now: Timestamp, clock: Timestamp| matches!(next(grant, None, now, clock), Next::WaitUntil(_));
    assert!(waits(world.now, world.now));
    let set_right = Timestamp(world.now.0 - month_us);
    let again = Next::Start { step: GrantStep::Revoke, attempt: 2 };
    assert_eq!(next(grant, None, world.now, set_right), again);
    // As after an attempt that failed since the clock was set right.
    assert!(waits(Timestamp(world.now.0 + month_us), world.now));
}

#[test]
fn only_the_last_of_two_grants_takes_anything_away() {
    let mut world = World::new(&["lr"]);
    let first = world.ask(GrantPurpose::Request);
    while world.drive(first, Fault::None) {}
    let second = world.ask(GrantPurpose::Request);
    world.now = Timestamp(world.now.0 + 30 * MINUTE_US);
    while world.drive(second, Fault::None) {}
    world.now = Timestamp(world.now.0 + 31 * MINUTE_US);
    while world.drive(first, Fault::None) {}
    assert_eq!(world.grants.get(first).unwrap().end, Some(GrantEnd::HandedOver { to: second }));
    assert!(world.rights["INBOX"].covers(Rights::FULL_ACCESS));
    world.finish();
    world.check_end();
    assert_eq!(world.grants.get(second).unwrap().end, Some(GrantEnd::Revoked));
}

#[test]
fn a_request_without_approval_gives_nothing_and_expires() {
    let mut world = World::new(&[""]);
    let id = world.ask(GrantPurpose::Request);
    let mut grant = world.grants.get(id).unwrap().clone();
    grant.approvals_needed = 1;
    let until = grant.waits_until();
    assert_eq!(next(&grant, None, world.now, world.now), Next::WaitUntil(until));
    grant.approvals.push(crate::view::plans::Approval { uid: 1, at: world.now });
    assert_eq!(next(&grant, None, world.now, world.now), Next::WaitUntil(until), "nobody approves their own request");
    assert_eq!(next(&grant, None, until, until), Next::End(GrantEnd::Expired));
    grant.approvals.push(crate::view::plans::Approval { uid: 2, at: world.now });
    assert_eq!(next(&grant, None, world.now, world.now), Next::Start { step: GrantStep::Read, attempt: 1 });
}

#[test]
fn what_stands_is_removed_without_anything_being_given() {
    let mut world = World::new(&["lrswipkxtea", "lr"]);
    let id = world.ask(GrantPurpose::Removal { run: RunId(Position(1)) });
    world.standing.values_mut().for_each(|rights| *rights = Rights::NONE);
    world.finish();
    world.check_end();
    assert_eq!(world.grants.get(id).unwrap().end, Some(GrantEnd::Revoked));
    assert!(world.grants.get(id).unwrap().step(GrantStep::Give).is_none());
}

#[test]
fn a_folder_that_was_made_or_renamed_meanwhile_keeps_what_stood_and_no_more() {
    let folder = |name: &str, after: &str| FolderRights {
        folder: name.to_owned(),
        before: Rights::NONE,
        asked: Rights::NONE,
        after: after.parse().unwrap(),
    };
    let base = Standing::of([folder("INBOX", "l"), folder("Projects", "lr"), folder("Old", "lrs")]);
    let on = |name| base.on(name, Some('/'), Rights::NONE).to_string();
    assert_eq!([on("Projects/2020/Q1"), on("New"), on("Old")], ["lr", "l", "lrs"]);
    let gone = base.gone(["INBOX", "Projects"]);
    assert_eq!(base.on("Renamed", Some('/'), gone).to_string(), "lrs");
}

#[test]
fn a_lease_is_told_before_it_is_renewed_as_it_is_afterwards() {
    let mut world = World::new(&[""]);
    let id = world.ask(GrantPurpose::Request);
    while world.drive(id, Fault::None) {}
    let grant = world.grants.get(id).unwrap();
    let (begun, end) = (grant.begun_at.unwrap(), grant.lease_ends_at().unwrap());
    let if_renewed = |ms| grant.lease_if_renewed(ms, world.now).unwrap();
    assert_eq!(if_renewed(1), end, "a renewal makes nothing shorter");
    let most = Timestamp(begun.0 + i64::try_from(grant.max_ms).unwrap() * 1_000);
    assert_eq!(if_renewed(u64::MAX), most, "and nothing longer than the policy allows");
    let longer = if_renewed(grant.duration_ms + 60_000);
    assert!(longer > end && longer <= most);
    let body = GrantRenewed { grant: id, duration_ms: grant.duration_ms + 60_000, reason: String::new() };
    world.append(Actor::Person(1), Event::GrantRenewed(body));
    assert_eq!(world.grants.get(id).unwrap().lease_ends_at(), Some(longer));
}
