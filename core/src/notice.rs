//! Notices: what people are owed, as a function of the views and an instant, and what each says.
//!
//! A notice is told once. It is about what is open now, or happened since the channel wants to know, never about what
//! was over before. Nothing in it names anybody outside: numbers, names of policies, counts and digests.

use std::collections::BTreeSet;

use crate::event::decision::{PlanPurpose, PlanRefused};
use crate::event::notice::{Notice, Thing};
use crate::id::Digest;
use crate::policy::{PolicySet, State};
use crate::time::Timestamp;
use crate::view::notices::{Channel, DAY_US, NEWS_US};
use crate::view::recipients::HandedOver;
use crate::view::{Plan, PlanState, RunState, Views};

mod text;

pub use text::{Text, text};

/// The longest that people can be told ahead, in days.
pub const BEFORE_DAYS_MAX: u16 = 366;

/// What an id begins with, and of how many bytes the rest is.
const ID_PREFIX: &str = "notice_";
const ID_BYTES: usize = 16;

/// Who reads a channel, as far as the views do not know it.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The name of the channel.
    pub channel: &'a str,
    /// The numbers of days before which people want to know of what falls due.
    pub before: &'a [u16],
    /// The copies that the reader got; none, unless the channel is for a recipient.
    pub copies: &'a [HandedOver],
}

/// Returns what a channel is to be told now and was not told yet, the more urgent first. A channel that is not declared
/// is told nothing.
#[must_use]
pub fn owed(views: &Views, policies: &PolicySet, reader: &Reader<'_>, now: Timestamp) -> Vec<Notice> {
    let Some(channel) = views.small.notices.channel(reader.channel) else { return Vec::new() };
    let before = reader.before;
    let mut looking = Looking { views, channel, now, found: BTreeSet::new() };
    looking.at_the_clock();
    looking.at_grants();
    looking.at_runs();
    looking.at_plans();
    looking.at_schedules();
    looking.at_recipients(reader.copies);
    // By a clock that is doubted, nothing is late or soon.
    if views.small.clock.doubt().is_none() {
        looking.at_requests(before);
        looking.ahead(policies, before);
    }
    looking.found.into_iter().filter(|notice| !channel.told.contains_key(notice)).collect()
}

/// Returns the name under which the far side knows a notice: the same for each attempt, so that a repetition can be
/// recognised.
#[must_use]
pub fn id(store: [u8; 16], channel: &str, notice: &Notice) -> String {
    let mut bytes = b"retentiond notice v1".to_vec();
    bytes.extend_from_slice(&store);
    bytes.extend_from_slice(format!("{channel}/{notice}").as_bytes());
    let Digest(digest) = Digest::of(&bytes);
    let half = digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}"));
    format!("{ID_PREFIX}{}", half.collect::<String>())
}

/// Says whether a text has the form of an id: then it names nobody.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.strip_prefix(ID_PREFIX).is_some_and(|digits| {
        digits.len() == 2 * ID_BYTES && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

struct Looking<'a> {
    views: &'a Views,
    channel: &'a Channel,
    now: Timestamp,
    found: BTreeSet<Notice>,
}

impl Looking<'_> {
    fn wants(&self, thing: Thing) -> bool {
        self.channel.since.contains_key(&thing)
    }

    fn is_recent(&self, at: Timestamp) -> bool {
        self.now.0.saturating_sub(at.0) < NEWS_US
    }

    /// Adds what is open, whenever it began.
    fn open(&mut self, notice: Notice) {
        if self.wants(notice.thing()) {
            self.found.insert(notice);
        }
    }

    /// Adds what happened at an instant.
    fn happened(&mut self, notice: Notice, at: Timestamp) {
        let is_news = self.channel.since.get(&notice.thing()).is_some_and(|since| at >= *since);
        if is_news && self.is_recent(at) {
            self.found.insert(notice);
        }
    }

    fn at_the_clock(&mut self) {
        if let Some((doubted, _)) = self.views.small.clock.doubt() {
            self.open(Notice::ClockDoubted { doubted: *doubted });
        }
    }

    fn at_grants(&mut self) {
        let now = self.now;
        for (grant, _) in self.views.small.grants.open().filter(|(_, grant)| grant.is_alarming(now)) {
            self.open(Notice::RevokeFails { grant });
        }
    }

    fn at_runs(&mut self) {
        let runs = &self.views.small.runs;
        for (id, run) in runs.iter() {
            match (run.state, run.ended_at) {
                (RunState::Cancelled, Some(at)) if run.stopped.is_some() => {
                    self.happened(Notice::RunFailed { run: id }, at);
                }
                (RunState::Completed | RunState::Cancelled, Some(at)) => {
                    self.happened(Notice::RunDone { run: id }, at);
                }
                (RunState::Refused | RunState::Stuck, Some(at)) => {
                    self.happened(Notice::RunFailed { run: id }, at);
                    self.at_sagas(run, Some(at));
                }
                (RunState::Running | RunState::Paused | RunState::Cancelling, _) => self.at_sagas(run, None),
                (RunState::Requested, _)
                | (RunState::Completed | RunState::Cancelled | RunState::Refused | RunState::Stuck, None) => {}
            }
        }
    }

    fn at_sagas(&mut self, run: &crate::view::Run, ended_at: Option<Timestamp>) {
        use crate::event::saga::SagaEnd;
        if !self.wants(Thing::SagaStuck) {
            return;
        }
        for id in &run.sagas {
            let Some(saga) = self.views.small.runs.saga(*id) else { continue };
            if saga.end == Some(SagaEnd::Stuck) || saga.is_inconsistent {
                let notice = Notice::SagaStuck { saga: *id };
                match ended_at {
                    Some(at) => self.happened(notice, at),
                    None => self.open(notice),
                }
            }
        }
    }

    /// A plan that nobody accepts is never told again, and an old one is nobody's business any more.
    fn at_plans(&mut self) {
        let now = self.now;
        let plans = self.views.small.plans.iter().rev();
        let mut looked_at = BTreeSet::new();
        for (plan, body) in plans.take_while(|(_, plan)| now.0.saturating_sub(plan.requested_at.0) < NEWS_US) {
            // What waits is told by the newest plan of a policy that was made to be run.
            let is_newest = body
                .frozen
                .as_ref()
                .is_some_and(|frozen| frozen.purpose == PlanPurpose::Run && looked_at.insert(frozen.policy.as_str()));
            if is_newest && text::waiting(body) > 0 {
                self.open(Notice::ReviewWaits { plan });
            }
            match self.views.state_of_plan(body, now) {
                PlanState::AwaitingApproval if goes_beyond(body) => self.open(Notice::PlanStopped { plan }),
                PlanState::AwaitingApproval => self.open(Notice::PlanNeedsApproval { plan }),
                // That another one waits was told when that one was made.
                PlanState::Refused if body.refused.as_deref() == Some(PlanRefused::ALREADY_WAITS) => {}
                PlanState::Refused => self.happened(Notice::PlanRefused { plan }, body.requested_at),
                PlanState::Requested
                | PlanState::Preview
                | PlanState::Empty
                | PlanState::Ready
                | PlanState::Rejected
                | PlanState::Used
                | PlanState::Stale => {}
            }
        }
    }

    fn at_schedules(&mut self) {
        for (_, missed) in self.views.small.schedules.newest_missed() {
            self.happened(Notice::ScheduleMissed { missed: missed.position }, missed.at);
        }
    }

    fn at_recipients(&mut self, copies: &[HandedOver]) {
        if !self.wants(Thing::RecipientToTell) {
            return;
        }
        for told in self.views.to_tell(copies, self.now) {
            let erased = told.concerned.erased.into_keys().collect();
            let (recipient, restricted) = (told.copy.recipient, told.concerned.restricted);
            self.open(Notice::RecipientToTell { request: told.request, recipient, erased, restricted });
        }
    }

    /// Of several days before, only the shortest that has begun is told.
    fn at_requests(&mut self, before: &[u16]) {
        for (request, body) in self.views.small.subjects.iter().filter(|(_, body)| body.ended.is_none()) {
            let due_at = body.due_at;
            if body.is_overdue(self.now) {
                self.open(Notice::RequestLate { request, due_at });
                continue;
            }
            let left = due_at.0.saturating_sub(self.now.0);
            let begun = before.iter().copied().filter(|days| left <= i64::from(*days).saturating_mul(DAY_US));
            if let Some(before_days) = begun.min() {
                self.open(Notice::RequestDueSoon { request, due_at, before_days });
            }
        }
    }

    /// Days are told of together, as many as people want to know before: those that are under way, and those after
    /// them. So nobody hears of a policy more often than that, and of each item in time.
    fn ahead(&mut self, policies: &PolicySet, before: &[u16]) {
        let due = &self.views.due;
        if !self.wants(Thing::FallingDue) || !due.is_complete() {
            return;
        }
        let Ok(today) = u32::try_from(self.now.0.div_euclid(DAY_US)) else { return };
        for policy in policies.policies().iter().filter(|policy| policy.state == State::Enforce) {
            let Some(column) = due.policy(&policy.id) else { continue };
            for &before_days in before.iter().filter(|days| **days > 0) {
                let length = u32::from(before_days);
                let current = today - today % length;
                for from_day in [current, current.saturating_add(length)] {
                    if column.due_within(from_day.max(today)..from_day.saturating_add(length)) > 0 {
                        self.open(Notice::FallingDue { policy: policy.id.clone(), before_days, from_day });
                    }
                }
            }
        }
    }
}

fn goes_beyond(plan: &Plan) -> bool {
    plan.frozen.as_ref().is_some_and(|frozen| !frozen.tripped.is_empty())
}

#[cfg(test)]
mod tests;
