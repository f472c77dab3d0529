//! How the daemon is, and the check of its configuration.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Extension, State};
use retention_core::control::{
    Attention, Caller as WireCaller, CheckConfig, Checked, EntryLeftRow, Status, StoreState, WitnessRow,
};
use retention_core::event::backup::StoreRestored;
use retention_core::event::clock::ClockDoubted;
use retention_core::event::saga::StepFailed;
use retention_core::evidence::cosignature::WitnessState;
use retention_core::id::{GrantId, HoldId, LayoutId, PlanId, Position, RequestId, RunId};
use retention_core::time::Timestamp;
use retention_core::view::notices::Channel;
use retention_core::view::recipients::HandedOver;
use retention_core::view::{Drift, EntityState, Grant, GrantState, PlanState, RunState, SubjectRequest, Views};

use super::super::answer::blocking;
use super::super::error::ApiError;
use super::super::input::Body;
use super::{Caller, Shared};
use crate::store::ReadOnly;

/// What must be answered so soon is told: a week, in microseconds.
const SOON_US: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// What is told of a run for whose exports there is no room.
const NEEDS_ROOM: &str = "there is no room for a bundle in the exports directory, and nothing is purged without one; make room there: it is tried again every quarter of an hour, and the run goes on by itself";

/// What is told of a run that may not write into the exports directory.
const CANNOT_EXPORT: &str = "the daemon may not write into the exports directory, and nothing is purged without a bundle; give it leave there, or mount the file system writable: it is tried again every quarter of an hour, and the run goes on by itself";

/// What is told of a run that waits for a bundle which it cannot read again.
const MISSES_BUNDLE: &str = "the quarantine is over, and a bundle of the run is not where it was written or cannot be read as it was; nothing of it is purged. Put it back, mount its file system, or take away what was put into it: it is tried again every ten minutes; or cancel the run";

/// What is told when there are no policies any more.
const POLICIES_GONE: &str = "the policy directory holds no policy any more, so nothing falls due and nothing is planned; if its file system is not mounted, mount it; if none is meant to be in force, leave one there with state = \"draft\"";

pub(crate) async fn status(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Status>, ApiError> {
    let now = control.clock.now();
    let log = std::sync::Arc::clone(&control.log);
    // A log that cannot be read is told below, and must not keep anybody from that.
    let copies = blocking(move || Ok(log.handed_over().unwrap_or_default())).await?;
    let counts = control.see(move |views| Ok(Counts::of(views, &copies, now))).await?;
    let works = std::sync::Arc::clone(&control.works);
    let tree = control.works.tree_stopped();
    let asked = move || Ok((works.config_problems(), works.policy_problems(), works.policies_of_no_source()));
    let (unusable, problems, no_source) = blocking(asked).await?;
    let damage = control.log.read_only();
    let mut attention: Vec<Attention> = counts.stuck.into_iter().map(|run| Attention::RunStuck { run }).collect();
    attention.extend(counts.stopped.into_iter().map(|(run, drift)| {
        let Drift { looked_at, drifted } = drift;
        let message = format!(
            "{drifted} of the {looked_at} items that the run looked at had changed since its plan was made, so it ended. What it had \
             not come to is as it was: see what changed (`retentionctl audit query --run {run} --kind ItemsSkipped`), and make a new plan"
        );
        Attention::RunStopped { run, drift, message }
    }));
    attention.extend(counts.in_vain.into_iter().map(|run| Attention::RunInVain { run }));
    attention.extend(counts.needs_exports.into_iter().map(|(run, code)| {
        if StepFailed::needs_room(&code) {
            Attention::RunNeedsRoom { run, code, message: NEEDS_ROOM.to_owned() }
        } else {
            Attention::RunCannotExport { run, code, message: CANNOT_EXPORT.to_owned() }
        }
    }));
    let missed = control.works.bundles_missed().into_iter();
    attention.extend(missed.map(|(run, code)| Attention::RunMissesBundle {
        run,
        code,
        message: MISSES_BUNDLE.to_owned(),
    }));
    attention.extend(counts.grants_left.into_iter().map(|grant| Attention::GrantLeft { grant }));
    attention.extend(counts.late.into_iter().map(|(request, due_at)| Attention::RequestLate { request, due_at }));
    attention.extend(
        damage.clone().map(|ReadOnly { code, says }| Attention::StoreReadOnly { code: code.to_owned(), message: says }),
    );
    attention.extend(counts.clock.map(|body| Attention::ClockDoubted {
        doubt: body.doubt.name().to_owned(),
        expected_at: body.expected_at,
        seen_at: body.seen_at,
    }));
    attention.extend(tree.map(|message| Attention::TreeStopped { message }));
    attention.extend(counts.restored.map(|body| Attention::StoreRestored {
        made_at: body.made_at,
        last: body.last,
        ledger_read: body.ledger_read,
    }));
    let behind = control.works.publishing_behind().into_iter();
    attention.extend(behind.map(|(place, message)| Attention::PublishingBehind { place, message }));
    let witnesses = control.works.witnesses();
    attention.extend(witnesses.iter().filter_map(|(witness, state)| {
        let message = state.contradicts.clone()?;
        Some(Attention::WitnessContradicts { witness: witness.clone(), message })
    }));
    attention.extend(witnesses.iter().filter_map(|(witness, state)| {
        let message = state.behind.clone()?;
        Some(Attention::WitnessBehind { witness: witness.clone(), message })
    }));
    let behind = control.works.forwarding_behind().into_iter();
    attention.extend(behind.map(|(log, message)| Attention::ForwardingBehind { log, message }));
    let failed = control.works.rotation_failed();
    attention.extend(failed.map(|message| Attention::KeyRotationFailed { message }));
    let failing = control.works.stages_failing().into_iter();
    attention.extend(failing.map(|(stage, message)| Attention::StageFails { stage, message }));
    attention.extend(control.works.ledger_behind().map(|message| Attention::LedgerBehind { message }));
    attention.extend(control.works.backup_failed().map(|message| Attention::BackupFailed { message }));
    attention.extend(undelivered(counts.given_up, control.works.notices_failing()));
    let stopped = control.works.sources_stopped().into_iter();
    attention.extend(stopped.map(|(source, message)| Attention::SourceStopped { source, message }));
    attention.extend(counts.unread);
    attention.extend(counts.read_in_part);
    attention.extend(entries_left(control.works.entries_left()));
    attention
        .extend(counts.holds_idle.into_iter().map(|(hold, policy)| Attention::HoldPolicyInactive { hold, policy }));
    attention.extend(no_source.into_iter().map(|(policy, source)| Attention::PolicySourceUnknown { policy, source }));
    if let Some(first) = unusable.first() {
        let (problems, message) = (unusable.len() as u64, first.clone());
        attention.push(Attention::ConfigInvalid { problems, message });
    }
    if counts.policies_gone {
        attention.push(Attention::PoliciesGone { message: POLICIES_GONE.to_owned() });
    }
    if let Some(first) = problems.first() {
        let (problems, message) = (problems.len() as u64, first.clone());
        attention.push(Attention::PoliciesInvalid { problems, message });
    }
    Ok(Json(Status {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: control.started_at,
        now,
        position: counts.position,
        store: damage.map_or(StoreState::ReadWrite, |ReadOnly { code, says }| StoreState::ReadOnly {
            code: code.to_owned(),
            message: says,
        }),
        policy_set: counts.policy_set,
        policies: counts.policies,
        entities: counts.entities,
        quarantined: counts.quarantined,
        purged: counts.purged,
        holds: counts.holds,
        holds_for_review: counts.holds_for_review,
        requests_open: counts.requests_open,
        requests_due_soon: counts.requests_due_soon,
        requests_for_review: counts.requests_for_review,
        restrictions: counts.restrictions,
        paused: counts.paused,
        plans_waiting: counts.plans_waiting,
        grants_waiting: counts.grants_waiting,
        grants_active: counts.grants_active,
        mailboxes: counts.mailboxes,
        recipients_to_tell: counts.recipients_to_tell,
        runs_active: counts.runs_active,
        witnesses: witnesses.into_iter().map(witness_row).collect(),
        attention,
        caller: WireCaller { uid: caller.peer.uid, roles: caller.roles },
    }))
}

/// Counts what lies in each drop folder and is not taken in, and what was rejected apart. Names may name persons: who
/// wants them asks for them.
fn entries_left(left: Vec<EntryLeftRow>) -> Vec<Attention> {
    let mut by_source: BTreeMap<String, u64> = BTreeMap::new();
    let mut rejected: BTreeMap<String, u64> = BTreeMap::new();
    for one in left {
        let counts = if one.why == EntryLeftRow::REJECTED { &mut rejected } else { &mut by_source };
        *counts.entry(one.source).or_default() += 1;
    }
    let told = |(source, entries)| {
        let message = "what lies there is not taken in: `retentionctl intake left` says which, why, and what to do";
        Attention::EntriesLeft { source, entries, message: message.to_owned() }
    };
    let refused = |(source, deliveries)| {
        let message = "nothing of them was taken in: `retentionctl intake left` says which, and where the report of each \
                       lies; this is told until they are taken out of rejected/";
        Attention::DeliveriesRejected { source, deliveries, message: message.to_owned() }
    };
    by_source.into_iter().map(told).chain(rejected.into_iter().map(refused)).collect()
}

fn witness_row((witness, state): (String, WitnessState)) -> WitnessRow {
    let (cosigned, cosigned_at) = state.cosigned.unzip();
    WitnessRow { witness, cosigned, cosigned_at }
}

struct Counts {
    position: Position,
    policy_set: Option<retention_core::id::Digest>,
    policies: u64,
    /// Whether there were some, and there are none.
    policies_gone: bool,
    entities: u64,
    quarantined: u64,
    purged: u64,
    holds: u64,
    holds_for_review: Vec<HoldId>,
    holds_idle: Vec<(HoldId, String)>,
    requests_open: u64,
    requests_due_soon: Vec<RequestId>,
    requests_for_review: Vec<RequestId>,
    late: Vec<(RequestId, Timestamp)>,
    restrictions: u64,
    paused: Vec<String>,
    plans_waiting: Vec<PlanId>,
    grants_waiting: Vec<GrantId>,
    grants_active: Vec<GrantId>,
    grants_left: Vec<GrantId>,
    mailboxes: u64,
    recipients_to_tell: Vec<RequestId>,
    runs_active: Vec<RunId>,
    stuck: Vec<RunId>,
    stopped: Vec<(RunId, Drift)>,
    in_vain: BTreeSet<RunId>,
    needs_exports: BTreeMap<RunId, String>,
    clock: Option<ClockDoubted>,
    restored: Option<StoreRestored>,
    given_up: Vec<(String, u64, String)>,
    unread: Option<Attention>,
    read_in_part: Option<Attention>,
}

impl Counts {
    fn of(views: &Views, copies: &[HandedOver], now: Timestamp) -> Self {
        let small = &views.small;
        let runs_in = |wanted: fn(RunState) -> bool| {
            small.runs.iter().filter(|(_, run)| wanted(run.state)).map(|(id, _)| id).collect::<Vec<_>>()
        };
        let grants_that = |wanted: &dyn Fn(&Grant) -> bool| {
            small.grants.open().filter(|(_, grant)| wanted(grant)).map(|(id, _)| id).collect::<Vec<_>>()
        };
        let requests_that = |wanted: &dyn Fn(&SubjectRequest) -> bool| {
            small.subjects.iter().filter(|(_, request)| wanted(request)).map(|(id, _)| id).collect::<Vec<_>>()
        };
        let layouts = small.layouts.iter().map(|(id, _)| id).collect::<Vec<LayoutId>>();
        Self {
            position: views.position,
            policy_set: small.policies.digest,
            policies: small.policies.policies.len() as u64,
            policies_gone: small.policies.policies.is_empty() && !small.policies.texts.is_empty(),
            entities: layouts.into_iter().map(|layout| views.entities.live(layout)).sum(),
            quarantined: quarantined(views),
            purged: views.purged(),
            holds: small.holds.in_force(now).count() as u64,
            holds_for_review: small
                .holds
                .all()
                .filter(|(_, hold)| hold.is_due_for_review(now))
                .map(|(id, _)| id)
                .collect(),
            holds_idle: holds_idle(views, now),
            requests_open: small.subjects.iter().filter(|(_, request)| request.ended.is_none()).count() as u64,
            requests_due_soon: requests_that(&|request| {
                let soon = Timestamp(now.0.saturating_add(SOON_US));
                request.is_overdue(soon) && !request.is_overdue(now)
            }),
            requests_for_review: requests_that(&|request| request.is_due_for_review(now)),
            late: small
                .subjects
                .iter()
                .filter(|(_, request)| request.is_overdue(now))
                .map(|(id, request)| (id, request.due_at))
                .collect(),
            restrictions: small.restrictions.all().filter(|(_, one)| one.lifted_at.is_none()).count() as u64,
            paused: small.pauses.iter().map(ToString::to_string).collect(),
            plans_waiting: small
                .plans
                .iter()
                .filter(|(_, plan)| views.state_of_plan(plan, now) == PlanState::AwaitingApproval)
                .map(|(id, _)| id)
                .collect(),
            grants_waiting: grants_that(&|grant| grant.state(now) == GrantState::AwaitingApproval),
            grants_active: grants_that(&Grant::may_be_there),
            grants_left: grants_that(&|grant| grant.is_alarming(now)),
            mailboxes: small.registry.iter().count() as u64,
            recipients_to_tell: recipients_to_tell(views, copies, now),
            runs_active: runs_in(is_active),
            stuck: runs_in(|state| state == RunState::Stuck),
            stopped: small.runs_to_plan_anew().collect(),
            in_vain: small
                .runs
                .sagas()
                .filter(|(_, saga)| saga.is_tried_in_vain())
                .map(|(_, saga)| saga.started.run)
                .collect(),
            needs_exports: small
                .runs
                .sagas()
                .filter_map(|(_, saga)| Some((saga.started.run, saga.needs_exports.clone()?)))
                .collect(),
            clock: small.clock.doubt().map(|(_, body)| body.clone()),
            restored: small.restored.waits().map(|(_, body)| body.clone()),
            given_up: given_up(views),
            unread: unread(views, now),
            read_in_part: read_in_part(views, now),
        }
    }
}

fn recipients_to_tell(views: &Views, copies: &[HandedOver], now: Timestamp) -> Vec<RequestId> {
    let mut requests: Vec<RequestId> = views.to_tell(copies, now).map(|told| told.request).collect();
    requests.dedup();
    requests
}

/// Returns which holds name policies that are not active any more. Whoever released one knows.
fn holds_idle(views: &Views, now: Timestamp) -> Vec<(HoldId, String)> {
    let is_active = |name: &String| views.small.policies.policies.iter().any(|version| version.id == *name);
    let holds = views.small.holds.in_force(now).filter(|(_, hold)| hold.released.is_none());
    let named = holds.flat_map(|(id, hold)| hold.policies.iter().map(move |policy| (id, policy)));
    named.filter(|(_, policy)| !is_active(policy)).map(|(id, policy)| (id, policy.clone())).collect()
}

/// One alarm for all mailboxes that are looked at in vain.
fn unread(views: &Views, now: Timestamp) -> Option<Attention> {
    let mut unread = views.small.registry.iter().filter_map(|(mailbox, known)| {
        let scan = views.small.scans.get(mailbox).filter(|scan| scan.is_unread(known.registered_at, now))?;
        Some((mailbox, scan.failed.clone()?))
    });
    let (mailbox, code) = unread.next()?;
    Some(Attention::MailboxesUnread { mailboxes: 1 + unread.count() as u64, mailbox, code })
}

/// One alarm for all mailboxes of which single messages are not known.
fn read_in_part(views: &Views, now: Timestamp) -> Option<Attention> {
    let mut in_part = views.small.registry.iter().filter_map(|(mailbox, _)| {
        let code = views.small.scans.get(mailbox)?.left_out(now)?;
        Some((mailbox, code.to_owned()))
    });
    let (mailbox, code) = in_part.next()?;
    Some(Attention::MailboxesReadInPart { mailboxes: 1 + in_part.count() as u64, mailbox, code })
}

/// How many notices each channel was spared and nobody knows of, and the code of one of them.
fn given_up(views: &Views) -> Vec<(String, u64, String)> {
    let of = |(name, channel): (&str, &Channel)| {
        let (_, code) = channel.given_up().next()?;
        Some((name.to_owned(), channel.given_up().count() as u64, code.to_owned()))
    };
    views.small.notices.channels().filter_map(of).collect()
}

/// One alarm for each channel, for what waits and what was given up together.
fn undelivered(given_up: Vec<(String, u64, String)>, failing: Vec<(String, u64, String)>) -> Vec<Attention> {
    let mut channels: BTreeMap<String, (u64, u64, String)> =
        given_up.into_iter().map(|(name, count, code)| (name, (0, count, code))).collect();
    for (name, waiting, code) in failing {
        let channel = channels.entry(name).or_default();
        (channel.0, channel.2) = (waiting, code);
    }
    let alarm =
        |(channel, (waiting, given_up, code))| Attention::NoticesUndelivered { channel, waiting, given_up, code };
    channels.into_iter().map(alarm).collect()
}

fn is_active(state: RunState) -> bool {
    match state {
        RunState::Requested | RunState::Running | RunState::Paused | RunState::Cancelling => true,
        RunState::Refused | RunState::Completed | RunState::Cancelled | RunState::Stuck => false,
    }
}

fn quarantined(views: &Views) -> u64 {
    let sagas = views.small.runs.sagas().filter(|(_, saga)| saga.end.is_none() && saga.quarantine_until().is_some());
    let waiting = sagas
        .flat_map(|(_, saga)| saga.open_items())
        .filter(|item| views.entities.row(item.entity).is_some_and(|row| row.state == EntityState::Quarantined));
    waiting.count() as u64
}

pub(crate) async fn check_config(
    State(control): State<Shared>,
    Body(asked): Body<CheckConfig>,
) -> Result<Json<Checked>, ApiError> {
    blocking(move || Ok(Json(control.works.check_config(asked.text.as_deref())))).await
}
