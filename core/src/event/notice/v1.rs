//! The first schema version of what people were told: read for ever, written no more. Of the copy of a recipient it
//! says how many items were erased or restricted, and not which.

use bincode::{Decode, Encode};

use crate::id::{GrantId, PlanId, Position, RequestId, RunId, SagaId};
use crate::time::Timestamp;

/// One thing that people are told once, through each channel that wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Notice {
    /// The clock is doubted.
    ClockDoubted {
        /// Where the doubt stands in the log.
        doubted: Position,
    },
    /// Access is still there long after it should have been taken back.
    RevokeFails {
        /// The grant.
        grant: GrantId,
    },
    /// A saga does not go on without a person.
    SagaStuck {
        /// The saga.
        saga: SagaId,
    },
    /// A run was refused, or ended with a stuck saga.
    RunFailed {
        /// The run.
        run: RunId,
    },
    /// The answer to a data subject is late.
    RequestLate {
        /// The request.
        request: RequestId,
        /// Until when it had to be answered: an extension is another thing.
        due_at: Timestamp,
    },
    /// The answer to a data subject is due soon.
    RequestDueSoon {
        /// The request.
        request: RequestId,
        /// Until when it must be answered.
        due_at: Timestamp,
        /// How many days before that people wanted to know.
        before_days: u16,
    },
    /// A plan goes beyond limits.
    PlanStopped {
        /// The plan.
        plan: PlanId,
    },
    /// A plan waits for a person.
    PlanNeedsApproval {
        /// The plan.
        plan: PlanId,
    },
    /// A plan could not be made.
    PlanRefused {
        /// The plan.
        plan: PlanId,
    },
    /// Times of a schedule passed while the daemon was not there.
    ScheduleMissed {
        /// Where that stands in the log.
        missed: Position,
    },
    /// Items of a policy fall due within some days.
    FallingDue {
        /// The policy.
        policy: String,
        /// How many days before people want to know, and how many days are told of together.
        before_days: u16,
        /// The first of those days, counted from 1970 in UTC; a multiple of `before_days`.
        from_day: u32,
    },
    /// A run is over, and nothing is stuck.
    RunDone {
        /// The run.
        run: RunId,
    },
    /// A plan found what waits for the decision of a person.
    ReviewWaits {
        /// The plan.
        plan: PlanId,
    },
    /// Data of which a recipient has a copy was erased or restricted (GDPR Art. 19). That their channel took this is
    /// the record that they were told.
    RecipientToTell {
        /// The request of the data subject.
        request: RequestId,
        /// The recipient: where it stands in the log that they got the copy.
        recipient: Position,
        /// How many items of the copy are erased: more of them are another thing.
        erased: u32,
        /// How many others are restricted.
        restricted: u32,
    },
}

/// Schema 1. A channel took a notice.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoticeSent {
    /// The name of the channel in the configuration.
    pub channel: String,
    /// What it took.
    pub notice: Notice,
}

/// Schema 1. A channel did not take a notice for so long that it is not tried any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoticeFailed {
    /// The name of the channel in the configuration.
    pub channel: String,
    /// What it did not take.
    pub notice: Notice,
    /// How often it was tried.
    pub tries: u32,
    /// A stable code of the last failure.
    pub code: String,
}

/// Schema 1. Notices that channels did not take are known to a person.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoticeAcknowledged {
    /// Which, ascending, each once.
    pub notices: Vec<NoticeOn>,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for NoticeAcknowledged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoticeAcknowledged").field("notices", &self.notices).finish_non_exhaustive()
    }
}

/// A notice on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoticeOn {
    /// The name of the channel in the configuration.
    pub channel: String,
    /// What it did not take.
    pub notice: Notice,
}

impl From<Notice> for super::Notice {
    /// Which items a recipient was told of is not known: none are named.
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::ClockDoubted { doubted } => Self::ClockDoubted { doubted },
            Notice::RevokeFails { grant } => Self::RevokeFails { grant },
            Notice::SagaStuck { saga } => Self::SagaStuck { saga },
            Notice::RunFailed { run } => Self::RunFailed { run },
            Notice::RequestLate { request, due_at } => Self::RequestLate { request, due_at },
            Notice::RequestDueSoon { request, due_at, before_days } => {
                Self::RequestDueSoon { request, due_at, before_days }
            }
            Notice::PlanStopped { plan } => Self::PlanStopped { plan },
            Notice::PlanNeedsApproval { plan } => Self::PlanNeedsApproval { plan },
            Notice::PlanRefused { plan } => Self::PlanRefused { plan },
            Notice::ScheduleMissed { missed } => Self::ScheduleMissed { missed },
            Notice::FallingDue { policy, before_days, from_day } => Self::FallingDue { policy, before_days, from_day },
            Notice::RunDone { run } => Self::RunDone { run },
            Notice::ReviewWaits { plan } => Self::ReviewWaits { plan },
            Notice::RecipientToTell { request, recipient, .. } => {
                Self::RecipientToTell { request, recipient, erased: Vec::new(), restricted: Vec::new() }
            }
        }
    }
}

impl From<NoticeSent> for super::NoticeSent {
    fn from(body: NoticeSent) -> Self {
        Self { channel: body.channel, notice: body.notice.into() }
    }
}

impl From<NoticeFailed> for super::NoticeFailed {
    fn from(body: NoticeFailed) -> Self {
        Self { channel: body.channel, notice: body.notice.into(), tries: body.tries, code: body.code }
    }
}

impl From<NoticeAcknowledged> for super::NoticeAcknowledged {
    fn from(body: NoticeAcknowledged) -> Self {
        let on = |on: NoticeOn| super::NoticeOn { channel: on.channel, notice: on.notice.into() };
        Self { notices: body.notices.into_iter().map(on).collect(), reason: body.reason }
    }
}
