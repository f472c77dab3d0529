//! What people were told, through which channel.
//!
//! Each body, with the types it is made of, is one frozen schema version: a change of shape is a new struct, a new
//! version and an upcaster in `codec`. The golden vectors in `core/tests/golden` fail on anything else.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::{Digest, EntityId, GrantId, PlanId, Position, RequestId, RunId, SagaId};
use crate::time::Timestamp;

pub mod v1;

/// One thing that people are told once, through each channel that wants it. It names itself for ever.
///
/// **Order:** the more urgent comes first.
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
    /// A run was refused, stopped because too much had changed since its plan was made, or ended with a stuck saga.
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
        /// The items of the copy that are erased, ascending: others, or more of them, are another thing. None of
        /// either when it was written as schema 1, which did not say which.
        erased: Vec<EntityId>,
        /// The others that are restricted, ascending.
        restricted: Vec<EntityId>,
    },
}

macro_rules! things {
    ($($(#[$doc:meta])* $name:ident $word:literal;)*) => {
        /// What a notice is about. The words are in `config.toml` and in what programs are told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Thing {
            $($(#[$doc])* $name,)*
        }

        impl Thing {
            /// All of them, the more urgent first.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the word that people and programs see.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }

        impl Notice {
            /// Returns what it is about.
            #[must_use]
            pub fn thing(&self) -> Thing {
                match self { $(Self::$name { .. } => Thing::$name,)* }
            }
        }
    };
}

things! {
    /// The clock is doubted.
    ClockDoubted "clock_doubted";
    /// Access is still there long after it should have been taken back.
    RevokeFails "revoke_fails";
    /// A saga does not go on without a person.
    SagaStuck "saga_stuck";
    /// A run was refused, stopped because too much had changed since its plan was made, or ended with a stuck saga.
    RunFailed "run_failed";
    /// The answer to a data subject is late.
    RequestLate "request_late";
    /// The answer to a data subject is due soon.
    RequestDueSoon "request_due_soon";
    /// A plan goes beyond limits.
    PlanStopped "plan_stopped";
    /// A plan waits for a person.
    PlanNeedsApproval "plan_needs_approval";
    /// A plan could not be made.
    PlanRefused "plan_refused";
    /// Times of a schedule passed while the daemon was not there.
    ScheduleMissed "schedule_missed";
    /// Items of a policy fall due within some days.
    FallingDue "falling_due";
    /// A run is over, and nothing is stuck.
    RunDone "run_done";
    /// A plan found what waits for the decision of a person.
    ReviewWaits "review_waits";
    /// A recipient of a copy has to be told what became of the data.
    RecipientToTell "recipient_to_tell";
}

impl Thing {
    /// Says whether recipients of copies are told this, and nobody else: what a person reads here proves nothing of
    /// them.
    #[must_use]
    pub fn is_for_recipients(self) -> bool {
        self == Self::RecipientToTell
    }
}

impl Notice {
    /// Returns the name of the one thing that it is about: a plan, a run, a request, a policy, or a place in the log.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::ClockDoubted { doubted: at } | Self::ScheduleMissed { missed: at } => at.to_string(),
            Self::RevokeFails { grant } => grant.to_string(),
            Self::SagaStuck { saga } => saga.to_string(),
            Self::RunFailed { run } | Self::RunDone { run } => run.to_string(),
            Self::RequestLate { request, .. }
            | Self::RequestDueSoon { request, .. }
            | Self::RecipientToTell { request, .. } => request.to_string(),
            Self::PlanStopped { plan }
            | Self::PlanNeedsApproval { plan }
            | Self::PlanRefused { plan }
            | Self::ReviewWaits { plan } => plan.to_string(),
            Self::FallingDue { policy, .. } => policy.clone(),
        }
    }
}

/// The name of a notice: the same for ever, and never the same for two.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.thing().name())?;
        match self {
            Self::ClockDoubted { doubted } => write!(f, "{doubted}"),
            Self::RevokeFails { grant } => write!(f, "{grant}"),
            Self::SagaStuck { saga } => write!(f, "{saga}"),
            Self::RunFailed { run } | Self::RunDone { run } => write!(f, "{run}"),
            Self::RequestLate { request, due_at } => write!(f, "{request}/{due_at}"),
            Self::RequestDueSoon { request, due_at, before_days } => write!(f, "{request}/{due_at}/P{before_days}D"),
            Self::PlanStopped { plan }
            | Self::PlanNeedsApproval { plan }
            | Self::PlanRefused { plan }
            | Self::ReviewWaits { plan } => {
                write!(f, "{plan}")
            }
            Self::ScheduleMissed { missed } => write!(f, "{missed}"),
            Self::FallingDue { policy, before_days, from_day } => write!(f, "{policy}/P{before_days}D/{from_day}"),
            Self::RecipientToTell { request, recipient, erased, restricted } => {
                write!(
                    f,
                    "{request}/{recipient}/{}/{}/{}",
                    erased.len(),
                    restricted.len(),
                    digest_of(erased, restricted)
                )
            }
        }
    }
}

/// As many items are not the same items.
fn digest_of(erased: &[EntityId], restricted: &[EntityId]) -> Digest {
    let mut bytes = (erased.len() as u64).to_le_bytes().to_vec();
    bytes.extend(erased.iter().chain(restricted).flat_map(|item| item.0.to_le_bytes()));
    Digest::of(&bytes)
}

/// Schema 2. A channel took a notice.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoticeSent {
    /// The name of the channel in the configuration.
    pub channel: String,
    /// What it took.
    pub notice: Notice,
}

/// Schema 2. A channel did not take a notice for so long that it is not tried any more.
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

/// Schema 2. Notices that channels did not take are known to a person, who sees to it otherwise: they raise no alarm
/// any more.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoticeAcknowledged {
    /// Which, ascending, each once.
    pub notices: Vec<NoticeOn>,
    /// Why.
    pub reason: String,
}

impl fmt::Debug for NoticeAcknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoticeAcknowledged").field("notices", &self.notices).finish_non_exhaustive()
    }
}

/// A notice on one channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct NoticeOn {
    /// The name of the channel in the configuration.
    pub channel: String,
    /// What it did not take.
    pub notice: Notice,
}

/// Schema 1. From here on these channels, and no others, are told these things. What was over before a channel first
/// wanted to know is not told.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoticeChannelsDeclared {
    /// The channels, by name.
    pub channels: Vec<DeclaredChannel>,
}

/// A channel, and what it wants to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct DeclaredChannel {
    /// Its name in the configuration.
    pub name: String,
    /// What it is told, ascending, each once.
    pub things: Vec<Thing>,
}
