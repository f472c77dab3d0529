//! Events: immutable facts that were recorded, and the envelope around each.
//!
//! The families are in the files beside this one; each struct there is one frozen schema version. A change of shape
//! is a new struct with a new schema version and an upcaster in `codec`, never an edit: see `docs/formats.md`.

use crate::id::{Digest, EntityId, Position, StreamId};
use crate::time::Timestamp;

pub mod apart;
pub mod backup;
pub mod change;
pub mod clock;
pub mod codec;
pub mod decision;
pub mod envelope;
pub mod erasure;
pub mod grant;
pub mod hold;
pub mod key;
pub mod mailbox;
pub mod migration;
pub mod notice;
pub mod operation;
pub mod permission;
pub mod redaction;
pub mod restriction;
pub mod review;
pub mod saga;
pub mod subject;
pub mod summary;

pub use envelope::{Actor, Envelope, EnvelopeError};

/// Which key seals the body of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// The body holds no personal data and is stored as it is.
    Public,
    /// The body holds personal data of the entity in the envelope's slot.
    Entity,
    /// The body holds free text of operators; the store's own key seals it, or that of its month seals the text.
    House,
}

macro_rules! events {
    ($($(#[$doc:meta])* $number:literal $name:ident($body:ty) $sealing:ident;)*) => {
        /// One recorded fact.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $name($body),)*
        }

        /// What kind of fact an event is. The numbers are on disk and never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum EventType {
            $($(#[$doc])* $name = $number,)*
        }

        impl EventType {
            /// All types, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name that people and programs see.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Returns the type of a stored number.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Returns the type of a name, whatever the case.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|t| t.name().eq_ignore_ascii_case(name))
            }

            /// Returns which key seals the body.
            #[must_use]
            pub fn sealing(self) -> Sealing {
                match self { $(Self::$name => Sealing::$sealing,)* }
            }
        }

        impl Event {
            /// Returns the type.
            #[must_use]
            pub fn event_type(&self) -> EventType {
                match self { $(Self::$name(_) => EventType::$name,)* }
            }
        }

        impl codec::Bodies for Event {
            fn encode_body_into(&self, out: &mut Vec<u8>) -> Result<(), codec::CodecError> {
                match self { $(Self::$name(body) => codec::encode_readable(body, out),)* }
            }

            fn decode_body(event_type: EventType, bytes: &[u8]) -> Result<Self, codec::CodecError> {
                match event_type { $(EventType::$name => codec::decode(bytes).map(Self::$name),)* }
            }
        }
    };
}

events! {
    /// The arrangement of a source's rows was seen for the first time.
    1 LayoutRecorded(change::LayoutRecorded) Public;
    /// An entity is new, or different from what was recorded before.
    2 EntityChanged(change::EntityChanged) Entity;
    /// A snapshot of its source no longer holds the entity.
    3 EntityAbsent(change::EntityAbsent) Public;
    /// An entity is tied to others that are known.
    4 EntityLinked(change::EntityLinked) Public;
    /// A file or directory was claimed and is being taken in.
    5 IntakeStarted(change::IntakeStarted) Entity;
    /// A file or directory was taken in, or refused.
    6 IntakeCompleted(change::IntakeCompleted) Public;
    /// A mailbox on a mail server is registered.
    7 MailboxRegistered(mailbox::MailboxRegistered) Public;
    /// A mailbox is no longer registered.
    8 MailboxRemoved(mailbox::MailboxRemoved) House;
    /// A part of what somebody may do in the folders of a mailbox, as its server said.
    9 PermissionObserved(permission::PermissionObserved) Entity;
    /// A password or token of a mailbox, under a key of its own.
    10 CredentialStored(mailbox::CredentialStored) Entity;
    /// The mailboxes of a migration batch were registered.
    11 MigrationBatchImported(mailbox::MigrationBatchImported) Public;
    /// The key of a credential was destroyed.
    12 CredentialDestroyed(mailbox::CredentialDestroyed) Public;
    /// Somebody asked that a mailbox be looked at.
    13 MailboxScanRequested(change::MailboxScanRequested) Public;
    /// A mailbox was looked at, and its messages are recorded as they were found.
    14 MailboxScanned(change::MailboxScanned) Public;
    /// The permissions of a mailbox were looked at.
    15 PermissionsScanned(permission::PermissionsScanned) Public;
    /// Somebody asked that the permissions of a mailbox be looked at.
    16 PermissionScanRequested(permission::PermissionScanRequested) Public;
    /// An order suspends the disposition of what it covers.
    20 HoldPlaced(hold::HoldPlaced) House;
    /// A hold was released.
    21 HoldReleased(hold::HoldReleased) House;
    /// Purges of something are paused.
    22 DisposalPaused(hold::DisposalPaused) House;
    /// Purges of something go on.
    23 DisposalResumed(hold::DisposalResumed) House;
    /// The use of entities is restricted.
    24 RestrictionPlaced(restriction::RestrictionPlaced) House;
    /// A restriction of use is over.
    25 RestrictionLifted(restriction::RestrictionLifted) House;
    /// Holds judged with their filters, and caught this.
    26 HoldsJudged(hold::HoldsJudged) Public;
    /// The use of entities ended under a policy.
    28 EntitiesRestricted(restriction::EntitiesRestricted) Public;
    /// A policy set became active.
    30 PolicySetActivated(decision::PolicySetActivated) Public;
    /// The text of a policy that was not seen before.
    31 PolicyRecorded(decision::PolicyRecorded) House;
    /// Somebody, or the schedule, asked for a plan.
    32 PlanRequested(decision::PlanRequested) Public;
    /// A part of the items of a plan.
    33 PlanItems(decision::PlanItems) Public;
    /// A plan is complete and can no longer change.
    34 PlanFrozen(decision::PlanFrozen) Public;
    /// A plan could not be made.
    35 PlanRefused(decision::PlanRefused) Public;
    /// A person accepted a plan digest.
    36 PlanApproved(decision::PlanApproved) House;
    /// A person refused a plan digest.
    37 PlanRejected(decision::PlanRejected) House;
    /// Somebody, or the schedule, asked for the run of a plan.
    38 RunRequested(decision::RunRequested) Public;
    /// A run began.
    39 RunStarted(decision::RunStarted) Public;
    /// A run was asked to stop between two items.
    40 RunPaused(decision::RunPaused) House;
    /// A paused run was asked to go on.
    41 RunResumed(decision::RunResumed) House;
    /// A run was asked to end early.
    42 RunCancelled(decision::RunCancelled) House;
    /// A run is over.
    43 RunEnded(decision::RunEnded) Public;
    /// A run was refused before its first effect.
    44 RunRefused(decision::RunRefused) Public;
    /// A schedule's time came.
    45 ScheduleFired(decision::ScheduleFired) Public;
    /// Times of a schedule passed while the daemon was not there.
    46 ScheduleMissed(decision::ScheduleMissed) Public;
    /// A person decided what becomes of items that wait for a review.
    47 ReviewDecided(review::ReviewDecided) House;
    /// On which reviews the items of a plan rest.
    48 PlanReviewed(review::PlanReviewed) Public;
    /// A permission is wanted for a time.
    50 GrantRequested(grant::GrantRequested) House;
    /// A person accepted a grant.
    51 GrantApproved(grant::GrantApproved) House;
    /// A person refused a grant.
    52 GrantRejected(grant::GrantRejected) House;
    /// The lease of a grant was made longer.
    53 GrantRenewed(grant::GrantRenewed) House;
    /// A grant is to end now.
    54 GrantRevokeRequested(grant::GrantRevokeRequested) House;
    /// A part of what was read of a mailbox, folder by folder.
    55 GrantFoldersRead(grant::GrantFoldersRead) Entity;
    /// A step of a grant is about to run: the intent.
    56 GrantStepStarted(grant::GrantStepStarted) Public;
    /// A step of a grant took effect.
    57 GrantStepSucceeded(grant::GrantStepSucceeded) Public;
    /// A step of a grant did not take effect, or nobody knows.
    58 GrantStepFailed(grant::GrantStepFailed) Public;
    /// A grant is over.
    59 GrantEnded(grant::GrantEnded) Public;
    /// A saga began.
    60 SagaStarted(saga::SagaStarted) Public;
    /// A step is about to run: the intent.
    61 StepStarted(saga::StepStarted) Public;
    /// A step took effect.
    62 StepSucceeded(saga::StepSucceeded) Public;
    /// A step did not take effect, or nobody knows.
    63 StepFailed(saga::StepFailed) Public;
    /// Items of a saga were left alone, with the reason.
    64 ItemsSkipped(saga::ItemsSkipped) Public;
    /// A saga is over.
    65 SagaEnded(saga::SagaEnded) Public;
    /// A data subject asks for something.
    66 SubjectRequested(subject::SubjectRequested) House;
    /// The answer to a data subject takes longer.
    67 SubjectRequestExtended(subject::SubjectRequestExtended) House;
    /// It is known who asks, and which records are theirs.
    68 SubjectIdentified(subject::SubjectIdentified) House;
    /// Records are kept although their erasure was asked for.
    69 ErasureExcepted(subject::ErasureExcepted) House;
    /// Such an exception no longer holds.
    70 ErasureExceptionEnded(subject::ErasureExceptionEnded) House;
    /// A plan is wanted for the records of an erasure.
    71 ErasurePlanRequested(subject::ErasurePlanRequested) Public;
    /// What the plan of an erasure leaves out.
    72 ErasureKept(subject::ErasureKept) Public;
    /// A data subject has the answer.
    73 SubjectRequestCompleted(subject::SubjectRequestCompleted) House;
    /// A copy of what is stored of a data subject was handed out.
    74 SubjectPackageMade(subject::SubjectPackageMade) Public;
    /// Somebody who got a copy was told what became of the data.
    75 RecipientTold(subject::RecipientTold) House;
    /// The data key of an entity was destroyed.
    80 KeyDestroyed(erasure::KeyDestroyed) Public;
    /// An entity was taken back out of quarantine.
    81 EntityRestored(erasure::EntityRestored) House;
    /// A bundle with copies of erased records is about to be destroyed: the intent.
    82 BundleDestructionStarted(erasure::BundleDestructionStarted) Public;
    /// A bundle with copies of erased records is gone.
    83 BundleDestroyed(erasure::BundleDestroyed) Public;
    /// A copy of a bundle was given to somebody.
    84 BundleHandedOver(erasure::BundleHandedOver) House;
    /// A saga is about to redact: which fields it takes out.
    85 RedactionBegan(redaction::RedactionBegan) House;
    /// A number was given to what is left of an entity after a redaction.
    86 EntitySucceeded(redaction::EntitySucceeded) Public;
    /// A person asks that a mailbox be copied into another.
    90 MigrationRequested(migration::MigrationRequested) House;
    /// A folder of a migration was opened for the first time.
    91 MigrationFolderOpened(migration::MigrationFolderOpened) Entity;
    /// Messages are about to be appended: the intent.
    92 MigrationCopyStarted(migration::MigrationCopyStarted) Public;
    /// Messages are at the target.
    93 MigrationCopied(migration::MigrationCopied) Public;
    /// A folder was compared at both servers.
    94 MigrationFolderVerified(migration::MigrationFolderVerified) Public;
    /// A migration does not go on for now.
    95 MigrationFailed(migration::MigrationFailed) Public;
    /// A person stops a migration.
    96 MigrationStopRequested(migration::MigrationStopRequested) House;
    /// A migration is over.
    97 MigrationEnded(migration::MigrationEnded) Public;
    /// Somebody read personal data through the control API.
    100 RecordsOpened(operation::RecordsOpened) Public;
    /// The store was made.
    120 StoreInitialised(operation::StoreInitialised) Public;
    /// The daemon started.
    121 DaemonStarted(operation::DaemonStarted) Public;
    /// The daemon stopped in good order.
    122 DaemonStopped(operation::DaemonStopped) Public;
    /// The clock was seen to jump.
    123 ClockJumped(operation::ClockJumped) Public;
    /// Everything in sled was made again from the journal.
    124 StoreRebuilt(operation::StoreRebuilt) Public;
    /// Checkpoints are signed with this key from here on.
    125 SigningKeyAdopted(operation::SigningKeyAdopted) Public;
    /// A person asks for new keys of the store itself.
    126 KeyRotationRequested(key::KeyRotationRequested) House;
    /// Every live data key was wrapped under new wrapping keys.
    127 WrappingKeysRotated(key::WrappingKeysRotated) Public;
    /// These users have these roles from here on.
    128 RolesDeclared(operation::RolesDeclared) Public;
    /// The clock is not believed: nothing is purged until a person confirms it.
    130 ClockDoubted(clock::ClockDoubted) Public;
    /// A person confirmed the clock.
    131 ClockConfirmed(clock::ClockConfirmed) House;
    /// A backup was written and read back.
    132 BackupMade(backup::BackupMade) Public;
    /// The copy of the keys of a backup was removed.
    133 BackupKeysRemoved(backup::BackupKeysRemoved) Public;
    /// The store was restored from a backup: it observes until a person confirms it.
    134 StoreRestored(backup::StoreRestored) Public;
    /// A person confirmed a restored store.
    135 RestoreConfirmed(backup::RestoreConfirmed) House;
    /// A key that was destroyed after the backup was left out of the restored store.
    136 KeyDestroyedAgain(backup::KeyDestroyedAgain) Public;
    /// What was erased left the disk: the journal was written anew without it, and the wrapping keys were rotated.
    137 StoreCompacted(operation::StoreCompacted) Public;
    /// A month of the log got a key of its own, which seals what people write in it.
    138 MonthBegun(operation::MonthBegun) Public;
    /// A channel took a notice.
    140 NoticeSent(notice::NoticeSent) Public;
    /// A channel did not take a notice for so long that it is not tried any more.
    141 NoticeFailed(notice::NoticeFailed) Public;
    /// These channels are told things from here on.
    142 NoticeChannelsDeclared(notice::NoticeChannelsDeclared) Public;
    /// A person knows of notices that channels did not take.
    143 NoticeAcknowledged(notice::NoticeAcknowledged) House;
}

impl EventType {
    /// The events that tell that a key was destroyed: that of an entity, or that of a credential.
    pub const DESTRUCTIONS: [Self; 3] = [Self::KeyDestroyed, Self::KeyDestroyedAgain, Self::CredentialDestroyed];

    /// Says whether an event with this stored number tells that a key was destroyed.
    #[must_use]
    pub fn is_destruction(number: u16) -> bool {
        Self::DESTRUCTIONS.iter().any(|known| *known as u16 == number)
    }
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What surrounds it.
    pub envelope: Envelope,
    /// The fact, or what keeps us from reading it.
    pub event: Readable,
}

/// The body of a recorded event, as far as it can be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Readable {
    /// The body was read.
    Event(Box<Event>),
    /// The facts of a body whose texts were erased: the key of their month was destroyed.
    Facts(Box<Event>),
    /// The key was destroyed, or the ciphertext was removed after that.
    Gone,
    /// A type or schema version that this program does not know: it is kept, and nothing is purged because of it.
    Unknown,
}

impl Recorded {
    /// Returns the event if it can be read.
    #[must_use]
    pub fn event(&self) -> Option<&Event> {
        match &self.event {
            Readable::Event(event) | Readable::Facts(event) => Some(event),
            Readable::Gone | Readable::Unknown => None,
        }
    }
}

/// What an appender hands over: everything of an event but its position and its time of recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Whose key seals it, if it is about an entity.
    pub entity: Option<EntityId>,
    /// Who caused it.
    pub actor: Actor,
    /// The event that led to it.
    pub cause: Position,
    /// When it happened in the source; `None` means when it is recorded.
    pub occurred_at: Option<Timestamp>,
    /// The fact.
    pub event: Event,
}

/// Returns the stream of something that is named by a position: a plan, a run, a saga, a hold.
#[must_use]
pub fn stream_of_position(position: Position) -> StreamId {
    let mut bytes = *b"position________";
    bytes[8..].copy_from_slice(&position.0.to_be_bytes());
    first_half(Digest::of(&bytes))
}

/// The stream of what concerns the daemon as a whole.
#[must_use]
pub fn stream_of_daemon() -> StreamId {
    first_half(Digest::of(b"daemon"))
}

fn first_half(digest: Digest) -> StreamId {
    let mut stream = [0; 16];
    stream.copy_from_slice(&digest.0[..16]);
    StreamId(stream)
}
