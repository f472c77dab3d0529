//! The fixed samples behind the golden vectors: every event type, and every variant of every enum that goes to disk.

use retention_core::event::backup::{
    BackupKeysRemoved, BackupMade, KeyDestroyedAgain, RestoreConfirmed, StoreRestored,
};
use retention_core::event::change::{
    EntityAbsent, EntityChanged, IntakeCompleted, IntakeEnd, IntakeStarted, LayoutRecorded, MailboxScanRequested,
    MailboxScanned, ScanEnd,
};
use retention_core::event::clock::{ClockConfirmed, ClockDoubt, ClockDoubted};
use retention_core::event::decision::{
    GuardTripped, KeptCount, PlanApproved, PlanFrozen, PlanItem, PlanItems, PlanPurpose, PlanRefused, PlanRejected,
    PlanRequested, PolicyRecorded, PolicySetActivated, PolicyVersion, RunCancelled, RunEnd, RunEnded, RunPaused,
    RunRefused, RunRequested, RunResumed, RunStarted, ScheduleFired, ScheduleMissed,
};
use retention_core::event::erasure::{EntityRestored, KeyDestroyed};
use retention_core::event::grant::{
    FolderReading, FolderRights, GrantApproved, GrantEnd, GrantEnded, GrantFoldersRead, GrantPurpose, GrantReceipt,
    GrantRejected, GrantRenewed, GrantRequested, GrantRevokeRequested, GrantStep, GrantStepFailed, GrantStepStarted,
    GrantStepSucceeded, OpenSessions, VerifiedAs,
};
use retention_core::event::hold::{
    DisposalPaused, DisposalResumed, HoldJudgement, HoldPlaced, HoldReleased, HoldsJudged, Judged, PauseScope,
    StandingQuery, v1,
};
use retention_core::event::key::{KeyRotationRequested, StoreKeys, WrappingKeysRotated};
use retention_core::event::mailbox::{
    CredentialDestroyed, CredentialStored, MailboxRegistered, MailboxRemoved, MigrationBatchImported, SealedSecret,
};
use retention_core::event::migration::{
    MigrationCopied, MigrationCopyStarted, MigrationEnd, MigrationEnded, MigrationFailed, MigrationFolderOpened,
    MigrationFolderVerified, MigrationRequested, MigrationStopRequested,
};
use retention_core::event::operation::{
    ClockJumped, DaemonStarted, DaemonStopped, RecordsOpened, RoleHolders, RolesDeclared, SigningKeyAdopted,
    StoreCompacted, StoreInitialised, StoreRebuilt,
};
use retention_core::event::permission::{
    Holder, ObservedPermission, PermissionObserved, PermissionScanRequested, PermissionsScanned,
};
use retention_core::event::redaction::RedactionBegan;
use retention_core::event::review::{PlanReviewed, ReviewDecided, ReviewItem, ReviewVerdict};
use retention_core::event::saga::{
    Failure, ItemsSkipped, Receipt, Residue, SagaEnd, SagaEnded, SagaItem, SagaStarted, ScriptKind, SkipReason, Step,
    StepFailed, StepStarted, StepSucceeded,
};
use retention_core::event::{Actor, Envelope, Event, EventType, restriction};
use retention_core::id::{
    Digest, EntityId, GrantId, Handle, HoldId, LayoutId, MigrationId, PlanId, Position, RequestId, RestrictionId,
    ReviewId, RunId, SagaId, StreamId,
};
use retention_core::mailbox::Rights;
use retention_core::record::redact::{FieldMap, Treatment};
use retention_core::record::{
    Cells, Column, DateRole, EntityRecord, FieldType, Kind, Layout, Relation, SourceLink, Visibility,
};
use retention_core::time::Timestamp;

/// Lists values of an enum; does not compile when a variant is missing.
macro_rules! every {
    ($of:ident: $($variant:ident $(($payload:expr))? $({ $($field:ident: $value:expr),* })?),*) => {{
        fn _every_variant_is_listed(value: &$of) {
            match value { $($of::$variant { .. } => {})* }
        }
        vec![$($of::$variant $(($payload))? $({ $($field: $value),* })?),*]
    }};
}

mod activity;
pub(crate) mod month;
mod notice;
mod subject;

const PLAN: PlanId = PlanId(Position(204));
const RUN: RunId = RunId(Position(210));
const SAGA: SagaId = SagaId(Position(70_000));

fn digest(byte: u8) -> Digest {
    Digest(std::array::from_fn(|i| byte.wrapping_add(u8::try_from(i).unwrap_or(0))))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

/// Returns every sample, in the order of the types.
pub(crate) fn events() -> Vec<Event> {
    let mut all = change();
    all.extend(activity::events());
    all.extend(mailbox());
    all.extend(hold());
    all.extend(subject::events());
    all.extend(decision());
    all.extend(run());
    all.extend(grant());
    all.extend(saga());
    all.extend(rest());
    all.extend(clock());
    all.extend(backups());
    all.extend(migrations());
    all.extend(notice::events().into_iter().chain(month::events()));
    all
}

/// Returns an envelope for each thing that an envelope can say.
pub(crate) fn envelopes() -> Vec<Envelope> {
    let sealed = Envelope {
        event_type: EventType::EntityChanged as u16,
        schema: 1,
        sealed: true,
        position: Position(7),
        recorded_at: at(1_700_000_000),
        occurred_at: Timestamp(-1),
        stream: StreamId(std::array::from_fn(|i| 0xa0 + u8::try_from(i).unwrap_or(0))),
        actor: Actor::Person(1000),
        cause: Position(3),
        entity: Some(EntityId(41)),
        texts: None,
        body_len: 300,
        body_digest: digest(5),
    };
    every!(Actor: Daemon, Schedule, Person(u32::MAX))
        .into_iter()
        .map(|actor| Envelope { actor, sealed: false, entity: None, cause: Position::NONE, ..sealed })
        .chain([sealed, Envelope { event_type: u16::MAX, schema: u16::MAX, position: Position(u64::MAX), ..sealed }])
        .collect()
}

fn change() -> Vec<Event> {
    let fields = every!(FieldType: Text, List, Number, Money, Boolean, Date);
    let columns = |_kind| {
        fields.iter().zip(["a", "", "é", "d", "e", "f"]).map(|(&field_type, name)| Column {
            name: name.to_owned(),
            field: format!("custom.{name}"),
            field_type,
        })
    };
    let kinds = every!(Kind: Contact, Company, Deal, Activity, Post, Task, Insight, Template, File, Mailbox, Intake, Message,
               AuditMonth);
    let layouts = kinds.iter().zip(1u32..).map(|(&kind, number)| {
        Event::LayoutRecorded(LayoutRecorded {
            id: LayoutId(number * 100),
            layout: Layout {
                source: "ocm".to_owned(),
                kind,
                columns: columns(kind).collect(),
                named_dates: vec!["signed".to_owned()],
            },
        })
    });
    let visibilities = every!(Visibility: Unknown, Private, Shared);
    let changes =
        visibilities.iter().map(|&visibility| Event::EntityChanged(EntityChanged { record: record(visibility) }));
    let empty = Event::EntityChanged(EntityChanged {
        record: EntityRecord {
            layout: LayoutId(0),
            mailbox: None,
            visibility: Visibility::Unknown,
            external_id: String::new(),
            other_ids: vec![],
            dates: vec![],
            links: vec![],
            cells: Cells::default(),
        },
    });
    let scans = every!(ScanEnd: Done, Failed).into_iter().zip(["", "login_refused"]).map(|(end, code)| {
        let (code, folders, messages, added, changed, absent) = (code.to_owned(), 7, 70_000, 300, 2, 1);
        Event::MailboxScanned(MailboxScanned { end, code, folders, messages, added, changed, absent })
    });
    let ends = every!(IntakeEnd: Done, DoneWithRejects, Rejected, Duplicate);
    let completed = ends.into_iter().map(|end| {
        Event::IntakeCompleted(IntakeCompleted {
            source: "ocm".to_owned(),
            content: digest(1),
            end,
            rows: 250,
            added: 251,
            changed: 65_535,
            unchanged: 65_536,
            rejected: u64::from(u32::MAX),
            absent: u64::from(u32::MAX) + 1,
            dangling: u64::MAX,
            defects: vec![("stale_task_field".to_owned(), 3)],
            report: digest(2),
        })
    });
    layouts
        .chain(changes)
        .chain([
            empty,
            Event::EntityAbsent(EntityAbsent { intake: EntityId(9) }),
            Event::IntakeStarted(IntakeStarted {
                source: "ocm".to_owned(),
                name: "in.csv".to_owned(),
                content: digest(1),
            }),
        ])
        .chain(completed)
        .chain([Event::MailboxScanRequested(MailboxScanRequested {})])
        .chain(scans)
        .collect()
}

fn mailbox() -> Vec<Event> {
    let secret = SealedSecret::new("pässword".to_owned().into());
    vec![
        Event::MailboxRegistered(MailboxRegistered { server: "mail".to_owned(), credential: None }),
        Event::MailboxRegistered(MailboxRegistered { server: "mail".to_owned(), credential: Some(EntityId(4_711)) }),
        Event::MailboxRemoved(MailboxRemoved { reason: "moved".to_owned() }),
        Event::CredentialStored(CredentialStored { secret }),
        Event::MigrationBatchImported(MigrationBatchImported {
            content: digest(0x77),
            mailboxes: 2_000,
            credentials: 1_999,
        }),
        Event::CredentialDestroyed(CredentialDestroyed {}),
        Event::PermissionObserved(PermissionObserved {
            entries: every!(Holder: Owner, Admin, Group, Person)
                .into_iter()
                .map(|holder| ObservedPermission {
                    folder: "INBOX/Účty".to_owned(),
                    identifier: "carol".to_owned(),
                    principal: Handle([7; 16]),
                    holder,
                    rights: rights("lrswipkxtea"),
                })
                .collect(),
        }),
        Event::PermissionsScanned(PermissionsScanned {
            end: ScanEnd::Done,
            code: String::new(),
            digest: u64::MAX - 3,
            parts: 1,
            entries: 4,
            full_access: 1,
        }),
        Event::PermissionsScanned(PermissionsScanned {
            end: ScanEnd::Failed,
            code: "mail-no-acl".to_owned(),
            digest: 0,
            parts: 0,
            entries: 0,
            full_access: 0,
        }),
        Event::PermissionScanRequested(PermissionScanRequested {}),
    ]
}

fn record(visibility: Visibility) -> EntityRecord {
    let roles = every!(DateRole:
        Created, Modified, LastActivity, Closed, ContractEnd, Received, Occurred, Deadline, Granted, Named(300));
    EntityRecord {
        layout: LayoutId(3),
        mailbox: Some(EntityId(251)),
        visibility,
        external_id: "{A-1}".to_owned(),
        other_ids: vec!["{B-2}".to_owned()],
        dates: roles
            .into_iter()
            .zip([i64::MIN, -126, -125, 0, 1, 125, 126, 32_768, 1 << 40, i64::MAX].map(Timestamp))
            .collect(),
        links: vec![
            SourceLink { relation: Relation::Associated, kind: Kind::Company, external_id: "{C-3}".to_owned() },
            SourceLink { relation: Relation::About, kind: Kind::Deal, external_id: String::new() },
        ],
        cells: [None, Some(""), Some(" "), Some("Zoë"), None].into_iter().collect(),
    }
}

fn hold() -> Vec<Event> {
    let (name, reason) = ("case 7".to_owned(), "court order".to_owned());
    let standing = StandingQuery {
        kinds: Kind::ALL.to_vec(),
        sources: vec!["crm".to_owned()],
        seen_from: Some(at(1)),
        seen_until: Some(at(90_000)),
    };
    let whole = HoldPlaced {
        name,
        reason: reason.clone(),
        owner: "legal".to_owned(),
        reference: "3 C 17/26".to_owned(),
        review_at: Some(at(1_700_000_000)),
        entities: vec![EntityId(1), EntityId(65_536)],
        mailboxes: vec![EntityId(41)],
        policies: vec!["contacts".to_owned()],
        standing: Some(standing),
        filter: "{ field = \"email\", op = \"eq\", value = \"ada@example.org\" }".to_owned(),
    };
    let few = HoldPlaced {
        entities: Vec::new(),
        mailboxes: Vec::new(),
        policies: Vec::new(),
        standing: None,
        review_at: None,
        filter: String::new(),
        ..whole.clone()
    };
    let scopes =
        every!(PauseScope: All, Policy("contacts".to_owned()), Mailbox(EntityId(41)), Request(RequestId(Position(52))));
    let paused = scopes
        .clone()
        .into_iter()
        .map(|scope| Event::DisposalPaused(DisposalPaused { scope, reason: "look".to_owned() }));
    let resumed =
        scopes.into_iter().map(|scope| Event::DisposalResumed(DisposalResumed { scope, reason: "looked".to_owned() }));
    let hold = HoldId(Position(99));
    let judged = [Judged::Found { below: 4_000 }, Judged::UpTo(Position(70_000))].map(|judged| HoldJudgement {
        hold,
        judged,
        caught: vec![EntityId(3), EntityId(65_536)],
        unreadable: vec![EntityId(4)],
    });
    let nothing = HoldJudgement { caught: Vec::new(), unreadable: Vec::new(), ..judged[1].clone() };
    let judged = [judged.to_vec(), vec![nothing], Vec::new()].map(|holds| Event::HoldsJudged(HoldsJudged { holds }));
    [Event::HoldPlaced(whole), Event::HoldPlaced(few), Event::HoldReleased(HoldReleased { hold, reason, until: at(7) })]
        .into_iter()
        .chain(judged)
        .chain(paused)
        .chain(resumed)
        .collect()
}

/// What the vectors of older schema versions are read as, with the number of the type and the version.
pub(crate) fn older() -> Vec<(EventType, u16, Event)> {
    let (name, reason) = ("case 7".to_owned(), "court order".to_owned());
    let placed = v1::HoldPlaced { name, reason: reason.clone(), entities: vec![EntityId(1), EntityId(65_536)] };
    let released = v1::HoldReleased { hold: HoldId(Position(99)), reason };
    let scopes =
        [v1::PauseScope::All, v1::PauseScope::Policy("contacts".to_owned()), v1::PauseScope::Mailbox(EntityId(41))];
    let mut older = vec![
        (EventType::HoldPlaced, 1, Event::HoldPlaced(placed.into())),
        (EventType::HoldReleased, 1, Event::HoldReleased(released.into())),
    ];
    older.extend(scopes.clone().map(|scope| {
        let body = v1::DisposalPaused { scope, reason: "look".to_owned() };
        (EventType::DisposalPaused, 1, Event::DisposalPaused(body.into()))
    }));
    older.extend(scopes.map(|scope| {
        let body = v1::DisposalResumed { scope, reason: "looked".to_owned() };
        (EventType::DisposalResumed, 1, Event::DisposalResumed(body.into()))
    }));
    let (restriction, reason) = (RestrictionId(Position(17)), "corrected".to_owned());
    let lifted = restriction::v1::RestrictionLifted { restriction, reason };
    older.push((EventType::RestrictionLifted, 1, Event::RestrictionLifted(lifted.into())));
    older.extend(notice::older().into_iter().chain(month::older(&events())));
    older.extend(activity::older());
    older.extend(subject::older());
    older
}

fn decision() -> Vec<Event> {
    let policy = "contacts".to_owned();
    let purposes = every!(PlanPurpose: Run, Preview);
    let requested = purposes
        .iter()
        .zip([None, Some(at(1_800_000_000))])
        .map(|(&purpose, as_of)| Event::PlanRequested(PlanRequested { policy: policy.clone(), purpose, as_of }));
    let item = |entity, start_is_fallback| PlanItem {
        entity: EntityId(entity),
        version: Position(12),
        start_at: at(1_600_000_000),
        due_at: at(1_700_000_000),
        start_is_fallback,
    };
    let frozen = purposes.iter().map(|&purpose| {
        Event::PlanFrozen(PlanFrozen {
            plan: PLAN,
            purpose,
            policy: policy.clone(),
            policy_digest: digest(3),
            log_position: Position(203),
            as_of: at(1_700_000_000),
            population: 1_000_000,
            items: 2,
            kept: vec![KeptCount { reason: "held".to_owned(), count: 1 }],
            tripped: vec![GuardTripped { guard: "max_items".to_owned(), limit: 1, actual: 2 }],
            needs_approval: purpose == PlanPurpose::Run,
            approvals_needed: 2,
            approval_valid_ms: 604_800_000,
            digest: digest(4),
        })
    });
    vec![
        Event::PolicySetActivated(PolicySetActivated {
            digest: digest(2),
            policies: vec![PolicyVersion { id: policy.clone(), digest: digest(3) }],
        }),
        Event::PolicyRecorded(PolicyRecorded {
            id: policy.clone(),
            digest: digest(3),
            text: "kind = \"contact\"\n".to_owned(),
        }),
    ]
    .into_iter()
    .chain(requested)
    .chain([Event::PlanItems(PlanItems { plan: PLAN, chunk: 0, items: vec![item(5, false), item(6, true)] })])
    .chain(frozen)
    .chain([
        Event::PlanRefused(PlanRefused { plan: PLAN, code: "unknown_policy".to_owned() }),
        Event::PlanApproved(PlanApproved { plan: PLAN, digest: digest(4), comment: "yes".to_owned() }),
        Event::PlanRejected(PlanRejected { plan: PLAN, digest: digest(4), comment: "no".to_owned() }),
    ])
    .chain(review())
    .collect()
}

fn review() -> Vec<Event> {
    let items = vec![
        ReviewItem { entity: EntityId(5), version: Position(7), due_at: Some(Timestamp(1_700_000_000_000_000)) },
        ReviewItem { entity: EntityId(6), version: Position(8), due_at: None },
    ];
    let verdicts = every!(ReviewVerdict: Dispose, Keep { until: Timestamp(1_800_000_000_000_000) });
    verdicts
        .into_iter()
        .map(|verdict| {
            Event::ReviewDecided(ReviewDecided {
                policy: "contacts".to_owned(),
                policy_digest: digest(3),
                verdict,
                items: items.clone(),
                reason: "why".to_owned(),
            })
        })
        .chain([Event::PlanReviewed(PlanReviewed { plan: PLAN, reviews: vec![ReviewId(Position(230))] })])
        .collect()
}

fn run() -> Vec<Event> {
    let reason = "lunch".to_owned();
    let ends = every!(RunEnd: Completed, Cancelled, Stuck);
    vec![
        Event::RunRequested(RunRequested { plan: PLAN, digest: digest(4) }),
        Event::RunStarted(RunStarted { run: RUN, plan: PLAN, items: 2 }),
        Event::RunPaused(RunPaused { run: RUN, reason: reason.clone() }),
        Event::RunResumed(RunResumed { run: RUN, reason: reason.clone() }),
        Event::RunCancelled(RunCancelled { run: RUN, reason }),
    ]
    .into_iter()
    .chain(ends.into_iter().map(|end| Event::RunEnded(RunEnded { run: RUN, end, purged: 1, skipped: 1 })))
    .chain([
        Event::RunRefused(RunRefused { run: RUN, plan: PLAN, code: "plan_used".to_owned() }),
        Event::ScheduleFired(ScheduleFired { policy: "p".to_owned(), nominal_at: at(1), catch_up: true }),
        Event::ScheduleFired(ScheduleFired { policy: "p".to_owned(), nominal_at: at(2), catch_up: false }),
        Event::ScheduleMissed(ScheduleMissed { policy: "p".to_owned(), first_at: at(1), last_at: at(3), count: 3 }),
    ])
    .collect()
}

fn saga() -> Vec<Event> {
    let scripts = every!(ScriptKind: ExportPurge, MessagePurge, ExportRedact, Restrict);
    let started = scripts.into_iter().zip([Some(EntityId(251)), None, None, None]).map(|(script, mailbox)| {
        let items = vec![SagaItem { item: 0, entity: EntityId(5), version: Position(12) }];
        Event::SagaStarted(SagaStarted { run: RUN, script, script_version: 1, mailbox, items })
    });
    let steps =
        every!(Step: Export, VerifyExport, Quarantine, Purge, VerifyAbsence, Expunge, DestroyKeys, Redact, Restrict);
    let intents = steps.iter().map(|&step| {
        let items = if step.is_pivot() { vec![EntityId(5), EntityId(251)] } else { vec![] };
        Event::StepStarted(StepStarted { saga: SAGA, step, attempt: 1, idempotency_key: digest(6), items })
    });
    let residue = every!(Residue: CacheCleared, CacheMayRemain, DelayedExpunge, ServerUnknown);
    let receipts = every!(Receipt:
        Exported { manifest: digest(7), exported_at: at(1_700_000_000), items: 2, bytes: 70_000 },
        ExportVerified { manifest: digest(7), items: 2 },
        Quarantined { until: at(1_700_086_400), items: 2 },
        Purged { items: 2 },
        Absent { items: 2 },
        Undone,
        Expunged { items: 2 },
        AbsentFromServer { items: 2, residue: residue },
        Redacted { items: 2 },
        Restricted { items: 2 });
    let later = [Step::Export, Step::Expunge, Step::VerifyAbsence, Step::Redact, Step::Restrict];
    let of_receipts = steps.iter().copied().take(5).chain(later);
    let succeeded = receipts.into_iter().zip(of_receipts).map(|(receipt, step)| {
        let compensation = receipt == Receipt::Undone;
        Event::StepSucceeded(StepSucceeded { saga: SAGA, step, compensation, receipt })
    });
    let failures = every!(Failure: Refused, Unknown);
    let failed = failures.into_iter().zip([Some(at(1)), None]).map(|(failure, retry_at)| {
        Event::StepFailed(StepFailed {
            saga: SAGA,
            step: Step::Export,
            attempt: 2,
            failure,
            code: "disk_full".to_owned(),
            retry_at,
        })
    });
    let reasons = every!(SkipReason: Changed, Held, Restricted, NotDue, Gone, Restored, InAnotherRun);
    let items = reasons.into_iter().zip(1u32..).map(|(reason, number)| (EntityId(number), reason)).collect();
    let ends = every!(SagaEnd: Completed, Compensated, Stuck);
    started
        .chain(intents)
        .chain(succeeded)
        .chain(failed)
        .chain([Event::ItemsSkipped(ItemsSkipped { saga: SAGA, items })])
        .chain(ends.into_iter().map(|end| Event::SagaEnded(SagaEnded { saga: SAGA, end, purged: 2 })))
        .collect()
}

fn clock() -> Vec<Event> {
    every!(ClockDoubt: JumpedForward, AwayForLong, NotSynchronised)
        .into_iter()
        .map(|doubt| Event::ClockDoubted(ClockDoubted { doubt, expected_at: at(1), seen_at: at(90_000) }))
        .chain([Event::ClockConfirmed(ClockConfirmed { doubted: Position(99), reason: "compared".to_owned() })])
        .collect()
}

fn migrations() -> Vec<Event> {
    let migration = MigrationId(Position(700));
    let ends = every!(MigrationEnd: Verified, Differs, Stopped, Failed);
    let requested = |exclude: &[&str], max_bytes| {
        Event::MigrationRequested(MigrationRequested {
            source: EntityId(5),
            target: EntityId(6),
            exclude: exclude.iter().map(|&folder| folder.to_owned()).collect(),
            max_bytes,
        })
    };
    [
        requested(&[], None),
        requested(&["Trash", "Účty/2019"], Some(35_000_000)),
        Event::MigrationFolderOpened(MigrationFolderOpened {
            migration,
            folder: 2,
            path: "Sent Items".to_owned(),
            into: "Sent".to_owned(),
            source_validity: 7,
            target_validity: 8,
        }),
        Event::MigrationCopyStarted(MigrationCopyStarted {
            migration,
            folder: 2,
            uids: vec![1, 2, 300],
            target_uid_next: 4,
        }),
        Event::MigrationCopied(MigrationCopied {
            migration,
            folder: 2,
            upto: 300,
            messages: 2,
            bytes: 70_000,
            left_out: 1,
            gone: 3,
        }),
        Event::MigrationFolderVerified(MigrationFolderVerified { migration, folder: 2, messages: 9, missing: 1 }),
        Event::MigrationFailed(MigrationFailed { migration, code: "mail-lost".to_owned(), retry_at: at(60) }),
        Event::MigrationStopRequested(MigrationStopRequested { migration, reason: "later".to_owned() }),
    ]
    .into_iter()
    .chain(ends.into_iter().map(|end| {
        let code = if end == MigrationEnd::Failed { "mailbox_removed".to_owned() } else { String::new() };
        Event::MigrationEnded(MigrationEnded { migration, end, code, looked_at: Position(800) })
    }))
    .collect()
}

fn backups() -> Vec<Event> {
    let restored = |ledger_read, checkpoint| {
        Event::StoreRestored(StoreRestored {
            last: Position(9_000),
            made_at: at(5),
            entities: 1_000,
            destroyed_again: 3,
            ledger_read,
            checkpoint,
        })
    };
    vec![
        Event::BackupMade(BackupMade { last: Position(9_000), manifest: digest(8), keys_until: at(86_400) }),
        Event::KeyRotationRequested(KeyRotationRequested { keys: StoreKeys::Signing, reason: "yearly".to_owned() }),
        Event::KeyRotationRequested(KeyRotationRequested { keys: StoreKeys::Wrapping, reason: "yearly".to_owned() }),
        Event::WrappingKeysRotated(WrappingKeysRotated { slots: 1_000 }),
        Event::StoreCompacted(StoreCompacted { segments: 3, bodies: 250, bytes: 70_000 }),
        Event::BackupKeysRemoved(BackupKeysRemoved { last: Position(9_000) }),
        restored(true, Some(9_100)),
        restored(false, None),
        Event::RestoreConfirmed(RestoreConfirmed { restored: Position(9_004), reason: "drill".to_owned() }),
        Event::KeyDestroyedAgain(KeyDestroyedAgain { lost: Position(9_050), destroyed_at: at(7) }),
    ]
}

fn rest() -> Vec<Event> {
    vec![
        Event::KeyDestroyed(KeyDestroyed { run: RUN, saga: SAGA, item: 1 }),
        Event::KeyDestroyed(KeyDestroyed {
            run: RunId(Position(u64::MAX)),
            saga: SagaId(Position(250)),
            item: u32::MAX,
        }),
        Event::RedactionBegan(RedactionBegan {
            saga: SAGA,
            policy: "deals-without-persons".to_owned(),
            policy_digest: digest(3),
            fields: FieldMap::new(vec![
                ("custom.*".to_owned(), Treatment::Removed),
                ("custom.region".to_owned(), Treatment::Kept),
                ("owner".to_owned(), Treatment::Replaced("a colleague".to_owned())),
            ]),
        }),
        Event::EntityRestored(EntityRestored { saga: SAGA, reason: "still a customer".to_owned() }),
        Event::RecordsOpened(RecordsOpened { operation: "entities.show".to_owned(), entities: 1 }),
        Event::StoreInitialised(StoreInitialised { store: *b"0123456789abcdef", program: "0.1.0".to_owned() }),
        Event::DaemonStarted(DaemonStarted {
            program: "0.1.0".to_owned(),
            config: digest(8),
            after_clean_stop: true,
            cut_bytes: 0,
        }),
        Event::RolesDeclared(RolesDeclared {
            config: digest(8),
            auditor: RoleHolders { users: vec![0, 250, 1_001, 4_294_967_294], groups: vec![2_000], more: 3 },
            operator: RoleHolders { users: vec![1_002], groups: Vec::new(), more: 0 },
            approver: RoleHolders { users: Vec::new(), groups: vec![7, 65_536], more: 0 },
            admin: RoleHolders::default(),
        }),
        Event::DaemonStopped(DaemonStopped {}),
        Event::ClockJumped(ClockJumped { expected_at: at(1), seen_at: at(90_000) }),
        Event::StoreRebuilt(StoreRebuilt { events: 300, code: "asked_for".to_owned() }),
        Event::SigningKeyAdopted(SigningKeyAdopted { verifier_key: "log+c2b9b2f5+AQ".to_owned() }),
    ]
}

const GRANT: GrantId = GrantId(Position(310));

fn rights(text: &str) -> Rights {
    text.parse().unwrap()
}

fn requested(purpose: GrantPurpose, ticket: Option<String>) -> Event {
    Event::GrantRequested(GrantRequested {
        mailbox: EntityId(41),
        principal: Handle(std::array::from_fn(|i| 0xb0 + u8::try_from(i).unwrap_or(0))),
        identifier: "helpdesk".to_owned(),
        purpose,
        policy: "mailbox-fullaccess".to_owned(),
        policy_digest: digest(9),
        duration_ms: 3_600_000,
        max_ms: 28_800_000,
        alarm_after_ms: 900_000,
        approvals: 1,
        approval_valid_ms: 14_400_000,
        reason: "the owner is ill".to_owned(),
        ticket,
    })
}

fn grant() -> Vec<Event> {
    let folder = |folder: &str, before: &str, asked: &str, after: &str| FolderRights {
        folder: folder.to_owned(),
        before: rights(before),
        asked: rights(asked),
        after: rights(after),
    };
    let ticket = Some("INC-4711".to_owned());
    let mut all: Vec<Event> = every!(GrantPurpose: Request, Run { run: RUN }, Removal { run: RUN }, Standing)
        .into_iter()
        .map(|purpose| requested(purpose, ticket.clone()))
        .collect();
    all.push(requested(GrantPurpose::Request, None));
    all.extend([
        Event::GrantApproved(GrantApproved { grant: GRANT, comment: "seen".to_owned() }),
        Event::GrantRejected(GrantRejected { grant: GRANT, comment: "no".to_owned() }),
        Event::GrantRenewed(GrantRenewed { grant: GRANT, duration_ms: 1_800_000, reason: "not done".to_owned() }),
        Event::GrantRevokeRequested(GrantRevokeRequested { grant: GRANT, reason: "done".to_owned() }),
    ]);
    all.extend(every!(FolderReading: Before, Given, Revoked).into_iter().map(|reading| {
        let folders =
            vec![folder("INBOX", "", "lrswipkxtea", "lrswipkxteacd"), folder("Entwürfe", "lr", "lrswipkxtea", "z0189")];
        Event::GrantFoldersRead(GrantFoldersRead { grant: GRANT, reading, folders })
    }));
    for step in every!(GrantStep: Read, Give, Revoke, VerifyRevoked) {
        all.push(Event::GrantStepStarted(GrantStepStarted { grant: GRANT, step, attempt: 1 }));
    }
    let gone = |verified_as, sessions| GrantReceipt::VerifiedGone { verified_as, folders: 300, sessions };
    let mut receipts = every!(GrantReceipt:
        Read { folders: 300, standing: 1, parts: 2 },
        Given { folders: 300, changed: 299, parts: 2 },
        Revoked { folders: 301, changed: 300, standing: 1, parts: 2 },
        VerifiedGone { verified_as: VerifiedAs::Grantee, folders: 301, sessions: OpenSessions::Ended });
    receipts.extend(every!(VerifiedAs: Grantee, Admin).into_iter().map(|by| gone(by, OpenSessions::Ended)));
    let sessions = every!(OpenSessions: Ended, MayHaveLivedOn { until: Some(at(1_772_323_200)) });
    receipts.extend(sessions.into_iter().map(|sessions| gone(VerifiedAs::Admin, sessions)));
    receipts.push(gone(VerifiedAs::Admin, OpenSessions::MayHaveLivedOn { until: None }));
    all.extend(
        receipts.into_iter().map(|receipt| {
            Event::GrantStepSucceeded(GrantStepSucceeded { grant: GRANT, step: GrantStep::Give, receipt })
        }),
    );
    for (failure, retry_at) in [(Failure::Refused, None), (Failure::Unknown, Some(at(1_772_323_200)))] {
        let (step, code) = (GrantStep::Revoke, "connection_lost".to_owned());
        all.push(Event::GrantStepFailed(GrantStepFailed { grant: GRANT, step, attempt: 7, failure, code, retry_at }));
    }
    let ends = every!(GrantEnd:
        Revoked, HandedOver { to: GrantId(Position(320)) }, NotGiven, Rejected, Withdrawn, Expired);
    all.extend(ends.into_iter().map(|end| Event::GrantEnded(GrantEnded { grant: GRANT, end })));
    all
}
