//! Under which policy somebody may be given access to a mailbox, and on which terms.

use retention_core::control::{ErrorBody, ErrorCode, GiveGrant, RunAccessTerms};
use retention_core::event::grant::{GrantPurpose, GrantRequested};
use retention_core::id::Digest;
use retention_core::policy::{Access, Approval, Policy, State, Ticket};
use retention_core::time::Period;

use crate::store::Store;

/// How long a request waits when its policy wants no approval, in milliseconds: an hour. It is given at once, or not.
const NO_APPROVAL_VALID_MS: u64 = 3_600_000;

/// Returns the request for a grant, with the numbers of the policy that allows it.
///
/// # Errors
/// Says why none does; nothing was asked for.
pub fn of(store: &Store, wanted: GiveGrant) -> Result<GrantRequested, ErrorBody> {
    let policies = store.policies();
    let (policy, access) = find(policies.policies().iter().map(AsRef::as_ref), &wanted)?;
    if access.ticket == Ticket::Required && wanted.ticket.is_none() {
        return Err(
            refuse(ErrorCode::BadRequest, format!("policy {} wants a ticket", policy.id)).hint("say --ticket ID")
        );
    }
    let duration_ms = match wanted.duration.as_deref() {
        None => access.max_ms,
        Some(text) => duration_ms(text)?,
    };
    if duration_ms > access.max_ms {
        let minutes = access.max_ms / 60_000;
        return Err(refuse(
            ErrorCode::BadRequest,
            format!("policy {} gives access for {minutes} minutes at most", policy.id),
        )
        .hint("ask for less; a lease can be renewed within that"));
    }
    let (approvals, approval_valid_ms) = match policy.approval {
        Approval::NotRequired => (0, NO_APPROVAL_VALID_MS),
        Approval::Required { count, valid_for_ms, .. } => (count, valid_for_ms),
    };
    Ok(GrantRequested {
        mailbox: wanted.mailbox,
        principal: store.principal(&wanted.to),
        identifier: wanted.to,
        purpose: GrantPurpose::Request,
        policy: policy.id.clone(),
        policy_digest: policy.digest(),
        duration_ms,
        max_ms: access.max_ms,
        alarm_after_ms: access.alarm_after_ms,
        approvals,
        approval_valid_ms,
        reason: wanted.reason,
        ticket: wanted.ticket,
    })
}

/// Returns the access that runs take under a version of a policy, as the log recorded it; nothing for an erasure, about
/// which no policy decides.
///
/// # Errors
/// Says that the log cannot be read.
pub fn of_runs(store: &Store, policy_digest: Digest) -> Result<Option<RunAccessTerms>, ErrorBody> {
    let policy = store.policy_version(policy_digest);
    let policy = policy.map_err(|error| ErrorBody::saying(ErrorCode::Internal, error.to_string()))?;
    Ok(policy.and_then(|policy| policy.run_access.as_ref().map(RunAccessTerms::of)))
}

/// Reads a period that a person wrote, in milliseconds.
///
/// # Errors
/// Says how it is written.
pub fn duration_ms(text: &str) -> Result<u64, ErrorBody> {
    let read = text.parse::<Period>().ok().and_then(Period::nominal_ms).filter(|ms| *ms > 0);
    read.ok_or_else(|| {
        refuse(ErrorCode::BadRequest, "the duration is not a period of weeks, days or an exact time".to_owned())
            .hint("write it as PT2H (two hours), P1D (a day), PT30M (half an hour)")
    })
}

fn find<'p>(
    policies: impl Iterator<Item = &'p Policy>,
    wanted: &GiveGrant,
) -> Result<(&'p Policy, &'p Access), ErrorBody> {
    let allowing: Vec<(&Policy, &Access)> = policies
        .filter_map(|policy| Some((policy, policy.access.as_ref()?)))
        .filter(|(policy, _)| policy.state == State::Enforce)
        .filter(|(policy, access)| {
            wanted.policy.as_ref().is_none_or(|id| policy.id == *id) && access.principals.contains(&wanted.to)
        })
        .collect();
    match allowing.as_slice() {
        [one] => Ok(*one),
        [] => Err(refuse(
            ErrorCode::NotPermitted,
            "no enforced policy with [access] names whom this would be given to".to_owned(),
        )
        .hint("add the identifier to `principals` of a policy such as policies/mailbox-fullaccess.toml")),
        more => {
            let names: Vec<&str> = more.iter().map(|(policy, _)| policy.id.as_str()).collect();
            Err(refuse(ErrorCode::BadRequest, format!("more than one policy allows it: {}", names.join(", ")))
                .hint("say --policy NAME"))
        }
    }
}

fn refuse(code: ErrorCode, message: String) -> ErrorBody {
    ErrorBody::saying(code, format!("{message}; nothing was asked for"))
}
