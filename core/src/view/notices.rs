//! Which channel was told what, as far as it could still be told again.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::Small;
use super::plans::PlanState;
use crate::event::notice::{DeclaredChannel, Notice, NoticeChannelsDeclared, NoticeOn, Thing};
use crate::event::{Envelope, Event};
use crate::id::Position;
use crate::time::Timestamp;

/// A day of the due index, in microseconds.
pub const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// How old what happened may be to be still told: 30 days, in microseconds.
pub const NEWS_US: i64 = 30 * DAY_US;

/// When it is forgotten that something was told which cannot be told any more: 30 days later, so that a clock that is
/// set back a little tells nothing twice.
const FORGET_US: i64 = 2 * NEWS_US;

/// What became of a notice.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Telling {
    /// The channel took it.
    Sent {
        /// When.
        at: Timestamp,
        /// Where that stands in the log.
        position: Position,
    },
    /// The channel did not take it for too long.
    GivenUp {
        /// When.
        at: Timestamp,
        /// Where that stands in the log.
        position: Position,
        /// How often it was tried.
        tries: u32,
        /// A stable code of the last failure.
        code: String,
        /// Since when a person knows.
        acknowledged: Option<Timestamp>,
    },
}

/// One channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Channel {
    /// What it is told, and since when it wants to know.
    pub since: BTreeMap<Thing, Timestamp>,
    /// What became of notices whose thing is not over for long.
    pub told: BTreeMap<Notice, Telling>,
}

impl Channel {
    /// Goes through the notices that could not be delivered and of which no person has said that they know, the more
    /// urgent first: each with its code.
    pub fn given_up(&self) -> impl Iterator<Item = (&Notice, &str)> {
        self.told.iter().filter_map(|(notice, telling)| match telling {
            Telling::GivenUp { code, acknowledged: None, .. } => Some((notice, code.as_str())),
            Telling::GivenUp { acknowledged: Some(_), .. } | Telling::Sent { .. } => None,
        })
    }
}

/// All channels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Notices {
    channels: BTreeMap<String, Channel>,
}

impl Notices {
    /// Returns a channel that is declared.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.get(name)
    }

    /// Goes through all channels, by name.
    pub fn channels(&self) -> impl Iterator<Item = (&str, &Channel)> {
        self.channels.iter().map(|(name, channel)| (name.as_str(), channel))
    }

    /// Returns the channels as they were last declared.
    #[must_use]
    pub fn declared(&self) -> Vec<DeclaredChannel> {
        let of = |(name, channel): (&String, &Channel)| DeclaredChannel {
            name: name.clone(),
            things: channel.since.keys().copied().collect(),
        };
        self.channels.iter().map(of).collect()
    }

    fn declare(&mut self, at: Timestamp, body: &NoticeChannelsDeclared) {
        let mut before = std::mem::take(&mut self.channels);
        for declared in &body.channels {
            let mut channel = before.remove(&declared.name).unwrap_or_default();
            let since = |thing: &Thing| (*thing, channel.since.get(thing).copied().unwrap_or(at));
            channel.since = declared.things.iter().map(since).collect();
            self.channels.insert(declared.name.clone(), channel);
        }
    }

    fn told(&mut self, channel: &str, notice: &Notice, telling: Telling) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.told.insert(notice.clone(), telling);
        }
    }

    fn acknowledged(&mut self, on: &NoticeOn, at: Timestamp) {
        let telling = self.channels.get_mut(&on.channel).and_then(|channel| channel.told.get_mut(&on.notice));
        if let Some(Telling::GivenUp { acknowledged, .. }) = telling {
            acknowledged.get_or_insert(at);
        }
    }
}

impl Small {
    pub(super) fn fold_notice(&mut self, envelope: &Envelope, event: &Event) {
        let (at, position) = (envelope.recorded_at, envelope.position);
        match event {
            Event::NoticeChannelsDeclared(body) => self.notices.declare(at, body),
            Event::NoticeSent(body) => self.notices.told(&body.channel, &body.notice, Telling::Sent { at, position }),
            Event::NoticeFailed(body) => {
                let (tries, code) = (body.tries, body.code.clone());
                let telling = Telling::GivenUp { at, position, tries, code, acknowledged: None };
                self.notices.told(&body.channel, &body.notice, telling);
            }
            Event::NoticeAcknowledged(body) => body.notices.iter().for_each(|on| self.notices.acknowledged(on, at)),
            _ => return,
        }
        let mut notices = std::mem::take(&mut self.notices);
        for channel in notices.channels.values_mut() {
            channel.told.retain(|notice, telling| !self.is_over_for_long(notice, telling, at));
        }
        self.notices = notices;
    }

    /// Says whether nothing can make a notice owed any more.
    fn is_over_for_long(&self, notice: &Notice, telling: &Telling, now: Timestamp) -> bool {
        let is_old = |at: Timestamp| now.0.saturating_sub(at.0) >= FORGET_US;
        match notice {
            Notice::ClockDoubted { doubted } => self.clock.doubt().is_none_or(|(newest, _)| newest != doubted),
            Notice::RevokeFails { grant } => self.grants.get(*grant).is_none_or(|grant| grant.end.is_some()),
            Notice::SagaStuck { saga } => {
                let run = self.runs.saga(*saga).and_then(|saga| self.runs.run(saga.started.run));
                run.is_none_or(|run| run.ended_at.is_some_and(is_old))
            }
            Notice::RunFailed { run } | Notice::RunDone { run } => {
                self.runs.run(*run).is_none_or(|run| run.ended_at.is_some_and(is_old))
            }
            Notice::RequestLate { request, due_at } | Notice::RequestDueSoon { request, due_at, .. } => {
                let request = self.subjects.get(*request);
                request.is_none_or(|request| request.ended.is_some() || request.due_at != *due_at)
            }
            Notice::PlanStopped { plan } | Notice::PlanNeedsApproval { plan } | Notice::PlanRefused { plan } => {
                let is_over = |plan: &super::Plan| match plan.state(now) {
                    PlanState::Used | PlanState::Rejected | PlanState::Stale => true,
                    PlanState::Requested
                    | PlanState::Refused
                    | PlanState::Preview
                    | PlanState::Empty
                    | PlanState::AwaitingApproval
                    | PlanState::Ready => is_old(plan.requested_at),
                };
                self.plans.get(*plan).is_none_or(is_over)
            }
            // Whatever became of the plan, it may still be the newest that told what waits.
            Notice::ReviewWaits { plan } => self.plans.get(*plan).is_none_or(|plan| is_old(plan.requested_at)),
            Notice::ScheduleMissed { missed } => {
                !self.schedules.newest_missed().any(|(_, newest)| newest.position == *missed && !is_old(newest.at))
            }
            Notice::FallingDue { before_days, from_day, .. } => {
                let end = i64::from(*from_day) + i64::from(*before_days);
                is_old(Timestamp(end.saturating_mul(DAY_US)))
            }
            // What nobody told them is owed for ever, and what was given up must not be tried again.
            Notice::RecipientToTell { request, recipient, erased, restricted } => {
                self.subjects.get(*request).is_none_or(|request| {
                    let told = request.told.get(recipient);
                    let (Telling::Sent { position, .. } | Telling::GivenUp { position, .. }) = telling;
                    told.is_some_and(|told| told.covers_notice(*position, erased, restricted) && is_old(told.at))
                })
            }
        }
    }
}
