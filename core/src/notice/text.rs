//! What a notice says. Only numbers, names of policies, counts, codes, instants and digests: nothing that names
//! anybody.

use std::fmt;

use crate::event::decision::RunCancelled;
use crate::event::notice::Notice;
use crate::grant::run::Taken;
use crate::id::{EntityId, PlanId, RequestId, RunId, SagaId};
use crate::reason::Reason;
use crate::time::Timestamp;
use crate::view::notices::DAY_US;
use crate::view::recipients::HandedOver;
use crate::view::{Drift, Plan, RunState, Saga, Views};

/// What a notice says, by what is known when it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// One sentence, without a full stop, for a subject line.
    pub subject: String,
    /// What a person can do, as a command; empty when there is nothing to do.
    pub hint: String,
    /// What is known of it, in a fixed order.
    pub facts: Vec<(&'static str, String)>,
}

impl Text {
    fn of(subject: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), hint: hint.to_string(), facts: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.facts.push((key, value.to_string()));
        self
    }

    fn with_known(self, key: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

/// Returns what a notice says; `None` when its thing is not in the views, or not among the copies of the reader.
#[must_use]
pub fn text(views: &Views, copies: &[HandedOver], notice: &Notice, now: Timestamp) -> Option<Text> {
    match notice {
        Notice::ClockDoubted { .. } => clock(views),
        Notice::RevokeFails { grant } => {
            let body = views.small.grants.get(*grant)?;
            let subject = format!("Access to mailbox {} is still there after its end", body.mailbox);
            let text = Text::of(subject, format!("retentionctl grant show {grant}"));
            let failure = body.last_failure.as_ref().map(|failure| &failure.code);
            let text = text.with("grant", grant).with("mailbox", body.mailbox).with("policy", &body.policy);
            Some(text.with_known("since", body.ends_since(now)).with_known("code", failure))
        }
        Notice::SagaStuck { saga } => stuck(views, *saga),
        Notice::RunFailed { run } => {
            let body = views.small.runs.run(*run)?;
            match body.stopped.filter(|_| body.state == RunState::Cancelled) {
                Some(drift) => stopped(views, *run, drift, now),
                None => {
                    let code = body.refused.as_ref();
                    let subject = if code.is_some() { "was refused" } else { "ended with a stuck saga" };
                    Some(of_run(views, *run, subject, now)?.with_known("code", code))
                }
            }
        }
        Notice::RunDone { run } => of_run(views, *run, "is done", now),
        Notice::RequestLate { request, .. } => of_request(views, *request, "is late"),
        Notice::RequestDueSoon { request, before_days, .. } => {
            of_request(views, *request, &format!("is due within {before_days} days"))
        }
        Notice::PlanStopped { plan } => of_plan(views, *plan, "goes beyond limits and is stopped"),
        Notice::PlanNeedsApproval { plan } => of_plan(views, *plan, "waits for approval"),
        Notice::ReviewWaits { plan } => {
            let body = views.small.plans.get(*plan)?;
            let items = waiting(body);
            let policy = &body.request.policy;
            let subject = format!("{items} items of policy {policy} wait for the decision of a person");
            let text = Text::of(subject, format!("retentionctl review list {policy}"));
            Some(text.with("plan", plan).with("policy", policy).with("items", items))
        }
        Notice::PlanRefused { plan } => of_plan(views, *plan, "could not be made"),
        Notice::ScheduleMissed { missed } => {
            let (policy, missed) = views.small.schedules.newest_missed().find(|(_, at)| at.position == *missed)?;
            let text = Text::of(format!("The schedule of policy {policy} was missed"), "retentionctl schedule next");
            let text = text.with("policy", policy).with("count", missed.count);
            Some(text.with("first_at", missed.first_at).with("last_at", missed.last_at))
        }
        Notice::FallingDue { policy, before_days, from_day } => {
            let end = from_day.saturating_add(u32::from(*before_days));
            let today = u32::try_from(now.0.div_euclid(DAY_US)).unwrap_or(0);
            let items = views.due.policy(policy)?.due_within((*from_day).max(today)..end);
            let subject = format!("{items} items of policy {policy} fall due by {}", date(end.saturating_sub(1)));
            let text = Text::of(subject, format!("retentionctl plan make {policy} --at {}", date(end)));
            let text = text.with("policy", policy).with("items", items);
            Some(text.with("from", date((*from_day).max(today))).with("by", date(end.saturating_sub(1))))
        }
        Notice::RecipientToTell { request, recipient, erased, restricted } => {
            let copy = copies.iter().find(|copy| copy.recipient == *recipient)?;
            Some(of_copy(*request, copy, erased, restricted))
        }
    }
}

/// How many items a plan left out because a person has to decide about them first.
pub(super) fn waiting(plan: &Plan) -> u64 {
    let code = Reason::ReviewNeeded { due_at: None }.code();
    let kept = plan.frozen.iter().flat_map(|frozen| &frozen.kept);
    kept.filter(|kept| kept.reason == code).map(|kept| kept.count).sum()
}

/// The date of a day since 1970, in UTC.
fn date(day: u32) -> String {
    let at = Timestamp(i64::from(day).saturating_mul(DAY_US)).to_string();
    at.split('T').next().unwrap_or_default().to_owned()
}

fn clock(views: &Views) -> Option<Text> {
    let (_, doubt) = views.small.clock.doubt()?;
    let text = Text::of("The clock is doubted: nothing is purged", "retentionctl clock confirm --reason …");
    let text = text.with("doubt", doubt.doubt.name());
    Some(text.with("expected_at", doubt.expected_at).with("seen_at", doubt.seen_at))
}

fn stuck(views: &Views, saga: SagaId) -> Option<Text> {
    let run = views.small.runs.saga(saga)?.started.run;
    let subject = format!("Saga {saga} of run {run} is stuck");
    Some(Text::of(subject, format!("retentionctl run show {run}")).with("saga", saga).with("run", run))
}

fn of_run(views: &Views, run: RunId, how: &str, now: Timestamp) -> Option<Text> {
    let body = views.small.runs.run(run)?;
    let plan = views.small.plans.get(body.plan)?;
    let subject = format!("Run {run} of policy {} {how}", plan.request.policy);
    let text = Text::of(subject, format!("retentionctl run show {run}"));
    let text = text.with("run", run).with("plan", body.plan).with("policy", &plan.request.policy);
    let text = text.with_known("digest", plan.digest()).with("state", body.state.name());
    // A redaction and a restriction purge nothing, and have done their work all the same.
    let sagas = || body.sagas.iter().filter_map(|saga| views.small.runs.saga(*saga));
    let (redacted, restricted): (u64, u64) = (sagas().map(Saga::redacted).sum(), sagas().map(Saga::restricted).sum());
    let text = text.with("items", body.items).with("purged", body.purged.saturating_sub(redacted));
    let text = text.with_known("redacted", (redacted > 0).then_some(redacted));
    let text = text.with_known("restricted", (restricted > 0).then_some(restricted));
    let text = text.with("skipped", body.skipped);
    // A run is over before its access is given back, so the notice mostly finds it on the way.
    let text = text.with_known("access", Taken::of(&views.small.grants, run, body, now));
    Some(text.with_known("ended_at", body.ended_at))
}

/// What it had not come to is as it was, so what there is to do is a new plan.
fn stopped(views: &Views, run: RunId, drift: Drift, now: Timestamp) -> Option<Text> {
    let policy = &views.small.plans.get(views.small.runs.run(run)?.plan)?.request.policy;
    let hint = format!("retentionctl plan make {policy}");
    let text = of_run(views, run, "was stopped: too much changed after its plan was made", now)?;
    let text = text.with("code", RunCancelled::DRIFTED).with("looked_at", drift.looked_at);
    Some(Text { hint, ..text.with("drifted", drift.drifted) })
}

fn of_plan(views: &Views, plan: PlanId, how: &str) -> Option<Text> {
    let body = views.small.plans.get(plan)?;
    let subject = format!("Plan {plan} of policy {} {how}", body.request.policy);
    let text = Text::of(subject, format!("retentionctl plan show {plan}"));
    let text = text.with("plan", plan).with("policy", &body.request.policy);
    let text = text.with_known("erases", body.erases).with("requested_at", body.requested_at);
    let Some(frozen) = &body.frozen else { return Some(text.with_known("code", body.refused.as_ref())) };
    let limits: Vec<&str> = frozen.tripped.iter().map(|tripped| tripped.guard.as_str()).collect();
    let limits = (!limits.is_empty()).then(|| limits.join(", "));
    let text = text.with("items", frozen.items).with("population", frozen.population).with("digest", frozen.digest);
    Some(text.with("approvals_needed", frozen.approvals_needed.max(1)).with_known("limits", limits))
}

fn of_request(views: &Views, request: RequestId, how: &str) -> Option<Text> {
    let body = views.small.subjects.get(request)?;
    let subject = format!("The answer to request {request} of a data subject {how}");
    let text = Text::of(subject, format!("retentionctl subject show {request}"));
    Some(text.with("request", request).with("kind", body.kind.name()).with("due_at", body.due_at))
}

/// Whoever reads this has no daemon to ask: so it says all that they need to find the items in what they got, and no
/// command. What it names is what is recorded that they know.
fn of_copy(request: RequestId, copy: &HandedOver, erased: &[EntityId], restricted: &[EntityId]) -> Text {
    let what = match (erased.len(), restricted.len()) {
        (erased, 0) => format!("{erased} erased"),
        (0, restricted) => format!("{restricted} restricted"),
        (erased, restricted) => format!("{erased} erased and {restricted} restricted"),
    };
    let subject = format!("Items of a bundle of which you have a copy: {what} (request {request})");
    let text = Text::of(subject, "").with("request", request).with("copy", copy.recipient);
    let text = text.with("manifest", copy.manifest).with("listed_in", "manifest-items.jsonl");
    text.with_known("erased", numbers(erased)).with_known("restricted", numbers(restricted))
}

fn numbers(items: &[EntityId]) -> Option<String> {
    let all: Vec<String> = items.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| all.join(", "))
}
