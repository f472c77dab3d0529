//! What the events of grants say.

use super::{Facts, fact};
use crate::event::Event;
use crate::event::grant::{
    FolderReading, GrantEnd, GrantPurpose, GrantReceipt, GrantRequested, OpenSessions, VerifiedAs,
};
use crate::event::saga::Failure;

pub(super) fn facts(event: &Event) -> Facts {
    match event {
        Event::GrantRequested(b) => requested(b),
        Event::GrantApproved(b) => fact("grant", b.grant).naming("comment", &b.comment),
        Event::GrantRejected(b) => fact("grant", b.grant).naming("comment", &b.comment),
        Event::GrantRenewed(b) => {
            fact("grant", b.grant).with("seconds", b.duration_ms / 1_000).naming("reason", &b.reason)
        }
        Event::GrantRevokeRequested(b) => fact("grant", b.grant).naming("reason", &b.reason),
        Event::GrantFoldersRead(b) => {
            let reading = match b.reading {
                FolderReading::Before => "before",
                FolderReading::Given => "given",
                FolderReading::Revoked => "revoked",
            };
            fact("grant", b.grant).with("reading", reading).with("folders", b.folders.len())
        }
        Event::GrantStepStarted(b) => fact("grant", b.grant).with("step", b.step.name()).with("attempt", b.attempt),
        Event::GrantStepSucceeded(b) => with_receipt(fact("grant", b.grant).with("step", b.step.name()), &b.receipt),
        Event::GrantStepFailed(b) => {
            let failure = match b.failure {
                Failure::Refused => "refused",
                Failure::Unknown => "unknown",
            };
            fact("grant", b.grant)
                .with("step", b.step.name())
                .with("attempt", b.attempt)
                .with("failure", failure)
                .with("code", &b.code)
                .with_at("retry_at", b.retry_at)
        }
        Event::GrantEnded(b) => {
            let facts = fact("grant", b.grant).with("end", b.end.name());
            match b.end {
                GrantEnd::HandedOver { to } => facts.with("to", to),
                GrantEnd::Revoked
                | GrantEnd::NotGiven
                | GrantEnd::Rejected
                | GrantEnd::Withdrawn
                | GrantEnd::Expired => facts,
            }
        }
        _ => Facts(Vec::new()),
    }
}

fn requested(body: &GrantRequested) -> Facts {
    let facts = fact("mailbox", body.mailbox).naming("identifier", &body.identifier);
    let facts = match body.purpose {
        GrantPurpose::Request => facts.with("purpose", "request"),
        GrantPurpose::Run { run } => facts.with("purpose", "run").with("run", run),
        GrantPurpose::Standing => facts.with("purpose", "standing"),
        GrantPurpose::Removal { run } => facts.with("purpose", "removal").with("run", run),
    };
    let facts = facts
        .with("policy", &body.policy)
        .with("seconds", body.duration_ms / 1_000)
        .with("approvals", body.approvals)
        .naming("reason", &body.reason);
    match &body.ticket {
        Some(ticket) => facts.naming("ticket", ticket),
        None => facts,
    }
}

fn with_receipt(facts: Facts, receipt: &GrantReceipt) -> Facts {
    match receipt {
        GrantReceipt::Read { folders, standing, parts: _ } => facts.with("folders", folders).with("standing", standing),
        GrantReceipt::Given { folders, changed, parts: _ } => facts.with("folders", folders).with("changed", changed),
        GrantReceipt::Revoked { folders, changed, standing, parts: _ } => {
            facts.with("folders", folders).with("changed", changed).with("standing", standing)
        }
        GrantReceipt::VerifiedGone { verified_as, folders, sessions } => {
            let verified_as = match verified_as {
                VerifiedAs::Grantee => "grantee",
                VerifiedAs::Admin => "admin",
            };
            let facts = facts.with("folders", folders).with("verified_as", verified_as);
            match sessions {
                OpenSessions::Ended => facts.with("sessions", "ended"),
                OpenSessions::MayHaveLivedOn { until } => {
                    facts.with("sessions", "may_have_lived_on").with_at("until", *until)
                }
            }
        }
    }
}
