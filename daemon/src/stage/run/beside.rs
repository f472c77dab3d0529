//! Sagas beside each other: while one waits for a mail server or for the disk, the others go on.
//!
//! All are of one run. Of those of messages each is of a mailbox of its own, and no server has more of them than it has
//! room for; of those of records there are as many as keep the processors and the disk at work. The thread of the stage
//! alone takes up items of the plan and says which saga is next; each saga is then driven by a thread of its own, step by
//! step, by the code that drives every saga, until it has ended or has to wait. What a step appends stands under the same
//! conditions, so whatever comes in between counts for each of them; and before every step it is asked anew what people
//! wish.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use retention_core::event::saga::ScriptKind;
use retention_core::grant::run::Access;
use retention_core::id::{EntityId, RunId, SagaId};
use retention_core::saga::{self, Next, Wish};
use retention_core::time::Timestamp;
use retention_core::view::Views;

use super::super::{StageError, Step};
use super::access::{Takes, access_before};
use super::{Run, wish};
use crate::connector::mail::Room;

/// The most sagas that go on beside each other: more connections make no server faster, and each costs a thread and some
/// megabytes here.
pub const SAGAS_AT_ONCE: usize = 8;

/// The most sagas of records beside each other: while one waits for the disk, the others have the processors. Each
/// holds in memory what must be in its bundle.
const OF_RECORDS_AT_ONCE: usize = 3;

/// How long to wait for a saga to end before it is looked whether another one has the access that it waits for: short
/// against any lease, which runs already.
const LOOK_FOR_ACCESS_AFTER: Duration = Duration::from_secs(1);

/// When the sagas that have to wait go on; `None` when nobody knows.
pub(super) type Rests = HashMap<SagaId, Option<Timestamp>>;

/// What goes on beside each other.
#[derive(Default)]
struct Beside {
    busy: HashMap<SagaId, Busy>,
    rests: Rests,
    /// How many sagas at the beginning of the run have ended: they are not looked at again.
    ended: usize,
    /// Whether anything was recorded.
    worked: bool,
    failed: Option<StageError>,
    /// Whether any saga waits for access.
    is_awaiting: bool,
    /// Set once no other step is to begin.
    stop: Arc<AtomicBool>,
}

/// Which sagas can go on now.
#[derive(Default)]
struct Ready {
    /// Oldest first.
    sagas: Vec<(SagaId, About)>,
    /// How many wait for the access that their run takes.
    awaiting: usize,
}

/// What a saga is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// Records of ours.
    Records,
    /// Messages in a mailbox.
    Messages(EntityId),
}

impl About {
    fn of(script: ScriptKind, mailbox: Option<EntityId>) -> Self {
        match (script, mailbox) {
            (ScriptKind::MessagePurge, Some(mailbox)) => Self::Messages(mailbox),
            // Without a mailbox its first step finds that there is none.
            _ => Self::Records,
        }
    }
}

/// What a saga that is driven takes up.
struct Busy {
    about: About,
    room: Option<Room>,
}

/// What became of a saga that was driven.
struct Driven {
    worked: bool,
    /// When it goes on, if it has to wait.
    until: Option<Timestamp>,
}

/// Tells at its end that a thread has ended, however it did.
struct Tells(Sender<SagaId>, SagaId);

impl Drop for Tells {
    fn drop(&mut self) {
        // Whoever listened is gone only when everything is over.
        let _told = self.0.send(self.1);
    }
}

impl Beside {
    fn note(&mut self, saga: SagaId, ended: Result<Driven, StageError>) {
        self.busy.remove(&saga);
        match ended {
            Ok(driven) => {
                self.worked |= driven.worked;
                // One that came further and does not know until when it waits is asked as if it had not been.
                if driven.until.is_some() || !driven.worked {
                    self.rests.insert(saga, driven.until);
                } else {
                    self.rests.remove(&saga);
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: StageError) {
        self.stop.store(true, Ordering::Relaxed);
        match &self.failed {
            // What ends the stage is what has to be told.
            Some(first) if !matches!(first, StageError::Read(_)) => {
                tracing::error!(%error, "another saga failed as well");
            }
            _ => self.failed = Some(error),
        }
    }

    /// Says whether a saga was found to have to wait until later than now, or to do nothing in this step.
    fn waits(&self, saga: SagaId, now: Timestamp) -> bool {
        self.rests.get(&saga).is_some_and(|until| until.is_none_or(|until| now < until))
    }
}

impl Run {
    /// Drives sagas of a run beside each other until none of them can go on now. Returns whether anything was done, and
    /// which have to wait.
    pub(super) fn go_on_beside(&self, run: RunId) -> Result<(bool, Rests), StageError> {
        let mut beside = Beside::default();
        std::thread::scope(|scope| {
            let (tell, told) = unbounded();
            let mut threads = HashMap::new();
            loop {
                while let Some((id, busy)) = self.next_beside(run, &mut beside) {
                    beside.busy.insert(id, busy);
                    let (tells, stop) = (Tells(tell.clone(), id), Arc::clone(&beside.stop));
                    let work = move || {
                        let _tells = tells;
                        self.drive_on(run, id, &stop)
                    };
                    match Builder::new().name("saga".to_owned()).spawn_scoped(scope, work) {
                        Ok(thread) => drop(threads.insert(id, thread)),
                        // The system has no thread to spare: one after the other, then.
                        Err(_) => {
                            let ended = self.drive_on(run, id, &beside.stop);
                            beside.note(id, ended);
                        }
                    }
                }
                if threads.is_empty() {
                    break;
                }
                // One for which there was no thread has told too. What stands meanwhile tells nobody here.
                let news = match beside.is_awaiting {
                    true => told.recv_timeout(LOOK_FOR_ACCESS_AFTER).ok(),
                    false => told.recv().ok(),
                };
                let Some((id, thread)) = news.and_then(|id| Some((id, threads.remove(&id)?))) else {
                    continue;
                };
                let ended = thread.join().unwrap_or_else(|panic| {
                    beside.stop.store(true, Ordering::Relaxed);
                    std::panic::resume_unwind(panic)
                });
                beside.note(id, ended);
            }
        });
        match beside.failed {
            Some(error) => Err(error),
            None => Ok((beside.worked, beside.rests)),
        }
    }

    /// Drives one saga until it has ended or has to wait.
    fn drive_on(&self, run: RunId, id: SagaId, stop: &AtomicBool) -> Result<Driven, StageError> {
        let mut worked = false;
        while !stop.load(Ordering::Relaxed) && self.is_ready() {
            self.store.halt().check()?;
            let now = self.clock.now();
            let Some((wish, _)) = self.wish_of(run, now) else { break };
            let is_over = |views: &Views| views.small.runs.saga(id).is_none_or(|saga| saga.end.is_some());
            let (is_over, wish) = self.store.view(|views| (is_over(views), wish::of_saga(views, id, wish)));
            if is_over {
                break;
            }
            match self.drive(id, wish, now)? {
                Step::Worked => worked = true,
                Step::Idle => break,
                Step::IdleUntil(until) => return Ok(Driven { worked, until: Some(until) }),
            }
        }
        Ok(Driven { worked, until: None })
    }

    /// Returns the next saga that can go on beside those that do, after beginning it if need be. After a failure there is
    /// none.
    fn next_beside(&self, run: RunId, beside: &mut Beside) -> Option<(SagaId, Busy)> {
        if beside.failed.is_some() {
            return None;
        }
        self.look_for_next(run, beside).unwrap_or_else(|error| {
            beside.fail(error);
            None
        })
    }

    fn look_for_next(&self, run: RunId, beside: &mut Beside) -> Result<Option<(SagaId, Busy)>, StageError> {
        loop {
            self.store.halt().check()?;
            let now = self.clock.now();
            if beside.busy.len() >= self.sagas_at_once || !self.is_ready() {
                return Ok(None);
            }
            let Some((wish, _)) = self.wish_of(run, now) else { return Ok(None) };
            let is_doubted = self.doubts_clock()?.is_some();
            let takes_access = matches!(self.takes(run)?, Takes::Access(..));
            let at_once = takes_access.then_some(self.sagas_at_once);
            let ready = self.store.view(|views| beside.ready(views, run, wish, is_doubted, at_once, now));
            beside.is_awaiting = ready.awaiting > 0;
            for (id, about) in ready.sagas {
                if let Some(busy) = self.admits(beside, about) {
                    return Ok(Some((id, busy)));
                }
            }
            let next = self.store.view(|views| {
                let run = views.small.runs.run(run)?;
                (wish == Wish::GoOn && run.taken < run.items).then_some((run.plan, run.taken))
            });
            let Some((plan, taken)) = next else { return Ok(None) };
            // Nobody has a lease on a mailbox long before somebody works there.
            if beside.busy.len() + ready.awaiting >= self.sagas_at_once {
                return Ok(None);
            }
            if self.is_over_time(run, now) || self.waits_for_rate(run)?.is_some_and(|at| now < at) {
                return Ok(None);
            }
            let upcoming = self.upcoming(plan, taken)?;
            let about = About::of(self.script_of(plan, upcoming.first()).0, upcoming.mailbox);
            if self.admits(beside, about).is_none() {
                return Ok(None);
            }
            self.begin_saga(run, plan, upcoming)?;
            beside.worked = true;
        }
    }

    /// Says whether there is room for a saga beside the others.
    fn admits(&self, beside: &Beside, about: About) -> Option<Busy> {
        let alike = beside.busy.values().filter(|other| other.about == about).count();
        let mailbox = match about {
            About::Records => return (alike < OF_RECORDS_AT_ONCE).then_some(Busy { about, room: None }),
            About::Messages(_) if alike > 0 => return None,
            About::Messages(mailbox) => mailbox,
        };
        // Where nobody knows the server, the step says why it cannot be reached.
        let room = self.mailroom.room(mailbox);
        let at_once = room.as_ref().map_or(1, |room| room.at_once);
        let is_beside =
            |other: &&Busy| other.room.as_ref().map(|room| &room.server) == room.as_ref().map(|room| &room.server);
        let is_of_messages = |other: &&Busy| other.about != About::Records;
        let others = beside.busy.values().filter(is_of_messages).filter(is_beside).count();
        (others < at_once).then_some(Busy { about, room })
    }
}

impl Beside {
    /// Looks for sagas that can go on now.
    /// `access_at_once` is to how many mailboxes the run takes access at the same time, if it takes any.
    fn ready(
        &mut self,
        views: &Views,
        run: RunId,
        wish: Wish,
        is_doubted: bool,
        access_at_once: Option<usize>,
        now: Timestamp,
    ) -> Ready {
        let runs = &views.small.runs;
        let sagas = runs.run(run).map_or(&[][..], |run| run.sagas.as_slice());
        let is_open = |id: &SagaId| runs.saga(*id).is_some_and(|saga| saga.end.is_none());
        self.ended += sagas.iter().skip(self.ended).take_while(|id| !is_open(id)).count();
        let mut ready = Ready::default();
        for &id in sagas.iter().skip(self.ended).filter(|id| is_open(id)) {
            let Some(saga) = runs.saga(id).filter(|_| !self.busy.contains_key(&id) && !self.waits(id, now)) else {
                continue;
            };
            let next = saga::next(saga, wish::of_saga(views, id, wish), now);
            let grants = &views.small.grants;
            match access_at_once.and_then(|at_once| access_before(grants, saga, next, at_once, now)) {
                Some(Access::Wait) => {
                    ready.awaiting += 1;
                    continue;
                }
                Some(Access::Ask | Access::Stands(_) | Access::Over) | None => {}
            }
            let is_ready = match next {
                Next::Start { step, .. } => !(is_doubted && step.is_pivot()),
                Next::Probe { .. } | Next::Compensate { .. } | Next::End(_) => true,
                Next::WaitUntil(_) | Next::WaitForOperator => false,
            };
            if is_ready {
                ready.sagas.push((id, About::of(saga.started.script, saga.started.mailbox)));
            }
        }
        ready
    }
}
