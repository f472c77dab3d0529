//! What the daemon answers. Every value is safe to show; only [`EntityContent`] and free text of operators
//! ([`HoldRow`], comments) may name persons, and those are shown to nobody without a role.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cursor, ErrorCode, Role};
use crate::id::{Digest, EntityId, GrantId, HoldId, PlanId, Position, RequestId, RunId};
use crate::time::Timestamp;
use crate::view::Drift;

mod activity;
mod decision;
mod entity;
mod evidence;
mod incident;
mod key;
mod mailbox;
mod notice;
mod review;
mod subject;

pub use activity::*;
pub use decision::*;
pub use entity::*;
pub use evidence::*;
pub use incident::*;
pub use key::*;
pub use mailbox::*;
pub use notice::*;
pub use review::*;
pub use subject::*;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what happened, where, and what was kept safe. Never personal data.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What is left to say, when the answer is that it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<Box<Tombstone>>,
}

impl ErrorBody {
    /// An error with the sentence of its code.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        Self::saying(code, code.sentence())
    }

    /// An error with its own message.
    #[must_use]
    pub fn saying(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, gone: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

/// One line of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Line<T> {
    /// A row.
    Row(T),
    /// How far long work is. It may come between any two rows.
    Progress(Progress),
    /// The work or the list broke off here.
    Error(ErrorBody),
    /// The last line. A stream without it was cut off.
    End(StreamEnd),
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamEnd {
    /// How many rows there were.
    pub rows: u64,
    /// Where the list goes on, when a limit cut it.
    pub next: Option<Cursor>,
    /// Why something that is followed ended; absent from what has an end of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<FollowEnd>,
}

/// Why something that is followed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FollowEnd {
    /// As many rows were told as were asked for.
    Limit,
    /// What is recorded from now on was not asked for.
    Until,
    /// The daemon stops.
    Stopping,
}

/// How far long work is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// What is being counted, in the plural: `events`, `items`.
    pub unit: String,
    /// How many are done.
    pub done: u64,
    /// How many there are, as far as that is known.
    pub total: Option<u64>,
}

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The program's version.
    pub program: String,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// What the daemon takes for now.
    pub now: Timestamp,
    /// The newest event.
    pub position: Position,
    /// Whether the store can be written.
    pub store: StoreState,
    /// The active set of policies.
    pub policy_set: Option<Digest>,
    /// How many policies it has.
    pub policies: u64,
    /// Entities that can be read, quarantined ones included.
    pub entities: u64,
    /// Entities that wait in quarantine.
    pub quarantined: u64,
    /// Entities that were purged.
    pub purged: u64,
    /// Holds in force.
    pub holds: u64,
    /// Holds at which somebody should look again.
    pub holds_for_review: Vec<HoldId>,
    /// Requests of data subjects that are not completed.
    pub requests_open: u64,
    /// Those of them that must be answered within a week.
    pub requests_due_soon: Vec<RequestId>,
    /// Those of them with an exception at which somebody should look again.
    pub requests_for_review: Vec<RequestId>,
    /// Restrictions of use in force.
    pub restrictions: u64,
    /// What is paused: `all`, `policy <id>`, `mailbox <entity>`.
    pub paused: Vec<String>,
    /// Plans that wait for an approval.
    pub plans_waiting: Vec<PlanId>,
    /// Grants that wait for an approval.
    pub grants_waiting: Vec<GrantId>,
    /// Grants that may be there now.
    pub grants_active: Vec<GrantId>,
    /// Registered mailboxes.
    pub mailboxes: u64,
    /// Requests of which recipients of copies have to be told what became of the data (GDPR Art. 19).
    pub recipients_to_tell: Vec<RequestId>,
    /// Runs that are under way or paused.
    pub runs_active: Vec<RunId>,
    /// How the witnesses of the log stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<WitnessRow>,
    /// What needs a person.
    pub attention: Vec<Attention>,
    /// Who asks, and what they may do.
    pub caller: Caller,
}

/// Whether the store can be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum StoreState {
    /// As it should be.
    ReadWrite,
    /// Something is damaged: nothing is appended and nothing purged.
    ReadOnly {
        /// A stable code of the damage.
        code: String,
        /// The same as a sentence: what, where, and what to do.
        message: String,
    },
}

/// Something that does not go on without a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Attention {
    /// A saga of the run is stuck.
    RunStuck {
        /// The run.
        run: RunId,
    },
    /// The run ended early because too much of it had changed since its plan was made, and nobody has asked for a new plan
    /// of its policy yet.
    RunStopped {
        /// The run.
        run: RunId,
        /// How much it had looked at, and how much of that had changed.
        drift: Drift,
        /// What happened and what to do.
        message: String,
    },
    /// The run tries in vain, past the point of no return, to end what it began; it goes on trying.
    RunInVain {
        /// The run.
        run: RunId,
    },
    /// There is no room for the exports of the run: it purges nothing, and is tried again until there is some.
    RunNeedsRoom {
        /// The run.
        run: RunId,
        /// `no_space` or `quota_exceeded`.
        code: String,
        /// What happens and what to do.
        message: String,
    },
    /// The exports of the run cannot be written, for want of leave: it purges nothing, and is tried again until they can.
    RunCannotExport {
        /// The run.
        run: RunId,
        /// `permission_denied` or `read_only_file_system`.
        code: String,
        /// What happens and what to do.
        message: String,
    },
    /// The run waits for a bundle before it purges what that is a copy of: it is not there, or cannot be read.
    RunMissesBundle {
        /// The run.
        run: RunId,
        /// `bundle_missing`, `file_extra`, or why it cannot be read.
        code: String,
        /// What happens and what to do.
        message: String,
    },
    /// Access to a mailbox is still there long after it should have been taken back.
    GrantLeft {
        /// The grant.
        grant: GrantId,
    },
    /// The answer to a data subject is late (GDPR Art. 12(3)).
    RequestLate {
        /// The request.
        request: RequestId,
        /// Until when it had to be answered.
        due_at: Timestamp,
    },
    /// Checkpoints of the log are no longer signed.
    TreeStopped {
        /// What happened and what to do.
        message: String,
    },
    /// The store is read-only.
    StoreReadOnly {
        /// A stable code of the damage.
        code: String,
        /// The same as a sentence: what, where, and what to do.
        message: String,
    },
    /// The clock is not believed: nothing is purged until a person confirms it.
    ClockDoubted {
        /// Why: `jumped_forward`, `away_for_long` or `not_synchronised`.
        doubt: String,
        /// What was expected.
        expected_at: Timestamp,
        /// What the clock said.
        seen_at: Timestamp,
    },
    /// The store was restored from a backup: nothing is purged, given or taken until a person confirms it.
    StoreRestored {
        /// When the backup was made.
        made_at: Timestamp,
        /// The last event of the backup.
        last: Position,
        /// Whether a ledger of erasures was read; without one, whoever was erased after the backup may be back.
        ledger_read: bool,
    },
    /// A place outside does not have the newest signed checkpoint.
    PublishingBehind {
        /// Which.
        place: String,
        /// What it said.
        message: String,
    },
    /// A witness did not cosign the newest signed checkpoint.
    WitnessBehind {
        /// Its name in the configuration.
        witness: String,
        /// Why not.
        message: String,
    },
    /// A witness says something that does not fit this log: the log may have been put back or rewritten.
    WitnessContradicts {
        /// Its name in the configuration.
        witness: String,
        /// What it says, and what to do.
        message: String,
    },
    /// The log of another program was not told of the newest events.
    ForwardingBehind {
        /// Its name in the configuration.
        log: String,
        /// What it said.
        message: String,
    },
    /// New wrapping keys are asked for, and could not be put in place; the next start tries again.
    KeyRotationFailed {
        /// What happened and what to do.
        message: String,
    },
    /// The steps of one stage of the daemon fail again and again; what it is for is not done until one succeeds.
    StageFails {
        /// Its name, such as `run`, `schedule` or `grants`.
        stage: String,
        /// What the last step said.
        message: String,
    },
    /// The ledger of erasures does not have all that was destroyed.
    LedgerBehind {
        /// What happened and what to do.
        message: String,
    },
    /// No backup was made although it was its time, or somebody changed the manifest of one.
    BackupFailed {
        /// What happened and what to do.
        message: String,
    },
    /// A channel does not take notices, or did not take some for so long that they are not tried any more and nobody
    /// has said that they know.
    NoticesUndelivered {
        /// The name of the channel in the configuration.
        channel: String,
        /// How many wait for it.
        waiting: u64,
        /// How many are not tried any more, without those that were acknowledged.
        given_up: u64,
        /// A stable code of the last failure.
        code: String,
    },
    /// Nothing of a source is taken in, or no migration batch of a server.
    SourceStopped {
        /// The name of the source, or of the server, in the configuration.
        source: String,
        /// What happened and what to do.
        message: String,
    },
    /// Mailboxes that are looked at could not be read for more than a day: of their messages nothing new is known.
    MailboxesUnread {
        /// How many.
        mailboxes: u64,
        /// The first of them.
        mailbox: EntityId,
        /// A stable code of why.
        code: String,
    },
    /// Of mailboxes that are looked at, single messages could not be read: they are not known, so no policy purges them
    /// and no person is found in them.
    MailboxesReadInPart {
        /// How many.
        mailboxes: u64,
        /// The first of them.
        mailbox: EntityId,
        /// A stable code of what could not be read.
        code: String,
    },
    /// Something lies in the drop folder of a source, or in the folder of a server for migration batches, and is not
    /// taken in.
    EntriesLeft {
        /// The name of the source, or of the server, in the configuration.
        source: String,
        /// How many files and directories.
        entries: u64,
        /// What to do.
        message: String,
    },
    /// Deliveries of a source were rejected as a whole, and still lie in its `rejected/`: nothing of them is known.
    DeliveriesRejected {
        /// The name of the source in the configuration.
        source: String,
        /// How many.
        deliveries: u64,
        /// What to do.
        message: String,
    },
    /// A hold that is not released names a policy that is not active any more: whatever else disposes of what that policy was
    /// about is not held by it.
    HoldPolicyInactive {
        /// The hold.
        hold: HoldId,
        /// The name of the policy, as the hold has it.
        policy: String,
    },
    /// An enforced policy is about a source that is neither configured nor ever delivered anything: nothing of it is
    /// disposed of, and what it should protect is not protected.
    PolicySourceUnknown {
        /// The policy.
        policy: String,
        /// The name of the source, as the policy has it.
        source: String,
    },
    /// The configuration on disk could not be taken in, and the one from before stays in force: it is invalid, so that a
    /// restart would fail, or only a restart takes it in.
    ConfigInvalid {
        /// How many problems there are.
        problems: u64,
        /// The first of them, with its place.
        message: String,
    },
    /// No policy is active, and there were some: nothing falls due, and nothing is planned.
    PoliciesGone {
        /// What to do.
        message: String,
    },
    /// The policies on disk are invalid; the last good set is active.
    PoliciesInvalid {
        /// How many problems there are.
        problems: u64,
        /// The first of them, with its place.
        #[serde(default)]
        message: String,
    },
}

/// How the test of a channel of notices ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeTested {
    /// The name of the channel.
    pub channel: String,
    /// The id under which the far side knows the test.
    pub id: String,
    /// A stable code of why it was not taken; none when it was.
    pub code: Option<String>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Caller {
    /// The user id of the peer.
    pub uid: u32,
    /// What they may do.
    pub roles: Vec<Role>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used, but probably not as meant.
    Warning,
    /// Nothing is wrong; it is good to know.
    Note,
}

/// One problem of something that a person wrote: a configuration, a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The name of the file.
    pub file: String,
    /// The line, from 1; `None` when it is about the whole file.
    pub line: Option<u64>,
    /// The column, from 1.
    pub column: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// What was found, errors first.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Says whether it can be used.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_themselves_apart() {
        let lines: [Line<u8>; 3] = [
            Line::Row(7),
            Line::Progress(Progress { unit: "events".to_owned(), done: 1, total: None }),
            Line::End(StreamEnd { rows: 1, next: Some(Cursor(9)), ended: None }),
        ];
        let text = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect::<Vec<_>>();
        assert_eq!(text[0], r#"{"row":7}"#);
        assert_eq!(text[2], r#"{"end":{"rows":1,"next":9}}"#);
        for (line, text) in lines.iter().zip(&text) {
            assert_eq!(serde_json::from_str::<Line<u8>>(text).unwrap(), *line);
        }
    }

    #[test]
    fn a_code_of_a_newer_daemon_still_brings_its_message() {
        let error: ErrorBody = serde_json::from_str(r#"{"code":"moon_full","message":"wait"}"#).unwrap();
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Unknown, "wait"));
    }
}
